"""Motion out of words, where a coarse video shows none to believe: matched in a small library (motion matching).

Input: where a subject is in the picture, a prompt, how lively. Output: a motion from there on. Of all places in the library
that one is taken whose pose, words and liveliness are nearest (Clavet, "Motion Matching", GDC 2016). The library: the
shipped captures and their mirror images for people, procedural gaits for animals, simulated solids for objects. ReVision
has nothing of the kind: there the backbone's coarse video is the only source.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from kinema.body.gaits import NAMES, gait
from kinema.body.object_tracks import KINDS, Track, simulate
from kinema.body.skeleton import BODY_JOINT_COUNT
from kinema.camera import project
from kinema.motion_io.capture import load_capture, mirrored_caption, mirrored_motion
from kinema.optimize.features import REFERENCE_FPS
from kinema.optimize.lengthen import lengthen, resample
from kinema.optimize.motion_strength import speed, strength_of_speed
from kinema.optimize.optimizer import refine, to_sequence
from kinema.optimize.perform import continued
from kinema.types import BodyMotion, Cameras, Category, ObjectMotion, Scene

CAPTURES = Path(__file__).parents[1] / "assets/world_motion/world_motion.npz"
LIBRARY_SECONDS, ANIMAL_SEEDS, OBJECT_SEEDS = 5.0, range(6), range(24)
START_EVERY = 4
"""Frames at `REFERENCE_FPS` from one place where a motion can begin to the next."""
WORDS_WEIGHT, STRENGTH_WEIGHT = 1.0, 0.5
"""What words that say something else cost, and a strength that is 1 off, in radians of the mean joint's angle."""
HEIGHT_WEIGHT, SIZE_WEIGHT = 1.0, 0.2
"""The same for objects: a metre more or less over the floor, and e times the size, beside words."""
PASSED_OVER = set(
    "a an the and then in on at of to over before with his her its is are from by up down again dog quadruped animal four "  # noqa: SIM905
    "legged person man woman boy girl".split()
)
"""Words that say nothing of what is done."""
LEAST_EXTENT_M = 0.01
TOUCHES_M = 0.15
"""Under this height over the floor an object lies on it."""


def scene_by_words(
    seen: Scene, mended: Scene, least_seen: float, strength: float | None = None, but: Collection[int] = ()
) -> tuple[Scene, dict[int, str]]:
    """The mended scene, in which subjects that were not seen enough do what the prompt says; and which do what instead.

    seen        what was extracted; a subject counts where it is valid in at least the share `least_seen` of the frames
    mended      the same from the first frame on, at any length and rate; has the prompt, and how lively things usually are
    strength    0-1, what was asked for: the motion is made just so lively
    but         subjects, by index, that stay as they are
    """
    subjects, doing, right = list(mended.subjects), {}, mended.cameras.T_camera_world[0, 0, :3]
    for index, subject in enumerate(subjects):
        if index in but or seen.subjects[index].motion.valid.mean() >= least_seen:
            continue
        motion = subject.motion
        if isinstance(motion, BodyMotion):
            lively = mended.motion_strength if strength is None else strength
            asked = (mended.prompt, lively, len(motion), motion.fps)
            moved, doing[index] = body_by_words(motion[:1], *asked)
            moved = refine(moved, mended.prompt or None, strength, hold=(0,))
        else:
            aside = way_aside(mended.prompt, _middle_px(motion, mended.cameras), mended.cameras.image_hw[1], right)
            moved, doing[index] = object_by_words(motion, mended.prompt, aside, len(motion.points_m), motion.fps)
        subjects[index] = replace(subject, motion=moved)
    return replace(mended, subjects=tuple(subjects)), doing


@dataclass(frozen=True)
class Window:
    """A piece of the library at `REFERENCE_FPS`: what it is in words, how lively 0-1, and how its first pose leans."""

    caption: str
    motion: BodyMotion
    strength: float
    up: Float[np.ndarray, " 3"]


@cache
def library(category: Category) -> tuple[tuple[str, BodyMotion], ...]:
    """What people, or animals, can do: captions and motions."""
    if category == "human":
        captured = [(caption, motion) for _, caption, motion in load_capture(CAPTURES)]
        return (*captured, *((mirrored_caption(c), mirrored_motion(m)) for c, m in captured))
    made = [gait(name, LIBRARY_SECONDS, REFERENCE_FPS, seed) for name in NAMES for seed in ANIMAL_SEEDS]
    return tuple((caption, motion) for motion, caption in made)


@cache
def windows(category: Category, frames: int) -> tuple[Window, ...]:
    """Every place where a motion of so many frames can begin; shorter clips are one window."""
    found = []
    for caption, motion in library(category):
        for start in range(0, max(1, len(motion) - frames + 1), START_EVERY):
            piece = motion[start : start + frames]
            found.append(Window(caption, piece, _strength(piece), _up(piece)))
    return tuple(found)


@cache
def tracks(frames: int, fps: float) -> tuple[Track, ...]:
    """What solids can do."""
    return tuple(simulate(kind, frames / fps, fps, seed) for kind in KINDS for seed in OBJECT_SEEDS)


