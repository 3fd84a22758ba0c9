"""What is asked of a backbone, held against what it can do, before any of its weights is read.

Input: a `Request` and the model's `Constraints`. Output: the request as it can be met, and a sentence for each thing that
was changed. What cannot be mended raises InputError.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kinema.errors import InputError
from kinema.picture import Fit, fit
from kinema.reinforce.backbone import Constraints, Control, Start
from kinema.reinforce.windows import windows

UNSEEN_CROP = 0.02
"""Share of a picture that may be cut off without a word."""
UNSEEN_ENLARGEMENT = 1.5
"""Up to this many times a picture is enlarged without a word."""


@dataclass(frozen=True)
class Request:
    """What is asked for.

    size     (width, height) of the picture in pixels; after `preflight` of the frames
    pixels   of a frame, about
    clip     frames of one clip
    frames   of the video; None: as many as come out of the motion
    fps      of the motion that is given; None: there is none; after `preflight` of the video
    control  None: the model's usual one
    adapter  whether there is one
    """

    size: tuple[int, int]
    pixels: int
    clip: int
    frames: int | None = None
    fps: float | None = None
    control: Control | None = None
    start: Start = "noise"
    adapter: bool = False


def preflight(asked: Request, model: Constraints) -> tuple[Request, tuple[str, ...]]:
    """The request as the model can meet it, and what was changed, in sentences. Raises InputError."""
    control = _checked_control(asked, model)
    notes = [*_about_picture(asked, model), *_about_frames(asked, model)]
    if control == "parts" and not asked.adapter:
        notes.append("there is no motion adapter: the model follows the motion through the reposed picture alone")
    if asked.fps is not None and asked.fps != model.fps:
        notes.append(f"the motion comes at {asked.fps:g} frames a second and is resampled to the model's {model.fps:g}")
    if not model.sees_picture:
        notes.append("the model does not see the picture: only its motion is taken, and looks come from the prompt")
    if model.white == "made" and asked.start == "reposed":
        notes.append("the model's masks are white where it makes something: what is known is turned round for it")
    size = _fitted(asked, model).size
    clip = min(model.clip_frames(asked.clip), model.most_frames)
    return replace(asked, size=size, clip=clip, fps=model.fps, control=control), tuple(notes)


def _checked_control(asked: Request, model: Constraints) -> Control:
    """The control that was asked for, or the usual one. Raises InputError where the model cannot do it."""
    control = asked.control or model.controls[0]
    if control not in model.controls:
        raise InputError("control", f"is {control!r}", f"for this model {' or '.join(model.controls)}")
    if asked.start not in model.starts:
        raise InputError("start", f"is {asked.start!r}", f"for this model {' or '.join(model.starts)}")
    if control == "parts" and not asked.adapter and asked.start == "noise":
        raise InputError(
            "adapter", "is not given, and without one this model sees no motion", "its motion adapter",
            "--adapter FILE" + (", or --start reposed" if "reposed" in model.starts else "")
            + ", or a model that follows control videos untrained: --preset vace-1.3b",
        )  # fmt: skip
    return control


def _fitted(asked: Request, model: Constraints) -> Fit:
    return fit((asked.size[1], asked.size[0]), asked.pixels, model.multiple)


def _about_picture(asked: Request, model: Constraints) -> list[str]:
    (width, height), fitted = asked.size, _fitted(asked, model)
    lost = 1 - fitted.size[0] * fitted.size[1] / (fitted.scale**2 * width * height)
    size, notes = f"{fitted.size[0]}x{fitted.size[1]}", []
    if lost > UNSEEN_CROP:
        notes.append(
            f"the picture, {width}x{height}, is scaled and cut to {size}, multiples of {model.multiple}:"
            f" {100 * lost:.0f} % of it are lost at its sides"
        )
    if fitted.scale > UNSEEN_ENLARGEMENT:
        notes.append(f"the picture, {width}x{height}, is small for this model and enlarged to {size}")
    return notes


def _about_frames(asked: Request, model: Constraints) -> list[str]:
    notes, clip = [], min(model.clip_frames(asked.clip), model.most_frames)
    if clip != asked.clip:
        rule = f"up to {model.most_frames}, {model.frame_step} n + 1"
        notes.append(f"clips of {asked.clip} frames become clips of {clip}: the model makes {rule}")
    if asked.frames is None:
        return notes
    if asked.frames > clip:
        count = len(windows(asked.frames, clip))
        notes.append(f"{asked.frames} frames are more than a clip of {clip}: they come in {count} windows that overlap")
    elif (whole := model.clip_frames(asked.frames)) != asked.frames:
        notes.append(
            f"{asked.frames} frames are made as {whole}, {model.frame_step} n + 1; the last {whole - asked.frames} are cut"
        )
    return notes
