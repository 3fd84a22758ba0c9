"""The slow, obviously right twin of the z-buffer, for tests: every triangle against every pixel, in plain numpy.

Input and output as `kinema.render.rasterizer.rasterize`, whose rules it follows word by word: same snapping, same
coverage, same depth, hence the same bits. It has no bounding boxes, no stepping, no bands and no fast path.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from kinema.render.raster_kernels import GUARD_PX, SUBPIXELS
from kinema.render.rasterizer import NEAR_M, Geometry, Mesh, Raster, gather
from kinema.types import Cameras


def rasterize_slowly(meshes: list[Mesh], cameras: Cameras, near_m: float = NEAR_M) -> Raster:
    """The same maps as `rasterize`. Normals follow from a ray's exact hit and agree up to rounding."""
    geometry = gather(meshes, cameras)
    frames, shape = len(geometry.vertices), (geometry.height, geometry.width)
    parts, subjects = np.zeros((frames, *shape), np.uint8), np.zeros((frames, *shape), np.uint8)
    depth, normals = np.full((frames, *shape), np.inf, np.float32), np.zeros((frames, *shape, 3), np.float32)
    for t in range(frames):
        points = _project(geometry.vertices[t], geometry.matrices[t])
        nearest, winner = np.zeros(shape, np.float32), np.full(shape, -1)
        outside_only = _faces_of_whole_closed_meshes(geometry, points, near_m)
        for face, corners in enumerate(geometry.faces):
            inverse = _inverse_depth_of_triangle(points[corners], near_m, outside_only[face], *shape)
            nearer = inverse > nearest
            nearest[nearer], winner[nearer] = inverse[nearer], face
        hit = winner >= 0
        parts[t][hit] = geometry.face_parts[winner[hit]]
        subjects[t][hit] = geometry.face_subjects[winner[hit]]
        depth[t][hit] = np.float32(1) / nearest[hit]
        smooth = _vertex_normals(geometry, t)
        for y, x in np.argwhere(hit):
            corners = geometry.faces[winner[y, x]]
            normals[t, y, x] = _normal(points[corners], np.array([x + 0.5, y + 0.5, 1.0]), smooth[corners])
    return Raster(parts, subjects, depth, normals)


def _project(vertices: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    x, y, z = vertices.astype(np.float64).T
    return np.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in matrix], -1)


def _clip(polygon: list[np.ndarray], near_m: float) -> list[np.ndarray]:
    planes = (
        lambda p: p[2] - near_m,
        lambda p: GUARD_PX * p[2] + p[0],
        lambda p: GUARD_PX * p[2] - p[0],
        lambda p: GUARD_PX * p[2] + p[1],
        lambda p: GUARD_PX * p[2] - p[1],
    )
    for distance in planes:
        kept = []
        for here, there in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            if distance(here) >= 0:
                kept.append(here)
            if (distance(here) >= 0) != (distance(there) >= 0):
                inner, outer = (here, there) if distance(here) >= 0 else (there, here)
                share = distance(inner) / (distance(inner) - distance(outer))
                kept.append(inner + share * (outer - inner))
        polygon = kept
    return polygon


def _faces_of_whole_closed_meshes(geometry: Geometry, points: np.ndarray, near_m: float) -> np.ndarray:
    """[F] whether a face belongs to a closed mesh of which nothing is cut."""
    depth = points[:, 2]
    with np.errstate(invalid="ignore"):
        uncut = np.isfinite(depth) & (depth >= near_m) & (np.abs(points[:, :2]) <= GUARD_PX * depth[:, None]).all(1)
    starts, flags = np.concatenate([[[0, 0]], geometry.mesh_ends]), []
    for m, closed in enumerate(geometry.mesh_closed):
        whole = closed and uncut[starts[m, 0] : starts[m + 1, 0]].all()
        flags += [whole] * (starts[m + 1, 1] - starts[m, 1])
    return np.array(flags, bool)


def _inverse_depth_of_triangle(
    corners: np.ndarray, near_m: float, outside_only: bool | np.bool_, height: int, width: int
) -> np.ndarray:
    """float32 [H,W] inverse depth of one triangle (homogeneous pixels), 0 where it does not cover the pixel."""
    inverse = np.zeros((height, width), np.float32)
    if not np.isfinite(corners).all():
        return inverse
    polygon = _clip(list(corners), near_m)
    for k in range(1, len(polygon) - 1):
        fan = np.stack([polygon[0], polygon[k], polygon[k + 1]])
        inverse = np.maximum(inverse, _cover(fan, outside_only, height, width))
    return inverse


def _cover(corners: np.ndarray, outside_only: bool | np.bool_, height: int, width: int) -> np.ndarray:
    snapped = np.rint(corners[:, :2] / corners[:, 2:] * SUBPIXELS).astype(np.int64)
    inverse = 1.0 / corners[:, 2]
    (x0, y0), (x1, y1), (x2, y2) = snapped
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    if area == 0 or (outside_only and area > 0):  # clockwise in the picture: seen from inside
        return np.zeros((height, width), np.float32)
    if area < 0:
        snapped, inverse, area = snapped[[0, 2, 1]], inverse[[0, 2, 1]], -area
    y, x = np.mgrid[:height, :width] * SUBPIXELS + SUBPIXELS // 2
    inside, edges = np.ones((height, width), bool), []
    for k in range(3):
        (ax, ay), (bx, by) = snapped[(k + 1) % 3], snapped[(k + 2) % 3]
        edge = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        left, top = by < ay, by == ay and bx > ax
        inside &= (edge > 0) | ((edge == 0) & (left or top))
        edges.append(edge)
    slope1, slope2 = (inverse[1] - inverse[0]) * (1.0 / area), (inverse[2] - inverse[0]) * (1.0 / area)
    blend = (inverse[0] + (edges[1] * slope1 + edges[2] * slope2)).astype(np.float32)
    return np.where(inside, blend, np.float32(0))


def _vertex_normals(geometry: Geometry, frame: int) -> Float[np.ndarray, "V 3"]:
    vertices = geometry.vertices[frame].astype(np.float64)
    total = np.zeros_like(vertices)
    for corners in geometry.faces:
        a, b, c = vertices[corners]
        total[corners] += np.cross(b - a, c - a)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0) @ geometry.rotations[frame].T


def _normal(corners: np.ndarray, ray: np.ndarray, normals: np.ndarray) -> np.ndarray:
    volume = np.dot(corners[0], np.cross(corners[1], corners[2]))
    side = -1.0 if volume < 0 else 1.0
    weights = [np.dot(ray, np.cross(corners[(k + 1) % 3], corners[(k + 2) % 3])) for k in range(3)]
    weights = np.maximum(side * np.array(weights), 0)
    blend = -side * (weights if weights.any() else np.ones(3)) @ normals
    return blend / np.linalg.norm(blend) if blend.any() else blend
