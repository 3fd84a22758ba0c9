"""What a fit of bodies to 2D joints is judged by: the terms of its energy, and the variables that it moves.

Input: what was seen of every subject, where the lifter starts. Output: an energy, differentiable by the variables.
SMPLify's recipe (Bogo et al. 2016: robust reprojection, pose and shape priors) over a whole clip at once, with the lifter's
answer in the place of a pose prior, a common floor and a common depth scale.

All lengths are metres in the reference frame: axes and place of the first frame's camera. Residuals are divided by the
standard deviations below, so that terms add up as negative log likelihoods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TypeVar

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from kinema.body.joint_limits import joint_ranges
from kinema.body.model import forward_kinematics
from kinema.body.skeleton import JOINT_PARTS, PARTS
from kinema.extract.depth_order import Hidden, bone_points
from kinema.extract.lifter import CPU, LIFTED_PARENTS, shipped_lifter
from kinema.extract.outline import Outline, skin
from kinema.geometry import rotvec_to_rotmat
from kinema.threads import one_thread
from kinema.types import Category

PIXEL_SIGMA_SHARE, LEAST_PIXEL_SIGMA_SHARE = 2.0 / 128, 0.6 / 128
"""Error of a certain keypoint, as a share of the picture's longer side: at first, and what it may turn out to be."""
OUTLINE_SIGMA_SHARE, OUTLINE_WEIGHT = 1.0 / 128, 24.0
"""Error of an outline, and what a frame's outline counts, in keypoints."""
RAYLEIGH_MEDIAN = 1.1774
"""Median length of a 2D error, in standard deviations of one axis."""
OUTLIER_SIGMAS = 4.0
"""Beyond this a keypoint hardly pulls any more (Geman and McClure 1987)."""
FIRST_FRAME_WEIGHT = 4.0
"""In a generated video the first frame is the real picture."""
POSE_SIGMA_RAD, ROOT_SIGMA_RAD = 0.25, 0.2
"""How far the lifter's rotations are off, of a joint and of the whole body."""
POSE_STEP_SIGMA_RAD = 0.1
"""How much that changes from frame to frame."""
RAY_SIGMA, DEPTH_SIGMA, DEPTH_STEP_SIGMA = 0.03, 0.05, 0.03
"""The root's place: across (in rays), and the logarithm of its depth, as a whole and from frame to frame."""
LOOSE_DEPTH = 0.1**0.5
"""Of a frame's depth against the clip's mean: this share of the weight of the whole."""
LIMIT_SIGMA_RAD = 0.05
"""Beyond the range of a joint."""
BETA_SIGMA = 0.4
ACCELERATION_SIGMA_M_S2 = 10.0
PITCH_SIGMA_RAD = 0.06
FLOOR_SIGMA_M, FLOOR_REACH_M = 0.03, 0.12
"""How near to the floor the lowest joint of a frame is; from twice the reach on the body is in the air."""
LOWEST_JOINT_M = {"human": 0.025, "animal": 0.045}
"""Height of the ball of a standing foot, and of the joint in a standing paw."""
SEEN_DEPTH_SIGMA, SEEN_DEPTH_OUTLIER = 0.1, 3.0
"""Estimated depth of a subject, its logarithm against the others'."""
GAP_M, GAP_SIGMA_M, GAP_OUTLIER_SIGMAS = 0.1, 0.05, 6.0
"""A limb in front of another has its bone this much nearer; beyond so many sigmas a point hardly pulls any more."""
LIMB_WORDS = ("arm", "leg", "thigh", "shin")
"""In the names of parts whose middles are compared: long, and the same from all sides."""
HELD_SHARE = 0.1
"""Where the first pose is known, it may change by this share of what it otherwise may."""


@dataclass(frozen=True)
class Evidence:
    """What was seen of one subject, and where its fit starts. T frames, J joints that are lifted.

    rays [T,J,2] in each frame's own camera    confidence [T,J]; 0 where it is absent
    middle_rays [T,P,2], middle_confidence [T,P]  the same of the middles of the limbs' parts, as they are seen in the mask
    focal_share [T]  focal length / longer side of the picture
    turn [T,3,3], move [T,3]  reference frame -> camera of each frame
    seen_log_depth [T]  of its mask, up to a common constant; NaN where unknown
    local [T,J,3,3], root_m [T,3], betas [N]  start, joint 0 in the reference frame
    pose_sigma [T,J,1] rad, betas_sigma  how far to move from there
    pixel_sigma  error of a certain keypoint, as a share of the picture's longer side
    """

    category: Category
    rays: Tensor
    confidence: Tensor
    middle_rays: Tensor
    middle_confidence: Tensor
    focal_share: Tensor
    turn: Tensor
    move: Tensor
    seen_log_depth: Tensor
    local: Tensor
    root_m: Tensor
    betas: Tensor
    pose_sigma: Tensor
    betas_sigma: float
    fps: float
    pixel_sigma: float = PIXEL_SIGMA_SHARE

    @property
    def device(self) -> torch.device:
        return self.rays.device


