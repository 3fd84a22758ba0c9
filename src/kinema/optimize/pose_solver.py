"""Inverse kinematics of one pose seen by a camera: parts go to points of the picture, the rest stays where it can.

Input: a pose, and pixels for the centres of some parts. Output: the pose changed, and how far each part is off.
Levenberg-Marquardt over all joint rotations and the root. What it weighs: pixels; the turn of each joint against its
stiffness; joint limits; feet that stand; the floor; the depth of what was moved while they do. It is solved with the feet
in place, as steps, as a leap, and turned round; which of these is taken also depends on how much of the parts is then seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float

from kinema.body.joint_limits import JointRanges, joint_ranges
from kinema.body.skeleton import JOINT_PARTS, JOINTS
from kinema.optimize.contacts import LEGS, feet_down
from kinema.optimize.part_rig import Lens, Rig, free_joints, make_rig, seen_shares
from kinema.types import BodyMotion, Category

PIXEL_SIGMA = 0.002
"""What counts as hitting a point: this share of the picture's longer side."""
DEPTH_SIGMA_M = 0.3
"""A moved part may come this much nearer or go farther while the feet stay. By steps it goes with the body: what is drawn
higher up in the picture may well stand on the floor, farther away."""
ROOT_SIGMA_M = np.array([0.15, 0.15, 0.15])
STEPS_SIGMA_M = np.array([1.0, 0.15, 1.0])
"""How readily the root goes somewhere: while the feet stay, and by steps."""
FOOT_SIGMA_M = 0.005
"""How exactly a standing foot stays, or keeps its height."""
FLOOR_SIGMA_M = 0.01
LIMIT_SIGMA_RAD = 0.03
STIFFNESS_RAD = {
    "hip": 0.5, "knee": 0.6, "ankle": 0.3, "foot": 0.1, "spine1": 0.12, "spine2": 0.1, "spine3": 0.1, "neck": 0.25,
    "head": 0.25, "collar": 0.15, "shoulder": 0.8, "elbow": 0.8, "wrist": 0.3,
    "leg1": 0.4, "leg2": 0.6, "leg3": 0.6, "paw": 0.3, "tail": 0.3, "ear": 0.3, "trunk": 0.12,
}  # fmt: skip
"""How far each joint turns as readily as others; legs, paw, tail and ear are an animal's, trunk what is not named."""
_NUDGE_RAD = {"elbow": (0.0, -0.5, 0.0), "knee": (0.5, 0.0, 0.0)}
"""Left side: a straight limb doesn't feel that bending would shorten it, so that the search also starts from here."""
_STEPS, _LONGEST_STEP_RAD, _SETTLED = 15, 0.4, 1e-2
SOFTNESS = (10.0, 3.0, 1.0)


@dataclass(frozen=True)
class Way:
    """One way to a target.

    cost      of taking it at all, beside what the pose costs; as if so many joints had turned by their stiffness
    stays     of standing feet, their "place", only their "height" (steps), or "nothing" (a leap)
    turn_rad  of the whole body, about the vertical, before it starts
    """

    cost: float
    stays: Literal["place", "height", "nothing"] = "place"
    turn_rad: float = 0.0


WAYS = (
    Way(0), Way(4, "height"), Way(12, "nothing"), Way(12, "height", np.pi / 4), Way(12, "height", -np.pi / 4),
)  # fmt: skip
"""In the order of what they cost; found on where parts of validation clips went (docs/log.md)."""
HIDDEN_COST, ENOUGH_SEEN = 20.0, 0.5
"""Of a part that its own body hides: what is drawn at a place is meant to be seen there, so much of it at least."""


def solve_pose(
    pose: BodyMotion, part_ids: list[int], wanted_px: Float[np.ndarray, "N 2"], lens: Lens
) -> tuple[BodyMotion, Float[np.ndarray, " N"]]:
    """One frame, changed so that the centres of parts are seen at `wanted_px`; and how many pixels each is off.

    Feet that stand keep their place, unless steps, a leap or a turn of the whole body cost less than the twist or the
    hidden parts that come of it (`WAYS`, `HIDDEN_COST`).
    """
    from scipy.spatial.transform import Rotation

    rig = make_rig(pose, part_ids)
    local, root = (
        Rotation.from_rotvec(pose.rotvec[0].astype(float)).as_matrix(),
        pose.root_translation_m[0].astype(float),
    )
    best, least = (pose, np.full(len(part_ids), np.inf)), np.inf
    for way in WAYS:
        if least <= way.cost:
            break  # no way from here on can cost less
        turned = local.copy()
        turned[0] = Rotation.from_rotvec([0, way.turn_rad, 0]).as_matrix() @ local[0]
        problem = _Problem.of(rig, turned, root, part_ids, wanted_px, lens)
        bends = pose.category == "human" and not way.turn_rad
        for start in [turned, _nudged(turned)] if bends else [turned]:
            cost, *solved = problem.descend(start, root, way.stays)
            found = _posed(pose, *solved)
            hidden = np.maximum(0, 1 - seen_shares(found, part_ids, lens) / ENOUGH_SEEN)
            total = way.cost + cost + HIDDEN_COST * float(hidden.mean())
            if total < least:
                best, least = (found, problem.misses_px(*solved)), total
    return best


