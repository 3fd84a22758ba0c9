"""Masks that the tests of this folder share, and recipes in words done to them."""

from __future__ import annotations

import numpy as np

from kinema.masks.recipe import apply_recipe, parse_step
from kinema.types import MaskSequence


def boxes(frames: int = 9, hw: tuple[int, int] = (48, 64), fps: float = 8.0) -> MaskSequence:
    """A box that goes right by 3 pixels a frame, in front of one that stands still."""
    masks = np.zeros((frames, 2, *hw), bool)
    for t in range(frames):
        masks[t, 0, 20:32, 4 + 3 * t : 14 + 3 * t] = True
    masks[:, 1, 10:40, 24:34] = True
    return MaskSequence(masks, ("runner", "tree"), fps)


def one_box(frames: int = 9, hw: tuple[int, int] = (48, 64), step_px: int = 3) -> MaskSequence:
    """The box that moves, alone."""
    masks = np.zeros((frames, 1, *hw), bool)
    for t in range(frames):
        masks[t, 0, 20:32, 4 + step_px * t : 14 + step_px * t] = True
    return MaskSequence(masks, ("runner",), 8.0)


def disc(radius_px: float = 12.0, hw: tuple[int, int] = (96, 128), frames: int = 3) -> MaskSequence:
    """A disc in the middle of the picture, which stands still."""
    rows, columns = np.indices(hw) + 0.5
    mask = np.hypot(columns - hw[1] / 2, rows - hw[0] / 2) <= radius_px
    return MaskSequence(np.repeat(mask[None, None], frames, 0), ("ball",), 8.0)


def centre(mask: np.ndarray) -> np.ndarray:
    """x, y of the centre of area in pixels, the first pixel's centre at (0.5, 0.5)."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()]) + 0.5


def done(masks: MaskSequence, *texts: str) -> MaskSequence:
    """The masks after some operations in words."""
    return apply_recipe(masks, [parse_step(text) for text in texts])
