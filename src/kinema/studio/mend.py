"""Change where a joint's part is at one moment of a motion, and go on from stage 2 or 3 (tab 2).

Input: a scene, a frame, and drags of parts as they are seen in that frame. Output: the scene with those parts where they
were dragged to: by inverse kinematics in that frame (`kinema.optimize.target_pose`), and around it by the motion prior, to
which the frame is a target (`kinema.refine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from kinema.errors import InputError
from kinema.optimize.retime import BODY_FIELDS, OBJECT_FIELDS
from kinema.sketch import Drag
from kinema.studio.worker import Report
from kinema.types import BodyMotion, ObjectMotion, Scene


def parts_at(scene: Scene, frame: int) -> tuple[UInt8[np.ndarray, "H W"], UInt8[np.ndarray, "H W"]]:
    """Part ids and subject ids (0: background) of a frame as the scene's camera sees it."""
    from kinema.optimize.retime import at_frames
    from kinema.render.control_maps import render_maps

    height, width = scene.cameras.image_hw
    maps = render_maps(at_frames(scene, np.array([frame])), None, (width, height), ("parts", "mask"))
    assert maps.part_ids is not None
    assert maps.subject_ids is not None
    return maps.part_ids[0], maps.subject_ids[0]


def moved(seen: Scene, frame: int, drags: Sequence[Drag]) -> dict[int, BodyMotion | ObjectMotion]:
    """Subject -> its pose of one frame, with the dragged parts where they were dragged to.

    Raises InputError where a drag takes hold of nothing, or ends outside of the picture.
    """
    from kinema.optimize.retime import at_frames
    from kinema.optimize.target_pose import target_from_sketch
    from kinema.sketch import sketch_from_drags

    sketch = sketch_from_drags(list(drags), *parts_at(seen, frame))
    return target_from_sketch(at_frames(seen, np.array([frame])), sketch)


def with_poses(scene: Scene, frame: int, poses: dict[int, BodyMotion | ObjectMotion], blend: bool) -> Scene:
    """The scene with these poses in that frame.

    blend  the motion prior makes the way to and from them; else they are only put there, seen and certain
    """
    subjects = list(scene.subjects)
    for index, pose in poses.items():
        motion = subjects[index].motion
        changed = _led_through(motion, frame, pose, scene.prompt) if blend else _put(motion, frame, pose)
        subjects[index] = replace(subjects[index], motion=changed)
    return replace(scene, subjects=tuple(subjects))


def _led_through(motion: Any, frame: int, pose: Any, prompt: str) -> Any:
    """The motion prior leads both halves to the pose: the one before it, and the one after it backwards in time."""
    from kinema.optimize.optimizer import refine, refine_object

    def led(half: Any) -> Any:
        if isinstance(half, BodyMotion):
            return refine(half, prompt or None, hold=(0,), target=pose)
        return refine_object(half, prompt or None, hold=(0,), target=pose)

    before = led(_frames(motion, slice(0, frame + 1)))
    if frame == len(motion.valid) - 1:
        return before
    after = _frames(led(_frames(motion, slice(None, frame - 1 if frame else None, -1))), slice(None, None, -1))
    names = OBJECT_FIELDS if isinstance(motion, ObjectMotion) else BODY_FIELDS
    joined = {name: np.concatenate([getattr(before, name)[:-1], getattr(after, name)]) for name in names}
    return replace(motion, **joined)


def _put(motion: Any, frame: int, pose: Any) -> Any:
    """The pose in that frame, seen and certain."""
    names = OBJECT_FIELDS if isinstance(motion, ObjectMotion) else BODY_FIELDS
    arrays = {name: getattr(motion, name).copy() for name in names}
    for name, values in arrays.items():
        values[frame] = 1 if name in ("valid", "confidence") else getattr(pose, name)[0]
    return replace(motion, **arrays)


def _frames(motion: Any, which: slice) -> Any:
    names = OBJECT_FIELDS if isinstance(motion, ObjectMotion) else BODY_FIELDS
    return replace(motion, **{name: getattr(motion, name)[which].copy() for name in names})


def frame_of(scene: Scene, frame: int, of_frames: int) -> int:
    """The frame of a scene at the moment of `frame` of a clip with `of_frames` over the same time."""
    return round(frame * (len(scene.cameras.K) - 1) / max(of_frames - 1, 1))


def mend_and_rerun(settings: dict[str, Any], folder: Path, report: Report) -> None:
    """A task: the folder holds the stages of an earlier result; change them as `settings` says, and go on from there."""
    from kinema.motion_io.scene import load_scene, save_scene
    from kinema.studio.tasks import animate_picture

    stages, frame = folder / "stages", settings["frame"]
    if settings["targets"]:
        seen = load_scene(stages / "refined.npz")
        if not 1 <= frame < len(seen.cameras.K):
            raise InputError("frame", f"is {frame}", f"1 to {len(seen.cameras.K) - 1}: the first frame is the picture")
        drags = [(part, tuple(start), tuple(end)) for part, start, end in settings["targets"]]
        poses = moved(seen, frame, drags)
        if settings["from_stage"] == 3:
            save_scene(with_poses(seen, frame, poses, blend=True), stages / "refined.npz")
        else:
            scene = load_scene(stages / "scene.npz")
            at = max(1, frame_of(scene, frame, len(seen.cameras.K)))
            save_scene(with_poses(scene, at, poses, blend=False), stages / "scene.npz")
    for name in ("scene", "refined"):
        (stages / f"{name}.view.json").unlink(missing_ok=True)
    if settings["from_stage"] == 2:
        (stages / "refined.npz").unlink()
    animate_picture(settings, folder, report)
