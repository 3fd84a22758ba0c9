"""What lies behind the subjects: the first frame without them, filled up, and seen by every frame's camera.

Input: the first frame, where it shows no subject, and the cameras. Output: the background of a frame, and how well it
is known. Sources: Wexler et al., "Space-time completion of video" (2007), for the filling with patches, coarse to fine;
push-pull, as in Gortler et al., "The Lumigraph" (1996), section 3.4, for what it starts from.
The world is taken to be a floor (y = 0) and a wall behind everything that moves: under a camera that only turns and
zooms both make the exact homography, and under one that travels the floor comes closer as it should.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from kinema.reinforce import inpainting_kernels as kernels
from kinema.types import Cameras

_LEAST_SIDE_PX = 64
"""Pictures are halved for the filling as long as they are at least this large."""
_FEWEST_PATCHES = 20
_TURNS, _ROUNDS, _FIRST_ROUNDS = 4, 2, 4
"""Of search and vote at every size; of the search in each; and in the very first."""
_SOFT_PERCENT, _SHARP_PERCENT = 50, 20
"""Patches up to this percentile of unlikeness have a say, in the end fewer, so that the filling is sharp."""

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


def fill_hole(
    image: Float32[np.ndarray, "H W 3"], known: Bool[np.ndarray, "H W"], seed: int = 0
) -> Float32[np.ndarray, "H W 3"]:
    """Fill up what is not known with pieces of what is, so that bricks stay bricks and a horizon goes through.

    Where too little is known for that, smoothly. Equal seeds give equal pictures.
    """
    pyramid = [(image, known)]
    while min(pyramid[-1][1].shape) >= _LEAST_SIDE_PX:
        pyramid.append(_halved(*pyramid[-1]))
    filled, field = push_pull(pyramid[-1][0], pyramid[-1][1].astype(np.float32)), None
    for level, (picture, shows) in enumerate(pyramid[::-1]):
        if shows.all():
            filled = picture
            continue
        size = shows.shape[::-1]
        filled = np.where(shows[..., None], picture, cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR))
        found = _fill_level(filled.astype(np.float32), ~shows, field, seed + 100 * level)
        if found is None:
            return push_pull(image, known.astype(np.float32))
        filled, field = found
    return np.where(known[..., None], image, filled).astype(np.float32)


def _halved(image: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture and what is known of it at half the size; only whole known quads are known there."""
    size = (known.shape[1] // 2, known.shape[0] // 2)
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(image * known[..., None], size, interpolation=cv2.INTER_AREA)
    return (total / np.maximum(share, 1e-6)[..., None]).astype(np.float32), share > 0.99


def _fill_level(
    image: np.ndarray, hole: np.ndarray, coarser: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """One size of the picture -> it filled, and the field of patches; None where there are too few to choose from."""
    reach = kernels.PATCH_PX
    touched = cv2.dilate(hole.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    inside = np.zeros_like(hole)
    inside[reach:-reach, reach:-reach] = True
    allowed, touched = inside & ~touched, inside & touched
    sources, targets = np.argwhere(allowed).astype(np.int32), np.argwhere(touched).astype(np.int32)
    if len(sources) < _FEWEST_PATCHES:
        return None
    guess = sources[np.random.default_rng(seed).integers(0, len(sources), len(targets))]
    if coarser is not None:
        y, x = np.minimum(targets // 2, np.array(coarser.shape[:2]) - 1).T
        finer = 2 * coarser[y, x] + targets % 2
        valid = (coarser[y, x, 0] >= 0) & (finer < hole.shape).all(1)
        valid[valid] = allowed[tuple(finer[valid].T)]
        guess[valid] = finer[valid]
    field, distances = np.full((*hole.shape, 2), -1, np.int32), np.zeros(hole.shape, np.float32)
    field[tuple(targets.T)] = guess
    for turn in range(_TURNS):
        rounds = _FIRST_ROUNDS if coarser is None and turn == 0 else _ROUNDS
        kernels.search(image, targets, allowed, field, distances, rounds, seed + 1 + turn)
        softness = np.percentile(distances[touched], _SHARP_PERCENT if turn == _TURNS - 1 else _SOFT_PERCENT)
        kernels.vote(image, hole, targets, field, distances, max(float(softness), 1.0))
    return image, field


def see_background(
    plate: Float32[np.ndarray, "H W 3"], sure: Float32[np.ndarray, "H W"], cameras: Cameras, t: int, wall_m: float,
    beyond: float,
) -> tuple[Float32[np.ndarray, "H W 3"], Float32[np.ndarray, "H W"]]:  # fmt: skip
    """The background in frame t, 0-255, and how well it is known.

    plate   the background in the first frame      sure  how well it is known there
    wall_m  how far from the first camera the wall stands, upright and square to its line of view
    beyond  how well it is known where the first frame does not reach
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
    return np.clip(colours, 0, 255), np.where(inside, known, np.float32(beyond))


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
