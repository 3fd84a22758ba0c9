"""The verbs for masks: mask, and masks edit, compose, preview, lint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from tyro.conf import Positional, UseAppendAction, arg

from kinema.console import Output, check_output, count_frames, option, parse_size, say, working
from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.masks.lint import Finding
    from kinema.types import MaskSequence, Video

Masks = Annotated[Positional[Path], arg(name="masks", metavar="MASKS")]
Fps = Annotated[float | None, option("F", "default: as it came, 8 where the files don't say")]


def mask(
    video: Annotated[Positional[Path], arg(name="video", metavar="VIDEO")],
    out: Output,
    object: Annotated[UseAppendAction[tuple[str, ...]], option("NOUN", "may be repeated")] = (),
    box: Annotated[UseAppendAction[tuple[tuple[str, str, str], ...]], option("NAME X,Y X,Y", "may be repeated")] = (),
    fps: Annotated[float, arg(metavar="F")] = 8.0,
    seconds: Annotated[float | None, option("S", "default: all of it")] = None,
    perception: Annotated[str, arg(metavar="mini|public")] = "mini",
    models: Annotated[Path | None, option("DIR", "default: where kinema fetch puts them")] = None,
) -> None:
    """Masks of a thing in a video: a box in the first frame, then a mask a frame.

    $ kinema mask clip.mp4 --object "a tiger" --out tiger/
    $ kinema mask clip.mp4 --object "the man" --object "a ball" --out play.npz --seconds 4
    $ kinema mask clip.mp4 --box lantern 40,60 90,130 --out lantern/
    $ kinema mask clip.mp4 --object "a red lantern" --out lantern/ --perception public

    Args:
        video: the video to take them from
        object: what to look for, in words; given again, another thing
        box: instead of that, where something is in the first frame: its name, which may be any, and the upper left and
            lower right corner in pixels of the video; given again, another thing
        out: a folder of indexed PNGs (DAVIS), .npz, .json (COCO's run-length codes), or .mp4 (white on black)
        fps: frames a second of the masks
        seconds: from the first so many seconds of the video
        perception: mini, which ships, or public: GroundingDINO and SAM 2 (kinema fetch public)
        models: the folder with the models of public
    """
    from kinema.extract.subjects import perception_named, segmenter_named
    from kinema.masks.extract import extract_masks, masks_in_boxes, parse_box
    from kinema.masks.files import write_masks
    from kinema.masks.lint import lint_masks
    from kinema.video import read_video

    _check_masks_out(out)
    _check_above_0("fps", fps)
    if seconds is not None:
        _check_above_0("seconds", seconds)
    if bool(object) == bool(box):
        raise InputError(
            "--object and --box", f"are {'both' if object else 'not'} given",
            'what to look for, as in --object "a tiger", or where it is, as in --box tiger 40,60 90,130',
        )  # fmt: skip
    boxes = [parse_box(words) for words in box]
    segmenter = segmenter_named(perception, models) if box else None
    seeing = None if box or perception == "mini" else perception_named(perception, models, object)
    clip = read_video(video, fps, None if seconds is None else max(1, round(seconds * fps) + 1))
    with working("looking"):
        found = masks_in_boxes(clip, boxes, segmenter) if box else extract_masks(clip, object, seeing)
    write_masks(found, out)
    say(f"{out}: {_described(found)}")
    say_findings(lint_masks(found, fps=fps))


def edit(
    masks: Masks,
    out: Output,
    recipe: Annotated[Path | None, option("RECIPE.json")] = None,
    op: Annotated[UseAppendAction[tuple[str, ...]], option('"NAME KEY=VALUE ..."', "may be repeated")] = (),
    fps: Fps = None,
) -> None:
    """Change masks by a recipe: zoom, path, slope, other times, other outlines.

    $ kinema masks edit tiger/ --out zoom.npz --op "scale by=0:1,1:1.8 ease=ease-in-out"
    $ kinema masks edit tiger/ --out uphill/ --op "slope degrees=20" --op "loop seconds=12"
    $ kinema masks edit tiger/ --out again.npz --recipe uphill.recipe.json

    The operations: scale, shift, path, slope, rotate, mirror, crop; time-warp, reverse, loop, hold, cut, length, rate;
    smooth, dilate, clean, fill, invert, drop. x and y are shares of the width and height, times shares of the clip;
    0:1,1:1.8 are keyframes. docs/masks.md has what each can be told.

    Args:
        masks: a folder of PNGs, .npz, .json, or a black-and-white video
        out: a folder of indexed PNGs, .npz, .json or .mp4; what was done is kept beside it, OUT.recipe.json
        recipe: a JSON list of operations
        op: one operation, done after those of the recipe
        fps: frames a second of the masks
    """
    from kinema.masks.files import read_masks, write_masks
    from kinema.masks.recipe import apply_recipe, parse_step, read_recipe, write_recipe

    _check_masks_out(out)
    steps = (*(read_recipe(recipe) if recipe else ()), *(parse_step(text) for text in op))
    if not steps:
        raise InputError("masks edit", "has nothing to do", "--recipe RECIPE.json, --op, or both")
    with working("editing"):
        edited = apply_recipe(read_masks(masks, fps), steps)
    write_masks(edited, out)
    kept = out.with_name(f"{out.stem}.recipe.json")
    write_recipe(steps, kept)
    say(f"{out}: {_described(edited)}")
    say(f"{kept}: what was done")


def compose(
    masks: Annotated[Positional[tuple[Path, ...]], arg(name="masks", metavar="MASKS")],
    out: Output,
    offset: Annotated[UseAppendAction[tuple[float, ...]], option("S", "one a sequence, default: 0")] = (),
    size: Annotated[str | None, option("WxH", "default: that of the first")] = None,
    fps: Annotated[float | None, option("F", "default: that of the first")] = None,
) -> None:
    """Put several mask sequences into one picture, the first in front.

    $ kinema masks compose tiger/ dancers.npz --out both.npz
    $ kinema masks compose tiger/ dancers.npz --out both.npz --offset 0 --offset 1.5 --size 720x480

    Args:
        masks: sequences of any kind, the front one first
        out: a folder of indexed PNGs, .npz, .json or .mp4
        offset: when each begins, in seconds; given once for each
        size: width and height; what has another is scaled to fit, not distorted
        fps: frames a second of the result
    """
    from kinema.masks.compose import compose as put_together
    from kinema.masks.files import read_masks, write_masks

    _check_masks_out(out)
    if offset and len(offset) != len(masks):
        raise InputError("--offset", f"is given {len(offset)} times", f"{len(masks)} times, once for each, or never")
    pixels = parse_size(size) if size else None
    hw = (pixels[1], pixels[0]) if pixels else None
    sequences = [read_masks(path) for path in masks]
    with working("composing"):
        found = put_together(sequences, list(offset) or None, hw, fps)
    write_masks(found, out)
    say(f"{out}: {_described(found)}")


def preview(
    masks: Masks,
    out: Output,
    over: Annotated[Path | None, option("VIDEO", "default: on black")] = None,
    fps: Fps = None,
) -> None:
    """Masks to look at: a video in colours, or a sheet of frames.

    $ kinema masks preview tiger/ --out tiger.mp4
    $ kinema masks preview tiger/ --out sheet.png --over clip.mp4

    Args:
        masks: a folder of PNGs, .npz, .json, or a black-and-white video
        out: .mp4 for a video, .png for one sheet
        over: the video that they were extracted from
        fps: frames a second of the masks
    """
    import cv2

    from kinema.atomic import atomic_path
    from kinema.masks import preview as drawing
    from kinema.masks.files import read_masks
    from kinema.video import write_video

    check_output(out, (".mp4", ".png"))
    found = read_masks(masks, fps)
    behind = _video_behind(found, over) if over else None
    if out.suffix.lower() == ".mp4":
        write_video(drawing.preview(found, behind), out, found.fps)
    else:
        with atomic_path(out) as temporary:
            cv2.imwrite(str(temporary), drawing.sheet(found, behind)[..., ::-1])
    say(f"{out}: {_described(found)}")


def lint(
    masks: Masks,
    seconds: Annotated[float | None, option("S", "default: as long as the masks")] = None,
    fps: Annotated[float, arg(metavar="F")] = 8.0,
    mend: Annotated[Path | None, option("RECIPE.json")] = None,
    json: bool = False,
) -> None:
    """Say what is wrong with masks before a video is made from them, in which frame, and what mends it.

    $ kinema masks lint tiger/ --seconds 12
    $ kinema masks lint tiger/ --seconds 12 --mend mend.json && kinema masks edit tiger/ --recipe mend.json --out good/

    Status 0: nothing, or only what may be meant so. Status 1: something must be mended (no object in any frame, black
    and white exchanged, another frame rate, shorter than asked for); 0 with --mend, if its recipe mends it.
    Status 2: the masks can't be read.

    Args:
        masks: a folder of PNGs, .npz, .json, or a black-and-white video
        seconds: of the video that is to be made
        fps: of that video
        mend: write a recipe of all that mends
        json: print JSON instead of a table
    """
    from kinema.masks.files import read_masks
    from kinema.masks.lint import lint_masks, mends
    from kinema.masks.recipe import write_recipe

    _check_above_0("fps", fps)
    if seconds is not None:
        _check_above_0("seconds", seconds)
    found = lint_masks(read_masks(masks), seconds, fps)
    if json:
        sys.stdout.write(_as_json(found) + "\n")
    elif found:
        say_findings(found)
    else:
        say(f"{masks}: nothing is wrong")
    if mend:
        write_recipe(mends(found), mend)
        say(f"{mend}: what mends it", err=json)
    if any(f.must and not (mend and f.steps) for f in found):
        raise SystemExit(1)


MASKS_COMMANDS = (edit, compose, preview, lint)


def _check_masks_out(out: Path) -> None:
    from kinema.masks.files import MASK_SUFFIXES

    check_output(out, MASK_SUFFIXES)


def _check_above_0(name: str, value: float) -> None:
    if not 0 < value <= 100_000:
        raise InputError(f"--{name}", f"is {value:g}", "above 0")


def _described(masks: MaskSequence) -> str:
    """'tiger, man: 33 frames of 720x480, 4.1 s at 8 fps'."""
    frames, _, height, width = masks.masks.shape
    names = ", ".join(masks.labels)
    return f"{names}: {count_frames(frames)} of {width}x{height}, {frames / masks.fps:.1f} s at {masks.fps:g} fps"


def _video_behind(masks: MaskSequence, path: Path) -> Video:
    """As many frames of a video as there are masks, at their rate and size."""
    import cv2
    import numpy as np

    from kinema.types import Video
    from kinema.video import read_video

    clip = read_video(path, masks.fps, len(masks))
    height, width = masks.masks.shape[2:]
    if clip.frames.shape[1:3] != (height, width):
        clip = Video(
            np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in clip.frames]), clip.fps
        )
    return clip


def say_findings(found: Sequence[Finding], err: bool = False) -> None:
    """A table of them; nothing where there are none."""
    from rich.table import Table

    from kinema.masks.recipe import as_text

    if not found:
        return
    table = Table("", "frame", "of", "what", "to mend")
    for f in found:
        steps = " ".join(f'--op "{as_text(s)}"' for s in f.steps)
        table.add_row(
            "must" if f.must else "may", str(f.frame), f.label or "the clip", f"{f.code}: {f.sentence}",
            f"{f.mend}\n{steps}" if steps else f.mend,
        )  # fmt: skip
    Console(stderr=err).print(table)


def _as_json(found: Sequence[Finding]) -> str:
    import json

    rows = [
        {"code": f.code, "frame": f.frame, "label": f.label, "sentence": f.sentence, "mend": f.mend, "must": f.must,
         "steps": [{"op": s.op, **s.values} for s in f.steps]}
        for f in found
    ]  # fmt: skip
    return json.dumps(rows, indent=2)
