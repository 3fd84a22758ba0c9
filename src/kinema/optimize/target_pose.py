"""From a sketch of the last frame to a target in space (ReVision, section 4.2: the target pose of S2).

Input: a scene and a sketch. Output: for every subject that is sketched, one frame of motion in which its parts are
seen where they were drawn: bodies by inverse kinematics (`pose_solver.py`), objects moved across the view.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from kinema.body.object_points import CONTOUR_POINTS
from kinema.body.skeleton import JOINT_PARTS, PART_IDS
from kinema.errors import InputError
from kinema.optimize.part_rig import Lens, part_centres
from kinema.optimize.pose_solver import solve_pose
from kinema.sketch import Sketch, SketchedPart
from kinema.types import BodyMotion, ObjectMotion, Scene, Subject

RESIZE_FROM = 1.4
"""An object takes the size of its shape where they differ by this factor: below it, shapes are but rough."""
MISS_SHARE = 0.02
"""A part this share of the picture's longer side away from its shape is reported as out of reach."""
_LOGGER = logging.getLogger(__name__)


def target_from_sketch(scene: Scene, sketch: Sketch) -> dict[int, BodyMotion | ObjectMotion]:
    """Index of a subject -> one frame of motion, the pose that it ends in; for subjects that are sketched.

    The pose starts from the subject's last valid frame and is seen by the last camera. A shape without a subject goes
    to the nearest one that has such a part. A target out of reach is met as nearly as can be, with a warning.
    Raises InputError where no subject has the part, or two shapes ask for one part of one subject.
    """
    cameras = scene.cameras
    lens = Lens(cameras.K[-1], cameras.T_camera_world[-1], cameras.image_hw)
    scale = np.array(cameras.image_hw[::-1]) / np.array(sketch.image_hw[::-1])
    shapes = [replace(shape, polygon_px=shape.polygon_px * scale) for shape in sketch.shapes]
    lasts = [_last_frame(subject) for subject in scene.subjects]
    targets: dict[int, BodyMotion | ObjectMotion] = {}
    for index, own in _assigned(shapes, lasts, lens).items():
        last = lasts[index]
        if isinstance(last, ObjectMotion):
            targets[index] = _moved_object(last, own[0], lens)
            continue
        wanted = np.stack([shape.centre_px for shape in own])
        targets[index], misses = solve_pose(last, [shape.part_id for shape in own], wanted, lens)
        for shape, miss in zip(own, misses, strict=True):
            if miss > MISS_SHARE * lens.side_px:
                _LOGGER.warning("%s is out of reach of its target: %.0f pixels remain", shape.part, miss)
    return targets


def _last_frame(subject: Subject) -> BodyMotion | ObjectMotion:
    motion = subject.motion
    known = np.flatnonzero(motion.valid)
    if not len(known):
        raise InputError(subject.label or f"subject {subject.id}", "is valid in no frame", "at least one")
    last = slice(int(known[-1]), int(known[-1]) + 1)
    if isinstance(motion, BodyMotion):
        return motion[last]
    return ObjectMotion(motion.points_m[last], motion.fps, motion.valid[last])


def _has(motion: BodyMotion | ObjectMotion, part_id: int) -> bool:
    if isinstance(motion, ObjectMotion):
        return part_id == PART_IDS["object"]
    return part_id in JOINT_PARTS[motion.category]


def _assigned(
    shapes: list[SketchedPart], lasts: list[BodyMotion | ObjectMotion], lens: Lens
) -> dict[int, list[SketchedPart]]:
    """Shapes by subject: those that name one first, then the nearest pairs of shape and subject."""
    pairs = []
    for k, shape in enumerate(shapes):
        if shape.subject is not None:
            _check_subject(shape, lasts)
        for index, last in enumerate(lasts):
            if _has(last, shape.part_id) and shape.subject in (None, index):
                away = np.linalg.norm(_centre_px(last, shape.part_id, lens) - shape.centre_px)
                pairs.append((shape.subject is None, float(away), k, index))
        if not any(pair[2] == k for pair in pairs):
            raise InputError(f"sketch, part {shape.part!r}", "belongs to no subject of the scene", "one that has it")
    taken: dict[tuple[int, int], int] = {}
    for _, _, k, index in sorted(pairs):
        if k not in taken.values():
            taken.setdefault((index, shapes[k].part_id), k)
    for k, shape in enumerate(shapes):
        if k not in taken.values():
            raise InputError(
                f"sketch, part {shape.part!r}", "is drawn more often than there are subjects that have it",
                "one shape for a part of a subject", "leave one of the shapes out",
            )  # fmt: skip
    found: dict[int, list[SketchedPart]] = {}
    for (index, _), k in sorted(taken.items(), key=lambda item: item[1]):
        found.setdefault(index, []).append(shapes[k])
    return found


def _check_subject(shape: SketchedPart, lasts: list[BodyMotion | ObjectMotion]) -> None:
    where = f"sketch, part {shape.part!r}"
    assert shape.subject is not None
    if shape.subject >= len(lasts):
        raise InputError(where, f"is of subject {shape.subject}", f"0 to {len(lasts) - 1}, as the scene has")
    last = lasts[shape.subject]
    if not _has(last, shape.part_id):
        kind = last.category if isinstance(last, BodyMotion) else "object"
        raise InputError(where, f"is of subject {shape.subject}, a moving {kind}", "a part that this subject has")


def _centre_px(last: BodyMotion | ObjectMotion, part_id: int, lens: Lens) -> np.ndarray:
    if isinstance(last, BodyMotion):
        return lens.see(part_centres(last, [part_id])[0])[0][0]
    return SketchedPart(part_id, lens.see(last.points_m[0, :CONTOUR_POINTS].astype(float))[0]).centre_px


def _moved_object(last: ObjectMotion, shape: SketchedPart, lens: Lens) -> ObjectMotion:
    """The 21 points moved across the view at their depths, so that the outline's centre is the shape's."""
    points = last.points_m[0].astype(float)
    pixels, depth, _, _ = lens.see(points)
    outline = SketchedPart(shape.part_id, pixels[:CONTOUR_POINTS])
    size = float(np.sqrt(shape.area_px / max(outline.area_px, 1e-3)))
    size = size if max(size, 1 / max(size, 1e-6)) >= RESIZE_FROM else 1.0
    moved = shape.centre_px + (pixels - outline.centre_px) * size
    rays = np.concatenate([moved, np.ones((len(moved), 1))], 1) @ np.linalg.inv(lens.K.astype(float)).T
    T = lens.T_camera_world.astype(float)
    found = (rays * depth[:, None] - T[:3, 3]) @ T[:3, :3]
    return ObjectMotion(found[None].astype(np.float32), last.fps, np.ones(1, bool))
