"""Fingers, wrists, jaw and head from 2D keypoints of hands and face (ReVision, appendix B).

Input: a person whose body was fitted, its track with hands or a face, and the cameras. Output: the person with wrists and
fingers, head and jaw turned as they were seen. Each hand, and the face, is one chain below a joint of the body; all frames
of it are fitted together by L-BFGS, as `fit_terms.py` does with bodies: robust reprojection by confidence, near the resting
hand, within what fingers can do, smooth over time. Where a chain is small, not seen, or does not fit, it stays at rest with
confidence 0. Eyes are not turned: the 68 points of a face have no pupils.

Distances in the picture are in lengths of the chain, which is from the wrist to the farthest fingertip, or from the head's
joint to the farthest point of the face, as the body has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from kinema.body.human import BUILT_IN
from kinema.body.model import forward_kinematics
from kinema.body.skeleton import FINGERS, HUMAN_JOINTS, HUMAN_PARENTS
from kinema.body.skinning import SkinnedBody, load_skinned_body
from kinema.extract.fit_terms import (
    LIMIT_SIGMA_RAD,
    OUTLIER_SIGMAS,
    RAYLEIGH_MEDIAN,
    geman_mcclure,
    minimise,
    spread_of,
)
from kinema.extract.hands import FINGER_JOINTS, FIRST_FINGER, LEAST_WEIGHT, WRIST, WRIST_SIGMA
from kinema.extract.observation import Track
from kinema.geometry import rotmat_to_rotvec, rotvec_to_rotmat
from kinema.types import BodyMotion, Cameras

LEAST_LENGTH_PX = 12.0
"""A chain that is shorter in the picture is not fitted. At this length, with 1 px of noise, a bent hand ends 9 mm off after
Procrustes instead of 28, an open one 5 instead of 3, a jaw 6 degrees off instead of 12; at half of it little is gained."""
LEAST_SURE = 0.3
"""Mean confidence of a frame's keypoints below which a chain isn't seen there."""
KEYPOINT_SIGMA, LEAST_KEYPOINT_SIGMA = 0.05, 0.015
"""Error of a certain keypoint, in lengths: at first, and the least that it may turn out to be, since nobody's fingers are
quite those of the body."""
OFF_SIGMA = 0.1
"""Error of the keypoints of a frame, in lengths, at which its chain is trusted by 61 %."""
SHIFT_SIGMA, SIZE_SIGMA = 0.25, 0.1
"""How far the body's joint is off, in lengths; and the chain's size, its logarithm."""
STEP_SHARE = 0.4
"""How much an angle changes in 1/8 s, as a share of how much it differs at all."""
STEPS, BEST_STEPS, HISTORY = 40, 80, 20
"""L-BFGS iterations of all starts together, then of the best one."""

FINGER_RANGES_DEG: dict[str, tuple[tuple[float, float, float], ...]] = {
    "finger1": ((-30, 90, 40), (-20, 20, 8), (-5, 5, 3)),
    "finger2": ((-5, 110, 50), (-3, 3, 2), (-3, 3, 2)),
    "finger3": ((-10, 90, 35), (-3, 3, 2), (-3, 3, 2)),
    "thumb1": ((-20, 50, 20), (-40, 40, 20), (-30, 30, 15)),
    "thumb2": ((-10, 60, 25), (-10, 10, 5), (-10, 10, 5)),
    "thumb3": ((-20, 80, 30), (-3, 3, 2), (-3, 3, 2)),
}
"""Flexing towards the palm, spreading, twisting: least, most, standard deviation about the resting hand. Ranges: American
Academy of Orthopaedic Surgeons, Joint Motion, 1965, rounded."""
CURL_TOGETHER = 0.5
"""How much of the variance of a joint's flexing is common to all fingers (Santello et al. 1998: two components tell over
80 % of what hands do)."""
TIP_SHARE, TIP_SIGMA_RAD = 2 / 3, 0.15
"""A finger's last joint bends by this share of the middle one's (Rijpkema and Girard 1991)."""
WRIST_SIGMA_DEG, HEAD_SIGMA_DEG = (60.0, 35.0, 35.0), (15.0, 15.0, 15.0)
"""About x, y, z of the rest pose. A wrist's x is the twist of the forearm, of which body joints say nothing."""
STARTS_DEG = tuple((twist, bend) for twist in (0.0, -90.0, 90.0, 180.0) for bend in (0.0, 45.0))
"""Twists of the wrist, and bends of all fingers, from which a hand is fitted; the best counts."""
JAW_RANGES_DEG = ((-2.0, 35.0, 12.0), (-3.0, 3.0, 1.0), (-3.0, 3.0, 1.0))
"""Opening, then aside and rolling, as above."""
HEAD, JAW = HUMAN_JOINTS.index("head"), HUMAN_JOINTS.index("jaw")
EYES = HUMAN_JOINTS.index("left_eye_smplhf"), HUMAN_JOINTS.index("right_eye_smplhf")
LEFT_EYE_POINTS, RIGHT_EYE_POINTS = slice(42, 48), slice(36, 42)
NOSE_POINT, UPPER_LIP_POINT, LOWER_LIP_POINT = 30, 62, 66
"""Of the 68 points of a face (300-W, Sagonas et al. 2013); the lips' are those of the mouth's opening."""
MIDDLE_M, LIPS_BEHIND_M = 0.004, 0.02
"""Of the built-in body's face: half the width of its middle, and how far behind the nose's tip its lips are at most;
teeth and tongue are farther."""


