"""Cameras that move through space, by structure from motion (ReVision, appendix B, has VGGSfM; here it is COLMAP).

Input: a video and where the moving subjects are. Output: a camera a frame up to one common scale, with the points that were
found, so that an estimated depth can tell the scale. Features of the background alone count: subjects are masked. As in the
paper, what is not to be trusted is refused by its mean reprojection error and mean track length.
`pycolmap` is optional: pip install 'kinema[sfm]'.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation, Slerp

from kinema.camera import FIELD_OF_VIEW_RAD
from kinema.errors import InputError
from kinema.types import Cameras, Video

MOST_ERROR_PX, LEAST_TRACK = 1.5, 3.0
"""Of a reconstruction: the mean reprojection error, and in how many frames a point is seen on average."""
LEAST_SHARE = 0.8
"""Of the frames must have found their place; the others are put between those beside them."""
FEATURES, LEAST_MATCHES = 2048, 12
MASK_REACH_SHARE = 0.01
"""Masks are widened by this share of the longer side: features reach beyond their middle."""
LEAST_ANGLE_DEG = 2.0
"""Between the rays of the first two cameras to a point; a camera that only turns has none."""


@dataclass(frozen=True)
class Moved:
    """cameras: up to a scale, the first one's frame being the world. pixels [T] of [P,2] and depths [T] of [P]: the
    background points that each frame sees, in the unit of the cameras."""

    cameras: Cameras
    pixels: tuple[Float[np.ndarray, "_ 2"], ...]
    depths: tuple[Float[np.ndarray, " _"], ...]


def moving_cameras(video: Video, subject_masks: Bool[np.ndarray, "T H W"] | None = None) -> Moved:
    """Where the cameras of a video were. Raises InputError where pycolmap is missing, or what it finds is not to be
    trusted: too few frames, too large errors, too short tracks, a camera that doesn't move."""
    try:
        import pycolmap
    except ImportError as error:
        raise InputError(
            "--camera colmap", "needs pycolmap, which is not installed", mend="pip install 'kinema[sfm]'"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        found = _reconstruct(pycolmap, Path(folder), video, subject_masks)
        if found is None:
            raise _doubtful("finds no two frames that show the background from different places")
        registered = {int(image.name[:-4]): image for image in found.images.values() if image.has_pose}
        error_px, track = float(found.compute_mean_reprojection_error()), float(found.compute_mean_track_length())
        frames = len(video.frames)
        if len(registered) < LEAST_SHARE * frames:
            raise _doubtful(f"places {len(registered)} of {frames} frames")
        if error_px > MOST_ERROR_PX or track < LEAST_TRACK:
            raise _doubtful(f"has a mean error of {error_px:.2f} px and points in {track:.1f} frames on average")
        return _moved(found, registered, video)


def _doubtful(what: str) -> InputError:
    expected = f"{LEAST_SHARE:.0%} of the frames, at most {MOST_ERROR_PX} px, points in {LEAST_TRACK:g} frames or more"
    return InputError("--camera colmap", what, expected, "--camera pan-zoom, or a video whose camera moves more slowly")


def _reconstruct(pycolmap: Any, folder: Path, video: Video, masks: np.ndarray | None) -> Any:
    """The largest model that pycolmap finds, or None."""
    pictures, hidden = folder / "pictures", folder / "masks"
    pictures.mkdir()
    hidden.mkdir()
    height, width = video.frames.shape[1:3]
    reach = max(1, round(MASK_REACH_SHARE * max(height, width)))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    for t, frame in enumerate(video.frames):
        cv2.imwrite(str(pictures / f"{t:06d}.png"), frame[..., ::-1])
        free = np.full((height, width), 255, np.uint8)
        if masks is not None:
            free[cv2.dilate(masks[t].astype(np.uint8), kernel) > 0] = 0
        cv2.imwrite(str(hidden / f"{t:06d}.png.png"), free)
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR.value)
    pycolmap.set_random_seed(0)
    focal = max(height, width) / 2 / np.tan(FIELD_OF_VIEW_RAD / 2)
    reading = pycolmap.ImageReaderOptions()
    reading.mask_path = str(hidden)
    reading.camera_model = "SIMPLE_PINHOLE"
    reading.camera_params = f"{focal},{width / 2},{height / 2}"
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.sift.max_num_features = FEATURES
    # One thread: with more, frames come in the order in which they are done, and now and then another answer with it.
    extraction.num_threads = 1
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = 1
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = 0
    database = folder / "database.db"
    pycolmap.extract_features(
        database, pictures, camera_mode=pycolmap.CameraMode.SINGLE, reader_options=reading,
        extraction_options=extraction, device=pycolmap.Device.cpu,
    )  # fmt: skip
    pycolmap.match_exhaustive(
        database, matching_options=matching, verification_options=verification, device=pycolmap.Device.cpu
    )
    options = pycolmap.IncrementalPipelineOptions()
    options.multiple_models = False
    options.min_model_size = 3
    options.min_num_matches = LEAST_MATCHES
    options.extract_colors = False
    options.random_seed = 0
    options.num_threads = 1
    options.mapper.init_min_tri_angle = LEAST_ANGLE_DEG
    options.mapper.init_min_num_inliers = 4 * LEAST_MATCHES
    models = pycolmap.incremental_mapping(database, pictures, folder, options=options)
    return max(models.values(), key=lambda m: m.num_reg_images(), default=None)


