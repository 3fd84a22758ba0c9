"""Cameras that move through space, found by pycolmap in a made-up room with known cameras."""

import sys

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinema.errors import InputError
from kinema.extract.sfm_camera import Moved, moving_cameras, scaled
from kinema.types import Cameras, Video

WIDTH, HEIGHT = 240, 180


def texture(seed: int) -> np.ndarray:
    """Blots of many sizes, 512 x 512."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.uniform(0, 255, (n, n)), (512, 512), interpolation=cv2.INTER_CUBIC) for n in (16, 48, 128)]
    return np.clip(sum(layers) / 3 * 1.6 - 70, 0, 255).astype(np.float32)


def room(cameras: Cameras) -> np.ndarray:
    """Frames of a floor, a wall and a board before it, each with its texture, by casting rays."""
    planes = [  # a point, two axes across (unit), half extents
        ((0, 1.0, 4.0), (1, 0, 0), (0, 0, 1), (6, 6)),
        ((0, 0.0, 7.0), (1, 0, 0), (0, 1, 0), (8, 5)),
        ((-0.7, 0.2, 4.0), (1, 0, 0), (0, 1, 0), (0.7, 0.8)),
    ]
    textures = [texture(k) for k in range(3)]
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    frames = []
    for K, T in zip(cameras.K.astype(float), cameras.T_camera_world.astype(float), strict=True):
        rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T @ T[:3, :3]
        eye = -T[:3, :3].T @ T[:3, 3]
        nearest, picture = np.full(x.shape, np.inf), np.zeros(x.shape, np.float32)
        for (point, a, b, half), own in zip(planes, textures, strict=True):
            normal = np.cross(a, b)
            away = (np.subtract(point, eye) @ normal) / (rays @ normal)
            hit = eye + rays * away[..., None] - point
            u, v = hit @ np.array(a, float) / half[0], hit @ np.array(b, float) / half[1]
            shown = (away > 0.1) & (away < nearest) & (np.abs(u) < 1) & (np.abs(v) < 1)
            at = [((w + 1) * 255).astype(np.float32) for w in (u, v)]
            colour = cv2.remap(own, at[0], at[1], cv2.INTER_LINEAR)
            picture[shown], nearest[shown] = colour[shown], away[shown]
        frames.append(np.repeat(picture.astype(np.uint8)[..., None], 3, -1))
    return np.stack(frames)


def travelling(frames: int = 8) -> Cameras:
    """A camera that goes sideways and a little forward, turning."""
    focal = WIDTH / 2 / np.tan(np.radians(25))
    K = np.tile(np.array([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1.0]]), (frames, 1, 1))
    T = np.tile(np.eye(4), (frames, 1, 1))
    share = np.linspace(0, 1, frames)
    turn = Rotation.from_euler("yx", np.stack([-0.15 * share, 0.05 * share], 1)).as_matrix()
    eyes = np.stack([1.2 * share, -0.1 * share, 0.5 * share**2], 1)
    T[:, :3, :3] = turn
    T[:, :3, 3] = -np.einsum("tij,tj->ti", turn, eyes)
    return Cameras(K.astype(np.float32), T.astype(np.float32), (HEIGHT, WIDTH))


def eyes_of(cameras: Cameras) -> np.ndarray:
    return -np.einsum("tji,tj->ti", cameras.T_camera_world[:, :3, :3], cameras.T_camera_world[:, :3, 3]).astype(float)


def filmed() -> tuple[Cameras, Video, np.ndarray]:
    """The true cameras, what they see, and the masks of something of its own that goes across the picture."""
    truth = travelling()
    frames = room(truth)
    masks = np.zeros(frames.shape[:3], bool)
    for t in range(len(frames)):
        masks[t, 60:120, 20 + 20 * t : 55 + 20 * t] = True
        frames[t][masks[t]] = texture(9)[:60, :35].reshape(-1, 1)
    return truth, Video(frames, 8.0), masks


@pytest.fixture(scope="module")
def found():
    pytest.importorskip("pycolmap", reason="pycolmap is optional (kinema[sfm])")
    truth, video, masks = filmed()
    return truth, moving_cameras(video, masks), masks


def test_the_same_video_gives_the_same_cameras_to_the_bit(found):
    _, video, masks = filmed()
    np.testing.assert_array_equal(moving_cameras(video, masks).cameras.T_camera_world, found[1].cameras.T_camera_world)


def test_the_cameras_are_the_true_ones_up_to_a_similarity(found):
    truth, moved, _ = found
    seen, true = eyes_of(moved.cameras), eyes_of(truth)
    seen, true = seen - seen[0], true - true[0]
    scale = (seen * true).sum() / (seen**2).sum()
    assert np.linalg.norm(scale * seen - true, axis=-1).max() < 0.06  # of a way of 1.3 m
    turns = [c.T_camera_world[:, :3, :3].astype(float) for c in (moved.cameras, truth)]
    apart = Rotation.from_matrix(turns[0] @ (turns[1] @ turns[1][0].T).transpose(0, 2, 1)).magnitude()
    assert np.degrees(apart).max() < 1.0


def test_points_lie_on_the_background_and_depth_tells_the_scale(found):
    truth, moved, masks = found
    for pixels, mask in zip(moved.pixels, masks, strict=True):
        columns, rows = np.floor(pixels).astype(int).T
        assert not mask[rows, columns].any()
    depth = np.full(masks.shape, np.inf)
    seen, true = eyes_of(moved.cameras), eyes_of(truth)
    scale = np.linalg.norm(true[-1] - true[0]) / np.linalg.norm(seen[-1] - seen[0])
    for t, (pixels, depths) in enumerate(zip(moved.pixels, moved.depths, strict=True)):
        columns, rows = np.floor(pixels).astype(int).T
        depth[t, rows, columns] = scale * depths
    metres = eyes_of(scaled(moved, depth))
    assert np.linalg.norm(metres[-1] - metres[0]) == pytest.approx(np.linalg.norm(true[-1] - true[0]), rel=0.02)


def test_a_camera_that_stands_is_refused():
    pytest.importorskip("pycolmap", reason="pycolmap is optional (kinema[sfm])")
    frame = room(travelling(1))
    with pytest.raises(InputError, match="pan-zoom"):
        moving_cameras(Video(np.repeat(frame, 4, 0), 8.0))


def test_what_to_install_is_said_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(InputError, match=r"kinema\[sfm\]"):
        moving_cameras(Video(np.zeros((3, 8, 8, 3), np.uint8), 8.0))


def test_without_a_depth_the_unit_is_kept():
    cameras = travelling(3)
    moved = Moved(cameras, (np.zeros((0, 2)),) * 3, (np.zeros(0),) * 3)
    assert np.array_equal(scaled(moved, np.full((3, 4, 4), np.inf)).T_camera_world, cameras.T_camera_world)
