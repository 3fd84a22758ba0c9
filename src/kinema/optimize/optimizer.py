"""The Optimize stage: a motion in, the same motion mended by the motion prior out (ReVision, section 4.2-S2).

The way of the data: BodyMotion -> channels at about 20 fps -> windows of 32 frames, stride 24 -> prior -> ramp blend ->
held frames put back exactly -> BodyMotion. Fingers, face and expression follow the pointers of wrist and head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kinema.body.model import BodyModel
from kinema.body.skeleton import BODY_JOINT_COUNT, HUMAN_JOINTS
from kinema.errors import InputError
from kinema.geometry import rot6d_to_rotmat, rotmat_to_rot6d, rotmat_to_rotvec, rotvec_to_rotmat
from kinema.optimize.features import REFERENCE_FPS, canonical_frame, channel_groups, pack, unpack
from kinema.optimize.motion_prior import MotionPrior, point
from kinema.optimize.motion_strength import speed, strength_of_speed
from kinema.types import BodyMotion, ObjectMotion

WINDOW, STRIDE = 32, 24
"""Frames a window, and from one window to the next (ReVision, section 5.1, long video)."""
HOLD_REACH = 8
"""Frames over which what is left between the prior's answer and a held frame is spread."""
TARGET_REACH = 24
"""Frames over which the way bends towards a target pose before the prior sees it."""
BATCH = 64

_ROOT_GROUP = BODY_JOINT_COUNT


def _follower_groups() -> Tensor:
    """For each of the 33 joints that the prior does not know, the body joint whose pointers it follows."""
    wrists = {"left": HUMAN_JOINTS.index("left_wrist"), "right": HUMAN_JOINTS.index("right_wrist")}
    head = HUMAN_JOINTS.index("head")
    rest = HUMAN_JOINTS[BODY_JOINT_COUNT:]
    return torch.tensor([head if n == "jaw" or "eye" in n else wrists[n.split("_")[0]] for n in rest])


@dataclass(frozen=True)
class Sequence6d:
    """A motion as the prior's channels [T,C] and those that only follow [T,E], with the follower's pointer groups [E]."""

    category: str
    channels: Tensor
    followers: Tensor
    groups: Tensor

    def with_frames(self, channels: Tensor, followers: Tensor) -> Sequence6d:
        return replace(self, channels=channels, followers=followers)

    def at(self, places: np.ndarray) -> Sequence6d:
        """The sequence read at fractional frame numbers, linearly."""
        low = np.clip(np.floor(places).astype(int), 0, len(self.channels) - 1)
        high = np.minimum(low + 1, len(self.channels) - 1)
        share = torch.from_numpy(np.clip(places - low, 0, 1).astype(np.float32))[:, None]
        return self.with_frames(
            self.channels[low] * (1 - share) + self.channels[high] * share,
            self.followers[low] * (1 - share) + self.followers[high] * share,
        )


def to_sequence(motion: BodyMotion | ObjectMotion) -> Sequence6d:
    if isinstance(motion, ObjectMotion):
        empty = torch.zeros(len(motion.points_m), 0)
        return Sequence6d(
            "object", torch.from_numpy(motion.points_m).flatten(1), empty, torch.zeros(0, dtype=torch.long)
        )
    rotmat = rotvec_to_rotmat(torch.from_numpy(motion.rotvec))
    known = BODY_JOINT_COUNT if motion.category == "human" else rotmat.shape[1]
    channels = pack(rotmat[:, :known], torch.from_numpy(motion.root_translation_m))
    if motion.category == "animal":
        return Sequence6d("animal", channels, torch.zeros(len(channels), 0), torch.zeros(0, dtype=torch.long))
    followers = torch.cat([rotmat_to_rot6d(rotmat[:, known:]).flatten(1), torch.from_numpy(motion.expression)], 1)
    face = torch.full((motion.expression.shape[1],), HUMAN_JOINTS.index("head"))
    return Sequence6d("human", channels, followers, torch.cat([_follower_groups().repeat_interleave(6), face]))


