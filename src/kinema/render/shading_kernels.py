"""The light of the preview, compiled by numba: one picture from depth, normals, a shadow map and a height map.

Input: maps at `samples` times the size of the picture. Output: RGB uint8 [H,W,3], averaged in linear light.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": True}
KEY, SKY, BOUNCE = (1.0, 0.95, 0.87), (0.50, 0.56, 0.66), (0.36, 0.32, 0.29)
"""Linear light of the key lamp, from above, and back from the floor."""
FLOOR, LINE = (0.60, 0.60, 0.585), (-0.13, -0.125, -0.105)
"""Linear albedo of the floor, and what a line of its grid adds."""
HAZE, ZENITH = (0.70, 0.72, 0.745), (-0.40, -0.32, -0.205)
"""Linear light of the horizon, and what the sky straight above adds."""
GRID_M, LINE_HALF_M = 0.5, 0.006
SHADOW_BIAS_M = 0.02


@njit(**_COMPILE)
def _bilinear(image, x, y):
    """Value at pixel coordinates; 0 outside."""
    height, width = image.shape
    x, y = x - 0.5, y - 0.5
    if not (x >= 0 and y >= 0 and x < width - 1 and y < height - 1):
        return 0.0
    i, j = int(x), int(y)
    u, v = x - i, y - j
    top = image[j, i] * (1 - u) + image[j, i + 1] * u
    return top * (1 - v) + (image[j + 1, i] * (1 - u) + image[j + 1, i + 1] * u) * v


@njit(**_COMPILE)
def _lit_share(shadow_depth, x, y, depth):
    """Share 0-1 of a 5x5 neighbourhood in the shadow map that does not hide a point at `depth` from the lamp."""
    height, width = shadow_depth.shape
    i, j = int(x), int(y)
    if i < 4 or j < 4 or i >= width - 4 or j >= height - 4:
        return 1.0
    lit = 0.0
    for dy in range(-4, 5, 2):
        for dx in range(-4, 5, 2):
            if depth - SHADOW_BIAS_M <= shadow_depth[j + dy, i + dx]:
                lit += 1.0
    return lit / 25.0


@njit(**_COMPILE)
def _seen_at(matrix, x, y, z):
    u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]
    v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]
    d = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
    return u / d, v / d, d


@njit(**_COMPILE)
def _grid_share(x, z, width):
    """How much of a footprint of `width` metres the floor's lines take; they fade before they shimmer."""
    share = 0.0
    for value in (x, z):
        away = abs(value / GRID_M - np.rint(value / GRID_M)) * GRID_M
        share = max(share, min(max((LINE_HALF_M + width / 2 - away) / width, 0.0), 1.0))
    return share * min(1.0, 2 * LINE_HALF_M / width) * min(max(1.6 - width / 0.06, 0.0), 1.0)


@njit(**_COMPILE)
def _ray(inverse_K, r, x, y):
    """The ray through a pixel in the world, one metre along the camera's axis."""
    cx = inverse_K[0, 0] * x + inverse_K[0, 1] * y + inverse_K[0, 2]
    cy = inverse_K[1, 1] * y + inverse_K[1, 2]
    return (
        r[0, 0] * cx + r[1, 0] * cy + r[2, 0],
        r[0, 1] * cx + r[1, 1] * cy + r[2, 1],
        r[0, 2] * cx + r[1, 2] * cy + r[2, 2],
    )


@njit(**_COMPILE)
def _sky_share(up):
    """How far the background is from haze to zenith in a direction whose sine of elevation is `up`."""
    share = min(max(up, 0.0) * 1.3, 1.0)
    return share * (2 - share) * 0.75


@njit(**_COMPILE)
def _floor(eye, ray, per_pixel, stage, shadow, ground):
    """The floor where a ray meets it: how much grid, how lit, how open to the sky, and how far gone in haze."""
    (rx, ry, rz), (_, center, reach, _) = ray, stage
    (shadow_matrix, _, shadow_soft), (height_matrix, contact) = shadow, ground
    along = -eye[1] / ry
    x, z = eye[0] + along * rx, eye[2] + along * rz
    away = np.sqrt((x - center[0]) ** 2 + (z - center[2]) ** 2)
    fade = min(max((away - reach) / (3.0 * reach + 4.0), 0.0), 1.0)
    fade = fade * fade * (3 - 2 * fade)
    if fade >= 1:
        return 0.0, 1.0, 1.0, 1.0
    sx, sy, _ = _seen_at(shadow_matrix, x, 0.0, z)
    hx, hy, _ = _seen_at(height_matrix, x, 0.0, z)
    lit = 1 - 0.80 * _bilinear(shadow_soft, sx, sy)
    open_sky = 1 - 0.65 * _bilinear(contact, hx, hy)
    footprint = along * per_pixel / max(-ry, 0.05)
    return _grid_share(x, z, footprint), lit, open_sky, fade


