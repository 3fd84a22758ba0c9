"""Edges of labels go where the picture's colours change, no farther, and not between parts that hardly differ."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.extract.instances import Instance, with_mended_edges
from kinema.extract.label_edges import EDGE_PX, mended

APART = np.array([0, 1, 2], np.int32)
BLUE, RED, GREY = (40, 60, 200), (210, 50, 40), (120, 120, 120)


def two_halves(edge: int = 20, left=BLUE, right=RED, noise: int = 0) -> np.ndarray:
    picture = np.empty((32, 40, 3), np.uint8)
    picture[:, :edge], picture[:, edge:] = left, right
    return (picture + np.random.default_rng(0).integers(0, noise + 1, picture.shape)).astype(np.uint8)


def labels_with_edge(edge: int) -> np.ndarray:
    labels = np.zeros((32, 40), np.int32)
    labels[:, edge:] = 1
    return labels


@pytest.mark.parametrize("off", [-2, -1, 0, 1, 2])
def test_an_edge_goes_to_where_colours_change(off):
    np.testing.assert_array_equal(mended(two_halves(), labels_with_edge(20 + off), APART), labels_with_edge(20))


def test_noise_leaves_most_of_an_edge_right():
    picture, right = two_halves(noise=12), labels_with_edge(20)
    for off in (-1, 1):
        before = labels_with_edge(20 + off)
        assert (mended(picture, before, APART) != right).sum() < 0.1 * (before != right).sum()


def test_a_ragged_edge_is_straightened():
    labels = labels_with_edge(20)
    labels[np.arange(32), 20 + np.random.default_rng(1).integers(-2, 3, 32)] ^= 1
    labels[10:12, 18:20] = 1
    assert (labels != labels_with_edge(20)).sum() > 20
    np.testing.assert_array_equal(mended(two_halves(), labels, APART), labels_with_edge(20))


def test_where_colours_tell_nothing_labels_stay():
    labels = labels_with_edge(17)
    np.testing.assert_array_equal(mended(two_halves(left=GREY, right=GREY), labels, APART), labels)


def test_parts_of_one_body_change_only_for_colours_that_clearly_differ():
    alike = two_halves(left=(120, 120, 120), right=(140, 140, 140))
    labels, one_body = labels_with_edge(18), np.zeros(2, np.int32)
    np.testing.assert_array_equal(mended(alike, labels, one_body), labels)
    np.testing.assert_array_equal(mended(alike, labels, APART[:2]), labels_with_edge(20))
    speck = labels_with_edge(20)
    speck[10, 18] = 1
    np.testing.assert_array_equal(mended(two_halves(), speck, one_body), labels_with_edge(20))


def test_what_is_deep_inside_keeps_its_label():
    picture = two_halves()
    picture[14:18, 8:12] = RED  # a red patch on the blue side, far from the edge
    np.testing.assert_array_equal(mended(picture, labels_with_edge(20), APART), labels_with_edge(20))


def test_an_edge_is_moved_by_a_few_pixels_at_most_in_a_round():
    found = mended(two_halves(), labels_with_edge(20 + 4 * EDGE_PX), APART)
    assert (found[:, : 20 + 2 * EDGE_PX] == 0).all(), "too far off to be seen"


def test_a_pixel_takes_one_of_the_labels_beside_it():
    labels = labels_with_edge(20)
    labels[:, 36:] = 2
    picture = two_halves()
    picture[:, 36:] = BLUE  # the third label has the colours of the first, but is far from its edge
    found = mended(picture, np.where(labels == 0, np.where(np.arange(40) < 18, 0, 1), labels).astype(np.int32), APART)
    np.testing.assert_array_equal(found, labels)


def test_one_label_and_a_single_pixel():
    one = np.full((8, 8), 3, np.int32)
    np.testing.assert_array_equal(mended(np.zeros((8, 8, 3), np.uint8), one, np.arange(4, dtype=np.int32)), one)
    np.testing.assert_array_equal(
        mended(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.int32), APART[:1]), np.zeros((1, 1), np.int32)
    )


def test_parts_and_subjects_are_mended_together():
    picture = two_halves()
    part_ids = np.zeros((32, 40), np.uint8)
    part_ids[4:28, 8:22], part_ids[4:28, 22:36] = 1, 64
    left, right = part_ids == 1, part_ids == 64
    parts, found = with_mended_edges(picture, part_ids, [Instance("human", 0.9, left), Instance("object", 0.8, right)])
    assert [(i.category, i.score) for i in found] == [("human", 0.9), ("object", 0.8)]
    inner = np.s_[8:24, 12:32]  # the outer edges lie in one colour
    np.testing.assert_array_equal(found[0].mask[inner], np.broadcast_to(np.arange(12, 32) < 20, (16, 20)))
    np.testing.assert_array_equal(parts == 1, found[0].mask)
    np.testing.assert_array_equal(parts == 64, found[1].mask)


def test_a_small_thing_of_the_colours_around_it_stays():
    picture = np.full((32, 40, 3), 120, np.uint8)
    part_ids = np.zeros((32, 40), np.uint8)
    part_ids[10:12, 10:12] = 64
    thing = Instance("object", 0.8, part_ids == 64)
    parts, (found,) = with_mended_edges(picture, part_ids, [thing])
    np.testing.assert_array_equal(parts, part_ids)
    np.testing.assert_array_equal(found.mask, thing.mask)
