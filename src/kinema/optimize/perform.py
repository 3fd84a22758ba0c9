"""Motions from elsewhere on the subjects of a scene (ReVision, section 5.2: human image animation).

Input: a scene of one frame, and motions. Output: the scene over the motions' length, in which its subjects do them, each on
its own body, from where it stands, with its feet where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from kinema.body.model import joints
from kinema.camera import project
from kinema.errors import InputError
from kinema.optimize.lengthen import resample
from kinema.optimize.retarget import retarget
from kinema.optimize.retime import stretch_scene
from kinema.types import BodyMotion, Scene, Subject

EASE_S = 0.3
"""How long the way from the picture's pose into the motion takes."""
STANDING_QUANTILE = 0.1
"""Of the lowest joint's height over a clip: where the motion's floor is, also where it jumps."""


@dataclass(frozen=True)
class Cue:
    """A motion, and who is to do it: the subject of this number, counted from the left from 0 among people and animals;
    or else the one of its kind that stands where `across` says, as a share of the picture's width; or else the first."""

    motion: BodyMotion
    across: float | None = None
    subject: int | None = None


def perform(still: Scene, cues: Sequence[Cue], fps: float) -> Scene:
    """The scene of one frame, in which subjects do what their cues say; the others keep still.

    They keep their own shape, place and heading; the first pose is the picture's. Raises InputError where nobody is of a
    motion's kind, or the subject named is of another.
    """
    chosen = cast(still, cues)
    moved = {index: resample(cues[k].motion, fps=fps) for k, index in chosen.items()}
    frames = max(len(motion) for motion in moved.values())
    scene = stretch_scene(still, frames, fps)
    own = list(scene.subjects)
    for index, motion in moved.items():
        pose = still.subjects[index].motion
        assert isinstance(pose, BodyMotion)
        last = np.minimum(np.arange(frames), len(motion) - 1)
        own[index] = replace(own[index], motion=continued(pose, motion, last))
    return replace(scene, subjects=tuple(own))


def cast(still: Scene, cues: Sequence[Cue]) -> dict[int, int]:
    """{cue: index of the subject that does it}; a cue for which nobody is left is not there. Raises as `perform` does."""
    ordered = from_left(still)
    chosen: dict[int, int] = {}
    for k, cue in enumerate(cues):
        if cue.subject is not None:
            chosen[k] = _named(still, ordered, cue)
    if len(set(chosen.values())) < len(chosen):
        raise InputError("subject", "is named by two motions", "one motion a subject")
    for kind in ("human", "animal"):
        wanted = [k for k, cue in enumerate(cues) if cue.subject is None and cue.motion.category == kind]
        free = [i for i in ordered if _category(still.subjects[i]) == kind and i not in chosen.values()]
        if not wanted or not free:
            continue
        apart = np.array([[_apart(still, cues[k], i) for i in free] for k in wanted])
        rows, columns = linear_sum_assignment(apart)
        chosen |= {wanted[r]: free[c] for r, c in zip(rows, columns, strict=True)}
    if not chosen:
        kind = cues[0].motion.category
        raise InputError("motion", f"is of a {kind}", mend=f"give a picture that shows a {kind}")
    return chosen


def from_left(scene: Scene) -> list[int]:
    """Indices of the people and animals as they stand in the first frame, from left to right."""
    bodies = [i for i, s in enumerate(scene.subjects) if isinstance(s.motion, BodyMotion)]
    return sorted(bodies, key=lambda i: across(scene, i))


def across(scene: Scene, index: int) -> float:
    """Where a body is seen when it is first, as a share of the picture's width from the left."""
    motion = scene.subjects[index].motion
    assert isinstance(motion, BodyMotion)
    t = int(np.argmax(motion.valid))
    cameras = replace(
        scene.cameras, K=scene.cameras.K[t : t + 1], T_camera_world=scene.cameras.T_camera_world[t : t + 1]
    )
    pixels, _ = project(motion.root_translation_m[t : t + 1, None], cameras)
    return float(pixels[0, 0, 0]) / scene.cameras.image_hw[1]


def _named(still: Scene, ordered: list[int], cue: Cue) -> int:
    assert cue.subject is not None
    if not 0 <= cue.subject < len(ordered):
        raise InputError(
            "subject", f"{cue.subject + 1} is not in the picture", f"1 to {len(ordered)}, counted from the left"
        )
    index = ordered[cue.subject]
    kind = _category(still.subjects[index])
    if kind != cue.motion.category:
        raise InputError("motion", f"is of a {cue.motion.category}, subject {cue.subject + 1} of the picture a {kind}")
    return index


def _apart(still: Scene, cue: Cue, index: int) -> float:
    """By how much a subject stands elsewhere than the cue's; where that doesn't say, those seen first go first."""
    return index if cue.across is None else abs(cue.across - across(still, index))


def _category(subject: Subject) -> str:
    return subject.motion.category if isinstance(subject.motion, BodyMotion) else "object"


def continued(pose: BodyMotion, motion: BodyMotion, frames: np.ndarray) -> BodyMotion:
    """Some frames of the motion on the pose's body, from where it stands, turned to face where it does, on its floor;
    frame 0 is the pose, and those after go over from it."""
    motion = retarget(motion, pose.betas)
    floor, standing = float(np.quantile(_lowest(motion), STANDING_QUANTILE)), float(_lowest(pose)[0])

    def heading(rotvec: np.ndarray) -> float:
        front = Rotation.from_rotvec(rotvec).apply([0, 0, 1])
        return float(np.arctan2(front[0], front[2]))

    turn = Rotation.from_rotvec([0, heading(pose.rotvec[0, 0]) - heading(motion.rotvec[0, 0]), 0])
    rotvec = motion.rotvec[frames].copy()
    rotvec[:, 0] = (turn * Rotation.from_rotvec(rotvec[:, 0])).as_rotvec()
    root = turn.apply(motion.root_translation_m - motion.root_translation_m[0])[frames] + pose.root_translation_m[0]
    root[:, 1] = motion.root_translation_m[frames, 1] - floor + standing
    share = np.clip(np.arange(len(frames)) / max(1, round(EASE_S * motion.fps)), 0, 1)
    share = share * share * (3 - 2 * share)
    root[:, 1] = pose.root_translation_m[0, 1] * (1 - share) + root[:, 1] * share
    return BodyMotion(
        motion.category, _gone_over(pose.rotvec[0], rotvec, share).astype(np.float32), root.astype(np.float32),
        pose.betas, motion.fps, motion.expression[frames],
    )  # fmt: skip


def _lowest(motion: BodyMotion) -> Float[np.ndarray, " T"]:
    """[T] height of the lowest joint, metres."""
    return joints(motion)[..., 1].min(1)


def _gone_over(pose: np.ndarray, rotvec: np.ndarray, share: np.ndarray) -> np.ndarray:
    """[T,J,3] rotations, those of a share below 1 on the way from the pose's [J,3]."""
    mixed, own = rotvec.copy(), Rotation.from_rotvec(pose)
    for t in np.flatnonzero(share < 1):
        way = (own.inv() * Rotation.from_rotvec(rotvec[t])).as_rotvec()
        mixed[t] = (own * Rotation.from_rotvec(share[t] * way)).as_rotvec() if share[t] else pose
    return mixed
