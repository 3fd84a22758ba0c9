"""Small videos whose metrics can be worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np

from kinema.types import Cameras, ObjectMotion, Scene, Subject, Video
from kinema.world.clip import WorldClip


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


class ToyWorld:
    """Clips of a large square and a small one that move over a texture; `kinema.train.perception_data.ClipSource`."""

    def sample(self, seed: int, frames: int = 8, size: tuple[int, int] = (64, 64)) -> WorldClip:
        rng = np.random.default_rng(seed)
        (x, y), step = rng.integers(4, 16, 2), int(rng.integers(-1, 2))
        ids = np.zeros((frames, size[1], size[0]), np.uint8)
        video = np.stack([texture(max(size), seed)[: size[1], : size[0]]] * frames)
        for t in range(frames):
            left = int(np.clip(x + step * t, 0, size[0] - 30))
            ids[t, y : y + 24, left : left + 20], ids[t, 48:58, left + 20 : left + 30] = 1, 2
        video[ids == 1], video[ids == 2] = (200, 40, 40), (240, 240, 20)
        still = ObjectMotion(np.zeros((frames, 21, 3), np.float32), 8.0, np.ones(frames, bool))
        eye = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
        subjects = (Subject(0, "a square", "a red square", still), Subject(1, "a ball", "a yellow ball", still))
        scene = Scene(subjects, Cameras(eye[:, :3, :3], eye, size[::-1]), "a red square; a yellow ball; on spots")
        far, none = np.full(ids.shape, np.inf, np.float32), (None, None)
        return WorldClip(Video(video, 8.0), scene, 64 * (ids > 0).astype(np.uint8), ids, far, none, none, none)
