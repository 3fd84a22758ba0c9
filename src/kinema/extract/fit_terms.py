"""What a fit of bodies to 2D joints is judged by: the terms of its energy, and the variables that it moves.

Input: what was seen of every subject, where the lifter starts. Output: an energy, differentiable by the variables.
SMPLify's recipe (Bogo et al. 2016: robust reprojection, pose and shape priors) over a whole clip at once, with the lifter's
answer in the place of a pose prior, a common floor and a common depth scale.

All lengths are metres in the reference frame: axes and place of the first frame's camera. Residuals are divided by the
standard deviations below, so that terms add up as negative log likelihoods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.body.model import forward_kinematics
from kinema.body.skeleton import JOINT_PARTS, PARTS
from kinema.extract.depth_order import Hidden, bone_points
from kinema.extract.lifter import LIFTED_PARENTS, Lifter, shipped_lifter
from kinema.geometry import rotvec_to_rotmat
from kinema.types import Category

PIXEL_SIGMA_SHARE = 2.0 / 128
"""Error of a certain keypoint, as a share of the picture's longer side."""
OUTLIER_SIGMAS = 4.0
"""Beyond this a keypoint hardly pulls any more (Geman and McClure 1987)."""
FIRST_FRAME_WEIGHT = 4.0
"""In a generated video the first frame is the real picture."""
POSE_SIGMA_RAD, ROOT_SIGMA_RAD = 0.25, 0.2
"""How far the lifter's rotations are off, of a joint and of the whole body."""
POSE_STEP_SIGMA_RAD = 0.1
"""How much that changes from frame to frame."""
RAY_SIGMA, DEPTH_SIGMA, DEPTH_STEP_SIGMA = 0.03, 0.12, 0.03
"""The root's place: across (in rays), and the logarithm of its depth, as a whole and from frame to frame."""
BETA_SIGMA = 0.7
ACCELERATION_SIGMA_M_S2 = 6.0
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


@dataclass
class Moves:
    """The variables of one subject, all in standard deviations: rotations, place and depth of the root, shape."""

    turns: Tensor
    place: Tensor
    depth: Tensor
    betas: Tensor

    @staticmethod
    def none(evidence: Evidence) -> Moves:
        frames, joints = evidence.confidence.shape
        shapes = ((frames, joints, 3), (frames, 2), (frames,), (len(evidence.betas),))
        return Moves(*(torch.zeros(shape, requires_grad=True) for shape in shapes))

    def variables(self) -> list[Tensor]:
        return [self.turns, self.place, self.depth, self.betas]


@dataclass(frozen=True)
class Posed:
    """A subject as the variables have it: local rotations, root, shape, and joints [T,J,3] in the reference frame."""

    local: Tensor
    root_m: Tensor
    betas: Tensor
    points: Tensor


def posed(evidence: Evidence, moves: Moves, lifter: Lifter | None = None) -> Posed:
    """Where the variables put a subject."""
    lifter = lifter or shipped_lifter(evidence.category)
    local = evidence.local @ rotvec_to_rotmat(moves.turns * evidence.pose_sigma)
    start = evidence.root_m
    depth = start[:, 2:] * (moves.depth[:, None] * DEPTH_SIGMA).exp()
    root = torch.cat([start[:, :2] / start[:, 2:] + moves.place * RAY_SIGMA, torch.ones_like(depth)], -1) * depth
    betas = evidence.betas + moves.betas * evidence.betas_sigma
    bones = lifter.bones_of(betas).expand(len(root), -1, -1)
    points, _ = forward_kinematics(local, bones, root, LIFTED_PARENTS[evidence.category])
    return Posed(local, root, betas, points)


@cache
def limb_middles(category: str) -> tuple[list[int], Tensor]:
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
    return kept, weights[held] / weights[held].sum(1, keepdim=True)


def limb_points(evidence: Evidence, body: Posed) -> Tensor:
    """[T,P,3] points inside of the limbs (`depth_order.bone_points`), in each frame's camera."""
    points = bone_points(evidence.category) @ body.points
    return points @ evidence.turn.mT + evidence.move[:, None]


def reprojection(evidence: Evidence, points: Tensor) -> Tensor:
    """[T,J+P] distance of projected joints and limb middles from where they were seen, as a share of the picture's longer
    side."""
    points = torch.cat([points, limb_middles(evidence.category)[1] @ points], 1)
    seen = (evidence.turn[:, None] @ points[..., None])[..., 0] + evidence.move[:, None]
    away = seen[..., :2] / seen[..., 2:].clamp_min(0.1) - torch.cat([evidence.rays, evidence.middle_rays], 1)
    return (away.square().sum(-1) + 1e-12).sqrt() * evidence.focal_share[:, None]


def geman_mcclure(squares: Tensor, reach: float) -> Tensor:
    """Squared residuals, robust: like themselves near 0, at most `reach` squared."""
    return squares * reach**2 / (squares + reach**2)


def subject_energy(evidence: Evidence, moves: Moves, body: Posed) -> Tensor:
    """What one subject contributes by itself."""
    weight = torch.cat([evidence.confidence, evidence.middle_confidence], 1).square()
    weight = torch.cat([weight[:1] * FIRST_FRAME_WEIGHT, weight[1:]])
    picture = geman_mcclure((reprojection(evidence, body.points) / PIXEL_SIGMA_SHARE).square(), OUTLIER_SIGMAS)
    rate = 8.0 / evidence.fps
    energy = (weight * picture).sum()
    energy = energy + moves.turns.square().sum() + moves.betas.square().sum() + moves.place.square().sum()
    # A depth that is off is off in all frames: the whole counts once, its changes by themselves.
    energy = energy + moves.depth.mean().square() + 0.1 * (moves.depth - moves.depth.mean()).square().sum()
    if len(body.points) > 1:
        steps = (moves.turns * evidence.pose_sigma).diff(dim=0) / (POSE_STEP_SIGMA_RAD * rate)
        energy = energy + steps.square().sum()
        energy = energy + (moves.depth.diff() * DEPTH_SIGMA / (DEPTH_STEP_SIGMA * rate)).square().sum()
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
