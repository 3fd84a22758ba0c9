"""A perspective-correct z-buffer over many subjects at once.

Input: meshes in the world, one camera a frame. Output: part ids, subject ids, depth and normals of every frame.
What is drawn is defined to the bit, and `kinema.render.reference` does the same slowly:
  - vertices are projected in float64 and snapped to 1/256 pixel; triangles that cross the near plane are clipped;
  - a pixel is covered where its centre lies inside the snapped triangle, by the top-left rule on its edges;
  - of all that cover it the greatest float32 inverse depth wins, and of equals the first face of the first mesh;
  - a mesh that is closed, and cut nowhere in the frame, is drawn from outside only, any other from both sides;
  - a face with a vertex that is not finite is not drawn;
  - a face whose vertices are of different parts is cut between them first, half way along its edges.
Runs on the CPU through numba, frames (or bands of rows, where frames are few) in parallel; on a GPU through torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64, UInt8

from kinema.errors import InputError
from kinema.types import Cameras

NEAR_M = 0.05
"""What is nearer to the camera's plane is cut away."""
MAX_SIDE_PX = 8192
"""Well inside the guard band of +-32768 pixels."""


@dataclass(frozen=True)
class Mesh:
    """The surface of one subject: vertices in world metres; faces counter-clockwise seen from outside.

    subject_id  1-255, what the subject map shows
    """

    vertices: Float[np.ndarray, "T V 3"]
    faces: Int32[np.ndarray, "F 3"]
    vertex_parts: UInt8[np.ndarray, " V"]
    subject_id: int


@dataclass(frozen=True)
class Raster:
    """part_ids, subject_ids: 0 on the background. depth_m: along the camera's axis, inf on the background.
    normals: unit, camera frame, towards the camera; 0 on the background; None where they were not asked for.
    """

    part_ids: UInt8[np.ndarray, "T H W"]
    subject_ids: UInt8[np.ndarray, "T H W"]
    depth_m: Float32[np.ndarray, "T H W"]
    normals: Float32[np.ndarray, "T H W 3"] | None


@dataclass(frozen=True)
class Geometry:
    """All meshes as one, ready to draw. Homogeneous pixels are made by the 3x4 `matrices`, K [R|t].

    mesh_ends    past the last vertex and past the last face of each of the M meshes
    mesh_closed  its surface has no border and encloses a positive volume: nothing can be seen from inside
    """

    vertices: Float32[np.ndarray, "T V 3"]
    faces: Int32[np.ndarray, "F 3"]
    face_parts: UInt8[np.ndarray, " F"]
    face_subjects: UInt8[np.ndarray, " F"]
    mesh_ends: Int64[np.ndarray, "M 2"]
    mesh_closed: Bool[np.ndarray, " M"]
    matrices: Float64[np.ndarray, "T 3 4"]
    rotations: Float32[np.ndarray, "T 3 3"]
    height: int
    width: int


@dataclass(frozen=True)
class Surface:
    """Which point of which face every pixel shows, so that anything known at the vertices can be seen there.

    face_ids     row of `faces`, -1 on the background
    weights      of the three corners of that face, perspective-correct, of sum 1
    faces        corners among the vertices of all meshes end to end; each mesh's are followed by the middles of its edges
    face_parts, face_subjects  part and subject of every face
    depth_m      along the camera's axis, inf on the background
    edges        of each mesh: the edges whose middles were added
    """

    face_ids: Int32[np.ndarray, "T H W"]
    weights: Float32[np.ndarray, "T H W 3"]
    faces: Int32[np.ndarray, "F 3"]
    face_parts: UInt8[np.ndarray, " F"]
    face_subjects: UInt8[np.ndarray, " F"]
    depth_m: Float32[np.ndarray, "T H W"]
    edges: tuple[Int32[np.ndarray, "_ 2"], ...]

    def of_pixels(self, per_face: np.ndarray) -> np.ndarray:
        """A value a face [F] -> a value a pixel [T,H,W], 0 on the background."""
        return np.append(per_face, per_face.dtype.type(0))[self.face_ids]

    def interpolate(self, values: list[np.ndarray]) -> Float32[np.ndarray, "T H W C"]:
        """Values at each mesh's own vertices, [V,C] or [T,V,C] -> at every pixel; 0 on the background."""
        from kinema.render.raster_kernels import interpolate

        frames = max((len(v) for v in values if v.ndim == 3), default=1)
        extended = [
            _with_middles(v if v.ndim == 3 else v[None], e, frames) for v, e in zip(values, self.edges, strict=True)
        ]
        out = np.empty((*self.face_ids.shape, values[0].shape[-1]), np.float32)
        interpolate(self.face_ids, self.weights, self.faces, np.concatenate(extended, 1, dtype=np.float32), out)
        return out


