"""Where the motion prior's training windows come from: clips in memory, cut and augmented without end.

Input: capture files in the project's multi-clip npz schema (`docs/motion.md`), procedural animals and objects.
Output: clean windows of channels [B,T,C] (`optimize/features.py`) with the index of their caption.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinema.body.skeleton import BODY_JOINT_COUNT, mirror_permutation
from kinema.errors import InputError
from kinema.motion_io.capture import load_capture
from kinema.optimize.features import OBJECT_POINTS, joint_count, pack, unpack
from kinema.optimize.optimizer import to_sequence

MIRROR = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
LEFT_ARM, RIGHT_ARM, HEAD = (13, 16, 18, 20), (14, 17, 19, 21), (12, 15)
"""Joints that limb-wise mixing exchanges between two windows."""


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


def mirrored_caption(text: str) -> str:
    """The caption of the mirrored motion: left and right change places."""
    swap = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda m: swap[m.group()], text)


def mirrored(channels: Tensor, category: str) -> Tensor:
    """[...,C] -> the motion seen in a mirror (x -> -x), left and right joints exchanged."""
    if category == "object":
        order = torch.tensor([0, *range(15, 0, -1), 17, 16, 19, 18, 20])
        return (channels.unflatten(-1, (OBJECT_POINTS, 3))[..., order, :] * MIRROR.diagonal()).flatten(-2)
    rotmat, root = unpack(channels)
    twin = mirror_permutation(category)
    twin = twin[:BODY_JOINT_COUNT] if category == "human" else twin
    return pack(MIRROR @ rotmat[..., twin, :, :] @ MIRROR, root @ MIRROR)


def sample_windows(
    clips: MotionClips, batch: int, frames: int, rng: np.random.Generator
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Augmented clean windows [B,T,C], the clip index of each [B], and which were mirrored [B] bool.

    Half of them are resampled in time by 0.6-1.5; half are mirrored; one human window in seven gets an arm, both arms or
    the head of another one.
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
    if clips.category == "human":
        windows = _mix_limbs(windows, rng)
    return windows, clip, flip


def _mix_limbs(windows: Tensor, rng: np.random.Generator) -> Tensor:
    other = windows[rng.permutation(len(windows))]
    groups = torch.arange(joint_count("human")).repeat_interleave(6)
    mixed = windows.clone()
    for i in np.flatnonzero(rng.random(len(windows)) < 0.15):
        joints = [LEFT_ARM, RIGHT_ARM, LEFT_ARM + RIGHT_ARM, HEAD][rng.integers(4)]
        taken = torch.isin(groups, torch.tensor(joints))
        mixed[i][:, :-3][:, taken] = other[i][:, :-3][:, taken]
    return mixed
