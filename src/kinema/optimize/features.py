"""Motion <-> vectors: what the motion prior sees of a motion, and what it gives back.

One vector a frame holds all that the prior corrects ("channels", C numbers):
  bodies   rot6d of the J joints that the prior knows (22 of the human's 55, all 35 of the animal's), then the root
           translation in metres: C = 6 J + 3
  objects  the 21 points in metres: C = 63
The prior works in a canonical frame: the first frame faces +z, the window's mean root is the origin; for objects the
window's mean centre is the origin and the mean size is 1. `Canonical` keeps what undoes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from kinema.body import fk_kernels
from kinema.body.model import forward_kinematics
from kinema.body.skeleton import ANIMAL_PARENTS, BODY_JOINT_COUNT, HUMAN_PARENTS
from kinema.geometry import heading_rotmat, rot6d_to_rotmat, rotmat_to_rot6d

CATEGORIES = ("human", "animal", "object")
PRIOR_PARENTS: dict[str, np.ndarray] = {"human": HUMAN_PARENTS[:BODY_JOINT_COUNT], "animal": ANIMAL_PARENTS}
OBJECT_POINTS = 21
REFERENCE_FPS = 20.0
"""The rate that the prior is trained at; differences between frames are what it sees of speed."""

_DISTANCE_FLOOR_M = 1e-4
"""Frames closer than this are the same frame to the prior: logs of distances start here."""


def joint_count(category: str) -> int:
    """Groups of channels that are corrected together: the joints, the root translation being one more group."""
    return OBJECT_POINTS if category == "object" else len(PRIOR_PARENTS[category])


def channel_count(category: str) -> int:
    return 3 * OBJECT_POINTS if category == "object" else 6 * joint_count(category) + 3


def channel_groups(category: str) -> Int[Tensor, " C"]:
    """[C] index of the group (joint, root or object point) that a channel belongs to."""
    if category == "object":
        return torch.arange(OBJECT_POINTS).repeat_interleave(3)
    joints = joint_count(category)
    return torch.cat([torch.arange(joints).repeat_interleave(6), torch.full((3,), joints)])


def by_group(channels: Tensor, category: str) -> tuple[Tensor, ...]:
    """Channels [...,C] -> [...,groups,size], one tensor for each size of group, in order: joints, then the root."""
    if category == "object":
        return (channels.unflatten(-1, (OBJECT_POINTS, 3)),)
    return channels[..., :-3].unflatten(-1, (-1, 6)), channels[..., None, -3:]


def pack(rotmat: Tensor, root: Tensor) -> Tensor:
    """[...,J,3,3], [...,3] -> channels [...,6J+3]."""
    return torch.cat([rotmat_to_rot6d(rotmat).flatten(-2), root], -1)


def unpack(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Channels [...,6J+3] -> proper rotations [...,J,3,3], root [...,3]."""
    return rot6d_to_rotmat(channels[..., :-3].unflatten(-1, (-1, 6))), channels[..., -3:]


def positions(channels: Tensor, bones: Tensor | None, category: str) -> Tensor:
    """Joint or point positions [...,J,3] in metres, in the frame of the channels."""
    if category == "object":
        return channels.unflatten(-1, (OBJECT_POINTS, 3))
    assert bones is not None
    return joint_frames(channels, bones, category)[0]


def joint_frames(channels: Tensor, bones: Tensor, category: str) -> tuple[Tensor, Tensor]:
    """Channels [...,C] of bodies -> joint positions [...,J,3], and joint rotations [...,J,3,3] to the channels' frame, which
    are constants to differentiation."""
    parents = PRIOR_PARENTS[category]
    if channels.is_cpu:
        return fk_kernels.joint_frames(channels[..., :-3].unflatten(-1, (-1, 6)), bones, channels[..., -3:], parents)
    rotmat, root = unpack(channels)
    points, turned = forward_kinematics(rotmat, bones, root, parents)
    return points, turned.detach()


