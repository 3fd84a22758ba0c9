"""Longer motion, in parameter space (ReVision, section 5.1 and figure 7): 32 -> 64 by interpolation, 64 -> 128 by
extrapolation, then refinement.

`resample` and `interpolate` put smooth curves through the given frames: cubic in the root, and the unit-quaternion
analogue of a cubic Hermite curve in the rotations (Kim, Kim and Shin 1995). `extrapolate` goes on as a motion graph does
(Kovar et al. 2002): from the earlier frame whose pose and motion are most like the ending, turned and moved to fit; where
no frame is like it, the motion swings back the way it came. Differences at a seam die out as a damped spring does, so that
the given frames stay exactly what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from kinema.body.model import BodyModel, joints
from kinema.body.skeleton import BODY_JOINT_COUNT
from kinema.errors import InputError
from kinema.optimize.contacts import LEGS
from kinema.types import BodyMotion

PAPER_STRETCH = 2.0
"""Interpolation makes a motion at most this much slower (figure 7: 32 -> 64); the rest is extrapolated."""
MATCH_M = 0.10
"""Two moments are alike when their joints, best aligned, are this near on average; half a step apart is 0.15."""
FOOT_WEIGHT = 5
"""A foot counts as so many joints: what does not fit there slides."""
MATCH_WINDOW_S = 0.25
SHORTEST_LOOP_S = 0.8
"""What is played again lasts at least this long: less looks like a stutter."""
SETTLE_S = 0.12
"""Time constant of the critically damped spring that takes up the difference at a seam."""
TURN_BACK_S = 0.20
"""The same where a motion swings back: its speed has to turn round."""
OVERSHOOT_RAD, OVERSHOOT_M = 0.5, 0.1
"""A spring is made quicker where its swing would go further than this, down to a time constant of one frame."""


def resample(motion: BodyMotion, fps: float | None = None, frames: int | None = None) -> BodyMotion:
    """At another frame rate for the same time (`fps`), or stretched in time to a number of `frames` at the same rate.

    Frames that fall on given ones are exactly those; with `frames`, the first and the last always do.
    """
    if (fps is None) == (frames is None):
        raise InputError("resample", "needs one of fps and frames", expected="exactly one of the two")
    last = len(motion) - 1
    if frames is not None:
        if frames < 1:
            raise InputError("resample: frames", f"is {frames}", expected="at least 1")
        return _sample(motion, np.linspace(0, last, frames))
    assert fps is not None
    if not (np.isfinite(fps) and 0 < fps <= 1000):
        raise InputError("resample: fps", f"is {fps}", expected="frames a second, above 0, at most 1000")
    count = int(np.floor(last * fps / motion.fps + 1e-6)) + 1
    return replace(_sample(motion, np.minimum(np.arange(count) * motion.fps / fps, last)), fps=fps)


def interpolate(motion: BodyMotion, factor: int) -> BodyMotion:
    """`factor` times as many frames at the same rate, hence slower: frame k is frame `factor` k of the result, exactly.

    After the last given frame its speed carries on for the rest of its time.
    """
    if factor < 1:
        raise InputError("interpolate: factor", f"is {factor}", expected="a whole number, at least 1")
    return _sample(motion, np.arange(len(motion) * factor) / factor)


def extrapolate(motion: BodyMotion, length: int, body: BodyModel | None = None) -> BodyMotion:
    """The motion, continued to `length` frames. The given frames are untouched."""
    frames = len(motion)
    if length <= frames:
        return motion[:length]
    track = _Track(motion)
    if frames == 1:
        track.append(np.zeros(length - 1, int), None, 0.0)
        return track.motion()
    entry = _best_entry(motion, body) if frames > 3 else None
    while len(track) < length:
        missing = length - len(track)
        if entry is None:
            there_and_back = np.concatenate([np.arange(frames - 2, -1, -1), np.arange(1, frames)])
            track.append(there_and_back[: min(missing, frames - 1)], (frames - 1, frames - 2), TURN_BACK_S)
            track.append(there_and_back[frames - 1 :][: max(length - len(track), 0)], (0, 1), TURN_BACK_S)
        else:
            again = np.arange(entry + 1, frames)[:missing]
            track.align(entry)
            track.append(again, (entry - 1, entry), SETTLE_S)
    return track.motion()


def lengthen(
    motion: BodyMotion,
    length: int,
    refine: Callable[[BodyMotion], BodyMotion] | None = None,
    body: BodyModel | None = None,
) -> BodyMotion:
    """A motion of `length` frames (at least 2), mended by `refine` where that is given and the motion was lengthened.

    Shorter: cut after `length` frames, the rest untouched. Up to twice as long: stretched in time, first and last frame
    kept. Longer: interpolated to twice its frames, then extrapolated.
    """
    if length < 2:
        raise InputError("length", f"is {length}", expected="at least 2 frames")
    frames = len(motion)
    if length <= frames:
        return motion[:length]
    if frames == 1:
        longer = extrapolate(motion, length, body)
    elif length < PAPER_STRETCH * frames:
        longer = resample(motion, frames=length)
    else:
        longer = extrapolate(interpolate(motion, int(PAPER_STRETCH)), length, body)
    return refine(longer) if refine else longer


def _sample(motion: BodyMotion, at: Float[np.ndarray, " N"]) -> BodyMotion:
    """The motion at times in frames, 0 to less than T; exact where they are whole."""
    last = len(motion) - 1
    nearest = np.minimum(np.rint(at), last).astype(int)
    exact = np.abs(at - nearest) < 1e-6
    if last == 0:
        exact = np.ones(len(at), bool)
    low = np.clip(np.floor(at).astype(int), 0, last)
    high = np.minimum(low + 1, last)
    share = (at - low)[:, None]
    rotvec, root = (motion.rotvec[nearest], motion.root_translation_m[nearest])
    if not exact.all():
        rotvec = np.where(exact[:, None, None], rotvec, _sample_rotations(motion.rotvec, low, share[:, 0]))
        root = np.where(exact[:, None], root, _sample_points(motion.root_translation_m, low, share))

    def linear(values):
        mixed = values[low] * (1 - share) + values[high] * share
        return np.where(exact[:, None], values[nearest], mixed).astype(np.float32)

    return replace(
        motion,
        rotvec=rotvec.astype(np.float32),
        root_translation_m=root.astype(np.float32),
        expression=linear(motion.expression),
        valid=np.where(exact, motion.valid[nearest], motion.valid[low] & motion.valid[high]),
        confidence=linear(motion.confidence),
    )


def _sample_points(points: Float[np.ndarray, "T 3"], low: np.ndarray, u: Float[np.ndarray, "N 1"]):
    """Cubic Hermite curve through the points with the slopes of Catmull and Rom; straight on after the last one."""
    points = points.astype(float)
    points = np.concatenate([points, 2 * points[-1:] - points[-2:-1]])
    slope = np.gradient(points, axis=0)
    a, b = points[low], points[low + 1]
    start, end = slope[low], slope[low + 1]
    return (
        a * (2 * u**3 - 3 * u**2 + 1) + b * (3 * u**2 - 2 * u**3) + start * (u**3 - 2 * u**2 + u) + end * (u**3 - u**2)
    )


def _sample_rotations(rotvec: Float[np.ndarray, "T J 3"], low: np.ndarray, u: Float[np.ndarray, " N"]):
    """Rotations on the curve of Kim, Kim and Shin (equation 13): products of powers, with the same slopes."""
    joint_count = rotvec.shape[1]
    given = rotvec.astype(float)
    step = _log_between(given[:-1], given[1:])
    step = np.concatenate([step, step[-1:]])
    beyond = Rotation.from_rotvec(given[-1]) * Rotation.from_rotvec(step[-1])
    given = np.concatenate([given, beyond.as_rotvec()[None]])
    slope = np.concatenate([step[:1], (step[:-1] + step[1:]) / 2, step[-1:]])

    def rotation(v):
        return Rotation.from_rotvec(v.reshape(-1, 3))

    start, end = slope[low] / 3, slope[low + 1] / 3
    middle = (rotation(start).inv() * rotation(step[low]) * rotation(end).inv()).as_rotvec().reshape(start.shape)
    u = u[:, None, None]
    weights = (1 - (1 - u) ** 3, 3 * u**2 - 2 * u**3, u**3)
    turned = rotation(given[low])
    for part, weight in zip((start, middle, end), weights, strict=True):
        turned = turned * rotation(part * weight)
    return turned.as_rotvec().reshape(len(low), joint_count, 3)


def _log_between(a: Float[np.ndarray, "*batch 3"], b: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Rotation vector that leads from a to b, in the frame of a."""
    turn = Rotation.from_rotvec(a.reshape(-1, 3)).inv() * Rotation.from_rotvec(b.reshape(-1, 3))
    return turn.as_rotvec().reshape(a.shape)


