"""The preview: a motion as a picture to look at, softly lit on a floor with a grid, shadows and contact.

Input: a few frames of a `Shot`. Output: RGB uint8 [T,H,W,3]. Each pixel averages 2x2 samples in linear light. The
shadow is a shadow map from a distant lamp; the dark under what touches the floor is a height map seen from below.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from kinema.camera import resize
from kinema.render import shading_kernels as kernels
from kinema.render.rasterizer import Mesh, rasterize
from kinema.render.shot import Shot, outermost_points
from kinema.types import Cameras

SAMPLES = 2
SUBJECT_COLORS = ((0x4F, 0x97, 0xC9), (0xE5, 0x7F, 0x5A), (0x6F, 0xB0, 0x7F), (0xC9, 0x8A, 0xC4), (0xE0, 0xB2, 0x4A))
"""sRGB, one after another and over again."""
LAMP_AZIMUTH_RAD, LAMP_ELEVATION_RAD = np.radians(-42.0), np.radians(52.0)
"""Where the key light stands, from the first camera's point of view: to the left and above."""
_DISTANCE_M, _MAP_PX = 60.0, 640
"""Both maps are taken from so far away that rays are as good as parallel."""
_CONTACT_M = 0.10
"""At this height above the floor what darkens it has lost 1 - 1/e of its effect."""


def _encoding() -> np.ndarray:
    """Linear light in steps of 1/4095 -> sRGB uint8, the brightest a little held back."""
    linear = np.arange(4096) / 4095
    linear /= 1 + 0.12 * linear**2
    encoded = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.rint(encoded * 255).astype(np.uint8)


_ENCODE = _encoding()


@dataclass(frozen=True)
class Stage:
    """What stays the same over a clip: lamp (unit, towards it), the middle of each frame, what radius to light."""

    lamp: Float[np.ndarray, " 3"]
    centers: Float[np.ndarray, "T 3"]
    radius_m: float
    albedos: Float[np.ndarray, "S 3"]


def make_stage(shot: Shot) -> Stage:
    """Light a shot: the lamp keeps its place in the world, seen from the first camera's side."""
    points = outermost_points(shot)
    low, high = points.min(1), points.max(1)
    forward = shot.cameras.T_camera_world[0, 2, :3]
    azimuth = np.arctan2(-forward[0], -forward[2]) + LAMP_AZIMUTH_RAD
    c = np.cos(LAMP_ELEVATION_RAD)
    lamp = np.array([c * np.sin(azimuth), np.sin(LAMP_ELEVATION_RAD), c * np.cos(azimuth)])
    colors = np.array([SUBJECT_COLORS[k % len(SUBJECT_COLORS)] for k in range(len(shot.subjects))]) / 255.0
    albedos = np.concatenate([np.zeros((1, 3)), np.where(colors > 0.04045, ((colors + 0.055) / 1.055) ** 2.4, 0)])
    radius = float(np.linalg.norm(high - low, axis=-1).max() / 2 * 1.15 + 0.2)
    return Stage(lamp, (low + high) / 2, radius, albedos)


def draw_shaded(shot: Shot, stage: Stage, frames: slice, meshes: list[Mesh]) -> UInt8[np.ndarray, "T H W 3"]:
    """Some frames of a shot; `meshes` are those of the same frames."""
    from numba import get_num_threads

    cameras = shot.camera_slice(frames)
    height, width = cameras.image_hw
    fine = resize(cameras, (SAMPLES * width, SAMPLES * height))
    raster = rasterize(meshes, fine)
    normals = raster.normals
    assert normals is not None, "normals were asked for"
    centers = stage.centers[frames]
    from_lamp = _distant_cameras(centers, stage.lamp, stage.radius_m)
    from_below = _distant_cameras(centers, np.array([0.0, -1.0, 0.0]), stage.radius_m)
    shadow = rasterize(meshes, from_lamp, normals=False).depth_m
    below = rasterize(meshes, from_below, normals=False).depth_m
    matrices = [(c.K.astype(float) @ c.T_camera_world[:, :3].astype(float)) for c in (from_lamp, from_below)]
    out = np.empty((len(meshes[0].vertices), height, width, 3), np.uint8)
    texel_m = 2 * stage.radius_m / _MAP_PX

    def draw(t: int) -> None:
        soft = cv2.GaussianBlur(np.isfinite(shadow[t]).astype(np.float32), (0, 0), max(0.022 / texel_m, 0.8))
        floor_depth = matrices[1][t][2, 3]
        near = np.exp(-np.maximum(below[t] - floor_depth, 0) / _CONTACT_M).astype(np.float32)
        contact = np.maximum(
            cv2.GaussianBlur(near, (0, 0), max(0.015 / texel_m, 0.8)),
            _wide_blur(near, 0.06 / texel_m),
        )
        T = fine.T_camera_world[t].astype(float)
        kernels.shade(
            (raster.depth_m[t], normals[t], raster.subject_ids[t]),
            (np.linalg.inv(fine.K[t].astype(float)), np.ascontiguousarray(T[:3, :3]), -T[:3, :3].T @ T[:3, 3]),
            (stage.albedos, centers[t].astype(float), stage.radius_m, stage.lamp),
            (matrices[0][t], shadow[t], soft),
            (matrices[1][t], contact),
            _ENCODE,
            out[t],
        )

    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(draw, range(len(out))))
    return out


def _wide_blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """A Gaussian blur at a quarter of the size, where it costs little."""
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), max(sigma_px / 4, 0.5)), image.shape[::-1])


def _distant_cameras(centers: np.ndarray, toward: np.ndarray, radius_m: float) -> Cameras:
    """Square views of the surroundings of each centre from far away; they move in whole texels, so as not to shimmer."""
    forward = -toward / np.linalg.norm(toward)
    right = np.cross(forward, [0.0, 1.0, 0.0]) if abs(forward[1]) < 0.99 else np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    texel_m = 2 * radius_m / _MAP_PX
    moved = centers @ rotation.T
    moved[:, :2] = np.rint(moved[:, :2] / texel_m) * texel_m
    T = np.tile(np.eye(4), (len(centers), 1, 1))
    T[:, :3, :3] = rotation
    T[:, :3, 3] = -moved + [0, 0, _DISTANCE_M]
    focal = _MAP_PX / 2 * _DISTANCE_M / radius_m
    K = np.array([[focal, 0, _MAP_PX / 2], [0, focal, _MAP_PX / 2], [0, 0, 1]])
    return Cameras(np.tile(K, (len(T), 1, 1)), T, (_MAP_PX, _MAP_PX))
