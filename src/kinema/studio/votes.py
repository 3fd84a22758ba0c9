"""The votes of a blind A/B study: which pairs there are, what is asked next, and what was answered.

Input: folders of videos, one a method; the same file name is the same picture and prompt. Output: a folder with the videos
under names that tell nothing, and `votes.sqlite`. The questions are those of ReVision's user studies: motion consistency,
amount of motion, realism, of pairs side by side in random order; and occlusion, where "no interaction" may be answered.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped

from kinema.atomic import atomic_path
from kinema.errors import InputError

Choice = Literal["a", "b", "none"]
Z_95 = 1.959964
"""Standard deviations of a two-sided 95 % interval."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pair (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, method_a TEXT NOT NULL, method_b TEXT NOT NULL,
    sha256_a TEXT NOT NULL, sha256_b TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS voter (token TEXT PRIMARY KEY, began REAL NOT NULL);
CREATE TABLE IF NOT EXISTS vote (
    voter TEXT NOT NULL REFERENCES voter, pair TEXT NOT NULL REFERENCES pair, question TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('a', 'b', 'none')), time REAL NOT NULL,
    PRIMARY KEY (voter, pair, question));
"""


@dataclass(frozen=True)
class Question:
    """What is asked of a pair. none: what "0" says, where neither may be answered."""

    name: str
    title: str
    words: str
    none: str = ""


QUESTIONS = (
    Question(
        "consistency", "Motion consistency",
        "In which video do people, animals and things keep their shape and move without breaks or jumps?",
    ),
    Question("amount", "Amount of motion", "In which video is there more motion?"),
    Question("realism", "Motion realism", "In which video is the motion more like in real life?"),
    Question(
        "occlusion", "Occlusion and interaction",
        "In which video is it more right what is in front of what, and how things touch?", "no interaction or occlusion",
    ),
)  # fmt: skip
"""ReVision, figure 5 and table 4. The paper gives the criteria, not the wording."""


@dataclass(frozen=True)
class Pair:
    """Two videos of the same name by two methods. id: of these two; file_a, file_b: copies whose names tell nothing."""

    id: str
    name: str
    method_a: str
    method_b: str
    file_a: Path
    file_b: Path


@dataclass(frozen=True)
class Asked:
    """What a voter is shown next: the videos as they stand on the page, and how far the voter is."""

    pair: Pair
    question: Question
    left: Literal["a", "b"]
    number: int
    pairs: int

    @property
    def files(self) -> tuple[Path, Path]:
        """Left and right."""
        a, b = self.pair.file_a, self.pair.file_b
        return (a, b) if self.left == "a" else (b, a)

    def choice(self, key: Literal["1", "2", "0"]) -> Choice:
        """What a key stands for: 1 left, 2 right, 0 neither."""
        return "none" if key == "0" else "a" if (key == "1") == (self.left == "a") else "b"


@dataclass(frozen=True)
class Preference:
    """How often method_a was preferred, of the votes for one of the two, with its 95 % interval; how many said neither."""

    question: str
    method_a: str
    method_b: str
    share_a: float
    low: float
    high: float
    votes: int
    none: int
    pairs: int
    voters: int


def make_pairs(folders: Sequence[Path], out: Path) -> list[Pair]:
    """Pairs of the videos of the same name in every two folders, copied into `out`; those of an earlier call stay.

    Raises InputError where there are none, or where a video is another than it was when it was voted on.
    """
    methods: dict[str, dict[str, Path]] = {}
    for folder in folders:
        videos = {p.name: p for p in sorted(folder.glob("*.mp4"))} if folder.is_dir() else {}
        if not videos:
            raise InputError(folder, "holds no videos", expected="a folder of .mp4 files, one folder a method")
        name = folder.resolve().name
        if name in methods:
            raise InputError(
                folder, f"has the same name as another folder: {name}", mend="rename one: it is the method"
            )
        methods[name] = videos
    if len(methods) < 2:
        raise InputError("folders", f"are {len(methods)}", expected="at least two, one a method")
    media = out.resolve() / "videos"
    media.mkdir(parents=True, exist_ok=True)
    pairs: list[Pair] = []
    with opened(out) as db:
        for (method_a, of_a), (method_b, of_b) in combinations(methods.items(), 2):
            for name in sorted(of_a.keys() & of_b.keys()):
                pairs.append(_kept(db, media, name, (method_a, method_b), (of_a[name], of_b[name])))
    if not pairs:
        raise InputError("folders", "have no file name in common", "the same name for the same picture and prompt")
    return pairs


def _kept(db: sqlite3.Connection, media: Path, name: str, methods: tuple[str, str], files: tuple[Path, Path]) -> Pair:
    from kinema.checkpoints import sha256

    found = tuple(sha256(file) for file in files)
    identity = _digest(name, *methods)[:16]
    db.execute("INSERT OR IGNORE INTO pair VALUES (?, ?, ?, ?, ?, ?)", (identity, name, *methods, *found))
    before = db.execute("SELECT sha256_a, sha256_b FROM pair WHERE id = ?", (identity,)).fetchone()
    for file, now, then in zip(files, found, before, strict=True):
        if now != then:
            raise InputError(file, "is another video than in the study so far", mend="--out DIR with a new folder")
    secret = _setting(db, "secret")
    copies = tuple(media / f"{_digest(secret, identity, method)[:24]}.mp4" for method in methods)
    for file, copy in zip(files, copies, strict=True):
        if not copy.exists():
            with atomic_path(copy) as temporary:
                shutil.copyfile(file, temporary)
    return Pair(identity, name, *methods, *copies)


def new_voter(out: Path) -> str:
    """A code by which somebody votes, and goes on later."""
    token = secrets.token_hex(5)
    with opened(out) as db:
        db.execute("INSERT INTO voter VALUES (?, ?)", (token, time.time()))
    return token


def is_voter(out: Path, token: str) -> bool:
    with opened(out) as db:
        return db.execute("SELECT 1 FROM voter WHERE token = ?", (token,)).fetchone() is not None


def next_question(out: Path, pairs: Sequence[Pair], token: str) -> Asked | None:
    """What a voter is asked next, None at the end: the rest of a begun pair, else one of those that fewest have voted on.

    Among those the order is random, as are the sides, yet both are the same whenever this voter comes back.
    """
    with opened(out) as db:
        secret = _setting(db, "secret")
        votes = db.execute("SELECT pair, voter, COUNT(*) FROM vote GROUP BY pair, voter").fetchall()
        own = {row[0] for row in db.execute("SELECT pair || ' ' || question FROM vote WHERE voter = ?", (token,))}
    begun = {pair: count for pair, voter, count in votes if voter == token}
    voters = {pair.id: sum(found == pair.id for found, _, _ in votes) for pair in pairs}
    open_pairs = [pair for pair in pairs if begun.get(pair.id, 0) < len(QUESTIONS)]
    if not open_pairs:
        return None
    pair = min(open_pairs, key=lambda p: (p.id not in begun, voters[p.id], _digest(secret, token, p.id)))
    question = next(q for q in QUESTIONS if f"{pair.id} {q.name}" not in own)
    left = "a" if int(_digest(secret, "side", token, pair.id), 16) % 2 else "b"
    return Asked(pair, question, left, len(pairs) - len(open_pairs) + 1, len(pairs))


def vote(out: Path, token: str, asked: Asked, choice: Choice) -> None:
    """Keep an answer; a second one to the same question changes nothing. Raises InputError for a choice that isn't there."""
    if choice == "none" and not asked.question.none:
        raise InputError("0", "is no answer to this question", expected="1 for the left video, 2 for the right one")
    with opened(out) as db:
        answer = (token, asked.pair.id, asked.question.name, choice, time.time())
        db.execute("INSERT OR IGNORE INTO vote VALUES (?, ?, ?, ?, ?)", answer)