def to_motion(sequence: Sequence6d, like: BodyMotion | ObjectMotion) -> BodyMotion | ObjectMotion:
    frames = len(sequence.channels)
    if isinstance(like, ObjectMotion):
        return ObjectMotion(sequence.channels.unflatten(1, (-1, 3)).numpy(), like.fps, np.ones(frames, bool))
    rotmat, root = unpack(sequence.channels)
    expression = np.zeros((frames, 10), np.float32)
    if like.category == "human":
        turns, face = sequence.followers.split([sequence.followers.shape[1] - 10, 10], 1)
        rotmat = torch.cat([rotmat, rot6d_to_rotmat(turns.unflatten(1, (-1, 6)))], 1)
        expression = face.numpy()
    rotvec = rotmat_to_rotvec(rotmat).numpy()
    return BodyMotion(like.category, rotvec, root.numpy(), like.betas, like.fps, expression)


def refine(
    motion: BodyMotion,
    prompt: str | None = None,
    strength: float | None = None,
    hold: Sequence[int] | None = None,
    target: BodyMotion | None = None,
    length: int | None = None,
    prior: MotionPrior | None = None,
    body: BodyModel | None = None,
) -> BodyMotion:
    """Mend a motion with the motion prior: noise, shuffled frames, repeated frames and gaps go, clean motion stays.

    prompt    what the motion is ("a man walks"); optional
    strength  0-1, how lively the result is to be, 0.5 being usual; None keeps the motion's own
    hold      frames of the result that must stay as they are given (negative ones count from the end)
    target    a motion whose last frame the result has to end in
    length    frames of the result: `lengthen.lengthen` resamples and continues the motion first
    prior     other weights than the shipped ones
    body      whose bones tell `lengthen` where the feet are; the built-in one of the motion's category by default
    -> the same category, betas and fps; valid and confidence are 1 everywhere.
    Raises InputError for a strength outside 0-1, a frame that does not exist, a target of another category.
    """
    from kinema.checkpoints import shipped_prior

    if strength is not None and not 0 <= strength <= 1:
        raise InputError("strength", f"is {strength}", expected="a number from 0 (calm) to 1 (lively)")
    prior = prior or shipped_prior()
    motion = fill_invalid(motion)
    if length is not None and length != len(motion):
        from kinema.optimize.lengthen import lengthen

        motion = lengthen(motion, length, body=body)
    held = _held_frames(hold, len(motion))
    given = to_sequence(motion)
    if target is not None:
        held[-1] = True
        given = _bend_to_target(given, _target_sequence(target, motion), held)
    condition = _Condition.of(prior, prompt, strength)
    found = _put_back(_refine_sequence(given, held, motion.fps, prior, condition), given, held)
    if strength is not None:
        found = _to_strength(found, given, held, motion.fps, prior, condition)
    result = to_motion(found, motion)
    assert isinstance(result, BodyMotion)
    # Bit for bit what was held: a trip through matrices would cost the last digits.
    exact = held.numpy() if target is None else np.append(held.numpy()[:-1], False)
    rotvec = np.where(exact[:, None, None], motion.rotvec, result.rotvec)
    root = np.where(exact[:, None], motion.root_translation_m, result.root_translation_m)
    return replace(result, rotvec=rotvec, root_translation_m=root)


def refine_object(
    motion: ObjectMotion,
    prompt: str | None = None,
    prior: MotionPrior | None = None,
    hold: Sequence[int] | None = None,
    target: ObjectMotion | None = None,
) -> ObjectMotion:
    """The same for the 21 points of an object; frames that are not valid are filled in."""
    from kinema.checkpoints import shipped_prior

    prior = prior or shipped_prior()
    known = np.flatnonzero(motion.valid)
    if not len(known):
        raise InputError("ObjectMotion.valid", "no frame is valid", expected="at least one")
    given = _between(to_sequence(motion), known)
    held = _held_frames(hold, len(motion.points_m))
    if target is not None:
        held[-1] = True
        last = to_sequence(ObjectMotion(target.points_m[-1:], target.fps, np.ones(1, bool)))
        given = _bend_to_target(given, last, held)
    found = _refine_sequence(given, held, motion.fps, prior, _Condition.of(prior, prompt, None))
    result = to_motion(_put_back(found, given, held), motion)
    assert isinstance(result, ObjectMotion)
    return result


