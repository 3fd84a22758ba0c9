"""Acts of the built-in quadruped that aren't gaits: stand, sit, lie, jump.

Input: a random generator and times. Output: local rotations, pelvis positions, and what the animal does, in words.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator

from kinema.body.footfalls import Footfalls, foot_paths, minimum_jerk
from kinema.body.quadruped import REST_FEET_M
from kinema.body.quadruped_posture import Trunk, assemble, leg_lean, random_manner, resting_trunk

GRAVITY_M_S2 = 9.81
Act = Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray, str]]


def _standing_prints() -> np.ndarray:
    """[4,3] (x, z, heading) under the rest pose."""
    return np.stack([REST_FEET_M[:, 0], REST_FEET_M[:, 2], np.zeros(4)], -1).astype(float)


def _still(prints: np.ndarray) -> Footfalls:
    return Footfalls(np.zeros(0), np.zeros(0), prints[None])


def _slow_waves(rng: np.random.Generator, t_s: np.ndarray, size: float) -> np.ndarray:
    """Sum of three slow sines of random rate and phase: the shifting of an animal that stands."""
    rate, phase = rng.uniform(0.1, 0.6, 3), rng.uniform(0, 2 * np.pi, 3)
    return size / 3 * np.sin(2 * np.pi * rate * t_s[:, None] + phase).sum(-1)


def stand(rng: np.random.Generator, t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """All paws planted, a little askew; the weight shifts, the chest breathes, the head looks about."""
    prints = _standing_prints()
    prints[:, 1] += rng.uniform(-0.05, 0.05, 4)
    feet = foot_paths([_still(p) for p in prints], t_s, np.zeros(4))
    rest = resting_trunk(len(t_s))
    trunk = Trunk(
        place=np.stack([_slow_waves(rng, t_s, 0.015), _slow_waves(rng, t_s, 0.02)], -1),
        yaw=_slow_waves(rng, t_s, 0.06),
        lift=-0.025 + 0.003 * np.sin(2 * np.pi * rng.uniform(0.3, 0.6) * t_s) + _slow_waves(rng, t_s, 0.005),
        pitch=_slow_waves(rng, t_s, 0.02),
        roll=_slow_waves(rng, t_s, 0.02),
        flex=rest.flex + rng.normal(0, 0.05),
        bend=_slow_waves(rng, t_s, 0.15),
    )
    manner = random_manner(rng, 0.0)
    local, root_m = assemble(t_s, trunk, feet, leg_lean(trunk, feet), manner, 2 * np.pi * 0.4 * t_s)
    return local, root_m, "stands and wags its tail" if manner.wag > 0.15 else "stands still and looks around"


def _settle(
    rng: np.random.Generator, t_s: np.ndarray, low: dict[str, float], hind_m: float, front_m: float, lean: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Stand, go down into a posture while the paws step into place, stay; sometimes get up again.

    low: what lift, pitch, flex and surge (metres forward) of the trunk become; hind_m, front_m: how far the paws
    step forward; lean [4] of the bones above the paws in the end, rad. Last of the result: whether it gets up.
    """
    end = max(t_s[-1], 1e-3)
    begin, down = rng.uniform(0.0, 0.2) * end, rng.uniform(0.7, 1.3)
    rises = bool(end > begin + 2 * down + 1.0 and rng.random() < 0.5)
    up = max(rng.uniform(0.55, 0.8) * end, begin + down + 0.3)
    settled = minimum_jerk((t_s - begin) / down) - (minimum_jerk((t_s - up) / down) if rises else 0)

    falls, stands = [], _standing_prints()
    for leg, offset in enumerate(rng.permutation([0.0, 0.22])[[0, 1, 0, 1]]):
        step = hind_m if leg >= 2 else front_m
        if not step:
            falls.append(_still(stands[leg]))
            continue
        there = stands[leg] + [0, step, 0]
        lift = np.array([begin + offset * down * 1.6, up + (0.3 + offset) * down])[: 1 + rises]
        falls.append(Footfalls(lift, lift + 0.32 * down, np.stack([stands[leg], there, stands[leg]])[: 2 + rises]))
    feet = foot_paths(falls, t_s, np.full(4, 0.035))
    trunk = Trunk(
        place=np.stack([_slow_waves(rng, t_s, 0.008), low["surge"] * settled], -1),
        yaw=_slow_waves(rng, t_s, 0.04),
        lift=-0.02 + low["lift"] * settled,
        pitch=low["pitch"] * settled,
        roll=_slow_waves(rng, t_s, 0.01),
        flex=low["flex"] * settled,
        bend=_slow_waves(rng, t_s, 0.08),
    )
    bones = leg_lean(trunk, feet) * (1 - settled[:, None]) + lean * settled[:, None]
    local, root_m = assemble(t_s, trunk, feet, bones, random_manner(rng, 0.1), 2 * np.pi * 0.4 * t_s)
    return local, root_m, rises


