"""The 21-point object: there and back, its order, its steadiness over frames, masks that are no polygon."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.body.object_points import (
    contour_vertices,
    evenly_spaced,
    mask_from_points,
    object_masks,
    object_motion,
    points_from_mask,
)
from kinema.errors import InputError
from kinema.types import Cameras

SIZE = (120, 160)
K = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def polygon_mask(corners):
    mask = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    return mask.astype(bool)


def rotated_box(centre, half, angle):
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return corners @ turn.T + centre


def still_cameras(frames):
    T = np.tile(np.eye(4), (frames, 1, 1))
    T[:, :3, 3] = [0.1, -0.2, 0.3]
    return Cameras(np.tile(K, (frames, 1, 1)), T, SIZE)


@given(
    centre=st.tuples(st.floats(50, 110), st.floats(45, 75)),
    half=st.tuples(st.floats(8, 40), st.floats(8, 40)),
    angle=st.floats(0, np.pi),
    depth=st.floats(0.3, 20),
)
def test_convex_masks_come_back(centre, half, angle, depth):
    mask = polygon_mask(rotated_box(np.array(centre), np.array(half), angle))
    points = points_from_mask(mask, np.full(SIZE, depth), K)
    assert iou(mask_from_points(points, K, SIZE), mask) > 0.85


@given(radius=st.floats(5, 55))
def test_discs_come_back(radius):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    mask = (x - 80) ** 2 + (y - 60) ** 2 <= radius**2
    assert iou(mask_from_points(points_from_mask(mask, np.full(SIZE, 2.0), K), K, SIZE), mask) > 0.9


def test_a_shape_with_a_bay_comes_back():
    mask = polygon_mask(np.array([[40, 20], [70, 20], [70, 70], [120, 70], [120, 100], [40, 100]]))
    assert iou(mask_from_points(points_from_mask(mask, np.full(SIZE, 2.0), K), K, SIZE), mask) > 0.9


def test_order_of_the_points():
    mask = np.zeros(SIZE, bool)
    mask[30:70, 40:100] = True
    points = points_from_mask(mask, np.full(SIZE, 3.0), K)
    pixels = points[:, :2] / points[:, 2:] * 150 + [80, 60]
    np.testing.assert_allclose(pixels[0], [40.5, 30.5], atol=1e-3)
    assert pixels[1, 0] > pixels[0, 0]
    np.testing.assert_allclose(pixels[16:], [[40, 30], [100, 30], [100, 70], [40, 70], [70, 50]], atol=1e-3)
    np.testing.assert_allclose(points[:, 2], 3)


def test_evenly_spaced_on_a_square():
    square = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    found = evenly_spaced(square)
    np.testing.assert_allclose(np.linalg.norm(np.diff(found, axis=0), axis=-1), 1)
    np.testing.assert_allclose(evenly_spaced(square, start=0.25)[0], [4, 0])


@given(turn=st.floats(-0.15, 0.15), shift=st.tuples(st.floats(-20, 20), st.floats(-10, 10)))
def test_vertices_follow_an_object_that_turns(turn, shift):
    first = rotated_box(np.array([80.0, 60]), np.array([30.0, 15]), 0.4)
    before = contour_vertices(first)
    after = contour_vertices(rotated_box(np.array([80.0, 60]) + shift, np.array([30.0, 15]), 0.4 + turn), before)
    spacing = 2 * (60 + 30) / 16
    moved = after - before - shift
    assert np.linalg.norm(moved, axis=-1).max() < 0.5 * spacing + 34 * abs(turn)


def test_depth_at_the_edge_ignores_the_background():
    mask = np.zeros(SIZE, bool)
    mask[40:80, 60:100] = True
    depth = np.where(mask, 2.0, np.inf)
    depth[40:80, 60:80] = 2.5
    points = points_from_mask(mask, depth, K)
    assert set(np.round(points[:16, 2], 3)) <= {2.0, 2.5}
    assert points[16, 2] == points[20, 2]


def test_one_pixel_and_masks_at_the_border():
    one = np.zeros(SIZE, bool)
    one[0, 159] = True
    points = points_from_mask(one, np.ones(SIZE), K)
    assert np.isfinite(points).all()
    assert mask_from_points(points, K, SIZE)[0, 159]
    full = np.ones(SIZE, bool)
    assert iou(mask_from_points(points_from_mask(full, np.ones(SIZE), K), K, SIZE), full) > 0.97
    line = np.zeros(SIZE, bool)
    line[50, :] = True
    assert iou(mask_from_points(points_from_mask(line, np.ones(SIZE), K), K, SIZE), line) == 1


def test_largest_piece_is_the_contour_and_all_pieces_the_box():
    mask = np.zeros(SIZE, bool)
    mask[20:60, 20:60] = True
    mask[100:103, 140:143] = True
    points = points_from_mask(mask, np.ones(SIZE), K)
    back = mask_from_points(points, K, SIZE)
    assert back[40, 40]
    assert not back[101, 141]
    np.testing.assert_allclose(points[18, :2] * 150 + [80, 60], [143, 103], atol=1e-3)


def test_a_sequence_in_the_world_and_its_empty_frames():
    masks = np.zeros((5, *SIZE), bool)
    for t in (0, 1, 3):
        masks[t, 30:70, 40 + 10 * t : 80 + 10 * t] = True
    cameras = still_cameras(5)
    motion = object_motion(masks, np.full((5, *SIZE), 2.0), cameras, 24.0)
    assert motion.valid.tolist() == [True, True, False, True, False]
    step = motion.points_m[1] - motion.points_m[0]
    np.testing.assert_allclose(step, np.tile([10 / 150 * 2, 0, 0], (21, 1)), atol=1e-4)
    np.testing.assert_array_equal(motion.points_m[4], motion.points_m[3])
    back = object_masks(motion, cameras)
    assert iou(back[0], masks[0]) > 0.9
    assert not back[2].any()
    blind = object_motion(masks, np.full((5, *SIZE), np.nan), cameras, 24.0)
    assert not blind.valid.any()
    assert not blind.points_m.any()


def test_points_behind_the_camera():
    mask = np.zeros(SIZE, bool)
    mask[30:90, 40:120] = True
    points = points_from_mask(mask, np.ones(SIZE), K)
    assert not mask_from_points(points - [0, 0, 2], K, SIZE).any()
    points[:8, 2] = -1
    assert mask_from_points(points, K, SIZE).any()


def test_what_cannot_be_used():
    with pytest.raises(InputError, match="empty"):
        points_from_mask(np.zeros(SIZE, bool), np.ones(SIZE), K)
    with pytest.raises(InputError, match="depth"):
        points_from_mask(np.ones(SIZE, bool), np.zeros(SIZE), K)
    with pytest.raises(InputError, match="cameras"):
        object_motion(np.zeros((2, *SIZE), bool), np.ones((2, *SIZE)), still_cameras(3), 24.0)
