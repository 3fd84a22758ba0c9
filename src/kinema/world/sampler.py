"""The procedural world: a seed in, a short clip with full truth out (`WorldClip`).

People, dogs and things before procedural or photographed backdrops, seen by a camera that stands still, pans or zooms.
Training and test worlds differ in capture subjects (the file given), textures and seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from kinema.body.object_tracks import seen_points
from kinema.camera import FIELD_OF_VIEW_RAD, project
from kinema.errors import InputError
from kinema.motion_io.capture import load_capture
from kinema.optimize.lengthen import resample
from kinema.render.raster_kernels import vertex_normals
from kinema.render.rasterizer import Mesh, Surface, rasterize_surface
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject, Video
from kinema.world.actors import FPS, Actor, animal, held_solid, human, solid
from kinema.world.backdrops import backdrop, load_photographs
from kinema.world.clip import WorldClip
from kinema.world.paint_kernels import paint
from kinema.world.places import wide_backdrop
from kinema.world.wide import RIDES, cast

Split = Literal["train", "test"]
SPLIT_SEEDS = {"train": 0, "test": 1 << 40}
"""Added to every seed, so that no look, texture or place of the test world is one of the training world."""
BACKDROPS = 600
"""How many backdrops a world has; they are made when first seen."""
WIDE_BACKDROPS = 1 << 30
"""Of a wide world; it keeps none."""
FILL = 0.92
"""How much of the picture, from its middle, the subjects may take."""
LEAST_EXTENT = 0.4
"""A person or dog in the lead is at least this share of the picture high or wide; else another one is drawn."""
MOST_TRIES = 12
FARTHEST_M = 60.0
"""The camera goes no further away than this, in steps of 8 %, until it sees all."""
USUAL_FRAMES = 16
STILL = np.eye(3, dtype=np.float32)


@dataclass(frozen=True)
class World:
    """Sources of motion and of backdrops.

    clips    (caption, motion at 2 x 8 fps)
    wide     more animals, robots, riders and places, all told by short captions (`kinema.world.wide`)
    without  of a wide world: names that no subject bears ("a zebra"); only: names of which the first bears one
    """

    clips: list[tuple[str, BodyMotion]]
    photographs: list[tuple[str, np.ndarray]]
    split: Split
    wide: bool = False
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    backdrops: dict[tuple[int, int], tuple[np.ndarray, str]] = field(default_factory=dict)

    @staticmethod
    def load(
        capture: Path | None = None,
        photographs: Path | None = None,
        split: Split = "train",
        wide: bool = False,
        without: tuple[str, ...] = (),
        only: tuple[str, ...] = (),
    ) -> World:
        """capture: a multi-clip npz (`motion_io.capture`), the shipped one by default; photographs: a folder.

        Raises InputError where they cannot be read, or every captured clip is too short, or names are given to a
        world that isn't wide.
        """
        from kinema.checkpoints import WORLD_MOTION

        if (without or only) and not wide:
            raise InputError("World.load", "has `without` or `only`", expected="them of a wide world", mend="wide=True")
        clips = [(caption, resample(m, fps=2 * FPS)) for _, caption, m in load_capture(capture or WORLD_MOTION)]
        if max(len(m) for _, m in clips) < 2 * USUAL_FRAMES:
            raise InputError(capture, "has only clips under 2 s", expected="some of 2 s and longer")
        pictures = load_photographs(photographs) if photographs else []
        return World(clips, pictures, split, wide, without, only)

    def sample(self, seed: int, frames: int = USUAL_FRAMES, size: tuple[int, int] = (128, 128)) -> WorldClip:
        """One clip at 8 fps, (width, height) pixels; equal seeds give equal clips."""
        rng = np.random.default_rng(SPLIT_SEEDS[self.split] + seed)
        tries = 0
        while True:
            actors = self._cast(rng, frames)
            cameras = _film(rng, actors, frames, size)
            tries += 1
            if tries == MOST_TRIES or actors[0].motion is None or _extent(actors[0], cameras) >= LEAST_EXTENT:
                break
        picture, place = self._backdrop(int(rng.integers(WIDE_BACKDROPS if self.wide else BACKDROPS)), 2 * max(size))
        return _shoot(rng, actors, cameras, picture, _caption(actors, cameras, place))

    def _backdrop(self, number: int, side: int) -> tuple[np.ndarray, str]:
        if (number, side) not in self.backdrops:
            rng = np.random.default_rng([SPLIT_SEEDS[self.split], number])
            if self.wide:
                return wide_backdrop(rng, side, self.photographs)
            picture, place = backdrop(rng, side, self.photographs)
            self.backdrops[number, side] = picture, f"before {place}"
        return self.backdrops[number, side]

    def _cast(self, rng: np.random.Generator, frames: int) -> list[Actor]:
        """1 to 3 subjects, the first in the middle, the others beside, before or behind it."""
        if self.wide:
            return cast(rng, self.clips, frames, self.without, self.only)
        kind = rng.choice(3, p=(0.7, 0.22, 0.08))
        lead = (lambda: human(rng, self.clips, frames), lambda: animal(rng, frames), lambda: solid(rng, frames))[kind]()
        actors = [lead]
        for _ in range(rng.choice(3, p=(0.6, 0.32, 0.08))):
            if lead.label == "a person" and len(actors) == 1 and rng.random() < 0.25:
                actors.append(held_solid(rng, lead))
                continue
            other = rng.choice(3, p=(0.4, 0.25, 0.35))
            made = (lambda: human(rng, self.clips, frames), lambda: animal(rng, frames), lambda: solid(rng, frames))
            angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.5)
            actors.append(made[other]().moved(away * np.array([np.sin(angle), 0, np.cos(angle)])))
        return actors


def _film(rng: np.random.Generator, actors: list[Actor], frames: int, size: tuple[int, int]) -> Cameras:
    """A camera as near as all subjects in all frames allow: still, panning after the first subject, or zooming."""
    points = np.concatenate([a.vertices[:, :: max(1, len(a.rest) // 60)] for a in actors], 1).astype(float)
    low, high = points.min((0, 1)), points.max((0, 1))
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(2, 15))
    back = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    move = rng.choice(3, p=(0.6, 0.2, 0.2))
    zoom = np.linspace(1, rng.uniform(0.78, 1.25) if move == 2 else 1, frames)
    aim = (low + high) / 2
    follow = (actors[0].vertices.mean(1) - aim)[:, [0, 2]] * (rng.uniform(0.5, 1) if move == 1 else 0)
    follow = cv2.blur(follow, (1, 9), borderType=cv2.BORDER_REPLICATE) if frames > 1 else follow
    width, height = size
    focal = max(size) / 2 / np.tan(FIELD_OF_VIEW_RAD / 2)
    spare = rng.uniform(1.0, 1.15)
    distance = 0.5 * float(np.linalg.norm(high - low)) + 0.3
    while True:
        cameras = _look(aim + distance * back, aim, follow, focal * zoom, size)
        pixels, depth = project(points, cameras)
        inside = np.abs(pixels - [width / 2, height / 2]) <= FILL / 2 / spare * np.array([width, height])
        if distance > FARTHEST_M or (inside.all() and (depth > 0.3).all()):
            return cameras
        distance *= 1.08


def _look(eye: np.ndarray, aim: np.ndarray, follow: np.ndarray, focal: np.ndarray, size) -> Cameras:
    """Cameras at one place that look at `aim` moved along the floor by `follow` [T,2], level."""
    targets = aim + np.stack([follow[:, 0], 0 * follow[:, 0], follow[:, 1]], -1)
    forward = targets - eye
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    rotation = np.stack([right, np.cross(forward, right), forward], 1)
    T = np.tile(np.eye(4), (len(follow), 1, 1))
    T[:, :3, :3], T[:, :3, 3] = rotation, -rotation @ eye
    K = np.zeros((len(follow), 3, 3))
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, 0, 2], K[:, 1, 2], K[:, 2, 2] = size[0] / 2, size[1] / 2, 1
    return Cameras(K.astype(np.float32), T.astype(np.float32), (size[1], size[0]))


def _extent(actor: Actor, cameras: Cameras) -> float:
    """Share of the picture's height or width that a subject takes, the larger, on average over the clip."""
    pixels, _ = project(actor.vertices[:, ::10], cameras)
    return float((np.ptp(pixels, axis=1) / cameras.image_hw[::-1]).max(-1).mean())


