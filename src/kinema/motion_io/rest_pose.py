"""How a rig stands: its axes, the rotations of its joints in a standing pose, and whether it is left-handed.

Most rigs stand in their zero pose (all rotations 0), in a T-pose, an A-pose or with hanging arms, with y or z up and
facing anywhere. LAFAN's do not: every joint's x axis lies along its bone, so that the zero pose is a straight line;
its joints' axes in a T-pose are a table here, taken from the frames of the published files.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from kinema.errors import InputError
from kinema.motion_io.bvh import Bvh, global_transforms

STANDING = 0.6
"""Least cosine between a leg and straight down in a standing zero pose (53 degrees apart)."""
NEAR_AXIS = 0.95
"""Cosine (18 degrees) above which a rig's own direction is taken to be meant as the coordinate axis beside it."""

UPRIGHT = 0.8
"""Cosine (37 degrees) of the trunk to an axis along which somebody stands."""
HIP_HEIGHT = (0.8, 1.6)
"""Hips above the floor, in leg lengths, of somebody who stands or walks."""

_X, _Y, _Z = np.eye(3)
BONE_AXES = {
    "trunk": np.stack([_Y, _Z, _X], 1),
    "left_arm": np.stack([_X, -_Z, _Y], 1),
    "right_arm": np.stack([-_X, -_Z, -_Y], 1),
    "leg": np.stack([-_Y, _Z, -_X], 1),
    "foot": np.stack([_Z, _Y, -_X], 1),
}
"""LAFAN: a joint's x, y, z axes (columns) in the T-pose, our axes. Left +x, up +y, front +z."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """A rig's standing pose. S source joints.

    axes         3x3, file axes -> ours (+y up, the body's front +z, its left +x)
    rotmat       [S,3,3] global rotations in the standing pose, file axes
    joints       [S,3] joint positions in the standing pose, our axes, file unit
    end_offsets  joint -> End Site relative to the joint, our axes, file unit
    """

    axes: Float[np.ndarray, "3 3"]
    rotmat: Float[np.ndarray, "S 3 3"]
    joints: Float[np.ndarray, "S 3"]
    parents: np.ndarray
    end_offsets: dict[int, np.ndarray]

    def bone_beyond(self, joint: int) -> Float[np.ndarray, " 3"] | None:
        """The longest bone that starts at a joint, an End Site's included; None where none has a length."""
        bones = [self.joints[child] - self.joints[joint] for child in np.flatnonzero(self.parents == joint)]
        bones += [self.end_offsets[joint]] if joint in self.end_offsets else []
        longest = max(bones, key=lambda bone: float(np.linalg.norm(bone)), default=None)
        return longest if longest is not None and np.linalg.norm(longest) > 1e-6 else None


def smallest_rotation(a: Float[np.ndarray, " 3"], b: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that takes direction a to direction b; the identity where one of them has no length."""
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    if min(lengths) < 1e-9:
        return np.eye(3)
    a, b = a / lengths[0], b / lengths[1]
    axis, cosine = np.cross(a, b), float(a @ b)
    if cosine < -1 + 1e-9:  # opposite: half a turn about any axis across a
        across = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        across /= np.linalg.norm(across)
        return 2 * np.outer(across, across) - np.eye(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def standing_pose(bvh: Bvh, found: dict[str, tuple[int, ...]]) -> Standing:
    """Raises InputError where the rig does not stand in its zero pose, has no legs, or is left-handed."""
    at = {name: indices[0] for name, indices in found.items()}
    rotmat = np.tile(np.eye(3), (len(bvh.names), 1, 1))
    if _bones_along_x(bvh, at):
        rotmat = _bone_axes_pose(bvh, at)
    joints = _place(bvh, rotmat)
    left, up = _body_axes(bvh, at, joints)
    axes = np.stack([left, up, np.cross(left, up)])
    _check_handedness(bvh, at, joints @ axes.T, axes, rotmat)
    ends = {joint: axes @ rotmat[joint] @ offset for joint, offset in bvh.end_offsets.items()}
    return Standing(axes, rotmat, joints @ axes.T, bvh.parents, ends)


def upright_world(
    bvh: Bvh, place: Float[np.ndarray, "T S 3"], pose: Standing, found: dict[str, tuple[int, ...]]
) -> Float[np.ndarray, "3 3"]:
    """Rotation that makes +y up where a rig rests with one axis up and moves with another one up, else the identity.

    place  the clip's joints in our axes as the rest pose has them, file unit
    Another axis is up where nearly all frames have the head along it and the hips are a leg's length up it.
    """
    at = {name: indices[0] for name, indices in found.items()}
    trunk = place[:, at["head"]] - place[:, at["pelvis"]]
    trunk /= np.maximum(np.linalg.norm(trunk, axis=1, keepdims=True), 1e-9)
    hips, leg = (
        place[:, at["pelvis"]],
        float(np.linalg.norm(pose.joints[at["left_ankle"]] - pose.joints[at["left_hip"]])),
    )
    for axis in (_Z, -_Z, _X, -_X):
        height = float(np.median(hips @ axis)) / leg
        if np.quantile(trunk @ axis, 0.2) > UPRIGHT and HIP_HEIGHT[0] < height < HIP_HEIGHT[1]:
            log.warning("%s: rests with one axis up and moves with another; the one it moves with is used", bvh.path)
            return smallest_rotation(axis, _Y)
    return np.eye(3)


def _place(bvh: Bvh, rotmat: Float[np.ndarray, "S 3 3"]) -> Float[np.ndarray, "S 3"]:
    above = rotmat[np.maximum(bvh.parents, 0)]
    local = np.where((bvh.parents < 0)[:, None, None], rotmat, np.swapaxes(above, -1, -2) @ rotmat)
    return global_transforms(bvh.parents, local[None], bvh.offsets[None])[0][0]


def _bones_along_x(bvh: Bvh, at: dict[str, int]) -> bool:
    bones = np.stack(
        [bvh.offsets[at[f"{s}_{j}"]] for s in ("left", "right") for j in ("knee", "ankle", "elbow", "wrist")]
    )
    lengths = np.linalg.norm(bones, axis=1)
    return bool((bones[:, 0] > 0.99 * lengths).all() and (lengths > 0).all())


def _bone_axes_pose(bvh: Bvh, at: dict[str, int]) -> Float[np.ndarray, "S 3 3"]:
    """Global rotations of the T-pose of a rig with bones along x; joints without a place follow their parent."""
    group = {at[name]: "trunk" for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head") if name in at}
    for side in ("left", "right"):
        for names, axes in (
            (("collar", "shoulder", "elbow", "wrist"), f"{side}_arm"),
            (("hip", "knee"), "leg"),
            (("ankle", "foot"), "foot"),
        ):
            group |= {at[f"{side}_{name}"]: axes for name in names if f"{side}_{name}" in at}
    rotmat = np.tile(BONE_AXES["trunk"], (len(bvh.names), 1, 1))
    for joint, parent in enumerate(bvh.parents):
        rotmat[joint] = BONE_AXES[group[joint]] if joint in group else rotmat[max(parent, 0)]
    return rotmat


def _body_axes(bvh: Bvh, at: dict[str, int], joints: Float[np.ndarray, "S 3"]):
    """Unit directions of the body's left and up in the standing pose, file axes, at right angles."""
    up = joints[at["head"]] - joints[at["pelvis"]]
    left = joints[at["left_hip"]] - joints[at["right_hip"]]
    legs = [joints[at[f"{side}_ankle"]] - joints[at[f"{side}_hip"]] for side in ("left", "right")]
    lengths = [float(np.linalg.norm(v)) for v in (up, left, *legs)]
    size = max(lengths)
    if min(lengths) < 1e-3 * size or size < 1e-6:
        raise InputError(bvh.path, "trunk, hips or legs of its skeleton have no length", expected="OFFSETs of a body")
    up = _snapped(up / lengths[0])
    down = [-float(leg @ up) / length for leg, length in zip(legs, lengths[2:], strict=True)]
    left = left - (left @ up) * up
    if min(down) < STANDING or np.linalg.norm(left) < 0.5 * lengths[1]:
        raise InputError(
            bvh.path,
            "its zero pose (all rotations 0) is not a person standing",
            expected="a T-pose, an A-pose, or arms that hang; or LAFAN's, with all bones along x",
            mend="export it again with the T-pose as the rest pose",
        )
    left /= np.linalg.norm(left)
    return (_snapped(left) if abs(_snapped(left) @ up) < 1e-9 else left), up


def _snapped(direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    axis = np.eye(3)[np.argmax(np.abs(direction))] * np.sign(direction[np.argmax(np.abs(direction))])
    return axis if direction @ axis > NEAR_AXIS else direction


def _check_handedness(bvh: Bvh, at: dict[str, int], joints: np.ndarray, axes: np.ndarray, rotmat: np.ndarray) -> None:
    """The toes, or where the rig has none the bent knees, must lie on the side that left x up calls the front."""
    leg = float(np.linalg.norm(joints[at["left_ankle"]] - joints[at["left_hip"]]))
    toes = 0.0
    for side in ("left", "right"):
        ankle, foot = at[f"{side}_ankle"], at.get(f"{side}_foot")
        if foot is not None:
            toes += float(joints[foot, 2] - joints[ankle, 2])
        elif ankle in bvh.end_offsets:
            toes += float((axes @ rotmat[ankle] @ bvh.end_offsets[ankle])[2])
    if abs(toes) < 0.1 * leg:
        toes = _knees_forward(bvh, at, rotmat[at["pelvis"]].T @ axes[2])
    if toes < -0.05 * leg:
        raise InputError(
            bvh.path,
            "is left-handed: its left joints lie on the right of a body that faces where its toes point",
            expected="right-handed axes, as BVH has",
            mend="mirror it: negate every Xposition, x OFFSET, Yrotation and Zrotation; or, if the names are "
            "swapped, exchange Left and Right",
        )


def _knees_forward(bvh: Bvh, at: dict[str, int], front: Float[np.ndarray, " 3"]) -> float:
    """How far the knees bend to `front`, a direction in the pelvis' frame, on average; 0 where they stay straight."""
    place, turn = global_transforms(bvh.parents, bvh.rotmat, bvh.positions)
    total = 0.0
    for side in ("left", "right"):
        hip, knee, ankle = (place[:, at[f"{side}_{joint}"]] for joint in ("hip", "knee", "ankle"))
        in_pelvis = np.swapaxes(turn[:, at["pelvis"]], -1, -2) @ (2 * knee - hip - ankle)[..., None]
        total += float((in_pelvis[..., 0] @ front).mean())
    return total
