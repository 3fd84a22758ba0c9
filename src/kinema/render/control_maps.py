"""From a plan of motion to the maps and videos that today's video models take.

Input: a motion, several, or a `Scene`. Output: `ControlMaps` for a clip (`render_maps`), frames of a video of any
length (`render_frames`), or the part condition of ReVision, section 4.1 (`part_condition`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8

from kinema.body.model import BodyModel
from kinema.body.skeleton import JOINT_PARTS, PART_IDS
from kinema.errors import InputError
from kinema.render import palette
from kinema.render.rasterizer import Raster, rasterize
from kinema.render.shot import Filmed, Shot, make_shot
from kinema.types import BodyMotion, Cameras, ControlMaps, PartCondition

MapName = Literal["parts", "mask", "depth", "normals", "openpose", "shaded"]
_PIXELS_AT_ONCE = 1 << 22
"""A chunk of frames is about this large, so that memory does not grow with the clip."""
_LOGGER = logging.getLogger(__name__)


def render_maps(
    filmed: Filmed,
    camera: Cameras | str | None = None,
    size: tuple[int, int] | None = None,
    maps: Sequence[str] | str = ("parts", "shaded"),
    body: BodyModel | None = None,
) -> ControlMaps:
    """Draw a clip. `parts` fills part_ids, `mask` subject_ids, `depth` depth_m; the others as they are called.

    filmed, camera, size, body  as `kinema.render.shot.make_shot` takes them: (width, height), 1024x576 by default
    Raises InputError for a map that does not exist, or that these subjects do not have.
    """
    maps = (maps,) if isinstance(maps, str) else maps
    for name in maps:
        _check_map(name)
    shot = make_shot(filmed, camera, size, body)
    pieces: dict[str, list[np.ndarray]] = {}
    for chunk in _chunks(shot, maps):
        for field, value in chunk.items():
            pieces.setdefault(field, []).append(value)
    return ControlMaps(shot.fps, **{field: np.concatenate(arrays) for field, arrays in pieces.items()})


def render_frames(
    filmed: Filmed,
    map: str = "shaded",
    camera: Cameras | str | None = None,
    size: tuple[int, int] | None = None,
    body: BodyModel | None = None,
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The frames of one map as RGB, one after another, at the rate of the motion; memory does not grow with it.

    The same frames as `to_rgb(render_maps(...), map)`. Depth is drawn twice, the first time to find its range.
    """
    name = _check_map(map)
    return _frames(make_shot(filmed, camera, size, body), name)


def to_rgb(maps: ControlMaps, map: str) -> UInt8[np.ndarray, "T H W 3"]:
    """One map of a clip as the frames of a video: what `kinema.render.palette` says of each."""
    name = _check_map(map)
    value = getattr(maps, _FIELDS[name])
    if value is None:
        raise InputError(f"map {map!r}", "was not drawn", mend=f"render_maps(..., maps=({map!r},))")
    return _TO_RGB[name](value)


def part_condition(
    filmed: Filmed,
    camera: Cameras | str | None = None,
    size: tuple[int, int] | None = None,
    body: BodyModel | None = None,
) -> PartCondition:
    """Part ids, and at every pixel how far the motion of its part is to be trusted; 0 where there is none.

    The confidence of a part is the mean of its joints'; an object's is 1.
    """
    shot = make_shot(filmed, camera, size, body)
    table = _part_confidence(shot)
    ids, confidence = [], []
    for frames in _slices(len(shot), shot.cameras.image_hw):
        raster = rasterize(shot.meshes(frames), shot.camera_slice(frames), normals=False)
        t = np.arange(len(shot))[frames, None, None]
        ids.append(raster.part_ids)
        confidence.append(table[t, raster.subject_ids, raster.part_ids])
    return PartCondition(np.concatenate(ids), np.concatenate(confidence))


_FIELDS: dict[MapName, str] = {
    "parts": "part_ids",
    "mask": "subject_ids",
    "depth": "depth_m",
    "normals": "normals",
    "openpose": "openpose",
    "shaded": "shaded",
}
_TO_RGB = {
    "parts": palette.parts_to_rgb,
    "mask": palette.mask_to_rgb,
    "depth": palette.depth_to_rgb,
    "normals": palette.normals_to_rgb,
    "openpose": lambda frames: frames,
    "shaded": lambda frames: frames,
}


