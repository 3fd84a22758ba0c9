"""Where the motion prior's training windows come from: clips in memory, cut and augmented without end.

Input: capture files in the project's multi-clip npz schema (`docs/motion.md`), procedural animals and objects.
Output: clean windows of channels [B,T,C] (`optimize/features.py`) with the index of their caption.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinema.body.skeleton import BODY_JOINT_COUNT, mirror_permutation
from kinema.errors import InputError
from kinema.geometry import rotvec_to_rotmat
from kinema.motion_io.capture import load_capture
from kinema.optimize.features import OBJECT_POINTS, joint_count, pack, unpack
from kinema.optimize.optimizer import to_sequence

MIRROR = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
LEFT_ARM, RIGHT_ARM, HEAD, SPINE = (13, 16, 18, 20), (14, 17, 19, 21), (12, 15), (3, 6, 9)
LEGS = (0, 1, 2, 4, 5, 7, 8, 10, 11)
"""The root and what stands on the floor."""
ARMS = LEFT_ARM + RIGHT_ARM
MIXED_LIMBS = (LEFT_ARM, RIGHT_ARM, ARMS, HEAD, SPINE, SPINE + HEAD + ARMS)
"""Sets of joints that limb-wise mixing exchanges between two windows. Legs and root stay together: they share the floor."""
MIXED_SHARE = 0.15
REVERSED_SHARE = 0.1
"""How often a window is played backwards. Walking backwards is rare, but bodies and floors are the same there."""
OFFSET_SHARE, OFFSET_RAD = 0.1, 0.1
"""How often a few joints are turned by a constant, and how far: rigs and people stand and hold themselves differently."""


@dataclass(frozen=True)
class MotionClips:
    """All clips of a category, end to end: channels [N,C]; clip k is [starts[k]:starts[k+1]], with captions[k]."""

    category: str
    channels: Tensor
    starts: np.ndarray
    captions: tuple[str, ...]

    @staticmethod
    def join(category: str, clips: list[tuple[Tensor, str]]) -> MotionClips:
        lengths = [len(c) for c, _ in clips]
        return MotionClips(
            category,
            torch.cat([c for c, _ in clips]).float(),
            np.concatenate([[0], np.cumsum(lengths)]),
            tuple(text for _, text in clips),
        )


def load_capture_clips(path: str | Path) -> MotionClips:
    """Human capture in the multi-clip npz schema (`motion_io.load_capture`)."""
    return MotionClips.join("human", [(to_sequence(m).channels, text) for _, text, m in load_capture(path)])


def mirrored(channels: Tensor, category: str) -> Tensor:
    """[...,C] -> the motion seen in a mirror (x -> -x), left and right joints exchanged."""
    if category == "object":
        order = torch.tensor([0, *range(15, 0, -1), 17, 16, 19, 18, 20])
        return (channels.unflatten(-1, (OBJECT_POINTS, 3))[..., order, :] * MIRROR.diagonal()).flatten(-2)
    rotmat, root = unpack(channels)
    twin = mirror_permutation(category)
    twin = twin[:BODY_JOINT_COUNT] if category == "human" else twin
    return pack(MIRROR @ rotmat[..., twin, :, :] @ MIRROR, root @ MIRROR)


@dataclass(frozen=True)
class Windows:
    """Augmented clean windows: channels [B,T,C], and of each the clip's index, whether mirrored, whether reversed [B]."""

    channels: Tensor
    clip: np.ndarray
    mirrored: np.ndarray
    reversed: np.ndarray


def sample_windows(clips: MotionClips, batch: int, frames: int, rng: np.random.Generator) -> Windows:
    """Windows from anywhere in the clips, each augmented anew.

    Half of them are resampled in time by 0.6-1.5; half are mirrored; a tenth run backwards; some of the human ones get
    limbs of another one, or a constant turn of a few joints above the hips.
    """
    speed = np.where(rng.random(batch) < 0.5, rng.uniform(0.6, 1.5, batch), 1.0)
    span = np.ceil((frames - 1) * speed).astype(int) + 1
    lengths = np.diff(clips.starts)
    clip, begin = np.empty(batch, int), np.empty(batch)
    for i in range(batch):
        room = np.maximum(lengths - span[i] + 1, 0)
        if not room.any():
            raise InputError(
                "training clips", f"none is {span[i]} frames long", "longer clips, or fewer frames a window"
            )
        place = rng.integers(room.sum())
        clip[i] = np.searchsorted(np.cumsum(room), place, "right")
        begin[i] = clips.starts[clip[i]] + place - (np.cumsum(room)[clip[i]] - room[clip[i]])
    at = begin[:, None] + np.arange(frames) * speed[:, None]
    low = np.floor(at + 1e-9).astype(int)
    share = torch.from_numpy(at - low).float()[..., None]
    high = np.minimum(low + 1, clips.starts[clip + 1][:, None] - 1)
    windows = clips.channels[low] * (1 - share) + clips.channels[high] * share
    if clips.category != "object":
        windows = pack(*unpack(windows))
    flip = rng.random(batch) < 0.5
    flipped = torch.from_numpy(flip)
    windows[flipped] = mirrored(windows[flipped], clips.category)
    backwards = rng.random(batch) < REVERSED_SHARE
    windows = torch.where(torch.from_numpy(backwards)[:, None, None], windows.flip(1), windows)
    if clips.category == "human":
        windows = _turn_joints(_mix_limbs(windows, rng), rng)
    return Windows(windows, clip, flip, backwards)


def _mix_limbs(windows: Tensor, rng: np.random.Generator) -> Tensor:
    other = windows[rng.permutation(len(windows))]
    taken = torch.zeros(len(windows), joint_count("human"), dtype=torch.bool)
    for i in np.flatnonzero(rng.random(len(windows)) < MIXED_SHARE):
        taken[i, list(MIXED_LIMBS[rng.integers(len(MIXED_LIMBS))])] = True
    channels = torch.cat([taken.repeat_interleave(6, 1), torch.zeros(len(windows), 3, dtype=torch.bool)], 1)
    return torch.where(channels[:, None], other, windows)


def _turn_joints(windows: Tensor, rng: np.random.Generator) -> Tensor:
    turned = (rng.random((len(windows), 1)) < OFFSET_SHARE) & (rng.random((len(windows), joint_count("human"))) < 0.3)
    turned[:, list(LEGS)] = False
    rotvec = rng.normal(0, OFFSET_RAD, (*turned.shape, 3)) * turned[..., None]
    rotmat, root = unpack(windows)
    return pack(rotmat @ rotvec_to_rotmat(torch.from_numpy(rotvec.astype(np.float32)))[:, None], root)
