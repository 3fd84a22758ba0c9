"""Shards of small annotated clips: a square, a part of a body, that moves over noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinema.annotate.codec import members_of
from kinema.annotate.record import AnnotatedClip
from kinema.annotate.shards import write_shard
from kinema.body.skeleton import PART_IDS
from kinema.types import Video


def clip(key: str, frames: int = 9, hw: tuple[int, int] = (64, 128), fps: float = 16.0, caption: str = "a woman waves"):
    rng = np.random.default_rng(sum(key.encode()))
    masks = np.zeros((frames, 1, *hw), bool)
    for t in range(frames):
        masks[t, 0, 16:48, 20 + 4 * t : 50 + 4 * t] = True
    pictures = rng.integers(60, 120, (frames, *hw, 3), np.uint8)
    pictures[masks[:, 0]] = (200, 60, 30)
    parts = np.where(masks[:, 0], np.uint8(PART_IDS["chest"]), np.uint8(0))
    boxes = np.zeros((frames, 1, 4), np.float32)
    return AnnotatedClip(
        key, Video(pictures, fps), caption, ("woman",), ("human",), masks, masks.any((2, 3)), boxes,
        (np.zeros((frames, 3, 3), np.float32),), parts, None, None, {}, "a source", "CC0-1.0", "0" * 64, (0, frames),
        "revision", {"cut": "1"},
    )  # fmt: skip


def write(path, *clips: AnnotatedClip):
    """-> the shard."""
    write_shard(path, [(one.key, members_of(one)) for one in clips])
    return path


def tall(key: str, **settings) -> AnnotatedClip:
    return clip(key, hw=(128, 64), **settings)


def wordless(key: str) -> AnnotatedClip:
    return replace(clip(key), caption="")
