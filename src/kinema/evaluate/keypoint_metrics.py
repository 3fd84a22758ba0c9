"""How far the joints seen in a video accelerate otherwise than the true ones: pixels, beside `motion_metrics` in 3D."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from kinema.errors import InputError


def acceleration_error_px(
    found: Float[np.ndarray, "T J 2"], truth: Float[np.ndarray, "T J 2"], visible: Bool[np.ndarray, "T J"]
) -> float:
    """Mean distance of the second differences of joint positions, px/frame^2, lower is better. At least 30 clips.

    visible  joints to be counted; a second difference counts where all three of its frames are
    A truth that stands still (zeros) gives the mean acceleration itself. It grows with the picture's size. Source:
    Kanazawa et al. 2019 (HMMR), on pixels. Raises InputError where no joint is visible in three frames on end.
    """
    seen = visible[2:] & visible[1:-1] & visible[:-2]
    if not seen.any():
        raise InputError("joints", "none is visible in three frames on end", expected="joints [T,J,2] that are")
    difference = np.diff(found, n=2, axis=0) - np.diff(truth, n=2, axis=0)
    return float(np.linalg.norm(difference, axis=-1)[seen].mean())