@dataclass(frozen=True)
class Canonical:
    """x_canonical = turn @ (x - origin) / scale, one a window: turn [B,3,3], origin [B,3] m, scale [B]."""

    turn: Tensor
    origin: Tensor
    scale: Tensor

    def apply(self, channels: Tensor, category: str) -> Tensor:
        """[B,T,C] world -> canonical."""
        return self._map(channels, category, self.turn, lambda p: _rotate(self.turn, p - self._at(p)) / self._size(p))

    def undo(self, channels: Tensor, category: str) -> Tensor:
        """[B,T,C] canonical -> world."""
        back = self.turn.mT
        return self._map(channels, category, back, lambda p: _rotate(back, p * self._size(p)) + self._at(p))

    def _at(self, points: Tensor) -> Tensor:
        return self.origin.reshape(-1, *[1] * (points.ndim - 2), 3)

    def _size(self, points: Tensor) -> Tensor:
        return self.scale.reshape(-1, *[1] * (points.ndim - 1))

    @staticmethod
    def _map(channels: Tensor, category: str, turn: Tensor, move) -> Tensor:
        if category == "object":
            return move(channels.unflatten(-1, (OBJECT_POINTS, 3))).flatten(-2)
        first, second = channels[..., 0:3], channels[..., 3:6]
        return torch.cat(
            [_rotate(turn, first), _rotate(turn, second), channels[..., 6:-3], move(channels[..., -3:])], -1
        )


def _rotate(turn: Tensor, vectors: Tensor) -> Tensor:
    """[B,3,3] on [B,...,3]."""
    return torch.einsum("bij,b...j->b...i", turn, vectors)


def canonical_frame(channels: Tensor, category: str) -> Canonical:
    """The canonical frame of windows [B,T,C], from the (perturbed) motion itself."""
    batch = len(channels)
    if category == "object":
        points = channels.unflatten(-1, (OBJECT_POINTS, 3))
        size = (points[..., 16:20, :] - points[..., 20:21, :]).norm(dim=-1).mean((1, 2)).clamp_min(0.02)
        return Canonical(torch.eye(3).to(channels).expand(batch, 3, 3), points[..., 20, :].mean(1), size)
    turn = heading_rotmat(rot6d_to_rotmat(channels[:, 0, :6])).mT
    return Canonical(turn, channels[..., -3:].mean(1), channels.new_ones(batch))


def observe(channels: Tensor, points: Tensor, held: Tensor, order: Tensor) -> Tensor:
    """What a frame token is made of -> [B,T,F].

    channels [B,T,C] canonical, points [B,T,J,3] their positions, held [B,T], order [B,T] where each frame seems to belong
    (`frame_order.py`). The frames that a shuffle or a dropped segment did not touch stay exact, so what tells the others
    apart is how each frame differs from its neighbours: first and second differences and the logarithm of their size.
    """
    flat = points.flatten(-2)
    before, after = _step(flat, 1), _step(flat, -1)
    turn_before, turn_after = _step(channels, 1), _step(channels, -1)
    bend = before + after
    sizes = [
        torch.log(d.unflatten(-1, (-1, 3)).norm(dim=-1).mean(-1, keepdim=True) + _DISTANCE_FLOOR_M) / 4 + 1
        for d in (before, after, bend)
    ]
    local = flat - points[..., :1, :].expand_as(points).flatten(-2)
    steps = [order[:, :, None] - torch.arange(order.shape[1], device=order.device)[:, None], _step(order[..., None], 1)]
    scalars = torch.cat([*sizes, held[..., None].to(channels), *(s / 8 for s in steps)], -1)
    return torch.cat([channels, local, 5 * before, 5 * after, 5 * bend, turn_before + turn_after, scalars], -1)


def observed_count(category: str) -> int:
    """F of `observe`."""
    return 2 * channel_count(category) + 4 * 3 * joint_count(category) + 6


def _step(values: Tensor, shift: int) -> Tensor:
    """Difference to the frame `shift` before; 0 where there is none."""
    difference = values - torch.roll(values, shift, 1)
    edge = 0 if shift > 0 else -1
    difference[:, edge] = 0
    return difference


def pair_distances(channels: Tensor, points: Tensor) -> Tensor:
    """[B,T,T,2] log distance of every two frames: mean over the joints in the window, and of the pose alone.

    A repeated frame is at distance 0 from its original, neighbours in time are close, and a frame out of order is
    close to its true neighbours: attention is biased by this (`motion_prior.py`).
    """
    flat = points.flatten(-2)
    local = flat - points[..., :1, :].expand_as(points).flatten(-2)
    per_joint = points.shape[-2] ** 0.5
    distances = [torch.cdist(v, v, compute_mode="donot_use_mm_for_euclid_dist") / per_joint for v in (flat, local)]
    return torch.log(torch.stack(distances, -1) + _DISTANCE_FLOOR_M) / 4 + 1
