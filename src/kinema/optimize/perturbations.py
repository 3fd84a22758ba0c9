"""The three perturbations that the motion prior learns to undo (ReVision, section 4.2-S2), on channels [B,T,C].

1. small random noise on rotations and root;
2. shuffling the internal order: random frames permuted among themselves, or short segments swapped;
3. dropping a contiguous segment of up to a quarter, repeating frames or segments of the rest at random places up to
   the original length.
Frames that are not touched stay exact. All are seeded by the generator that is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from kinema.optimize.features import pack, unpack


@dataclass(frozen=True)
class Perturbation:
    """Strengths; 0 switches a part off.

    noise_rad       standard deviation of each component of a random rotation vector, every joint and frame
    noise_m         standard deviation of the root translation (objects: of a shift of all points), every frame
    shuffle_frames  inner frames that are permuted among themselves
    swap_segment    length of two inner segments that change places
    drop_frames     length of the segment that is dropped, with as many frames repeated
    """

    noise_rad: float = 0.0
    noise_m: float = 0.0
    shuffle_frames: int = 0
    swap_segment: int = 0
    drop_frames: int = 0


def perturb(channels: Tensor, category: str, kind: Perturbation, rng: np.random.Generator) -> Tensor:
    """[B,T,C] -> the same, perturbed; the order is changed before noise is added."""
    orders = np.stack([frame_order(channels.shape[1], kind, rng) for _ in range(len(channels))])
    return add_noise(reorder(channels, torch.from_numpy(orders)), category, kind.noise_rad, kind.noise_m, rng)


def reorder(channels: Tensor, orders: Tensor) -> Tensor:
    """[B,T,C] frames taken in the order [B,T]."""
    return torch.take_along_dim(channels, orders[..., None].to(channels.device), 1)


def frame_order(frames: int, kind: Perturbation, rng: np.random.Generator) -> np.ndarray:
    """[T] index of the original frame that is shown at each place. The first frame stays what it is."""
    order = np.arange(frames)
    if kind.drop_frames:
        order = _drop_and_repeat(frames, min(kind.drop_frames, frames // 4), rng)
    if kind.shuffle_frames:
        chosen = 1 + rng.choice(frames - 2, min(kind.shuffle_frames, frames - 2), replace=False)
        order[chosen] = order[rng.permutation(chosen)]
    if kind.swap_segment:
        length = min(kind.swap_segment, (frames - 2) // 2)
        first = 1 + rng.integers(frames - 2 - 2 * length + 1)
        second = first + length + rng.integers(frames - 1 - first - 2 * length + 1)
        a, b = first + np.arange(length), second + np.arange(length)
        order[a], order[b] = order[b].copy(), order[a].copy()
    return order


def _drop_and_repeat(frames: int, dropped: int, rng: np.random.Generator) -> np.ndarray:
    start = 1 + rng.integers(frames - 1 - dropped)
    order = np.delete(np.arange(frames), np.arange(start, start + dropped))
    missing = dropped
    while missing:
        length = 1 if rng.random() < 0.5 else int(rng.integers(1, missing + 1))
        at = int(rng.integers(len(order) - length + 1))
        order = np.insert(order, at + length, order[at : at + length])
        missing -= length
    return order


def add_noise(channels: Tensor, category: str, rad, metres, rng: np.random.Generator) -> Tensor:
    """Gaussian noise, every frame for itself. `rad`, `metres`: numbers, or one for each window [B]."""

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, np.float32)).to(channels)

    rad, metres = (torch.as_tensor(s, dtype=torch.float32).to(channels).expand(len(channels)) for s in (rad, metres))
    noisy = (rad > 0) | (metres > 0)
    moved, rad, metres = channels[noisy], rad[noisy], metres[noisy]
    shift = normal(*moved.shape[:2], 3) * metres[:, None, None]
    if category == "object":
        points = moved.unflatten(-1, (-1, 3))
        wobble = normal(*points.shape) * (rad * 0.1)[:, None, None, None]
        moved = (points + shift[:, :, None] + wobble).flatten(-2)
    else:
        rotmat, root = unpack(moved)
        turn = roma.rotvec_to_rotmat(normal(*rotmat.shape[:-1]) * rad[:, None, None, None])
        moved = pack(rotmat @ turn, root + shift)
    result = channels.clone()
    result[noisy] = moved
    return result
