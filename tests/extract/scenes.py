"""Made-up scenes with known truth, as perception would see them without error."""

import numpy as np

from kinema.body.gaits import gait
from kinema.body.model import joints, load_body
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


def gesturing(motion: BodyMotion, curls: np.ndarray, wrist: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> BodyMotion:
    """The motion with hands: curls [T,2,5] of left and right, thumb to little finger, 0 straight to 1 a fist, each joint
    about what is across its bone; the wrists turned, as a left one is."""
    rotvec, rest = motion.rotvec.copy(), load_body("human").rest_joints(motion.betas)
    for side, sign in enumerate((1, -1)):
        rotvec[:, 20 + side] = np.array([1, sign, sign]) * wrist
        for finger, place in enumerate((4, 0, 1, 3, 2)):  # SMPL-X's order: index, middle, little, ring, thumb
            first = 25 + 15 * side + 3 * place
            towards = rest[31 + 15 * side] - rest[first] if finger == 0 else np.array([0, -1, 0])
            for k, most in enumerate((0.3, 0.6, 0.8) if finger == 0 else (1.2, 1.5, 1.0)):
                bone = rest[first + min(k + 1, 2)] - rest[first + min(k, 1)]
                axis = np.cross(bone, towards)
                rotvec[:, first + k] = most * curls[:, side, finger, None] * axis / np.linalg.norm(axis)
    return BodyMotion("human", rotvec, motion.root_translation_m, motion.betas, motion.fps)


def hand_points(motion: BodyMotion) -> np.ndarray:
    """[T,2,21,3] metres: the wrist, then thumb to little finger, three joints and the skin's farthest vertex each."""
    body = load_body("human", detail="low")
    points, skin, out = joints(motion), body.vertices(motion), []
    rest = body.rest_vertices(motion.betas)
    for side in (0, 1):
        own = [points[:, 20 + side]]
        for f in (4, 0, 1, 3, 2):
            last = 25 + 15 * side + 3 * f + 2
            mine = (body.weights * (body.weight_joints == last)).sum(1) > 0.5
            away = np.linalg.norm(rest - body.rest_joints(motion.betas)[last], axis=-1)
            own += [*points[:, last - 2 : last + 1].transpose(1, 0, 2), skin[:, np.argmax(np.where(mine, away, 0))]]
        out.append(np.stack(own, 1))
    return np.stack(out, 1)
