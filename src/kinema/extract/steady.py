"""What is said of each frame of a video -> the same, averaged along the motion.

Alone a frame is mistaken now and then, above all about which leg is the left one; the frames around it mostly are not.
Optical flow finds each pixel in the frames before and after, and what is said of it there counts as much as there is no
doubt that it is the same: the less the further away, the more the colour differs, and the further the flow back misses
where the flow there began. Input: frames, and the share of each class at each pixel of them, of which the first is the
background. Output: shares. About 0.4 s of one core for 16 frames of 128 x 128.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8
from numba import njit

from kinema.extract.optical_flow import LEAST_SIDE_PX, flow_between, to_grey

AWAY_FRAMES = 8
"""How far before and after a frame is looked."""
FADE = 0.95
"""How much less what is said of a pixel counts for each frame that it is away."""
COLOUR, RETURN_PX = np.float32(8), np.float32(1)
"""So far off, of 255 and in pixels, the weight has fallen to 1/e."""
SURE, LEAST = np.float32(0.995), np.float32(1e-3)
"""A pixel that is the background to this share, here and there, need not be looked at closer."""


def steadied(
    frames: UInt8[np.ndarray, "T H W 3"], shares: Float32[np.ndarray, "T H W C"], away: int = AWAY_FRAMES
) -> Float32[np.ndarray, "T H W C"]:
    """The mean of each frame's shares and those of the `away` frames before and after it; pictures too small for optical
    flow are left as they are."""
    if min(frames.shape[1:3]) < LEAST_SIDE_PX:
        return shares
    grey, out, flows = to_grey(frames), np.empty_like(shares), {}
    for t in range(len(frames)):
        flows = {pair: flow for pair, flow in flows.items() if min(pair) >= t - away}
        for s in range(t + 1, min(len(frames), t + away + 1)):
            flows[t, s], flows[s, t] = flow_between(grey[t], grey[s]), flow_between(grey[s], grey[t])
        mixed, weights = shares[t].copy(), np.ones(grey[t].shape, np.float32)
        for s in range(max(0, t - away), min(len(frames), t + away + 1)):
            if s != t:
                weight = np.float32(FADE ** abs(s - t))
                _add(mixed, weights, frames[t], frames[s], shares[t], shares[s], flows[t, s], flows[s, t], weight)
        out[t] = mixed / weights[..., None]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _add(mixed, weights, here, there, said_here, said_there, flow, back, weight):
    """Add what is said there to `mixed`, and with how much weight to `weights`."""
    height, width, classes = mixed.shape
    for row in range(height):
        for column in range(width):
            right, down = flow[row, column]
            x, y = min(max(column + right, 0), width - 1), min(max(row + down, 0), height - 1)
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            fx, fy = np.float32(x - left), np.float32(y - top)
            colour = np.float32(0)
            for k in range(3):
                colour += abs(_between(there, top, left, fx, fy, k) - here[row, column, k]) / np.float32(3)
            right += _between(back, top, left, fx, fy, 0)
            down += _between(back, top, left, fx, fy, 1)
            counts = weight * np.exp(-((colour / COLOUR) ** 2) - (right**2 + down**2) / RETURN_PX**2)
            if counts < LEAST:
                continue
            weights[row, column] += counts
            if min(said_here[row, column, 0], _between(said_there, top, left, fx, fy, 0)) > SURE:
                mixed[row, column, 0] += counts
                continue
            for k in range(classes):
                mixed[row, column, k] += counts * _between(said_there, top, left, fx, fy, k)


@njit(inline="always")
def _between(values, top, left, fx, fy, k):
    """Channel `k`, bilinear."""
    one = np.float32(1)
    above = (one - fx) * values[top, left, k] + fx * values[top, left + 1, k]
    below = (one - fx) * values[top + 1, left, k] + fx * values[top + 1, left + 1, k]
    return (one - fy) * above + fy * below
