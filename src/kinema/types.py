"""The values that pass between stages. T frames, J joints, V vertices, P points; arrays are numpy, channel-last.

World frame: +y up, metres, floor at y = 0. A body at rest faces +z, its left is +x.
Camera frame: OpenCV, +x right, +y down, +z forward, pixels with the centre of the first one at (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from kinema.errors import InputError

Category = Literal["human", "animal"]

JOINT_COUNT: dict[str, int] = {"human": 55, "animal": 35}
"""SMPL-X (Pavlakos et al. 2019) and SMAL (Zuffi et al. 2017) with ears (Rueegg et al. 2023)."""
BETA_COUNT: dict[str, int] = {"human": 10, "animal": 41}
EXPRESSION_COUNT = 10


@dataclass(frozen=True)
class Video:
    """frames uint8 [T,H,W,3] RGB; fps in Hz."""

    frames: UInt8[np.ndarray, "T H W 3"]
    fps: float


@dataclass(frozen=True)
class Cameras:
    """One pinhole camera a frame. K in pixels; T_camera_world maps world metres to the OpenCV camera frame."""

    K: Float[np.ndarray, "T 3 3"]
    T_camera_world: Float[np.ndarray, "T 4 4"]
    image_hw: tuple[int, int]


@dataclass(frozen=True)
class BodyMotion:
    """The motion of one body, in SMPL-X (human) or SMAL (animal) layout.

    rotvec              rad, every joint relative to its parent; joint 0 is relative to the world
    root_translation_m  position of joint 0 (the pelvis) in the world
    betas               shape coefficients; fewer than the body has are filled up with zeros
    expression          [T,10], human only
    fps                 Hz
    valid               frames that hold an observation; the rest are to be filled in
    confidence          0-1 a joint and frame, how far to trust the rotation

    Raises InputError where a shape is off or a number is not finite.
    """

    category: Category
    rotvec: Float[np.ndarray, "T J 3"]
    root_translation_m: Float[np.ndarray, "T 3"]
    betas: Float[np.ndarray, " B"]
    fps: float
    expression: Float[np.ndarray, "T 10"] = field(default=None)  # type: ignore[assignment]
    valid: Bool[np.ndarray, " T"] = field(default=None)  # type: ignore[assignment]
    confidence: Float[np.ndarray, "T J"] = field(default=None)  # type: ignore[assignment]

    def __post_init__(self):
        if self.category not in JOINT_COUNT:
            raise InputError("BodyMotion.category", f"is {self.category!r}", expected="'human' or 'animal'")
        frames, joints = len(self.rotvec), JOINT_COUNT[self.category]
        if frames == 0:
            raise InputError("BodyMotion", "has no frames", expected="at least one")
        if not (isinstance(self.fps, int | float | np.number) and 0 < self.fps <= 1000):
            raise InputError("BodyMotion.fps", f"is {self.fps!r}", expected="frames a second, above 0, at most 1000")
        betas = np.zeros(BETA_COUNT[self.category], np.float32)
        given = np.asarray(self.betas, np.float32).ravel()
        if len(given) > len(betas):
            raise InputError("BodyMotion.betas", f"has {len(given)} numbers", expected=f"at most {len(betas)}")
        betas[: len(given)] = given
        filled = {
            "rotvec": np.asarray(self.rotvec, np.float32),
            "root_translation_m": np.asarray(self.root_translation_m, np.float32),
            "betas": betas,
            "expression": np.zeros((frames, EXPRESSION_COUNT), np.float32)
            if self.expression is None
            else np.asarray(self.expression, np.float32),
            "valid": np.ones(frames, bool) if self.valid is None else np.asarray(self.valid, bool),
            "confidence": np.ones((frames, joints), np.float32)
            if self.confidence is None
            else np.asarray(self.confidence, np.float32),
        }
        shapes = {
            "rotvec": (frames, joints, 3),
            "root_translation_m": (frames, 3),
            "expression": (frames, EXPRESSION_COUNT),
            "valid": (frames,),
            "confidence": (frames, joints),
        }
        for name, shape in shapes.items():
            if filled[name].shape != shape:
                raise InputError(f"BodyMotion.{name}", f"has shape {filled[name].shape}", expected=f"{shape}")
        for name, value in filled.items():
            if value.dtype != bool and not np.isfinite(value).all():
                bad = np.argwhere(~np.isfinite(value))[0]
                raise InputError(
                    f"BodyMotion.{name}",
                    f"is not a finite number at index {tuple(int(i) for i in bad)}",
                    expected="finite numbers",
                    mend="leave those frames out, or set them to their neighbour's pose and valid to False",
                )
            object.__setattr__(self, name, value)
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            found = f"goes from {self.confidence.min():g} to {self.confidence.max():g}"
            raise InputError("BodyMotion.confidence", found, expected="0 (not known) to 1 (certain)")
        object.__setattr__(self, "fps", float(self.fps))

    def __len__(self) -> int:
        return len(self.rotvec)

    def __getitem__(self, frames: slice) -> BodyMotion:
        """The same motion on a slice of its frames."""
        return replace(
            self,
            rotvec=self.rotvec[frames],
            root_translation_m=self.root_translation_m[frames],
            expression=self.expression[frames],
            valid=self.valid[frames],
            confidence=self.confidence[frames],
        )


@dataclass(frozen=True)
class ObjectMotion:
    """A rigid or changing object as 21 points a frame (ReVision, section 4.2-S2).

    points_m  [T,21,3] world metres: 16 contour vertices, 4 box corners (clockwise from top left), the box's centre
    """

    points_m: Float[np.ndarray, "T 21 3"]
    fps: float
    valid: Bool[np.ndarray, " T"]


@dataclass(frozen=True)
class Subject:
    """One thing that moves: a label ("a woman"), its looks in words, and its motion."""

    id: int
    label: str
    appearance: str
    motion: BodyMotion | ObjectMotion


@dataclass(frozen=True)
class Scene:
    """Everything that moves, seen by a camera. Extract returns one; Optimize maps a Scene to a Scene."""

    subjects: tuple[Subject, ...]
    cameras: Cameras
    prompt: str = ""
    motion_strength: float | None = None


@dataclass(frozen=True)
class ControlMaps:
    """What the renderer drew of a scene; a map that was not asked for is None.

    part_ids     0 background, else the fixed part table (`kinema.body.skeleton.PARTS`)
    subject_ids  0 background, else 1 + index of the subject
    depth_m      distance along the camera's axis; inf on the background
    normals      unit, camera frame; 0 on the background
    openpose     OpenPose drawing, RGB on black
    shaded       a picture to look at, RGB
    """

    fps: float
    part_ids: UInt8[np.ndarray, "T H W"] | None = None
    subject_ids: UInt8[np.ndarray, "T H W"] | None = None
    depth_m: Float[np.ndarray, "T H W"] | None = None
    normals: Float[np.ndarray, "T H W 3"] | None = None
    openpose: UInt8[np.ndarray, "T H W 3"] | None = None
    shaded: UInt8[np.ndarray, "T H W 3"] | None = None


@dataclass(frozen=True)
class PartCondition:
    """What the backbone is told of the motion (ReVision, section 4.1).

    part_ids    uint8, 0 background
    confidence  1 full motion, 0.5 a sketched target, 0 nothing known
    """

    part_ids: UInt8[np.ndarray, "T H W"]
    confidence: Float[np.ndarray, "T H W"]


@dataclass(frozen=True)
class MaskSequence:
    """Where N things are in every frame, each with all of its visible pixels (MVideo, section 3.2).

    Where two overlap, the one with the lower index is in front. Raises InputError where shapes or labels do not agree.
    """

    masks: Bool[np.ndarray, "T N H W"]
    labels: tuple[str, ...]
    fps: float

    def __post_init__(self):
        if self.masks.ndim != 4 or 0 in self.masks.shape:
            raise InputError("MaskSequence.masks", f"has shape {self.masks.shape}", "[T,N,H,W], none of them 0")
        if len(self.labels) != self.masks.shape[1]:
            raise InputError("MaskSequence.labels", f"are {len(self.labels)}", f"{self.masks.shape[1]}, one a mask")
        if not 0 < self.fps <= 1000:
            raise InputError("MaskSequence.fps", f"is {self.fps!r}", "frames a second, above 0, at most 1000")

    def __len__(self) -> int:
        return len(self.masks)
