"""The loops of the z-buffer, compiled by numba: projection, clipping, filling, resolving, vertex normals.

Input: arrays as `kinema.render.rasterizer` prepares them. Output: part ids, subject ids, depth and normals.
Each works on one frame and lets go of Python's lock; `rasterizer` runs them side by side.
Coordinates are homogeneous pixels (U, V, Z): a point is seen at (U/Z, V/Z), Z metres along the camera's axis.
Sums are written out in a fixed order, without fused multiply-add, so that the slow twin can match every bit.
Source: perspective-correct interpolation and the top-left rule as in the Direct3D 11 functional specification, 3.4.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SUBPIXEL_BITS = 8
SUBPIXELS = 1 << SUBPIXEL_BITS
"""Vertices are snapped to 1/256 pixel, as graphics hardware does; coverage is then exact in integers."""
GUARD_PX = 32768.0
"""Triangles are clipped where they leave +-32768 pixels, so that edge functions fit 64 bits."""
_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_COMPILE)
def project(vertices, matrix, near_m, homogeneous, fixed, inverse):
    """World vertices [V,3] through K [R|t] [3,4], into what one frame is drawn from.

    homogeneous  float64 [V,3] pixels
    fixed        int32 [V,2], 1/256 pixel
    inverse      float64 [V] inverse depth; 0 where the vertex is too near, far aside or not finite
    """
    for v in range(len(vertices)):
        x, y, z = np.float64(vertices[v, 0]), np.float64(vertices[v, 1]), np.float64(vertices[v, 2])
        u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]
        w = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]
        d = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
        homogeneous[v, 0], homogeneous[v, 1], homogeneous[v, 2] = u, w, d
        inverse[v] = 0.0
        if np.isfinite(d) and d >= near_m and abs(u) <= GUARD_PX * d and abs(w) <= GUARD_PX * d:
            fixed[v, 0] = np.int32(np.rint(u / d * SUBPIXELS))
            fixed[v, 1] = np.int32(np.rint(w / d * SUBPIXELS))
            inverse[v] = 1.0 / d


@njit(**_COMPILE)
def _plane_distance(p, plane, near_m):
    if plane == 0:
        return p[2] - near_m
    if plane == 1:
        return GUARD_PX * p[2] + p[0]
    if plane == 2:
        return GUARD_PX * p[2] - p[0]
    if plane == 3:
        return GUARD_PX * p[2] + p[1]
    return GUARD_PX * p[2] - p[1]


@njit(**_COMPILE)
def clip(corners, near_m):
    """One triangle [3,3] of homogeneous pixels -> the polygon (up to [8,3]) that near plane and guard leave of it.

    Sutherland and Hodgman (1974). A cut is computed from its inner end to its outer one, so that triangles on
    either side of an edge agree about it.
    """
    polygon, count = np.empty((9, 3)), 3
    polygon[:3] = corners
    kept = np.empty((9, 3))
    for plane in range(5):
        size = 0
        for i in range(count):
            here, there = polygon[i], polygon[(i + 1) % count]
            a, b = _plane_distance(here, plane, near_m), _plane_distance(there, plane, near_m)
            if a >= 0:
                kept[size] = here
                size += 1
            if (a >= 0) != (b >= 0):
                for k in range(3):
                    if a >= 0:
                        kept[size, k] = here[k] + a / (a - b) * (there[k] - here[k])
                    else:
                        kept[size, k] = there[k] + b / (b - a) * (here[k] - there[k])
                size += 1
        count = size
        polygon[:count] = kept[:count]
        if count == 0:
            break
    return polygon[:count]


@njit(**_COMPILE)
def _fill(xs, ys, inverses, face, outside_only, target):
    """Draw one triangle into a window of the picture; nearer wins, ties stay.

    xs, ys, inverses  three each: 1/256 pixels, inverse depths at the corners
    target            first column and row of the window, its inverse depths [R,C], its face ids [R,C]
    """
    left_edge, top_edge, nearest, face_ids = target
    (x0, x1, x2), (y0, y1, y2), (i0, i1, i2) = xs, ys, inverses
    rows, columns = nearest.shape
    half = SUBPIXELS // 2
    left = max((min(x0, x1, x2) + half - 1) >> SUBPIXEL_BITS, left_edge)
    right = min((max(x0, x1, x2) - half) >> SUBPIXEL_BITS, left_edge + columns - 1)
    top = max((min(y0, y1, y2) + half - 1) >> SUBPIXEL_BITS, top_edge)
    bottom = min((max(y0, y1, y2) - half) >> SUBPIXEL_BITS, top_edge + rows - 1)
    if left > right or top > bottom:
        return
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    if area == 0 or (outside_only and area > 0):
        return
    if area < 0:
        x1, y1, i1, x2, y2, i2, area = x2, y2, i2, x1, y1, i1, -area
    # Edge k lies opposite to corner k. Moving one unit right adds -dy, one unit down adds dx.
    dx0, dy0, dx1, dy1, dx2, dy2 = x2 - x1, y2 - y1, x0 - x2, y0 - y2, x1 - x0, y1 - y0
    px, py = left * SUBPIXELS + half, top * SUBPIXELS + half
    # Top-left rule: with a positive area in y-down pixels, a left edge goes up and a top edge goes right.
    # Pixels on other edges are not covered: with 1 taken off, all three signs tell.
    bias0 = 0 if dy0 < 0 or (dy0 == 0 and dx0 > 0) else 1
    bias1 = 0 if dy1 < 0 or (dy1 == 0 and dx1 > 0) else 1
    bias2 = 0 if dy2 < 0 or (dy2 == 0 and dx2 > 0) else 1
    row0 = dx0 * (py - y1) - dy0 * (px - x1) - bias0
    row1 = dx1 * (py - y2) - dy1 * (px - x2) - bias1
    row2 = dx2 * (py - y0) - dy2 * (px - x0) - bias2
    per_area = 1.0 / area
    slope1, slope2 = (i1 - i0) * per_area, (i2 - i0) * per_area
    for y in range(top - top_edge, bottom - top_edge + 1):
        e0, e1, e2 = row0, row1, row2
        for x in range(left - left_edge, right - left_edge + 1):
            if (e0 | e1 | e2) >= 0:
                inverse = np.float32(i0 + ((e1 + bias1) * slope1 + (e2 + bias2) * slope2))
                if inverse > nearest[y, x]:
                    nearest[y, x] = inverse
                    face_ids[y, x] = face
            e0 -= dy0 * SUBPIXELS
            e1 -= dy1 * SUBPIXELS
            e2 -= dy2 * SUBPIXELS
        row0 += dx0 * SUBPIXELS
        row1 += dx1 * SUBPIXELS
        row2 += dx2 * SUBPIXELS


@njit(**_COMPILE)
def _fill_clipped(homogeneous, corners, near_m, face, target):
    """Draw one triangle that crosses the near plane or leaves the guard band, as the fan of what is left of it."""
    points = np.empty((3, 3))
    for k in range(3):
        for m in range(3):
            points[k, m] = homogeneous[corners[k], m]
            if not np.isfinite(points[k, m]):
                return
    polygon = clip(points, near_m)
    fixed = np.empty((len(polygon), 2), np.int64)
    for k in range(len(polygon)):
        fixed[k, 0] = np.int64(np.rint(polygon[k, 0] / polygon[k, 2] * SUBPIXELS))
        fixed[k, 1] = np.int64(np.rint(polygon[k, 1] / polygon[k, 2] * SUBPIXELS))
    for k in range(1, len(polygon) - 1):
        _fill(
            (fixed[0, 0], fixed[k, 0], fixed[k + 1, 0]),
            (fixed[0, 1], fixed[k, 1], fixed[k + 1, 1]),
            (1.0 / polygon[0, 2], 1.0 / polygon[k, 2], 1.0 / polygon[k + 1, 2]),
            face,
            False,
            target,
        )


@njit(**_COMPILE)
def _draw_mesh(projected, faces, first, last, outside_only, near_m, target):
    """The triangles `first` to `last` of one frame into a window."""
    homogeneous, fixed, inverse, _ = projected
    start, limit = target[1] * SUBPIXELS, (target[1] + target[2].shape[0]) * SUBPIXELS
    for face in range(first, last):
        a, b, c = np.uintp(faces[face, 0]), np.uintp(faces[face, 1]), np.uintp(faces[face, 2])
        inverses = (inverse[a], inverse[b], inverse[c])
        if inverses[0] > 0 and inverses[1] > 0 and inverses[2] > 0:
            ys = (np.int64(fixed[a, 1]), np.int64(fixed[b, 1]), np.int64(fixed[c, 1]))
            if max(ys) >= start and min(ys) < limit:
                xs = (np.int64(fixed[a, 0]), np.int64(fixed[b, 0]), np.int64(fixed[c, 0]))
                _fill(xs, ys, inverses, face, outside_only, target)
        else:
            _fill_clipped(homogeneous, faces[face], near_m, face, target)


@njit(**_COMPILE)
def _drawn_window(fixed, inverse, first_row, rows, columns):
    """First column, first row, last column + 1, last row + 1 of what can be covered; all, where anything is clipped."""
    left, top, right, bottom = columns, first_row + rows, 0, first_row
    for v in range(len(fixed)):
        if inverse[v] == 0:
            return 0, first_row, columns, first_row + rows
        x, y = np.int64(fixed[v, 0]) >> SUBPIXEL_BITS, np.int64(fixed[v, 1]) >> SUBPIXEL_BITS
        left, right = min(left, x), max(right, x + 1)
        top, bottom = min(top, y), max(bottom, y + 1)
    return max(left, 0), max(top, first_row), min(right, columns), min(bottom, first_row + rows)


@njit(**_COMPILE)
def _corner_weights(points, x, y, corners):
    """How much each corner of a face counts at a pixel, perspective-correct, not yet of sum 1; -1 seen from outside.

    The weight of a corner is the triple product of the pixel's ray with the two other corners. Seen from the pixel,
    where the ray is (0, 0, 1), that is a product of two dimensions.
    """
    i, j, k = corners
    az, bz, cz = points[i, 2], points[j, 2], points[k, 2]
    ax, ay = np.float32(points[i, 0] - x * az), np.float32(points[i, 1] - y * az)
    bx, by = np.float32(points[j, 0] - x * bz), np.float32(points[j, 1] - y * bz)
    cx, cy = np.float32(points[k, 0] - x * cz), np.float32(points[k, 1] - y * cz)
    wa, wb, wc = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    side = np.float32(-1.0 if wa * az + wb * bz + wc * cz < 0 else 1.0)
    # Snapping shows a face up to 1/512 pixel beyond its edge: no weight may change its sign there.
    zero = np.float32(0.0)
    wa, wb, wc = max(side * wa, zero), max(side * wb, zero), max(side * wc, zero)
    if wa + wb + wc == zero:
        wa = wb = wc = np.float32(1.0)
    return wa, wb, wc, side


@njit(**_COMPILE)
def _pixel_normal(points, x, y, normals, corners):
    """Unit normal seen at a pixel: perspective-correct blend of three vertex normals, turned towards the camera."""
    i, j, k = corners
    wa, wb, wc, side = _corner_weights(points, x, y, corners)
    zero = np.float32(0.0)
    nx = wa * normals[i, 0] + wb * normals[j, 0] + wc * normals[k, 0]
    ny = wa * normals[i, 1] + wb * normals[j, 1] + wc * normals[k, 1]
    nz = wa * normals[i, 2] + wb * normals[j, 2] + wc * normals[k, 2]
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    scale = -side / length if length > zero else zero
    return nx * scale, ny * scale, nz * scale


@njit(**_COMPILE)
def _nearest_faces(projected, mesh, near_m, first_row, shape):
    """The z-buffer of one frame's rows: left, top of the window that can be covered; its inverse depths, its faces."""
    _, fixed, inverse, _ = projected
    faces, _, _, ends, closed = mesh
    left, top, right, bottom = _drawn_window(fixed, inverse, first_row, *shape)
    size = (max(bottom - top, 0), max(right - left, 0))
    nearest, face_ids = np.zeros(size, np.float32), np.empty(size, np.int32)
    if nearest.size == 0:
        return left, top, nearest, face_ids
    vertex, face = 0, 0
    for m in range(len(ends)):
        whole = closed[m] and (inverse[vertex : ends[m, 0]] > 0).all()
        _draw_mesh(projected, faces, face, ends[m, 1], whole, near_m, (left, top, nearest, face_ids))
        vertex, face = ends[m]
    return left, top, nearest, face_ids


