"""Meshes whose pictures are known: spheres, cubes, loose triangles."""

import numpy as np

from kinema.render.rasterizer import Mesh
from kinema.types import Cameras


def camera(frames=1, hw=(48, 64), focal=60.0):
    """At the world's origin, looking along +z, y down: the world is the camera frame."""
    K = np.array([[focal, 0, hw[1] / 2], [0, focal, hw[0] / 2], [0, 0, 1]], np.float32)
    return Cameras(np.tile(K, (frames, 1, 1)), np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)), hw)


def sphere_arrays(rings=24, segments=48):
    """Unit sphere: vertices [V,3], faces [F,3] counter-clockwise seen from outside."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.arange(segments) / segments * 2 * np.pi
    p, a = np.meshgrid(polar, around, indexing="ij")
    body = np.stack([np.sin(p) * np.cos(a), np.cos(p), np.sin(p) * np.sin(a)], -1).reshape(-1, 3)
    vertices = np.concatenate([body, [[0, 1, 0], [0, -1, 0]]]).astype(np.float32)
    top, bottom = len(body), len(body) + 1
    faces = []
    for s in range(segments):
        n = (s + 1) % segments
        faces += [[top, n, s], [bottom, (rings - 2) * segments + s, (rings - 2) * segments + n]]
        for r in range(rings - 2):
            i, j, k, m = r * segments + s, r * segments + n, (r + 1) * segments + s, (r + 1) * segments + n
            faces += [[i, j, m], [i, m, k]]
    return vertices, np.array(faces, np.int32)


def sphere(center, radius, subject_id=1, part=1, rings=24, segments=48):
    """`center` [3] or [T,3]."""
    vertices, faces = sphere_arrays(rings, segments)
    centers = np.atleast_2d(np.asarray(center, np.float32))
    parts = np.full(len(vertices), part, np.uint8)
    return Mesh(vertices[None] * np.float32(radius) + centers[:, None], faces, parts, subject_id)


def cube(center, half, subject_id=2, part=64):
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
    centers = np.atleast_2d(np.asarray(center, np.float32))
    vertices = corners[None] * np.float32(half) + centers[:, None]
    return Mesh(vertices, faces, np.full(8, part, np.uint8), subject_id)


def triangles(points, parts=None, subject_id=1):
    """Loose triangles [N,3,3] -> one mesh of one frame."""
    points = np.asarray(points, np.float32).reshape(-1, 3)
    parts = np.ones(len(points), np.uint8) if parts is None else np.asarray(parts, np.uint8)
    return Mesh(points[None], np.arange(len(points), dtype=np.int32).reshape(-1, 3), parts, subject_id)
