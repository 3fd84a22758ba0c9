"""The verb that turns videos into training data: `kinema annotate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from kinema.console import option, say
from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.annotate.run import Totals


def annotate(
    src: Annotated[Positional[str], arg(name="src", metavar="SRC")],
    out: Annotated[Path, arg(metavar="DIR")],
    recipe: Annotated[str, arg(metavar="revision|mvideo")] = "revision",
    ray: Annotated[str | None, option("ADDRESS", "default: in this process")] = None,
    perception: Annotated[str, arg(metavar="mini|public")] = "mini",
    models: Annotated[Path | None, option("DIR", "default: where kinema fetch puts them")] = None,
    judge: Annotated[Path | None, option("DIR", "default: rules")] = None,
    captions: Annotated[str | None, option("needed|made", "default: needed by revision, made for mvideo")] = None,
    bad: Annotated[str, arg(metavar="stop|skip")] = "stop",
    fps: Annotated[float | None, option("F", "default: the video's")] = None,
    side: Annotated[int, arg(metavar="PX")] = 512,
    least_seconds: Annotated[float | None, option("S", "default: 2 for revision, 8 for mvideo")] = None,
    retry: bool = False,
) -> None:
    """Videos to annotated clips for training: webdataset shards, an index, a report (ReVision, B; MVideo, 4.1).

    $ kinema annotate videos/ --out data/
    $ kinema annotate list.jsonl --out data/ --recipe mvideo --bad skip
    $ kinema annotate shards/ --out data/ --perception public --ray auto

    A run that was stopped goes on where it was: give the same command again.

    Args:
        src: a folder of videos (NAME.txt beside NAME.mp4 is its caption), a list of files or URLs (.txt; .jsonl with
            video, caption, licence, source), webdataset shards (.tar, or a folder of them), a video, or a URL
        out: the folder to write clips-NNNNN.tar, index.parquet and report.html into
        recipe: what is done: docs/annotate.md
        ray: run on a Ray cluster: its address, auto for the one that is running here, or local to start one
        perception: mini, which ships, or public: GroundingDINO, SAM 2, Depth Anything, ViTPose (kinema fetch public)
        models: the folder with the four of public
        judge: a small language model (transformers' folder layout) that says whether a caption speaks of motion
        captions: needed: a video without one is bad input; made: one is made of what is seen
        bad: what cannot be used stops the run before it begins, or is skipped and counted
        fps: frames a second of the clips
        side: longer side of the clips in pixels; larger videos are made smaller
        least_seconds: shorter clips are left out
        retry: try what was set aside once more
    """
    from dataclasses import replace
    from typing import get_args

    from kinema.annotate.inputs import Bad, Captions
    from kinema.annotate.recipes import Common, make_recipe
    from kinema.annotate.record import FILTERED, KEPT, SET_ASIDE
    from kinema.annotate.run import annotate as run

    for name, value, allowed in (("--bad", bad, get_args(Bad)), ("--captions", captions, (*get_args(Captions), None))):
        if value not in allowed:
            raise InputError(name, f"is {value!r}", "one of " + ", ".join(a for a in allowed if a))
    chosen = make_recipe(recipe, Common(perception, models, judge, fps, side))
    if least_seconds is not None:
        chosen = replace(chosen, least_s=least_seconds)
    executor = None
    if ray is not None:
        from kinema.annotate.graph import on_ray

        executor = on_ray(ray)
    with _progress() as on_progress:
        totals = run(src, out, chosen, executor, bad, captions, retry, on_progress=on_progress)  # type: ignore[arg-type]
    videos, clips = totals.videos, totals.clips
    say(
        f"{totals.read} videos: {totals.skipped} skipped, {videos[FILTERED]} left out before cutting, "
        f"{videos[SET_ASIDE]} set aside, {videos['cut']} cut into {sum(clips.values())} clips"
    )
    told = ", ".join(f"{name} {count}" for name, count in totals.by_filter.most_common())
    say(
        f"{sum(clips.values())} clips: {clips[KEPT]} kept, {clips[FILTERED]} left out, {clips[SET_ASIDE]} set aside"
        + (f" (left out by {told})" if told else "")
    )
    say(f"{out}: shards, index.parquet, report.html")


@contextmanager
def _progress() -> Iterator[Callable[[int, int, Totals], None]]:
    """A bar with what is kept so far, the rate and the time left."""
    import time

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = ("annotating", BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    bar = Progress(*columns, console=console, disable=not console.is_terminal)
    began = time.monotonic()
    with bar:
        task = bar.add_task("videos", total=None)
        first: list[int] = []

        def show(done: int, total: int, totals: Totals) -> None:
            first[:] = first or [done - 1]
            rate = (done - first[0]) / max(time.monotonic() - began, 1e-3) * 60
            kept = totals.clips["kept"]
            bar.update(task, completed=done, total=total, description=f"videos, {kept} clips kept, {rate:.1f} a minute")

        yield show