@dataclass
class Moves:
    """The variables of one subject: rotations, place and depth of the root, shape.

    What is known of a rotation and its changes, and of the depth and its, is a Gaussian over the clip; the variables are
    its independent numbers of variance 1 (`spread_turns` [J,T,T] and `spread_depth` [T,T] times them are the corrections),
    so that the prior is their sum of squares and the solver sees a round bowl. Place and shape are in standard deviations.
    """

    turns: Tensor
    place: Tensor
    depth: Tensor
    betas: Tensor
    spread_turns: Tensor
    spread_depth: Tensor

    @staticmethod
    def none(evidence: Evidence) -> Moves:
        frames, joints = evidence.confidence.shape
        shapes = ((joints, frames, 3), (frames, 2), (frames,), (len(evidence.betas),))
        turns, place, depth, betas = (torch.zeros(s, requires_grad=True, device=evidence.device) for s in shapes)
        rate = 8.0 / evidence.fps
        one = torch.eye(frames, device=evidence.device)
        size = one.expand(joints, -1, -1) / evidence.pose_sigma.permute(1, 2, 0)
        steps = one.diff(dim=0).expand(joints, -1, -1) / (POSE_STEP_SIGMA_RAD * rate)
        # A depth that is off is off in all frames: the whole counts once, its changes by themselves.
        mean = one.mean(0, keepdim=True) / DEPTH_SIGMA
        each = (one - 1 / frames) * LOOSE_DEPTH / DEPTH_SIGMA
        depth_steps = one.diff(dim=0) / (DEPTH_STEP_SIGMA * rate)
        spreads = spread_of(torch.cat([size, steps], 1)), spread_of(torch.cat([mean, each, depth_steps]))
        return Moves(turns, place, depth, betas, *spreads)

    def variables(self) -> list[Tensor]:
        return [self.turns, self.place, self.depth, self.betas]


def spread_of(residuals: Tensor) -> Tensor:
    """Rows [...,N,T] whose products with a sequence [T] are residuals of variance 1 -> [...,T,T] that times T independent
    numbers is such a sequence."""
    upper = torch.linalg.cholesky(residuals.mT @ residuals).mT
    return torch.linalg.solve_triangular(
        upper, torch.eye(upper.shape[-1], device=upper.device).expand_as(upper), upper=True
    )


@dataclass(frozen=True)
class Posed:
    """A subject as the variables have it: local rotations, root, shape, and joints [T,J,3] with their global rotations
    [T,J,3,3] in the reference frame."""

    local: Tensor
    root_m: Tensor
    betas: Tensor
    points: Tensor
    turned: Tensor


Terms = TypeVar("Terms", Evidence, Posed, Hidden, Outline)


def on_device(terms: Terms, device: str) -> Terms:
    """The same with its tensors on another device."""
    tensors = {f.name: getattr(terms, f.name) for f in fields(terms) if isinstance(getattr(terms, f.name), Tensor)}
    return replace(terms, **{name: tensor.to(device) for name, tensor in tensors.items()})


def posed(evidence: Evidence, moves: Moves) -> Posed:
    """Where the variables put a subject."""
    local = evidence.local @ rotvec_to_rotmat((moves.spread_turns @ moves.turns).transpose(0, 1))
    start = evidence.root_m
    depth = start[:, 2:] * (moves.spread_depth @ moves.depth[:, None]).exp()
    root = torch.cat([start[:, :2] / start[:, 2:] + moves.place * RAY_SIGMA, torch.ones_like(depth)], -1) * depth
    betas = evidence.betas + moves.betas * evidence.betas_sigma
    bones = shipped_lifter(evidence.category, evidence.device).bones_of(betas).expand(len(root), -1, -1)
    points, turned = forward_kinematics(local, bones, root, LIFTED_PARENTS[evidence.category])
    return Posed(local, root, betas, points, turned)


