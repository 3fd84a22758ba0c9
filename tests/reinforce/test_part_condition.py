"""The condition: its two channels on the latent grid, the three kinds of training, made-up sketches, real ones."""

import time

import numpy as np
import pytest

from kinema.body.model import load_body
from kinema.body.skeleton import PART_IDS, PARTS
from kinema.camera import fixed_cameras
from kinema.reinforce.part_condition import (
    PART_VALUES,
    ConfidenceLevels,
    encode_condition,
    no_condition,
    random_polygons,
    scene_condition,
    sketch_condition,
    training_condition,
)
from kinema.render.control_maps import render_maps
from kinema.sketch import Sketch, SketchedPart
from kinema.types import BodyMotion, PartCondition, Scene, Subject

HAND, CHEST = PART_IDS["right_hand"], PART_IDS["chest"]


def person(confidence=1.0):
    root = np.tile(np.array([0, 0.95, 0], np.float32), (2, 1))
    motion = BodyMotion(
        "human", np.zeros((2, 55, 3)), root, np.zeros(1), 8.0, confidence=np.full((2, 55), confidence, np.float32)
    )
    points = np.tile([[-0.9, 0, 0], [0.9, 1.8, 0.2]], (2, 1, 1)).astype(np.float32)
    return Scene((Subject(0, "a person", "", motion),), fixed_cameras(points, (128, 128)))


@pytest.fixture(scope="module")
def parts():
    return render_maps(person(), body=load_body("human", detail="low"), maps="parts").part_ids


@pytest.fixture(scope="module")
def kinds(parts):
    rng = np.random.default_rng(0)
    return [training_condition(parts, rng) for _ in range(400)]


def blocks(frames, hw):
    """[T,H,W] -> [T,h,w,pixels of a cell]."""
    rows, columns = frames.shape[1] // hw[0], frames.shape[2] // hw[1]
    return frames.reshape(len(frames), hw[0], rows, hw[1], columns).swapaxes(2, 3).reshape(len(frames), *hw, -1)


def test_parts_have_numbers_of_their_own_and_sides_opposite_ones():
    values = np.array([PART_VALUES[part] for part in PARTS])
    assert PART_VALUES[0] == 0
    assert np.diff(np.sort(values)).min() > 0.04
    assert np.abs(values).max() <= 1
    sides = [name for name in PART_IDS if name.startswith("left_")]
    assert len(sides) == 13
    for name in sides:
        left, right = PART_VALUES[PART_IDS[name]], PART_VALUES[PART_IDS[name.replace("left", "right")]]
        assert left == -right
        assert abs(left) > 0.3


