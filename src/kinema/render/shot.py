"""What is filmed: subjects with their bodies, seen by cameras; turned into meshes a few frames at a time.

Input: a motion, several, or a `Scene`, and how the camera shall move. Output: a `Shot`, whose `meshes` feed the
z-buffer. Memory does not grow with the length of a motion beyond the motion itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from kinema.body.model import BodyModel, load_body
from kinema.body.object_points import CONTOUR_POINTS
from kinema.body.skeleton import PART_IDS
from kinema.camera import best_azimuth, for_frames, make_cameras, resize
from kinema.errors import InputError
from kinema.geometry import rotvec_to_rotmat
from kinema.render.rasterizer import Mesh
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject

Filmed = BodyMotion | ObjectMotion | Scene | Sequence[BodyMotion | ObjectMotion]
DEFAULT_SIZE = (1024, 576)
_FRAMES_AT_ONCE = 64
_DIRECTIONS = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)], np.float32) - 1
"""The 26 directions in which a body's outermost vertices are looked up, to frame it."""


@dataclass(frozen=True)
class Shot:
    """Subjects, the body of each (None: an object), one camera a frame, and the frame rate in Hz."""

    subjects: tuple[Subject, ...]
    bodies: tuple[BodyModel | None, ...]
    cameras: Cameras
    fps: float

    def __len__(self) -> int:
        return len(self.cameras.K)

    def meshes(self, frames: slice) -> list[Mesh]:
        """Surfaces of all subjects in some frames; a subject that is not valid in a frame is not there."""
        return [
            _mesh(subject.motion, body, frames, index + 1)
            for index, (subject, body) in enumerate(zip(self.subjects, self.bodies, strict=True))
        ]

    def camera_slice(self, frames: slice) -> Cameras:
        """The cameras of some frames."""
        return Cameras(self.cameras.K[frames], self.cameras.T_camera_world[frames], self.cameras.image_hw)


def make_shot(
    filmed: Filmed,
    camera: Cameras | str | None = None,
    size: tuple[int, int] | None = None,
    body: BodyModel | None = None,
) -> Shot:
    """Put subjects before a camera.

    camera  cameras; "fixed", "orbit", "follow" or a camera file; None: the scene's own, else "fixed"
    size    (width, height); None: that of the cameras, else 1024x576
    body    for the subjects of its category; the others get the built-in body
    Raises InputError where motions differ in length or frame rate, or there is nothing to film.
    """
    subjects = _subjects(filmed)
    fps, frames = _fps_and_frames(subjects)
    bodies = _bodies(subjects, body, "full")
    if camera is None:
        camera = filmed.cameras if isinstance(filmed, Scene) else "fixed"
    if isinstance(camera, str):
        rough = Shot(subjects, _bodies(subjects, body, "low"), _no_cameras(frames), fps)
        points = outermost_points(rough)
        cameras = make_cameras(camera, points, size or DEFAULT_SIZE, _azimuth(subjects), fps)
    else:
        cameras = for_frames(camera, frames)
        cameras = resize(cameras, size) if size else cameras
    return Shot(subjects, bodies, cameras, fps)


def outermost_points(shot: Shot) -> Float[np.ndarray, "T N 3"]:
    """Vertices that lie outermost in 26 directions, a frame and subject: what a camera must see.

    A subject that is not valid in a frame stands in with its nearest valid frame.
    """
    found = []
    for start in range(0, len(shot), _FRAMES_AT_ONCE):
        frames = slice(start, start + _FRAMES_AT_ONCE)
        each = []
        for mesh in shot.meshes(frames):
            ends = np.stack([(mesh.vertices @ d).argmax(1) for d in _DIRECTIONS], 1)
            each.append(np.take_along_axis(mesh.vertices, ends[..., None], 1))
        found.append(np.concatenate(each, 1))
    points = np.concatenate(found)
    for subject in range(len(shot.subjects)):
        part = points[:, subject * len(_DIRECTIONS) : (subject + 1) * len(_DIRECTIONS)]
        known = np.flatnonzero(np.isfinite(part).all((1, 2)))
        if len(known) == 0:
            raise InputError(shot.subjects[subject].label or "motion", "is valid in no frame", "at least one")
        part[:] = part[known[np.abs(np.arange(len(part))[:, None] - known).argmin(1)]]
    return points


def _subjects(filmed: Filmed) -> tuple[Subject, ...]:
    if isinstance(filmed, Scene):
        subjects = filmed.subjects
    else:
        motions = [filmed] if isinstance(filmed, BodyMotion | ObjectMotion) else list(filmed)
        subjects = tuple(Subject(k, "", "", motion) for k, motion in enumerate(motions))
    if not 1 <= len(subjects) <= 255:
        raise InputError("render", f"got {len(subjects)} subjects", expected="1 to 255")
    return subjects


