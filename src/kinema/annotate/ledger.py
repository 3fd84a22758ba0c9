"""What has been done, on disk: the plan, an outcome a video and a clip, and the finished clips until a shard takes them.

Every file is written whole or not at all, under a name made of its content's hash, so that a run that was killed anywhere
goes on where it was, and two workers that did the same thing wrote the same bytes. A video that kills its worker again and
again is set aside as well: each try leaves a mark, which a try that ends takes away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kinema.annotate.record import KEPT, SET_ASIDE, Record, Source, Verdict
from kinema.annotate.shards import read_members, write_shard
from kinema.atomic import atomic_path
from kinema.errors import InputError

MOST_DEATHS = 5
"""A video or clip at which so many workers ended without a word is set aside."""


def source_id(source: Source) -> str:
    """Of the video's bytes and what is said about it; not of where it lies."""
    told = [source.key, source.sha256, source.caption, source.licence, source.origin]
    told += [source.stated_fps] if source.stated_fps else []
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def clip_id(source: Source, number: int) -> str:
    return f"{source_id(source)}-{number:04d}"


class DiedHere(Exception):
    """Too many workers died at this."""


class Ledger:
    """The folder `work` of an output folder."""

    def __init__(self, out: str | Path):
        self.out = Path(out)
        self.work = self.out / "work"

    def make(self) -> None:
        for name in ("outcomes", "clips", "tries"):
            (self.work / name).mkdir(parents=True, exist_ok=True)

    def _path(self, folder: str, name: str, suffix: str) -> Path:
        path = self.work / folder / name[:2] / f"{name}{suffix}"
        path.parent.mkdir(exist_ok=True)
        return path

    def outcome(self, name: str) -> dict[str, Any] | None:
        """What was written down of a video or clip; None where it is still to do."""
        path = self._path("outcomes", name, ".json")
        return json.loads(path.read_text()) if path.is_file() else None

    def conclude(self, name: str, outcome: Mapping[str, Any]) -> None:
        with atomic_path(self._path("outcomes", name, ".json")) as temporary:
            temporary.write_text(json.dumps(outcome, ensure_ascii=False))

    def keep(self, name: str, key: str, members: Mapping[str, bytes], outcome: Mapping[str, Any]) -> None:
        """A finished clip, and then its outcome."""
        write_shard(self._path("clips", name, ".tar"), [(key, members)])
        self.conclude(name, outcome)

    def kept(self, name: str) -> dict[str, bytes] | None:
        """The files of a finished clip that no shard has taken yet."""
        path = self._path("clips", name, ".tar")
        return next(read_members(path))[1] if path.is_file() else None

    def forget_clip(self, name: str) -> None:
        self._path("clips", name, ".tar").unlink(missing_ok=True)

    @contextmanager
    def trying(self, name: str, what: str) -> Iterator[None]:
        """A mark while something is worked on, which only a worker's death leaves behind. Raises DiedHere for too many."""
        path = self._path("tries", name, f".{what}")
        if path.is_file() and path.stat().st_size >= MOST_DEATHS:
            raise DiedHere(f"{MOST_DEATHS} workers died at it ({what})")
        with path.open("ab") as marks:
            marks.write(b".")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the unfinished files that killed runs and workers left behind; for when nobody writes any more."""
        ours = (".clips-*.*.tar", ".index.*.parquet", ".report.*.html", ".annotate.*.json")
        for path in (*self.work.rglob(".*.*.*"), *(p for name in ours for p in self.out.glob(name))):
            path.unlink(missing_ok=True)

    def done(self, source: Source) -> bool:
        """Whether a video has its outcome and all of its clips have theirs."""
        outcome = self.outcome(source_id(source))
        return outcome is not None and all(
            self._path("outcomes", clip_id(source, n), ".json").is_file() for n in range(len(outcome["shots"]))
        )

    def retry(self, sources: list[Source]) -> int:
        """Forget the outcomes that were set aside, so that they are tried once more; -> how many."""
        count = 0
        for source in sources:
            name = source_id(source)
            outcome = self.outcome(name)
            names = [clip_id(source, n) for n in range(len(outcome["shots"]))] if outcome else []
            for one in (name, *names):
                found = self.outcome(one)
                if found is not None and found.get("outcome") == SET_ASIDE:
                    count += 1
                    for folder in ("outcomes", "tries"):
                        for path in (self.work / folder / one[:2]).glob(f"{one}.*"):
                            path.unlink()
        return count


def outcome_of(record: Record, cpu_s: Mapping[str, float]) -> dict[str, Any]:
    """What is written down of a clip; `cpu_s` by stage is for the report of costs, and in no shard or index."""
    verdict = record.verdict or Verdict(KEPT, "", "")
    row: dict[str, Any] = {
        "key": record.key, **asdict(verdict), "first_frame": record.first_frame, "end_frame": record.end_frame,
        "fps": record.fps, "caption": record.caption, "made_caption": record.made_caption,
        "quality": dict(sorted(record.quality.items())), "cpu_s": dict(cpu_s), "labels": [], "categories": [],
    }  # fmt: skip
    if record.video is not None:
        row["size"] = list(record.video.frames.shape[:3])
    if record.observation is not None:
        row["labels"] = [t.label for t in record.observation.tracks]
        row["categories"] = [t.category for t in record.observation.tracks]
    return row


def load_plan(ledger: Ledger) -> list[tuple[int, Source]]:
    """(group, source) of earlier runs, in order. Raises InputError where the plan is damaged."""
    path = ledger.work / "plan.jsonl"
    if not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [(row["group"], Source(**row["source"])) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"is damaged ({error})", "the plan of an earlier run", "choose another --out") from error


def save_plan(ledger: Ledger, plan: list[tuple[int, Source]]) -> None:
    with atomic_path(ledger.work / "plan.jsonl") as temporary:
        rows = [json.dumps({"group": group, "source": asdict(source)}, ensure_ascii=False) for group, source in plan]
        temporary.write_text("".join(row + "\n" for row in rows))


def extended(plan: list[tuple[int, Source]], sources: tuple[Source, ...], group_size: int) -> list[tuple[int, Source]]:
    """The plan with what is new in groups after the last one: what was in a shard stays there.

    Raises InputError where a key that was annotated now has another video or another caption.
    """
    places = {source_id(source): index for index, (_, source) in enumerate(plan)}
    keys = {source.key for _, source in plan}
    plan, new = list(plan), []
    for source in sources:
        index = places.get(source_id(source))
        if index is not None:
            plan[index] = plan[index][0], source  # it may lie elsewhere now
        elif source.key in keys:
            raise InputError(
                source.key, "was annotated as another video or with another caption", "the same, or a key of its own",
                "rename it, or choose another --out",
            )  # fmt: skip
        else:
            new.append(source)
    first = plan[-1][0] + 1 if plan else 0
    return plan + [(first + k // group_size, source) for k, source in enumerate(new)]