@cache
def limb_middles(category: str, device: torch.device = CPU) -> tuple[list[int], Tensor]:
    """Part ids of the limbs [P], and the weights [P,J] of the joints whose mean is about the middle of that part: that of
    the bones in it."""
    parents, parts = LIFTED_PARENTS[category], JOINT_PARTS[category]
    limbs = sorted({part for part in parts if any(word in PARTS[int(part)] for word in LIMB_WORDS)})
    weights = torch.zeros(len(limbs), len(parents))
    for joint, above in enumerate(parents):
        if above >= 0 and parts[above] in limbs:
            weights[limbs.index(parts[above]), [joint, above]] += 0.5
    held = weights.sum(1) > 0
    kept = [int(part) for part, any_bone in zip(limbs, held, strict=True) if any_bone]
    return kept, (weights[held] / weights[held].sum(1, keepdim=True)).to(device)


def limb_points(evidence: Evidence, body: Posed) -> Tensor:
    """[T,P,3] points inside of the limbs (`depth_order.bone_points`), in each frame's camera."""
    points = bone_points(evidence.category, evidence.device) @ body.points
    return points @ evidence.turn.mT + evidence.move[:, None]


def reprojection(evidence: Evidence, points: Tensor) -> Tensor:
    """[T,J+P] distance of projected joints and limb middles from where they were seen, as a share of the picture's longer
    side."""
    points = torch.cat([points, limb_middles(evidence.category, evidence.device)[1] @ points], 1)
    seen = (evidence.turn[:, None] @ points[..., None])[..., 0] + evidence.move[:, None]
    away = seen[..., :2] / seen[..., 2:].clamp_min(0.1) - torch.cat([evidence.rays, evidence.middle_rays], 1)
    return (away.square().sum(-1) + 1e-12).sqrt() * evidence.focal_share[:, None]


def measured(evidence: Evidence, body: Posed) -> Evidence:
    """The same with the error that its keypoints turn out to have, by what is left once a body was fitted to them."""
    joints = evidence.confidence.shape[1]
    left = reprojection(evidence, body.points)[:, :joints][evidence.confidence > 0]
    if not len(left):
        return evidence
    sigma = float(left.median()) / RAYLEIGH_MEDIAN
    return replace(evidence, pixel_sigma=min(max(sigma, LEAST_PIXEL_SIGMA_SHARE), PIXEL_SIGMA_SHARE))


def skin_in_cameras(evidence: Evidence, body: Posed) -> Tensor:
    """[T,V,3] vertices of the built-in body in each frame's camera, metres."""
    vertices = skin(evidence.category, evidence.device).vertices(body.turned, body.points, body.betas)
    return vertices @ evidence.turn.mT + evidence.move[:, None]


def outline_energy(evidence: Evidence, body: Posed, outline: Outline) -> Tensor:
    """What it costs that a body's rim is not that of its mask."""
    away = outline.away(skin_in_cameras(evidence, body)) * evidence.focal_share[:, None]
    squares = geman_mcclure((away / OUTLINE_SIGMA_SHARE).square(), OUTLIER_SIGMAS)
    return OUTLINE_WEIGHT * (outline.weights * squares).sum() / 2


def geman_mcclure(squares: Tensor, reach: float) -> Tensor:
    """Squared residuals, robust: like themselves near 0, at most `reach` squared."""
    return squares * reach**2 / (squares + reach**2)


def subject_energy(evidence: Evidence, moves: Moves, body: Posed) -> Tensor:
    """What one subject contributes by itself."""
    weight = torch.cat([evidence.confidence, evidence.middle_confidence], 1).square()
    weight = torch.cat([weight[:1] * FIRST_FRAME_WEIGHT, weight[1:]])
    picture = geman_mcclure((reprojection(evidence, body.points) / evidence.pixel_sigma).square(), OUTLIER_SIGMAS)
    energy = (weight * picture).sum() + sum(v.square().sum() for v in moves.variables())
    if len(body.points) > 2:
        acceleration = body.points.diff(n=2, dim=0) * evidence.fps**2 / ACCELERATION_SIGMA_M_S2
        energy = energy + acceleration.square().sum()
    return energy / 2


def floor_energy(evidence: Evidence, body: Posed, up: Tensor, height_m: Tensor) -> Tensor:
    """Nothing below the floor, the lowest joint of most frames on it. `up` [3] in the reference frame, whose origin is
    `height_m` above the floor."""
    heights = height_m + body.points @ up - LOWEST_JOINT_M[evidence.category]
    weight = (evidence.confidence.sum(1) > 0).float()
    lowest = -torch.logsumexp(-heights / 0.02, 1) * 0.02 + 0.01
    standing = geman_mcclure((lowest / FLOOR_SIGMA_M).square(), FLOOR_REACH_M / FLOOR_SIGMA_M)
    below = (torch.relu(-lowest) / FLOOR_SIGMA_M).square()
    return (weight * (standing + below)).sum() / 2


