"""Hand-keyed animations of other quadrupeds, moved onto the built-in one.

Input: an npz of clips of one animal (rotations from its own rest pose in world-aligned frames). Output: `BodyMotion`s
on the floor and their captions. Trunk, neck and tail take over the source's global rotations; paws go where its paws
go, to scale, and the legs follow by inverse kinematics, so that a planted paw stays planted. Walks in place get the
steady speed forward that their standing paws call for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from kinema.body.quadruped import (
    BONES_M,
    LEGS,
    REST_FEET_M,
    REST_JOINTS_M,
    bend_leg,
    leg_reach_m,
    rotation_x,
    to_motion,
    trunk_kinematics,
)
from kinema.body.skeleton import ANIMAL_JOINTS, ANIMAL_PARENTS
from kinema.errors import InputError
from kinema.geometry import project_to_rotmat, rot6d_to_rotmat
from kinema.types import BodyMotion

_KEYS = ("rot6d", "trans", "start", "fps", "name", "caption", "joints", "parents", "rest_offsets", "rest_height")

FOX_NAMES: dict[str, tuple[str, ...]] = {
    "pelvis": ("Hips",), "pelvis0": ("Hips",), "spine": ("Spine_1",), "spine0": ("Spine_1", "Spine_2"),
    "spine1": ("Spine_2",), "spine2": ("Spine_2", "Spine_2.001"), "spine3": ("Spine_2.001",),
    "neck": ("Spine_3", "Spine_4"), "head": ("Head",), "mouth": ("Chin",), "left_ear": ("Ear_L",),
    "right_ear": ("Ear_R",), "tail1": ("Tail_Base",), "tail2": ("Tail_Base", "Tail_Mid"), "tail3": ("Tail_Mid",),
    "tail4": ("Tail_Mid.001",), "tail5": ("Tail_Mid.001", "Tail_End"), "tail6": ("Tail_End",),
    "tail7": ("Tail_Tip",),
    **{f"{side}_{end}": (f"{bone}_{letter}",) for side, letter in (("left", "L"), ("right", "R"))
       for end, bone in {
           "front_leg1": "Front_Leg_Upper", "front_leg2": "Front_Leg_Lower", "front_leg3": "Front_Leg_Ankle",
           "front_foot": "Front_Leg_Foot", "hind_leg1": "Back_Leg_Upper", "hind_leg2": "Back_Leg_Lower",
           "hind_leg3": "Back_Leg_Ankle", "hind_foot": "Back_Leg_Foot"}.items()},
}  # fmt: skip
HORSE_NAMES: dict[str, tuple[str, ...]] = {
    "pelvis": ("hips",), "pelvis0": ("hips",), "spine": ("spine_1",), "spine0": ("spine_2",),
    "spine1": ("spine_2", "spine_3"), "spine2": ("spine_3",), "spine3": ("spine_4",), "neck": ("spine_5", "spine_6"),
    "head": ("head",), "mouth": ("mouth",), "left_ear": ("ear_1_l",), "right_ear": ("ear_1_r",),
    "tail1": ("tail_1",), "tail2": ("tail_1", "tail_2"), "tail3": ("tail_2",), "tail4": ("tail_2", "tail_3"),
    "tail5": ("tail_3",), "tail6": ("tail_3", "tail_4"), "tail7": ("tail_4",),
    **{f"{side}_{end}": (f"{bone}_{letter}",) for side, letter in (("left", "l"), ("right", "r"))
       for end, bone in {
           "front_leg1": "front_humerus", "front_leg2": "front_leg_upper", "front_leg3": "front_leg_lower",
           "front_foot": "front_leg_ankle", "hind_leg1": "back_leg_upper", "hind_leg2": "back_leg_lower",
           "hind_leg3": "back_leg_ankle", "hind_foot": "back_leg_foot"}.items()},
}  # fmt: skip
"""Our joint -> the source's joints whose mean rotation it takes (joints of the same place in the body)."""

_PHRASES = {
    "bark": "barks", "bite": "bites", "death": "falls over dead", "fall": "falls through the air",
    "fetch": "crouches to fetch", "howl": "sits and howls", "idle": "stands still", "idle alert": "stands alert",
    "jump": "jumps high", "run": "runs", "sit": "sits", "sneak": "sneaks", "walk": "walks",
    "eating": "lowers its head and eats", "head but": "butts with its head", "kick": "kicks with its hind legs",
    "lay to idle": "gets up from lying down", "rear": "rears up", "sleep": "lies asleep", "trot": "trots",
    "turn left": "steps around to the left", "turn right": "steps around to the right",
}  # fmt: skip

_STANDING_M = 0.02
"""A paw no higher than this above its rest height carries weight: its leg must reach it."""
_MOST_LOWERED_M = 0.06
"""How far a whole clip is let down for the sake of legs that are straighter in the source than ours get."""
_LYING_M = 0.02
"""The least height of a joint above the floor."""
_STANDING_SHARE = 0.15
"""In a walk in place a paw stands while it is this low between the lowest and the highest it gets."""