def test_channels_are_those_of_the_definition():
    rng = np.random.default_rng(1)
    coarse = rng.choice([0, 0, 1, 9, 11, 40, 64], (3, 12, 9)).astype(np.uint8)
    part_ids = np.repeat(np.repeat(coarse, 2, 1), 4, 2)[:, :, :32]
    condition = PartCondition(part_ids, (part_ids > 0) * rng.random(part_ids.shape, np.float32))
    for hw in [(4, 4), (3, 8), (12, 16), (24, 32)]:
        found = encode_condition(condition, hw)
        np.testing.assert_allclose(found[:, 1], blocks(condition.confidence, hw).mean(-1), atol=1e-6)
        for cell, value in zip(
            blocks(part_ids, hw).reshape(-1, 24 * 32 // hw[0] // hw[1]), found[:, 0].ravel(), strict=True
        ):
            counts = np.bincount(cell, minlength=256)
            largest = np.flatnonzero(counts[1:] == counts[1:].max()) + 1  # two may share the place
            covered = (cell > 0).mean() >= 0.25
            assert value in (PART_VALUES[largest] if covered else [0])


def test_a_small_hand_between_cells_is_kept_and_a_touch_is_not():
    condition = no_condition(1, (16, 16))
    condition.part_ids[0, 4:12, 4:12] = HAND
    assert (encode_condition(condition, (2, 2))[0, 0] == PART_VALUES[HAND]).all()
    condition.part_ids[0, 4, 4] = 0
    assert encode_condition(condition, (2, 2))[0, 0, 0, 0] == 0


def test_nothing_known_is_zero_in_both_channels():
    assert not encode_condition(no_condition(2, (16, 24)), (2, 3)).any()


def test_encoding_takes_little_time():
    rng = np.random.default_rng(2)
    condition = PartCondition(rng.choice([0, 1, 64], (16, 128, 128)).astype(np.uint8), np.ones((16, 128, 128), "f4"))
    encode_condition(condition, (16, 16))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        encode_condition(condition, (16, 16))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.004


def test_the_three_kinds_come_as_often_as_asked(parts, kinds):
    full = [c for c in kinds if c.confidence.max() == 1]
    sketched = [c for c in kinds if c.confidence.max() == 0.5]
    nothing = [c for c in kinds if c.confidence.max() == 0]
    assert np.abs(np.array([len(full), len(sketched), len(nothing)]) / 400 - [0.4, 0.3, 0.3]).max() < 0.07
    np.testing.assert_array_equal(full[0].part_ids, parts)
    np.testing.assert_array_equal(full[0].confidence, parts > 0)
    assert not any(c.part_ids[:-1].any() or c.confidence[:-1].any() for c in sketched)
    assert not any(c.part_ids.any() for c in nothing)


def test_made_up_sketches_lie_about_their_parts(parts):
    rng = np.random.default_rng(3)
    counts, distances, ratios = [], [], []
    for _ in range(100):
        drawn = random_polygons(parts[-1], rng)
        found = np.unique(drawn[drawn > 0])
        assert set(found) <= set(np.unique(parts[-1]))
        counts.append(len(found))
        if len(found) == 1:  # nothing else covers it
            own, truth = np.argwhere(drawn == found[0]), np.argwhere(parts[-1] == found[0])
            distances.append(np.linalg.norm(own.mean(0) - truth.mean(0)) / np.sqrt(len(truth)))
            ratios.append(len(own) / len(truth))
    assert {1, 2, 3, 4} == set(counts)
    assert max(distances) < 1
    assert 1 < np.median(ratios) < 3
    assert np.std(ratios) > 0.1


def test_a_picture_without_parts_gives_no_sketch():
    assert not random_polygons(np.zeros((32, 32), np.uint8), np.random.default_rng(4)).any()


def test_made_up_sketches_follow_the_seed(parts):
    first, second = (random_polygons(parts[-1], np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_sketch_fills_the_last_frame_alone_at_any_size():
    square = np.array([[20.0, 40], [60, 40], [60, 100], [20, 100]])
    sketch = Sketch((SketchedPart(CHEST, square), SketchedPart(HAND, square - [0, 40])), (200, 100))
    condition = sketch_condition(sketch, 3, (100, 50))
    assert not condition.part_ids[:-1].any()
    # x 10 to 30, y 20 to 50 of the smaller picture; the edge's pixels may count as inside.
    ys, xs = np.nonzero(condition.part_ids[-1] == CHEST)
    assert (xs.min(), xs.max()) in [(10, 29), (10, 30), (9, 29), (9, 30)]
    assert ys.max() in (49, 50)
    assert (condition.part_ids[-1, 1:29, 11:29] == HAND).all()
    np.testing.assert_array_equal(condition.confidence[-1], 0.5 * (condition.part_ids[-1] > 0))


def test_confidence_levels_are_free():
    levels = ConfidenceLevels(3, 2, 1)
    square = np.array([[2.0, 2], [6, 2], [6, 6], [2, 6]])
    condition = sketch_condition(Sketch((SketchedPart(HAND, square),), (8, 8)), 2, (8, 8), levels)
    assert condition.confidence[1, 4, 4] == 2
    assert condition.confidence[0].max() == condition.confidence[1, 0, 0] == 1
    assert scene_condition(person(0.5), (64, 64), levels).confidence.max() == pytest.approx(2)


def test_a_scene_is_seen_by_its_cameras_with_full_confidence(parts):
    condition = scene_condition(person(), (128, 128))
    assert condition.part_ids.shape == (2, 128, 128)
    np.testing.assert_allclose(condition.confidence, condition.part_ids > 0, atol=1e-6)
    assert (condition.part_ids == parts).mean() > 0.97
