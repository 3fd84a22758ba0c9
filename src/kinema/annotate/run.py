"""The whole run: plan what is new, have it annotated here or by Ray, pack shards, write index and report.

Input: a source of videos and an output folder. Output: `clips-NNNNN.tar`, `index.parquet`, `report.html`, `annotate.json`.
Shards are packed group by group, in the order of the plan, as soon as a group is done; the same input gives the same bytes
however often the run was stopped and whoever did the work.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kinema.annotate.inputs import Bad, Captions, find_sources
from kinema.annotate.ledger import Ledger, clip_id, extended, load_plan, save_plan, source_id
from kinema.annotate.recipes import Models, MVideo, Recipe, fingerprint, settings_of
from kinema.annotate.record import FILTERED, KEPT, Source
from kinema.annotate.shards import read_members, write_shard
from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.json_file import read_json

GROUP_SOURCES = 64
"""Videos of one shard: some hundred MB of clips of ten seconds at 512 pixels."""
Executor = Callable[[list[Source], Recipe, Path], Iterable[Source]]
"""Has sources annotated; gives each when all of it is done, or may be."""


@dataclass(frozen=True)
class Totals:
    """What became of all that was read. Videos: skipped, left out before they were cut, set aside, or cut into clips."""

    read: int
    skipped: int
    videos: Counter[str] = field(default_factory=Counter)
    clips: Counter[str] = field(default_factory=Counter)
    by_filter: Counter[str] = field(default_factory=Counter)

    def check(self) -> None:
        """Nothing is lost: the sums are what was read."""
        assert self.read == self.skipped + sum(self.videos.values()), self
        assert self.clips[FILTERED] + self.videos[FILTERED] == sum(self.by_filter.values()), self


CUT = "cut"


def annotate(
    src: str | Path,
    out: str | Path,
    recipe: Recipe,
    executor: Executor | None = None,
    bad: Bad = "stop",
    captions: Captions | None = None,
    retry: bool = False,
    group_size: int = GROUP_SOURCES,
    on_progress: Callable[[int, int, Totals], None] | None = None,
) -> Totals:
    """Annotate all of `src` into the folder `out`; what is there already is not done again.

    executor     None: in this process, one video after the other; `graph.on_ray(...)`
    bad          what cannot be used stops the run before it begins, or is skipped and counted
    captions     "needed", or "made" where there is none; None: needed by ReVision, made for MVideo
    retry        what was set aside earlier is tried once more
    on_progress  called with videos done, all videos, and the totals so far
    Raises InputError for bad input, and where `out` holds results of other settings.
    """
    from kinema.annotate.index import check_libraries, write_index
    from kinema.annotate.report import write_report

    check_libraries()
    ledger = Ledger(out)
    _check_output(ledger, recipe)
    captions = captions or ("made" if isinstance(recipe, MVideo) else "needed")
    found = find_sources(src, bad, captions)
    ledger.make()
    with _alone(ledger):
        plan = extended(load_plan(ledger), found.sources, group_size)
        with atomic_path(ledger.out / "annotate.json") as temporary:
            about = {"fingerprint": fingerprint(recipe), "settings": settings_of(recipe), "skipped": found.skipped}
            temporary.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")
        save_plan(ledger, plan)
        if retry:
            ledger.retry([source for _, source in plan])
        _work(ledger, plan, recipe, executor or here, len(found.skipped), on_progress)
        totals = totals_of(ledger, plan, len(found.skipped))
        totals.check()
        write_index(ledger, plan)
        write_report(ledger, plan, totals, recipe, found.skipped)
        ledger.sweep()
    return totals


def here(sources: list[Source], recipe: Recipe, out: Path, models: Models | None = None) -> Iterator[Source]:
    """One after the other, in this process."""
    from kinema.annotate.worker import Worker

    worker = Worker(recipe, out, models)
    for source in sources:
        worker.annotate(source)
        yield source


def _work(
    ledger: Ledger, plan: list[tuple[int, Source]], recipe: Recipe, executor: Executor, skipped: int,
    on_progress: Callable[[int, int, Totals], None] | None,
) -> None:  # fmt: skip
    groups: dict[int, list[Source]] = {}
    for group, source in plan:
        groups.setdefault(group, []).append(source)
    group_of = {source.key: group for group, source in plan}
    todo = [source for _, source in plan if not ledger.done(source)]
    left = Counter(group_of[s.key] for s in todo)
    waiting = {s.key for s in todo}
    tally = totals_of(ledger, [(g, s) for g, s in plan if s.key not in waiting], skipped)
    for group, sources in groups.items():
        if not left[group]:
            pack(ledger, group, sources)
    for source in executor(todo, recipe, ledger.out) if todo else ():
        if source.key not in waiting or not ledger.done(source):
            continue
        waiting.remove(source.key)
        group = group_of[source.key]
        left[group] -= 1
        if not left[group]:
            pack(ledger, group, groups[group])
        tally = replace(_with(ledger, tally, source), read=tally.read + 1)
        if on_progress:
            on_progress(len(plan) - len(waiting), len(plan), tally)
    if waiting:
        raise InputError(
            ledger.out, f"{len(waiting)} of {len(plan)} videos were not done", "all of them",
            "run the same command again: it goes on where it was",
        )  # fmt: skip


def pack(ledger: Ledger, group: int, sources: list[Source]) -> None:
    """The shard of a group whose videos are all done; what is in it already is taken from it. Nothing where none is kept."""
    path = ledger.out / f"clips-{group:05d}.tar"
    kept = [(name, row["key"]) for name, row in _clips(ledger, sources) if row["outcome"] == KEPT]
    fresh = {name for name, _ in kept if ledger.kept(name) is not None}
    if not fresh:
        return
    before = dict(read_members(path)) if path.is_file() and len(fresh) < len(kept) else {}
    write_shard(path, ((key, ledger.kept(name) or before[key]) for name, key in kept))
    for name in fresh:
        ledger.forget_clip(name)


def _clips(ledger: Ledger, sources: Iterable[Source]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, outcome) of the clips of videos, in order."""
    for source in sources:
        video = ledger.outcome(source_id(source))
        for number in range(len(video["shots"]) if video else 0):
            name = clip_id(source, number)
            row = ledger.outcome(name)
            if row is not None:
                yield name, row