def likeness(prompt: str, captions: Sequence[str]) -> Float[np.ndarray, " N"]:
    """How well a prompt says what each caption does, -1 to 1: the mean over its words of the nearest one of the prompt's.

    0 without a prompt.
    """
    from kinema.optimize.text_encoder import default_text_encoder

    asked, encode = _words(prompt), default_text_encoder()
    if not asked:
        return np.zeros(len(captions), np.float32)
    known = encode(asked)
    each = {text: (encode(_words(text)) @ known.T).amax(1).mean().item() for text in set(captions) if _words(text)}
    return np.array([each.get(text, 0.0) for text in captions], np.float32)


def body_by_words(
    pose: BodyMotion, prompt: str, strength: float | None, frames: int, fps: float
) -> tuple[BodyMotion, str]:
    """A motion of `frames` frames at `fps` that begins with the first pose given, and the caption of its source."""
    choice = windows(pose.category, int(np.ceil((frames - 1) / fps * REFERENCE_FPS)) + 1)
    cost = _turned_rad(pose, choice) - WORDS_WEIGHT * likeness(prompt, [w.caption for w in choice])
    if strength is not None:
        cost += [STRENGTH_WEIGHT * abs(window.strength - strength) for window in choice]
    best = choice[int(np.argmin(cost))]
    moved = resample(best.motion, fps=fps)
    moved = continued(pose, moved, np.arange(len(moved)))
    return lengthen(moved, frames) if len(moved) < frames else moved[:frames], best.caption


def object_by_words(
    still: ObjectMotion, prompt: str, aside: Float[np.ndarray, " 3"], frames: int, fps: float
) -> tuple[ObjectMotion, str]:
    """The first frame's object, moved as the likeliest simulated solid, and what that does in words.

    aside  unit vector in the world along the floor, the way to go
    """
    points = still.points_m[0]
    low, extent = float(points[:16, 1].min()), float(np.ptp(points[:16], axis=0).max())
    choice = tracks(frames, fps)
    above = np.array([_bottom(track) for track in choice])
    sizes = np.array([np.ptp(track.corners_m, axis=0).max() for track in choice])
    cost = HEIGHT_WEIGHT * np.abs(above - low) + SIZE_WEIGHT * np.abs(np.log(sizes / max(extent, LEAST_EXTENT_M)))
    best = int(np.argmin(cost - WORDS_WEIGHT * likeness(prompt, [track.doing for track in choice])))
    track = choice[best]
    path = track.place_m[:frames] - track.place_m[0]
    ahead = path[:, [0, 2]] @ _main_direction(path[:, [0, 2]])
    fall = low / above[best] if min(low, above[best]) > TOUCHES_M else 1.0
    moved = points + ahead[:, None, None] * aside + (fall * path[:, 1])[:, None, None] * np.array([0, 1.0, 0])
    return ObjectMotion(moved.astype(np.float32), fps, np.ones(frames, bool)), track.doing


def way_aside(prompt: str, at_px: float, width_px: int, right: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Unit vector along the floor to the picture's left or right: as the words say, else to where there is more room.

    right  the picture's right in the world
    """
    said = re.findall(r"\b(left|right)\b", prompt.lower())
    to_right = said[-1] == "right" if said else at_px < width_px / 2
    flat = right * [1, 0, 1] * (1 if to_right else -1)
    return flat / max(float(np.linalg.norm(flat)), 1e-9)


def _middle_px(motion: ObjectMotion, cameras: Cameras) -> float:
    """Where the first frame's middle is from the picture's left."""
    first = Cameras(cameras.K[:1], cameras.T_camera_world[:1], cameras.image_hw)
    return float(project(motion.points_m[:1, 20:], first)[0][0, 0, 0])


def _words(text: str) -> list[str]:
    return [w for w in re.findall(r"[a-z]+", text.lower()) if w not in PASSED_OVER]


def _turned_rad(pose: BodyMotion, choice: Sequence[Window]) -> Float[np.ndarray, " N"]:
    """Mean angle between the joints of the pose and of each window's first, headings apart: of the root only how it leans
    counts."""
    count = BODY_JOINT_COUNT if pose.category == "human" else pose.rotvec.shape[1]
    own = Rotation.from_rotvec(np.tile(pose.rotvec[0, 1:count], (len(choice), 1)))
    other = Rotation.from_rotvec(np.concatenate([window.motion.rotvec[0, 1:count] for window in choice]))
    lean = np.arccos(np.clip(np.stack([window.up for window in choice]) @ _up(pose), -1, 1))
    turned = (own.inv() * other).magnitude().reshape(len(choice), -1)
    return np.concatenate([turned, lean[:, None]], 1).mean(1)


def _up(motion: BodyMotion) -> Float[np.ndarray, " 3"]:
    """The world's up as the root of the first frame sees it."""
    return Rotation.from_rotvec(motion.rotvec[0, 0]).inv().apply([0, 1, 0])


def _strength(motion: BodyMotion) -> float:
    from kinema.checkpoints import shipped_prior

    sequence = to_sequence(motion)
    value = speed(sequence.channels[None], sequence.category, motion.fps)
    return float(strength_of_speed(value, shipped_prior().speeds(sequence.category)).item())


def _bottom(track: Track) -> float:
    """Height of the lowest corner over the floor at the start, metres."""
    return float((track.turn[0].apply(track.corners_m) + track.place_m[0])[:, 1].min())


def _main_direction(path: Float[np.ndarray, "T 2"]) -> Float[np.ndarray, " 2"]:
    """Unit vector from the start towards the farthest point."""
    far = path[np.linalg.norm(path, axis=1).argmax()]
    return far / max(float(np.linalg.norm(far)), 1e-9)