def _moved(found: Any, registered: dict[int, Any], video: Video) -> Moved:
    frames, (height, width) = len(video.frames), video.frames.shape[1:3]
    known = np.array(sorted(registered))
    placed = np.tile(np.eye(4), (len(known), 1, 1))
    for row, t in enumerate(known):
        placed[row, :3] = registered[int(t)].cam_from_world().matrix()
    placed = placed @ np.linalg.inv(placed[0])
    focal = float(next(iter(found.cameras.values())).focal_length)
    K = np.tile(np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]]), (frames, 1, 1))
    cameras = Cameras(K.astype(np.float32), _between(placed, known, frames), (height, width))
    pixels, depths = [np.zeros((0, 2))] * frames, [np.zeros(0)] * frames
    for t in known:
        image = registered[int(t)]
        pose = image.cam_from_world().matrix()
        seen = [p for p in image.points2D if p.has_point3D()]
        if seen:
            points = np.array([found.points3D[p.point3D_id].xyz for p in seen])
            pixels[t], depths[t] = np.array([p.xy for p in seen]), points @ pose[2, :3] + pose[2, 3]
    return Moved(cameras, tuple(pixels), tuple(depths))


def _between(placed: np.ndarray, known: np.ndarray, frames: int) -> np.ndarray:
    """[T,4,4] the known cameras, those of other frames between them."""
    T = np.tile(np.eye(4), (frames, 1, 1))
    at = np.clip(np.arange(frames), known[0], known[-1])
    T[:, :3, :3] = Slerp(known, Rotation.from_matrix(placed[:, :3, :3]))(at).as_matrix()
    eyes = -np.einsum("tji,tj->ti", placed[:, :3, :3], placed[:, :3, 3])
    eye = np.stack([np.interp(at, known, eyes[:, k]) for k in range(3)], 1)
    T[:, :3, 3] = -np.einsum("tij,tj->ti", T[:, :3, :3], eye)
    return T.astype(np.float32)


def without_place(moved: Moved) -> Cameras:
    """The cameras' turns alone, all in one place: what can be used before the scale is known."""
    T = moved.cameras.T_camera_world.copy()
    T[:, :3, 3] = 0
    return replace(moved.cameras, T_camera_world=T)


def scaled(moved: Moved, depth_m: Float[np.ndarray, "T H W"]) -> Cameras:
    """The cameras in metres, by what an estimated depth in metres says of the background points; their unit is kept, as
    a subject's usual distance of metres, where it says nothing."""
    ratios = []
    for pixels, depths, seen in zip(moved.pixels, moved.depths, depth_m, strict=True):
        if len(pixels):
            columns, rows = np.clip(np.floor(pixels).astype(int), 0, np.array(seen.shape)[::-1] - 1).T
            there = seen[rows, columns] / np.maximum(depths, 1e-6)
            ratios.append(there[np.isfinite(there) & (there > 0)])
    told = np.concatenate(ratios) if ratios else np.zeros(0)
    scale = float(np.median(told)) if len(told) else 1.0
    T = moved.cameras.T_camera_world.copy()
    T[:, :3, 3] *= scale
    return replace(moved.cameras, T_camera_world=T)
