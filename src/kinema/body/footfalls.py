"""When and where paws touch the ground, and the paths they swing along in between.

Input: lift-off and touch-down times and footprints of a leg. Output: the paw joint's place at any time. A paw on the
ground does not move at all; a swing leaves and arrives with little or no speed over the ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from kinema.body.quadruped import REST_FEET_M


@dataclass(frozen=True)
class Footfalls:
    """The steps of one leg: K swings between K + 1 footprints, times in s, ascending and not overlapping.

    prints  (x, z, heading) on the floor, metres and radians
    """

    lift_s: Float[np.ndarray, " K"]
    land_s: Float[np.ndarray, " K"]
    prints: Float[np.ndarray, "K+1 3"]


@dataclass(frozen=True)
class FootPaths:
    """Where four paws are: places [T,4,3] metres, headings [T,4] rad, swing [T,4] in 0-1 (0 or 1: on the ground)."""

    places_m: Float[np.ndarray, "T 4 3"]
    yaw_rad: Float[np.ndarray, "T 4"]
    swing: Float[np.ndarray, "T 4"]

    @property
    def bump(self) -> np.ndarray:
        """[T,4] 0 on the ground, 1 in the middle of a swing, smooth."""
        return np.sin(np.pi * self.swing) ** 2

    @property
    def on_ground(self) -> np.ndarray:
        """[T,4] bool."""
        return (self.swing <= 0) | (self.swing >= 1)


def minimum_jerk(u: np.ndarray) -> np.ndarray:
    """0-1 -> 0-1 with zero speed and acceleration at both ends (Flash and Hogan 1985, equation 3)."""
    u = np.clip(u, 0, 1)
    return u**3 * (10 - 15 * u + 6 * u**2)


def foot_paths(falls: list[Footfalls], t_s: np.ndarray, clearance_m: np.ndarray, snatch: float = 0.0) -> FootPaths:
    """Sample the four legs' steps at times [T]; the paws rise by clearance_m [4] at most.

    snatch 0-1: how much of a swing goes at even speed, so that a fast body doesn't leave the paw behind.
    """
    places, yaw, swing = np.zeros((len(t_s), 4, 3)), np.zeros((len(t_s), 4)), np.zeros((len(t_s), 4))
    for leg, fall in enumerate(falls):
        step = np.searchsorted(fall.lift_s, t_s, "right") - 1
        before, after = np.maximum(step, 0), step + 1
        if len(fall.lift_s):
            lift, land = fall.lift_s[before], fall.land_s[before]
            swing[:, leg] = np.where(step < 0, 0, np.clip((t_s - lift) / (land - lift), 0, 1))
        u = swing[:, leg, None]
        going = snatch * u + (1 - snatch) * u**2 * (3 - 2 * u)
        spot = fall.prints[before] * (1 - going) + fall.prints[after] * going
        height = REST_FEET_M[leg, 1] + clearance_m[leg] * np.sin(np.pi * swing[:, leg]) ** (2 - 2 * snatch)
        places[:, leg] = np.stack([spot[:, 0], height, spot[:, 1]], -1)
        yaw[:, leg] = spot[:, 2]
    return FootPaths(places, yaw, swing)