@dataclass(frozen=True)
class _Chain:
    """J joints below one of the body, and P points on them of which R comparisons are made. Lengths m, angles rad.

    base, joints  numbers among `HUMAN_JOINTS`; below, 0 is the base and k + 1 the k-th joint
    parents [J+1], bones [J+1,3]  at rest, for `forward_kinematics`
    axes [J+1,3,3]   columns: what a joint turns about, at rest; low, high [J+1,3] of these three angles
    mix [3J+3,3J+3]  times as many independent numbers of variance 1: the angles, in that order
    bends_with [C,J+1]  times the first angles: what is nearly 0
    carriers [P], offsets [P,3]  the joint that a point rides on, and where at rest
    compare [R,P]  what of the points is compared with what was seen
    starts [S]     twists of the base and bends of the joints from which to fit
    """

    base: int
    joints: tuple[int, ...]
    parents: np.ndarray
    bones: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor
    mix: Tensor
    bends_with: Tensor
    carriers: list[int]
    offsets: Tensor
    compare: Tensor
    length: float
    starts: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class _Seen:
    """rays [T,P,2] of the points in each frame's camera; weights [T,R] of what is compared; base_ray [T,2], depth [T] m and
    turned [T,3,3] of the base in the camera, as the body has it; spread [T,T] as in `fit_terms.Moves`."""

    rays: Tensor
    weights: Tensor
    base_ray: Tensor
    depth: Tensor
    turned: Tensor
    spread: Tensor


def with_hands_and_face(motion: BodyMotion, track: Track, cameras: Cameras) -> BodyMotion:
    """The motion of a person with the hands and the face that its track has; the same where it has none.

    The confidence of fingers and jaw is that of their keypoints, as far as the fit agrees with them.
    """
    if track.hands is None and track.face is None:
        return motion
    for chain, points in _chains(_body(), motion.betas, track):
        motion = _with_chain(motion, chain, points, track.present, cameras)
    return motion


@cache
def _body() -> SkinnedBody:
    return load_skinned_body(BUILT_IN, "full")


def _chains(
    body: SkinnedBody, betas: np.ndarray, track: Track
) -> Iterator[tuple[_Chain, Float32[np.ndarray, "T P 3"]]]:
    rest, skin = body.rest_joints(betas), body.rest_vertices(betas)
    if track.hands is not None:
        for right in (False, True):
            yield _hand(body, rest, skin, right), track.hands[:, int(right)]
    if track.face is not None:
        face = track.face
        eyes = [np.concatenate([face[:, part, :2].mean(1), face[:, part, 2:].min(1)], -1)
                for part in (LEFT_EYE_POINTS, RIGHT_EYE_POINTS)]  # fmt: skip
        others = (face[:, k] for k in (NOSE_POINT, UPPER_LIP_POINT, LOWER_LIP_POINT))
        yield _face(body, rest, skin), np.stack([*eyes, *others], 1)


