"""The same motion on a body of another shape, with the feet where they belong.

Every foot's path is scaled about the floor by the ratio of leg lengths, and so is the middle of the hips; then each leg is
bent anew, by two-bone inverse kinematics in the plane it was bent in, so that its foot follows that path with the
orientation it had. Feet that stand still keep standing still, and at the height at which they stand. All other joints
keep their rotations.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from kinema.body.model import BodyModel, body_for, joints
from kinema.body.skeleton import PARENTS
from kinema.errors import InputError
from kinema.geometry import heading_rotmat
from kinema.optimize.contacts import LEGS, feet_down, standing_heights
from kinema.types import BETA_COUNT, BodyMotion

STRAIGHTEST = 0.9995
"""A leg is never stretched further than this share of its length: at full stretch the knee would snap."""
NEARLY_STRAIGHT_RAD = 0.3
"""A knee that is bent backwards by less than this is a straight one with an error: it is bent forwards again."""
FREE_S = 0.15
"""A foot must be free for this long to take up where a wider or longer body puts it."""


def retarget(motion: BodyMotion, betas: Float[np.ndarray, " B"], body: BodyModel | None = None) -> BodyMotion:
    """`motion` with other betas; fewer than the body has are filled up with zeros.

    `body` defaults to the built-in one of the motion's category; the same body is used before and after. Steps get
    longer with the legs, and the frame rate stays. Raises InputError for too many betas, or a shape without legs.
    """
    category = motion.category
    wanted = np.asarray(betas, np.float32).ravel()
    if len(wanted) > BETA_COUNT[category] or not np.isfinite(wanted).all():
        raise InputError("betas", f"are {wanted}", expected=f"at most {BETA_COUNT[category]} finite numbers")
    body = body_for(category, body)
    shaped = replace(motion, betas=wanted)
    legs = LEGS[category]
    old, new = _Shape(body, motion.betas, legs), _Shape(body, shaped.betas, legs)
    if not (new.heights[legs[:, 0]] > new.heights[legs[:, 2]]).all():
        raise InputError("betas", "make a body without legs", mend="use smaller numbers, about -3 to 3")
    scale = float(new.leg_length.mean() / old.leg_length.mean())

    source = joints(motion, body).astype(float)
    hips = legs[:, 0]
    start = motion.root_translation_m[0] * [1.0, 0.0, 1.0]
    centre = _scaled(source[:, hips].mean(1), start, old.hip_floor, new.hip_floor, scale)
    root = _root_under(shaped, body, hips, centre)
    shaped = replace(shaped, root_translation_m=root)

    feet = _scaled(source[:, legs[:, 3]], start, old.heights[legs[:, 3]], new.heights[legs[:, 3]], scale)
    down = feet_down(source, old.heights, legs)
    feet = feet + _step_aside(motion, old, new, scale, down)
    return _bend_legs(shaped, body, legs, feet, new)


class _Shape:
    """What a shape is made of: rest joints, standing heights, and the lengths of thighs and shins."""

    def __init__(self, body: BodyModel, betas: Float[np.ndarray, " B"], legs: np.ndarray):
        self.rest = np.asarray(body.rest_joints(betas), float)
        self.heights = standing_heights(body, betas)
        hip, knee, ankle = (self.rest[legs[:, k]] for k in range(3))
        self.thigh, self.shin = np.linalg.norm(knee - hip, axis=-1), np.linalg.norm(ankle - knee, axis=-1)
        self.leg_length = self.thigh + self.shin
        self.hip_floor = float(self.heights[legs[:, 2]].mean())
        self.knee_axis = _knee_axis(knee - hip, ankle - knee)
        self.stance = self.rest[legs[:, 0]] - self.rest[legs[:, 0]].mean(0)


def _knee_axis(thigh: Float[np.ndarray, "L 3"], shin: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "L 3"]:
    """About which a leg bends in the rest pose; a straight one as a person's does, about +x."""
    axis = np.cross(thigh, shin)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    clear = sine > 0.1 * np.linalg.norm(thigh, axis=-1, keepdims=True) * np.linalg.norm(shin, axis=-1, keepdims=True)
    return np.where(clear, axis / np.maximum(sine, 1e-12), np.array([1.0, 0.0, 0.0]))


def _scaled(points: Float[np.ndarray, "*batch 3"], start, old_floor, new_floor, scale: float):
    """Scaled about `start` on the floor; what is at the height `old_floor` comes to `new_floor`."""
    moved = start + (points - start) * scale
    moved[..., 1] = (points[..., 1] - old_floor) * scale + new_floor
    return moved


def _root_under(motion: BodyMotion, body: BodyModel, hips: np.ndarray, centre: Float[np.ndarray, "T 3"]):
    """[T,3] where the root has to be for the middle of the hips to be at `centre`."""
    now = joints(motion, body)[:, hips].astype(float).mean(1)
    return (motion.root_translation_m + centre - now).astype(np.float32)


