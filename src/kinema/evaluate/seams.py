"""How well the clips of a long video join (MVideo, section 3.3): colour, sharpness and the jump at every seam.

Input: the frames before a seam and those after it. Output: three numbers a seam. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from kinema.errors import InputError
from kinema.extract.optical_flow import to_grey

INVISIBLE_BELOW = 1.3
"""A seam's `difference_ratio` under which a frame-difference test does not find it: kinema's own bound."""
LEAST_SHARPNESS = 1.0
"""Added to both sharpnesses, grey levels^2: flat pictures have none, and what is under it is noise of rounding."""


@dataclass(frozen=True)
class Seam:
    """frame: the first one after the seam. The numbers are those of the functions below."""

    frame: int
    colour_drift: float
    sharpness_drift: float
    difference_ratio: float


def measure_seam(frame: int, before: UInt8[np.ndarray, "T H W 3"], after: UInt8[np.ndarray, "T2 H W 3"]) -> Seam:
    """All three of one seam."""
    return Seam(frame, colour_drift(before, after), sharpness_drift(before, after), difference_ratio(before, after))


def measure_seams(video: UInt8[np.ndarray, "T H W 3"], frames: Sequence[int]) -> tuple[Seam, ...]:
    """The seams of a whole video; `frames`: the first frame of every clip but the first.

    Clips are measured whole, each against the one before it. Raises InputError for frames out of order or outside.
    """
    bounds = [0, *frames, len(video)]
    if any(a >= b for a, b in pairwise(bounds)):
        raise InputError("seams", f"are at {list(frames)}", f"rising, above 0 and under {len(video)}")
    clips = [video[a:b] for a, b in pairwise(bounds)]
    return tuple(measure_seam(f, a, b) for f, (a, b) in zip(frames, pairwise(clips), strict=True))


def colour_drift(before: UInt8[np.ndarray, "T H W 3"], after: UInt8[np.ndarray, "T2 H W 3"]) -> float:
    """Distance of the mean colours of two clips, 8-bit RGB levels, 0 or more, lower is better. Kinema's own.

    Its sum over the seams of a video bounds how far the colour went; moving cameras and subjects drift too.
    """
    return float(np.linalg.norm(_mean_colour(after) - _mean_colour(before)))


def sharpness_drift(before: UInt8[np.ndarray, "T H W 3"], after: UInt8[np.ndarray, "T2 H W 3"]) -> float:
    """Octaves by which sharpness changed, 0 is best, below 0 is blur.

    Sharpness is the variance of the Laplacian of a grey frame (Pech-Pacheco et al. 2000), mean over frames.
    """
    return float(np.log2((_sharpness(after) + LEAST_SHARPNESS) / (_sharpness(before) + LEAST_SHARPNESS)))


def difference_ratio(before: UInt8[np.ndarray, "T H W 3"], after: UInt8[np.ndarray, "T2 H W 3"]) -> float:
    """Change of the picture at the seam, as a multiple of the usual change from frame to frame; lower is better.

    About 1 where the seam cannot be seen; see `INVISIBLE_BELOW`. Change is the mean absolute difference of pixels, usual
    its median over the pairs of neighbours in both clips. A still video has 1 where it stays still over the seam, else
    infinity. Kinema's own. Raises InputError where neither clip has two frames.
    """
    usual = np.concatenate([_differences(before), _differences(after)])
    if not len(usual):
        raise InputError("clips", "have one frame each", "two in one of them, to know what is usual")
    at_seam = float(_differences(np.stack([before[-1], after[0]]))[0])
    median = float(np.median(usual))
    if median == 0:
        return 1.0 if at_seam == 0 else float("inf")
    return at_seam / median


def _mean_colour(clip: UInt8[np.ndarray, "T H W 3"]) -> Float[np.ndarray, " 3"]:
    return np.mean([frame.mean((0, 1)) for frame in clip], 0)


def _sharpness(clip: UInt8[np.ndarray, "T H W 3"]) -> float:
    return float(np.mean([cv2.Laplacian(frame, cv2.CV_64F).var() for frame in to_grey(clip)]))


def _differences(clip: UInt8[np.ndarray, "T H W 3"]) -> Float[np.ndarray, " P"]:
    """Mean absolute difference of neighbouring frames, 8-bit levels."""
    return np.array([np.abs(b.astype(np.int16) - a).mean() for a, b in pairwise(clip)])
