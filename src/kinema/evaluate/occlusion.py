"""Who is in front where subjects cross: predicted against true subject ids, in the pixels that both could fill.

Input: subject ids uint8 [T,H,W], 0 background, else 1 + index. Output: a share of pixels. Source: issue 3, aim 6; the
measure is that of depth-order benchmarks (WHDR of Bell et al. 2014 without weights, turned to be better when higher).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from kinema.errors import InputError


def crossing_pixels(silhouettes: Bool[np.ndarray, "N T H W"]) -> Bool[np.ndarray, "T H W"]:
    """Pixels that two or more subjects' full silhouettes cover, each drawn as if it were alone."""
    return silhouettes.sum(0) >= 2


def order_accuracy(
    subject_ids: UInt8[np.ndarray, "T H W"],
    truth: UInt8[np.ndarray, "T H W"],
    crossing: Bool[np.ndarray, "T H W"],
) -> float:
    """Share of the crossing pixels that show the right subject, 0-1, higher is better.

    crossing  what `crossing_pixels` gives of the true subjects
    At least 30 clips with crossings; pool the pixels where clips differ much in how many. Raises InputError where
    nothing crosses.
    """
    if not crossing.any():
        raise InputError("crossing", "no subjects cross in this clip", expected="a clip in which two do")
    return float((subject_ids == truth)[crossing].mean())
