"""The reposed start against clips whose texture is known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from kinema.body.skeleton import PART_IDS
from kinema.errors import InputError
from kinema.reinforce.inpainting import fill_hole, push_pull
from kinema.reinforce.reposed import carry
from kinema.reinforce.skin_texture import fit_light
from kinema.reinforce.texture_kernels import mean_value_point
from kinema.render.rasterizer import rasterize
from kinema.render.shot import make_shot
from painted import HW, backdrop, camera, disc, paint, psnr, scene, standing

STILL = np.zeros((3, 3), np.float32)


def path(*places):
    return np.array(places, np.float32)


def test_what_does_not_move_stays_as_it_is():
    still = scene([standing(STILL)], camera(3))
    image = paint(still)[0][0]
    carried = carry(image, still)
    assert (carried.frames[0] == image).all()
    assert (carried.known[0] == 1).all()
    assert psnr(carried.frames[2], image) > 36


def test_texture_moves_with_a_body():
    places = path((0, 0, 0), (0.2, 0, 0), (0.4, 0, 0.3))
    moving = scene([standing(places)], camera(3))
    truth, ids = paint(moving)
    carried = carry(truth[0], moving)
    for t in (1, 2):
        assert psnr(carried.frames[t], truth[t], ids[t] > 0) > 24
        assert psnr(carried.frames[t], truth[t]) > psnr(truth[0], truth[t]) + 8


def test_subject_ids_keep_other_pixels_off_the_body():
    still = scene([standing(STILL)], camera(3))
    truth, ids = paint(still)
    narrow = ids[0].copy()
    narrow[:, : HW[1] // 2] = 0
    image = truth[0].copy()
    image[:, : HW[1] // 2] = (255, 0, 255)
    left = cv2.erode(((ids[0] > 0) & (narrow == 0)).astype(np.uint8), np.ones((3, 3))) > 0
    carried = carry(image, still, narrow)
    assert (np.abs(carried.frames[1][left].astype(int) - (255, 0, 255)).sum(-1) > 100).all()
    assert carried.known[1][left].mean() < 0.6 < 0.8 < carried.known[1][narrow > 0].mean()


def test_a_single_sample_leaves_edges_hard():
    moving = scene([standing(path((0, 0, 0), (0.33, 0, 0.1)))], camera(2))
    ids = paint(moving)[1]
    red, blue = (200, 40, 40), (40, 40, 200)
    image = np.where(ids[0, ..., None] > 0, red, blue).astype(np.uint8)

    def mixed(samples: int) -> int:
        frame = carry(image, moving, ids[0], samples=samples).frames[1].astype(int)
        return int((np.min([np.abs(frame - pure).max(-1) for pure in (red, blue)], 0) > 8).sum())

    assert mixed(2) > 20
    assert mixed(1) == 0


def test_part_ids_keep_the_colours_of_other_parts_off_a_body_that_lies_beside_what_is_seen():
    cameras = camera(2, hw=(128, 128))
    seen, fitted = (scene([standing(path((x, 0, 0), (x, 0, 0)))], cameras) for x in (0.0, 0.12))
    parts, drawn = (
        rasterize(make_shot(s).meshes(slice(0, 2)), cameras, normals=False).part_ids for s in (seen, fitted)
    )
    colours = np.random.default_rng(3).integers(0, 256, (256, 3), np.uint8)
    for name, part in PART_IDS.items():
        colours[part] = colours[PART_IDS[name.replace("right_", "left_")]]
    image, subject_ids = colours[parts[0]], (parts[0] > 0).astype(np.uint8)

    def wrong(**known) -> float:
        frame = carry(image, fitted, subject_ids, samples=1, **known).frames[1].astype(int)
        inside = drawn[1] > 0
        return float((np.abs(frame - colours[drawn[1]]).max(-1) > 40)[inside].mean())

    assert wrong() > 0.35
    assert wrong(part_ids=parts[0]) < 0.2


@pytest.mark.parametrize("category", ["human", "animal"])
def test_the_hidden_side_is_filled_from_the_mirror_side(category):
    turn = np.array([np.pi / 2, np.pi / 2, -np.pi / 2], np.float32)
    turning = scene([standing(STILL, category, turn)], camera(3))
    truth, ids = paint(turning, lambda rest: 128 + 90 * np.sin(np.abs(rest) * [0, 6, 7] + [0.0, 1.0, 2.0]))
    carried = carry(truth[0], turning)
    body = ids[2] > 0
    assert psnr(carried.frames[2], truth[2], body) > 20
    assert np.median(carried.known[2][body]) == 0.5


def test_the_back_is_filled_from_the_front():
    turning = scene([standing(STILL, turn_rad=np.array([0, 0, np.pi], np.float32))], camera(3))
    truth, ids = paint(turning, lambda rest: 128 + 90 * np.sin(rest * [0, 6, 0] + [0.0, 1.0, 2.0]))
    carried = carry(truth[0], turning)
    body = ids[2] > 0
    assert psnr(carried.frames[2], truth[2], body) > 24
    assert 0.2 < np.median(carried.known[2][body]) <= 0.5


def test_the_nearer_body_hides_the_other():
    places = path((-0.6, 0, 0.5), (-0.6, 0, 0.5), (-0.1, 0, 0.5))
    crossing = scene([standing(places), standing(STILL)], camera(3))
    truth, ids = paint(crossing)
    carried = carry(truth[0], crossing)
    assert psnr(carried.frames[2], truth[2], ids[2] == 1) > 22
    assert psnr(carried.frames[2], truth[2], ids[2] == 2) > 18


def test_an_objects_picture_moves_with_it():
    moving = scene([disc(path((-0.5, 0, 0), (0.3, 0.2, 0), (0.3, 0.2, 0)))], camera(3))
    image = backdrop(moving.cameras)[0]
    y, x = np.indices(HW) + 0.5
    rows = np.where((y // 4 % 2).astype(bool)[..., None], (230, 30, 30), (30, 30, 230))
    shift = np.array([0.8, 0.2]) * 0.9 * HW[1] / 3
    inside = np.hypot(x - 32 + 0.5 * 0.9 * HW[1] / 3, y - 32 - 0.2 * 0.9 * HW[1] / 3) < 0.3 * 0.9 * HW[1] / 3
    image = np.where(inside[..., None], rows, image).astype(np.uint8)
    carried = carry(image, moving)
    before = np.argwhere(inside)
    after = before + np.rint([-shift[1], shift[0]]).astype(int)
    for channel in (0, 2):
        then, now = image[tuple(before.T)][:, channel], carried.frames[1][tuple(after.T)][:, channel]
        assert np.corrcoef(then, now)[0, 1] > 0.85


@pytest.mark.parametrize("move", [{"zoom": [1, 1.2, 1.3]}, {"pan_rad": [0, 0.05, 0.1]}])
def test_the_background_follows_the_camera(move):
    still = scene([standing(STILL)], camera(3, **move))
    truth, ids = paint(still)
    carried = carry(truth[0], still)
    seen = (ids[2] == 0) & (carried.known[2] == 1)
    assert seen.mean() > 0.4
    assert psnr(carried.frames[2], truth[2], seen) > 30
    assert psnr(carried.frames[2], truth[2]) > psnr(truth[0], truth[2]) + 6


def test_beyond_the_first_frame_nothing_is_known():
    out = scene([standing(STILL)], camera(3, zoom=[1, 0.8, 0.6]))
    carried = carry(paint(out)[0][0], out)
    assert (carried.known[2][:8] == 0).all()
    assert carried.frames[2][:8].std() > 5


def test_what_was_filled_is_as_well_known_as_was_said():
    places = path((-0.6, 0, 0), (0.6, 0, 0), (0.6, 0, 0))
    for move, beyond in (({}, np.zeros(HW, bool)), ({"zoom": [1, 0.8, 0.6]}, np.indices(HW)[0] < 8)):
        moving = scene([standing(places)], camera(3, **move))
        truth, ids = paint(moving)
        left = cv2.erode(((ids[0] > 0) & (ids[2] == 0)).astype(np.uint8), np.ones((3, 3))) > 0
        open_ground = beyond if beyond.any() else left
        free, kept = (carry(truth[0], moving, filled=filled) for filled in (0.0, 1.0))
        assert (free.frames == kept.frames).all()
        assert (free.known[2][open_ground] == 0).all()
        assert (kept.known[2][open_ground] == 1).all()
        assert (kept.known[2][ids[2] > 0] < 1).any()  # of the body it says nothing


def test_a_floor_comes_nearer_with_the_camera():
    cameras = camera(3)
    cameras.T_camera_world[:, 1, 3] += 0.8
    cameras.T_camera_world[2, 2, 3] -= 0.5
    image = np.zeros((*HW, 3), np.uint8)
    image[48:52] = 255
    focal, middle = cameras.K[0, 1, 1], HW[0] / 2
    before_m = focal * 1.0 / (50 - middle)
    after = focal * 1.0 / (before_m - 0.5) + middle
    bright = carry(image, scene([], cameras)).frames[2][:, 32, 0] > 128
    assert np.flatnonzero(bright).mean() + 0.5 == pytest.approx(after, abs=0.6)


def test_equal_input_equal_output():
    moving = scene([standing(path((0, 0, 0), (0.3, 0, 0), (0.5, 0, 0)))], camera(3))
    image = paint(moving)[0][0]
    one, other = carry(image, moving), carry(image, moving)
    assert (one.frames == other.frames).all()
    assert (one.known == other.known).all()


def test_a_subject_that_is_not_there_at_first_is_drawn_all_the_same():
    valid = np.array([False, True, True])
    late = scene([replace(standing(STILL), valid=valid), disc(path(*[(1.2, 0, 0)] * 3))], camera(3))
    image = backdrop(late.cameras)[0].astype(np.uint8)
    carried = carry(image, late)
    assert (carried.known[1] == 0).sum() > 100
    assert (carried.frames[1] != image).any(-1).sum() > 100


def test_ids_that_do_not_fit_are_refused():
    still = scene([standing(STILL)], camera(3))
    image = np.zeros((*HW, 3), np.uint8)
    with pytest.raises(InputError, match="shape"):
        carry(image, still, np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="goes up to 2"):
        carry(image, still, np.full(HW, 2, np.uint8))
    with pytest.raises(InputError, match="part_ids: has shape"):
        carry(image, still, part_ids=np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="samples: are 0"):
        carry(image, still, samples=0)


def test_light_is_found_under_a_pattern():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    groups = rng.integers(0, 4, 2000)
    light = np.array([0.3, 0.2, -0.1])
    plain = np.array([60, 90, 120, 150])[groups] * np.where(rng.random(2000) < 0.2, 0.5, 1.0)
    colours = (plain * np.exp(normals @ light))[:, None].repeat(3, 1)
    found = fit_light(colours.astype(np.float32), normals.astype(np.float32), groups)
    np.testing.assert_allclose(found, light, atol=0.04)


def test_bricks_go_on_behind_what_is_taken_away():
    y, x = np.indices((96, 96))
    joint = (y % 12 < 2) | ((x + 8 * (y // 12 % 2)) % 16 < 2)
    wall = np.where(joint[..., None], (220, 220, 210), (140, 70, 60)).astype(np.float32)
    known = np.ones((96, 96), bool)
    known[30:66, 40:60] = False
    filled = fill_hole(np.where(known[..., None], wall, 0).astype(np.float32), known)
    assert (filled[known] == wall[known]).all()
    assert psnr(filled, wall, ~known) > psnr(push_pull(wall, known.astype(np.float32)), wall, ~known) + 6


def test_mean_values_keep_affine_maps():
    rng = np.random.default_rng(1)
    angle = np.arange(16) / 16 * 2 * np.pi
    polygon = np.stack([np.cos(angle), np.sin(angle)], -1) * rng.uniform(0.5, 1, (16, 1))
    A, b = rng.normal(size=(2, 2)), rng.normal(size=2)
    for point in [(0.1, -0.2), tuple(polygon[3]), tuple((polygon[3] + polygon[4]) / 2), (0.0, 0.0)]:
        moved = mean_value_point(point[0], point[1], polygon, polygon @ A.T + b)
        np.testing.assert_allclose(moved, A @ point + b, atol=1e-6)