def _check_map(name: str) -> MapName:
    if name not in get_args(MapName):
        raise InputError("map", f"is {name!r}", expected="one of " + ", ".join(get_args(MapName)))
    return name  # type: ignore[return-value]


def _slices(frames: int, image_hw: tuple[int, int]) -> Iterator[slice]:
    step = max(1, _PIXELS_AT_ONCE // (image_hw[0] * image_hw[1]))
    for start in range(0, frames, step):
        yield slice(start, min(start + step, frames))


def _frames(shot: Shot, map: MapName) -> Iterator[np.ndarray]:
    range_m = None
    if map == "depth":
        near, far = zip(*(palette.depth_range_m(c["depth_m"]) for c in _chunks(shot, ("depth",))), strict=True)
        range_m = (min(near), max(far))
    for chunk in _chunks(shot, (map,)):
        value = chunk[_FIELDS[map]]
        yield from palette.depth_to_rgb(value, range_m) if map == "depth" else _TO_RGB[map](value)


def _chunks(shot: Shot, maps: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """Fields of `ControlMaps`, a few frames at a time."""
    draw_openpose = _openpose(shot) if "openpose" in maps else None
    draw_shaded = _shaded(shot) if "shaded" in maps else None
    flat = {"parts", "mask", "depth", "normals"} & set(maps)
    samples = 4 if draw_shaded else 1
    height, width = shot.cameras.image_hw
    for frames in _slices(len(shot), (height * samples, width)):
        chunk: dict[str, np.ndarray] = {}
        meshes = shot.meshes(frames) if flat or draw_shaded else []
        if flat:
            raster = rasterize(meshes, shot.camera_slice(frames), normals="normals" in flat)
            chunk |= _flat_fields(raster, flat)
        if draw_openpose:
            chunk["openpose"] = draw_openpose(frames)
        if draw_shaded:
            chunk["shaded"] = draw_shaded(frames, meshes)
        yield chunk


def _flat_fields(raster: Raster, maps: set[str]) -> dict[str, np.ndarray]:
    return {field: getattr(raster, field) for name, field in _FIELDS.items() if name in maps}


def _shaded(shot: Shot):
    """A function from frames (a slice) and their meshes to the preview of them, under one light for the clip."""
    from kinema.render.shading import draw_shaded, make_stage

    stage = make_stage(shot)
    return lambda frames, meshes: draw_shaded(shot, stage, frames, meshes)


def _openpose(shot: Shot):
    """A function from frames (a slice) to the drawings of them; the poses of the clip are worked out once."""
    from kinema.render.openpose import Pose, draw_poses, keypoints

    humans = [
        (subject.motion, body)
        for subject, body in zip(shot.subjects, shot.bodies, strict=True)
        if isinstance(subject.motion, BodyMotion) and subject.motion.category == "human" and body
    ]
    if not humans:
        raise InputError(
            "map 'openpose'", "is drawn for people, and there are none", mend="choose parts, mask, depth or normals"
        )
    if len(humans) < len(shot.subjects):
        _LOGGER.warning("openpose shows people only: %d subjects are left out", len(shot.subjects) - len(humans))
    poses = [keypoints(motion, body) for motion, body in humans]
    valid = np.stack([motion.valid for motion, _ in humans])

    def draw(frames: slice) -> np.ndarray:
        people = [
            Pose(p.body_m[frames], p.out_of_head[frames], None if p.hands_m is None else p.hands_m[frames])
            for p in poses
        ]
        return draw_poses(people, shot.camera_slice(frames), valid[:, frames])

    return draw


def _part_confidence(shot: Shot) -> np.ndarray:
    """float32 [T, 1 + subjects, 256]: confidence of every part of every subject."""
    table = np.zeros((len(shot), 1 + len(shot.subjects), 256), np.float32)
    for k, motion in enumerate((s.motion for s in shot.subjects), 1):
        if isinstance(motion, BodyMotion):
            joint_parts = JOINT_PARTS[motion.category]
            for part in np.unique(joint_parts):
                table[:, k, part] = motion.confidence[:, joint_parts == part].mean(1)
        else:
            table[:, k, PART_IDS["object"]] = 1.0
    return table
