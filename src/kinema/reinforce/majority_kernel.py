"""The loop of `part_condition.encode_condition`, compiled by numba.

Input: part ids and confidence at pixels. Output: the two channels of a latent grid.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def vote(part_ids, confidence, values, least_share, out):
    """The largest part of every block, as its value, and the mean confidence, into `out` float32 [T,2,h,w].

    part_ids uint8 [T,H,W], 0 background   confidence float [T,H,W]   values float32 [256] by part id
    A block of which less than `least_share` is covered by parts counts as background.
    """
    frames, _, height, width = out.shape
    rows, columns = part_ids.shape[1] // height, part_ids.shape[2] // width
    count = np.zeros(256, np.int32)
    for t in range(frames):
        for y in range(height):
            for x in range(width):
                covered, best, total = 0, 0, 0.0
                for row in range(y * rows, (y + 1) * rows):
                    for column in range(x * columns, (x + 1) * columns):
                        total += confidence[t, row, column]
                        part = part_ids[t, row, column]
                        if part > 0:
                            covered += 1
                            count[part] += 1
                            if count[part] > count[best]:
                                best = part
                if covered > 0:
                    count[:] = 0
                if covered < least_share * rows * columns:
                    best = 0
                out[t, 0, y, x] = values[best]
                out[t, 1, y, x] = total / (rows * columns)
