"""The 21-point object: from a mask and depth to points in space, and back to a mask (ReVision, section 4.2-S2).

Input: binary masks, metric depth, cameras. Output: `ObjectMotion`: 16 vertices evenly spaced along the contour,
clockwise in the picture, 4 corners of the bounding box, clockwise from top left, and its centre, lifted with depth.
The first vertex is the topmost one in the first frame; after that the one that keeps the vertices closest to where
they were, their mean held still, so that vertices follow the object rather than jump along its outline.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from kinema.errors import InputError
from kinema.types import Cameras, ObjectMotion

CONTOUR_POINTS, OBJECT_POINTS = 16, 21
NEAREST_M = 1e-3
"""What lies closer to the camera's plane than this, or behind it, is cut off."""
_STARTS = 8
"""How many places between two vertices are tried as the first one."""
_DEPTH_REACH_PX = 2
"""A contour vertex takes the median depth of the mask's pixels this near: depth bleeds at an object's edge."""


def evenly_spaced(
    outline: Float[np.ndarray, "N D"], count: int = CONTOUR_POINTS, start: float = 0.0
) -> Float[np.ndarray, "M D"]:
    """`count` points at equal arc length along a closed outline (its last point joins its first).

    start  where the first one lies, in fractions of the outline's length from outline[0]
    """
    closed = np.concatenate([outline, outline[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=-1))])
    if along[-1] == 0:
        return np.repeat(outline[:1], count, 0)
    at = (np.arange(count) / count + start) % 1 * along[-1]
    return np.stack([np.interp(at, along, closed[:, k]) for k in range(closed.shape[1])], -1)


def contour_vertices(
    outline_px: Float[np.ndarray, "N 2"], previous: Float[np.ndarray, "16 2"] | None = None
) -> Float[np.ndarray, "16 2"]:
    """Outline in pixels, either way round -> 16 vertices, clockwise in the picture, in step with `previous`."""
    x, y = outline_px.T
    area = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)
    outline = outline_px if area >= 0 else outline_px[::-1]
    outline = np.roll(outline, -int(np.lexsort(outline.T)[0]), 0)
    if previous is None:
        return evenly_spaced(outline)
    fine = evenly_spaced(outline, CONTOUR_POINTS * _STARTS)
    moved = fine - fine.mean(0) + previous.mean(0)
    order = np.arange(len(fine))[:, None] + np.arange(CONTOUR_POINTS) * _STARTS
    misfit = np.sum((moved[order % len(fine)] - previous) ** 2, (1, 2))
    return fine[order[np.argmin(misfit)] % len(fine)]


def _outline(mask: np.ndarray) -> np.ndarray | None:
    """[N,2] pixels: the outer contour of the mask's largest piece, through its pixels' centres; None if empty."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return None
    largest = max(found, key=lambda c: (cv2.contourArea(c), len(c)))
    return largest[:, 0].astype(float) + 0.5


def _box(mask: np.ndarray) -> np.ndarray:
    """[5,2] pixels: the corners of the box around the whole mask, clockwise from top left, and its centre."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.array([*corners, ((left + right) / 2, (top + bottom) / 2)], float)


def _lift(pixels: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> np.ndarray:
    """[N,2] pixels, [N] depth along the camera's axis -> [N,3] camera frame, metres."""
    focal, middle = np.array([K[0, 0], K[1, 1]]), K[:2, 2]
    return np.concatenate([(pixels - middle) / focal * depth_m[:, None], depth_m[:, None]], -1)


def _vertex_depths(vertices: np.ndarray, mask: np.ndarray, depth_m: np.ndarray, usual_m: float) -> np.ndarray:
    """[16] median depth of the mask's pixels around every vertex; the object's usual one where there is none."""
    depths = np.full(len(vertices), usual_m)
    reach = _DEPTH_REACH_PX
    for k, (x, y) in enumerate(np.floor(vertices).astype(int)):
        near = slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1)
        seen = depth_m[near][mask[near] & _is_depth(depth_m[near])]
        if len(seen):
            depths[k] = np.median(seen)
    return depths


def _is_depth(depth_m: np.ndarray) -> np.ndarray:
    return np.isfinite(depth_m) & (depth_m > 0)


