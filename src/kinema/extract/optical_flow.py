"""Optical flow of a clip, for the metrics and to average along: OpenCV's DIS (Kroeger et al. 2016, "Fast Optical Flow using
Dense Inverse Search"), medium preset.

Input: frames uint8 RGB. Output: where every pixel of a frame goes in the next one, in pixels. About 1.3 ms a pair of
128x128 frames on one core.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from kinema.errors import InputError

LEAST_SIDE_PX = 16
"""DIS matches patches of 8 px on a pyramid; OpenCV refuses pictures under 12 px."""


def optical_flow(frames: UInt8[np.ndarray, "T H W 3"]) -> Float[np.ndarray, "T-1 H W 2"]:
    """Flow from every frame to the next, (right, down) in px a frame. Raises InputError under 2 frames or 16 px."""
    if len(frames) < 2:
        raise InputError("video", f"has {len(frames)} frame", expected="at least 2, to see motion")
    grey = to_grey(frames)
    return np.stack([flow_between(a, b) for a, b in pairwise(grey)])


def flow_between(first: UInt8[np.ndarray, "H W"], second: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "H W 2"]:
    """Flow of one pair of grey pictures, px."""
    if min(first.shape) < LEAST_SIDE_PX:
        found = f"is {first.shape[1]}x{first.shape[0]}"
        raise InputError("video", found, expected=f"at least {LEAST_SIDE_PX} px a side, to see motion")
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return search.calc(np.ascontiguousarray(first), np.ascontiguousarray(second), None)  # type: ignore[call-overload]


def to_grey(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
    """BT.601 luma, as OpenCV and the SSIM of Wang et al. have it."""
    return np.stack([cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames])