def totals_of(ledger: Ledger, plan: list[tuple[int, Source]], skipped: int) -> Totals:
    """The sums over everything that is done."""
    totals = Totals(len(plan) + skipped, skipped)
    for _, source in plan:
        totals = _with(ledger, totals, source)
    return totals


def _with(ledger: Ledger, totals: Totals, source: Source) -> Totals:
    video = ledger.outcome(source_id(source))
    assert video is not None, "only of what is done"
    before = CUT if video["outcome"] == KEPT else video["outcome"]
    rows = [row for _, row in _clips(ledger, [source])]
    dropped = [row["stage"] for row in (video, *rows) if row["outcome"] == FILTERED]
    return replace(
        totals,
        videos=totals.videos + Counter([before]),
        clips=totals.clips + Counter(row["outcome"] for row in rows),
        by_filter=totals.by_filter + Counter(dropped),
    )


def _check_output(ledger: Ledger, recipe: Recipe) -> None:
    if ledger.out.exists() and not ledger.out.is_dir():
        raise InputError(ledger.out, "is a file", "a folder to write into")
    if not ledger.out.exists() and not ledger.out.parent.is_dir():
        raise InputError(ledger.out, "its folder does not exist", mend=f"mkdir -p {ledger.out.parent}")
    about = ledger.out / "annotate.json"
    if not about.is_file():
        if ledger.out.is_dir() and any(ledger.out.glob("clips-*.tar")):
            raise InputError(ledger.out, "holds shards of something else", "a new folder, or one of kinema annotate")
        return
    told = read_json(about, "what an earlier kinema annotate wrote")
    if not isinstance(told, dict) or told.get("fingerprint") != fingerprint(recipe):
        changed = _changes(told.get("settings", {}) if isinstance(told, dict) else {}, settings_of(recipe))
        raise InputError(
            ledger.out, f"holds clips of other settings ({changed})", "the settings of the run that began it",
            "choose another --out",
        )  # fmt: skip


def _changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """ "side_px 512, now 256": what differs between two nested settings."""
    found = []
    for key in sorted({*before, *now}):
        a, b = before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += [_changes(a, b)] if a != b else []
        elif a != b:
            found.append(f"{key} {a}, now {b}")
    return ", ".join(found)


@contextmanager
def _alone(ledger: Ledger) -> Iterator[None]:
    """No two runs in one folder; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (ledger.work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(ledger.out, "is being worked on by another run", "one run a folder") from error
        yield