def _die_out(offset, speed, t, settle_s: float, overshoot: float):
    """Critically damped: x(t) = (x0 + (v0 + x0 / s) t) exp(-t / s), whose part from v0 peaks at v0 s / e."""
    fastest = np.linalg.norm(speed, axis=-1, keepdims=True)
    s = np.clip(overshoot * np.e / np.maximum(fastest, 1e-9), min(t.min(), settle_s), settle_s)
    return (offset + (speed + offset / s) * t) * np.exp(-t / s)


def _best_entry(motion: BodyMotion, body: BodyModel | None) -> int | None:
    """The frame from which the ending can go on: frames after it are what follows the last one. None: nothing is alike."""
    points = joints(motion, body)
    points = points[:, :BODY_JOINT_COUNT] if motion.category == "human" else points
    feet = points[:, LEGS[motion.category][:, 3]]
    points = np.concatenate([points, np.repeat(feet, FOOT_WEIGHT - 1, axis=1)], axis=1)
    window = max(round(MATCH_WINDOW_S * motion.fps), 2)
    latest = len(motion) - 1 - max(round(SHORTEST_LOOP_S * motion.fps), 2)
    if latest < window - 1:
        return None
    ending = points[-window:].astype(float)
    entries = np.arange(window - 1, latest + 1)
    cost = [_misfit(points[j - window + 1 : j + 1].astype(float), ending) for j in entries]
    best = int(np.argmin(cost))
    return int(entries[best]) if cost[best] < MATCH_M else None


