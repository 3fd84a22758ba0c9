"""Encodings of maps as pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.body.skeleton import PART_IDS, PARTS
from kinema.render.palette import (
    PART_COLORS,
    depth_to_rgb,
    mask_to_rgb,
    normals_to_rgb,
    parts_to_rgb,
    rgb_to_parts,
)


def test_every_part_has_a_colour_of_its_own():
    colors = np.array([PART_COLORS[k] for k in PARTS], int)
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1e3 * np.eye(len(colors))
    assert apart.min() > 20
    humans = np.array([PART_COLORS[k] for k in PARTS if 0 < k < 32], int)
    assert (np.linalg.norm(humans[:, None] - humans[None], axis=-1) + 1e3 * np.eye(len(humans))).min() > 45


@given(st.integers(0, 10**6))
def test_part_colours_are_read_back_through_a_codecs_loss(seed):
    rng = np.random.default_rng(seed)
    parts = rng.choice(np.array(list(PART_IDS.values()), np.uint8), (1, 8, 8))
    noisy = np.clip(parts_to_rgb(parts).astype(int) + rng.integers(-5, 6, (1, 8, 8, 3)), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(rgb_to_parts(noisy), parts)


def test_depth_near_is_white_far_is_grey_background_is_black():
    depth = np.array([[[2.0, 3.0, 4.0, np.inf]]], np.float32)
    grey = depth_to_rgb(depth)[0, 0, :, 0]
    assert grey[0] == 255
    assert grey[3] == 0
    np.testing.assert_allclose(grey[1], 255 * (1 / 3 - 1 / 8) / (1 / 2 - 1 / 8), atol=0.5)  # linear in disparity
    assert 0 < grey[2] < grey[1]
    assert not depth_to_rgb(np.full((1, 2, 2), np.inf, np.float32)).any()


@pytest.mark.parametrize(
    ("normal", "color"),
    [
        ((0, 0, -1), (128, 128, 255)),  # towards the camera: blue
        ((-1, 0, 0), (255, 128, 128)),  # to the left: red
        ((0, -1, 0), (128, 255, 128)),  # up: green
        ((0, 0, 0), (128, 128, 255)),  # background
    ],
)
def test_normals_blue_is_front_red_is_left_green_is_up(normal, color):
    picture = normals_to_rgb(np.array(normal, np.float32).reshape(1, 1, 1, 3))
    np.testing.assert_array_equal(picture[0, 0, 0], color)


def test_masks_are_white_on_black():
    picture = mask_to_rgb(np.array([[[0, 1, 2]]], np.uint8))
    np.testing.assert_array_equal(picture[0, 0, :, 0], [0, 255, 255])