def _with_middles(values: np.ndarray, edges: np.ndarray, frames: int) -> np.ndarray:
    """[T or 1,V,C] values at a mesh's vertices -> [frames,V+E,C], those at the middles of its cut edges after them."""
    both = np.concatenate([values, (values[:, edges[:, 0]] + values[:, edges[:, 1]]) / 2], 1)
    return np.broadcast_to(both, (frames, *both.shape[1:]))


def rasterize(
    meshes: list[Mesh], cameras: Cameras, normals: bool = True, near_m: float = NEAR_M, device: str = "cpu"
) -> Raster:
    """Draw all meshes in all frames at `cameras.image_hw`.

    device  "cpu" for numba, "cuda" (or "torch-cpu", for tests) for torch: the same bits, but for the normals'
            rounding
    Raises InputError where numbers of frames differ, faces point beyond the vertices, or the image is too large.
    """
    geometry = gather(meshes, cameras)
    if device != "cpu":
        from kinema.render.rasterizer_torch import rasterize_torch

        return rasterize_torch(geometry, normals, near_m, device.removeprefix("torch-"))

    return _rasterize_numba(geometry, normals, near_m)


def rasterize_surface(meshes: list[Mesh], cameras: Cameras, near_m: float = NEAR_M) -> Surface:
    """Draw all meshes in all frames, as `rasterize` does, into which surface point every pixel shows.

    Raises InputError as `rasterize` does.
    """
    from concurrent.futures import ThreadPoolExecutor

    from numba import get_num_threads

    from kinema.render import raster_kernels as kernels

    geometry = gather(meshes, cameras)
    frames, count = geometry.vertices.shape[:2]
    shape = (frames, geometry.height, geometry.width)
    face_ids, weights, depth = np.empty(shape, np.int32), np.zeros((*shape, 3), np.float32), np.empty(shape, np.float32)
    mesh = (geometry.faces, geometry.face_parts, geometry.face_subjects, geometry.mesh_ends, geometry.mesh_closed)

    def draw(t: int) -> None:
        homogeneous, fixed, inverse = np.empty((count, 3)), np.empty((count, 2), np.int32), np.empty(count)
        kernels.project(geometry.vertices[t], geometry.matrices[t], near_m, homogeneous, fixed, inverse)
        projected = (homogeneous, fixed, inverse, np.empty((0, 3), np.float32))
        kernels.draw_surface(projected, mesh, near_m, (face_ids[t], weights[t], depth[t]))

    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(draw, range(frames)))
    edges = tuple(cut_between_parts(m.faces, m.vertex_parts)[2] for m in meshes)
    return Surface(face_ids, weights, geometry.faces, geometry.face_parts, geometry.face_subjects, depth, edges)


