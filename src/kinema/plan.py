"""What is asked of the three stages, checked, at the model's size.

Input: a picture, and what a user says of the motion. Output: a `Plan`. Everything that can be refused is refused here,
before any stage runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from kinema.errors import InputError
from kinema.extract.observe import observe
from kinema.optimize.perform import Cue
from kinema.picture import Fit, fit
from kinema.presets import Preset
from kinema.reinforce.backbone import Control, Start
from kinema.reinforce.part_condition import CONFIDENCE, ConfidenceLevels
from kinema.reinforce.preflight import Request, preflight
from kinema.sketch import Drag, Sketch, check_parts, load_sketch, sketch_from_drags
from kinema.types import BodyMotion, Video


@dataclass(frozen=True)
class Plan:
    """What is asked for, at the model's size.

    picture      uint8 [H,W,3] at the model's size, the first frame
    subject_ids  whose each of its pixels is, part_ids which part
    frames       of the video; None: as many as the scene has
    control      how the model is told the motion
    notes        what was changed of what was asked, so that the model can do it
    """

    picture: UInt8[np.ndarray, "H W 3"]
    part_ids: UInt8[np.ndarray, "H W"]
    subject_ids: UInt8[np.ndarray, "H W"]
    prompt: str
    sketch: Sketch | None
    motion: tuple[Cue, ...] | None
    strength: float | None
    frames: int | None
    seed: int
    preset: Preset
    start: Start
    control: Control = "parts"
    notes: tuple[str, ...] = ()
    levels: ConfidenceLevels = CONFIDENCE


def hw_of(plan: Plan) -> tuple[int, int]:
    """Height and width of the frames."""
    return plan.picture.shape[0], plan.picture.shape[1]


def coarse_fit(plan: Plan) -> Fit:
    """Where the pixels of the picture go in stage 1's frames."""
    hw = hw_of(plan)
    return fit(hw, round(hw[0] * hw[1] * plan.preset.coarse_share), plan.preset.constraints.multiple)


def make_plan(
    picture: np.ndarray, preset: Preset, prompt: str | None, target: str | Path | Sketch | None, drags: Sequence[Drag],
    motion: BodyMotion | Sequence[Cue] | None, strength: float | None, frames: int | None, seconds: float | None, seed: int,
    start: Start | None, control: Control | None = None,
) -> Plan:  # fmt: skip
    """Everything that was asked, checked, at the model's size; no weights of the video model are read."""
    if strength is not None and not 0 <= strength <= 1:
        raise InputError("strength", f"is {strength}", expected="a number from 0 (calm) to 1 (lively)")
    if frames is not None and seconds is not None:
        raise InputError("frames", "and seconds are both given", expected="one of the two")
    count = frames if seconds is None else round(seconds * preset.fps)
    if count is not None and count < 2:
        raise InputError("frames", f"is {count}", expected=f"at least 2 ({preset.fps:g} a second)")
    cues = (Cue(motion),) if isinstance(motion, BodyMotion) else None if motion is None else tuple(motion)
    limits, size = preset.constraints, (picture.shape[1], picture.shape[0])
    if motion is None and not limits.sees_picture:
        raise InputError(
            "motion", f"is not given, and {preset.name} cannot make a coarse video of a picture", "a motion",
            "--motion FILE, or another --preset",
        )  # fmt: skip
    asked = Request(
        size, preset.pixels, preset.frames, count, cues[0].motion.fps if cues else None, control, start or preset.start,
        preset.adapter is not None,
    )  # fmt: skip
    asked, notes = preflight(asked, limits)
    assert asked.control is not None, "preflight settles it"
    fitted = fit((picture.shape[0], picture.shape[1]), preset.pixels, limits.multiple)
    small = fitted.picture(picture)
    part_ids, subject_ids = look_at(small)
    sketch = _sketch(picture, fitted, target, drags, part_ids, subject_ids)
    return Plan(
        small, part_ids, subject_ids, prompt or "", sketch, cues, strength, count, seed, preset, asked.start,
        asked.control, notes,
    )  # fmt: skip


def look_at(picture: UInt8[np.ndarray, "H W 3"]) -> tuple[UInt8[np.ndarray, "H W"], UInt8[np.ndarray, "H W"]]:
    """Part ids and subject ids of a picture. Raises InputError where no subject is found."""
    seen = observe(Video(picture[None], 1.0))
    if not seen.tracks:
        raise InputError(
            "image", "shows no person, animal or object that was found", "at least one, well visible",
            "give a picture in which the subject is larger and stands apart",
        )  # fmt: skip
    subject_ids = np.zeros(picture.shape[:2], np.uint8)
    for k, track in enumerate(seen.tracks):
        subject_ids[track.masks[0]] = k + 1
    return seen.part_ids[0], subject_ids


def _sketch(
    picture: np.ndarray, fitted: Fit, target: str | Path | Sketch | None, drags: Sequence[Drag],
    part_ids: np.ndarray, subject_ids: np.ndarray,
) -> Sketch | None:  # fmt: skip
    """The sketch and the drags as one sketch at the model's size."""
    hw = (picture.shape[0], picture.shape[1])
    small_hw = (part_ids.shape[0], part_ids.shape[1])
    shapes = []
    if target is not None:
        sketch = target if isinstance(target, Sketch) else load_sketch(target, hw)
        shapes += [replace(s, polygon_px=fitted.points(s.polygon_px)) for s in sketch.shapes]
    if drags:
        moved = [(part, _point(fitted, begin), _point(fitted, end)) for part, begin, end in drags]
        shapes += list(sketch_from_drags(moved, part_ids, subject_ids).shapes)
    if not shapes:
        return None
    whole = Sketch(tuple(shapes), small_hw)
    check_parts(whole, part_ids)
    return whole


def _point(fitted: Fit, point_px: tuple[float, float]) -> tuple[float, float]:
    x, y = fitted.points(np.array([point_px], float))[0]
    return float(x), float(y)
