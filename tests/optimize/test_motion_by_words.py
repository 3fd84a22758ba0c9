"""Motion out of words: the nearest piece of the library, from where the subject is."""

import numpy as np
import pytest

from kinema.body.gaits import gait
from kinema.optimize.motion_by_words import (
    body_by_words,
    library,
    likeness,
    object_by_words,
    scene_by_words,
    tracks,
    way_aside,
)
from kinema.optimize.motion_strength import speed
from kinema.optimize.optimizer import to_sequence
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject

RIGHT = np.array([1.0, 0.0, 0.0], np.float32)


def standing(frames: int = 1) -> BodyMotion:
    root = np.tile(np.array([[2.0, 0.95, -1.0]], np.float32), (frames, 1))
    return BodyMotion("human", np.zeros((frames, 55, 3), np.float32), root, np.full(10, 0.5, np.float32), 4.0)


def thing(low_m: float, frames: int = 1) -> ObjectMotion:
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    rim = np.stack([0.1 * np.cos(angle), low_m + 0.1 + 0.1 * np.sin(angle), 0 * angle], -1)
    box = np.array(
        [[-0.1, low_m + 0.2, 0], [0.1, low_m + 0.2, 0], [0.1, low_m, 0], [-0.1, low_m, 0], [0, low_m + 0.1, 0]]
    )
    points = np.tile(np.concatenate([rim, box]).astype(np.float32), (frames, 1, 1))
    return ObjectMotion(points, 8.0, np.ones(frames, bool))


def scene(motion, valid: list[bool], prompt: str = "a man walks") -> tuple[Scene, Scene]:
    """What was seen in few frames, and the same over 16."""
    K = np.array([[140, 0, 64], [0, 140, 64], [0, 0, 1]], np.float32)
    T = np.eye(4, dtype=np.float32)
    T[:3, :3] = np.diag([1, -1, -1])
    T[:3, 3] = [0, 1, 6]

    def of(frames: int, shown: list[bool]) -> Scene:
        made = motion(frames)
        fields = {"valid": np.array(shown)}
        subject = Subject(1, "x", "", type(made)(**(vars(made) | fields)))
        cameras = Cameras(np.tile(K, (frames, 1, 1)), np.tile(T, (frames, 1, 1)), (128, 128))
        return Scene((subject,), cameras, prompt)

    return of(len(valid), valid), of(16, [True] * 16)


def test_words_find_their_captions():
    captions = [caption for caption, _ in library("human")]
    for prompt, word in (
        ("a man in a red coat kicks a ball", "kick"),
        ("a woman boxes", "boxing"),
        ("she laughs", "laugh"),
    ):
        assert word in captions[int(likeness(prompt, captions).argmax())]
    assert not likeness("", captions).any()
    assert not likeness("in the", captions).any()


def test_a_body_goes_on_from_its_pose_as_the_words_say():
    pose = standing()
    moved, caption = body_by_words(pose, "a man runs", None, 16, 8.0)
    assert "run" in caption
    assert len(moved) == 16
    assert moved.fps == 8.0
    np.testing.assert_array_equal(moved.rotvec[0], pose.rotvec[0])
    np.testing.assert_allclose(moved.root_translation_m[0], pose.root_translation_m[0], atol=1e-6)
    np.testing.assert_array_equal(moved.betas, pose.betas)
    assert np.linalg.norm(moved.root_translation_m[-1] - pose.root_translation_m[0]) > 1


def test_the_strength_asked_for_chooses_without_words():
    def liveliness(strength: float) -> float:
        moved, _ = body_by_words(standing(), "", strength, 16, 8.0)
        return speed(to_sequence(moved[1:]).channels[None], "human", 8.0).item()

    assert liveliness(0.0) < liveliness(0.9)


def test_an_animal_does_what_dogs_do():
    dog, _ = gait("stand", 0.2, 8.0, 99)
    moved, caption = body_by_words(dog[:1], "a brown dog trots across the street", None, 16, 8.0)
    assert "trots" in caption
    assert moved.category == "animal"


def test_a_thing_in_the_air_falls_to_the_floor_and_not_through_it():
    moved, doing = object_by_words(thing(1.2), "a ball falls and bounces", RIGHT, 16, 8.0)
    low = moved.points_m[:, :16, 1].min(1)
    assert "bounces" in doing
    assert low[0] == pytest.approx(1.2, abs=1e-5)
    assert low.min() < 0.3
    assert low.min() > -0.05


def test_a_thing_on_the_floor_rolls_aside_and_keeps_its_shape():
    still = thing(0.0)
    moved, doing = object_by_words(still, "a ball rolls fast", -RIGHT, 16, 8.0)
    assert "rolls" in doing
    way = moved.points_m[-1] - still.points_m[0]
    np.testing.assert_allclose(way, np.tile(way[:1], (21, 1)), atol=1e-5)
    assert way[0, 0] < -0.5
    assert abs(way[0, 2]) < 1e-6


@pytest.mark.parametrize(
    ("prompt", "at_px", "to"),
    [
        ("it moves right", 120, 1),
        ("moving left", 3, -1),
        ("it rolls", 20, 1),
        ("it rolls", 100, -1),
        ("upright", 20, 1),
    ],
)
def test_the_way_is_as_said_or_to_where_there_is_room(prompt, at_px, to):
    np.testing.assert_allclose(way_aside(prompt, at_px, 128, np.array([0.6, 0.8, 0.0])), [to, 0, 0], atol=1e-6)


def test_only_subjects_that_were_hardly_seen_are_given_a_motion():
    few, long = scene(standing, [True, False, False, False])
    moved, doing = scene_by_words(few, long, 0.75)
    assert list(doing) == [0]
    assert "walk" in doing[0]
    assert np.ptp(moved.subjects[0].motion.root_translation_m, axis=0).max() > 0.3
    np.testing.assert_array_equal(moved.subjects[0].motion.rotvec[0], long.subjects[0].motion.rotvec[0])
    for least, but in ((0.25, ()), (0.0, ()), (0.75, (0,))):
        same, doing = scene_by_words(few, long, least, but=but)
        assert same.subjects == long.subjects
        assert not doing


def test_the_strength_that_was_asked_for_is_kept():
    few, long = scene(standing, [True, False, False, False], "a man dances")

    def liveliness(strength: float) -> float:
        moved, _ = scene_by_words(few, long, 0.75, strength)
        return speed(to_sequence(moved.subjects[0].motion).channels[None], "human", 8.0).item()

    assert liveliness(0.0) < 0.3 * liveliness(0.8)


def test_a_thing_that_was_hardly_seen_moves_too():
    few, long = scene(lambda frames: thing(1.0, frames), [True, False], "a ball falls and bounces, moving left")
    moved, doing = scene_by_words(few, long, 0.75)
    assert "bounces" in doing[0]
    points = moved.subjects[0].motion.points_m
    np.testing.assert_allclose(points[0], long.subjects[0].motion.points_m[0], atol=1e-5)
    assert points[-1, 20, 0] <= points[0, 20, 0]


def test_the_library_is_the_same_every_time():
    assert len(tracks(16, 8.0)) == 14 * 24
    tracks.cache_clear()
    again = tracks(16, 8.0)
    np.testing.assert_array_equal(again[5].place_m, tracks(16, 8.0)[5].place_m)
    assert (
        body_by_words(standing(), "a man waves", 0.5, 16, 8.0)[1]
        == body_by_words(standing(), "a man waves", 0.5, 16, 8.0)[1]
    )
