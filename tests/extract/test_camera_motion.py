"""Camera motion from backgrounds that were moved by known cameras."""

import cv2
import numpy as np
import pytest

from kinema.camera import FIELD_OF_VIEW_RAD
from kinema.errors import InputError
from kinema.extract.camera_kernels import normal_equations
from kinema.extract.camera_motion import camera_motion, level_rotation
from kinema.types import Video

SIDE = 96
FOCAL = SIDE / 2 / np.tan(FIELD_OF_VIEW_RAD / 2)


def backdrop(seed: int = 0) -> np.ndarray:
    """A smooth picture without a single sharp corner."""
    noise = np.random.default_rng(seed).uniform(0, 255, (16, 16, 3)).astype(np.float32)
    return cv2.resize(noise, (3 * SIDE, 3 * SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def filmed(pan_rad: np.ndarray, pitch_rad: np.ndarray, zoom: np.ndarray, grain: float = 1.0) -> Video:
    """The far backdrop as a camera sees it that turns and zooms, with noise."""
    picture, rng = backdrop(), np.random.default_rng(1)
    lens = np.array([[FOCAL, 0, SIDE / 2], [0, FOCAL, SIDE / 2], [0, 0, 1]])
    wide = np.array([[FOCAL, 0, 1.5 * SIDE], [0, FOCAL, 1.5 * SIDE], [0, 0, 1]])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    turn = level_rotation(pan_rad, pitch_rad)
    frames = []
    for t in range(len(pan_rad)):
        now = lens.copy()
        now[:2, :2] *= zoom[t]
        away = np.linalg.inv(half) @ wide @ turn[0] @ turn[t].T @ np.linalg.inv(now) @ half
        frame = cv2.warpPerspective(picture, away, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        frames.append((frame + rng.normal(0, grain, frame.shape)).clip(0, 255))
    return Video(np.array(frames, np.uint8), 8.0)


def test_a_standing_camera_stands_exactly_however_grainy_the_video():
    still = np.zeros(8)
    cameras = camera_motion(filmed(still, still, still + 1, grain=4.0))
    assert np.ptp(cameras.K, 0).max() == 0
    assert np.ptp(cameras.T_camera_world, 0).max() == 0


def test_pan_pitch_and_zoom_are_found_to_a_fifth_of_a_pixel():
    share = np.linspace(0, 1, 10)
    pan, pitch, zoom = 0.15 * share, -0.06 * share, np.exp(0.1 * share)
    cameras = camera_motion(filmed(pan, pitch, zoom), pitch_rad=0.0)
    forward = cameras.T_camera_world[:, 2, :3]
    assert np.abs(np.arctan2(forward[:, 0], -forward[:, 2]) - pan).max() * FOCAL < 0.2
    assert np.abs(np.arcsin(-forward[:, 1]) - pitch).max() * FOCAL < 0.2
    assert np.abs(cameras.K[:, 0, 0] / FOCAL - zoom).max() * SIDE / 2 < 0.2


def test_what_moves_before_a_still_background_is_not_the_camera():
    still = np.zeros(8)
    video = filmed(still, still, still + 1)
    masks = np.zeros(video.frames.shape[:3], bool)
    for t in range(8):
        masks[t, 30:80, 10 + 6 * t : 40 + 6 * t] = True
        video.frames[t, 30:80, 10 + 6 * t : 40 + 6 * t] = backdrop(2)[30:80, 10:40]
    assert np.ptp(camera_motion(video, masks).T_camera_world, 0).max() == 0


@pytest.mark.parametrize("shape", [(1, 32, 48), (3, 7, 5)])
def test_pictures_without_texture_or_size_leave_the_camera_standing(shape):
    cameras = camera_motion(Video(np.full((*shape, 3), 90, np.uint8), 8.0))
    assert cameras.image_hw == shape[1:]
    assert np.isfinite(cameras.T_camera_world).all()
    assert np.ptp(cameras.K, 0).max() == 0


def test_masks_of_another_size_are_refused():
    with pytest.raises(InputError, match="subject_masks"):
        camera_motion(Video(np.zeros((2, 8, 8, 3), np.uint8), 8.0), np.zeros((2, 8, 9), bool))


def test_the_compiled_sums_are_those_of_whole_arrays():
    rng = np.random.default_rng(0)
    picture, first = rng.uniform(0, 255, (2, 20, 30)).astype(np.float32)
    both = rng.random((20, 30)) > 0.3
    focal, middle, shift, noise = 40.0, (14.0, 11.0), 2.5, 4.0
    dy, dx = np.gradient(picture)
    y, x = (np.indices(picture.shape) + 0.5 - np.array(middle[::-1])[:, None, None]) / focal
    flows = ((-1 - x * x, -x * y), (-x * y, -1 - y * y), (x, y))
    slopes = np.stack([focal * (dx * u + dy * v)[both] for u, v in flows], -1)
    off = (picture - first)[both] - shift
    weighted = slopes * np.minimum(1, noise / np.abs(off))[:, None]
    normal, off_along = normal_equations(picture, first, both, shift, focal, *middle, noise)
    np.testing.assert_allclose(normal, weighted.T @ slopes, rtol=1e-5)
    np.testing.assert_allclose(off_along, weighted.T @ off, rtol=1e-5)
