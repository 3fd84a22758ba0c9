"""A scene at another number of frames: motions and cameras read between their frames, or continued.

Input: a `Scene`. Output: the same with `frames` frames at `fps`. Stage 1 is cheap and short; this lifts what was found in
it to the length that is wanted (ReVision, section 4.2-S1).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Int
from scipy.spatial.transform import Rotation, Slerp

from kinema.optimize.lengthen import lengthen, resample
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene


def stretch_scene(scene: Scene, frames: int, fps: float) -> Scene:
    """The same happenings over `frames` frames at `fps`: first and last ones stay."""
    subjects = tuple(replace(s, motion=_stretched(s.motion, frames, fps)) for s in scene.subjects)
    return replace(scene, subjects=subjects, cameras=_cameras(scene.cameras, frames))


def lengthen_scene(scene: Scene, frames: int) -> Scene:
    """The scene continued to `frames` frames at its own rate; bodies go on moving, cameras and objects stay."""
    have = len(scene.cameras.K)
    if frames <= have:
        return scene if frames == have else at_frames(scene, np.arange(frames))
    still = at_frames(scene, np.minimum(np.arange(frames), have - 1))
    subjects = [
        replace(given, motion=lengthen(given.motion, frames)) if isinstance(given.motion, BodyMotion) else waiting
        for given, waiting in zip(scene.subjects, still.subjects, strict=True)
    ]
    return replace(still, subjects=tuple(subjects))


def at_frames(scene: Scene, frames: Int[np.ndarray, " N"]) -> Scene:
    """The scene in some of its frames, in any order, each as often as it is named."""
    cameras = Cameras(scene.cameras.K[frames], scene.cameras.T_camera_world[frames], scene.cameras.image_hw)
    subjects = []
    for subject in scene.subjects:
        names = OBJECT_FIELDS if isinstance(subject.motion, ObjectMotion) else BODY_FIELDS
        own = {name: getattr(subject.motion, name)[frames] for name in names}
        subjects.append(replace(subject, motion=replace(subject.motion, **own)))
    return replace(scene, subjects=tuple(subjects), cameras=cameras)


BODY_FIELDS = ("rotvec", "root_translation_m", "expression", "valid", "confidence")
OBJECT_FIELDS = ("points_m", "valid")
"""What a motion has of every frame."""


def _stretched(motion: BodyMotion | ObjectMotion, frames: int, fps: float) -> BodyMotion | ObjectMotion:
    if isinstance(motion, BodyMotion):
        return replace(resample(motion, frames=frames), fps=fps)
    at = np.linspace(0, len(motion.points_m) - 1, frames)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(motion.points_m) - 1)
    share = (at - low)[:, None, None].astype(np.float32)
    points = motion.points_m[low] * (1 - share) + motion.points_m[high] * share
    return ObjectMotion(points, fps, motion.valid[low] & motion.valid[high])


def _cameras(cameras: Cameras, frames: int) -> Cameras:
    have = len(cameras.K)
    if have == 1:
        repeat = (frames, 1, 1)
        return Cameras(np.tile(cameras.K, repeat), np.tile(cameras.T_camera_world, repeat), cameras.image_hw)
    at, own = np.linspace(0, have - 1, frames), np.arange(have)
    T = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    turns = Rotation.from_matrix(cameras.T_camera_world[:, :3, :3].astype(float))
    eyes = -np.einsum("tji,tj->ti", cameras.T_camera_world[:, :3, :3], cameras.T_camera_world[:, :3, 3])
    T[:, :3, :3] = Slerp(own, turns)(at).as_matrix()
    eye = np.stack([np.interp(at, own, eyes[:, k]) for k in range(3)], 1)
    T[:, :3, 3] = -np.einsum("tij,tj->ti", T[:, :3, :3], eye)
    K = np.stack([np.interp(at, own, v) for v in cameras.K.reshape(have, 9).T], 1).reshape(-1, 3, 3)
    return Cameras(K.astype(np.float32), T, cameras.image_hw)