def _frames(motion: BodyMotion | ObjectMotion) -> int:
    return len(motion) if isinstance(motion, BodyMotion) else len(motion.points_m)


def _fps_and_frames(subjects: tuple[Subject, ...]) -> tuple[float, int]:
    first = subjects[0].motion
    for k, subject in enumerate(subjects):
        if (_frames(subject.motion), subject.motion.fps) != (_frames(first), first.fps):
            raise InputError(
                f"subject {k}", f"has {_frames(subject.motion)} frames at {subject.motion.fps:g} fps",
                expected=f"{_frames(first)} at {first.fps:g}, as the first one", mend="resample or cut the motions",
            )  # fmt: skip
    return float(first.fps), _frames(first)


def _bodies(subjects: tuple[Subject, ...], body: BodyModel | None, detail) -> tuple[BodyModel | None, ...]:
    known = {body.category: body} if body else {}
    categories = {s.motion.category for s in subjects if isinstance(s.motion, BodyMotion)}
    if body and body.category not in categories:
        raise InputError(f"body {body.name!r}", f"is of {body.category} layout", f"one for {', '.join(categories)}")
    for subject in subjects:
        if isinstance(subject.motion, BodyMotion) and subject.motion.category not in known:
            known[subject.motion.category] = load_body(subject.motion.category, detail=detail)
    return tuple(known[s.motion.category] if isinstance(s.motion, BodyMotion) else None for s in subjects)


def _no_cameras(frames: int) -> Cameras:
    return Cameras(np.zeros((frames, 3, 3), np.float32), np.zeros((frames, 4, 4), np.float32), (1, 1))


def _azimuth(subjects: tuple[Subject, ...]) -> float:
    paths, fronts = [], []
    for motion in (s.motion for s in subjects):
        if isinstance(motion, BodyMotion):
            paths.append(motion.root_translation_m)
            fronts.append(rotvec_to_rotmat(motion.rotvec[:, 0])[..., 2])
        else:
            paths.append(motion.points_m[:, -1])
    if not fronts:
        fronts = [np.tile(np.array([0, 0, 1], np.float32), (len(paths[0]), 1))]
    return best_azimuth(np.mean(paths, 0), np.mean(fronts, 0))


def _mesh(motion: BodyMotion | ObjectMotion, body: BodyModel | None, frames: slice, subject_id: int) -> Mesh:
    if isinstance(motion, BodyMotion):
        assert body is not None, "a body motion comes with a body"
        vertices = body.vertices(motion[frames]).copy()
        vertices[~motion.valid[frames]] = np.nan
        return Mesh(vertices, body.faces, body.vertex_parts, subject_id)
    return _polygon_mesh(motion.points_m[frames, :CONTOUR_POINTS], motion.valid[frames], subject_id)


def _polygon_mesh(contour: Float[np.ndarray, "T 16 3"], valid: Bool[np.ndarray, " T"], subject_id: int) -> Mesh:
    """An object as the flat shape its contour encloses, 14 loose triangles a frame."""
    count = 3 * (CONTOUR_POINTS - 2)
    vertices = np.full((len(contour), count, 3), np.nan, np.float32)
    for t in np.flatnonzero(valid):
        center = contour[t].mean(0)
        _, _, axes = np.linalg.svd(contour[t] - center)
        vertices[t] = contour[t][triangulate((contour[t] - center) @ axes[:2].T).ravel()]
    faces = np.arange(count, dtype=np.int32).reshape(-1, 3)
    return Mesh(vertices, faces, np.full(count, PART_IDS["object"], np.uint8), subject_id)


def triangulate(polygon: Float[np.ndarray, "N 2"]) -> np.ndarray:
    """A polygon, convex or not -> the corners [N-2,3] of triangles that fill it, by cutting ears (Meisters 1975).

    Where the outline crosses itself there may be no ear; then the next corner is cut all the same.
    """
    signed = np.sum(polygon[:, 0] * np.roll(polygon[:, 1], -1) - np.roll(polygon[:, 0], -1) * polygon[:, 1])
    turn = 1.0 if signed >= 0 else -1.0
    x, y = polygon.T.tolist()
    left, triangles = list(range(len(polygon))), []

    def area(a: int, b: int, c: int) -> float:
        return turn * ((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))

    def is_ear(a: int, b: int, c: int) -> bool:
        others = (p for p in left if p not in (a, b, c))
        return area(a, b, c) > 0 and not any(
            area(a, b, p) >= 0 and area(b, c, p) >= 0 and area(c, a, p) >= 0 for p in others
        )

    while len(left) > 3:
        corners = [(left[k - 1], left[k], left[(k + 1) % len(left)]) for k in range(len(left))]
        ear = next((c for c in corners if is_ear(*c)), corners[0])
        triangles.append(ear)
        left.remove(ear[1])
    return np.array([*triangles, tuple(left)])
