"""Clips whose texture is known: bodies painted by their places at rest, before a picture far away."""

import cv2
import numpy as np

from kinema.camera import resize
from kinema.reinforce.skin_texture import rest_vertices
from kinema.render.rasterizer import rasterize_surface
from kinema.render.shot import make_shot
from kinema.types import JOINT_COUNT, BodyMotion, Cameras, ObjectMotion, Scene, Subject

HW = (64, 64)
FPS = 8.0


def standing(root_m, category="human", turn_rad=None):
    """A body at rest with its pelvis at `root_m` [T,3], turned about the vertical."""
    root = np.asarray(root_m, np.float32)
    rotvec = np.zeros((len(root), JOINT_COUNT[category], 3), np.float32)
    rotvec[:, 0, 1] = 0 if turn_rad is None else turn_rad
    return BodyMotion(category, rotvec, root, np.zeros(0, np.float32), FPS)


def disc(center_m, radius_m=0.35):
    """An object whose outline is a circle that faces +z, its middle at `center_m` [T,3]."""
    angle = np.arange(16) / 16 * 2 * np.pi - np.pi / 2
    ring = radius_m * np.stack([np.cos(angle), -np.sin(angle), 0 * angle], -1)
    box = radius_m * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0], [0, 0, 0]])
    points = np.concatenate([ring, box])[None] + np.asarray(center_m)[:, None]
    return ObjectMotion(points.astype(np.float32), FPS, np.ones(len(points), bool))


def camera(frames, zoom=None, pan_rad=None, hw=HW):
    """3 m before the origin at 1 m height, looking along -z; zoom and pan [T]."""
    zoom = np.ones(frames) if zoom is None else np.asarray(zoom)
    pan = np.zeros(frames) if pan_rad is None else np.asarray(pan_rad)
    focal = 0.9 * hw[1] * zoom
    K, T = np.tile(np.eye(3), (frames, 1, 1)), np.tile(np.eye(4), (frames, 1, 1))
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = focal, focal, hw[1] / 2, hw[0] / 2
    c, s, zero = np.cos(pan), np.sin(pan), np.zeros(frames)
    T[:, :3, :3] = np.stack(
        [np.stack([c, zero, s], -1), np.tile([0, -1, 0], (frames, 1)), np.stack([s, zero, -c], -1)], 1
    )
    T[:, :3, 3] = -T[:, :3, :3] @ [0, 0.2, 3.0]
    return Cameras(K.astype(np.float32), T.astype(np.float32), hw)


def scene(motions, cameras):
    return Scene(tuple(Subject(k, "", "", motion) for k, motion in enumerate(motions)), cameras)


def backdrop(cameras, seed=0):
    """float32 [T,H,W,3]: a smooth random picture at infinity, as every camera sees it."""
    height, width = cameras.image_hw
    cells = np.random.default_rng(seed).random((13, 13, 3)).astype(np.float32) * 160 + 40
    wide = cv2.resize(cells, (3 * width, 3 * height), interpolation=cv2.INTER_CUBIC)
    K, R = cameras.K.astype(float), cameras.T_camera_world[:, :3, :3].astype(float)
    far = K[0] + [[0, 0, width], [0, 0, height], [0, 0, 0]]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    middle = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.stack([
        cv2.warpPerspective(
            wide, np.linalg.inv(middle) @ far @ R[0] @ R[t].T @ np.linalg.inv(K[t]) @ middle, (width, height), flags=flags
        )
        for t in range(len(K))
    ])  # fmt: skip


def by_place(rest_m):
    """A colour [V,3] that runs smoothly over the body."""
    return 128 + 90 * np.sin(rest_m * [5.0, 6.0, 7.0] + [0.0, 1.0, 2.0])


def paint(scene, colour=by_place):
    """-> frames uint8 [T,H,W,3], subject ids uint8 [T,H,W]: 2x2 samples a pixel, no light. Objects are not painted."""
    shot, (height, width) = make_shot(scene), scene.cameras.image_hw
    surface = rasterize_surface(shot.meshes(slice(0, len(shot))), resize(scene.cameras, (2 * width, 2 * height)))
    values = [colour(rest_vertices(b, s.motion)) for b, s in zip(shot.bodies, shot.subjects, strict=True)]
    behind = backdrop(scene.cameras).repeat(2, 1).repeat(2, 2)
    fine = np.where(surface.face_ids[..., None] < 0, behind, surface.interpolate(values))
    frames = np.rint(fine.reshape(len(shot), height, 2, width, 2, 3).mean((2, 4))).clip(0, 255).astype(np.uint8)
    return frames, surface.of_pixels(surface.face_subjects)[:, ::2, ::2]


def psnr(a, b, where=None):
    error = (np.asarray(a, float) - b) ** 2
    return 10 * np.log10(255**2 / max(float(error[where].mean() if where is not None else error.mean()), 1e-9))
