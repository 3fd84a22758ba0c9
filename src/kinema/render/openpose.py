"""OpenPose drawings, as pose-conditioned models were trained on them.

Input: a human motion and cameras. Output: 18 body keypoints, 21 of each hand, and the RGB drawing.
Keypoint order, limb order and colours: OpenPose's COCO model (Cao et al. 2019); thickness, dimmed limbs and the hands'
rainbow: the annotator of ControlNet (Zhang et al. 2023). A point that OpenPose would not find is left out: outside
the picture, behind the camera, or on the side of the head that is turned away. Limbs behind the body stay, as it
infers them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from kinema.body.model import BodyModel, forward_kinematics
from kinema.body.skeleton import FINGERS, HUMAN_JOINTS, HUMAN_PARENTS
from kinema.camera import project
from kinema.geometry import rotvec_to_rotmat
from kinema.types import BodyMotion, Cameras

KEYPOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLORS = np.array(
    [
        (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
        (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
        (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
    ]
)  # fmt: skip
"""RGB; of the keypoint with that number, and of the limb with that number."""
HAND_LIMBS = tuple((0 if k == 0 else 4 * f + k, 4 * f + k + 1) for f in range(5) for k in range(4))
LIMB_BRIGHTNESS = 0.6
STICK_PX, HAND_LINE_PX, SHORT_SIDE_PX = 4, 2, 512
"""Half the width of a limb and the radius of a joint, and the lines of a hand, in a picture with that shorter side."""
_HAND_ORDER = ("thumb", "index", "middle", "ring", "pinky")

_FACE = {
    "nose": ((0.0, -0.65, 0.72), (0.0, 0.0, 1.0)),
    "right_eye": ((-0.5, 0.0, 0.0), (-0.4, 0.0, 0.9)),
    "left_eye": ((0.5, 0.0, 0.0), (0.4, 0.0, 0.9)),
    "right_ear": ((-1.44, -0.1, -1.5), (-1.0, 0.0, 0.0)),
    "left_ear": ((1.44, -0.1, -1.5), (1.0, 0.0, 0.0)),
}
"""Place from the middle of the eyes, in distances between the eyes (measured on the built-in body), and the way out
of the head there; in the head's frame: +x its left, +y up, +z front. SMPL-X has neither nose nor ears as joints."""
_TURNED_AWAY = -0.25
"""Cosine between the way out of the head and the way to the camera, from where on a point of the face is not found."""
_FINGERTIP = 0.85
"""Length of a finger's last bone, which SMPL-X has no joint at the end of, to the one before (adult hands)."""


@dataclass(frozen=True)
class Pose:
    """Keypoints of one person in the world, metres; `found` where OpenPose would see them from a camera.

    hands  left, right: wrist, then four points a finger from thumb to little finger; None where fingers never move
    """

    body_m: Float[np.ndarray, "T 18 3"]
    out_of_head: Float[np.ndarray, "T 18 3"]
    hands_m: Float[np.ndarray, "T 2 21 3"] | None


def keypoints(motion: BodyMotion, body: BodyModel) -> Pose:
    """Keypoints of a human motion: SMPL-X joints; the neck between the shoulders; the face by its offsets."""
    import torch

    rest = body.rest_joints(motion.betas)
    bones = rest - rest[np.maximum(HUMAN_PARENTS, 0)]
    positions, rotations = (
        a.numpy()
        for a in forward_kinematics(
            torch.from_numpy(rotvec_to_rotmat(motion.rotvec)),
            torch.from_numpy(bones.astype(np.float32)),
            torch.from_numpy(motion.root_translation_m),
            HUMAN_PARENTS,
        )
    )
    joint = {name: positions[:, j] for j, name in enumerate(HUMAN_JOINTS)}
    eyes = joint["left_eye_smplhf"] - joint["right_eye_smplhf"]
    between = (joint["left_eye_smplhf"] + joint["right_eye_smplhf"]) / 2
    unit = np.linalg.norm(eyes, axis=-1)[:, None]
    head = rotations[:, HUMAN_JOINTS.index("head")]
    points, outward = np.zeros((2, len(motion), len(KEYPOINTS), 3), np.float32)
    for k, name in enumerate(KEYPOINTS):
        if name in _FACE:
            place, way = (head @ np.array(v, np.float32) for v in _FACE[name])
            points[:, k] = joint[f"{name}_smplhf"] if name.endswith("eye") else between + unit * place
            outward[:, k] = way
        elif name == "neck":
            points[:, k] = (joint["left_shoulder"] + joint["right_shoulder"]) / 2
        else:
            points[:, k] = joint[name]
    moving = np.abs(motion.rotvec[:, 25:]).max() > 1e-3
    return Pose(points, outward, _hands(positions, rotations, bones) if moving else None)


