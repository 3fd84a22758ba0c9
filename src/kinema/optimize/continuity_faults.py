"""Steps that no body can make: teleports, joints that flip, left and right exchanged, and jitter.

Input: joint positions [T,J,3] in metres and local rotations [T,J,3,3], with the frame rate. Output: masks and
measures a step or a frame. Speeds are in physical units, so that the thresholds hold at any frame rate; they were set
on the CMU capture's training split (20 fps, 47,504 frames) and each says which share of its frames lies above.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from kinema.body.skeleton import JOINTS

BODY_JUMP_M_PER_S = 1.5
"""Mean joint speed of a step that its neighbours do not explain: 0.08 % of the capture's steps exceed it."""
JOINT_JUMP_M_PER_S = 6.0
"""The same of a single joint: 0.07 % exceed it. A punch (test split) reaches 4.2."""
FLIP_RAD_PER_S = {"human": np.deg2rad(1500.0), "animal": np.deg2rad(2400.0)}
"""Angular speed of one joint that its neighbouring steps do not explain: 75 degrees in a frame of 20 fps. A gallop's
lower legs turn at up to 1,960 degrees a second."""
JITTER_RATE_HZ = 20.0
"""Jitter is measured over steps of this rate: faster clips are compared with frames that much further off."""
JITTER_FLOOR_M = 3e-3
JITTER_SHARE = 0.12
"""A joint's high-frequency part (fourth difference / 16) is measured against this floor plus this share of its mean
step at 20 fps, as its median over the window: a single spike is no jitter. Half of the capture is below a third."""
JITTER_WINDOW_S = 0.45
JITTER_JOINT = 2.2
JITTER_BODY = 0.75
"""It is jitter when a joint exceeds 2.2 times that (0.4 % of the capture's frames; the test split stays below), or when
the mean over all joints exceeds 0.75 times (0.4 %). Noise of 0.02 rad on every rotation gives a mean of 1.4."""
SWAP_STEP_M = 0.10
SWAP_SHARE = 0.5
"""Left and right are exchanged in a step where joints go this far, yet less than this share of it if exchanged."""
SWAP_LONGEST_S = 1.0
"""Sides that stay exchanged for longer are reported where they change only."""
LIMBS: dict[str, tuple[tuple[str, ...], ...]] = {
    "human": (("hip", "knee", "ankle", "foot"), ("shoulder", "elbow", "wrist")),
    "animal": (
        ("hind_leg1", "hind_leg2", "hind_leg3", "hind_foot"),
        ("front_leg1", "front_leg2", "front_leg3", "front_foot"),
    ),
}
"""Limbs that come in pairs, joints from the trunk outward."""


def unexplained_speed(points: Float[np.ndarray, "T J 3"], fps: float) -> Float[np.ndarray, "S J"]:
    """[T-1,J] m/s: how far each step is from the mean of the steps before and after it."""
    velocity = np.diff(points, axis=0) * fps
    padded = np.concatenate([velocity[1:2], velocity, velocity[-2:-1]]) if len(velocity) > 1 else velocity[[0, 0, 0]]
    return np.linalg.norm(velocity - (padded[:-2] + padded[2:]) / 2, axis=-1)


def teleports(
    points: Float[np.ndarray, "T J 3"], fps: float
) -> tuple[Bool[np.ndarray, "S J"], Float[np.ndarray, " S"]]:
    """Which joints jump in which step [T-1,J], and the body's unexplained speed [T-1] in m/s.

    A jump stands out from the half second around it, where noise is as large everywhere.
    """
    speed = np.linalg.norm(np.diff(points, axis=0), axis=-1) * fps
    odd = unexplained_speed(points, fps)

    def stands_out(value, step, limit):
        return (value > limit) & (step > 2.5 * _usual(step, fps) + 0.3 * limit) & (value > 0.5 * step)

    body = stands_out(odd.mean(1), speed.mean(1), BODY_JUMP_M_PER_S)
    joint = stands_out(odd, speed, JOINT_JUMP_M_PER_S)
    return joint | (body[:, None] & (odd > BODY_JUMP_M_PER_S)), odd.mean(1)


def _usual(value: np.ndarray, fps: float) -> np.ndarray:
    """The 60th percentile of the values [S,...] within a quarter of a second on both sides."""
    from scipy.ndimage import percentile_filter

    window = max(2 * round(fps / 4) + 1, 7)
    return percentile_filter(value, 60, size=(window, *[1] * (value.ndim - 1)), mode="nearest")


def flips(
    rotmat: Float[np.ndarray, "T J 3 3"], fps: float, category: str
) -> tuple[Bool[np.ndarray, "S J"], Float[np.ndarray, "S J"]]:
    """Which joints turn at once in which step, and by how much [T-1,J] rad."""
    angle = _angle_between(rotmat[:-1], rotmat[1:])
    padded = np.concatenate([angle[1:2], angle, angle[-2:-1]]) if len(angle) > 1 else angle[[0, 0, 0]]
    # Out and back is two steps: the calmer neighbour tells what is usual.
    odd = angle - np.minimum(padded[:-2], padded[2:])
    return (odd * fps > FLIP_RAD_PER_S[category]) & (angle > 2.5 * _usual(angle, fps)), angle


