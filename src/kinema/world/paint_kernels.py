"""The loop that paints what the z-buffer found: pattern colours in rest coordinates, lit by one lamp and the sky.

Input: faces and weights a pixel (`rasterizer.draw_surface`), and looks as tables. Output: RGB uint8, written in place.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PLAIN, ROWS, COLUMNS, CHECKS, DOTS, HAIR, PATCHES, BANDS, MANE, SEAMS, VISOR = range(11)
"""Patterns: where in the rest pose the second colour shows. HAIR: above a height or behind a depth. BANDS: wavy
stripes across a quadruped's body. MANE: the back of its neck. SEAMS: thin lines. VISOR: a band before the eyes."""
_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_COMPILE)
def _second(pattern, scale, x, y, z, shift):
    """Whether the second of two colours shows at a rest point (metres); scale in periods a metre."""
    if pattern == ROWS:
        return (y * scale + shift) % 1.0 < 0.5
    if pattern == COLUMNS:
        return (x * scale + shift) % 1.0 < 0.5
    if pattern == CHECKS:
        return ((x * scale + shift) % 1.0 < 0.5) != ((y * scale + shift) % 1.0 < 0.5)
    if pattern == DOTS:
        u, v = (x * scale + shift) % 1.0 - 0.5, (y * scale) % 1.0 - 0.5
        return u * u + v * v < 0.09
    if pattern == HAIR:
        return y > scale or z < shift
    if pattern == PATCHES:
        a, b = np.sin(scale * (x + 1.7 * z) + 9 * shift), np.sin(scale * (y + 0.6 * z) + 5 * shift)
        return a + b > 0.55
    if pattern == BANDS:
        return (z * scale + 0.25 * np.sin(2.5 * scale * y + 9 * shift) + shift) % 1.0 < 0.4
    if pattern == MANE:
        return y - 1.27 * z > scale
    if pattern == SEAMS:
        return (y * scale + shift) % 1.0 < 0.16 or (z * scale) % 1.0 < 0.1
    if pattern == VISOR:
        return z > shift and abs(y - scale) < 0.028
    return False


@njit(**_COMPILE)
def paint(picture, face_ids, weights, surface, looks, lamp):
    """One frame: the pixels that show a face get its colour; the others stay.

    surface  faces [F,3], part and subject of each, rest places [V,3] and world normals [V,3]
    looks    colours [S+1,P,2,3] 0-255, pattern [S+1,P], scale and shift [S+1,P,2], by subject id and part id
    lamp     direction towards it [3], share of its light, tint [3]
    """
    faces, face_parts, face_subjects, rest, normals = surface
    colors, patterns, scales = looks
    toward, share, tint = lamp
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            face = face_ids[row, column]
            if face < 0:
                continue
            x = y = z = nx = ny = nz = 0.0
            for k in range(3):
                v, w = faces[face, k], weights[row, column, k]
                x, y, z = x + w * rest[v, 0], y + w * rest[v, 1], z + w * rest[v, 2]
                nx, ny, nz = nx + w * normals[v, 0], ny + w * normals[v, 1], nz + w * normals[v, 2]
            part, subject = face_parts[face], face_subjects[face]
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            facing = (nx * toward[0] + ny * toward[1] + nz * toward[2]) / length
            light = (1 - share) * (0.85 + 0.15 * ny / length) + share * max(facing, 0.0)
            scale, shift = scales[subject, part]
            which = 1 if _second(patterns[subject, part], scale, x, y, z, shift) else 0
            for c in range(3):
                picture[row, column, c] = np.uint8(min(colors[subject, part, which, c] * light * tint[c], 255.0))