def _hands(positions: np.ndarray, rotations: np.ndarray, bones: np.ndarray) -> np.ndarray:
    hands = np.zeros((len(positions), 2, 21, 3), np.float32)
    for side, (wrist, first) in enumerate(((20, 25), (21, 40))):
        hands[:, side, 0] = positions[:, wrist]
        for f, name in enumerate(_HAND_ORDER):
            joints = first + 3 * FINGERS.index(name) + np.arange(3)
            hands[:, side, 1 + 4 * f : 4 + 4 * f] = positions[:, joints]
            tip = rotations[:, joints[2]] @ (_FINGERTIP * bones[joints[2]])
            hands[:, side, 4 + 4 * f] = positions[:, joints[2]] + tip
    return hands


def seen_keypoints(pose: Pose, cameras: Cameras) -> tuple[Float[np.ndarray, "T 18 2"], Bool[np.ndarray, "T 18"]]:
    """Pixels of the body's keypoints, and which of them are found."""
    pixels, found = _in_picture(pose.body_m, cameras)
    T = cameras.T_camera_world
    eye = -(T[:, :3, :3].transpose(0, 2, 1) @ T[:, :3, 3:])[..., 0]
    to_camera = eye[:, None] - pose.body_m
    to_camera /= np.maximum(np.linalg.norm(to_camera, axis=-1, keepdims=True), 1e-9)
    return pixels, found & ((pose.out_of_head * to_camera).sum(-1) > _TURNED_AWAY)


def _in_picture(points_m: np.ndarray, cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    pixels, depth = project(points_m, cameras)
    height, width = cameras.image_hw
    return pixels, (depth > 0) & ((pixels >= 0) & (pixels < [width, height])).all(-1)


def draw_poses(people: list[Pose], cameras: Cameras, visible: Bool[np.ndarray, "N T"]) -> np.ndarray:
    """All people on black, RGB uint8 [T,H,W,3]; nobody is drawn in frames where `visible` is False."""
    frames, (height, width) = len(cameras.K), cameras.image_hw
    canvas = np.zeros((frames, height, width, 3), np.uint8)
    scale = min(height, width) / SHORT_SIDE_PX
    bodies = [seen_keypoints(pose, cameras) for pose in people]
    hands = [_seen_hands(pose, cameras) for pose in people]
    for t in range(frames):
        here = [n for n in range(len(people)) if visible[n, t]]
        _draw_bodies(canvas[t], [(bodies[n][0][t], bodies[n][1][t]) for n in here], scale)
        for n in here:
            for pixels, found in hands[n]:
                _draw_hand(canvas[t], pixels[t], found[t], scale)
    return canvas


def _seen_hands(pose: Pose, cameras: Cameras) -> list[tuple[np.ndarray, np.ndarray]]:
    if pose.hands_m is None:
        return []
    return [_in_picture(pose.hands_m[:, side], cameras) for side in range(2)]


def _draw_bodies(canvas: np.ndarray, people: list[tuple[np.ndarray, np.ndarray]], scale: float) -> None:
    stick = max(1, round(STICK_PX * scale))
    for k, (a, b) in enumerate(LIMBS):
        for pixels, found in people:
            if found[a] and found[b]:
                middle, along = (pixels[a] + pixels[b]) / 2, pixels[b] - pixels[a]
                half = int(np.hypot(*along) / 2)
                angle = int(np.degrees(np.arctan2(along[1], along[0])))
                center = (int(middle[0]), int(middle[1]))
                outline = np.array(cv2.ellipse2Poly(center, (half, stick), angle, 0, 360, 1))
                cv2.fillConvexPoly(canvas, outline, COLORS[k].tolist())
    canvas[:] = (canvas * LIMB_BRIGHTNESS).astype(np.uint8)
    for k in range(len(KEYPOINTS)):
        for pixels, found in people:
            if found[k]:
                cv2.circle(canvas, (int(pixels[k, 0]), int(pixels[k, 1])), stick, COLORS[k].tolist(), thickness=-1)


def _draw_hand(canvas: np.ndarray, pixels: np.ndarray, found: np.ndarray, scale: float) -> None:
    import colorsys

    points = [(int(x), int(y)) for x, y in np.where(found[:, None], pixels, 0)]
    for k, (a, b) in enumerate(HAND_LIMBS):
        if found[a] and found[b]:
            color = [255 * c for c in colorsys.hsv_to_rgb(k / len(HAND_LIMBS), 1.0, 1.0)]
            cv2.line(canvas, points[a], points[b], color, thickness=max(1, round(HAND_LINE_PX * scale)))
    for k in range(21):
        if found[k]:
            cv2.circle(canvas, points[k], max(1, round(STICK_PX * scale)), (0, 0, 255), thickness=-1)
