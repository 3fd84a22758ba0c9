"""Who moves in a clip: people driven by motion capture, dogs by procedural gaits, solids by simulation.

Input: a random generator and sources of motion. Output: `Actor`s on the floor around the origin, at the world's rate.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from kinema.body.gaits import GAITS, gait
from kinema.body.model import joints, load_body
from kinema.body.object_tracks import ball, box, simulate
from kinema.body.quadruped_acts import ACTS
from kinema.body.skeleton import BODY_JOINT_COUNT, PART_IDS
from kinema.body.skinning import SkinnedBody
from kinema.motion_io.capture import mirrored_caption, mirrored_motion
from kinema.types import BodyMotion
from kinema.world.looks import Look, animal_look, human_look, object_look

HumanLook = Callable[[np.random.Generator, np.ndarray], Look]
"""Clothes for a body of these betas."""
ObjectLook = Callable[[np.random.Generator, str], Look]
"""Colours for a thing, named with its article."""
FPS = 8.0
"""Of every clip, Hz; motion sources are kept at twice that, so that windows can start on half frames."""
OBJECT_KINDS = (
    "ball bounces", "ball rolls", "ball thrown", "can rolls", "box slides", "box drops", "box topples", "tool swings",
    "stick thrown", "pendulum", "car drives",
)  # fmt: skip
ANIMAL_ACTS = (*GAITS, *ACTS)
LEAST_SOLID_M = 0.22
"""Smaller solids are made this large: at the world's sizes they would be a few pixels."""
FASTEST_SOLID_M = 2.2
"""Longest path of a solid over a clip; longer ones are slowed down, so that the camera need not stand far away."""


@dataclass(frozen=True)
class Actor:
    """One subject before the camera. V vertices, N corners of a solid (an object's only).

    motion      of a body; None for an object
    vertices    [T,V,3] world metres      rest  [V,3] where they are at rest
    corners_m   [T,N,3] of a convex solid in the world
    """

    label: str
    look: Look
    doing: str
    vertices: np.ndarray
    faces: np.ndarray
    vertex_parts: np.ndarray
    rest: np.ndarray
    motion: BodyMotion | None = None
    joints_m: np.ndarray | None = None
    corners_m: np.ndarray | None = None

    def moved(self, offset_m: np.ndarray) -> Actor:
        """The same, shifted in the world."""
        offset = offset_m.astype(np.float32)
        return replace(
            self,
            vertices=self.vertices + offset,
            motion=self.motion and replace(self.motion, root_translation_m=self.motion.root_translation_m + offset),
            joints_m=None if self.joints_m is None else self.joints_m + offset,
            corners_m=None if self.corners_m is None else self.corners_m + offset,
        )


def turned(motion: BodyMotion, heading_rad: float) -> BodyMotion:
    """The motion turned about the vertical through the origin."""
    turn = Rotation.from_rotvec([0, heading_rad, 0])
    rotvec = motion.rotvec.copy()
    rotvec[:, 0] = (turn * Rotation.from_rotvec(motion.rotvec[:, 0])).as_rotvec()
    return replace(motion, rotvec=rotvec, root_translation_m=turn.apply(motion.root_translation_m).astype(np.float32))


def human(
    rng: np.random.Generator, clips: list[tuple[str, BodyMotion]], frames: int, dress: HumanLook = human_look
) -> Actor:
    """A person of random shape and dress who does what a capture did; clips are at 2 x `FPS`."""
    lengths = np.array([max(len(m) - 2 * frames + 1, 0) for _, m in clips], float)
    caption, motion = clips[rng.choice(len(clips), p=lengths / lengths.sum())]
    first = rng.integers(0, len(motion) - 2 * frames + 1)
    window = motion[slice(first, first + 2 * frames, 2)]
    if rng.random() < 0.5:
        window, caption = mirrored_motion(window), mirrored_caption(caption)
    betas = np.clip(rng.normal(0, 0.9, 10), -2, 2).astype(np.float32)
    look = dress(rng, betas)
    return grounded(replace(window, betas=betas, fps=FPS), "a person", look, caption, rng)


def animal(rng: np.random.Generator, frames: int) -> Actor:
    """A dog of random shape and fur in a procedural gait or act."""
    name = ANIMAL_ACTS[rng.integers(len(ANIMAL_ACTS))]
    motion, doing = gait(name, (frames + 1) / FPS, FPS, int(rng.integers(1 << 30)))
    betas = np.clip(rng.normal(0, 0.7, 13), -1.5, 1.5).astype(np.float32)
    look = animal_look(rng)
    return grounded(replace(motion[:frames], betas=betas), "a dog", look, re.sub("^a (dog|quadruped) ", "", doing), rng)