def points_from_mask(
    mask: Bool[np.ndarray, "H W"],
    depth: Float[np.ndarray, "H W"],
    K: Float[np.ndarray, "3 3"],
    previous: Float[np.ndarray, "16 2"] | None = None,
) -> Float32[np.ndarray, "21 3"]:
    """One frame -> 21 points in the camera frame, metres; depth is metric, along the camera's axis.

    previous  the vertices of the frame before in pixels, to keep step with
    Box corners and centre, which may lie off the object, take its median depth. Raises InputError where the mask is
    empty or has no depth.
    """
    return _points(mask, depth, K, previous)[0]


def _points(mask, depth, K, previous) -> tuple[np.ndarray, np.ndarray]:
    """-> points [21,3] in the camera frame, contour vertices [16,2] in pixels."""
    outline = _outline(mask)
    if outline is None:
        raise InputError("mask", "is empty", expected="at least one pixel of the object")
    seen = mask & _is_depth(depth)
    if not seen.any():
        raise InputError("depth", "is nowhere above zero and finite on the mask", expected="metres")
    vertices = contour_vertices(outline, previous)
    usual = float(np.median(depth[seen]))
    depths = np.append(_vertex_depths(vertices, mask, depth, usual), np.full(5, usual))
    return _lift(np.concatenate([vertices, _box(mask)]), depths, K).astype(np.float32), vertices


def object_motion(
    masks: Bool[np.ndarray, "T H W"], depths: Float[np.ndarray, "T H W"], cameras: Cameras, fps: float
) -> ObjectMotion:
    """A mask and a depth map a frame -> the object's points in the world.

    A frame without a mask or without depth on it is not valid; it holds the points of the valid frame nearest to it
    (zeros where there is none at all). Raises InputError where the lengths differ.
    """
    if not len(masks) == len(depths) == len(cameras.K):
        counts = f"{len(masks)} masks, {len(depths)} depth maps, {len(cameras.K)} cameras"
        raise InputError("object_motion", f"got {counts}", expected="one of each a frame")
    points = np.zeros((len(masks), OBJECT_POINTS, 3), np.float32)
    valid = np.array([(mask & _is_depth(depth)).any() for mask, depth in zip(masks, depths, strict=True)], bool)
    previous = None
    for t in np.flatnonzero(valid):
        seen, previous = _points(masks[t], depths[t], cameras.K[t], previous)
        T_world_camera = np.linalg.inv(cameras.T_camera_world[t].astype(float))
        points[t] = seen @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
    if valid.any():
        known = np.flatnonzero(valid)
        points = points[known[np.abs(np.arange(len(masks))[:, None] - known).argmin(1)]]
    return ObjectMotion(points, fps, valid)


def mask_from_points(
    points: Float[np.ndarray, "21 3"], K: Float[np.ndarray, "3 3"], size: tuple[int, int]
) -> Bool[np.ndarray, "H W"]:
    """21 points in the camera frame, metres -> the mask that their contour encloses; size is (height, width)."""
    contour = _in_front(points[:CONTOUR_POINTS].astype(float))
    mask = np.zeros(size, np.uint8)
    if len(contour):
        pixels = contour[:, :2] / contour[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]
        steps = np.round((np.clip(pixels, -1e5, 1e5) - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(mask, [steps], 1, shift=8)
    return mask.astype(bool)


def _in_front(contour: np.ndarray) -> np.ndarray:
    """The polygon [N,3] cut off at the camera's near plane (Sutherland and Hodgman 1974)."""
    kept = []
    for here, after in zip(contour, np.roll(contour, -1, 0), strict=True):
        inside, inside_next = here[2] >= NEAREST_M, after[2] >= NEAREST_M
        if inside:
            kept.append(here)
        if inside != inside_next:
            share = (NEAREST_M - here[2]) / (after[2] - here[2])
            kept.append(here + share * (after - here))
    return np.array(kept)


def object_masks(motion: ObjectMotion, cameras: Cameras) -> Bool[np.ndarray, "T H W"]:
    """The object as every frame's camera sees it; empty where it is not valid."""
    if len(motion.points_m) != len(cameras.K):
        raise InputError("object_masks", f"{len(motion.points_m)} frames, {len(cameras.K)} cameras", "one a frame")
    masks = np.zeros((len(cameras.K), *cameras.image_hw), bool)
    for t in np.flatnonzero(motion.valid):
        T = cameras.T_camera_world[t].astype(float)
        masks[t] = mask_from_points(motion.points_m[t] @ T[:3, :3].T + T[:3, 3], cameras.K[t], cameras.image_hw)
    return masks