def _misfit(points: Float[np.ndarray, "W J 3"], ending: Float[np.ndarray, "W J 3"]) -> float:
    """Mean distance in metres once turned about the vertical and moved along the floor to fit best (Kovar, section 3)."""
    turn, shift = _floor_alignment(points, ending)
    return float(np.linalg.norm(points @ turn.T + shift - ending, axis=-1).mean())


def _floor_alignment(points, onto) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """The turn about +y and the shift along the floor that bring `points` nearest to `onto`."""
    a, b = points.reshape(-1, 3), onto.reshape(-1, 3)
    centre_a, centre_b = a.mean(0), b.mean(0)
    flat_a, flat_b = a - centre_a, b - centre_b
    sine = (flat_a[:, 2] * flat_b[:, 0] - flat_a[:, 0] * flat_b[:, 2]).sum()
    cosine = (flat_a[:, 0] * flat_b[:, 0] + flat_a[:, 2] * flat_b[:, 2]).sum()
    turn = Rotation.from_rotvec([0, np.arctan2(sine, cosine), 0]).as_matrix()
    shift = centre_b - turn @ centre_a
    shift[1] = 0
    return turn, shift


class _Track:
    """A motion that grows: frames of the source, placed in the world, with what differs at the seam dying out."""

    def __init__(self, source: BodyMotion):
        self.source = source
        self.turn, self.shift = np.eye(3), np.zeros(3)
        self.rotvec, self.root = list(source.rotvec.astype(float)), list(source.root_translation_m.astype(float))
        self.frames = list(range(len(source)))

    def __len__(self) -> int:
        return len(self.frames)

    def _placed(self, frames) -> tuple[np.ndarray, np.ndarray]:
        """Rotations [N,J,3] and roots [N,3] of source frames in the world of the track."""
        rotvec = self.source.rotvec[frames].astype(float)
        rotvec[:, 0] = (Rotation.from_matrix(self.turn) * Rotation.from_rotvec(rotvec[:, 0])).as_rotvec()
        return rotvec, self.source.root_translation_m[frames].astype(float) @ self.turn.T + self.shift

    def align(self, frame: int) -> None:
        """Place the source so that its frame has the heading and the place on the floor of the track's last one."""
        self.turn, self.shift = np.eye(3), np.zeros(3)
        pose, root = self._placed([frame])
        now = Rotation.from_rotvec(self.rotvec[-1][0]) * Rotation.from_rotvec(pose[0, 0]).inv()
        # The turn about +y nearest to a rotation: its twist.
        quat = now.as_quat()
        self.turn = Rotation.from_rotvec([0, 2 * np.arctan2(quat[1], quat[3]), 0]).as_matrix()
        self.shift = (self.root[-1] - self.turn @ root[0]) * [1, 0, 1]

    def append(self, frames: np.ndarray, seam: tuple[int, int] | None, settle_s: float) -> None:
        """Go on with source frames. seam: the source's step that corresponds to the track's last one."""
        if not len(frames):
            return
        rotvec, root = self._placed(frames)
        if seam is not None:
            before, now = self._placed(list(seam))
            # Where the motion turns back, the seam's step starts at the frame that is shared; else it ends there.
            shared = 0 if seam[1] == frames[0] else 1
            turn, turn_speed = self._difference(before, shared)
            move = self.root[-1] - now[shared]
            move_speed = (self.root[-1] - self.root[-2]) - (now[1] - now[0])
            t = np.arange(1, len(frames) + 1) / self.source.fps
            by_turn = _die_out(turn, turn_speed * self.source.fps, t[:, None, None], settle_s, OVERSHOOT_RAD)
            root = root + _die_out(move, move_speed * self.source.fps, t[:, None], settle_s, OVERSHOOT_M)
            turned = Rotation.from_rotvec(rotvec.reshape(-1, 3)) * Rotation.from_rotvec(by_turn.reshape(-1, 3))
            rotvec = turned.as_rotvec().reshape(rotvec.shape)
        self.rotvec += list(rotvec)
        self.root += list(root)
        self.frames += frames.tolist()

    def _difference(self, step: Float[np.ndarray, "2 J 3"], shared: int) -> tuple[np.ndarray, np.ndarray]:
        """Rotation vectors from the source's shared frame to the track's last one, and of their steps."""
        own = _log_between(self.rotvec[-2], self.rotvec[-1])
        return _log_between(step[shared], self.rotvec[-1]), own - _log_between(step[0], step[1])

    def motion(self) -> BodyMotion:
        given = len(self.source)
        new = np.array(self.frames[given:], int)
        rotvec = np.array(self.rotvec[given:], np.float32)
        root = np.array(self.root[given:], np.float32)
        return replace(
            self.source,
            rotvec=np.concatenate([self.source.rotvec, rotvec]),
            root_translation_m=np.concatenate([self.source.root_translation_m, root]),
            expression=self.source.expression[[*range(given), *new]],
            valid=self.source.valid[[*range(given), *new]],
            confidence=self.source.confidence[[*range(given), *new]],
        )
