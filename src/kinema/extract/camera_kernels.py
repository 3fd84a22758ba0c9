"""The loop of `kinema.extract.camera_motion`, compiled by numba: one Gauss-Newton step's sums over the pixels.

Input: two pictures laid over each other, and where both show background. Output: normal equations in pan, pitch and zoom.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def normal_equations(picture, first, both, shift, focal, middle_x, middle_y, noise):
    """-> A [3,3] and b [3]: the step is -solve(A, b).

    picture, first  float32 [H,W] grey      both  bool [H,W]      shift  of the grey levels, taken out
    focal, middle   in pixels               noise  differences beyond it count less (Huber 1964)
    """
    height, width = picture.shape
    normal, off_along = np.zeros((3, 3)), np.zeros(3)
    slope = np.empty(3)
    for row in range(height):
        above, below = max(row - 1, 0), min(row + 1, height - 1)
        y = (row + 0.5 - middle_y) / focal
        for column in range(width):
            if not both[row, column]:
                continue
            left, right = max(column - 1, 0), min(column + 1, width - 1)
            x = (column + 0.5 - middle_x) / focal
            dx = (picture[row, right] - picture[row, left]) / (right - left) * focal
            dy = (picture[below, column] - picture[above, column]) / (below - above) * focal
            # How far a pixel goes by a pan, a pitch and a zoom, times how the picture changes along the way.
            slope[0] = dx * (-1 - x * x) - dy * x * y
            slope[1] = -dx * x * y + dy * (-1 - y * y)
            slope[2] = dx * x + dy * y
            off = picture[row, column] - first[row, column] - shift
            weight = min(1.0, noise / max(abs(off), 1e-6))
            for i in range(3):
                off_along[i] += weight * slope[i] * off
                for j in range(3):
                    normal[i, j] += weight * slope[i] * slope[j]
    return normal, off_along
