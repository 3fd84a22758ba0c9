"""What lies behind the subjects: the first frame without them, filled up, and seen by every frame's camera.

Input: the first frame, where it shows no subject, and the cameras. Output: the background of a frame, and how well it
is known. Source: push-pull, as in Gortler et al., "The Lumigraph" (1996), section 3.4.
The world is taken to be a floor (y = 0) and a wall behind everything that moves: under a camera that only turns and
zooms both make the exact homography, and under one that travels the floor comes closer as it should.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from kinema.types import Cameras

_FARTHEST_M = 1e4
"""Where a ray meets neither floor nor wall."""


def push_pull(image: Float32[np.ndarray, "H W C"], weights: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W C"]:
    """Fill up where `weights` (0-1) are below 1 with what is around, the smoother the farther from it.

    Without any weight at all it is the image's mean.
    """
    if not weights.any():
        return np.broadcast_to(image.mean((0, 1)), image.shape).astype(np.float32)
    height, width = weights.shape
    if height <= 1 and width <= 1:
        return image
    half = (max((width + 1) // 2, 1), max((height + 1) // 2, 1))
    even = ((0, 2 * half[1] - height), (0, 2 * half[0] - width))
    padded = np.pad(weights, even)
    total = padded.reshape(half[1], 2, half[0], 2).sum((1, 3))
    sums = np.pad(image * weights[..., None], (*even, (0, 0))).reshape(half[1], 2, half[0], 2, -1).sum((1, 3))
    small = sums / np.maximum(total, 1e-9)[..., None]
    coarse = push_pull(small.astype(np.float32), np.minimum(total, 1).astype(np.float32))
    large = cv2.resize(coarse, (2 * half[0], 2 * half[1]), interpolation=cv2.INTER_LINEAR)
    large = large.reshape(2 * half[1], 2 * half[0], -1)[:height, :width]
    return weights[..., None] * image + (1 - weights[..., None]) * large


def see_background(
    plate: Float32[np.ndarray, "H W 3"], sure: Float32[np.ndarray, "H W"], cameras: Cameras, t: int, wall_m: float
) -> tuple[Float32[np.ndarray, "H W 3"], Float32[np.ndarray, "H W"]]:
    """The background in frame t, 0-255, and how well it is known: 0 where the first frame does not reach.

    plate   the background in the first frame      sure  how well it is known there
    wall_m  how far from the first camera the wall stands, upright and square to its line of view
    """
    height, width = cameras.image_hw
    K, T = cameras.K[[0, t]].astype(float), cameras.T_camera_world[[0, t]].astype(float)
    center, center_now = (-(pose[:3, :3].T @ pose[:3, 3]) for pose in T)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ (T[1, :3, :3].T @ np.linalg.inv(K[1])).T
    seen = rays * _reach(rays, center_now, center, T[0, 2, :3], wall_m)[..., None] + (center_now - center)
    seen = seen @ (K[0] @ T[0, :3, :3]).T
    ahead = seen[..., 2] > 1e-6
    at = np.clip(seen[..., :2] / np.where(ahead, seen[..., 2], 1.0)[..., None], -1e4, 1e4).astype(np.float32)
    inside = ahead & ((at >= 0) & (at <= (width, height))).all(-1)
    x, y = np.ascontiguousarray(at[..., 0]) - np.float32(0.5), np.ascontiguousarray(at[..., 1]) - np.float32(0.5)
    colours = cv2.remap(plate, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    known = cv2.remap(sure, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(colours, 0, 255), np.where(inside, known, np.float32(0))


def _reach(rays: np.ndarray, center: np.ndarray, first: np.ndarray, ahead: np.ndarray, wall_m: float) -> np.ndarray:
    """How far along each ray [H,W,3] from `center` the floor or the wall is, whichever comes first.

    first, ahead  where the first camera stands and looks
    """
    level = ahead * (1, 0, 1)
    level = level / max(np.linalg.norm(level), 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor, wall = -center[1] / rays[..., 1], (wall_m - (center - first) @ level) / (rays @ level)
    reach = np.minimum(np.where(floor > 0, floor, np.inf), np.where(wall > 0, wall, np.inf))
    return np.where(np.isfinite(reach), reach, _FARTHEST_M)
