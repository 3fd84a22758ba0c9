"""Feet and the floor: how high each joint stands, which feet are down, how fast they slide, what sinks or floats.

Input: joint positions [T,J,3] in world metres (+y up, floor y = 0). The thresholds were set on the CMU capture at
20 fps; speeds are m/s, so that they hold at any frame rate.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from kinema.body.model import BodyModel
from kinema.body.skeleton import JOINTS
from kinema.types import BETA_COUNT, JOINT_COUNT, BodyMotion

_LEG_JOINTS = {
    "human": ((), ("hip", "knee", "ankle", "foot")),
    "animal": (
        ("front_leg1", "front_leg2", "front_leg3", "front_foot"),
        ("hind_leg1", "hind_leg2", "hind_leg3", "hind_foot"),
    ),
}
LEGS: dict[str, np.ndarray] = {
    category: np.array(
        [[JOINTS[category].index(f"{side}_{joint}") for joint in leg]
         for leg in legs if leg for side in ("left", "right")]
    )
    for category, legs in _LEG_JOINTS.items()
}  # fmt: skip
"""[legs,4] joint indices from the trunk down: hip, knee, ankle, ball of the foot, and their likes in an animal."""

CONTACT_HEIGHT = 0.035
"""A foot is down when its ball and its ankle are no higher than this share of the hips' height (3 cm of a person's) over
where they are when the body stands."""
SLIDE_WINDOW_S = 0.25
SLIDE_M_PER_S = 0.3
"""A foot that is down slides when ball and ankle both travel this fast over the window: 4.7 % of the training
split's frames do, in salsa most of all, and none of the test split's."""
LEVEL_M = 0.04
"""A clip is off the floor when its lower foot's 10th percentile is this far from it; good clips are within 0.02."""
SUNK_M = 0.04
"""A foot is in the floor when it is this much lower than when standing; 0.35 % of the capture's frames are."""
AIRBORNE_M = 0.15
AIRBORNE_S = 0.8
"""Nothing within this height of the floor for longer than this is no jump: a jump of 0.6 m takes 0.7 s."""


def standing_heights(body: BodyModel, betas: Float[np.ndarray, " B"]) -> Float[np.ndarray, " J"]:
    """[J] metres of every joint over the sole in the rest pose."""
    joints = np.asarray(body.rest_joints(betas), float)
    rest = BodyMotion(
        body.category,
        np.zeros((1, JOINT_COUNT[body.category], 3), np.float32),
        joints[:1].astype(np.float32),
        np.asarray(betas, np.float32)[: BETA_COUNT[body.category]],
        1.0,
    )
    return joints[:, 1] - float(body.vertices(rest)[0, :, 1].min())


def floor_level(points: Float[np.ndarray, "T J 3"], heights: Float[np.ndarray, " J"], legs) -> float:
    """Metres that the clip's own floor, on which its lower foot stands, is above y = 0."""
    feet = legs[:, 3]
    return float(np.percentile((points[:, feet, 1] - heights[feet]).min(1), 10))


def feet_down(points: Float[np.ndarray, "T J 3"], heights: Float[np.ndarray, " J"], legs) -> Bool[np.ndarray, "T L"]:
    """[T,legs] which feet stand flat on the floor."""
    raised = points[:, legs[:, 2:], 1] - heights[legs[:, 2:]]
    return np.all(raised < CONTACT_HEIGHT * heights[legs[:, 0]].max(), axis=-1)


def slide_speed(
    points: Float[np.ndarray, "T J 3"], down: Bool[np.ndarray, "T L"], legs: np.ndarray, fps: float
) -> Float[np.ndarray, "T L"]:
    """[T,legs] m/s along the floor of a foot that is down throughout a quarter of a second, the slower of ball and
    ankle, so that neither a pivot nor a rolling heel counts; 0 elsewhere. A frame has the fastest of its windows."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    frames = len(points)
    span = max(round(SLIDE_WINDOW_S * fps), 1)
    speed = np.zeros(down.shape)
    if frames <= span:
        return speed
    blur = span // 2 + 1
    ground = uniform_filter1d(points[:, legs[:, 2:]][..., [0, 2]], blur, axis=0, mode="nearest")
    down = minimum_filter1d(down, blur, axis=0, mode="nearest")
    travel = np.linalg.norm(ground[span:] - ground[:-span], axis=-1).min(-1) * fps / span
    throughout = np.lib.stride_tricks.sliding_window_view(down, span + 1, axis=0).all(-1)
    travel = np.where(throughout, travel, 0)
    for k in range(span + 1):
        part = speed[k : frames - span + k]
        np.maximum(part, travel, out=part)
    return speed


def sunk_depth(points: Float[np.ndarray, "T J 3"], heights: Float[np.ndarray, " J"], legs) -> Float[np.ndarray, "T J"]:
    """[T,J] metres below the floor: feet and ankles against the height at which they stand, other joints themselves."""
    lowest = np.zeros(len(heights))
    standing = legs[:, 2:].ravel()
    # An ankle is lower than when standing as soon as the toes point, so that only the ball is held to its height.
    lowest[standing] = np.where(np.isin(standing, legs[:, 3]), heights[standing], 0)
    return np.maximum(lowest - points[..., 1], 0)


def airborne(points: Float[np.ndarray, "T J 3"], fps: float) -> Bool[np.ndarray, " T"]:
    """[T] frames of runs, too long for a jump, in which no joint is near the floor."""
    high = np.concatenate([[False], points[..., 1].min(1) > AIRBORNE_M, [False]])
    edges = np.flatnonzero(np.diff(high.astype(int))).reshape(-1, 2)
    found = np.zeros(len(points), bool)
    for begin, end in edges:
        found[begin:end] = end - begin > AIRBORNE_S * fps
    return found