def _shoot(
    rng: np.random.Generator, actors: list[Actor], cameras: Cameras, picture: np.ndarray, caption: str
) -> WorldClip:
    meshes = [Mesh(a.vertices, a.faces, a.vertex_parts, k + 1) for k, a in enumerate(actors)]
    surface = rasterize_surface(meshes, cameras)
    frames = _backgrounds(picture, cameras)
    _paint(rng, frames, actors, surface)
    subject_ids = surface.of_pixels(surface.face_subjects)
    subjects = tuple(Subject(k, a.label, a.look.words, _motion(a, cameras)) for k, a in enumerate(actors))
    seen = [_see(k, a, cameras, subject_ids, surface.depth_m) for k, a in enumerate(actors)]
    return WorldClip(
        Video(frames, FPS),
        Scene(subjects, cameras, caption),
        surface.of_pixels(surface.face_parts),
        subject_ids,
        surface.depth_m,
        tuple(a.joints_m for a in actors),
        tuple(pixels for pixels, _ in seen),
        tuple(visible for _, visible in seen),
    )


def _backgrounds(picture: np.ndarray, cameras: Cameras) -> np.ndarray:
    """The backdrop as every camera sees it: infinitely far, so only turns and zooms move it; mirrored past its edges."""
    height, width = cameras.image_hw
    K, R = cameras.K.astype(float), cameras.T_camera_world[:, :3, :3].astype(float)
    wide = K[0].copy()
    wide[:2, 2] = picture.shape[1] / 2, picture.shape[0] / 2
    frames = np.empty((len(K), height, width, 3), np.uint8)
    for t in range(len(K)):
        to_backdrop = wide @ R[0] @ R[t].T @ np.linalg.inv(K[t])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpPerspective(picture, to_backdrop, (width, height), frames[t], flags, cv2.BORDER_REFLECT_101)
    return frames


