"""Cameras: project and unproject, and the paths a camera can take (fixed, orbit, follow, from a file).

Input: points of everything that moves. Output: `Cameras`, one a frame, that keep all of it in the picture.
Camera frame: OpenCV (+x right, +y down, +z forward); pixels with the centre of the first one at (0.5, 0.5).
A direction of view is an azimuth about +y, 0 where the camera stands at +z (before a resting body), positive
towards +x, and an elevation above the floor. Sizes are (width, height).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.types import Cameras

CameraKind = Literal["fixed", "orbit", "follow"]
FIELD_OF_VIEW_RAD = np.radians(50.0)
"""Over the longer side: a 39 mm lens on 35 mm film, which shows a standing person without distortion."""
ELEVATION_RAD = np.radians(10.0)
FILL = 0.86
"""How much of the picture, from its middle, the motion may take."""
FOLLOW_SMOOTHING_S = 0.6
"""Standard deviation of the Gaussian that smooths the path of a following camera."""
TRAVEL_M = 1.5
"""From here on a path counts as travel, which is best seen from its side."""


def project(
    points_m: Float[np.ndarray, "T N 3"], cameras: Cameras
) -> tuple[Float[np.ndarray, "T N 2"], Float[np.ndarray, "T N"]]:
    """World points -> pixels and depth along the camera's axis, metres; pixels mean nothing where depth <= 0."""
    T = cameras.T_camera_world
    seen = points_m @ T[:, :3, :3].transpose(0, 2, 1) + T[:, None, :3, 3]
    depth = seen[..., 2]
    image = seen @ cameras.K.transpose(0, 2, 1)
    return image[..., :2] / np.where(depth == 0, np.finfo(np.float32).tiny, depth)[..., None], depth


def unproject(
    pixels: Float[np.ndarray, "T N 2"], depth_m: Float[np.ndarray, "T N"], cameras: Cameras
) -> Float[np.ndarray, "T N 3"]:
    """Pixels and depth along the camera's axis -> world points, metres; the inverse of `project`."""
    rays = np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1) @ np.linalg.inv(cameras.K).transpose(0, 2, 1)
    T = cameras.T_camera_world
    return (rays * depth_m[..., None] - T[:, None, :3, 3]) @ T[:, :3, :3]


def make_cameras(
    kind: str, points_m: Float[np.ndarray, "T N 3"], size: tuple[int, int], azimuth_rad: float, fps: float
) -> Cameras:
    """What `--camera` asks for: "fixed", "orbit", "follow", or the name of a camera file (.npz, .json).

    Raises InputError where it is none of them, or the file does not fit the motion.
    """
    if kind == "fixed":
        return fixed_cameras(points_m, size, azimuth_rad)
    if kind == "orbit":
        return orbit_cameras(points_m, size, azimuth_rad)
    if kind == "follow":
        return follow_cameras(points_m, size, azimuth_rad, fps)
    if Path(kind).suffix.lower() not in (".npz", ".json"):
        raise InputError(
            "camera", f"is {kind!r}", expected=", ".join(get_args(CameraKind)) + ", or a camera file (.npz, .json)"
        )
    return resize(for_frames(load_cameras(kind), len(points_m), kind), size)


def fixed_cameras(
    points_m: Float[np.ndarray, "T N 3"],
    size: tuple[int, int],
    azimuth_rad: float = 0.0,
    elevation_rad: float = ELEVATION_RAD,
) -> Cameras:
    """The nearest standing camera with this direction of view that sees all points in all frames.

    A point at q (camera axes) is inside where |q_x - c_x| <= t (q_z - c_z): the extremes of q_x - t q_z and
    -q_x - t q_z bound c_z, and so for y; the lesser bound is the answer.
    """
    K, tangents = _lens(size)
    rotation = _view_rotation(np.array([azimuth_rad]), elevation_rad)[0]
    q = points_m.reshape(-1, 3).astype(float) @ rotation.T
    right, left = ((s * q[:, :2] - tangents * q[:, 2:]).max(0) for s in (1, -1))
    forward = np.min(-(right + left) / (2 * tangents)) - 1e-3
    position = np.array([*(right - left) / 2, forward])
    return _cameras(K, np.tile(rotation, (len(points_m), 1, 1)), position @ rotation, size)


