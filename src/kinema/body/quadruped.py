"""The rest skeleton of the built-in quadruped, and the inverse kinematics of its legs.

Input: trunk rotations, where the four feet are, how its lowest long bone leans. Output: rotations of the leg joints.
The animal is dog-like, 0.6 m at the withers, rest frame +y up, facing +z, left +x, paws on the floor y = 0.
Its legs bend as a dog's do: front shoulder, elbow, carpus, paw; hind hip, stifle, hock, paw.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from kinema.body.skeleton import ANIMAL_JOINTS, ANIMAL_PARENTS
from kinema.geometry import rotmat_to_rotvec
from kinema.types import BodyMotion

_MIDLINE_M = {
    "pelvis": (0.525, -0.27), "pelvis0": (0.535, -0.21), "spine": (0.545, -0.14), "spine0": (0.545, -0.06),
    "spine1": (0.54, 0.02), "spine2": (0.535, 0.10), "spine3": (0.54, 0.18), "neck": (0.60, 0.275),
    "head": (0.73, 0.385), "mouth": (0.695, 0.435), "tail1": (0.525, -0.355), "tail2": (0.495, -0.405),
    "tail3": (0.46, -0.45), "tail4": (0.42, -0.49), "tail5": (0.38, -0.525), "tail6": (0.34, -0.555),
    "tail7": (0.305, -0.575),
}  # fmt: skip
_LEFT_M = {
    "front_leg1": (0.075, 0.45, 0.245), "front_leg2": (0.095, 0.315, 0.14), "front_leg3": (0.095, 0.14, 0.165),
    "front_foot": (0.095, 0.045, 0.195), "hind_leg1": (0.07, 0.47, -0.28), "hind_leg2": (0.09, 0.32, -0.19),
    "hind_leg3": (0.09, 0.155, -0.325), "hind_foot": (0.09, 0.045, -0.30), "ear": (0.045, 0.795, 0.375),
}  # fmt: skip


def _rest_joints() -> np.ndarray:
    rows = []
    for name in ANIMAL_JOINTS:
        side, _, joint = name.partition("_")
        if joint:
            x, y, z = _LEFT_M[joint]
            rows.append((x if side == "left" else -x, y, z))
        else:
            rows.append((0.0, *_MIDLINE_M[name]))
    return np.array(rows, np.float32)


REST_JOINTS_M: np.ndarray = _rest_joints()
"""[35,3] joints at rest, metres; hand-made round numbers for a dog of 0.6 m at the withers."""
BONES_M: np.ndarray = REST_JOINTS_M - REST_JOINTS_M[np.maximum(ANIMAL_PARENTS, 0)]
"""[35,3] rest offset of every joint from its parent, metres (row 0 is zero)."""

SPINE = tuple(ANIMAL_JOINTS.index(n) for n in ("pelvis0", "spine", "spine0", "spine1", "spine2", "spine3"))
TAIL = tuple(ANIMAL_JOINTS.index(f"tail{k}") for k in range(1, 8))
NECK, HEAD, MOUTH, LEFT_EAR, RIGHT_EAR = (
    ANIMAL_JOINTS.index(n) for n in ("neck", "head", "mouth", "left_ear", "right_ear")
)


class Leg(NamedTuple):
    """Joint indices of one leg, top to bottom: shoulder or hip, elbow or stifle, carpus or hock, paw."""

    name: str
    upper: int
    middle: int
    lower: int
    foot: int

    @property
    def front(self) -> bool:
        return "front" in self.name


LEGS: tuple[Leg, ...] = tuple(
    Leg(name, *(ANIMAL_JOINTS.index(f"{name}_{part}") for part in ("leg1", "leg2", "leg3", "foot")))
    for name in ("left_front", "right_front", "left_hind", "right_hind")
)
"""Left front, right front, left hind, right hind: the order of every per-leg array."""
REST_FEET_M: np.ndarray = REST_JOINTS_M[[leg.foot for leg in LEGS]]


def rotation_x(angle_rad: np.ndarray | float) -> np.ndarray:
    """[...] -> [...,3,3] turn about +x: a positive one lowers the nose."""
    return _axis_rotation(angle_rad, 1, 2)


def rotation_y(angle_rad: np.ndarray | float) -> np.ndarray:
    """[...] -> [...,3,3] turn about +y: a positive one is to the left."""
    return _axis_rotation(angle_rad, 2, 0)


def rotation_z(angle_rad: np.ndarray | float) -> np.ndarray:
    """[...] -> [...,3,3] turn about +z: a positive one raises the left side."""
    return _axis_rotation(angle_rad, 0, 1)


def _axis_rotation(angle_rad: np.ndarray | float, i: int, j: int) -> np.ndarray:
    angle_rad = np.asarray(angle_rad, float)
    matrix = np.zeros((*angle_rad.shape, 3, 3))
    matrix[..., [0, 1, 2], [0, 1, 2]] = 1
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle_rad)
    matrix[..., j, i] = np.sin(angle_rad)
    matrix[..., i, j] = -matrix[..., j, i]
    return matrix


def trunk_kinematics(local: np.ndarray, root_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations [T,35,3,3], pelvis [T,3] metres -> global rotations [T,35,3,3], joints [T,35,3] metres."""
    glob, joints = local.copy(), np.repeat(root_m[:, None].astype(float), len(ANIMAL_JOINTS), 1)
    for j, parent in enumerate(ANIMAL_PARENTS[1:], 1):
        glob[:, j] = glob[:, parent] @ local[:, j]
        joints[:, j] = joints[:, parent] + (glob[:, parent] @ BONES_M[j])
    return glob, joints


