"""All metrics over a folder of videos: `evaluate_folder(videos, against)` -> `Report`, a table or JSON.

Input: videos, the true ones of the same names where there are any, and what is known of either (`clip_files`). Output:
a number with its 95 % interval over clips for every metric of `registry.METRICS` whose inputs are there, and for each
of the others the reason why not.
"""

from __future__ import annotations

import json as jsonlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from kinema.console import option
from kinema.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from kinema.evaluate.clip_files import ClipFiles
    from kinema.evaluate.registry import Metric
    from kinema.extract.observation import Observation
    from kinema.types import Video

TRUTH = "truth."
NOMINAL_FPS = 8.0
"""A folder of PNGs has no frame rate; nothing that is measured goes by it."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One metric over the clips that have its inputs.

    value      mean or median of the clips' numbers, or the number of the set; low, high: its 95 % interval
    per_clip   clip -> number; empty for a metric of the set
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    unit: str
    better: str
    summary: str
    clips: int
    least: int
    source: str
    per_clip: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What was measured, and for what was not the reason."""

    videos: str
    against: str | None
    rows: tuple[Row, ...]
    left_out: dict[str, str]

    def to_json(self) -> str:
        """One object: videos, against, rows, left_out. Infinity is the string "inf"."""
        return jsonlib.dumps(_plain(asdict(self)), indent=2, allow_nan=False)

    def to_table(self) -> Table:
        """A table for the terminal, one row a metric; "8 < 30" clips are fewer than it takes. Below, what is left out."""
        from rich.box import SIMPLE_HEAD
        from rich.markup import escape
        from rich.table import Table

        title = f"{self.videos} against {self.against}" if self.against else self.videos
        table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
        table.add_column("metric", no_wrap=True)
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("95 % interval", justify="right")
        table.add_column("unit")
        table.add_column("better")
        table.add_column("clips", justify="right")
        for row in self.rows:
            interval = "" if row.low is None or row.high is None else f"{_figure(row.low)} - {_figure(row.high)}"
            clips = f"{row.clips} < {row.least}" if row.clips < row.least else str(row.clips)
            table.add_row(row.metric, _figure(row.value), interval, row.unit, row.better, clips)
        by_reason: dict[str, list[str]] = {}
        for metric, reason in self.left_out.items():
            by_reason.setdefault(reason, []).append(metric)
        table.caption = (
            "\n".join(f"{', '.join(names)}: {escape(reason)}" for reason, names in by_reason.items()) or None
        )
        return table


def evaluate_folder(
    videos: Path,
    against: Path | None = None,
    metrics: Sequence[str] | None = None,
    observe: Callable[[Video], Observation] | None = None,
) -> Report:
    """Measure all that can be measured.

    videos   a folder with .mp4 files or folders of PNGs, or one clip
    against  the true ones, matched by name (one clip against one clip: whatever their names)
    metrics  names of `registry.METRICS`; default all
    observe  looks at a video, on either side, whose part and subject ids no file tells: `kinema.extract.observe.observe`
    A clip without a true one counts in the metrics that need none, with a warning. Raises InputError where there are
    no videos, none of them has a true one, or two that belong together differ in length or size.
    """
    from kinema.evaluate.clip_files import find_clips
    from kinema.evaluate.registry import METRICS

    chosen = _chosen(metrics, METRICS)
    clips = find_clips(Path(videos))
    truths = _matched(clips, Path(against)) if against else {}
    scores: dict[str, dict[str, float]] = {name: {} for name in chosen}
    sets: dict[str, list[tuple]] = {name: [] for name in chosen}
    reasons: dict[str, dict[str, str]] = {name: {} for name in chosen}
    for clip, files in clips.items():
        known = _read(files, truths.get(clip), observe)
        for name, metric in chosen.items():
            lacking = [need for need in metric.needs if need not in known]
            if lacking:
                reasons[name][clip] = _lack(lacking[0], against is not None)
                continue
            inputs = tuple(known[need] for need in metric.needs)
            if metric.over == "set":
                sets[name].append(inputs)
                continue
            try:
                scores[name][clip] = metric.function(*inputs)
            except InputError as error:
                reasons[name][clip] = f"{error.where}: {error.problem}"
    return _report(str(videos), str(against) if against else None, chosen, scores, sets, reasons)


def evaluate(
    videos: Annotated[Positional[Path], arg(name="videos", metavar="VIDEOS")],
    against: Annotated[Path | None, option("TRUTH")] = None,
    out: Annotated[Path | None, option("OUT.json")] = None,
    json: bool = False,
    extract: bool = False,
) -> None:
    """Measure videos: how they look, how they move, and how far they are from the true ones.

    $ kinema evaluate results/ --against truth/
    $ kinema evaluate results/ --against truth/ --extract --out scores.json

    Args:
        videos: a folder with .mp4 files or folders of PNGs. NAME_parts.mp4 or NAME.npz beside NAME.mp4 tell which
            pixel is which part of a body
        against: a folder with the true videos under the same names
        out: also write all numbers, those of every clip too, as JSON
        json: print JSON instead of a table
        extract: look for bodies in the videos whose parts no file tells, with mini-perception
    """
    import sys

    from rich.console import Console

    from kinema.atomic import atomic_path

    if out is not None and (out.suffix.lower() != ".json" or not out.parent.is_dir()):
        raise InputError(out, "cannot be written", expected="the name of a .json file in a folder that exists")
    seen_by = None
    if extract:
        from kinema.extract.mini_perception import steady_perception
        from kinema.extract.observe import observe

        seen_by = partial(observe, perception=steady_perception())
    report = evaluate_folder(videos, against, observe=seen_by)
    if out is not None:
        with atomic_path(out) as temporary:
            temporary.write_text(report.to_json() + "\n")
    if json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        Console().print(report.to_table())


