"""Long video from clips of the model's length: overlapping windows, blended by a ramp (ReVision, section 5.1).

Input: how many frames there are, and the clips as they are made. Output: the windows, and the frames of the whole one
after another. Memory holds one clip, however long the video is. The paper: windows of 32, stride 24, overlap 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

OVERLAP_SHARE = 0.25
"""Overlap in windows (ReVision, section 5.1: 8 of 32)."""


def usual_overlap(length: int) -> int:
    """Frames that two windows of this length share."""
    return round(length * OVERLAP_SHARE)


def windows(total: int, length: int, overlap: int | None = None) -> list[slice]:
    """Windows of `length` frames that cover `total` of them; the last is moved back to be whole, and overlaps more.

    One window of `total` frames where they fit into one. `overlap` is a quarter of `length` by default.
    """
    overlap = usual_overlap(length) if overlap is None else overlap
    assert total >= 1, "there is nothing to cut into windows"
    assert 0 <= overlap < length, "windows have to go forwards"
    if total <= length:
        return [slice(0, total)]
    starts = [*range(0, total - length, length - overlap), total - length]
    return [slice(start, start + length) for start in starts]


def ramp_weights(overlap: int) -> Float[np.ndarray, " L"]:
    """How much a window counts in each frame that it shares with the one before it; that one counts for the rest."""
    return (np.arange(overlap) + 1) / (overlap + 1)


def blend_stream(clips: Iterable[tuple[slice, np.ndarray]]) -> Iterator[np.ndarray]:
    """Clips in the order of their windows, [L,H,W,3] each -> the frames of the whole, each as soon as it is final.

    Where clips overlap the new one takes over linearly, over all that they share. Frames keep their type: uint8 is
    rounded. A window starts after the one before it, and within or right behind it.
    """
    kept: list[np.ndarray] = []
    begin = 0
    for window, clip in clips:
        length = window.stop - window.start
        assert len(clip) == length, f"a window of {length} frames came with {len(clip)}"
        done = window.start - begin
        assert not kept or 0 < done <= len(kept), "windows must follow one another without a gap"
        yield from kept[:done]
        shared = kept[done:]
        assert len(shared) < length, "a window ends within the one before it"
        # A copy of each frame: a slice would keep the whole clip.
        kept = [_mix(*pair) for pair in zip(shared, clip, ramp_weights(len(shared)), strict=False)]
        kept += [frame.copy() for frame in clip[len(shared) :]]
        begin = window.start
    yield from kept


def _mix(old: np.ndarray, new: np.ndarray, share: np.floating) -> np.ndarray:
    mixed = old + np.float32(share) * (new.astype(np.float32) - old)
    return np.rint(mixed).astype(old.dtype) if old.dtype.kind in "ui" else mixed.astype(old.dtype)
