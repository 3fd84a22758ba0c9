"""Who is in front of whom, by the masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinema.extract.depth_order import bone_points, find_hidden, in_seen_order, own_pixels
from kinema.extract.fit_terms import order_energy
from kinema.extract.fitting import fit_bodies
from tests.extract.scenes import cameras_for, seen, walker


def test_bone_points_lie_on_their_bones():
    weights = bone_points("human")
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)))
    assert ((weights > 0).sum(1) == 2).all()


def two_crossing(shift: int = 0):
    """Two subjects of four points each, side by side; points of the right one lie in the left one's mask."""
    masks = np.zeros((2, 3, 64, 64), bool)
    masks[0, :, 10:50, 10:40], masks[1, :, 10:50, 40:60] = True, True
    rows = np.array([15.0, 25, 35, 45])
    left = np.stack([np.full(4, 25.0), rows], -1)
    right = np.stack([np.array([30.0, 50, 50, 50]), rows], -1)
    return [np.tile(p, (3, 1, 1)) for p in (left, right)], list(masks)


def test_a_point_in_the_others_mask_is_behind_the_nearest_limb():
    points, masks = two_crossing()
    (found,) = find_hidden(points, masks)
    assert (found.behind, found.front) == (1, 0)
    assert found.frames.tolist() == [0, 1, 2]
    assert found.points_behind.tolist() == [0, 0, 0]
    assert found.points_front.tolist() == [0, 0, 0]


def test_points_at_the_edge_and_in_ones_own_mask_tell_nothing():
    points, masks = two_crossing()
    points[1][:, 0, 0] = 39.5
    assert find_hidden(points, masks) == []
    points[1][:, 0, 0] = 30
    masks[1][:, 10:50, 25:60] = True
    assert find_hidden(points, masks) == []
    masks[0][:] = False
    assert find_hidden(points, masks) == []


def test_the_wrong_order_costs_and_pulls_both_the_right_way():
    points, masks = two_crossing()
    hidden = find_hidden(points, masks)
    depths = [torch.full((3, 4), z, requires_grad=True) for z in (4.0, 3.9)]
    wrong = order_energy(hidden, depths)
    wrong.backward()
    front, behind = (d.grad for d in depths)
    assert front is not None
    assert behind is not None
    assert front[0, 0] > 0 > behind[0, 0]
    assert front[0, 1] == 0
    right = order_energy(hidden, [torch.full((3, 4), z) for z in (3.8, 4.0)])
    assert right == 0 < wrong


def test_masks_move_who_is_in_front():
    bodies = [walker(at=(0.0, 0.0)), walker(at=(0.15, -0.3))]
    cameras = cameras_for(bodies, azimuth=0.0)
    true = seen(bodies, cameras)
    near, far = true.tracks
    whole = far.masks.copy()
    for t, (x0, y0, x1, y1) in enumerate(far.boxes_px.astype(int)):
        whole[t, y0:y1, x0:x1] = True
    exchanged = (replace(near, masks=near.masks & ~whole), replace(far, masks=whole))
    gaps = [_gap(*fit_bodies(tracks, cameras, 8.0)).mean() for tracks in (true.tracks, exchanged)]
    assert gaps[0] == pytest.approx(_gap(bodies, cameras).mean(), abs=0.1)
    assert gaps[1] < gaps[0] - 0.15


def _gap(bodies, cameras) -> np.ndarray:
    """[T] how much farther the second one's root is than the first one's."""
    T = cameras.T_camera_world
    first, second = (np.einsum("tij,tj->ti", T[:, :3, :3], b.root_translation_m)[:, 2] for b in bodies)
    return second - first


GREY, RED, BLUE = (120, 120, 120), (200, 30, 30), (30, 30, 200)


def object_at_a_body(bleeding: bool, frames: int = 6):
    """A red object whose mask crosses a blue body: wholly over it, or beside it with a mask that takes two columns of it.
    -> masks, how far the drawn body is, where it is seen, and the pictures."""
    pictures = np.full((frames, 64, 64, 3), GREY, np.uint8)
    body, masks = (np.zeros((frames, 64, 64), bool) for _ in range(2))
    body[:, 8:56, 20:44] = True
    columns = slice(42, 54) if bleeding else slice(26, 38)
    masks[:, 24:36, columns] = True
    pictures[body] = BLUE
    pictures[masks & ~(body & bleeding)] = RED
    drawn = np.where(body, np.float32(3), np.float32(np.inf))
    return masks, drawn, body & ~masks, pictures


@pytest.mark.parametrize("estimated_m", [2.0, 3.5])
def test_an_object_seen_on_a_body_is_in_front_of_it(estimated_m):
    masks, drawn, body, pictures = object_at_a_body(bleeding=False)
    own = own_pixels(masks, body, pictures)
    np.testing.assert_array_equal(own, masks)
    depth = in_seen_order(np.full(6, estimated_m, np.float32), masks, own, drawn)
    assert (depth < 3).all()
    assert (depth <= estimated_m).all()


@pytest.mark.parametrize("estimated_m", [2.0, 3.5])
def test_an_object_whose_mask_bleeds_over_a_bodys_edge_is_behind_it(estimated_m):
    masks, drawn, body, pictures = object_at_a_body(bleeding=True)
    own = own_pixels(masks, body, pictures)
    np.testing.assert_array_equal(own, masks & (pictures == RED).all(-1))
    depth = in_seen_order(np.full(6, estimated_m, np.float32), masks, own, drawn)
    assert (depth > 3).all()
    assert (depth >= estimated_m).all()


def test_fingers_before_a_thing_are_not_the_things():
    masks, drawn, body, pictures = object_at_a_body(bleeding=False)
    pictures[:, 28:32, 26:34] = BLUE
    own = own_pixels(masks, body, pictures)
    np.testing.assert_array_equal(own, masks & (pictures == RED).all(-1))
    assert (in_seen_order(np.full(6, 3.5, np.float32), masks, own, drawn) < 3).all()


def test_an_object_that_crosses_no_body_stays_where_it_is():
    masks, drawn, body, pictures = object_at_a_body(bleeding=False)
    depth = np.full(6, 3.5, np.float32)
    away = np.roll(masks, -24, 2)
    assert (in_seen_order(depth, away, own_pixels(away, body, pictures), drawn) == depth).all()


def test_an_object_without_colours_to_go_by_keeps_its_mask():
    masks, drawn, body, pictures = (a.repeat(4, 1).repeat(4, 2) for a in object_at_a_body(bleeding=True))
    assert own_pixels(masks, body, pictures).sum() < masks.sum()
    np.testing.assert_array_equal(own_pixels(masks, body & False, pictures), masks)
    thin = masks.copy()
    thin[:, 100:], thin[:, :99] = False, False  # one row: nothing is well inside
    np.testing.assert_array_equal(own_pixels(thin, body, pictures), thin)
    assert (in_seen_order(np.full(6, 3.5, np.float32), thin, thin, drawn) < 3).all()
