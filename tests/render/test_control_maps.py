"""Maps of real bodies and objects: what is where, in every map; long clips in pieces; what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import kinema.render.control_maps as control_maps
from kinema.body.model import load_body
from kinema.body.object_points import mask_from_points
from kinema.body.skeleton import PART_IDS
from kinema.camera import fixed_cameras, project
from kinema.errors import InputError
from kinema.render.control_maps import part_condition, render_frames, render_maps, to_rgb
from kinema.render.shot import make_shot, outermost_points, triangulate
from kinema.types import BodyMotion, ObjectMotion, Scene, Subject

SIZE = (96, 64)
EVERY_MAP = ("parts", "mask", "depth", "normals", "openpose", "shaded")


def standing(frames=3, at=(0.0, 0.95, 0.0), turn_rad=0.0, category="human"):
    rotvec = np.zeros((frames, 55 if category == "human" else 35, 3), np.float32)
    rotvec[:, 0, 1] = turn_rad
    root = np.tile(np.array(at, np.float32), (frames, 1))
    return BodyMotion(category, rotvec, root, np.zeros(1, np.float32), 20.0)


def star(frames=3, at=(0.0, 1.0, 0.0)):
    """A five-pointed outline, so not convex, facing +z."""
    angle = np.arange(16) / 16 * 2 * np.pi
    radius = 0.3 * (1 + 0.4 * np.cos(5 * angle))
    contour = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], -1) + at
    points = np.concatenate([contour, contour[:4], contour.mean(0, keepdims=True)]).astype(np.float32)
    return ObjectMotion(np.tile(points, (frames, 1, 1)), 20.0, np.ones(frames, bool))


@pytest.fixture(scope="module")
def low():
    return load_body("human", detail="low")


def test_all_maps_agree_about_where_the_body_is(low):
    maps = render_maps(standing(), size=SIZE, maps=EVERY_MAP, body=low)
    body = maps.part_ids > 0
    assert 0.03 < body.mean() < 0.5
    np.testing.assert_array_equal(maps.subject_ids > 0, body)
    np.testing.assert_array_equal(np.isfinite(maps.depth_m), body)
    np.testing.assert_array_equal(np.abs(maps.normals).sum(-1) > 0, body)
    assert maps.openpose.any()
    for name in EVERY_MAP:
        assert to_rgb(maps, name).shape == (3, 64, 96, 3)
    assert maps.fps == 20.0


def test_left_is_left_and_the_head_is_above(low):
    """Seen from the front, the body's left hand is on the right side of the picture."""
    motion = standing(1)
    cameras = fixed_cameras(outermost_points(make_shot(motion, body=low)), SIZE, 0.0)
    parts = render_maps(motion, cameras, maps=("parts",), body=low).part_ids[0]
    middle = {
        name: np.argwhere(parts == PART_IDS[name]).mean(0) for name in ("left_hand", "right_hand", "head", "hips")
    }
    assert middle["left_hand"][1] > middle["right_hand"][1] + 20
    assert middle["head"][0] < middle["hips"][0] - 10


def test_one_map_may_be_named_without_a_list(low):
    maps = render_maps(standing(1), size=(64, 48), maps="mask", body=low)
    assert maps.subject_ids is not None
    assert maps.part_ids is None


def test_maps_that_were_not_asked_for_are_none(low):
    maps = render_maps(standing(), size=SIZE, maps=("mask",), body=low)
    assert maps.subject_ids is not None
    assert (maps.part_ids, maps.depth_m, maps.normals, maps.openpose, maps.shaded) == (None,) * 5
    with pytest.raises(InputError, match="not drawn"):
        to_rgb(maps, "depth")


@pytest.mark.parametrize("name", EVERY_MAP)
def test_frames_one_by_one_are_the_frames_of_the_clip(low, name, monkeypatch):
    motion = standing(5)
    motion.root_translation_m[:, 2] = np.linspace(0, 1, 5)
    whole = to_rgb(render_maps(motion, size=SIZE, maps=(name,), body=low), name)
    monkeypatch.setattr(control_maps, "_PIXELS_AT_ONCE", 2 * SIZE[0] * SIZE[1])
    pieces = np.stack(list(render_frames(motion, name, size=SIZE, body=low)))
    np.testing.assert_array_equal(pieces, whole)


def test_a_subject_is_absent_where_it_is_not_valid(low):
    motion = replace(standing(3), valid=np.array([True, False, True]))
    maps = render_maps(motion, size=SIZE, maps=("parts", "openpose"), body=low)
    np.testing.assert_array_equal(maps.part_ids.any((1, 2)), [True, False, True])
    np.testing.assert_array_equal(maps.openpose.any((1, 2, 3)), [True, False, True])