@dataclass(frozen=True)
class _Condition:
    """Text embedding [E] and strength, NaN where not given."""

    text: Tensor
    strength: float

    @staticmethod
    def of(prior: MotionPrior, prompt: str | None, strength: float | None) -> _Condition:
        from kinema.optimize.text_encoder import default_text_encoder

        text = torch.full((prior.text.in_features,), torch.nan)
        if prompt and prompt.strip():
            text = default_text_encoder()([prompt])[0]
        return _Condition(text, torch.nan if strength is None else strength)


def fill_invalid(motion: BodyMotion) -> BodyMotion:
    """Frames that are not valid take the way between the valid ones beside them."""
    known = np.flatnonzero(motion.valid)
    if len(known) == len(motion):
        return motion
    if not len(known):
        raise InputError("BodyMotion.valid", "no frame is valid", expected="at least one")
    filled = to_motion(_between(to_sequence(motion), known), motion)
    assert isinstance(filled, BodyMotion)
    return filled


def _between(sequence: Sequence6d, known: np.ndarray) -> Sequence6d:
    places = np.interp(np.arange(len(sequence.channels)), known, np.arange(len(known)))
    return sequence.with_frames(sequence.channels[known], sequence.followers[known]).at(places)


def _held_frames(hold: Sequence[int] | None, frames: int) -> Tensor:
    held = torch.zeros(frames, dtype=torch.bool)
    for frame in hold or ():
        if not -frames <= frame < frames:
            raise InputError("hold", f"frame {frame} does not exist", expected=f"frames from {-frames} to {frames - 1}")
        held[frame] = True
    return held


def _target_sequence(target: BodyMotion, motion: BodyMotion) -> Sequence6d:
    if target.category != motion.category:
        raise InputError("target", f"is of {target.category} layout", expected=f"{motion.category}, as the motion")
    return to_sequence(target[-1:])


def _bend_to_target(given: Sequence6d, target: Sequence6d, held: Tensor) -> Sequence6d:
    """Put the target into the last frame and bend the way to it, from the held frame before at the earliest."""
    before = held[:-1].nonzero()
    start = max(len(held) - 1 - TARGET_REACH, int(before[-1]) if len(before) else 0, 0)
    weight = torch.zeros(len(held), 1)
    ramp = torch.linspace(0, 1, len(held) - start)[:, None]
    weight[start:] = ramp * ramp * (3 - 2 * ramp)
    return given.with_frames(
        given.channels + weight * (target.channels - given.channels[-1:]),
        given.followers + weight * (target.followers - given.followers[-1:]),
    )


def _refine_sequence(
    given: Sequence6d, held: Tensor, fps: float, prior: MotionPrior, condition: _Condition
) -> Sequence6d:
    """Run the prior at the rate it knows: every n-th frame of faster motion, in n phases that are averaged; slower
    motion with frames put in between."""
    frames = len(given.channels)
    skip, extra = max(1, round(fps / REFERENCE_FPS)), max(1, round(REFERENCE_FPS / fps))
    if skip == 1 and extra == 1:
        return _refine_windows(given, held, prior, condition)
    if extra > 1:
        fine = given.at(np.arange((frames - 1) * extra + 1) / extra)
        fine_held = torch.zeros(len(fine.channels), dtype=torch.bool)
        fine_held[::extra] = held
        found = _refine_windows(fine, fine_held, prior, condition)
        return found.with_frames(found.channels[::extra], found.followers[::extra])
    phases = []
    for phase in range(min(skip, frames)):
        part = given.with_frames(given.channels[phase::skip], given.followers[phase::skip])
        found = _refine_windows(part, held[phase::skip], prior, condition)
        phases.append(found.at((np.arange(frames) - phase) / skip))
    return given.with_frames(
        torch.stack([p.channels for p in phases]).mean(0), torch.stack([p.followers for p in phases]).mean(0)
    )