def sit(rng: np.random.Generator, t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """The hindquarters go down onto the hocks; the front paws stay."""
    low = {"lift": -0.215, "pitch": -0.62, "flex": 0.3, "surge": 0.0}
    local, root_m, rises = _settle(rng, t_s, low, 0.2, 0.0, np.array([0.0, 0.0, -1.3, -1.3]))
    return local, root_m, "sits down and gets up again" if rises else "sits down"


def lie(rng: np.random.Generator, t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Down onto the belly, forearms on the floor ahead, hind legs folded."""
    low = {"lift": -0.28, "pitch": 0.0, "flex": 0.1, "surge": -0.05}
    local, root_m, rises = _settle(rng, t_s, low, 0.17, 0.14, np.array([-1.25, -1.25, -1.3, -1.3]))
    return local, root_m, "lies down and gets up again" if rises else "lies down"


def jump(rng: np.random.Generator, t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Crouch, leap forward along a parabola, land on the front paws, recover. The leap is in the clip's middle."""
    distance, air_s = rng.uniform(0.5, 1.6), rng.uniform(0.32, 0.5)
    rise = GRAVITY_M_S2 * air_s**2 / 8
    crouch_s, land_s = rng.uniform(0.35, 0.6), rng.uniform(0.35, 0.6)
    off = max(crouch_s, (t_s[-1] - air_s) * rng.uniform(0.35, 0.55))
    down = off + air_s
    speed, climb = distance / air_s, GRAVITY_M_S2 * air_s / 2

    prints, falls = _standing_prints(), []
    for leg in range(4):
        lift, land = (off - 0.13, down - 0.06) if leg < 2 else (off, down + 0.1)
        stagger = rng.uniform(0, 0.04)
        there = prints[leg] + [0, distance + (0.12 if leg < 2 else 0.16), 0]
        falls.append(Footfalls(np.array([lift - stagger]), np.array([land - stagger]), np.stack([prints[leg], there])))
    feet = foot_paths(falls, t_s, np.array([0.9, 0.9, 1.0, 1.0]) * rise + 0.1)

    low, deep = -0.12 * rng.uniform(0.7, 1.2), -0.10 * rng.uniform(0.7, 1.2)
    trunk = resting_trunk(len(t_s))
    knots = np.array([off - crouch_s - 1, off - crouch_s, off - 0.16, off, down, down + 0.14, down + land_s + 0.1])
    knots = np.append(knots, knots[-1] + 1)

    def keyed(values):
        return PchipInterpolator(knots, values, extrapolate=True)(np.clip(t_s, knots[0], knots[-1]))

    fly = np.clip(t_s - off, 0, air_s)
    height = keyed([-0.02, -0.02, low, 0, 0, deep, -0.02, -0.02]) + climb * fly - GRAVITY_M_S2 * fly**2 / 2
    ahead = keyed([0, 0, -0.05, 0.1, 0.1 + distance, 0.2 + distance, 0.14 + distance, 0.14 + distance])
    pitch = keyed([0, 0, 0.02, -0.42, 0.3, 0.05, 0, 0]) * min(1.0, rise / 0.2)
    flex = keyed([0, 0, 0.3, -0.25, 0.1, 0.35, 0, 0])
    trunk = Trunk(np.stack([trunk.yaw, ahead], -1), trunk.yaw, height, pitch, trunk.roll, flex, trunk.bend)
    local, root_m = assemble(t_s, trunk, feet, leg_lean(trunk, feet), random_manner(rng, 0.3), trunk.yaw)
    return local, root_m, "jumps far forward" if speed > 3 else "jumps up" if distance < 0.8 else "jumps forward"


ACTS: dict[str, Act] = {"stand": stand, "sit": sit, "lie": lie, "jump": jump}