@njit(**_COMPILE)
def draw(projected, mesh, near_m, first_row, maps):
    """One frame's rows from `first_row` on, into `maps`: part ids, subject ids, depth (m), normals (camera frame).

    projected  what `project` made, and vertex normals [V,3], camera frame; [0,3]: none wanted, that map is left alone
    mesh       faces; part and subject of each; [M,2] past the last vertex and face of every mesh; [M] whether it is
               closed and may be drawn from outside only
    """
    homogeneous, _, _, normals = projected
    faces, face_parts, face_subjects, _, _ = mesh
    parts, subjects, depth, shown = maps
    depth[:] = np.inf
    left, top, nearest, face_ids = _nearest_faces(projected, mesh, near_m, first_row, depth.shape)
    for y in range(top, top + nearest.shape[0]):
        for x in range(left, left + nearest.shape[1]):
            near = nearest[y - top, x - left]
            if near > 0:
                seen, row = np.uintp(face_ids[y - top, x - left]), y - first_row
                parts[row, x] = face_parts[seen]
                subjects[row, x] = face_subjects[seen]
                depth[row, x] = np.float32(1.0) / near
                if len(normals) > 0:
                    corners = (np.uintp(faces[seen, 0]), np.uintp(faces[seen, 1]), np.uintp(faces[seen, 2]))
                    normal = _pixel_normal(homogeneous, x + 0.5, y + 0.5, normals, corners)
                    shown[row, x, 0], shown[row, x, 1], shown[row, x, 2] = normal