def _chosen(names: Sequence[str] | None, known: dict[str, Metric]) -> dict[str, Metric]:
    for name in names or ():
        if name not in known:
            raise InputError("metric", f"is {name!r}", expected="one of " + ", ".join(known))
    return {name: known[name] for name in (names or known)}


def _matched(clips: dict[str, ClipFiles], against: Path) -> dict[str, ClipFiles]:
    """Clip -> its true clip, of the same name; of one clip and one true clip whatever their names."""
    from kinema.evaluate.clip_files import find_clips

    truths = find_clips(against)
    if len(clips) == len(truths) == 1:
        return dict(zip(clips, truths.values(), strict=True))
    alone = [name for name in clips if name not in truths]
    if len(alone) == len(clips):
        raise InputError(
            against,
            f"holds no clip of the name of one of the videos ({', '.join(list(clips)[:3])}, ...)",
            expected=f"the true clips under the same names; it holds {', '.join(list(truths)[:3])}, ...",
            mend="rename them, or leave --against out",
        )
    if alone:
        _LOGGER.warning("no true clip for %d of %d videos: %s", len(alone), len(clips), ", ".join(alone[:5]))
    return {name: truths[name] for name in clips if name in truths}


def _read(files: ClipFiles, truth: ClipFiles | None, observe: Callable[[Video], Observation] | None) -> dict[str, Any]:
    from kinema.evaluate.clip_files import read_clip
    from kinema.evaluate.registry import INPUTS

    known = read_clip(files, tuple(INPUTS))
    if truth is None:
        return _complete(known, observe)
    true = read_clip(truth, tuple(INPUTS))
    (t, h, w), (t2, h2, w2) = known["video"].shape[:3], true["video"].shape[:3]
    if (t, h, w) != (t2, h2, w2):
        raise InputError(
            files.video,
            f"has {t} frames of {w}x{h}, {truth.video} has {t2} of {w2}x{h2}",
            expected="videos of the same length and size",
            mend=f"cut and scale one to the other: ffmpeg -i IN.mp4 -vf scale={w2}:{h2} -frames:v {t2} OUT.mp4",
        )
    known, true = _complete(known, observe), _complete(true, observe)
    # What was asked of a video is kept with the true clip as often as with the video.
    for key in ("target_part", "target_px"):
        if key in true:
            known.setdefault(key, true[key])
    return known | {TRUTH + key: value for key, value in true.items()}


def _complete(known: dict[str, Any], observe: Callable[[Video], Observation] | None) -> dict[str, Any]:
    """Also with the part and subject ids that no file tells, as `observe` sees them."""
    import numpy as np

    from kinema.types import Video

    if observe is None or {"part_ids", "subject_ids"} <= set(known):
        return known
    seen = observe(Video(known["video"], NOMINAL_FPS))
    subject_ids = np.zeros(seen.part_ids.shape, np.uint8)
    for number, track in enumerate(seen.tracks, 1):
        subject_ids[track.masks] = number
    return {"part_ids": seen.part_ids, "subject_ids": subject_ids} | known


def _lack(need: str, has_truth: bool) -> str:
    key = need.removeprefix(TRUTH)
    if need == "truth.video" or (need.startswith(TRUTH) and not has_truth):
        return "needs the true videos (--against)"
    side = "true video" if need.startswith(TRUTH) else "video"
    files = {
        "part_ids": "NAME_parts.mp4, NAME.npz or --extract",
        "subject_ids": "NAME.npz or --extract",
        "prompt": "NAME.npz, or NAME.clips of kinema animate",
        "seams": "NAME.clips of kinema animate, NAME.npz",
    }
    return f"needs {key} of the {side} ({files.get(key, 'NAME.npz')})"


def _report(
    videos: str,
    against: str | None,
    chosen: dict[str, Metric],
    scores: dict[str, dict[str, float]],
    sets: dict[str, list[tuple]],
    reasons: dict[str, dict[str, str]],
) -> Report:
    import numpy as np

    from kinema.evaluate.bootstrap import bootstrap_interval

    rows, left_out = [], {}
    for name, metric in chosen.items():
        about = {"unit": metric.unit, "better": metric.better, "least": metric.least, "source": metric.source}
        if metric.over == "set" and len(sets[name]) > 1:
            value = metric.function(*map(list, zip(*sets[name], strict=True)))
            rows.append(Row(name, value, None, None, summary="set", clips=len(sets[name]), per_clip={}, **about))
        elif scores[name]:
            found = bootstrap_interval(np.array(list(scores[name].values()), np.float64), metric.summary)
            ends = (found.low, found.high) if found.count > 1 else (None, None)
            more = {"summary": metric.summary, "clips": found.count, "per_clip": scores[name]}
            rows.append(Row(name, found.value, *ends, **more, **about))
        else:
            left_out[name] = next(iter(reasons[name].values()), "needs two videos at least")
    return Report(videos, against, tuple(rows), left_out)


def _figure(value: float) -> str:
    return f"{value:.4g}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return ("inf" if value > 0 else "-inf") if isinstance(value, float) and math.isinf(value) else value
