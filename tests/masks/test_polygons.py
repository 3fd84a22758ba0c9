"""Outlines drawn by a person: which pixels they fill, and what is between the frames that were drawn."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.masks.files import read_masks
from kinema.masks.polygons import fill, outline_at

SQUARE = [[2, 2], [6, 2], [6, 6], [2, 6]]


@pytest.fixture
def load(tmp_path):
    def read(polygons, **more):
        path = tmp_path / "drawn.json"
        path.write_text(json.dumps({"size": [16, 12], "polygons": polygons, **more}))
        return read_masks(path)

    return read


def test_a_square_of_whole_pixels_is_exact():
    mask = fill([np.array(SQUARE, float)], (12, 16))
    expected = np.zeros((12, 16), bool)
    expected[2:6, 2:6] = True
    assert np.array_equal(mask, expected)


@given(st.lists(st.tuples(st.floats(-8, 24), st.floats(-8, 20)), min_size=3, max_size=7))
def test_a_pixel_is_filled_where_its_centre_is_inside(corners):
    polygon = np.array(corners).round(3)
    mask = fill([polygon], (12, 16))
    for row, column in ((0, 0), (5, 7), (11, 15), (3, 12)):
        turns = [  # the slow twin: crossings of a ray to the left, one edge at a time
            (x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)) <= column + 0.5
            for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True)
            if (y0 <= row + 0.5) != (y1 <= row + 0.5)
        ]
        on_edge = cv2.pointPolygonTest(polygon.astype(np.float32), (column + 0.5, row + 0.5), True)
        if abs(on_edge) > 1e-3:
            assert mask[row, column] == (sum(turns) % 2 == 1)


def test_between_two_keyframes_corners_move_evenly(load):
    far = (np.array(SQUARE) + np.array([8, 4])).tolist()
    masks = load({"0": {"dog": SQUARE}, "4": {"dog": far}}, fps=12)
    assert (len(masks), masks.labels, masks.fps) == (5, ("dog",), 12.0)
    for t in range(5):
        expected = np.zeros((12, 16), bool)
        expected[2 + t : 6 + t, 2 + 2 * t : 6 + 2 * t] = True
        assert np.array_equal(masks.masks[t, 0], expected)


def test_an_object_stays_before_its_first_outline_and_after_its_last(load):
    masks = load({"2": {"dog": SQUARE}}, frames=5)
    assert masks.masks.sum((1, 2, 3)).tolist() == [16] * 5


def test_null_says_that_it_is_gone(load):
    masks = load({"0": {"dog": SQUARE, "cat": SQUARE}, "2": {"dog": None}, "4": {"dog": SQUARE}})
    assert masks.labels == ("dog", "cat")
    assert masks.masks[:, 0].any((1, 2)).tolist() == [True, True, False, False, True]


def test_outlines_with_other_numbers_of_corners_keep_their_area_on_the_way():
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([10 + 4 * np.cos(turn), 8 + 4 * np.sin(turn)], 1)
    shifted = np.roll(circle[::-1], 5, 0)[::2] + np.array([6, 0])  # fewer corners, another start, the other way around
    between = outline_at({0: circle, 2: shifted}, 1)
    middle, radius = between.mean(0), np.linalg.norm(between - between.mean(0), axis=1)
    np.testing.assert_allclose(middle, [13, 8], atol=0.05)
    np.testing.assert_allclose(radius, 4, rtol=0.06)


@pytest.mark.parametrize(
    ("polygons", "more", "says"),
    [
        ({}, {}, "outlines by frame"),
        ({"0": {}}, {}, "names no object"),
        ({"first": {"dog": SQUARE}}, {}, "is no frame"),
        ({"0": [SQUARE]}, {}, "frame 0"),
        ({"0": {"dog": [[1, 2], [3, 4]]}}, {}, r"\[2, 2\]"),
        ({"0": {"dog": [[1, 2], [3]]}}, {}, "no outline"),
        ({"0": {"dog": [[1, 2], [3, 4], ["a", 5]]}}, {}, "no outline"),
        ({"0": {"dog": [[1, 2], [3, 4], [5, float("nan")]]}}, {}, "finite"),
        ({"0": {"dog": SQUARE}}, {"size": [16]}, "width, height"),
        ({"5": {"dog": SQUARE}}, {"frames": 5}, "frames"),
        ({"999999999": {"dog": SQUARE}}, {}, "frames"),
        ({"0": {"dog": SQUARE}}, {"fps": "fast"}, "fps"),
        ({"0": {"dog": [[50, 50], [60, 50], [60, 60]]}}, {}, "is empty"),
    ],
)
def test_what_is_refused(load, polygons, more, says):
    with pytest.raises(InputError, match=says):
        load(polygons, **more)