def limit_energy(category: Category, local: Float[Tensor, "T J 3 3"]) -> Tensor:
    """What it costs that joints are turned beyond their ranges (`body.joint_limits`), by swing and twist."""
    low, high, along, mirror = _ranges(category, local.device)
    quat = roma.rotmat_to_unitquat(local[:, 1:])  # the root turns freely
    vector, scalar = quat[..., :3] * mirror, quat[..., 3:]
    about = (vector * along).sum(-1, keepdim=True)
    twist = 2 * torch.atan2(about, scalar)
    twist = twist - 2 * torch.pi * (twist / (2 * torch.pi)).round()
    # The twist taken out of the whole leaves a quaternion whose scalar is `rest`.
    rest = (about.square() + scalar.square() + 1e-12).sqrt()
    across = vector - about * along
    across = (scalar * across - about * torch.linalg.cross(across, along.expand_as(across))) / rest
    length = (across.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    angles = twist * along + 2 * torch.atan2(length, rest) * across / length
    return ((torch.relu(low - angles) + torch.relu(angles - high)) / LIMIT_SIGMA_RAD).square().sum() / 2


@cache
def _ranges(category: Category, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the joints but the root: low, high [J-1,3] rad; the bone's axis and the mirror as vectors [J-1,3]."""
    known = joint_ranges(category, len(LIFTED_PARENTS[category]))
    arrays = known.low, known.high, np.eye(3)[known.axis], known.mirror
    low, high, along, mirror = (torch.from_numpy(a[1:]).to(device, torch.float32) for a in arrays)
    return low, high, along, mirror


def depth_energy(evidence: list[Evidence], bodies: list[Posed]) -> Tensor:
    """Estimated depths against those of the bodies, the common scale being free: who is in front, and who comes nearer."""
    off = torch.stack([b.root_m[:, 2].log() - e.seen_log_depth for e, b in zip(evidence, bodies, strict=True)])
    known = off.isfinite()
    if not known.any():
        return off.new_zeros(())
    off = torch.where(known, off, 0.0)
    scale = off.sum() / known.sum()
    squares = ((off - scale) / SEEN_DEPTH_SIGMA).square()
    # Errors of an estimated depth last for many frames: a clip counts as a few of them.
    return (geman_mcclure(squares, SEEN_DEPTH_OUTLIER) * known).sum() / known.shape[1] * 4 / 2


def order_energy(hidden: Sequence[Hidden], depths_m: Sequence[Float[Tensor, "_ _"]]) -> Tensor:
    """What it costs that hidden points are not behind what hides them. depths_m: of every subject's points [T,P], along
    the axis of the frame's camera."""
    total = depths_m[0].new_zeros(())
    for h in hidden:
        gap = depths_m[h.behind][h.frames, h.points_behind] - depths_m[h.front][h.frames, h.points_front]
        squares = (torch.relu(GAP_M - gap) / GAP_SIGMA_M).square()
        total = total + (h.weights * geman_mcclure(squares, GAP_OUTLIER_SIGMAS)).sum() / 2
    return total


def held(evidence: Evidence, local: Tensor, betas: Tensor, known_place: Tensor | None) -> Evidence:
    """The same with the first frame's joint rotations [J,3,3] and the shape known; joint 0's rotation and place [3] too
    where `known_place` is given."""
    start = evidence.local.clone()
    sigma = evidence.pose_sigma.clone()
    first = 0 if known_place is not None else 1
    start[0, first:], sigma[0, first:] = local[first:], HELD_SHARE * sigma[0, first:]
    root = evidence.root_m.clone()
    if known_place is not None:
        root = root * (known_place[2] / root[0, 2])
        root[0] = known_place
    return replace(evidence, local=start, pose_sigma=sigma, root_m=root, betas=betas, betas_sigma=0.01)


def minimise(energy: Callable[[], Tensor], variables: list[Tensor], steps: int, history: int) -> None:
    """L-BFGS with a line search; the variables are left at the least energy that was found."""
    solver = torch.optim.LBFGS(variables, lr=1.0, max_iter=steps, history_size=history, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        total = energy()
        total.backward()
        return total

    if steps:
        with one_thread():  # small products: two threads on cores that others use took ten times as long
            solver.step(closure)