def take_back(out: Path, token: str) -> None:
    """Forget the voter's last answer, so that it is asked for again."""
    with opened(out) as db:
        last = "SELECT rowid FROM vote WHERE voter = ? ORDER BY time DESC, rowid DESC LIMIT 1"
        db.execute(f"DELETE FROM vote WHERE rowid = ({last})", (token,))


def preferences(out: Path) -> list[Preference]:
    """The results so far, one row a question and two methods. Raises InputError where there is no study."""
    if not (out / "votes.sqlite").is_file():
        raise InputError(out, "holds no study", expected="the --out of kinema study")
    with opened(out) as db:
        rows = db.execute(
            "SELECT question, method_a, method_b, choice, pair, voter FROM vote JOIN pair ON pair.id = vote.pair"
        ).fetchall()
    made = []
    order = {question.name: number for number, question in enumerate(QUESTIONS)}
    for question, a, b in sorted({row[:3] for row in rows}, key=lambda g: (g[1:], order[g[0]])):
        own = [row[3:] for row in rows if row[:3] == (question, a, b)]
        valid = [row for row in own if row[0] != "none"]
        for_a = np.array([choice == "a" for choice, _, _ in valid], bool)
        pairs, voters = (np.array([row[k] for row in valid], dtype=object) for k in (1, 2))
        low, high = wilson(for_a, pairs, voters)
        share = float(for_a.mean()) if len(valid) else float("nan")
        none, seen, people = len(own) - len(valid), len(set(pairs)), len(set(voters))
        made.append(Preference(question, a, b, share, low, high, len(valid), none, seen, people))
    return made


def wilson(for_a: Bool[np.ndarray, " N"], *clusters: Shaped[np.ndarray, " N"]) -> tuple[float, float]:
    """Ends of the 95 % interval of a share (Wilson 1927), 0 and 1 without votes.

    Votes on the same pair, and of the same voter, are alike: they count as fewer, by the design effect (Kish 1965) of the
    clusters that tell most against them.
    """
    count = len(for_a)
    if count == 0:
        return 0.0, 1.0
    share = float(for_a.mean())
    effect = 1.0
    for cluster in clusters:
        totals = [float(np.sum(for_a[cluster == one] - share)) for one in set(cluster)]
        groups = len(totals)
        if groups > 1 and 0 < share < 1:
            variance = groups / (groups - 1) * float(np.sum(np.square(totals))) / count**2
            effect = max(effect, variance / (share * (1 - share) / count))
    n = count / effect
    middle = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * (share * (1 - share) / n + Z_95**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


@contextmanager
def opened(out: Path) -> Iterator[sqlite3.Connection]:
    """The study's database; what is done in it is kept together, or not at all. Raises InputError where it is damaged."""
    path = out / "votes.sqlite"
    db = sqlite3.connect(path, timeout=30)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        with db:
            yield db
    except sqlite3.DatabaseError as error:
        raise InputError(path, f"cannot be used ({error})", expected="the votes of kinema study") from error
    finally:
        db.close()


def _setting(db: sqlite3.Connection, name: str) -> str:
    """A random word of this study, made once."""
    db.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", (name, secrets.token_hex(16)))
    return str(db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()[0])


def browser_secret(out: Path) -> str:
    """What a voter's browser keeps the code under, the same after a restart."""
    with opened(out) as db:
        return _setting(db, "browser")


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