def _hand(body: SkinnedBody, rest: np.ndarray, skin: np.ndarray, right: bool) -> _Chain:
    """The wrist and 15 joints; points as OpenPose has them: wrist, then thumb to little finger, three joints and the tip."""
    wrist, first = WRIST[right], FIRST_FINGER[right]
    joints = tuple(range(first, first + FINGER_JOINTS))
    axes, ranges = [np.eye(3)], [tuple((-np.inf, np.inf, s) for s in WRIST_SIGMA_DEG)]
    tips, bends_with = {}, []
    little = rest[first + 3 * FINGERS.index("pinky")]
    for f, finger in enumerate(FINGERS):
        chain = joints[3 * f : 3 * f + 3]
        tips[finger] = _farthest(body, skin, chain[2], rest[chain[2]] - rest[chain[1]])
        ends = [*rest[list(chain)], skin[tips[finger]]]
        towards = little - ends[0] if finger == "thumb" else np.array([0.0, -1.0, 0.0])
        for k in range(3):
            axes.append(_finger_axes(ends[k + 1] - ends[k], towards))
            ranges.append(FINGER_RANGES_DEG[f"{'thumb' if finger == 'thumb' else 'finger'}{k + 1}"])
        if finger != "thumb":
            row = np.zeros(1 + FINGER_JOINTS)
            row[[3 * f + 3, 3 * f + 2]] = 1, -TIP_SHARE
            bends_with.append(row)
    points = [(0, rest[wrist])]
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        k = 1 + 3 * FINGERS.index(finger)
        points += [(k + n, rest[joints[k + n - 1]]) for n in range(3)] + [(k + 2, skin[tips[finger]])]
    starts = tuple(map(tuple, np.radians(STARTS_DEG)))
    return _chain(rest, wrist, joints, axes, ranges, bends_with, points, np.eye(len(points)), starts)


