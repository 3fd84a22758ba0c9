"""Clips of the procedural world -> batches to train mini-perception on: drawn, changed in looks and place, as targets.

What a batch is made of is a function of its step alone. The looks are spoilt on purpose (blur, blocks, wrong colours),
since the network also looks at coarse generated videos.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8
from torch import Tensor

from kinema.extract.observation import KEYPOINTS
from kinema.extract.perception_net import (
    CATEGORIES,
    CELL,
    CLASS_OF_PART,
    CLASS_TWIN,
    COARSE,
    HEATMAPS,
    JOINT_SLICES,
    JOINT_TWIN,
    OFFSET_PX,
)
from kinema.types import BodyMotion
from kinema.world.clip import WorldClip

T = TypeVar("T")
LEAST_PIXELS = 12
"""A subject of which less is seen has no centre."""
LEAST_COVER = 0.08
"""A subject that covers less of a cell doesn't count there."""
JOINT_SIGMA, CENTRE_SIGMA = 0.9, 1.2
"""Of the heatmaps' peaks, in output pixels."""
SCALES, TURN_RAD, SHIFT = (1.0, 1.8), 0.12, 0.1
"""Smallest and largest zoom; turn; shift as a share of the side."""
LANE_CLIPS = 10**9
"""From the first clip of a row to that of the next; even, since worlds are taken in turn."""
SPOILT_SHARE = 0.3
"""How many pictures have their looks spoilt."""


@dataclass(frozen=True)
class Frame:
    """One picture with its truth; S subjects.

    classes      index into `PART_OF_CLASS`
    subject_ids  0 background, else 1 + index of the subject
    depth_m      inf on the background
    categories   [S] index into `CATEGORIES`
    joints_px    [S,57,2] in the layout of the heatmaps; what a category lacks is not visible
    facing       [S,2] where a body's left is, see `left_in_camera`; nan for objects
    """

    picture: UInt8[np.ndarray, "H W 3"]
    classes: UInt8[np.ndarray, "H W"]
    subject_ids: UInt8[np.ndarray, "H W"]
    depth_m: Float32[np.ndarray, "H W"]
    categories: np.ndarray
    joints_px: Float32[np.ndarray, "S J 2"]
    joints_visible: Bool[np.ndarray, "S J"]
    facing: Float32[np.ndarray, "S 2"]


SIDES = {
    "human": (("left_hip", "left_shoulder"), ("right_hip", "right_shoulder")),
    "animal": (("left_hind_leg1", "left_front_leg1"), ("right_hind_leg1", "right_front_leg1")),
}
"""Joints of the trunk on its left and right."""


def left_in_camera(joints_m: Float32[np.ndarray, "T J 3"], category: str, T_camera_world: np.ndarray) -> np.ndarray:
    """[T,2] the unit vector to a body's left in the camera frame, its parts to the right and forward."""
    left, right = (joints_m[:, [KEYPOINTS[category].index(n) for n in names]].sum(1) for names in SIDES[category])
    across = np.einsum("tij,tj->ti", T_camera_world[:, :3, :3], left - right)
    return (across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6))[:, [0, 2]]


def frames_of_clip(clip: WorldClip) -> list[Frame]:
    subjects = clip.scene.subjects
    names = [s.motion.category if isinstance(s.motion, BodyMotion) else "object" for s in subjects]
    categories = np.array([CATEGORIES.index(n) for n in names])
    count = len(clip.video.frames)
    joints_px = np.zeros((count, len(subjects), HEATMAPS, 2), np.float32)
    visible = np.zeros((count, len(subjects), HEATMAPS), bool)
    facing = np.full((count, len(subjects), 2), np.nan, np.float32)
    for index, name in enumerate(names):
        points, seen, joints_m = clip.joints_px[index], clip.joints_visible[index], clip.joints_m[index]
        if name != "object" and points is not None and seen is not None and joints_m is not None:
            facing[:, index] = left_in_camera(joints_m, name, clip.scene.cameras.T_camera_world)
            joints_px[:, index, JOINT_SLICES[name]] = points
            visible[:, index, JOINT_SLICES[name]] = seen
    return [
        Frame(
            clip.video.frames[t],
            CLASS_OF_PART[clip.part_ids[t]],
            clip.subject_ids[t],
            clip.depth_m[t],
            categories,
            joints_px[t],
            visible[t],
            facing[t],
        )
        for t in range(count)
    ]


