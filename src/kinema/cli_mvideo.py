"""The verb of long videos from masks: animate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.console import Console
from tyro.conf import Positional, arg

from kinema.cli_masks import Fps, say_findings
from kinema.console import VIDEO_SUFFIXES, Output, check_output, count_frames, option, say, working

if TYPE_CHECKING:
    from kinema.evaluate.seams import Seam
    from kinema.mvideo import Progress
    from kinema.types import MaskSequence

OF_LENGTH = ("rate", "too-short", "too-long", "frame-count")
"""What lint finds and `kinema.mvideo.animate` copes with: it takes masks of any rate and length."""


def animate(
    out: Output,
    prompt: Annotated[str, arg(metavar="TEXT")],
    masks: Annotated[Positional[Path | None], arg(name="masks", metavar="[MASKS]", help_behavior_hint="")] = None,
    seconds: Annotated[float, arg(metavar="S")] = 12.0,
    preset: Annotated[str, arg(metavar="mini-cogvideox|cogvideox-2b|cogvideox-5b")] = "mini-cogvideox",
    model: Annotated[Path | None, option("FOLDER", "default: the preset's")] = None,
    adapter: Annotated[Path | None, option("FOLDER", "default: the preset's")] = None,
    seed: Annotated[int, arg(metavar="N")] = 42,
    anchored: bool = True,
    fit: Annotated[Literal["crop", "pad"] | None, option("crop|pad", "default: they are refused")] = None,
    fps: Fps = None,
    memory: Annotated[
        Literal["fast", "balanced", "low", "int8"] | None, option("fast|balanced|low|int8", "default: the preset's")
    ] = None,
    speed: Literal["quality", "balanced", "fast"] = "quality",
    compile: bool = False,
    watermark: bool = False,
) -> None:
    """Make a long video from masks and a prompt: it moves as the masks do and looks as the prompt says (MVideo).

    $ kinema animate tiger/ --prompt "a tiger runs through snow" --out tiger.mp4
    $ kinema animate tiger/ --prompt "a robot runs over grass" --seconds 4 --seed 7 --out robot.mp4
    $ kinema animate footage.json --fit crop --prompt "two women dance on a beach" --out beach.mp4
    $ kinema animate --prompt "a horse walks through a forest" --seconds 8 --out horse.mp4
    $ kinema animate tiger/ --prompt "a tiger" --preset cogvideox-2b --model CogVideoX-2b --adapter mine --out tiger.mp4

    The video is made clip by clip. Finished clips lie beside it, in OUT.clips: the same command goes on after a stop, with
    more --seconds it makes only what is new. Masks for it: kinema mask, kinema render --map mask, kinema masks edit.

    Args:
        out: where to write the video, .mp4, or a folder for a PNG a frame
        prompt: what things and the place look like, in English
        masks: a folder of PNGs, .npz, .json, or a black-and-white video; left out, the prompt goes alone
        seconds: how long the video is; where masks end before, the prompt goes on alone
        preset: which model: the mini one comes with kinema, the others with --model
        model: a model folder as diffusers lays it out, safetensors
        adapter: a folder that kinema train mvideo wrote for that model, without which it does not see masks
        seed: another number gives another video
        anchored: keep every clip to the colours of the first one; --no-anchored for scenes that change
        fit: masks of another shape than the video's: crop them, or pad them
        fps: frames a second of the masks
        memory: how much of the model lies on the GPU at a time; less takes longer. See kinema doctor --preset NAME
        speed: quality is the plain model; the others save work, and change the video (docs/speed.md)
        compile: put the model's blocks through torch.compile: minutes once, then quicker steps
        watermark: also put an invisible mark into the frames, which kinema verify finds (docs/provenance.md)
    """
    from kinema.masks.files import read_masks
    from kinema.mvideo import animate as run
    from kinema.mvideo import clips_folder, frame_count, shaped
    from kinema.presets import find_clip_preset
    from kinema.provenance import check_signer
    from kinema.reinforce.speed_levels import speed_of

    check_output(out, VIDEO_SUFFIXES)
    check_signer()
    chosen = find_clip_preset(preset, model, adapter, speed_of(preset, speed, compile))
    chosen = chosen if memory is None else replace(chosen, memory=memory)
    frame_count(seconds, chosen.clip.fps)
    given = None
    if masks is not None:
        given = shaped(read_masks(masks, fps), chosen.clip.size, fit)
        _say_faults(given, chosen.clip.fps)
    with working("loading the model"):
        backbone = chosen.load()
    kept = clips_folder(out)
    with keeping(kept), clip_bar(chosen.clip.steps) as progress:
        made = run(
            given, prompt, seconds, seed, preset, backbone=backbone, out=out, anchored=anchored, watermark=watermark,
            progress=progress,
        )  # fmt: skip
    length = f"{count_frames(made.frames)} at {made.fps:g} fps, {made.frames / made.fps:.3g} s"
    say(f"{out}: {length}, in {len(made.seams) + 1} clips" if made.seams else f"{out}: {length}")
    if made.seams:
        say(describe_seams(made.seams))
    say(f"{kept}: its clips, and how it was made; the same command with more --seconds goes on from there")


def describe_seams(seams: Sequence[Seam]) -> str:
    """How the clips join, in one line: mean and worst."""
    from kinema.evaluate.seams import INVISIBLE_BELOW

    drift, ratio = [seam.colour_drift for seam in seams], [seam.difference_ratio for seam in seams]
    worst = max(seams, key=lambda seam: seam.difference_ratio)
    return (
        f"seams: colour drift {sum(drift) / len(drift):.1f}, at most {max(drift):.1f} of 255 levels; "
        f"difference ratio {sum(ratio) / len(ratio):.2f}, at most {max(ratio):.2f} at frame {worst.frame} "
        f"(not seen under {INVISIBLE_BELOW:g})"
    )


@contextmanager
def clip_bar(steps: int) -> Iterator[Progress]:
    """A bar over all clips on a terminal: which clip, which of its `steps`, and the time left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("first clip", total=None)

        def report(what: str, done: int, total: int) -> None:
            clip, step = divmod(done - 1, steps)
            where = f"clip {clip + 1} of {total // steps}, step {step + 1:>2} of {steps}"
            bars.update(task, description=where, completed=done, total=total)

        yield report


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Say which clips are kept where the work does not come to its end."""
    try:
        yield
    except BaseException:
        count = len(list(folder.glob("clip_*.npz")))
        if count:
            clips = "1 finished clip" if count == 1 else f"{count} finished clips"
            say(f"{folder}: {clips} kept; the same command goes on from there", err=True)
        raise


def _say_faults(masks: MaskSequence, fps: float) -> None:
    """What lint finds, but for the length, of which `animate` speaks itself."""
    from kinema.masks.lint import lint_masks
    from kinema.masks.time import resample

    faults = [found for found in lint_masks(resample(masks, fps), fps=fps) if found.code not in OF_LENGTH]
    say_findings(faults, err=True)
    if any(fault.steps for fault in faults):
        say("to mend them: kinema masks edit MASKS --out MENDED, with the --op of the table", err=True)
