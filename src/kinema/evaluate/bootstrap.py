"""How sure a number over clips is: 95 % intervals by resampling the clips (Efron 1979, percentile bootstrap).

Input: one value a clip. Output: the statistic and its interval. Clips are resampled, not frames: frames of one clip
are no independent samples. Seeded: the same values give the same interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from kinema.errors import InputError

Statistic = Literal["mean", "median"]
DRAWS = 2000
"""Efron & Tibshirani 1993 ask for at least 1000 for the ends of a 95 % interval."""
COVERAGE = 0.95
_DRAWN_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A statistic over `count` clips, and the ends of its 95 % interval, in the unit of the values."""

    value: float
    low: float
    high: float
    count: int


def bootstrap_interval(values: Float[np.ndarray, " N"], statistic: Statistic = "mean", seed: int = 42) -> Interval:
    """Mean or median over clips. Under about 30 clips the interval of a mean comes out too narrow.

    Infinite values are allowed (a missing target); one that is not a number raises InputError, as do none.
    """
    return paired_difference_interval(values, np.zeros(len(values)), statistic, seed)


def paired_difference_interval(
    a: Float[np.ndarray, " N"], b: Float[np.ndarray, " M"], statistic: Statistic = "mean", seed: int = 42
) -> Interval:
    """Mean or median of a - b over the same clips, clip by clip: 0 outside the interval is a clear difference."""
    if len(a) == 0 or len(a) != len(b):
        raise InputError("values", f"are of {len(a)} and {len(b)} clips", expected="the same clips, at least one")
    with np.errstate(invalid="ignore"):
        values = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if np.isnan(values).any():
        bad = int(np.isnan(values).argmax())
        raise InputError("values", f"clip {bad} has no number", expected="numbers; leave that clip out of both")
    middle = np.mean if statistic == "mean" else np.median
    rng, count, drawn = np.random.default_rng(seed), len(values), []
    while sum(map(len, drawn)) < DRAWS:
        draws = min(DRAWS - sum(map(len, drawn)), max(1, _DRAWN_AT_ONCE // count))
        drawn.append(middle(values[rng.integers(0, count, (draws, count))], axis=1))
    tail = (1 - COVERAGE) / 2
    # A drawn value, never one between two: between a number and infinity there is none.
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail], method="closest_observation")
    return Interval(float(middle(values)), float(low), float(high), count)