@runtime_checkable
class ClipSource(Protocol):
    """The procedural world, or what stands in for it."""

    def sample(self, seed: int, frames: int = 16) -> WorldClip:
        """Equal seeds, equal clips."""
        ...


@dataclass(frozen=True)
class InTurn:
    """Several worlds as one: its clips are of one after the other."""

    worlds: tuple[ClipSource, ...]

    def sample(self, seed: int, frames: int = 16) -> WorldClip:
        return self.worlds[seed % len(self.worlds)].sample(seed, frames)


@dataclass
class Pool(ABC, Generic[T]):
    """The clips from which a step draws: clips `new * step` to `new * step + size - 1` of the world's endless row, so that
    each is used for `size / new` steps; made when they are first asked for. Several threads may ask.

    lanes  the steps take turns between as many rows of clips, so that as many processes can each make the clips of one
    """

    world: ClipSource
    size: int
    new: int
    first: int = 0
    lanes: int = field(default=1, kw_only=True)
    made: dict[int, T] = field(default_factory=dict, init=False)
    lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @abstractmethod
    def make(self, number: int) -> T:
        """What is kept of a clip of the world."""

    def of_step(self, step: int) -> list[T]:
        """The clips of a step, in order."""
        turn, lane = divmod(step, self.lanes)
        begin = LANE_CLIPS * lane + self.new * turn
        numbers = range(begin, begin + self.size)
        with self.lock:
            self.made = {k: self.made[k] if k in self.made else self.make(self.first + k) for k in numbers}
            return list(self.made.values())

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which makes its own clips."""
        return self.__dict__ | {"made": {}, "lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in (state | {"lock": Lock()}).items():
            setattr(self, name, value)


@dataclass
class ClipPool(Pool[list[Frame]]):
    """Of clips whose frames are drawn."""

    frames: int = 16

    def make(self, number: int) -> list[Frame]:
        return frames_of_clip(self.world.sample(number, frames=self.frames))

    def draw(self, step: int, videos: int, frames: int, rng: np.random.Generator) -> list[list[Frame]]:
        """`frames` frames in a row, every one or every other one, of each of so many clips."""
        pool = self.of_step(step)
        clips = rng.permutation(self.size)[:videos] if videos <= self.size else rng.integers(self.size, size=videos)
        runs = []
        for clip in clips:
            stride = int(rng.integers(1, 3)) if 2 * frames <= self.frames else 1
            begin = int(rng.integers(self.frames - (frames - 1) * stride))
            runs.append(pool[int(clip)][begin::stride][:frames])
        return runs


@dataclass(frozen=True)
class Change:
    """How a picture is moved: pixels x to `linear @ x + shift`, of which side x side are kept; `linear` may mirror."""

    linear: Float64[np.ndarray, "2 2"]
    shift: Float64[np.ndarray, " 2"]
    zoom: float
    mirrored: bool
    side: int

    @staticmethod
    def draw(frame: Frame, side: int, rng: np.random.Generator) -> Change:
        """Mirror half of the pictures, and zoom, turn and shift all; what is kept of one is around a subject of it."""
        height, width = frame.classes.shape
        zoom = float(np.exp(rng.uniform(*np.log(SCALES))))
        turn = rng.uniform(-TURN_RAD, TURN_RAD)
        linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        mirrored = rng.random() < 0.5
        if mirrored:
            linear[:, 0] *= -1
        middle = np.array([width, height]) / 2
        shift = middle - linear @ middle + rng.uniform(-SHIFT, SHIFT, 2) * (width, height) * max(1.0, zoom)
        rows, columns = np.nonzero(frame.subject_ids)
        pixel = int(rng.random() * len(rows))
        centre = linear @ (columns[pixel], rows[pixel]) + shift if len(rows) else middle
        corner = np.clip(centre - side * rng.uniform(0.25, 0.75, 2), 0, np.maximum(0, np.array([width, height]) - side))
        return Change(linear, shift - corner, zoom, mirrored, side)


def change_place(frame: Frame, change: Change) -> Frame:
    """The frame moved; in a mirror image left parts are right ones."""
    side = change.side
    # OpenCV counts from the middle of the first pixel, we from its corner.
    matrix = np.column_stack([change.linear, change.shift + change.linear.sum(1) / 2 - 0.5])

    def moved(values: np.ndarray, how: int, outside: float = 0) -> np.ndarray:
        return cv2.warpAffine(values, matrix, (side, side), flags=how, borderValue=(outside,) * 3)

    classes, joints_px, visible = frame.classes, frame.joints_px, frame.joints_visible
    if change.mirrored:
        classes, joints_px, visible = CLASS_TWIN[classes], joints_px[:, JOINT_TWIN], visible[:, JOINT_TWIN]
    joints_px = (joints_px @ change.linear.T + change.shift).astype(np.float32)
    inside = ((joints_px >= 0) & (joints_px < side)).all(-1)
    return Frame(
        moved(frame.picture, cv2.INTER_LINEAR),
        moved(classes, cv2.INTER_NEAREST),
        moved(frame.subject_ids, cv2.INTER_NEAREST),
        moved(frame.depth_m, cv2.INTER_NEAREST, np.inf) / np.float32(change.zoom),
        frame.categories,
        joints_px,
        visible & inside,
        # In a mirror image, what was right is left: the mirror image of the opposite way.
        frame.facing * np.array([1, -1], np.float32) if change.mirrored else frame.facing,
    )


def spoil_looks(picture: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """Other light and colours; then often blur, lost detail, blotches, noise and JPEG blocks."""
    height, width = picture.shape[:2]
    tones = np.linspace(0, 1, 256)[:, None]
    gain = rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)
    tones = np.clip((tones - 0.5) * gain + 0.5 + rng.uniform(-0.12, 0.12), 0, 1) ** rng.uniform(0.8, 1.25)
    light = cv2.LUT(picture, tones.astype(np.float32)[None])
    if rng.random() < 0.5:
        grey = cv2.cvtColor(light, cv2.COLOR_RGB2GRAY)[..., None]
        light = grey + (light - grey) * np.float32(rng.uniform(0.4, 1.4))
    if rng.random() < SPOILT_SHARE:
        if rng.random() < 0.5:
            small = rng.uniform(1.5, 4)
            size = (max(4, round(width / small)), max(4, round(height / small)))
            light = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
            light = cv2.resize(
                light, (width, height), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
            )
        if rng.random() < 0.4:
            light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.4, 1.6))
        if rng.random() < 0.5:
            cells = int(rng.choice([8, 16, 32]))
            blotches = rng.uniform(0.02, 0.1) * rng.standard_normal((cells, cells, 3), np.float32)
            light = light + cv2.resize(blotches, (width, height), interpolation=cv2.INTER_LINEAR)
        if rng.random() < 0.4:
            light = light + np.float32(rng.uniform(0.01, 0.06)) * rng.standard_normal(light.shape, np.float32)
    out = np.clip(light * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        _, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 80))])
        out = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return out


class Batch(NamedTuple):
    """B pictures [B,3,H,W] 0-1 and what the network is to say of them; h x w is a quarter of H x W.

    classes      [B,H,W] uint8
    near         [B,H,W] on a subject or at most 4 pixels away from one
    centres      [B,3,h,w] 0-1
    offsets      [B,2,h,w] to the subject's middle, in units of `OFFSET_PX`; nan where there is none
    joints       [B,57,h,w] 0-1
    log_depth    [B,h,w]; nan where unknown
    facing       [B,2,H/16,W/16] of the subject that covers most of a cell; nan where none does
    holds        [B,3] which categories are in the scene
    peaks        [2] how many centres and how many joints there are in the batch, at least 1
    """

    pictures: Tensor
    classes: Tensor
    near: Tensor
    centres: Tensor
    offsets: Tensor
    joints: Tensor
    log_depth: Tensor
    facing: Tensor
    holds: Tensor
    peaks: Tensor


def make_batch(frames: list[Frame]) -> Batch:
    made = [_targets(f) for f in frames]
    centres, offsets, joints = (np.stack(v) for v in zip(*(m[:3] for m in made), strict=True))
    depth = np.stack([f.depth_m[::COARSE, ::COARSE] for f in frames])
    log_depth = np.log(np.where(np.isfinite(depth) & (depth > 0), depth, np.nan))
    peaks = torch.tensor([m[3] for m in made]).sum(0).clamp(min=1)
    pictures = torch.from_numpy(np.stack([f.picture for f in frames])).permute(0, 3, 1, 2).float() / 255
    classes = torch.from_numpy(np.stack([f.classes for f in frames]))
    holds = np.stack([np.isin(np.arange(len(CATEGORIES)), f.categories) for f in frames])
    near = np.stack([cv2.dilate((f.classes > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0 for f in frames])
    facing = np.stack([_facing_of_cells(f) for f in frames])
    truths = [torch.from_numpy(v) for v in (near, centres, offsets, joints, log_depth, facing, holds)]
    return Batch._make([pictures, classes, *truths, peaks])


def _targets(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    height, width = frame.classes.shape
    h, w = height // COARSE, width // COARSE
    ids = frame.subject_ids[::COARSE, ::COARSE]
    middles = np.stack(np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5))
    centres = np.zeros((len(CATEGORIES), h, w), np.float32)
    offsets = np.full((2, h, w), np.nan, np.float32)
    joints = np.zeros((HEATMAPS, h, w), np.float32)
    count = 0
    for index, category in enumerate(frame.categories):
        mine = frame.subject_ids == index + 1
        if mine.sum() < LEAST_PIXELS:
            continue
        count += 1
        rows, columns = np.nonzero(mine)
        middle = (np.array([columns.mean(), rows.mean()]) + 0.5) / COARSE
        bump = gaussians(middle[None], (h, w), CENTRE_SIGMA)[0]
        centres[category] = np.maximum(centres[category], bump)
        cells = ids == index + 1
        offsets[:, cells] = ((middle[:, None, None] - middles) * COARSE / OFFSET_PX)[:, cells]
    for points, seen in zip(frame.joints_px, frame.joints_visible, strict=True):
        which = np.flatnonzero(seen)
        joints[which] = np.maximum(joints[which], gaussians(points[which] / COARSE, (h, w), JOINT_SIGMA))
    return centres, offsets, joints, (count, int(frame.joints_visible.sum()))


def _facing_of_cells(frame: Frame) -> np.ndarray:
    height, width = frame.classes.shape
    cover = np.full((len(frame.facing) + 1, height // CELL, width // CELL), LEAST_COVER, np.float32)
    for index in range(len(frame.facing)):
        mine = (frame.subject_ids == index + 1).astype(np.float32)
        cover[index + 1] = cv2.resize(mine, cover.shape[:0:-1], interpolation=cv2.INTER_AREA)
    known = np.concatenate([np.full((1, 2), np.nan, np.float32), frame.facing])
    return known[cover.argmax(0)].transpose(2, 0, 1)


def gaussians(xy: np.ndarray, hw: tuple[int, int], sigma: float) -> np.ndarray:
    """[N,2] in output pixels -> [N,h,w] bumps of height 1."""
    x, y = (
        np.exp(-((np.arange(n) + 0.5 - xy[:, k, None]) ** 2) / (2 * sigma**2)).astype(np.float32)
        for k, n in ((0, hw[1]), (1, hw[0]))
    )
    return y[:, :, None] * x[:, None, :]
