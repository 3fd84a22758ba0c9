"""The way of a motion through the Optimize stage, with the shipped prior."""

from pathlib import Path

import numpy as np
import pytest

from kinema.body.model import joints
from kinema.errors import InputError
from kinema.evaluate.motion_metrics import mpjpe_mm
from kinema.geometry import geodesic_distance_rad, rotmat_to_rotvec, rotvec_to_rotmat
from kinema.motion_io import load_motion
from kinema.optimize.optimizer import fill_invalid, refine, refine_object, to_motion, to_sequence
from kinema.types import BodyMotion, ObjectMotion


def swinging(frames: int = 48, fps: float = 20.0, category: str = "human") -> BodyMotion:
    """A calm, smooth, made-up motion: limbs swing, the body travels."""
    t = np.arange(frames)[:, None] / fps
    count = 55 if category == "human" else 35
    rotvec = np.zeros((frames, count, 3), np.float32)
    rotvec[:, 1:20, 0] = 0.3 * np.sin(2 * t + np.arange(19) * 0.7)
    rotvec[:, 30:, 2] = 0.2 * np.sin(3 * t)
    root = np.concatenate([0.1 * np.sin(t), 0.95 + 0 * t, 0.8 * t], 1)
    return BodyMotion(category, rotvec, root, np.zeros(10), fps)


def angle_deg(a: BodyMotion, b: BodyMotion) -> np.ndarray:
    return np.rad2deg(geodesic_distance_rad(rotvec_to_rotmat(a.rotvec), rotvec_to_rotmat(b.rotvec)))


@pytest.mark.parametrize("category", ["human", "animal"])
def test_a_motion_goes_through_channels_and_back(category):
    motion = swinging(category=category)
    back = to_motion(to_sequence(motion), motion)
    assert angle_deg(motion, back).max() < 0.05
    assert np.array_equal(back.root_translation_m, motion.root_translation_m)


@pytest.mark.parametrize("frames", [1, 2, 20, 33, 70])
def test_any_length_keeps_its_length(frames):
    motion = swinging(frames)
    assert len(refine(motion)) == frames


@pytest.mark.parametrize("fps", [8.0, 20.0, 30.0, 60.0, 120.0])
def test_any_rate_keeps_its_rate_and_its_motion(fps):
    motion = swinging(int(2.5 * fps), fps)
    refined = refine(motion)
    assert refined.fps == fps
    away = np.linalg.norm(joints(refined)[:, :22] - joints(motion)[:, :22], axis=-1)
    assert away.mean() < 0.03


def test_the_same_motion_gives_the_same_result():
    motion = swinging()
    assert np.array_equal(refine(motion).rotvec, refine(motion).rotvec)


def test_noise_falls():
    motion = swinging()
    rng = np.random.default_rng(0)
    rotvec = motion.rotvec.copy()
    rotvec[:, :22] += 0.1 * rng.standard_normal((48, 22, 3))
    noisy = BodyMotion("human", rotvec, motion.root_translation_m, motion.betas, 20)
    before = np.linalg.norm(joints(noisy) - joints(motion), axis=-1).mean()
    after = np.linalg.norm(joints(refine(noisy)) - joints(motion), axis=-1).mean()
    assert after < 0.6 * before


def test_golden_numbers_of_the_shipped_weights():
    sample = load_motion(Path(__file__).parents[2] / "examples/punch.npz")
    rng = np.random.default_rng(0)
    turn = np.zeros_like(sample.rotvec)
    turn[:, :22] = 0.1 * rng.standard_normal((len(sample), 22, 3))
    rotvec = rotmat_to_rotvec(rotvec_to_rotmat(sample.rotvec) @ rotvec_to_rotmat(turn))
    root = sample.root_translation_m + (0.02 * rng.standard_normal((len(sample), 3))).astype(np.float32)
    noisy = BodyMotion("human", rotvec, root, sample.betas, sample.fps)
    truth = joints(sample)[:, :22]
    error = {n: mpjpe_mm(joints(m)[:, :22], truth) for n, m in (("noisy", noisy), ("mended", refine(noisy)))}
    assert 85 < error["noisy"] < 110
    assert error["mended"] < 0.42 * error["noisy"]
    assert mpjpe_mm(joints(refine(sample))[:, :22], truth) < 3