@dataclass(frozen=True)
class _Source:
    """One clip of the other animal: global rotations from rest [T,J,3,3], joints at rest [J,3] and moving [T,J,3]."""

    names: list[str]
    glob: np.ndarray
    rest: np.ndarray
    joints: np.ndarray

    def rotation(self, names: tuple[str, ...]) -> np.ndarray:
        picked = self.glob[:, [self.names.index(n) for n in names]]
        return picked[:, 0] if len(names) == 1 else project_to_rotmat(picked.mean(1))

    def moved(self, name: str) -> np.ndarray:
        """[T,3] how far a joint is from its rest place."""
        joint = self.names.index(name)
        return self.joints[:, joint] - self.rest[joint]

    def direction(self, name: str, towards: str) -> np.ndarray:
        return self.rest[self.names.index(towards)] - self.rest[self.names.index(name)]


def load_quadruped_clips(path: str | Path, least_frames: int = 64) -> list[tuple[BodyMotion, str]]:
    """All clips of a file, at its own rate. Raises InputError where the file isn't of this kind.

    Clips that close on themselves are repeated up to `least_frames`; others hold their last pose that long.
    """
    clips = _read(path)
    names = [str(n) for n in clips["joints"]]
    mapping = next((m for m in (FOX_NAMES, HORSE_NAMES) if {n for ns in m.values() for n in ns} <= set(names)), None)
    if mapping is None:
        raise InputError(path, "its joints are of no known animal", expected="those of the fox or of the horse")
    found = []
    for k, caption in enumerate(clips["caption"]):
        frames = slice(int(clips["start"][k]), int(clips["start"][k + 1]))
        rot6d, trans = _repeat(clips["rot6d"][frames].astype(float), clips["trans"][frames].astype(float), least_frames)
        source = _move(clips, names, rot6d, trans)
        local, root_m = _retarget(source, mapping, _scale(clips), float(clips["fps"]))
        root_m[:, [0, 2]] -= root_m[0, [0, 2]]
        animal, _, what = str(caption).partition(": ")
        found.append((to_motion(local, root_m, float(clips["fps"])), f"a {animal} {_PHRASES.get(what, what)}"))
    return found


def _read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of `_KEYS`, checked."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in _KEYS if key not in file]
            if missing:
                raise InputError(path, f"lacks {', '.join(missing)}", expected=f"an npz with {', '.join(_KEYS)}")
            clips = {key: file[key] for key in _KEYS}
    except FileNotFoundError as error:
        raise InputError(path, "no such file") from error
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, f"cannot be read ({error})", expected="an npz of animal clips") from error
    frames, joints = len(clips["trans"]), len(clips["joints"])
    if clips["rot6d"].shape != (frames, joints, 6) or int(clips["start"][-1]) != frames:
        raise InputError(path, f"rot6d has shape {clips['rot6d'].shape}", expected=f"({frames}, {joints}, 6)")
    return clips


def _scale(clips: dict[str, np.ndarray]) -> float:
    """The source's units to metres of the built-in quadruped: equal height of the pelvis."""
    return float(REST_JOINTS_M[0, 1] / clips["rest_height"])