@torch.inference_mode()
def _refine_windows(given: Sequence6d, held: Tensor, prior: MotionPrior, condition: _Condition) -> Sequence6d:
    """Windows of 32 frames, stride 24, the overlap blended by a ramp."""
    frames = len(given.channels)
    starts = list(range(0, max(1, frames - WINDOW + 1), STRIDE))
    if starts[-1] + WINDOW < frames:
        starts.append(frames - WINDOW)
    size = min(WINDOW, frames)
    at = torch.tensor(starts)[:, None] + torch.arange(size)
    groups = channel_groups(given.category)
    total = torch.zeros_like(given.channels), torch.zeros_like(given.followers), torch.zeros(frames, 1)
    ramp = torch.minimum(torch.arange(size) + 1, torch.arange(size, 0, -1)).clamp(max=WINDOW - STRIDE).float()[:, None]
    for chunk in at.split(BATCH):
        channels, followers = given.channels[chunk], given.followers[chunk]
        frame = canonical_frame(channels, given.category)
        found = prior(
            frame.apply(channels, given.category),
            given.category,
            held[chunk],
            condition.text.expand(len(chunk), -1),
            torch.full((len(chunk),), condition.strength),
        )
        mended = frame.undo(found.channels, given.category)
        followed = point(found.maps, found.mix[:, :, given.groups], followers)
        for k, places in enumerate(chunk):
            total[0][places] += ramp * mended[k]
            total[1][places] += ramp * followed[k]
            total[2][places] += ramp
    assert len(groups) == given.channels.shape[1]
    return given.with_frames(total[0] / total[2], total[1] / total[2])


def _put_back(found: Sequence6d, given: Sequence6d, held: Tensor) -> Sequence6d:
    """Meet the held frames: what is left to them is spread over the frames around, so that the way stays smooth."""
    places = held.nonzero()[:, 0]
    if not len(places):
        return found
    away = (torch.arange(len(held))[:, None] - places[None]).abs().float()
    near = (1 - away / HOLD_REACH).clamp(min=0)
    weight = near * near * (3 - 2 * near)
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
    weight[places] = torch.eye(len(places))
    return found.with_frames(
        found.channels + weight @ (given.channels[places] - _proper(found)[0][places]),
        found.followers + weight @ (given.followers[places] - found.followers[places]),
    )


def _proper(sequence: Sequence6d) -> tuple[Tensor, Tensor]:
    """Channels with true rotations in them: what `to_motion` makes of averaged ones."""
    if sequence.category == "object":
        return sequence.channels, sequence.followers
    return pack(*unpack(sequence.channels)), sequence.followers


def _to_strength(
    found: Sequence6d, given: Sequence6d, held: Tensor, fps: float, prior: MotionPrior, condition: _Condition
) -> Sequence6d:
    """Make the way calmer or livelier between its ends until it measures as asked, and let the prior mend it once more.

    What is scaled is how far the way departs from the direct one between the held frames (both ends count as held, and
    one frame a window where none is): 0 is the direct way, as in the paper's figure 11.
    """
    category = found.category
    anchors = held.clone()
    anchors[[0, -1]] = True
    for frame in range(0, len(held), WINDOW):
        if not anchors[frame : frame + WINDOW].any():
            anchors[frame] = True
    direct = _between(found, anchors.nonzero()[:, 0].numpy())

    def livelier(factor: float) -> Sequence6d:
        return found.with_frames(
            direct.channels + factor * (found.channels - direct.channels),
            direct.followers + factor * (found.followers - direct.followers),
        )

    low, high = 0.0, 3.0
    for _ in range(12):
        factor = (low + high) / 2
        value = speed(_proper(livelier(factor))[0][None], category, fps)
        too_fast = strength_of_speed(value, prior.speeds(category)).item() > condition.strength
        low, high = (low, factor) if too_fast else (factor, high)
    scaled = _put_back(livelier((low + high) / 2), given, held)
    return _put_back(_refine_sequence(scaled, held, fps, prior, condition), given, held)
