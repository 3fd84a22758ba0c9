"""A scene drawn over the video that it was taken from, to see how well it fits.

Input: a scene and its frames. Output: the frames with bodies in the colours of their parts, half transparent, and of every
object the outline, the 16 vertices, the box, and its name, all as the scene's cameras see them.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import UInt8

from kinema.body.object_points import CONTOUR_POINTS, mask_from_points
from kinema.camera import project
from kinema.errors import InputError
from kinema.render.control_maps import render_maps
from kinema.render.palette import PART_COLORS
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject, Video

OPACITY = 0.5
COLOURS = np.array(
    [(255, 196, 0), (0, 200, 255), (255, 90, 160), (120, 230, 80), (190, 130, 255), (255, 130, 60)], np.uint8
)
"""Of objects, in turn."""
LINE_SHARE = 1 / 320
"""Width of a line, as a share of the picture's longer side."""


def overlay(scene: Scene, video: Video) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The frames with the scene on them, one after another. Raises InputError where the video is another's."""
    frames, height, width = video.frames.shape[:3]
    if len(scene.cameras.K) != frames or scene.cameras.image_hw != (height, width):
        hw = scene.cameras.image_hw
        found = f"is {frames} frames of {width}x{height}"
        raise InputError("video", found, f"{len(scene.cameras.K)} frames of {hw[1]}x{hw[0]}, as the scene")
    bodies = tuple(s for s in scene.subjects if isinstance(s.motion, BodyMotion))
    objects = [(k, s) for k, s in enumerate(scene.subjects) if isinstance(s.motion, ObjectMotion)]
    for t in range(frames):
        picture = video.frames[t].copy()
        if bodies:
            _draw_bodies(picture, bodies, _camera(scene.cameras, t), t)
        for k, subject in objects:
            _draw_object(picture, subject, _camera(scene.cameras, t), t, COLOURS[k % len(COLOURS)])
        yield picture


def _camera(cameras: Cameras, t: int) -> Cameras:
    return Cameras(cameras.K[t : t + 1], cameras.T_camera_world[t : t + 1], cameras.image_hw)


def _draw_bodies(picture: np.ndarray, bodies: tuple[Subject, ...], camera: Cameras, t: int) -> None:
    seen = [s.motion[t : t + 1] for s in bodies if isinstance(s.motion, BodyMotion) and s.motion.valid[t]]
    if not seen:
        return
    parts = render_maps(seen, camera, maps="parts").part_ids
    assert parts is not None, "parts were asked for"
    _blend(picture, parts[0] > 0, PART_COLORS[parts[0]])


def _draw_object(picture: np.ndarray, subject: Subject, camera: Cameras, t: int, colour: np.ndarray) -> None:
    motion = subject.motion
    if not isinstance(motion, ObjectMotion) or not motion.valid[t]:
        return
    T = camera.T_camera_world[0].astype(float)
    inside = mask_from_points(motion.points_m[t] @ T[:3, :3].T + T[:3, 3], camera.K[0], camera.image_hw)
    _blend(picture, inside, colour)
    pixels, depth = project(motion.points_m[t : t + 1], camera)
    if (depth <= 0).any():
        return
    corners = np.round((np.clip(pixels[0], -1e4, 1e4) - 0.5) * 16).astype(np.int32)
    line = max(1, round(max(picture.shape) * LINE_SHARE))
    bright = tuple(int(c) for c in colour)
    contour, box = corners[:CONTOUR_POINTS], corners[CONTOUR_POINTS : CONTOUR_POINTS + 4]
    cv2.polylines(picture, [contour], True, bright, line, cv2.LINE_AA, shift=4)
    cv2.polylines(picture, [box], True, (255, 255, 255), max(1, line // 2), cv2.LINE_AA, shift=4)
    for x, y in contour:
        cv2.circle(picture, (int(x), int(y)), 16 * 2 * line, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    x, y = (int(v) for v in box[0] // 16)
    place = (max(0, x), max(12 * line, y - 3 * line))
    for width, ink in ((3 * line, (0, 0, 0)), (line, bright)):
        cv2.putText(picture, subject.label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4 * line, ink, width, cv2.LINE_AA)


def _blend(picture: np.ndarray, where: np.ndarray, colour: np.ndarray) -> None:
    """Colours, one or one a pixel, laid over some of a picture's pixels."""
    over = np.broadcast_to(colour, picture.shape)[where]
    picture[where] = (picture[where] * (1 - OPACITY) + over * OPACITY).astype(np.uint8)