def _posed(pose: BodyMotion, local: np.ndarray, root: np.ndarray) -> BodyMotion:
    """The pose with local rotations [J,3,3] and root [3] of the solver; what does not turn is as it was."""
    from scipy.spatial.transform import Rotation

    rotvec, free = pose.rotvec[0].copy(), free_joints(pose.category)
    rotvec[:free] = Rotation.from_matrix(local[:free]).as_rotvec()
    return BodyMotion(pose.category, rotvec[None], root[None].astype(np.float32), pose.betas, pose.fps, pose.expression)


@dataclass(frozen=True)
class _Problem:
    """What is to be reached from where: P parts, F free joints."""

    rig: Rig
    local: np.ndarray
    root: np.ndarray
    wanted_px: np.ndarray
    lens: Lens
    depth_m: np.ndarray
    feet_m: np.ndarray
    standing: np.ndarray
    floor_m: np.ndarray
    limits: _Limits

    @staticmethod
    def of(rig: Rig, local: np.ndarray, root: np.ndarray, part_ids: list[int], wanted_px: np.ndarray, lens: Lens):
        parts = len(part_ids)
        points, _ = rig.points(local, root)
        joints = points[parts:]
        legs = LEGS[rig.category]
        full = np.zeros((1, len(rig.heights), 3))
        full[0, : len(joints)] = joints
        down = feet_down(full, rig.heights, legs)[0]
        sketched = np.isin(JOINT_PARTS[rig.category][legs[:, 3]], part_ids)
        feet = legs[down & ~sketched][:, 2:].ravel()
        return _Problem(
            rig, local, root, wanted_px, lens, lens.see(points[:parts])[1], joints[feet], feet,
            np.minimum(0, joints[:, 1]), _Limits.of(rig.category, local),
        )  # fmt: skip

    def misses_px(self, local: np.ndarray, root: np.ndarray) -> np.ndarray:
        points, _ = self.rig.points(local, root)
        return np.linalg.norm(self.lens.see(points[: len(self.wanted_px)])[0] - self.wanted_px, axis=1)

    def descend(self, local: np.ndarray, root: np.ndarray, stays: str) -> tuple[float, np.ndarray, np.ndarray]:
        """Levenberg-Marquardt from a pose -> cost, local rotations, root. What is hard is soft at first, since a tight
        valley that bends is slow to follow."""
        cost = np.inf
        for softness in SOFTNESS:
            cost, local, root = self._descend(local, root, stays, softness)
        return cost, local, root

    def _descend(self, local, root, stays: str, softness: float) -> tuple[float, np.ndarray, np.ndarray]:
        from scipy.spatial.transform import Rotation

        free = free_joints(self.rig.category)
        error, slope = self.weigh(local, root, stays, softness)
        cost, damping = float(error @ error), 1e-3
        for _ in range(_STEPS):
            normal = slope.T @ slope
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -slope.T @ error)
            step *= min(1.0, _LONGEST_STEP_RAD / max(np.abs(step[:-3]).max(), 1e-9))
            trial = local.copy()
            trial[:free] = local[:free] @ Rotation.from_rotvec(step[:-3].reshape(-1, 3)).as_matrix()
            error_there, slope_there = self.weigh(trial, root + step[-3:], stays, softness)
            gain = cost - float(error_there @ error_there)
            if gain > 0:
                local, root, error, slope, cost = trial, root + step[-3:], error_there, slope_there, cost - gain
                damping = max(damping / 5, 1e-9)
                if gain < _SETTLED * cost:
                    break
            else:
                damping *= 8
                if damping > 1e4:
                    break
        return cost, local, root

    def weigh(
        self, local: np.ndarray, root: np.ndarray, stays: str, softness: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Residuals [M], each over what it may be, and their derivatives [M,3F+3]. `softness` multiplies what points,
        feet, floor and limits may be."""
        from scipy.spatial.transform import Rotation

        parts, free = len(self.wanted_px), free_joints(self.rig.category)
        points, by = self.rig.points(local, root)
        pixels, depth, slope, along = self.lens.see(points[:parts])
        joints, by_joints = points[parts:], by[parts:]
        pixel = PIXEL_SIGMA * self.lens.side_px * softness
        foot, floor = FOOT_SIGMA_M * softness, FLOOR_SIGMA_M * softness
        over, by_over = self.limits.weigh(local)
        sunk = np.flatnonzero(joints[:, 1] < self.floor_m)
        turn = Rotation.from_matrix(self.local[:free].swapaxes(1, 2) @ local[:free]).as_rotvec()
        stiffness = np.repeat(_stiffness(self.rig.category), 3)
        identity = np.eye(3 * free + 3)
        root_sigma = ROOT_SIGMA_M if stays == "place" else STEPS_SIGMA_M
        rows = [
            ((pixels - self.wanted_px) / pixel, slope @ by[:parts] / pixel),
            ((joints[sunk, 1] - self.floor_m[sunk]) / floor, by_joints[sunk, 1] / floor),
            (turn.ravel() / stiffness, identity[:-3] / stiffness[:, None]),
            ((root - self.root) / root_sigma, identity[-3:] / root_sigma[:, None]),
            (over / softness, by_over / softness),
        ]
        if stays == "place":
            along_by = (along[:, None] @ by[:parts])[:, 0]
            rows.append(((depth - self.depth_m) / DEPTH_SIGMA_M, along_by / DEPTH_SIGMA_M))
        if stays != "nothing":
            axes = [0, 1, 2] if stays == "place" else [1]
            slid = (joints[self.standing] - self.feet_m)[:, axes]
            rows.append((slid / foot, by_joints[self.standing][:, axes] / foot))
        columns = 3 * free + 3
        return np.concatenate([e.ravel() for e, _ in rows]), np.concatenate([s.reshape(-1, columns) for _, s in rows])


@dataclass(frozen=True)
class _Limits:
    """Ranges of swing and twist, widened to the present pose."""

    ranges: JointRanges

    @staticmethod
    def of(category: Category, local: np.ndarray) -> _Limits:
        known = joint_ranges(category, free_joints(category))
        now = _Limits(known).angles(local[None])[0]
        return _Limits(replace(known, low=np.minimum(known.low, now), high=np.maximum(known.high, now)))

    def angles(self, local: np.ndarray) -> np.ndarray:
        """[B,>=F,3,3] -> [B,F,3] rad, as on the left side."""
        from scipy.spatial.transform import Rotation

        free = len(self.ranges.axis)
        return self.ranges.angles(
            Rotation.from_matrix(local[:, :free].reshape(-1, 3, 3)).as_rotvec().reshape(-1, free, 3)
        )

    def weigh(self, local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What exceeds the ranges [3F], and its derivatives [3F,3F+3], by differences where anything does."""
        from scipy.spatial.transform import Rotation

        free, small = len(self.ranges.axis), 1e-4
        angles = self.angles(local[None])[0]
        over = angles - np.clip(angles, self.ranges.low, self.ranges.high)
        slope = np.zeros((free, 3, free + 1, 3))
        if over.any():
            tilts = Rotation.from_rotvec(small * np.eye(3)).as_matrix()
            change = (self.angles(local[None, :free] @ tilts[:, None]) - angles) / small
            change[np.abs(change) > 10] = 0  # where an angle wraps round
            slope[np.arange(free), :, np.arange(free)] = np.where(over[..., None] != 0, change.transpose(1, 2, 0), 0)
        return over.ravel() / LIMIT_SIGMA_RAD, slope.reshape(3 * free, -1) / LIMIT_SIGMA_RAD


@cache
def _stiffness(category: str) -> np.ndarray:
    """[F] rad."""
    found = []
    for name in JOINTS[category][: free_joints(category)]:
        joint = "paw" if category == "animal" and name.endswith("_foot") else name.rpartition("_")[2]
        found.append(
            STIFFNESS_RAD["tail" if joint.startswith("tail") else joint if joint in STIFFNESS_RAD else "trunk"]
        )
    return np.array(found)


def _nudged(local: np.ndarray) -> np.ndarray:
    """A human pose with elbows and knees bent a little more."""
    from scipy.spatial.transform import Rotation

    bent = local.copy()
    for j, name in enumerate(JOINTS["human"]):
        side, _, joint = name.rpartition("_")
        if joint in _NUDGE_RAD:
            turn = np.array(_NUDGE_RAD[joint]) * ([1, -1, -1] if side == "right" else [1, 1, 1])
            bent[j] = local[j] @ Rotation.from_rotvec(turn).as_matrix()
    return bent
