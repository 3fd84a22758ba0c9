"""How far joints turn: ranges of swing and twist, and by how much a motion goes beyond them.

A joint's rotation is split into a twist about its bone and a swing across it (Grassia 1998): three angles about the
rest pose's x, y and z, of which the one along the bone is the twist. Ranges are those of joint-motion tables (American
Academy of Orthopaedic Surgeons, Joint Motion, 1965), widened to what 99.9 % of the frames of the CMU capture (training
and validation split, 50,939 frames) do, plus 10 degrees: the capture's rigs differ in how they share turns among
neighbouring joints, and dancers and gymnasts go further than patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int

from kinema.body.skeleton import BODY_JOINTS, JOINTS
from kinema.types import Category

Range = tuple[float, float]

HUMAN_LIMITS_DEG: dict[str, tuple[str, Range, Range, Range]] = {
    "hip": ("y", (-135, 55), (-120, 120), (-95, 130)),
    "knee": ("y", (-15, 160), (-35, 50), (-30, 30)),
    "ankle": ("y", (-90, 75), (-60, 75), (-55, 60)),
    "foot": ("y", (-75, 80), (-25, 25), (-25, 25)),
    "spine1": ("y", (-65, 75), (-50, 50), (-55, 60)),
    "spine2": ("y", (-30, 45), (-35, 35), (-35, 35)),
    "spine3": ("y", (-45, 40), (-30, 30), (-40, 40)),
    "neck": ("y", (-65, 60), (-65, 65), (-40, 40)),
    "head": ("y", (-65, 60), (-65, 65), (-40, 40)),
    "collar": ("x", (-45, 45), (-45, 45), (-45, 45)),
    "shoulder": ("x", (-180, 180), (-145, 95), (-130, 115)),
    "elbow": ("x", (-115, 100), (-155, 75), (-150, 75)),
    "wrist": ("x", (-130, 135), (-85, 90), (-85, 85)),
}
"""Left side: axis of the bone, then ranges about x, y and z. The right side is its mirror image (y and z change sign).
About x: forward bending of trunk and knee is positive, of the hip negative. Shoulders twist freely: a twist's angle
means little when the arm hangs or is raised. The pelvis is free, and jaw, eyes and fingers are not judged."""
ANIMAL_LIMIT_DEG = 140.0
"""Any joint of an animal, all axes together: no table is published for the SMAL joints, so only the absurd is
found. A sitting dog folds its hocks by up to 135."""


@dataclass(frozen=True)
class JointRanges:
    """Of J joints: low and high [J,3] rad of the angles that `swing_twist` gives of them, infinite where there is no range;
    the bone's axis [J] (0-2); mirror [J,3], by which a rotation vector becomes one of the left side."""

    low: Float[np.ndarray, "J 3"]
    high: Float[np.ndarray, "J 3"]
    axis: Int[np.ndarray, " J"]
    mirror: Float[np.ndarray, "J 3"]

    def angles(self, rotvec: Float[np.ndarray, "... J 3"]) -> Float[np.ndarray, "... J 3"]:
        """rad, as on the left side."""
        return swing_twist(np.asarray(rotvec, float) * self.mirror, self.axis)


@cache
def joint_ranges(category: Category, joints: int) -> JointRanges:
    """Of the first `joints` of a category. An animal's are of all axes together, and stand here for each."""
    low, high = np.full((joints, 3), -np.inf), np.full((joints, 3), np.inf)
    axis, mirror = np.zeros(joints, int), np.ones((joints, 3))
    for j, name in enumerate(JOINTS[category][:joints]):
        side, _, joint = name.rpartition("_")
        if category == "animal" and j > 0:
            low[j], high[j] = -np.deg2rad(ANIMAL_LIMIT_DEG), np.deg2rad(ANIMAL_LIMIT_DEG)
        elif category == "human" and j < len(BODY_JOINTS) and joint in HUMAN_LIMITS_DEG:
            bone, *ranges = HUMAN_LIMITS_DEG[joint]
            low[j], high[j] = np.deg2rad(np.array(ranges).T)
            axis[j] = "xyz".index(bone)
            mirror[j] = (1, -1, -1) if side == "right" else (1, 1, 1)
    return JointRanges(low, high, axis, mirror)


def beyond_limits(rotvec: Float[np.ndarray, "T J 3"], category: Category) -> Float[np.ndarray, "T J"]:
    """[T,J] rad by which a joint's rotation exceeds its range; 0 within it and for joints without one."""
    if category == "animal":
        # What is given may wind round more than once: |angle| modulo a turn.
        angle = np.linalg.norm(_shortest(np.asarray(rotvec, float)), axis=-1)
        angle[:, 0] = 0
        return np.maximum(angle - np.deg2rad(ANIMAL_LIMIT_DEG), 0)
    ranges = joint_ranges(category, rotvec.shape[1])
    angles = ranges.angles(rotvec)
    return np.maximum(np.maximum(ranges.low - angles, angles - ranges.high), 0).max(-1)


def swing_twist(rotvec: Float[np.ndarray, "... J 3"], axis: Int[np.ndarray, " J"]) -> Float[np.ndarray, "... J 3"]:
    """Rotation -> angles in rad, -pi to pi: the twist about a joint's `axis` (0-2) at its place, the swing's rotation
    vector, which has no part along it, at the other two. rotation = swing after twist."""
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_rotvec(rotvec.reshape(-1, 3))
    quat, along = rotation.as_quat(), np.broadcast_to(np.eye(3)[axis], rotvec.shape).reshape(-1, 3)
    twist = 2 * np.arctan2((quat[:, :3] * along).sum(1, keepdims=True), quat[:, 3:])
    twist = ((twist + np.pi) % (2 * np.pi) - np.pi) * along
    swing = (rotation * Rotation.from_rotvec(twist).inv()).as_rotvec()
    return np.where(along > 0, twist, swing).reshape(rotvec.shape)


def _shortest(rotvec: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_rotvec().reshape(rotvec.shape)