@njit(**_COMPILE)
def _skin(normal, view, lamp, lit, height_m):
    """Light on a surface: wrapped key light, how much it faces up, closeness to the floor, highlight and rim."""
    (nx, ny, nz), (vx, vy, vz) = normal, view
    key = max((nx * lamp[0] + ny * lamp[1] + nz * lamp[2] + 0.15) / 1.15, 0.0) * (0.12 + 0.88 * lit)
    up = 0.5 + 0.5 * ny
    off_floor = 0.55 + 0.45 * min(max(height_m / 0.35, 0.0), 1.0)
    hx, hy, hz = lamp[0] + vx, lamp[1] + vy, lamp[2] + vz
    shine = max((nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz), 0.0)
    shine = shine * shine  # to the power of 32
    shine = shine * shine
    shine = shine * shine
    shine = shine * shine
    shine = shine * shine
    away = 1 - max(nx * vx + ny * vy + nz * vz, 0.0)
    return 1.25 * key, up, 0.68 * off_floor, 0.10 * shine * lit, 0.22 * away * away * away * up


@njit(**_COMPILE)
def shade(raster, camera, stage, shadow, ground, encode, out):
    """One frame into `out` [H,W,3].

    raster  depth, normals, subject ids, at a whole multiple of that size
    camera  inverse K [3,3], rotation [3,3] world to camera, eye [3] m
    stage   albedos [S,3] by subject id, centre [3] m, radius of what is lit (m), lamp [3] unit, towards the light
    shadow  3x4 matrix from the world to homogeneous pixels of the shadow map; its depth (m); how hidden, 0-1, blurred
    ground  the like matrix of the height map; 0-1 how near something is above
    encode  uint8 table from linear light 0-1 to the picture's values
    Every sample of a subject is lit by itself; floor and background are smooth and need one look a pixel.
    """
    (depth, normals, subject_ids), (inverse_K, r, eye) = raster, camera
    (albedos, _, _, lamp), (shadow_matrix, shadow_depth, _) = stage, shadow
    samples = depth.shape[0] // out.shape[0]
    scale = (len(encode) - 1) / (samples * samples)
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            red = green = blue = 0.0
            behind = 0
            for sample in range(samples * samples):
                y, x = row * samples + sample // samples, column * samples + sample % samples
                subject = subject_ids[y, x]
                if subject == 0:
                    behind += 1
                    continue
                rx, ry, rz = _ray(inverse_K, r, x + 0.5, y + 0.5)
                per_length = -1 / np.sqrt(rx * rx + ry * ry + rz * rz)
                d, n0, n1, n2 = depth[y, x], normals[y, x, 0], normals[y, x, 1], normals[y, x, 2]
                nx = r[0, 0] * n0 + r[1, 0] * n1 + r[2, 0] * n2
                ny = r[0, 1] * n0 + r[1, 1] * n1 + r[2, 1] * n2
                nz = r[0, 2] * n0 + r[1, 2] * n1 + r[2, 2] * n2
                py = eye[1] + d * ry
                sx, sy, sd = _seen_at(shadow_matrix, eye[0] + d * rx, py, eye[2] + d * rz)
                lit = _lit_share(shadow_depth, sx, sy, sd)
                key, up, near, shine, rim = _skin(
                    (nx, ny, nz), (rx * per_length, ry * per_length, rz * per_length), lamp, lit, py
                )
                up, down = up * near, (1 - up) * near
                red += albedos[subject, 0] * (KEY[0] * key + SKY[0] * up + BOUNCE[0] * down)
                green += albedos[subject, 1] * (KEY[1] * key + SKY[1] * up + BOUNCE[1] * down)
                blue += albedos[subject, 2] * (KEY[2] * key + SKY[2] * up + BOUNCE[2] * down)
                red += KEY[0] * shine + SKY[0] * rim
                green += KEY[1] * shine + SKY[1] * rim
                blue += KEY[2] * shine + SKY[2] * rim
            if behind > 0:
                rx, ry, rz = _ray(inverse_K, r, (column + 0.5) * samples, (row + 0.5) * samples)
                if ry < -1e-4 and eye[1] > 0:
                    line, lit, sky, fade = _floor(eye, (rx, ry, rz), inverse_K[0, 0] * samples, stage, shadow, ground)
                    lit, sky, stay = lit * lamp[1], 0.75 * sky, (1 - fade) * behind
                    haze = fade * behind
                    red += stay * (FLOOR[0] + line * LINE[0]) * (KEY[0] * lit + SKY[0] * sky) + haze * HAZE[0]
                    green += stay * (FLOOR[1] + line * LINE[1]) * (KEY[1] * lit + SKY[1] * sky) + haze * HAZE[1]
                    blue += stay * (FLOOR[2] + line * LINE[2]) * (KEY[2] * lit + SKY[2] * sky) + haze * HAZE[2]
                else:
                    share = _sky_share(ry / np.sqrt(rx * rx + ry * ry + rz * rz))
                    red += behind * (HAZE[0] + share * ZENITH[0])
                    green += behind * (HAZE[1] + share * ZENITH[1])
                    blue += behind * (HAZE[2] + share * ZENITH[2])
            out[row, column, 0] = encode[int(min(red * scale, len(encode) - 1))]
            out[row, column, 1] = encode[int(min(green * scale, len(encode) - 1))]
            out[row, column, 2] = encode[int(min(blue * scale, len(encode) - 1))]
