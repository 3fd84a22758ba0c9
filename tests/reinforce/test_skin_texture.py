"""The colours of a whole body from what one picture shows of it."""

import numpy as np
import pytest

from kinema.body.model import load_body
from kinema.body.skeleton import PART_IDS
from kinema.reinforce.skin_texture import MIRRORED, SEEN, rest_vertices, whole_skin
from kinema.types import BodyMotion


@pytest.fixture(scope="module")
def body():
    """Vertices in the rest pose, faces, parts."""
    human = load_body("human")
    still = BodyMotion("human", np.zeros((1, 55, 3)), np.zeros((1, 3)), np.zeros(10), 8.0)
    return rest_vertices(human, still), human.faces, human.vertex_parts


def test_a_hand_of_one_mixed_pixel_takes_the_colour_of_its_forearm_and_so_does_the_other(body):
    rest, faces, parts = body
    arm, hand, other = (parts == PART_IDS[n] for n in ("left_forearm", "left_hand", "right_hand"))
    colours, weights = np.zeros((len(rest), 3), np.float32), np.zeros(len(rest), np.float32)
    colours[arm], weights[arm] = (150, 110, 90), 1
    mixed = np.flatnonzero(hand)[:2]
    colours[mixed], weights[mixed] = (20, 240, 20), 0.2
    found, known = whole_skin(rest, faces, parts, colours, weights)
    for part in (hand, other):
        assert found[part] == pytest.approx(np.tile([150, 110, 90], (part.sum(), 1)), abs=1)
        assert (known[part] < MIRRORED).all()
    assert (known[arm] == SEEN).all()
    twin = known[parts == PART_IDS["right_forearm"]]
    assert np.median(twin) == MIRRORED


def test_a_body_of_which_nothing_is_seen_is_grey(body):
    rest, faces, parts = body
    found, known = whole_skin(rest, faces, parts, np.zeros_like(rest), np.zeros(len(rest), np.float32))
    assert (found == 128).all()
    assert (known == 0).all()


def test_a_part_that_is_hardly_seen_on_the_body_takes_the_usual_colour_where_that_is_known(body):
    rest, faces, parts = body
    arm, hand = (np.isin(parts, [PART_IDS[f"{side}_{n}"] for side in ("left", "right")]) for n in ("forearm", "hand"))
    usual = np.full((len(rest), 3), np.nan, np.float32)
    usual[hand] = (200, 150, 120)
    colours, weights = np.zeros((len(rest), 3), np.float32), np.zeros(len(rest), np.float32)
    found, known = whole_skin(rest, faces, parts, colours, weights, usual)
    assert found[hand] == pytest.approx(usual[hand])
    assert (known == 0).all()
    colours[arm], weights[arm] = (10, 20, 120), 1
    found, known = whole_skin(rest, faces, parts, colours, weights, usual)
    assert np.median(found[hand], 0) == pytest.approx([200, 150, 120], abs=1)
    assert (known[hand] < MIRRORED).all()


def test_two_vertices_are_enough_where_nothing_better_is_seen(body):
    rest, faces, parts = body
    colours, weights = np.zeros((len(rest), 3), np.float32), np.zeros(len(rest), np.float32)
    colours[:2], weights[:2] = (10, 20, 30), 0.2
    found, _ = whole_skin(rest, faces, parts, colours, weights)
    assert found == pytest.approx(np.tile([10, 20, 30], (len(rest), 1)), abs=1)
