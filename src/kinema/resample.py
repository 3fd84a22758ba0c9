"""A motion at another frame rate: rotations along the shortest turn, translations and the rest linearly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinema.errors import InputError
from kinema.geometry import rotmat_to_rotvec, rotvec_to_rotmat
from kinema.types import BodyMotion


def resample_motion(motion: BodyMotion, fps: float) -> BodyMotion:
    """The same motion, from its first frame to its last, at `fps` Hz; frames that fall on one of its own are exact.

    A frame is valid where both of those it lies between are. Raises InputError for a rate that no motion can have.
    """
    if not (np.isfinite(fps) and 0 < fps <= 1000):
        raise InputError("fps", f"is {fps}", expected="frames a second, above 0, at most 1000")
    if fps == motion.fps:
        return motion
    last = len(motion) - 1
    # The tolerance keeps a last frame that rounding would lose: 0.1 * 30 is not quite 3.
    places = np.arange(int(last * fps / motion.fps + 1e-6) + 1) * (motion.fps / fps)
    low = np.minimum(np.floor(places + 1e-6).astype(int), last)
    high = np.minimum(low + 1, last)
    share = np.clip(places - low, 0, 1).astype(np.float32)
    share[share < 1e-4] = 0
    start = rotvec_to_rotmat(motion.rotvec[low])
    turn = rotmat_to_rotvec(start.swapaxes(-1, -2) @ rotvec_to_rotmat(motion.rotvec[high]))
    rotvec = rotmat_to_rotvec(start @ rotvec_to_rotmat(turn * share[:, None, None]))

    def between(values: np.ndarray) -> np.ndarray:
        return values[low] + share[:, None] * (values[high] - values[low])

    return replace(
        motion,
        rotvec=np.where(share[:, None, None] == 0, motion.rotvec[low], rotvec),
        root_translation_m=between(motion.root_translation_m),
        fps=float(fps),
        expression=between(motion.expression),
        valid=motion.valid[low] & (motion.valid[high] | (share == 0)),
        confidence=between(motion.confidence),
    )