@njit(**_COMPILE)
def draw_surface(projected, mesh, near_m, maps):
    """One frame: which face every pixel shows (-1: none), the weights of its three corners there, and the depth (m)."""
    points, faces = projected[0], mesh[0]
    shown, weights, depth = maps
    shown[:], depth[:] = -1, np.inf
    left, top, nearest, face_ids = _nearest_faces(projected, mesh, near_m, 0, depth.shape)
    for y in range(top, top + nearest.shape[0]):
        for x in range(left, left + nearest.shape[1]):
            if nearest[y - top, x - left] > 0:
                face = face_ids[y - top, x - left]
                i, j, k = np.uintp(faces[face, 0]), np.uintp(faces[face, 1]), np.uintp(faces[face, 2])
                shown[y, x], depth[y, x] = face, np.float32(1.0) / nearest[y - top, x - left]
                wa, wb, wc, _ = _corner_weights(points, x + 0.5, y + 0.5, (i, j, k))
                total = wa + wb + wc
                weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = wa / total, wb / total, wc / total


@njit(**_COMPILE)
def interpolate(face_ids, weights, faces, values, out):
    """Blend vertex values [T or 1,V,C] at the surface points that pixels show, into [T,H,W,C]; 0 where there is none."""
    for t in range(len(face_ids)):
        own = values[t % len(values)]
        for y in range(face_ids.shape[1]):
            for x in range(face_ids.shape[2]):
                face = face_ids[t, y, x]
                for c in range(values.shape[2]):
                    if face < 0:
                        out[t, y, x, c] = 0
                    else:
                        out[t, y, x, c] = (
                            weights[t, y, x, 0] * own[faces[face, 0], c]
                            + weights[t, y, x, 1] * own[faces[face, 1], c]
                            + weights[t, y, x, 2] * own[faces[face, 2], c]
                        )


