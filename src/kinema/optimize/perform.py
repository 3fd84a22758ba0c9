"""A motion from elsewhere on a subject of a scene (ReVision, section 5.2: human image animation).

Input: a scene of one frame, and a motion. Output: the scene over the motion's length, in which a subject does it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from kinema.errors import InputError
from kinema.optimize.lengthen import resample
from kinema.optimize.retime import stretch_scene
from kinema.types import BodyMotion, Scene, Subject


def perform(still: Scene, motion: BodyMotion, fps: float) -> Scene:
    """The scene of one frame, in which the first subject of the motion's kind does it from where it stands.

    Raises InputError where there is none. It keeps its own shape, place and heading; its first pose is the picture's.
    """
    moved = resample(motion, fps=fps)
    index = next((k for k, s in enumerate(still.subjects) if _category(s) == motion.category), None)
    if index is None:
        raise InputError("motion", f"is of a {motion.category}", mend=f"give a picture that shows a {motion.category}")
    pose = still.subjects[index].motion
    assert isinstance(pose, BodyMotion)
    scene = stretch_scene(still, len(moved), fps)
    own = list(scene.subjects)
    own[index] = replace(own[index], motion=_continued(pose, moved))
    return replace(scene, subjects=tuple(own))


def _category(subject: Subject) -> str:
    return subject.motion.category if isinstance(subject.motion, BodyMotion) else "object"


def _continued(pose: BodyMotion, motion: BodyMotion) -> BodyMotion:
    """The motion on the pose's shape, from where it stands, turned to face where it does; frame 0 is the pose."""

    def heading(rotvec: np.ndarray) -> float:
        front = Rotation.from_rotvec(rotvec).apply([0, 0, 1])
        return float(np.arctan2(front[0], front[2]))

    turn = Rotation.from_rotvec([0, heading(pose.rotvec[0, 0]) - heading(motion.rotvec[0, 0]), 0])
    rotvec = motion.rotvec.copy()
    rotvec[:, 0] = (turn * Rotation.from_rotvec(motion.rotvec[:, 0])).as_rotvec()
    root = turn.apply(motion.root_translation_m - motion.root_translation_m[0]) + pose.root_translation_m[0]
    rotvec[0] = pose.rotvec[0]
    return replace(
        motion, rotvec=rotvec.astype(np.float32), root_translation_m=root.astype(np.float32), betas=pose.betas
    )
