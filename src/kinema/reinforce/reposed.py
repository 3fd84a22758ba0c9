"""The reposed start: the first frame's texture, carried by the bodies and objects of a scene into every frame.

Input: the first frame's picture, and a scene whose subjects and cameras are known. Output: frames, and how well each
pixel of them is known. S3 of ReVision (section 4.2) starts from pure noise; noised to a middle level, these frames are
another start that the explicit motion makes possible. Shadows on the background are left to the model.

What a pixel shows is a surface point. Where the first frame shows that point too, it has its colour there, else that of
the mirror side or of the nearest seen skin (`skin_texture`), brighter or darker as it turns to the light. An object's
picture moves as its outline does. Behind them lies the first frame without its subjects (`inpainting`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from kinema.body.model import BodyModel
from kinema.body.object_points import CONTOUR_POINTS
from kinema.body.skeleton import PART_IDS, PARTS
from kinema.camera import project, resize
from kinema.errors import InputError
from kinema.reinforce import texture_kernels as kernels
from kinema.reinforce.inpainting import fill_hole, push_pull, see_background
from kinema.reinforce.skin_texture import fit_light, rest_vertices, whole_skin
from kinema.render.rasterizer import Mesh, Surface, rasterize_surface
from kinema.render.shot import Shot, make_shot
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene

BORDER_TRUST = 0.2
"""A texel at a subject's border is mixed with what lies behind: it counts where there is nothing better."""
_WALL_BEHIND = 1.2
"""The wall of the background stands this many times as far off as the farthest subject."""
_MARGIN_SHARE = 1 / 128
"""So much of the picture's height around a subject is taken from the background too, where edges are soft."""
_SAMPLES_AT_ONCE = 1 << 22
"""Surface points of about this many samples are held at a time, so that memory does not grow with the clip."""
_LEAST_PART_SHARE = 5 / 128**2
"""A part of which the first frame shows so much of the picture has a usual colour."""
_ON_ONE_SIDE = np.arange(256, dtype=np.int32)
_ON_ONE_SIDE[list(PARTS)] = [PART_IDS[name.replace("right_", "left_")] for name in PARTS.values()]
"""A part's number; for those on the right the one of their twin on the left."""
_EMPTY_WALL_M = 10.0
"""How far the wall stands where there is no subject."""


@dataclass(frozen=True)
class Carried:
    """frames  the first one is the picture itself
    known   1 seen in the first frame, 0.5 its mirror side seen, 0.25 taken from nearby; background that the first frame
            does not show: as `carry` was told
    """

    frames: UInt8[np.ndarray, "T H W 3"]
    known: Float32[np.ndarray, "T H W"]