def _finger_axes(bone: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Columns: about what a bone flexes towards something, spreads, and twists."""
    along = bone / np.linalg.norm(bone)
    flexes = np.cross(along, towards)
    flexes /= np.linalg.norm(flexes)
    return np.stack([flexes, np.cross(along, flexes), along], -1)


def _face(body: SkinnedBody, rest: np.ndarray, skin: np.ndarray) -> _Chain:
    """The head and the jaw; eyes, nose, and the gap between the lips, which are at one place when the mouth is shut."""
    middle = np.abs(body.template[:, 0]) < MIDDLE_M
    nose = int(np.argmax(np.where(middle & (_weight(body, HEAD) > 0.5), body.template[:, 2], -np.inf)))
    front = middle & (body.template[:, 2] > body.template[nose, 2] - LIPS_BEHIND_M)
    lip = int(np.argmax(np.where(front & (_weight(body, JAW) > 0.5), body.template[:, 1], -np.inf)))
    # Of a jaw's turn the lip makes this share, and so makes the gap.
    mouth = rest[JAW] + _weight(body, JAW)[lip] * (skin[lip] - rest[JAW])
    points = [(0, rest[EYES[0]]), (0, rest[EYES[1]]), (0, skin[nose]), (0, mouth), (1, mouth)]
    compare = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, -1, 1]])
    free = tuple((-np.inf, np.inf, s) for s in HEAD_SIGMA_DEG)
    return _chain(rest, HEAD, (JAW,), [np.eye(3)] * 2, [free, JAW_RANGES_DEG], [], points, compare, ((0.0, 0.0),))


def _weight(body: SkinnedBody, joint: int) -> np.ndarray:
    """[V] 0-1."""
    return (body.weights * (body.weight_joints == joint)).sum(1)


def _farthest(body: SkinnedBody, skin: np.ndarray, joint: int, along: np.ndarray) -> int:
    """The vertex of a joint that lies farthest in a direction."""
    return int(np.argmax(np.where(_weight(body, joint) > 0.5, skin @ along, -np.inf)))


def _chain(rest, base, joints, axes, ranges, bends_with, points, compare, starts) -> _Chain:
    own = [base, *joints]
    parents = np.array([-1, *(own.index(int(HUMAN_PARENTS[j])) for j in joints)])
    bones = rest[own] - rest[[own[p] for p in np.maximum(parents, 0)]]
    low, high, sigma = np.radians(np.array(ranges, float)).transpose(2, 0, 1)
    together = np.eye(3 * len(own))
    flexing = np.arange(3, 3 * len(own), 3)
    together[np.ix_(flexing, flexing)] += CURL_TOGETHER * (1 - np.eye(len(flexing)))
    mix = sigma.reshape(-1, 1) * np.linalg.cholesky(together)
    carriers = [k for k, _ in points]
    offsets = np.stack([at - rest[own[k]] for k, at in points])
    length = max(float(np.linalg.norm(at - rest[base])) for _, at in points)
    tensors = (bones, np.stack(axes), low, high, mix, np.reshape(bends_with, (-1, len(own))))
    bones, axes, low, high, mix, bends_with = (torch.from_numpy(np.asarray(a)).float() for a in tensors)
    offsets, compare = (torch.from_numpy(a).float() for a in (offsets, compare))
    return _Chain(
        base, joints, parents, bones, axes, low, high, mix, bends_with, carriers, offsets, compare, length, starts
    )  # fmt: skip


def _with_chain(
    motion: BodyMotion, chain: _Chain, points: Float32[np.ndarray, "T P 3"], present: np.ndarray, cameras: Cameras
) -> BodyMotion:
    """The motion with one chain fitted; as it was where no frame of it can be trusted."""
    seen, sure = _look(motion, chain, points, present, cameras)
    if not sure.any():
        return motion
    found, sigma = _fitted(chain, seen, None, KEYPOINT_SIGMA)
    agrees = sure * _agreement(chain, seen, found) >= LEAST_WEIGHT
    if not agrees.any():
        return motion
    kept = replace(seen, weights=seen.weights * torch.from_numpy(agrees)[:, None])
    found, _ = _fitted(chain, kept, found, sigma)
    trust = sure * agrees * _agreement(chain, kept, found)
    trust[trust < LEAST_WEIGHT] = 0
    rotvec, confidence = motion.rotvec.copy(), motion.confidence.copy()
    turned = rotvec_to_rotmat((chain.axes @ found.angles[..., None])[..., 0])
    rotvec[:, chain.base] = rotmat_to_rotvec(rotvec_to_rotmat(rotvec[:, chain.base]) @ turned[:, 0].numpy())
    rotvec[:, chain.joints] = rotmat_to_rotvec(turned[:, 1:]).numpy()
    confidence[:, chain.joints] = trust[:, None]
    return replace(motion, rotvec=rotvec, confidence=confidence)


@dataclass(frozen=True)
class _Found:
    """angles [T,J+1,3] rad about the chain's axes; in lengths: shift [T,2] of the base, off [T,R] of what is compared;
    size, the logarithm of its depth over the body's."""

    angles: Tensor
    shift: Tensor
    size: Tensor
    off: Tensor


def _look(
    motion: BodyMotion, chain: _Chain, points: Float32[np.ndarray, "T P 3"], present: np.ndarray, cameras: Cameras
) -> tuple[_Seen, Float[np.ndarray, " T"]]:
    """What the fit goes by; and the mean confidence of each frame, 0 where the chain is not seen or too small."""
    joints_m, turned = _posed(motion)
    T = torch.from_numpy(cameras.T_camera_world.astype(np.float32))
    base = (T[:, :3, :3] @ joints_m[:, chain.base, :, None])[..., 0] + T[:, :3, 3]
    depth = base[:, 2].clamp_min(0.1)
    K = torch.from_numpy(cameras.K.astype(np.float32))
    rays = (torch.from_numpy(points[..., :2]) - K[:, None, :2, 2]) / K[:, None, [0, 1], [0, 1]]
    confidence = np.clip(points[..., 2], 0, 1) * present[:, None]
    used = chain.compare.numpy() != 0
    each = np.stack([confidence[:, row].min(1) for row in used], 1)
    long_enough = (chain.length * K[:, 0, 0] / depth).numpy() >= LEAST_LENGTH_PX
    sure = np.where((each.mean(1) >= LEAST_SURE) & long_enough, each.mean(1), 0)
    weights = torch.from_numpy((each * (sure > 0)[:, None]).astype(np.float32)).square()
    frames = torch.eye(len(points))
    steps = frames.diff(dim=0) / (STEP_SHARE * 8 / motion.fps)
    seen = _Seen(
        rays.float(), weights, base[:, :2] / depth[:, None], depth, T[:, :3, :3] @ turned[:, chain.base],
        spread_of(torch.cat([frames, steps])),
    )  # fmt: skip
    return seen, sure


def _posed(motion: BodyMotion) -> tuple[Tensor, Tensor]:
    """Joints [T,55,3] and their rotations [T,55,3,3] in the world."""
    rest = _body().rest_joints(motion.betas)
    bones = torch.from_numpy(rest - rest[np.maximum(HUMAN_PARENTS, 0)])
    local = rotvec_to_rotmat(torch.from_numpy(motion.rotvec))
    return forward_kinematics(local, bones, torch.from_numpy(motion.root_translation_m), HUMAN_PARENTS)


def _fitted(chain: _Chain, seen: _Seen, start: _Found | None, sigma: float) -> tuple[_Found, float]:
    """The chain over all frames, from the twists of `chain.starts` or from where it was; and the error [lengths] that its
    keypoints turn out to have."""
    frames, own = len(seen.depth), len(chain.parents)
    if start is None:
        begin, shift, size = (torch.zeros(len(chain.starts), *rest) for rest in ((frames, own, 3), (frames, 2), ()))
        twists, bends = torch.tensor(chain.starts).float().mT[:, :, None]
        begin[:, :, 0, 0] = twists
        begin[:, :, 1:, 0] = bends[..., None]
    else:
        begin, shift, size = (v[None] for v in (start.angles, start.shift / SHIFT_SIGMA, start.size / SIZE_SIGMA))
    apart = torch.linalg.solve_triangular(chain.mix, begin.flatten(2).mT, upper=False).mT
    z = torch.linalg.solve_triangular(seen.spread, apart, upper=True)
    variables = [v.clone(memory_format=torch.contiguous_format).requires_grad_() for v in (z, shift, size)]

    def energy() -> Tensor:
        return _energy(chain, seen, variables, sigma).sum()

    minimise(energy, variables, STEPS if start is None else BEST_STEPS, HISTORY)
    with torch.no_grad():
        best = int(_energy(chain, seen, variables, sigma).argmin())
        angles, off = _compared(chain, seen, *variables)
        _, shift, size = (v[best] for v in variables)
        found = _Found(angles[best], shift * SHIFT_SIGMA, size * SIZE_SIGMA, off[best])
    left = found.off[seen.weights > 0]
    turns_out = float(left.median()) / RAYLEIGH_MEDIAN if len(left) else sigma
    return found, min(max(turns_out, LEAST_KEYPOINT_SIGMA), KEYPOINT_SIGMA)


def _compared(chain: _Chain, seen: _Seen, z: Tensor, shift: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Angles [S,T,J+1,3] rad, and distances in the picture [S,T,R] in lengths, of S fits at once."""
    angles = (seen.spread @ z @ chain.mix.mT).unflatten(2, (-1, 3))
    local = rotvec_to_rotmat((chain.axes @ angles[..., None])[..., 0])
    local = torch.cat([(seen.turned @ local[:, :, 0])[:, :, None], local[:, :, 1:]], 2)
    depth = seen.depth * (size[:, None] * SIZE_SIGMA).exp()
    length = (chain.length / seen.depth)[:, None]
    ray = seen.base_ray + shift * SHIFT_SIGMA * length
    base = torch.cat([ray, torch.ones_like(ray[..., :1])], -1) * depth[..., None]
    joints_m, turned = forward_kinematics(local, chain.bones, base, chain.parents)
    points = joints_m[:, :, chain.carriers] + (turned[:, :, chain.carriers] @ chain.offsets[..., None])[..., 0]
    away = chain.compare @ (points[..., :2] / points[..., 2:].clamp_min(0.1) - seen.rays)
    return angles, (away.square().sum(-1) + 1e-12).sqrt() / length


def _energy(chain: _Chain, seen: _Seen, variables: list[Tensor], sigma: float) -> Tensor:
    """[S] negative log likelihood of S fits."""
    angles, off = _compared(chain, seen, *variables)
    picture = (seen.weights * geman_mcclure((off / sigma).square(), OUTLIER_SIGMAS)).sum((1, 2))
    beyond = torch.relu(chain.low - angles) + torch.relu(angles - chain.high)
    together = (angles[..., 0] @ chain.bends_with.mT) / TIP_SIGMA_RAD
    prior = sum(v.square().flatten(1).sum(1) if v.dim() > 1 else v.square() for v in variables)
    limits = (beyond / LIMIT_SIGMA_RAD).square().sum((1, 2, 3))
    return (picture + limits + together.square().sum((1, 2)) + prior) / 2


def _agreement(chain: _Chain, seen: _Seen, found: _Found) -> Float[np.ndarray, " T"]:
    """0-1 a frame: how well the fitted chain lies on its keypoints, and its base where the body's is."""
    weights = seen.weights
    off = (weights * found.off.square()).sum(1) / weights.sum(1).clamp_min(1e-6)
    away = found.shift.square().sum(1) / WRIST_SIGMA**2
    return torch.exp(-(off / OFF_SIGMA**2 + away) / 2).numpy()