def _repeat(rot6d: np.ndarray, trans: np.ndarray, least_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """At least so many frames: by repeating a clip that closes on itself, else by holding its last pose.

    A cycle seldom takes a whole number of frames: how far the last frame is from the first, over the usual step,
    says what is left of it.
    """
    frames = len(trans)
    if frames >= least_frames:
        return rot6d, trans
    usual = np.median(np.abs(np.diff(rot6d, axis=0)).mean((1, 2)))
    rest = np.abs(rot6d[-1] - rot6d[0]).mean() / max(usual, 1e-6)
    if rest > 1.5:
        hold = np.minimum(np.arange(least_frames), frames - 1)
        return rot6d[hold], trans[hold]
    knots = np.append(np.arange(frames, dtype=float), frames - 1 + min(rest, 1.0))
    phase = np.arange(least_frames) % max(knots[-1], 1.0)
    flat = np.concatenate([rot6d.reshape(frames, -1), trans], 1)
    flat = np.concatenate([flat, flat[:1]])
    looped = np.stack([np.interp(phase, knots, column) for column in flat.T], -1)
    return looped[:, :-3].reshape(least_frames, *rot6d.shape[1:]), looped[:, -3:]


def _move(clips: dict[str, np.ndarray], names: list[str], rot6d: np.ndarray, trans: np.ndarray) -> _Source:
    """Forward kinematics of the source's own skeleton, in its own units."""
    glob = rot6d_to_rotmat(rot6d).copy()
    offsets, parents = clips["rest_offsets"].astype(float), clips["parents"]
    joints = np.repeat(trans[:, None], len(names), 1)
    rest = np.tile([0.0, float(clips["rest_height"]), 0.0], (len(names), 1))
    for k, parent in enumerate(parents):
        if parent >= 0:
            joints[:, k] = joints[:, parent] + glob[:, parent] @ offsets[k]
            glob[:, k] = glob[:, parent] @ glob[:, k]
            rest[k] = rest[parent] + offsets[k]
    return _Source(names, glob, rest, joints)


def _retarget(
    source: _Source, mapping: dict[str, tuple[str, ...]], scale: float, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """-> local rotations [T,35,3,3] and pelvis positions [T,3] of the built-in quadruped."""
    want = {joint: source.rotation(mapping[name]) for joint, name in enumerate(ANIMAL_JOINTS)}
    _align_bones(want, source, mapping)
    root_m = REST_JOINTS_M[0] + scale * source.moved(mapping["pelvis"][0])
    feet_m = np.stack([REST_FEET_M[k] + scale * source.moved(mapping[ANIMAL_JOINTS[leg.foot]][0])
                       for k, leg in enumerate(LEGS)], 1)  # fmt: skip
    feet_m[..., 1] = np.maximum(feet_m[..., 1], 0.6 * REST_FEET_M[0, 1])

    local = np.stack([want[0]] + [np.swapaxes(want[int(p)], -1, -2) @ want[j]
                                  for j, p in enumerate(ANIMAL_PARENTS) if p >= 0], 1)  # fmt: skip
    glob, joints = trunk_kinematics(local, root_m)
    lower_joints = [feet_m[:, k] - want[leg.lower] @ BONES_M[leg.foot] for k, leg in enumerate(LEGS)]
    lowered = 0.0
    for k, (leg, lower_m) in enumerate(zip(LEGS, lower_joints, strict=True)):
        away = lower_m - joints[:, leg.upper]
        allowed = np.sqrt(np.maximum((0.98 * leg_reach_m(leg)) ** 2 - away[:, 0] ** 2 - away[:, 2] ** 2, 0))
        standing = feet_m[:, k, 1] < REST_FEET_M[k, 1] + _STANDING_M
        lowered = max(lowered, float(np.max(np.where(standing, -away[:, 1] - allowed, 0))))
    root_m[:, 1] -= min(lowered, _MOST_LOWERED_M)
    joints[..., 1] -= min(lowered, _MOST_LOWERED_M)
    for leg, lower_m in zip(LEGS, lower_joints, strict=True):
        above = glob[:, ANIMAL_PARENTS[leg.upper]]
        bend_leg(leg, local, above, joints[:, leg.upper], lower_m, want[leg.lower])
        local[:, leg.foot] = np.swapaxes(want[leg.lower], -1, -2) @ want[leg.foot]
    return local, _above_floor(_over_ground(root_m, feet_m, fps), local)


def _align_bones(want: dict[int, np.ndarray], source: _Source, mapping: dict[str, tuple[str, ...]]) -> None:
    """Neck and tail take the direction of the source's bones, not only how far they turned from its rest pose."""
    pairs = [("neck", "head")] + [(f"tail{k}", f"tail{k + 1}") for k in range(1, 7)]
    angle = 0.0
    for name, child in pairs:
        joint = ANIMAL_JOINTS.index(name)
        theirs = source.direction(mapping[name][0], mapping[child][-1])
        ours = BONES_M[ANIMAL_JOINTS.index(child)]
        angle = np.arctan2(ours[1], ours[2]) - np.arctan2(theirs[1], theirs[2])
        want[joint] = want[joint] @ rotation_x(angle)
    want[ANIMAL_JOINTS.index("tail7")] = want[ANIMAL_JOINTS.index("tail7")] @ rotation_x(angle)


def _over_ground(root_m: np.ndarray, feet_m: Float[np.ndarray, "T 4 3"], fps: float) -> np.ndarray:
    """Undo walking in place: the pelvis [T,3] at the steady forward speed that holds standing paws still.

    Nothing is added where standing paws are still already.
    """
    speed = np.diff(feet_m, axis=0) * fps
    height = (feet_m[1:, :, 1] + feet_m[:-1, :, 1]) / 2
    low, high = feet_m[..., 1].min(0), feet_m[..., 1].max(0)
    stands = height < low + np.maximum(_STANDING_SHARE * (high - low), 1e-3)
    backwards = -float(np.median(speed[stands][:, 2])) if stands.any() else 0.0
    if backwards < 0.2:
        return root_m
    return root_m + np.arange(len(root_m))[:, None] / fps * [0.0, 0.0, backwards]


def _above_floor(root_m: np.ndarray, local: np.ndarray) -> np.ndarray:
    """The pelvis [T,3] raised where a joint of an animal that lies would be in the ground, smoothly over time."""
    _, joints = trunk_kinematics(local, root_m)
    sunk = np.maximum(_LYING_M - joints[..., 1].min(1), 0)
    widest = maximum_filter1d(sunk, 9, mode="nearest")
    return root_m + uniform_filter1d(widest, 9, mode="nearest")[:, None] * [0.0, 1.0, 0.0]
