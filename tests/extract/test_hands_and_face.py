"""Fingers, wrists, jaw and head from 2D keypoints, on made-up scenes whose poses are known; hands that say nothing."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.extract import procrustes_mm
from kinema.body.model import joints, load_body
from kinema.body.skeleton import BODY_JOINT_COUNT
from kinema.camera import fixed_cameras, project
from kinema.extract.extractor import extract
from kinema.extract.fitting import QUICK
from kinema.extract.hands_and_face import LEAST_LENGTH_PX, with_hands_and_face
from kinema.extract.observation import Track
from kinema.types import BodyMotion, Video
from tests.extract.scenes import gesturing, hand_points, seen, walker

FRAMES = 6
HEAD, JAW = 15, 22


def cameras_of(motion: BodyMotion, side_px: int = 512):
    """A person of about 400 px and a hand of about 40, at 512."""
    return fixed_cameras(joints(motion), (side_px, side_px), 0.6, np.radians(8))


def track_of(hands=None, face=None, present=None) -> Track:
    nothing = np.zeros((FRAMES, 22, 2), np.float32)
    present = np.ones(FRAMES, bool) if present is None else present
    masks = np.zeros((FRAMES, 4, 4), bool)
    return Track("human", "a man", present, nothing[:, :4, 0], masks, nothing, nothing[..., 0], hands, face)


def hands_of(motion: BodyMotion, cameras, noise_px: float = 0.0, seed: int = 0) -> np.ndarray:
    points = project(hand_points(motion).reshape(len(motion), -1, 3), cameras)[0].reshape(-1, 2, 21, 2)
    points = points + np.random.default_rng(seed).normal(0, noise_px, points.shape)
    return np.concatenate([points, np.full((*points.shape[:3], 1), 0.9)], -1).astype(np.float32)


def pa_mm(found: BodyMotion, truth: BodyMotion, side: int) -> float:
    return procrustes_mm(hand_points(found)[:, side], hand_points(truth)[:, side])


@pytest.fixture(scope="module")
def signs():
    """The left hand closes and the right one points, wrists turned; and the body alone, as its fit has it."""
    still = walker(FRAMES)
    curls = np.ones((FRAMES, 2, 5))
    curls[:, 0] = np.linspace(0.2, 1, FRAMES)[:, None]
    curls[:, 1, 1] = 0
    return gesturing(still, curls, (0.7, 0.2, -0.3)), fitted(still)


def fitted(motion: BodyMotion) -> BodyMotion:
    """With the confidence that the fit of bodies gives."""
    return replace(motion, confidence=np.where(np.arange(55) < BODY_JOINT_COUNT, motion.confidence, 0))


def test_fingers_are_nearer_than_those_of_the_resting_hand(signs):
    truth, body = signs
    cameras = cameras_of(truth)
    hands = hands_of(truth, cameras, 1.0)
    assert 35 < np.linalg.norm(np.ptp(hands[0, 0, :, :2], 0)) < 60
    found = with_hands_and_face(body, track_of(hands), cameras)
    for side in (0, 1):
        assert pa_mm(found, truth, side) < 0.5 * pa_mm(body, truth, side)
        wrist = [
            np.linalg.norm(m.rotvec[:, 20 + side] - truth.rotvec[:, 20 + side], axis=-1).mean() for m in (found, body)
        ]
        assert wrist[0] < 0.5 * wrist[1]
    assert (found.confidence[:, 25:] > 0.6).all()
    kept = np.setdiff1d(np.arange(25), [20, 21])
    np.testing.assert_array_equal(found.rotvec[:, kept], body.rotvec[:, kept])
    np.testing.assert_array_equal(found.confidence[:, :25], body.confidence[:, :25])


def test_keypoints_that_are_noise_leave_the_hand_at_rest(signs):
    truth, body = signs
    cameras = cameras_of(truth)
    hands = hands_of(truth, cameras)
    low, high = hands[..., :2].min(2, keepdims=True), hands[..., :2].max(2, keepdims=True)
    hands[..., :2] = np.random.default_rng(0).uniform(low, high, hands[..., :2].shape)
    found = with_hands_and_face(body, track_of(hands), cameras)
    for side in (0, 1):
        assert pa_mm(found, truth, side) < pa_mm(body, truth, side) + 1
    assert (found.confidence[:, 25:] < 0.2).all()
    elsewhere = hands_of(truth, cameras) + np.array([150, 0, 0], np.float32)
    assert with_hands_and_face(body, track_of(elsewhere), cameras) is body


def test_hands_that_are_not_sure_or_too_small_say_nothing(signs):
    truth, body = signs
    cameras = cameras_of(truth)
    unsure = hands_of(truth, cameras) * np.array([1, 1, 0.3], np.float32)
    assert with_hands_and_face(body, track_of(unsure), cameras) is body
    far = cameras_of(truth, 96)
    points = hands_of(truth, far)
    assert np.linalg.norm(np.ptp(points[0, 0, :, :2], 0)) < LEAST_LENGTH_PX
    assert with_hands_and_face(body, track_of(points), far) is body
    assert with_hands_and_face(body, track_of(), cameras) is body


def test_frames_in_which_a_hand_is_hidden_are_bridged(signs):
    truth, body = signs
    cameras = cameras_of(truth)
    hands = hands_of(truth, cameras, 1.0)
    hands[2, 0] = 0
    found = with_hands_and_face(body, track_of(hands, present=np.arange(FRAMES) != 4), cameras)
    assert (found.confidence[:, 25] > 0).tolist() == [True, True, False, True, False, True]
    assert (found.confidence[:, 40] > 0).tolist() == [True, True, True, True, False, True]
    bridged = [procrustes_mm(hand_points(m)[2:3, 0], hand_points(truth)[2:3, 0]) for m in (found, body)]
    assert bridged[0] < 0.7 * bridged[1]


def face_of(motion: BodyMotion, cameras, noise_px: float = 0.0) -> np.ndarray:
    """The eyes, the nose and the inner lips of the built-in body with all its vertices; the other points nowhere."""
    body = load_body("human")
    rest, skin = body.rest_vertices(motion.betas), body.vertices(motion)
    jaw = (body.weights * (body.weight_joints == JAW)).sum(1) > 0.5
    middle = np.abs(rest[:, 0]) < 0.004
    nose = np.argmax(np.where(middle, rest[:, 2], -9))
    front = middle & (rest[:, 2] > rest[nose, 2] - 0.02) & (rest[:, 1] < rest[nose, 1])
    upper = np.argmin(np.where(front & ~jaw, rest[:, 1], 9))
    lower = np.argmax(np.where(front & jaw, rest[:, 1], -9))
    points = joints(motion)[:, :1].repeat(68, 1)
    points[:, 42:48], points[:, 36:42] = joints(motion)[:, 23:24], joints(motion)[:, 24:25]
    points[:, 30], points[:, 62], points[:, 66] = skin[:, nose], skin[:, upper], skin[:, lower]
    pixels = project(points, cameras)[0] + np.random.default_rng(0).normal(0, noise_px, (len(points), 68, 2))
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 0.9)], -1).astype(np.float32)


def test_the_jaw_opens_and_the_head_turns():
    still = fitted(walker(FRAMES))
    rotvec = still.rotvec.copy()
    rotvec[:, JAW, 0] = np.linspace(0, 0.4, FRAMES)
    rotvec[:, HEAD] = (0.15, -0.25, 0.1)
    truth = replace(still, rotvec=rotvec)
    cameras = cameras_of(truth)
    found = with_hands_and_face(still, track_of(face=face_of(truth, cameras, 0.5)), cameras)
    assert np.abs(found.rotvec[:, JAW, 0] - rotvec[:, JAW, 0]).mean() < 0.1
    head = [np.linalg.norm(m.rotvec[:, HEAD] - rotvec[:, HEAD], axis=-1).mean() for m in (found, still)]
    assert head[0] < 0.5 * head[1]
    assert (found.confidence[:, JAW] > 0.5).all()
    assert not found.rotvec[:, 23:25].any()
    np.testing.assert_array_equal(found.confidence[:, 23:], still.confidence[:, 23:])
    shut = with_hands_and_face(still, track_of(face=face_of(still, cameras, 0.5)), cameras)
    assert np.abs(shut.rotvec[:, JAW]).max() < 0.1


def test_extract_fits_them_after_the_body(signs):
    truth, _ = signs
    cameras = cameras_of(truth, 384)
    observation = seen([truth], cameras)
    (track,) = observation.tracks
    video = Video(np.zeros((*observation.part_ids.shape, 3), np.uint8), 8.0)
    both = []
    for hands in (None, hands_of(truth, cameras, 1.0)):
        given = replace(observation, tracks=(replace(track, hands=hands),))
        both.append(extract(video, observation=given, cameras=cameras, config=QUICK).subjects[0].motion)
    before, found = both
    assert isinstance(before, BodyMotion)
    assert isinstance(found, BodyMotion)
    assert not before.confidence[:, 22:].any()
    assert (found.confidence[:, 25:].mean(0) > 0.5).all()
    for side in (0, 1):
        assert pa_mm(found, truth, side) < 0.6 * pa_mm(before, truth, side)