def test_held_frames_are_met_exactly_and_smoothly():
    motion = swinging()
    rng = np.random.default_rng(0)
    rotvec = motion.rotvec + (0.1 * rng.standard_normal(motion.rotvec.shape)).astype(np.float32)
    for frame in (0, 20, 47):
        rotvec[frame] = motion.rotvec[frame]
    noisy = BodyMotion("human", rotvec, motion.root_translation_m, motion.betas, 20)
    refined = refine(noisy, hold=[0, 20, -1])
    for frame in (0, 20, 47):
        assert np.array_equal(refined.rotvec[frame], noisy.rotvec[frame])
        assert np.array_equal(refined.root_translation_m[frame], noisy.root_translation_m[frame])
    bend = np.linalg.norm(np.diff(joints(refined)[:, :22], n=2, axis=0), axis=-1).max(1)
    assert bend.max() < 0.12


def test_the_last_frame_is_the_target_and_the_first_stays():
    motion = swinging()
    target = swinging(90)[-1:]
    refined = refine(motion, hold=[0], target=target)
    assert angle_deg(refined[-1:], target).max() < 1
    assert np.linalg.norm(refined.root_translation_m[-1] - target.root_translation_m[0]) < 0.005
    assert np.array_equal(refined.rotvec[0], motion.rotvec[0])


def test_strength_makes_calmer_and_livelier_ways_between_the_same_ends():
    motion = swinging(32)
    travelled = []
    for strength in (0.1, 0.5):
        refined = refine(motion, strength=strength, hold=[0, -1])
        assert np.array_equal(refined.rotvec[[0, -1]], motion.rotvec[[0, -1]])
        around_the_root = joints(refined)[:, 1:22] - joints(refined)[:, :1]
        travelled.append(np.linalg.norm(np.diff(around_the_root, axis=0), axis=-1).sum())
    assert travelled[1] > 1.15 * travelled[0]


def test_frames_that_are_not_valid_are_filled():
    motion = swinging()
    rotvec, valid = motion.rotvec.copy(), np.ones(48, bool)
    rotvec[10:14], valid[10:14] = 0, False
    filled = fill_invalid(BodyMotion("human", rotvec, motion.root_translation_m, motion.betas, 20, valid=valid))
    assert filled.valid.all()
    assert angle_deg(filled, motion).max() < 6


def test_fingers_follow_the_order_of_the_frames():
    motion = swinging(32)
    order = np.arange(32)
    order[[9, 17]] = order[[17, 9]]
    shuffled = BodyMotion("human", motion.rotvec[order], motion.root_translation_m[order], motion.betas, 20)
    before = angle_deg(shuffled, motion)[:, 30:].mean()
    assert angle_deg(refine(shuffled), motion)[:, 30:].mean() < before


def test_objects_are_refined_too():
    t = np.arange(32)[:, None, None] / 20
    ring = np.random.default_rng(0).standard_normal((1, 21, 3)) * 0.1
    points = (ring + np.concatenate([t, 1 - t * t, 0 * t + 3], -1)).astype(np.float32)
    noise = (0.02 * np.random.default_rng(1).standard_normal(points.shape)).astype(np.float32)
    refined = refine_object(ObjectMotion(points + noise, 20.0, np.ones(32, bool)))
    assert np.linalg.norm(refined.points_m - points, axis=-1).mean() < np.linalg.norm(noise, axis=-1).mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strength": 1.5}, "strength"),
        ({"hold": [99]}, "frame 99 does not exist"),
        ({"target": swinging(1, category="animal")}, "target"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        refine(swinging(), **arguments)


def test_an_object_keeps_held_frames_and_ends_in_its_target():
    rng = np.random.default_rng(0)
    points = np.tile(rng.normal(0, 0.2, (1, 21, 3)), (16, 1, 1)) + np.linspace(0, 1, 16)[:, None, None]
    motion = ObjectMotion(points.astype(np.float32), 8.0, np.ones(16, bool))
    target = ObjectMotion(motion.points_m[-1:] + np.float32([0.5, 0, 0]), 8.0, np.ones(1, bool))
    refined = refine_object(motion, hold=(0,), target=target)
    np.testing.assert_allclose(refined.points_m[0], motion.points_m[0], atol=1e-5)
    np.testing.assert_allclose(refined.points_m[-1], target.points_m[0], atol=1e-5)
    assert np.linalg.norm(np.diff(refined.points_m[:, 20], axis=0), axis=-1).max() < 0.35  # no jump to it
