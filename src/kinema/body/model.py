"""Shape -> pose -> skin: what every body offers, forward kinematics, and linear blend skinning.

Input: a `BodyMotion` (SMPL-X or SMAL layout). Output: joints and vertices in the world, metres, +y up.
Source: SMPL (Loper et al. 2015, equations 2-4), SMPL-X (Pavlakos et al. 2019).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int32, UInt8

from kinema.body.skeleton import depth_levels
from kinema.errors import InputError
from kinema.types import BodyMotion, Category

if TYPE_CHECKING:
    import torch

Detail = Literal["full", "low"]


@runtime_checkable
class BodyModel(Protocol):
    """A skinned body. V vertices, F triangles, J joints in the category's layout (`kinema.body.skeleton`)."""

    @property
    def category(self) -> Category: ...
    @property
    def name(self) -> str: ...
    @property
    def faces(self) -> Int32[np.ndarray, "F 3"]: ...
    @property
    def vertex_parts(self) -> UInt8[np.ndarray, " V"]: ...

    def rest_joints(self, betas: Float[np.ndarray, " B"]) -> Float[np.ndarray, "J 3"]:
        """Joints of the rest pose for a shape, metres, in the model's own frame (+y up, facing +z)."""
        ...

    def vertices(self, motion: BodyMotion) -> Float[np.ndarray, "T V 3"]:
        """Skinned vertices in the world, float32 metres, joint 0 at `motion.root_translation_m`."""
        ...


def forward_kinematics(rotmat: torch.Tensor, bones: torch.Tensor, root: torch.Tensor, parents: np.ndarray):
    """Local rotations to joints and global rotations, in the frame of `root`.

    rotmat  [...,J,3,3] relative to the parent     bones  [...,J,3] rest offset from the parent, metres (row 0 unused)
    root    [...,3] position of joint 0, metres    -> joints [...,J,3], global rotations [...,J,3,3]
    """
    import torch

    levels = depth_levels(parents)
    joints, glob = [root[..., None, :]], [rotmat[..., :1, :, :]]
    for before, level in pairwise(levels):
        at = np.searchsorted(before, parents[level])  # parents are all on the level before
        above = glob[-1][..., at, :, :]
        joints.append(joints[-1][..., at, :] + (above @ bones[..., level, :, None])[..., 0])
        glob.append(above @ rotmat[..., level, :, :])
    order = np.argsort(np.concatenate(levels))
    return torch.cat(joints, -2)[..., order, :], torch.cat(glob, -3)[..., order, :, :]


def load_body(category: Category = "human", file: str | Path | None = None, detail: Detail = "full") -> BodyModel:
    """The user's licensed body file where one is given, else the built-in body of that category."""
    if category == "human":
        from kinema.body.human import load_human

        return load_human(file, detail)
    if category != "animal":
        raise InputError("body", f"is to be of {category!r} layout", expected="'human' or 'animal'")
    from kinema.body.animal import load_animal

    return load_animal(file, detail)


def body_for(category: Category, body: BodyModel | None = None) -> BodyModel:
    """The body given, else the built-in low-polygon one. Raises InputError where it is another category's."""
    if body is None:
        return load_body(category, detail="low")
    if body.category != category:
        raise InputError(
            f"body {body.name!r}", f"is of {body.category} layout", f"one of {category} layout, as the motion has"
        )
    return body


def joints(motion: BodyMotion, body: BodyModel | None = None) -> Float[np.ndarray, "T J 3"]:
    """World positions of all joints, float32 metres. `body` defaults to the built-in one of the motion's category."""
    import torch

    from kinema.body.skeleton import PARENTS
    from kinema.geometry import rotvec_to_rotmat

    body = body_for(motion.category, body)
    parents = PARENTS[motion.category]
    rest = body.rest_joints(motion.betas)
    bones = rest - rest[np.maximum(parents, 0)]
    positions, _ = forward_kinematics(
        rotvec_to_rotmat(torch.from_numpy(motion.rotvec)),
        torch.from_numpy(bones.astype(np.float32)),
        torch.from_numpy(motion.root_translation_m),
        parents,
    )
    return positions.numpy()