def solid(
    rng: np.random.Generator,
    frames: int,
    dress: ObjectLook = object_look,
    kinds: tuple[str, ...] = OBJECT_KINDS,
    parted: Callable[[str], tuple[str, str]] | None = None,
) -> Actor:
    """A ball, box, can, tool or stick, simulated."""
    kind = kinds[rng.integers(len(kinds))]
    track = simulate(kind, (frames + 1) / FPS, FPS, int(rng.integers(1 << 30)))
    heading = Rotation.from_rotvec([0, rng.uniform(0, 2 * np.pi), 0])
    extent = float(np.ptp(track.corners_m, axis=0).max())
    path = float(np.linalg.norm(np.ptp(track.place_m[:frames, [0, 2]], axis=0)))
    grow, slow = max(1.0, LEAST_SOLID_M / extent), min(1.0, FASTEST_SOLID_M / max(path, 1e-6))
    place = track.place_m * [slow, 1, slow]
    place[:, 1] += (grow - 1) * extent / 2
    corners = track._replace(corners_m=track.corners_m * grow, place_m=place).solid(heading)[:frames]
    name, doing = (parted or _parted)(track.doing)
    return _solid(name, dress(rng, name), doing, track.corners_m * grow, corners)


def held_solid(rng: np.random.Generator, holder: Actor, dress: ObjectLook = object_look) -> Actor:
    """A ball or stick in a person's hand."""
    assert holder.motion is not None
    assert holder.joints_m is not None
    hand, elbow = (20, 18) if rng.random() < 0.5 else (21, 19)
    along = holder.joints_m[:, hand] - holder.joints_m[:, elbow]
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    if rng.random() < 0.6:
        corners, name = ball(rng.uniform(0.1, 0.16)), "a ball"
        frames = np.tile(corners, (len(along), 1, 1)) + (holder.joints_m[:, hand] + 0.18 * along)[:, None]
    else:
        length = rng.uniform(0.4, 0.7)
        corners, name = box(np.array([0.07, length, 0.07])), "a stick"
        side = np.cross(along, [0.0, 1.0, 0.01])
        side /= np.linalg.norm(side, axis=-1, keepdims=True)
        axes = np.stack([side, along, np.cross(side, along)], -1)
        frames = corners @ axes.transpose(0, 2, 1) + (holder.joints_m[:, hand] + (0.1 + length / 2) * along)[:, None]
    return _solid(name, dress(rng, name), "is carried", corners, frames)


def grounded(motion: BodyMotion, label: str, look: Look, doing: str, rng: np.random.Generator) -> Actor:
    """A body that does a motion in a random heading, its middle above the origin, its lowest point on the floor."""
    motion = turned(motion, rng.uniform(0, 2 * np.pi))
    actor = embodied(motion, label, look, doing)
    middle = motion.root_translation_m.mean(0)
    lowest = float(actor.vertices[..., 1].min())
    return actor.moved(-np.array([middle[0], lowest, middle[2]], np.float32))


def embodied(motion: BodyMotion, label: str, look: Look, doing: str) -> Actor:
    """A body where the motion has it."""
    body = load_low_body(motion.category)
    count = BODY_JOINT_COUNT if motion.category == "human" else 35
    rest = body.rest_vertices(motion.betas)
    if motion.category == "human":
        rest = rest - body.rest_joints(motion.betas)[15] + HEAD_AT_M
    return Actor(
        label,
        look,
        doing,
        body.vertices(motion),
        body.faces,
        body.vertex_parts,
        rest,
        motion,
        joints(motion, body)[:, :count],
    )


HEAD_AT_M = np.array([0.0, 0.5, 0.0], np.float32)
"""Rest places of people are shifted so that the head joint is here: the hairline does not go by stature."""
_BODIES: dict[str, SkinnedBody] = {}


def load_low_body(category) -> SkinnedBody:
    """The built-in low-polygon body, read once."""
    if category not in _BODIES:
        body = load_body(category, detail="low")
        assert isinstance(body, SkinnedBody)
        _BODIES[category] = body
    return _BODIES[category]


def _solid(name: str, look: Look, doing: str, rest: np.ndarray, corners: np.ndarray) -> Actor:
    faces = hull_faces(rest)
    parts = np.full(len(rest), PART_IDS["object"], np.uint8)
    vertices = corners.astype(np.float32)
    return Actor(name, look, doing, vertices, faces, parts, rest.astype(np.float32), corners_m=corners)


def hull_faces(points_m: np.ndarray) -> np.ndarray:
    """[F,3] triangles of the convex hull of points [N,3], counter-clockwise from outside."""
    hull = ConvexHull(points_m)
    faces = hull.simplices.astype(np.int32)
    a, b, c = (points_m[faces[:, k]] for k in range(3))
    inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), hull.equations[:, :3]) < 0
    faces[inward] = faces[inward][:, ::-1]
    return faces


def _parted(sentence: str) -> tuple[str, str]:
    """'a can rolls along' -> 'a can', 'rolls along'. Some are parted oddly ("a tenn"): trained models know them so."""
    verb = _verb(sentence)
    name, _, doing = sentence.partition(verb)
    return name.strip(), f"{verb}{doing}".strip()


def _verb(doing: str) -> str:
    """The verb's place in 'a rubber ball falls and bounces'."""
    verbs = ("falls", "rolls", "is ", "slides", "drops", "topples", "swings", "drives", "tips", "lies", "hangs")
    return next((v for v in verbs if f" {v}" in doing), doing.split()[-1])
