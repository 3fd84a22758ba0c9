"""How natural the frames of a video are by their local statistics, with no true video beside it: blur, noise, blocks and
ringing all change them.

Input: a video, and statistics of true ones. Output: one number a clip. The 36 features are BRISQUE's (Mittal et al.
2012): shapes of the distributions of locally normalised grey and of products of its neighbours, at two sizes. The distance
is, as NIQE's (Mittal et al. 2013), to a normal distribution of the features of true videos, here of the same world: it
stands for VBench's "imaging quality" (MUSIQ, a large network) and is not to be put beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.special import gamma

from kinema.errors import InputError
from kinema.extract.optical_flow import to_grey

WINDOW_PX, WINDOW_SIGMA = 7, 7 / 6
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Window and directions (down, right) of Mittal et al. 2012, section III."""
FEATURES = 36
EVERY = 4
"""One frame of so many is looked at."""
RIDGE = 1e-3
"""Share of the mean variance that is added to every feature's, so that few clips give a distance too."""
_SHAPES = np.arange(0.2, 10, 0.001)


@dataclass(frozen=True)
class Naturalness:
    """Mean and inverse covariance of the features of true clips."""

    mean: Float[np.ndarray, " 36"]
    precision: Float[np.ndarray, "36 36"]

    @staticmethod
    def of(truths: Sequence[UInt8[np.ndarray, "_ _ _ 3"]]) -> Naturalness:
        """Raises InputError under as many clips as features."""
        if len(truths) <= FEATURES:
            raise InputError("true videos", f"are {len(truths)}", f"more than {FEATURES}")
        found = np.stack([natural_features(video) for video in truths])
        covariance = np.cov(found, rowvar=False)
        covariance += RIDGE * np.diag(covariance).mean() * np.eye(FEATURES)
        return Naturalness(found.mean(0), np.linalg.inv(covariance))

    def distance(self, video: UInt8[np.ndarray, "T H W 3"]) -> float:
        """Standard deviations that a clip is off, root mean square over the features: about 1 for true ones, lower is
        better. At least 30 clips."""
        off = natural_features(video) - self.mean
        return float(np.sqrt(off @ self.precision @ off / FEATURES))


def natural_features(video: UInt8[np.ndarray, "T H W 3"]) -> Float[np.ndarray, " 36"]:
    """The mean over frames of BRISQUE's features; variances as logarithms, since they differ by powers of ten."""
    found = []
    for frame in to_grey(video[::EVERY]):
        grey = frame.astype(np.float32)
        for _ in range(2):
            found.append(_of_picture(grey))
            grey = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.mean(np.array(found).reshape(-1, FEATURES), 0)


def _of_picture(grey: Float[np.ndarray, "H W"]) -> list[float]:
    mean = cv2.GaussianBlur(grey, (WINDOW_PX, WINDOW_PX), WINDOW_SIGMA)
    spread = cv2.GaussianBlur(np.square(grey - mean), (WINDOW_PX, WINDOW_PX), WINDOW_SIGMA)
    even = (grey - mean) / (np.sqrt(spread) + 1)
    shape, _, left, right = asymmetric_shape(even)
    found = [shape, np.log((left + right) / 2)]
    height, width = even.shape
    for down, across in NEIGHBOURS:
        first = even[: height - down, max(0, -across) : width - max(0, across)]
        second = even[down:, max(0, across) : width + min(0, across)]
        shape, middle, left, right = asymmetric_shape(first * second)
        found += [shape, middle, np.log(left), np.log(right)]
    return found


def asymmetric_shape(values: Float[np.ndarray, "*N"]) -> tuple[float, float, float, float]:
    """The asymmetric generalised Gaussian of some values by moments (Lasmar et al. 2009): its shape (2 a normal
    distribution, 1 a Laplacian one), mean, and variances to the left and right of 0."""
    floor = 1e-6
    left = float(np.square(values[values < 0]).sum() / max(1, (values < 0).sum())) + floor
    right = float(np.square(values[values > 0]).sum() / max(1, (values > 0).sum())) + floor
    ratio = np.sqrt(left / right)
    lean = np.abs(values).mean() ** 2 / (np.square(values).mean() + floor)
    lean *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = float(_SHAPES[np.searchsorted(_leans(), lean).clip(0, len(_SHAPES) - 1)])
    middle = (np.sqrt(right) - np.sqrt(left)) * gamma(2 / shape) / np.sqrt(gamma(1 / shape) * gamma(3 / shape))
    return shape, float(middle), left, right


@cache
def _leans() -> np.ndarray:
    """Squared mean size over mean square, by shape; rising."""
    return gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))