def _angle_between(a, b):
    trace = (a * b).sum((-2, -1))
    return np.arccos(np.clip((trace - 1) / 2, -1, 1))


def exchanged_sides(points: Float[np.ndarray, "T J 3"], category: str, fps: float) -> Float[np.ndarray, "T L"]:
    """[T,L] metres by which left and right of limb pair L fit better when exchanged; 0 where all is well.

    The sides change places at one step and back at another one soon after, or up to a near end of the clip. Where the
    way back is not found, nothing tells which part is the wrong one: then only the two frames at the step are marked.
    """
    gained = np.zeros((len(points), len(LIMBS[category])))
    longest = SWAP_LONGEST_S * fps
    for k, limb in enumerate(LIMBS[category]):
        left, right = (
            points[:, [JOINTS[category].index(f"{side}_{joint}") for joint in limb]] for side in ("left", "right")
        )
        gain = _gain_of_exchange(left, right, fps)
        steps = [*np.flatnonzero(gain).tolist()]
        while steps:
            step = steps.pop(0)
            if steps and steps[0] - step <= longest:
                begin, end = step + 1, steps.pop(0) + 1
            elif step < longest / 2:
                begin, end = 0, step + 1
            elif len(gain) - step <= longest / 2:
                begin, end = step + 1, len(points)
            else:
                begin, end = step, step + 2
            gained[begin:end, k] = gain[step]
    return gained


def _gain_of_exchange(
    left: Float[np.ndarray, "T N 3"], right: Float[np.ndarray, "T N 3"], fps: float
) -> Float[np.ndarray, " S"]:
    """[T-1] metres a joint that a step is shorter with the sides exchanged after it; 0 unless it explains the step.

    What is exchanged may be positions in space (labels of a video-to-pose tool), the directions of the limbs, or the
    limbs' angles, which mirror the directions.
    """
    across = left[:, :1] - right[:, :1]
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)

    def mirrored(limb):
        return limb - 2 * (limb * across).sum(-1, keepdims=True) * across

    left_limb, right_limb = left[:, 1:] - left[:, :1], right[:, 1:] - right[:, :1]
    return np.max(
        [
            _gain(left[:, 1:], right[:, 1:], right[:, 1:], left[:, 1:], fps),
            _gain(left_limb, right_limb, right_limb, left_limb, fps),
            _gain(left_limb, right_limb, mirrored(right_limb), mirrored(left_limb), fps),
        ],
        axis=0,
    )


def _gain(left, right, left_if_exchanged, right_if_exchanged, fps: float) -> Float[np.ndarray, " S"]:
    def distance(a, b):
        return np.linalg.norm(a - b, axis=-1).mean(-1)

    def expected(side):
        """Where the last two frames lead: fast limbs that pass each other are not exchanged."""
        return np.concatenate([side[:1], 2 * side[1:-1] - side[:-2]])

    straight = (distance(left[:-1], left[1:]) + distance(right[:-1], right[1:])) / 2
    led = (distance(expected(left), left[1:]) + distance(expected(right), right[1:])) / 2
    crossed = (distance(left[:-1], left_if_exchanged[1:]) + distance(right[:-1], right_if_exchanged[1:])) / 2
    plain = np.minimum(straight, led)
    exchanged = (plain > np.maximum(SWAP_STEP_M, 2.5 * _usual(plain, fps))) & (crossed < SWAP_SHARE * plain)
    return np.where(exchanged, plain - crossed, 0)


def jitter(points: Float[np.ndarray, "T J 3"], fps: float) -> tuple[Bool[np.ndarray, "T J"], Float[np.ndarray, "T J"]]:
    """Which joints jitter in which frames [T,J], and the high-frequency part of each joint [T,J] in metres."""
    from scipy.ndimage import median_filter, uniform_filter1d

    stride = max(round(fps / JITTER_RATE_HZ), 1)
    if len(points) < 4 * stride + 1:
        return np.zeros(points.shape[:2], bool), np.zeros(points.shape[:2])
    p = [points[k * stride : len(points) - (4 - k) * stride] for k in range(5)]
    rough = np.linalg.norm(p[0] - 4 * p[1] + 6 * p[2] - 4 * p[3] + p[4], axis=-1) / 16
    # The joint's own way over a longer time, which noise hardly lengthens.
    step = np.linalg.norm(p[4] - p[0], axis=-1) / 4
    window = max(round(JITTER_WINDOW_S * fps), 3)
    typical = median_filter(rough, size=(window, 1), mode="nearest")
    slower = max(JITTER_RATE_HZ / fps, 1.0)
    usual = slower**2 * (JITTER_FLOOR_M + JITTER_SHARE * uniform_filter1d(step, window, axis=0, mode="nearest"))
    ratio = typical / usual
    jitters = (ratio > JITTER_JOINT) | ((ratio.mean(1, keepdims=True) > JITTER_BODY) & (ratio > 1))
    edge = ((2 * stride, 2 * stride), (0, 0))
    return np.pad(jitters, edge, mode="edge"), np.pad(typical, edge, mode="edge")
