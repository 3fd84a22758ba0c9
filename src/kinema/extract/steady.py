"""What is said of each frame of a video -> the same, averaged along the motion.

Alone a frame is mistaken now and then, above all about which leg is the left one; the frames around it mostly are not.
Optical flow finds each pixel in the frames before and after, and what is said of it there counts as much as there is no
doubt that it is the same: the less the further away, the more the colour differs, and the further the flow back misses
where the flow there began. Input: frames, and the share of each class at each pixel of them, of which the first is the
background. Output: shares. About 0.4 s of one core for 16 frames of 128 x 128.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
"""A pixel that is the background to the first share, here and there, need not be looked at closer; what counts for less
than the second is left out."""
Shares = list[Float32[np.ndarray, "H W C"]]


@dataclass
class Steadied:
    """Takes frames as they come, each with its shares, and gives back what is said of each once enough are there.

    away  how many frames before and after one are looked at; so many and as many again are held
    """

    away: int = AWAY_FRAMES
    held: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict, init=False)
    """By the frame's number: it, the same in grey, and its shares."""
    flows: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, init=False)
    """From one held frame to another."""
    taken: int = field(default=0, init=False)
    given: int = field(default=0, init=False)

    def add(self, frame: UInt8[np.ndarray, "H W 3"], shares: Float32[np.ndarray, "H W C"]) -> Shares:
        """One more frame -> the shares of the next ones that can be given by now. Pictures too small for optical flow
        are given as they are."""
        if min(frame.shape[:2]) < LEAST_SIDE_PX:
            return [shares]
        grey, new = to_grey(frame[None])[0], self.taken
        for number, (_, other, _) in self.held.items():
            if number >= new - self.away:
                self.flows[number, new], self.flows[new, number] = flow_between(other, grey), flow_between(grey, other)
        self.held[new] = frame, grey, shares
        self.taken += 1
        return [self._give()] if self.taken - self.given > self.away else []

    def rest(self) -> Shares:
        """The shares of the frames that are left, when no more come."""
        return [self._give() for _ in range(self.given, self.taken)]

    def _give(self) -> np.ndarray:
        here = self.given
        frame, _, shares = self.held[here]
        mixed, weights = shares.copy(), np.ones(shares.shape[:2], np.float32)
        for there, (other, _, said) in self.held.items():
            apart = abs(there - here)
            if 0 < apart <= self.away:
                flow, back = self.flows[here, there], self.flows[there, here]
                _add(mixed, weights, frame, other, shares, said, flow, back, np.float32(FADE**apart))
        self.given += 1
        self.held.pop(here - self.away, None)
        self.flows = {pair: flow for pair, flow in self.flows.items() if min(pair) in self.held}
        return mixed / weights[..., None]


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
