"""Made-up scenes with known truth, as perception would see them without error."""

import numpy as np

from kinema.body.gaits import gait
from kinema.body.model import joints
from kinema.camera import fixed_cameras, project
from kinema.extract.observation import KEYPOINTS, Observation, Track
from kinema.types import BodyMotion, Cameras

SIZE = (128, 128)


def walker(frames: int = 12, at: tuple[float, float] = (0.0, 0.0)) -> BodyMotion:
    """A person who walks towards +z with hanging arms, roughly."""
    phase = 2 * np.pi * np.arange(frames) / 8
    rotvec = np.zeros((frames, 55, 3), np.float32)
    for side, sign in ((0, 1), (1, -1)):
        swing = sign * np.sin(phase)
        rotvec[:, 1 + side, 0] = -0.45 * swing
        rotvec[:, 4 + side, 0] = 0.35 + 0.3 * np.cos(phase) * sign
        rotvec[:, 16 + side, 2] = -1.2 * sign
        rotvec[:, 18 + side, 1] = -0.3 * sign
    root = np.stack([np.full(frames, at[0]), np.zeros(frames), at[1] + 0.1 * np.arange(frames)], -1)
    return _on_floor(BodyMotion("human", rotvec, root.astype(np.float32), np.array([0.5]), 8.0))


def dog(frames: int = 12, at: tuple[float, float] = (0.0, 0.0)) -> BodyMotion:
    motion, _ = gait("walk", (frames + 1) / 8, 8.0, 3)
    shifted = motion.root_translation_m[:frames] + np.array([at[0], 0, at[1]], np.float32)
    return BodyMotion("animal", motion.rotvec[:frames], shifted, motion.betas, 8.0)


def _on_floor(motion: BodyMotion) -> BodyMotion:
    root = motion.root_translation_m.copy()
    root[:, 1] -= joints(motion)[..., 1].min(1) - 0.025
    return BodyMotion(motion.category, motion.rotvec, root, motion.betas, motion.fps)


def lifted_joints(motion: BodyMotion) -> np.ndarray:
    return joints(motion)[:, : len(KEYPOINTS[motion.category])]


def cameras_for(motions: list[BodyMotion], azimuth: float = 0.6) -> Cameras:
    return fixed_cameras(np.concatenate([joints(m) for m in motions], 1), SIZE, azimuth, np.radians(8))


def seen(motions: list[BodyMotion], cameras: Cameras) -> Observation:
    """Masks are the boxes around the joints, the nearer one before the farther; depth is that of the root."""
    frames, (height, width) = len(motions[0]), cameras.image_hw
    depth = np.full((frames, height, width), np.inf, np.float32)
    owner = np.full(depth.shape, -1)
    placed = [project(lifted_joints(m), cameras) for m in motions]
    for index, (pixels, away) in enumerate(placed):
        for t in range(frames):
            x0, y0, x1, y1 = _box(pixels[t])
            free = depth[t, y0:y1, x0:x1] > away[t, 0]
            depth[t, y0:y1, x0:x1][free] = away[t, 0]
            owner[t, y0:y1, x0:x1][free] = index
    tracks = []
    for index, (motion, (pixels, _)) in enumerate(zip(motions, placed, strict=True)):
        boxes = np.array([_box(p) for p in pixels], np.float32)
        confidence = np.full(pixels.shape[:2], 0.9, np.float32)
        label = "a person" if motion.category == "human" else "a dog"
        present = np.ones(frames, bool)
        mask = owner == index
        tracks.append(Track(motion.category, label, present, boxes, mask, pixels.astype(np.float32), confidence))
    return Observation(tuple(tracks), np.zeros(depth.shape, np.uint8), depth, motions[0].fps)


def _box(pixels: np.ndarray) -> tuple[int, int, int, int]:
    low, high = np.floor(pixels.min(0)).astype(int), np.ceil(pixels.max(0)).astype(int) + 1
    return max(0, int(low[0])), max(0, int(low[1])), int(high[0]), int(high[1])