def _step_aside(motion: BodyMotion, old: _Shape, new: _Shape, scale: float, down: Bool[np.ndarray, "T L"]):
    """[T,L,3] by how much each foot stands elsewhere on the floor, because the hips are wider or the back is longer.

    The shift turns with the body, but only while the foot is free: over a contact it is held at its mean.
    """
    aside = (new.stance - old.stance * scale) * [1, 0, 1]
    heading = heading_rotmat(Rotation.from_rotvec(motion.rotvec[:, 0].astype(float)).as_matrix())
    wanted = np.einsum("tij,lj->tli", heading, aside)
    held = wanted.copy()
    for leg in range(down.shape[1]):
        standing = _without_short_gaps(down[:, leg], max(round(FREE_S * motion.fps), 1))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], standing, [False]]).astype(int))).reshape(-1, 2)
        keys, values = [], []
        for begin, end in edges:
            keys += [begin, end - 1]
            values += [wanted[begin:end, leg].mean(0)] * 2
        if keys:
            # In between it moves over at an even rate; before the first and after the last contact it stays.
            at = np.arange(len(motion))
            held[:, leg] = np.stack([np.interp(at, keys, [v[k] for v in values]) for k in range(3)], -1)
    return held


def _without_short_gaps(mask: Bool[np.ndarray, " T"], shortest: int) -> Bool[np.ndarray, " T"]:
    from scipy.ndimage import binary_closing

    return binary_closing(np.pad(mask, shortest), np.ones(shortest + 1))[shortest:-shortest] | mask


def _bend_legs(
    motion: BodyMotion, body: BodyModel, legs: np.ndarray, feet: Float[np.ndarray, "T L 3"], shape: _Shape
) -> BodyMotion:
    """Thigh, shin and ankle rotations with which the balls of the feet are at `feet`, each ankle turned as it was."""
    parents = PARENTS[motion.category]
    points = joints(motion, body).astype(float)
    turned = _global_rotations(motion, parents)
    rotvec = motion.rotvec.astype(float)
    for leg, (hip, knee, ankle, foot) in enumerate(legs):
        goal = feet[:, leg] - turned[ankle].apply(shape.rest[foot] - shape.rest[ankle])
        bent = _two_bone(points[:, [hip, knee, ankle]], goal, turned[hip].apply(shape.knee_axis[leg]))
        thigh, shin = bent[0] * turned[hip], bent[1] * turned[knee]
        rotvec[:, hip] = (turned[parents[hip]].inv() * thigh).as_rotvec()
        rotvec[:, knee] = (thigh.inv() * shin).as_rotvec()
        rotvec[:, ankle] = (shin.inv() * turned[ankle]).as_rotvec()
    return replace(motion, rotvec=rotvec.astype(np.float32))


def _global_rotations(motion: BodyMotion, parents: np.ndarray) -> list[Rotation]:
    turned: list[Rotation] = []
    for joint, parent in enumerate(parents):
        local = Rotation.from_rotvec(motion.rotvec[:, joint].astype(float))
        turned.append(local if parent < 0 else turned[parent] * local)
    return turned


def _two_bone(
    chain: Float[np.ndarray, "T 3 3"], goal: Float[np.ndarray, "T 3"], knee_axis: Float[np.ndarray, "T 3"]
) -> tuple[Rotation, Rotation]:
    """World rotations of thigh and shin that bring the end of hip - knee - ankle to `goal`, in the plane of the knee.

    Out of reach, the leg points at the goal, as straight as it may be. A leg that is nearly straight bends about
    `knee_axis` as far as that lies across it, also where the capture has it bent a little the wrong way.
    """
    thigh, shin = chain[:, 1] - chain[:, 0], chain[:, 2] - chain[:, 1]
    a, b = np.linalg.norm(thigh, axis=-1), np.linalg.norm(shin, axis=-1)
    reach = goal - chain[:, 0]
    nearest, furthest = np.abs(a - b) + 1e-4, STRAIGHTEST * (a + b)
    distance = np.clip(np.linalg.norm(reach, axis=-1), np.minimum(nearest, furthest), furthest)
    axis = np.cross(thigh, shin)
    sine = np.linalg.norm(axis, axis=-1)
    across = knee_axis - thigh * ((knee_axis * thigh).sum(-1) / a**2)[:, None]
    axis = np.where((sine > 1e-6 * a * b)[:, None], axis, across)
    axis = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-12)
    bend_now = np.arctan2(sine, (thigh * shin).sum(-1))
    wrong_way = ((axis * across).sum(-1) < 0) & (bend_now < NEARLY_STRAIGHT_RAD)
    axis, bend_now = np.where(wrong_way[:, None], -axis, axis), np.where(wrong_way, -bend_now, bend_now)
    bend = np.arccos(np.clip((distance**2 - a**2 - b**2) / (2 * a * b), -1, 1))
    more = Rotation.from_rotvec(axis * (bend - bend_now)[:, None])
    swing = _smallest_rotation(thigh + more.apply(shin), reach)
    return swing, swing * more


def _smallest_rotation(a: Float[np.ndarray, "T 3"], b: Float[np.ndarray, "T 3"]) -> Rotation:
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (a * b).sum(-1, keepdims=True))
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-12) * angle)
