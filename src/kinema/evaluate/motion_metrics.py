"""How far a motion is from the true one, and how much its feet slide: pure functions of joint positions in metres.

All are better when lower; none needs a body. Positions are [T,J,3] in the world, +y up, floor y = 0, with any leading
shape where batches make sense. Errors are in millimetres, rates are a frame: compare them at equal frame rates only.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from kinema.errors import InputError

HUMAN_FEET = (10, 11)
"""Balls of the feet (`left_foot`, `right_foot`) in SMPL-X layout."""
CONTACT_HEIGHT_M = 0.05
"""Above this a foot is in the air. The ball of a standing foot is at 0.02-0.03."""


def mpjpe_mm(found: Float[np.ndarray, "*batch J 3"], truth: Float[np.ndarray, "*batch J 3"]) -> float:
    """Mean per-joint position error, mm: mean distance of joints in the world (Ionescu et al. 2014, Human3.6M)."""
    return 1000 * float(np.linalg.norm(found - truth, axis=-1).mean())


def root_aligned_mpjpe_mm(found: Float[np.ndarray, "*batch J 3"], truth: Float[np.ndarray, "*batch J 3"]) -> float:
    """MPJPE, mm, with joint 0 of every frame put on that of the truth: the pose without its place (protocol 1)."""
    return mpjpe_mm(found - found[..., :1, :], truth - truth[..., :1, :])


def acceleration_error_mm(found: Float[np.ndarray, "*batch T J 3"], truth: Float[np.ndarray, "*batch T J 3"]) -> float:
    """Mean distance of the second differences of joint positions, mm/frame^2 (Kanazawa et al. 2019, HMMR).

    Raises InputError for fewer than three frames.
    """
    _need_frames(found, 3)
    difference = np.diff(found, n=2, axis=-3) - np.diff(truth, n=2, axis=-3)
    return 1000 * float(np.linalg.norm(difference, axis=-1).mean())


def foot_slide_mm(points: Float[np.ndarray, "*batch T J 3"], feet: tuple[int, ...] = HUMAN_FEET) -> float:
    """Mean way of the feet along the floor while they are down, mm/frame, over all frames and feet.

    A step counts by 2 - 2^(h / H) of its foot's height h, clamped to 0 and H: fully on the floor, not at all at H
    (Zhang et al. 2018, Mode-Adaptive Neural Networks, with H = 0.05 m for human feet). Raises InputError for one frame.
    """
    _need_frames(points, 2)
    foot = points[..., list(feet), :]
    way = np.linalg.norm(np.diff(foot[..., [0, 2]], axis=-3), axis=-1)
    height = np.clip((foot[..., 1:, :, 1] + foot[..., :-1, :, 1]) / 2, 0, CONTACT_HEIGHT_M)
    return 1000 * float((way * (2 - 2 ** (height / CONTACT_HEIGHT_M))).mean())


def _need_frames(points: Float[np.ndarray, "*batch T J 3"], least: int) -> None:
    if points.shape[-3] < least:
        raise InputError("joint positions", f"have {points.shape[-3]} frames", expected=f"at least {least}")
