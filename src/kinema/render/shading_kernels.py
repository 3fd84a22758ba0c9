"""The light of the preview, compiled by numba: one picture from depth, normals, a shadow map and a height map.

Input: maps at `samples` times the size of the picture. Output: RGB uint8 [H,W,3], averaged in linear light.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": True}
KEY, SKY, BOUNCE = (1.0, 0.95, 0.87), (0.50, 0.56, 0.66), (0.36, 0.32, 0.29)
"""Linear light of the key lamp, from above, and back from the floor."""
FLOOR, LINE, HAZE, ZENITH = (0.60, 0.60, 0.585), (0.47, 0.475, 0.48), (0.70, 0.72, 0.745), (0.30, 0.40, 0.54)
"""Linear albedo of floor and grid; light of the horizon and of what is above it."""
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
def _background(up):
    """Light from the direction whose sine of elevation is `up`: haze at the horizon, deeper above."""
    share = min(max(up, 0.0) * 1.3, 1.0)
    share = share * (2 - share) * 0.75
    return (
        HAZE[0] + (ZENITH[0] - HAZE[0]) * share,
        HAZE[1] + (ZENITH[1] - HAZE[1]) * share,
        HAZE[2] + (ZENITH[2] - HAZE[2]) * share,
    )


@njit(**_COMPILE)
def _floor(eye, ray, per_pixel, center, reach, lamp, shadow_matrix, shadow_soft, height_matrix, contact):
    """The floor where a ray meets it: grid, soft shadow, darker where something is close, lost in haze far away."""
    along = -eye[1] / ray[1]
    x, z = eye[0] + along * ray[0], eye[2] + along * ray[2]
    haze_r, haze_g, haze_b = _background(0.0)
    away = np.sqrt((x - center[0]) ** 2 + (z - center[2]) ** 2)
    fade = min(max((away - reach) / (3.0 * reach + 4.0), 0.0), 1.0)
    fade = fade * fade * (3 - 2 * fade)
    if fade >= 1:
        return haze_r, haze_g, haze_b
    sx, sy, _ = _seen_at(shadow_matrix, x, 0.0, z)
    hx, hy, _ = _seen_at(height_matrix, x, 0.0, z)
    lit = 1 - 0.80 * _bilinear(shadow_soft, sx, sy)
    open_sky = 1 - 0.65 * _bilinear(contact, hx, hy)
    footprint = along * per_pixel / max(-ray[1], 0.05)
    line = _grid_share(x, z, footprint)
    color = np.empty(3)
    for k in range(3):
        albedo = FLOOR[k] + (LINE[k] - FLOOR[k]) * line
        color[k] = albedo * (KEY[k] * lamp[1] * lit + 0.75 * SKY[k] * open_sky)
    return (
        color[0] + (haze_r - color[0]) * fade,
        color[1] + (haze_g - color[1]) * fade,
        color[2] + (haze_b - color[2]) * fade,
    )


@njit(**_COMPILE)
def _skin(albedo, n, view, lamp, lit, height_m):
    """Light from a surface: wrapped key light, sky from above, floor from below, a soft highlight and rim."""
    facing = n[0] * lamp[0] + n[1] * lamp[1] + n[2] * lamp[2]
    key = max((facing + 0.15) / 1.15, 0.0) * (0.12 + 0.88 * lit)
    up = 0.5 + 0.5 * n[1]
    near_floor = 0.55 + 0.45 * min(max(height_m / 0.35, 0.0), 1.0)
    toward = max(n[0] * view[0] + n[1] * view[1] + n[2] * view[2], 0.0)
    hx, hy, hz = lamp[0] + view[0], lamp[1] + view[1], lamp[2] + view[2]
    length = np.sqrt(hx * hx + hy * hy + hz * hz)
    shine = max((n[0] * hx + n[1] * hy + n[2] * hz) / length, 0.0) ** 32 * lit * 0.10
    rim = (1 - toward) ** 3 * 0.22 * up
    color = np.empty(3)
    for k in range(3):
        ambient = (SKY[k] * up + BOUNCE[k] * (1 - up)) * near_floor
        color[k] = albedo[k] * (1.05 * KEY[k] * key + 0.85 * ambient) + KEY[k] * shine + SKY[k] * rim
    return color


@njit(**_COMPILE)
def shade(
    depth, normals, subject_ids, inverse_K, rotation, eye, albedos, center, reach, lamp,
    shadow_matrix, shadow_depth, shadow_soft, height_matrix, contact, out,
):  # fmt: skip
    """One frame into `out` [H,W,3]; depth, normals, ids at a whole multiple of that size.

    inverse_K [3,3], rotation [3,3] world to camera, eye [3] m: the camera     center [3], reach: what is lit, metres
    lamp [3] unit, to the light     *_matrix [3,4] world to homogeneous pixels of the shadow and the height map
    shadow_depth m, shadow_soft 0-1 hidden, contact 0-1 how near something is above
    """
    samples = depth.shape[0] // out.shape[0]
    per_pixel = inverse_K[0, 0]
    ray, n = np.empty(3), np.empty(3)
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            red = green = blue = 0.0
            for sample in range(samples * samples):
                y, x = row * samples + sample // samples, column * samples + sample % samples
                cx = inverse_K[0, 0] * (x + 0.5) + inverse_K[0, 1] * (y + 0.5) + inverse_K[0, 2]
                cy = inverse_K[1, 1] * (y + 0.5) + inverse_K[1, 2]
                for k in range(3):
                    ray[k] = rotation[0, k] * cx + rotation[1, k] * cy + rotation[2, k]
                    n[k] = (
                        rotation[0, k] * normals[y, x, 0]
                        + rotation[1, k] * normals[y, x, 1]
                        + rotation[2, k] * normals[y, x, 2]
                    )
                length = np.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)
                if subject_ids[y, x] > 0:
                    d = depth[y, x]
                    px, py, pz = eye[0] + d * ray[0], eye[1] + d * ray[1], eye[2] + d * ray[2]
                    sx, sy, sd = _seen_at(shadow_matrix, px, py, pz)
                    lit = _lit_share(shadow_depth, sx, sy, sd)
                    color = _skin(albedos[subject_ids[y, x]], n, -ray / length, lamp, lit, py)
                    r, g, b = color[0], color[1], color[2]
                elif ray[1] < -1e-4 and eye[1] > 0:
                    r, g, b = _floor(
                        eye, ray, per_pixel, center, reach, lamp,
                        shadow_matrix, shadow_soft, height_matrix, contact,
                    )  # fmt: skip
                else:
                    r, g, b = _background(ray[1] / length)
                red, green, blue = red + r, green + g, blue + b
            for k, value in ((0, red), (1, green), (2, blue)):
                linear = value / (samples * samples)
                linear = linear / (1 + 0.12 * linear * linear)
                encoded = 1.055 * max(linear, 1e-6) ** (1 / 2.4) - 0.055
                out[row, column, k] = np.uint8(min(max(encoded * 255 + 0.5, 0.0), 255.0))
