"""Small videos whose metrics can be worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np


def texture(side: int = 200, seed: int = 0) -> np.ndarray:
    """uint8 [side,side,3]: smooth spots, which optical flow can follow to a small part of a pixel."""
    rng = np.random.default_rng(seed)
    spots = cv2.GaussianBlur(rng.normal(size=(side, side, 3)), (0, 0), 3)
    return np.clip(128 + 40 * spots / spots.std(), 0, 255).astype(np.uint8)


def moving(step: tuple[int, int], frames: int = 8, size: int = 64, seed: int = 0) -> np.ndarray:
    """uint8 [T,size,size,3]: a texture that moves (right, down) by whole pixels a frame."""
    picture, start = texture(200, seed), 68
    x, y = (start - step[0] * np.arange(frames)), (start - step[1] * np.arange(frames))
    return np.stack([picture[b : b + size, a : a + size] for a, b in zip(x, y, strict=True)])