def orbit_cameras(
    points_m: Float[np.ndarray, "T N 3"],
    size: tuple[int, int],
    azimuth_rad: float = 0.0,
    elevation_rad: float = ELEVATION_RAD,
    turn_rad: float = 2 * np.pi,
) -> Cameras:
    """A camera that goes round the middle of the motion once (`turn_rad`) over the clip, at a constant distance."""
    azimuths = azimuth_rad + np.arange(len(points_m)) / len(points_m) * turn_rad
    flat = points_m.reshape(-1, 3).astype(float)
    target = (flat.min(0) + flat.max(0)) / 2
    return _looking_at(np.tile(target, (len(points_m), 1)), points_m, azimuths, elevation_rad, size)


def follow_cameras(
    points_m: Float[np.ndarray, "T N 3"],
    size: tuple[int, int],
    azimuth_rad: float = 0.0,
    fps: float = 20.0,
    elevation_rad: float = ELEVATION_RAD,
) -> Cameras:
    """A camera that travels with the middle of what moves, smoothly, at a constant distance, height and direction."""
    from scipy.ndimage import gaussian_filter1d

    middle = (points_m.min(1) + points_m.max(1)) / 2
    target = gaussian_filter1d(middle.astype(float), FOLLOW_SMOOTHING_S * fps, axis=0, mode="nearest")
    target[:, 1] = (points_m[..., 1].min() + points_m[..., 1].max()) / 2
    return _looking_at(target, points_m, np.full(len(points_m), azimuth_rad), elevation_rad, size)


def best_azimuth(root_m: Float[np.ndarray, "T 3"], facing: Float[np.ndarray, "T 3"]) -> float:
    """Where to look from, rad: across the path where there is travel, else a third to the side of the front.

    root_m  the path in the world      facing  where the body's front points, any length
    """
    front = facing.mean(0)[[0, 2]].astype(float)
    path = root_m[:, [0, 2]].astype(float)
    _, _, axes = np.linalg.svd(path - path.mean(0), full_matrices=False)
    along = axes[0] if len(path) > 1 else np.array([1.0, 0.0])
    if np.ptp(path @ along) > TRAVEL_M:
        side = np.array([along[1], -along[0]])
        side *= 1.0 if side @ front >= 0 else -1.0
        ahead = along * (1.0 if along @ (path[-1] - path[0]) >= 0 else -1.0)
        view = side + 0.35 * ahead
        return float(np.arctan2(view[0], view[1]))
    return float(np.arctan2(front[0], front[1]) + np.radians(30))


def resize(cameras: Cameras, size: tuple[int, int]) -> Cameras:
    """The same view at another size; where the shape differs, all that was seen stays in the picture."""
    (height, width), (new_width, new_height) = cameras.image_hw, _checked_size(size)
    scale = min(new_width / width, new_height / height)
    K = cameras.K.astype(float).copy()
    K[:, :2] *= scale
    K[:, 0, 2] += (new_width - scale * width) / 2
    K[:, 1, 2] += (new_height - scale * height) / 2
    return Cameras(K.astype(np.float32), cameras.T_camera_world, (new_height, new_width))


def for_frames(cameras: Cameras, frames: int, where: object = "cameras") -> Cameras:
    """One camera is repeated for all frames; otherwise there must be one a frame."""
    if len(cameras.K) == frames:
        return cameras
    if len(cameras.K) != 1:
        raise InputError(where, f"holds {len(cameras.K)} cameras", expected=f"1, or {frames} as the motion has frames")
    repeat = (frames, 1, 1)
    return Cameras(np.tile(cameras.K, repeat), np.tile(cameras.T_camera_world, repeat), cameras.image_hw)


def save_cameras(cameras: Cameras, path: str | Path) -> None:
    """Write .npz or .json with the keys K [T,3,3], T_camera_world [T,4,4], image_hw [2]."""
    fields = {"K": cameras.K, "T_camera_world": cameras.T_camera_world, "image_hw": np.array(cameras.image_hw)}
    _check_suffix(path)
    with atomic_path(path) as temporary:
        if Path(path).suffix.lower() == ".npz":
            np.savez(temporary, K=fields["K"], T_camera_world=fields["T_camera_world"], image_hw=fields["image_hw"])
        else:
            temporary.write_text(json.dumps({key: value.tolist() for key, value in fields.items()}))