def _rasterize_numba(geometry: Geometry, normals: bool, near_m: float) -> Raster:
    from concurrent.futures import ThreadPoolExecutor

    from numba import get_num_threads

    from kinema.render import raster_kernels as kernels

    frames, count = geometry.vertices.shape[:2]
    height, width, threads = geometry.height, geometry.width, get_num_threads()
    shape = (frames, height, width)
    parts, subjects, depth = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), np.empty(shape, np.float32)
    shown = np.zeros((*shape, 3) if normals else (frames, 0, 0, 3), np.float32)

    def prepare(t: int) -> tuple[np.ndarray, ...]:
        homogeneous, fixed, inverse = np.empty((count, 3)), np.empty((count, 2), np.int32), np.empty(count)
        smooth = np.empty((count if normals else 0, 3), np.float32)
        kernels.project(geometry.vertices[t], geometry.matrices[t], near_m, homogeneous, fixed, inverse)
        if normals:
            kernels.vertex_normals(geometry.vertices[t], geometry.faces, geometry.rotations[t], smooth)
        return homogeneous, fixed, inverse, smooth

    def draw(t: int, projected: tuple[np.ndarray, ...], rows: slice) -> None:
        maps = (parts[t, rows], subjects[t, rows], depth[t, rows], shown[t, rows])
        kernels.draw(projected, mesh, near_m, rows.start, maps)

    mesh = (geometry.faces, geometry.face_parts, geometry.face_subjects, geometry.mesh_ends, geometry.mesh_closed)
    with ThreadPoolExecutor(threads) as pool:
        if frames % threads == 0 or frames >= 4 * threads:
            list(pool.map(lambda t: draw(t, prepare(t), slice(0, height)), range(frames)))
        else:
            band = -(-height // (2 * threads))
            tasks = [
                (t, projected, slice(first, first + band))
                for t, projected in enumerate(pool.map(prepare, range(frames)))
                for first in range(0, height, band)
            ]
            list(pool.map(lambda task: draw(*task), tasks))
    return Raster(parts, subjects, depth, shown if normals else None)


def cut_between_parts(
    faces: Int32[np.ndarray, "F 3"], vertex_parts: UInt8[np.ndarray, " V"]
) -> tuple[Int32[np.ndarray, "G 3"], UInt8[np.ndarray, " G"], Int32[np.ndarray, "E 2"]]:
    """Faces of one part each, their parts, and the edges whose middles are the new vertices V, V + 1, ...

    A face whose vertices are of different parts is cut from middle to middle of its edges, so that the border of a part
    runs smoothly, not along whole triangles. Where three parts meet, the middle piece goes with one of them.
    """
    own = vertex_parts[faces]
    differs = own != own[:, [1, 2, 0]]
    mixed = differs.any(1)
    # The two corners of the one edge that does not differ come last: b, c, and the one that is alone, a, first.
    order = (differs[mixed].argmin(1)[:, None] + [2, 0, 1]) % 3
    a, b, c = np.take_along_axis(faces[mixed], order, 1).T
    part_a, part_b, part_c = np.take_along_axis(own[mixed], order, 1).T
    three = part_b != part_c
    pairs = np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1), np.stack([b, c], 1)[three]])
    count = max(len(vertex_parts), 1)
    keys, middles = np.unique(pairs.min(1).astype(np.int64) * count + pairs.max(1), return_inverse=True)
    edges = np.stack([keys // count, keys % count], 1).astype(np.int32)
    middles = (middles + len(vertex_parts)).astype(np.int32)
    ab, ac, bc = middles[: len(a)], middles[len(a) : 2 * len(a)], middles[2 * len(a) :]
    two = ~three
    pieces = [
        ((a, ab, ac), part_a),
        ((ab[two], b[two], c[two]), part_b[two]),
        ((ab[two], c[two], ac[two]), part_b[two]),
        ((b[three], bc, ab[three]), part_b[three]),
        ((c[three], ac[three], bc), part_c[three]),
        ((ab[three], bc, ac[three]), part_a[three]),
    ]
    return (
        np.concatenate([faces[~mixed], *(np.stack(corners, 1) for corners, _ in pieces)]),
        np.concatenate([own[~mixed, 0], *(parts for _, parts in pieces)]),
        edges,
    )


def gather(meshes: list[Mesh], cameras: Cameras) -> Geometry:
    """All meshes as one, checked."""
    frames, (height, width) = len(cameras.K), cameras.image_hw
    if not (0 < height <= MAX_SIDE_PX and 0 < width <= MAX_SIDE_PX):
        raise InputError("image size", f"is {width}x{height}", expected=f"1 to {MAX_SIDE_PX} pixels a side")
    for mesh in meshes:
        if len(mesh.vertices) != frames:
            raise InputError(
                f"mesh of subject {mesh.subject_id}", f"has {len(mesh.vertices)} frames", f"{frames}, as the cameras"
            )
        if mesh.faces.size and not (mesh.faces.min() >= 0 and mesh.faces.max() < mesh.vertices.shape[1]):
            raise InputError(
                f"mesh of subject {mesh.subject_id}", "has faces that point beyond its vertices",
                expected=f"indices from 0 to {mesh.vertices.shape[1] - 1}",
            )  # fmt: skip
        if not 1 <= mesh.subject_id <= 255:
            raise InputError("subject id", f"is {mesh.subject_id}", expected="1 to 255")
    from kinema.render.raster_kernels import is_closed

    empty = Mesh(np.zeros((frames, 0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.uint8), 1)
    all_meshes = [*meshes, empty]
    faces, face_parts, edges = zip(*(cut_between_parts(m.faces, m.vertex_parts) for m in all_meshes), strict=True)
    vertices = []
    for mesh, (first, second) in zip(all_meshes, (e.T for e in edges), strict=True):
        vertices += [mesh.vertices, (mesh.vertices[:, first] + mesh.vertices[:, second]) * np.float32(0.5)]
    counts = [(len(m.vertex_parts) + len(e), len(f)) for m, e, f in zip(all_meshes, edges, faces, strict=True)]
    ends = np.cumsum(counts, axis=0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1, 0]]).astype(np.int32)
    world_to_image = cameras.K.astype(np.float64) @ cameras.T_camera_world[:, :3].astype(np.float64)
    mirrored = (np.linalg.det(world_to_image[..., :3]) <= 0).any()
    return Geometry(
        vertices=np.ascontiguousarray(np.concatenate(vertices, 1), np.float32),
        faces=np.concatenate([f + start for f, start in zip(faces, starts, strict=True)]),
        face_parts=np.concatenate(face_parts),
        face_subjects=np.repeat(np.array([m.subject_id for m in all_meshes], np.uint8), [len(f) for f in faces]),
        mesh_ends=ends,
        mesh_closed=np.array([not mirrored and frames > 0 and is_closed(m.vertices[0], m.faces) for m in all_meshes]),
        matrices=np.ascontiguousarray(world_to_image),
        rotations=np.ascontiguousarray(cameras.T_camera_world[:, :3, :3], np.float32),
        height=height,
        width=width,
    )