@dataclass(frozen=True)
class _First:
    """The first frame: picture, whose each pixel is and of which label (`_labels`), how far to trust its colour, and the
    z-buffer, 2x2 a pixel."""

    image: Float32[np.ndarray, "H W 3"]
    owners: UInt8[np.ndarray, "H W"]
    labels: Int32[np.ndarray, "H W"]
    trust: Float32[np.ndarray, "H W"]
    depth_m: Float32[np.ndarray, "H2 W2"]
    drawn: UInt8[np.ndarray, "H2 W2"]

    @property
    def texture(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.image, self.labels, self.trust

    @property
    def z_buffer(self) -> tuple[np.ndarray, np.ndarray]:
        return self.depth_m, self.drawn


@dataclass(frozen=True)
class _Skin:
    """All vertices, end to end: homogeneous pixels in the first frame; colours, evenly lit, and how well known.

    labels of the vertices
    light  what the logarithm of brightness gains along the normal, world frame; lit: normals @ light in the first frame
    """

    points: Float64[np.ndarray, "V 3"]
    colours: Float32[np.ndarray, "V 3"]
    known: Float32[np.ndarray, " V"]
    labels: Int32[np.ndarray, " V"]
    light: Float32[np.ndarray, " 3"]
    lit: Float32[np.ndarray, " V"]


def carry(
    image: UInt8[np.ndarray, "H W 3"],
    scene: Scene,
    subject_ids: UInt8[np.ndarray, "height width"] | None = None,
    body: BodyModel | None = None,
    filled: float = 0.0,
    samples: int = 2,
    part_ids: UInt8[np.ndarray, "height width"] | None = None,
) -> Carried:
    """Move the picture as the scene moves, at the picture's size.

    image        frame 0 of the scene
    subject_ids  whose each of its pixels is, 1 + index in `scene.subjects`, 0 background; None: as the scene says
    body         for the subjects of its category; the others get the built-in body
    filled       0-1, how well background counts as known that a subject hid, or that lies beyond the border
    samples      of a pixel, along each side; a single one, its middle, leaves edges as hard as pictures without
                 antialiasing have them
    part_ids     which part each of its pixels is, where bodies were fitted and may lie beside what they should: a point
                 of a body takes colours of its own part alone, be it the left one or the right one
    Raises InputError where sizes differ, ids count beyond the subjects, or there is no sample.
    """
    height, width = image.shape[:2]
    _check(image, scene, subject_ids, part_ids, samples)
    cameras = resize(scene.cameras, (width, height))
    if not scene.subjects:
        shows = np.ones((height, width), np.float32)
        return _with_first(image, *_background(image.astype(np.float32), shows, cameras, _EMPTY_WALL_M, filled))
    shot = make_shot(scene, cameras, body=body)
    meshes = shot.meshes(slice(0, len(shot)))
    first = _first_frame(image, _surface(meshes, cameras, 2, slice(1)), subject_ids, part_ids)
    skin = _skin(shot, meshes, first, part_ids is not None)
    outlines, sheets, rows = _objects(shot, first)
    plate, known = _background(
        first.image, _shows_background(first, samples > 1), cameras, _wall_m(meshes, cameras), filled
    )
    frames = np.empty((len(shot), height, width, 3), np.float32)
    frames[0] = image
    for start, surface in _surfaces(meshes, cameras, samples):
        for t in range(start, start + len(surface.face_ids)):
            lit = (_normals(meshes, t) @ skin.light).astype(np.float32)
            kernels.draw_frame(
                (surface.face_ids[t - start], surface.weights[t - start]),
                (surface.faces, surface.face_subjects, skin.labels[surface.faces[:, 0]], rows),
                (skin.points, _homogeneous(meshes, cameras, t), skin.colours, skin.known, skin.lit, lit),
                (first.texture, first.z_buffer), (outlines[t], outlines[0], sheets), plate[t], known[t], frames[t],
            )  # fmt: skip
    return _with_first(image, frames, known)


def _check(
    image: np.ndarray, scene: Scene, subject_ids: np.ndarray | None, part_ids: np.ndarray | None, samples: int
) -> None:
    if samples < 1:
        raise InputError("samples", f"are {samples}", "at least 1")
    for name, ids in {"subject_ids": subject_ids, "part_ids": part_ids}.items():
        if ids is not None and ids.shape != image.shape[:2]:
            raise InputError(name, f"has shape {ids.shape}", f"{image.shape[:2]}, as the image")
    if subject_ids is not None and subject_ids.max(initial=0) > len(scene.subjects):
        raise InputError("subject_ids", f"goes up to {subject_ids.max()}", f"0 to {len(scene.subjects)}, the subjects")


def _with_first(image: np.ndarray, frames: np.ndarray, known: np.ndarray) -> Carried:
    carried = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    carried[0], known[0] = image, 1
    return Carried(carried, known.astype(np.float32))


def _surfaces(meshes: list[Mesh], cameras: Cameras, samples: int) -> Iterator[tuple[int, Surface]]:
    """Number of the first of a few frames, and their surface points; all frames but the clip's first, which is given."""
    height, width = cameras.image_hw
    step = max(1, _SAMPLES_AT_ONCE // (samples**2 * height * width))
    for start in range(1, len(cameras.K), step):
        yield start, _surface(meshes, cameras, samples, slice(start, start + step))


def _surface(meshes: list[Mesh], cameras: Cameras, samples: int, now: slice) -> Surface:
    """The surface points of some frames, so many along each side of a pixel.

    Nothing is cut between parts, so that vertices are the meshes' own, end to end.
    """
    height, width = cameras.image_hw
    fine = resize(cameras, (samples * width, samples * height))
    some = [Mesh(m.vertices[now], m.faces, np.zeros_like(m.vertex_parts), m.subject_id) for m in meshes]
    return rasterize_surface(some, Cameras(fine.K[now], fine.T_camera_world[now], fine.image_hw))


def _first_frame(
    image: np.ndarray, surface: Surface, subject_ids: np.ndarray | None, part_ids: np.ndarray | None
) -> _First:
    drawn = surface.of_pixels(surface.face_subjects)[0]
    height, width = image.shape[:2]
    quads = drawn.reshape(height, 2, width, 2).transpose(0, 2, 1, 3).reshape(height, width, 4)
    owners = subject_ids if subject_ids is not None else np.where((quads == quads[..., :1]).all(-1), quads[..., 0], 0)
    if subject_ids is None:
        most = np.sort(quads, -1)[..., 2]
        owners = np.where((quads == most[..., None]).sum(-1) >= 2, most, owners)
    owners = owners.astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(owners, cross) == cv2.dilate(owners, cross)
    if subject_ids is None:
        inner &= (quads == owners[..., None]).all(-1)
    trust = np.where(inner, 1.0, BORDER_TRUST).astype(np.float32)
    return _First(image.astype(np.float32), owners, _labels(owners, part_ids), trust, surface.depth_m[0], drawn)


def _homogeneous(meshes: list[Mesh], cameras: Cameras, t: int) -> np.ndarray:
    """float64 [V,3] pixels of all meshes' vertices in one frame; not finite where a subject is not there."""
    points = np.concatenate([mesh.vertices[t] for mesh in meshes]).astype(float)
    T, K = cameras.T_camera_world[t].astype(float), cameras.K[t].astype(float)
    return (points @ T[:3, :3].T + T[:3, 3]) @ K.T


def _normals(meshes: list[Mesh], t: int) -> np.ndarray:
    """float32 [V,3] unit normals of all meshes' vertices in one frame, in the world; 0 where a subject is not there."""
    from kinema.render.raster_kernels import vertex_normals

    normals = [np.empty((len(mesh.vertex_parts), 3), np.float32) for mesh in meshes]
    for mesh, own in zip(meshes, normals, strict=True):
        vertex_normals(mesh.vertices[t], mesh.faces, np.eye(3, dtype=np.float32), own)
    return np.nan_to_num(np.concatenate(normals))


def _skin(shot: Shot, meshes: list[Mesh], first: _First, by_part: bool) -> _Skin:
    T, K = (matrices[0].astype(float) for matrices in (shot.cameras.T_camera_world, shot.cameras.K))
    points, normals = _homogeneous(meshes, shot.cameras, 0), _normals(meshes, 0)
    seen_from = points @ np.linalg.inv(K).T @ T[:3, :3]
    facing = -(normals * seen_from).sum(1) / np.maximum(np.linalg.norm(seen_from, axis=1), 1e-9)
    owner = np.concatenate([np.full(len(mesh.vertex_parts), mesh.subject_id, np.uint8) for mesh in meshes])
    parts = np.concatenate([mesh.vertex_parts for mesh in meshes])
    labels = _labels(owner, parts if by_part else None)
    colours, weights = np.zeros((len(points), 3), np.float32), np.zeros(len(points), np.float32)
    kernels.vertex_colours(
        points, facing.astype(np.float32), owner, labels, first.texture, first.z_buffer, colours, weights
    )
    weights[weights < kernels.LEAST_WEIGHT] = 0
    seen, known = weights > 0, np.zeros(len(points), np.float32)
    light = fit_light(colours[seen], normals[seen], 256 * owner[seen].astype(int) + parts[seen])
    lit = (normals @ light).astype(np.float32)
    colours *= np.exp(-lit)[:, None]
    for subject, body, mesh in zip(shot.subjects, shot.bodies, meshes, strict=True):
        if body is not None and isinstance(subject.motion, BodyMotion):
            own, rest = owner == mesh.subject_id, rest_vertices(body, subject.motion)
            usual = _usual_colours(first, labels[own]) if by_part else None
            colours[own], known[own] = whole_skin(
                rest, mesh.faces, mesh.vertex_parts, colours[own], weights[own], usual
            )
    return _Skin(points, colours, known, labels, light, lit)


def _labels(owners: np.ndarray, part_ids: np.ndarray | None) -> np.ndarray:
    """int32: whose, and where that is to count of which part, left and right being the same."""
    return owners.astype(np.int32) * len(_ON_ONE_SIDE) + (0 if part_ids is None else _ON_ONE_SIDE[part_ids])


def _usual_colours(first: _First, labels: np.ndarray) -> np.ndarray:
    """float32 [V,3]: the median colour of what has a vertex's label; NaN where the picture hardly shows it."""
    usual = np.full((len(labels), 3), np.nan, np.float32)
    for label in np.unique(labels):
        there = first.labels == label
        if there.sum() >= _LEAST_PART_SHARE * there.size:
            usual[labels == label] = np.median(first.image[there], 0)
    return usual


def _objects(shot: Shot, first: _First) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> outlines in pixels [T,N,16,2] and pictures [N,H,W,3] of the N objects, and each subject's row in them."""
    rows = np.full(len(shot.subjects) + 1, -1)
    moving = [k for k, subject in enumerate(shot.subjects, 1) if isinstance(subject.motion, ObjectMotion)]
    rows[moving] = np.arange(len(moving))
    outlines = np.empty((len(shot), len(moving), CONTOUR_POINTS, 2))
    sheets = np.empty((len(moving), *first.image.shape), np.float32)
    for row, subject_id in enumerate(moving):
        motion = shot.subjects[subject_id - 1].motion
        assert isinstance(motion, ObjectMotion)
        outlines[:, row] = project(motion.points_m[:, :CONTOUR_POINTS], shot.cameras)[0]
        sheets[row] = push_pull(first.image, np.where(first.owners == subject_id, first.trust**2, np.float32(0)))
    return outlines, sheets, rows


def _shows_background(first: _First, soft: bool) -> np.ndarray:
    """float32 [H,W]: 1 where the first frame shows background, 0 on subjects and close around them."""
    height, width = first.owners.shape
    reach = 1 + (round(_MARGIN_SHARE * height) if soft else 0)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    drawn = first.drawn.reshape(height, 2, width, 2).max((1, 3))
    return 1 - cv2.dilate(((first.owners > 0) | (drawn > 0)).astype(np.float32), disc)


def _wall_m(meshes: list[Mesh], cameras: Cameras) -> float:
    """How far from the first camera, along its line of view, the background's wall stands."""
    T = cameras.T_camera_world[0].astype(float)
    depths = [mesh.vertices.reshape(-1, 3) @ T[2, :3] + T[2, 3] for mesh in meshes]
    return _WALL_BEHIND * max(float(np.nanmax(d, initial=1.0)) for d in depths)


def _background(
    image: np.ndarray, shows: np.ndarray, cameras: Cameras, wall_m: float, filled: float
) -> tuple[np.ndarray, np.ndarray]:
    """The first frame's background, filled up, in every frame [T,H,W,3], and how well it is known [T,H,W]."""
    plate = fill_hole(image, shows > 0)
    frames, known = (
        np.empty((len(cameras.K), *image.shape), np.float32),
        np.empty((len(cameras.K), *shows.shape), np.float32),
    )
    sure = np.where(shows > 0, np.float32(1), np.float32(filled))
    for t in range(len(cameras.K)):
        if (cameras.K[t] == cameras.K[0]).all() and (cameras.T_camera_world[t] == cameras.T_camera_world[0]).all():
            frames[t], known[t] = plate, sure
        else:
            frames[t], known[t] = see_background(plate, sure, cameras, t, wall_m, filled)
    return frames, known