def _paint(rng: np.random.Generator, frames: np.ndarray, actors: list[Actor], surface: Surface) -> None:
    colors, patterns, scales = (
        np.stack([np.zeros_like(getattr(actors[0].look, name)), *(getattr(a.look, name) for a in actors)])
        for name in ("colors", "patterns", "scales")
    )
    rest = _end_to_end([a.rest for a in actors], surface)
    toward = np.array([rng.normal(), rng.uniform(0.4, 1.6), rng.normal()])
    lamp = (toward / np.linalg.norm(toward), rng.uniform(0.25, 0.55), 1.12 * (1 + rng.uniform(-0.06, 0.06, 3)))
    for t in range(len(frames)):
        normals = []
        for actor in actors:
            smooth = np.empty_like(actor.rest)
            vertex_normals(actor.vertices[t], actor.faces, STILL, smooth)
            normals.append(smooth)
        shape = (surface.faces, surface.face_parts, surface.face_subjects, rest, _end_to_end(normals, surface))
        paint(frames[t], surface.face_ids[t], surface.weights[t], shape, (colors, patterns, scales), lamp)


def _end_to_end(values: list[np.ndarray], surface: Surface) -> np.ndarray:
    """Values [V,3] of each mesh, with those at the middles of its cut edges, as `Surface.faces` counts them."""
    pieces = []
    for value, edges in zip(values, surface.edges, strict=True):
        pieces += [value, (value[edges[:, 0]] + value[edges[:, 1]]) / 2]
    return np.concatenate(pieces, dtype=np.float32)


def _motion(actor: Actor, cameras: Cameras) -> BodyMotion | ObjectMotion:
    if actor.motion is not None:
        return actor.motion
    assert actor.corners_m is not None, "what is no body is a solid"
    T = cameras.T_camera_world.astype(float)
    eyes = -(T[:, :3, :3].transpose(0, 2, 1) @ T[:, :3, 3:])[..., 0]
    points = seen_points(actor.corners_m, T[:, :3, :3], eyes).astype(np.float32)
    return ObjectMotion(points, FPS, np.ones(len(points), bool))


def _see(index: int, actor: Actor, cameras: Cameras, subject_ids: np.ndarray, depth_m: np.ndarray):
    """Joints in pixels [T,J,2], and whether each is inside the picture and not behind another subject."""
    if actor.joints_m is None:
        return None, None
    pixels, depth = project(actor.joints_m, cameras)
    height, width = cameras.image_hw
    inside = (pixels >= 0).all(-1) & (pixels < [width, height]).all(-1) & (depth > 0)
    x, y = (np.clip(pixels[..., k], 0, side - 1).astype(int) for k, side in ((0, width), (1, height)))
    t = np.arange(len(pixels))[:, None]
    other = (subject_ids[t, y, x] != index + 1) & (depth_m[t, y, x] < depth)
    return pixels.astype(np.float32), inside & ~other


def _caption(actors: list[Actor], cameras: Cameras, place: str) -> str:
    """'a man in a red shirt and blue trousers, walk, moving left, and a brown dog trots, before a brick wall'."""
    words = []
    for actor in actors:
        if actor.doing == RIDES:
            words[-1] = f"{actor.look.words} {RIDES} {words[-1]}"
            continue
        pixels, _ = project(actor.vertices[[0, -1]].mean(1)[:, None], _ends(cameras))
        across = float(pixels[1, 0, 0] - pixels[0, 0, 0]) / cameras.image_hw[1]
        way = f", moving {'right' if across > 0 else 'left'}" if abs(across) > 0.1 else ""
        words.append(f"{actor.look.words}, {actor.doing}{way}")
    return f"{'; '.join(words)}; {place}"


def _ends(cameras: Cameras) -> Cameras:
    return Cameras(cameras.K[[0, -1]], cameras.T_camera_world[[0, -1]], cameras.image_hw)
