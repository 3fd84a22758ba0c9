"""Procedural motion of the built-in quadruped: gaits and a few acts, each with its caption.

Input: a name, a length, a seed. Output: a `BodyMotion` on the floor, starting at x = z = 0, facing +z.
Free captures of animals are scarce, so these, with hand-keyed clips, are what the animal half of the prior learns.

Order and timing of the feet: Hildebrand (1989), The quadrupedal gaits of vertebrates, BioScience 39:766; speeds, duty
factors and lags of dogs: Maes et al. (2008), Steady locomotion in dogs, J. Exp. Biol. 211:138. Stride length over hip
height: 2.4 Fr^0.34 for cursorial mammals, Fr = v^2 / (g h): Alexander and Jayes (1983), J. Zool. 201:135.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinema.body.footfalls import Footfalls, foot_paths
from kinema.body.quadruped import REST_FEET_M, REST_JOINTS_M, to_motion
from kinema.body.quadruped_acts import ACTS
from kinema.body.quadruped_posture import Trunk, assemble, crouched, leg_lean, random_manner
from kinema.errors import InputError
from kinema.types import BodyMotion

GRAVITY_M_S2 = 9.81
HIP_HEIGHT_M = float(REST_JOINTS_M[17, 1])
LONGEST_STANCE_M = 0.4
"""How far the body passes over a standing paw at most: what the built-in legs reach in comfort."""


@dataclass(frozen=True)
class Gait:
    """A periodic gait. Phases and the duty factor are fractions of a stride; legs in the order of `LEGS`.

    touchdown   when each paw lands           duty         how long it stays
    speed_m_s   slowest and fastest           clearance_m  how high the paws swing
    bob_m, bob_beats, bob_peak  rise and fall of the trunk: size, times a stride, phase of the top
    pitch_rad, flex_rad         rocking of the trunk, arching of the spine, once a stride
    turn_rad_s  slowest and fastest change of heading
    """

    verb: str
    touchdown: tuple[float, float, float, float]
    duty: float
    speed_m_s: tuple[float, float]
    clearance_m: float
    bob_m: float
    bob_beats: int
    bob_peak: float
    pitch_rad: float = 0.0
    flex_rad: float = 0.0
    turn_rad_s: tuple[float, float] = (0.0, 0.35)


GAITS: dict[str, Gait] = {
    "walk": Gait("walks", (0.25, 0.75, 0.0, 0.5), 0.64, (0.55, 1.1), 0.05, 0.006, 2, 0.3, 0.015),
    "trot": Gait("trots", (0.5, 0.0, 0.0, 0.5), 0.43, (1.5, 2.8), 0.07, 0.016, 2, 0.46),
    "pace": Gait("paces", (0.0, 0.5, 0.0, 0.5), 0.45, (1.3, 2.2), 0.06, 0.012, 2, 0.47),
    "canter": Gait("canters", (0.64, 0.34, 0.32, 0.0), 0.34, (2.6, 3.8), 0.09, 0.025, 1, 0.1, 0.07, 0.2),
    "gallop": Gait("gallops", (0.60, 0.46, 0.0, 0.12), 0.26, (4.0, 7.0), 0.11, 0.03, 1, 0.93, 0.06, 0.45),
    "rotary gallop": Gait("gallops", (0.46, 0.58, 0.0, 0.11), 0.24, (4.5, 7.5), 0.11, 0.03, 1, 0.93, 0.06, 0.55),
    "turn": Gait("turns", (0.25, 0.75, 0.0, 0.5), 0.66, (0.05, 0.2), 0.05, 0.004, 2, 0.3, 0, 0, (0.7, 1.5)),
}
"""Walk: lateral sequence. Trot: diagonal pairs. Pace: sides. Canter: three beats. Gallop: transverse, rotary."""
NAMES: tuple[str, ...] = (*GAITS, *ACTS)

_SUBJECTS = ("a quadruped", "a dog", "a four-legged animal", "an animal")
_MIRRORED = [1, 0, 3, 2]


def gait(name: str, seconds: float, fps: float, seed: int) -> tuple[BodyMotion, str]:
    """A gait or act (one of `NAMES`) of the built-in quadruped with seeded variation, and its caption.

    Speed, stride, duty, side, path, carriage of head and tail differ from seed to seed; equal seeds give equal
    motion. Raises InputError for an unknown name, or a length or rate that is not above zero.
    """
    if name not in NAMES:
        raise InputError("gait", f"unknown name {name!r}", expected=", ".join(NAMES))
    if not (np.isfinite(seconds) and seconds > 0 and np.isfinite(fps) and fps > 0):
        raise InputError("gait", f"asked for {seconds} s at {fps} Hz", expected="both above zero")
    rng = np.random.default_rng([seed, NAMES.index(name)])
    t_s = np.arange(max(1, round(seconds * fps))) / fps
    subject = str(rng.choice(_SUBJECTS))
    local, root_m, doing = ACTS[name](rng, t_s) if name in ACTS else _locomotion(GAITS[name], rng, t_s)
    root_m[:, [0, 2]] -= root_m[0, [0, 2]]
    return to_motion(local, root_m, fps), f"{subject} {doing}"


@dataclass(frozen=True)
class _Path:
    """Where the body goes, sampled finely from before the clip to after it: (x, z) metres, heading rad."""

    t_s: np.ndarray
    place: np.ndarray
    yaw: np.ndarray

    def at(self, t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.stack([np.interp(t_s, self.t_s, self.place[:, k]) for k in (0, 1)], -1)
        return place, np.interp(t_s, self.t_s, self.yaw)


def _path(speed_m_s: float, turn_rad_s: float, wander_rad: float, phase: float, end_s: float, pad_s: float):
    """A steady turn with a slow wander of the heading on top (its period is 7 s)."""
    t_s = np.arange(-pad_s, end_s + pad_s, 1 / 240)
    yaw = turn_rad_s * t_s + wander_rad * (np.sin(2 * np.pi * t_s / 7 + phase) - np.sin(phase))
    step = speed_m_s / 240 * np.stack([np.sin(yaw), np.cos(yaw)], -1)
    place = np.cumsum(step, 0)
    start = np.searchsorted(t_s, 0)
    return _Path(t_s, place - place[start], yaw)


def _stride_length_m(speed_m_s: float, duty: float) -> float:
    """Alexander and Jayes (1983), held to what the legs reach."""
    froude = speed_m_s**2 / (GRAVITY_M_S2 * HIP_HEIGHT_M)
    return min(2.4 * HIP_HEIGHT_M * froude**0.34, LONGEST_STANCE_M / duty)


def _footfalls(path: _Path, touchdown: np.ndarray, duty: float, stride_s: float, spread: float) -> list[Footfalls]:
    """Every paw lands so that the body passes over it in the middle of its stance; spread scales the track width."""
    falls = []
    for leg, phase in enumerate(touchdown):
        first = np.ceil((path.t_s[0] + 0.1) / stride_s - phase)
        count = int((path.t_s[-1] - path.t_s[0] - 0.2) / stride_s) - 1
        lands = (first + np.arange(count) + phase) * stride_s
        place, yaw = path.at(lands + duty * stride_s / 2)
        aside, ahead = spread * REST_FEET_M[leg, 0], REST_FEET_M[leg, 2]
        x = place[:, 0] + np.cos(yaw) * aside + np.sin(yaw) * ahead
        z = place[:, 1] - np.sin(yaw) * aside + np.cos(yaw) * ahead
        falls.append(Footfalls(lands[:-1] + duty * stride_s, lands[1:], np.stack([x, z, yaw], -1)))
    return falls


def _locomotion(kind: Gait, rng: np.random.Generator, t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """One gait at a steady speed along a gently curved path -> rotations, pelvis positions, what it does."""
    pace = rng.uniform()
    speed = kind.speed_m_s[0] + pace * (kind.speed_m_s[1] - kind.speed_m_s[0])
    duty = kind.duty * (1 - 0.12 * (pace - 0.5)) * rng.uniform(0.96, 1.04)
    if kind.verb == "turns":
        stride_s = rng.uniform(0.65, 0.95)
    else:
        stride_s = _stride_length_m(speed, duty) * rng.uniform(0.88, 1.0) / speed
    turn = rng.uniform(*kind.turn_rad_s) * rng.choice([-1, 1])
    if kind.turn_rad_s[0] == 0 and rng.random() < 0.5:
        turn = 0.0
    wander = rng.uniform(0, 0.12)
    path = _path(speed, turn, wander, rng.uniform(0, 2 * np.pi), t_s[-1], 3 * stride_s + 0.3)

    touchdown = np.array(kind.touchdown) + rng.uniform(-0.02, 0.02, 4)
    touchdown = (touchdown[_MIRRORED] if rng.random() < 0.5 else touchdown) + rng.uniform()
    falls = _footfalls(path, touchdown, duty, stride_s, rng.uniform(0.7, 1.0))
    clearance = kind.clearance_m * rng.uniform(0.7, 1.2) * np.array([1, 1, 0.85, 0.85])
    feet = foot_paths(falls, t_s, clearance, snatch=float(np.clip(0.8 - 1.5 * duty, 0, 0.5)))

    hind = 2 if touchdown[2] % 1 <= touchdown[3] % 1 else 3
    phase = 2 * np.pi * (t_s / stride_s - touchdown[hind])
    trunk = _trunk(kind, path, t_s, phase, speed, rng)
    lean = leg_lean(trunk, feet)
    trunk = crouched(trunk, feet, lean)
    vigour = float(np.clip(speed / 6, 0, 1))
    local, root_m = assemble(t_s, trunk, feet, lean, random_manner(rng, vigour), kind.bob_beats * phase)
    return local, root_m, _caption(kind.verb, pace, turn)


def _trunk(kind: Gait, path: _Path, t_s, phase, speed: float, rng: np.random.Generator) -> Trunk:
    """Bob, rock, arch and sway in time with the feet; lean into a turn. `phase` is rad since a hind paw landed."""
    place, yaw = path.at(t_s)
    turn = np.gradient(path.yaw, path.t_s)
    turn = np.interp(t_s, path.t_s, turn)
    size = rng.uniform(0.6, 1.3)
    return Trunk(
        place=place,
        yaw=yaw,
        lift=size * kind.bob_m * np.cos(kind.bob_beats * (phase - 2 * np.pi * kind.bob_peak)),
        pitch=rng.normal(0, 0.02) - size * kind.pitch_rad * np.cos(phase - 2 * np.pi * 0.42),
        roll=-0.4 * np.arctan(speed * turn / GRAVITY_M_S2) + rng.uniform(0, 0.02) * np.sin(phase),
        flex=rng.normal(0, 0.04) + size * kind.flex_rad / 2 * np.cos(phase - 2 * np.pi * 0.97),
        bend=0.35 * np.tanh(turn) + rng.uniform(0.01, 0.07) * np.sin(phase + 0.5),
    )


def _caption(verb: str, pace: float, turn_rad_s: float) -> str:
    how = " slowly" if pace < 0.3 else " quickly" if pace > 0.7 else ""
    if verb == "turns":
        return f"turns {'left' if turn_rad_s > 0 else 'right'} on the spot"
    if abs(turn_rad_s) < 0.08:
        return f"{verb}{how} straight ahead" if not how else f"{verb}{how}"
    return f"{verb}{how} while turning {'left' if turn_rad_s > 0 else 'right'}"