def load_cameras(path: str | Path) -> Cameras:
    """Read what `save_cameras` writes; K and T_camera_world may also be one matrix. Raises InputError."""
    _check_suffix(path)
    try:
        if Path(path).suffix.lower() == ".npz":
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                fields = {key: np.asarray(archive[key], float) for key in archive.files if key in _KEYS}
        else:
            content = json.loads(Path(path).read_text())
            fields = {key: np.asarray(content[key], float) for key in _KEYS if key in content}
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror or error})", "a camera file, .npz or .json") from error
    except (ValueError, TypeError, AttributeError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(path, f"is no camera file ({error})", "numbers under " + ", ".join(_KEYS)) from error
    return _checked(fields, path)


_KEYS = {"K": (3, 3), "T_camera_world": (4, 4), "image_hw": (2,)}


def _check_suffix(path: str | Path) -> None:
    if Path(path).suffix.lower() not in (".npz", ".json"):
        raise InputError(path, "is no camera file by its name", expected=".npz or .json")


def _checked(fields: dict[str, np.ndarray], path: str | Path) -> Cameras:
    for key, shape in _KEYS.items():
        if key not in fields:
            raise InputError(f"{path}, key {key!r}", "is missing", expected=f"an array of shape {shape}")
        if fields[key].shape[-len(shape) :] != shape or fields[key].ndim > 3 or not np.isfinite(fields[key]).all():
            expected = f"finite numbers of shape {shape} or (frames, {str(shape)[1:]}"
            raise InputError(f"{path}, key {key!r}", f"has shape {fields[key].shape}, or is not finite", expected)
    K, T = fields["K"].reshape(-1, 3, 3), fields["T_camera_world"].reshape(-1, 4, 4)
    if len(K) != len(T):
        K, T = (np.tile(a, (max(len(K), len(T)), 1, 1)) if len(a) == 1 else a for a in (K, T))
    if len(K) != len(T) or len(K) == 0:
        raise InputError(path, f"holds {len(K)} K and {len(T)} T_camera_world", expected="one of each a frame")
    if not ((K[:, 0, 0] > 0) & (K[:, 1, 1] > 0) & (np.abs(K[:, 2] - [0, 0, 1]) < 1e-6).all(-1)).all():
        raise InputError(f"{path}, key 'K'", "is no pinhole camera", "focal lengths above 0, last row 0 0 1")
    R = T[:, :3, :3]
    if np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() > 1e-3 or (np.linalg.det(R) < 0).any():
        raise InputError(
            f"{path}, key 'T_camera_world'", "does not hold rotations (or is left-handed)",
            "world to camera, OpenCV axes: +x right, +y down, +z forward",
        )  # fmt: skip
    height, width = (int(side) for side in fields["image_hw"].ravel()[:2])
    if min(height, width) < 1:
        raise InputError(f"{path}, key 'image_hw'", f"is {height}, {width}", "height and width in pixels, above 0")
    return Cameras(K.astype(np.float32), T.astype(np.float32), (height, width))


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    if not (size[0] > 0 and size[1] > 0):
        raise InputError("size", f"is {size[0]}x{size[1]}", expected="width x height in pixels, above 0")
    return int(size[0]), int(size[1])


def _lens(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """K [3,3], and how far [2] a point may be from the axis, per metre of depth."""
    width, height = _checked_size(size)
    focal = max(width, height) / 2 / np.tan(FIELD_OF_VIEW_RAD / 2)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return K, FILL * np.array([width, height]) / 2 / focal


def _view_rotation(azimuths: np.ndarray, elevation: float) -> np.ndarray:
    """World to camera [T,3,3]: rows are right, down, forward."""
    s, c, zero = np.sin(azimuths), np.cos(azimuths), np.zeros_like(azimuths)
    forward = np.stack([-np.cos(elevation) * s, zero - np.sin(elevation), -np.cos(elevation) * c], -1)
    right = np.stack([c, zero, -s], -1)
    return np.stack([right, np.cross(forward, right), forward], 1)


def _looking_at(target: np.ndarray, points_m: np.ndarray, azimuths: np.ndarray, elevation: float, size) -> Cameras:
    """Cameras at one distance from their targets [T,3], the least from which every frame's points are seen."""
    K, tangents = _lens(size)
    rotation = _view_rotation(azimuths, elevation)
    q = (points_m - target[:, None]) @ rotation.transpose(0, 2, 1)
    distance = (np.abs(q[..., :2]) / tangents - q[..., 2:]).max() + 1e-3
    return _cameras(K, rotation, target - distance * rotation[:, 2], size)


def _cameras(K: np.ndarray, rotation: np.ndarray, position: np.ndarray, size: tuple[int, int]) -> Cameras:
    T = np.tile(np.eye(4), (len(rotation), 1, 1))
    T[:, :3, :3] = rotation
    T[:, :3, 3] = -(rotation @ np.broadcast_to(position, (len(rotation), 3))[..., None])[..., 0]
    return Cameras(np.tile(K, (len(T), 1, 1)).astype(np.float32), T.astype(np.float32), (size[1], size[0]))