@njit(**_COMPILE)
def vertex_normals(vertices, faces, rotation, out):
    """Smooth normals: the area-weighted mean of the faces around a vertex, turned by [3,3], into float32 [V,3]."""
    out[:] = 0
    for face in range(len(faces)):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        ux, uy, uz = vertices[j, 0] - ax, vertices[j, 1] - ay, vertices[j, 2] - az
        vx, vy, vz = vertices[k, 0] - ax, vertices[k, 1] - ay, vertices[k, 2] - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (i, j, k):
            out[corner, 0] += nx
            out[corner, 1] += ny
            out[corner, 2] += nz
    for v in range(len(vertices)):
        x, y, z = out[v, 0], out[v, 1], out[v, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0:
            for k in range(3):
                out[v, k] = (rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z) / length


@njit(**_COMPILE)
def is_closed(vertices, faces):
    """Whether every edge is passed as often one way as the other, and the faces [F,3] enclose a positive volume.

    Each directed edge adds a pseudo-random number, its reverse takes it away; what is left is the border.
    """
    border, volume = np.uint64(0), 0.0
    for face in range(len(faces)):
        for k in range(3):
            a, b = np.uint64(faces[face, k]), np.uint64(faces[face, (k + 1) % 3])
            number = (min(a, b) << np.uint64(32)) | max(a, b)
            for shift, factor in (
                (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
                (np.uint64(27), np.uint64(0x94D049BB133111EB)),
            ):
                number = (number ^ (number >> shift)) * factor
            number ^= number >> np.uint64(31)
            if a != b:
                border += number if a < b else ~number + np.uint64(1)
        p, q, r = vertices[faces[face, 0]], vertices[faces[face, 1]], vertices[faces[face, 2]]
        volume += p[0] * (q[1] * r[2] - q[2] * r[1]) + p[1] * (q[2] * r[0] - q[0] * r[2])
        volume += p[2] * (q[0] * r[1] - q[1] * r[0])
    return border == 0 and volume > 0