def leg_reach_m(leg: Leg) -> float:
    """Longest distance from the leg's top joint to its carpus or hock."""
    return float(np.linalg.norm(BONES_M[leg.middle]) + np.linalg.norm(BONES_M[leg.lower]))


def lower_joint(leg: Leg, foot_m: np.ndarray, yaw_rad: np.ndarray, lean_rad: np.ndarray) -> np.ndarray:
    """[T,3] where the carpus or hock is, for the paw joint's place [T,3] and the lean [T] of the bone between."""
    return foot_m - rotation_y(yaw_rad) @ rotation_x(lean_rad) @ BONES_M[leg.foot].astype(float)


def bend_leg(
    leg: Leg, local: np.ndarray, above: np.ndarray, top_m: np.ndarray, lower_m: np.ndarray, lower: np.ndarray
) -> None:
    """Write a leg's rotations into `local` [T,35,3,3] so that its carpus or hock lies at `lower_m` [T,3].

    above [T,3,3] global rotation of the joint that the leg hangs on; top_m [T,3] the leg's top joint;
    lower [T,3,3] global rotation asked of the carpus or hock. Two-bone inverse kinematics in closed form: the
    elbow or stifle flexes about its own x axis until the distance fits, then the top joint swings about x and z.
    A target out of reach is approached as far as the leg goes.
    """
    a, b = BONES_M[leg.middle].astype(float), BONES_M[leg.lower].astype(float)
    want = (np.swapaxes(above, -1, -2) @ (lower_m - top_m)[..., None])[..., 0]
    cosine, sine = a[1] * b[1] + a[2] * b[2], a[2] * b[1] - a[1] * b[2]
    amplitude = np.hypot(cosine, sine)
    half = (np.sum(want**2, -1) - a @ a - b @ b) / 2 - a[0] * b[0]
    swing = np.arccos(np.clip(half / amplitude, -1, 0.9999))
    rest_bend = np.arctan2(sine, cosine)
    flex = rest_bend + np.where(rest_bend > 0, -swing, swing)
    middle = rotation_x(flex)
    reach = a + middle @ b

    length = np.hypot(reach[:, 1], reach[:, 2])
    scale = np.linalg.norm(reach, axis=-1) / np.linalg.norm(want, axis=-1)
    forward = np.clip(want[:, 2] * scale / length, -1, 1)
    pitch = np.arctan2(reach[:, 2], -reach[:, 1]) - np.arcsin(forward)
    turned = (rotation_x(pitch) @ reach[..., None])[..., 0]
    roll = np.arctan2(want[:, 1], want[:, 0]) - np.arctan2(turned[:, 1], turned[:, 0])

    local[:, leg.upper] = rotation_z(roll) @ rotation_x(pitch)
    local[:, leg.middle] = middle
    local[:, leg.lower] = np.swapaxes(above @ local[:, leg.upper] @ middle, -1, -2) @ lower


def plant_legs(
    local: np.ndarray,
    root_m: np.ndarray,
    feet_m: np.ndarray,
    lean_rad: np.ndarray,
    paw_rad: np.ndarray,
    yaw_rad: np.ndarray,
) -> np.ndarray:
    """Trunk rotations [T,35,3,3] (leg entries ignored) -> a copy with the legs bent to reach `feet_m` [T,4,3].

    Per leg [T,4], radians in the world: lean of the bone above the paw from its rest pose, pitch of the paw
    (positive: toes down), heading of the foot.
    """
    local = local.copy()
    glob, joints = trunk_kinematics(local, root_m)
    for k, leg in enumerate(LEGS):
        above = glob[:, ANIMAL_PARENTS[leg.upper]]
        heading = rotation_y(yaw_rad[:, k])
        lower = heading @ rotation_x(lean_rad[:, k])
        lower_m = lower_joint(leg, feet_m[:, k], yaw_rad[:, k], lean_rad[:, k])
        bend_leg(leg, local, above, joints[:, leg.upper], lower_m, lower)
        local[:, leg.foot] = np.swapaxes(lower, -1, -2) @ heading @ rotation_x(paw_rad[:, k])
    return local


def to_motion(local: Float[np.ndarray, "T 35 3 3"], root_m: Float[np.ndarray, "T 3"], fps: float) -> BodyMotion:
    """Local rotations and pelvis positions, metres -> the motion, at shape zero."""
    return BodyMotion(
        "animal",
        rotmat_to_rotvec(local).astype(np.float32),
        root_m.astype(np.float32),
        np.zeros(0, np.float32),
        fps,
    )