def test_two_people_who_cross(low):
    """They pass each other in depth; the one in front hides the other."""
    one, two = standing(4), standing(4)
    one.root_translation_m[:, 2] = [1, 1, -1, -1]
    two.root_translation_m[:, 2] = [-1, -1, 1, 1]
    cameras = fixed_cameras(outermost_points(make_shot([one, two], body=low)), SIZE, 0.0, 0.0)
    ids = render_maps([one, two], cameras, maps=("mask",), body=low).subject_ids
    counts = np.stack([(ids == k).sum((1, 2)) for k in (1, 2)])
    np.testing.assert_array_equal(counts[0] > counts[1], [True, True, False, False])
    assert ids[0, 32, 48] == 1
    assert ids[3, 32, 48] == 2


def test_an_object_fills_its_outline():
    motion = star()
    cameras = fixed_cameras(motion.points_m[:, :16], (160, 120), 0.0, 0.0)
    maps = render_maps(motion, cameras, maps=("parts", "depth"))
    assert set(np.unique(maps.part_ids)) == {0, PART_IDS["object"]}
    T = cameras.T_camera_world[0]
    outline = mask_from_points(motion.points_m[0] @ T[:3, :3].T + T[:3, 3], cameras.K[0], (120, 160))
    edge = np.abs(np.diff(outline.astype(int), axis=1)).sum()
    assert ((maps.part_ids[0] > 0) != outline).sum() < 1.5 * edge  # a filled outline takes in the pixels on it
    distance = project(motion.points_m[:, :1], cameras)[1][0, 0]
    np.testing.assert_allclose(maps.depth_m[np.isfinite(maps.depth_m)], distance, atol=1e-3)


def test_scenes_bring_their_cameras_and_mix_kinds(low):
    person, thing = standing(), star(at=(1.0, 1.0, 0.3))
    cameras = fixed_cameras(outermost_points(make_shot([person, thing], body=low)), SIZE, 0.0)
    scene = Scene((Subject(0, "a woman", "", person), Subject(1, "a star", "", thing)), cameras)
    maps = render_maps(scene, maps=("parts", "mask"), body=low)
    assert maps.part_ids.shape == (3, 64, 96)
    assert set(np.unique(maps.subject_ids)) == {0, 1, 2}
    np.testing.assert_array_equal(maps.part_ids == PART_IDS["object"], maps.subject_ids == 2)
    assert render_maps(scene, size=(48, 32), maps=("mask",), body=low).subject_ids.shape == (3, 32, 48)


def test_part_condition_carries_the_confidence_of_each_part(low):
    motion = standing(2)
    confidence = np.ones((2, 55), np.float32)
    confidence[1] = 0.5
    motion = replace(motion, confidence=confidence)
    condition = part_condition([motion, star(2, (1.5, 1, 0))], size=SIZE, body=low)
    body = (condition.part_ids > 0) & (condition.part_ids < 32)
    assert (condition.confidence[0][body[0]] == 1).all()
    assert (condition.confidence[1][body[1]] == 0.5).all()
    assert (condition.confidence[condition.part_ids == PART_IDS["object"]] == 1).all()
    assert (condition.confidence[condition.part_ids == 0] == 0).all()


def test_the_shaded_preview_shows_light_floor_and_shadow(low):
    picture = render_maps(standing(1), size=(320, 180), maps=("shaded", "mask"), body=low)
    image, body = picture.shaded[0].astype(int), picture.subject_ids[0] > 0
    assert image[body].std(0).max() > 15  # light and dark sides
    floor = image[120:][~body[120:]].sum(-1)
    assert floor.min() < 0.8 * np.median(floor)  # a shadow lies on it
    assert abs(image[:20].mean() - 205) < 40  # calm background


def test_every_camera_keeps_the_body_in_the_picture(low):
    motion = standing(6)
    motion.root_translation_m[:, 0] = np.linspace(0, 5, 6)
    for camera in ("fixed", "orbit", "follow"):
        mask = render_maps(motion, camera, SIZE, ("mask",), low).subject_ids > 0
        assert mask.any((1, 2)).all()
        assert not mask[:, [0, -1]].any()
        assert not mask[:, :, [0, -1]].any()


def test_what_cannot_be_drawn_is_refused(low):
    with pytest.raises(InputError, match="one of parts"):
        list(render_frames(standing(), "colour", body=low))
    with pytest.raises(InputError, match="for people"):
        render_maps(star(), size=SIZE, maps=("openpose",))
    with pytest.raises(InputError, match="as the first one"):
        render_maps([standing(3), standing(4)], size=SIZE, body=low)
    with pytest.raises(InputError, match="0 subjects"):
        render_maps([], size=SIZE)
    with pytest.raises(InputError, match="valid in no frame"):
        render_maps(replace(standing(), valid=np.zeros(3, bool)), size=SIZE, body=low)


@pytest.mark.parametrize("seed", range(4))
def test_triangles_of_a_polygon_fill_it_once(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 16))
    polygon = rng.uniform(0.3, 1, 16)[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    for outline in (polygon, polygon[::-1]):
        a, b, c = (outline[triangulate(outline)[:, k]] for k in range(3))
        (ux, uy), (vx, vy) = (b - a).T, (c - a).T
        areas = (ux * vy - uy * vx) / 2
        x, y = outline.T
        assert areas.sum() == pytest.approx(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)
        assert (np.sign(areas) == np.sign(areas[0])).all()
