"""Gaits: the order of the feet, feet that don't slide, speed that fits the stride, the same seed the same motion."""

import numpy as np
import pytest

from kinema.body.footfalls import Footfalls, foot_paths
from kinema.body.gaits import GAITS, NAMES, gait
from kinema.body.quadruped import (
    LEGS,
    REST_FEET_M,
    REST_JOINTS_M,
    bend_leg,
    plant_legs,
    rotation_x,
    rotation_y,
    to_motion,
    trunk_kinematics,
)
from kinema.body.skeleton import ANIMAL_PARENTS, mirror_permutation
from kinema.errors import InputError
from kinema.geometry import rotvec_to_rotmat

FEET = [leg.foot for leg in LEGS]


def world_joints(motion):
    rotmat = rotvec_to_rotmat(motion.rotvec).astype(float)
    return trunk_kinematics(rotmat, motion.root_translation_m.astype(float))[1]


def touchdowns(feet, fps):
    """Times at which each paw comes down to the height it stands at, s."""
    down = feet[..., 1] < REST_FEET_M[0, 1] + 1e-3
    return [np.flatnonzero(down[1:, leg] & ~down[:-1, leg]) / fps for leg in range(4)]


def test_rest_skeleton_is_symmetric_and_stands_on_the_floor():
    twin = mirror_permutation("animal")
    np.testing.assert_allclose(REST_JOINTS_M[twin] * [-1, 1, 1], REST_JOINTS_M, atol=1e-7)
    assert 0 < REST_JOINTS_M[:, 1].min() < 0.06


def test_legs_at_rest_need_no_bending():
    local = np.tile(np.eye(3), (2, 35, 1, 1))
    root, none = np.tile(REST_JOINTS_M[0], (2, 1)), np.zeros((2, 4))
    bent = plant_legs(local, root, np.tile(REST_FEET_M, (2, 1, 1)).astype(float), none, none, none)
    np.testing.assert_allclose(bent, local, atol=1e-6)


def test_leg_reaches_any_target_within_its_length():
    rng = np.random.default_rng(0)
    frames = 200
    above = rotation_y(rng.uniform(-1, 1, frames)) @ rotation_x(rng.uniform(-0.3, 0.3, frames))
    for leg in LEGS:
        top = rng.normal(size=(frames, 3))
        away = rng.normal(size=(frames, 3)) * [0.2, 0.2, 1] - [0, 1.5, 0]
        away *= rng.uniform(0.6, 0.95, (frames, 1)) * 0.3 / np.linalg.norm(away, axis=-1, keepdims=True)
        lower_m = top + (above @ away[..., None])[..., 0]
        local = np.tile(np.eye(3), (frames, 35, 1, 1))
        bend_leg(leg, local, above, top, lower_m, above)
        bones = REST_JOINTS_M - REST_JOINTS_M[np.maximum(ANIMAL_PARENTS, 0)]
        upper = above @ local[:, leg.upper]
        found = top + upper @ bones[leg.middle] + upper @ local[:, leg.middle] @ bones[leg.lower]
        np.testing.assert_allclose(found, lower_m, atol=1e-6)
        np.testing.assert_allclose(upper @ local[:, leg.middle] @ local[:, leg.lower], above, atol=1e-9)


def test_standing_paw_does_not_move_and_a_swing_ends_on_the_next_print():
    prints = np.array([[0, 0, 0], [0.1, 0.4, 0.2]])
    moving = Footfalls(np.array([1.0]), np.array([1.5]), prints)
    still = Footfalls(np.zeros(0), np.zeros(0), prints[:1])
    paths = foot_paths([moving, still, still, still], np.linspace(0, 3, 61), np.full(4, 0.1))
    assert (paths.places_m[:, 1] == paths.places_m[:1, 1]).all()
    np.testing.assert_allclose(paths.places_m[-1, 0], [0.1, REST_FEET_M[0, 1], 0.4], atol=1e-9)
    assert paths.places_m[:, 0, 1].max() == pytest.approx(REST_FEET_M[0, 1] + 0.1)
    assert paths.on_ground[:21, 0].all()
    assert not paths.on_ground[22:29, 0].any()


@pytest.mark.parametrize("name", NAMES)
def test_feet_stay_above_the_floor_and_do_not_slide(name):
    for seed in range(4):
        motion, caption = gait(name, 3.0, 60, seed)
        joints = world_joints(motion)
        assert caption[0].islower()
        np.testing.assert_allclose(motion.root_translation_m[0, [0, 2]], 0, atol=1e-6)
        assert joints[..., 1].min() > -0.01
        feet = joints[:, FEET]
        standing = (feet[1:, :, 1] < 0.0451) & (feet[:-1, :, 1] < 0.0451)
        step_m = np.linalg.norm(np.diff(feet, axis=0), axis=-1)
        assert standing.any(0).all()
        assert np.quantile(step_m[standing], 0.99) < 2e-3


def test_walk_is_a_lateral_sequence_and_trot_pairs_diagonals():
    def lags(name, seed):
        """When each paw lands after the left hind one, in strides."""
        feet = world_joints(gait(name, 6, 100, seed)[0])[:, FEET]
        times = touchdowns(feet, 100)
        stride = np.median(np.diff(times[2]))
        return [float(np.median((times[leg] - times[2][0]) / stride % 1)) for leg in (0, 1, 3)]

    def apart(a, b):
        return abs((a - b + 0.5) % 1 - 0.5)

    for seed in range(3):
        left_front, right_front, right_hind = lags("walk", seed)
        assert apart(left_front, 0.25) < 0.1
        assert apart(right_hind, 0.5) < 0.1
        assert apart(right_front, 0.75) < 0.1
        left_front, right_front, right_hind = lags("trot", seed)
        assert apart(right_front, 0) < 0.1
        assert apart(left_front, right_hind) < 0.1
        assert apart(right_hind, 0.5) < 0.1


@pytest.mark.parametrize("name", ["walk", "trot", "gallop"])
def test_speed_and_time_on_the_ground_are_the_gaits_own(name):
    kind = GAITS[name]
    for seed in range(4):
        motion, _ = gait(name, 4, 100, seed)
        path = np.linalg.norm(np.diff(motion.root_translation_m[:, [0, 2]], axis=0), axis=-1).sum() / 4
        assert 0.9 * kind.speed_m_s[0] < path < 1.1 * kind.speed_m_s[1]
        feet = world_joints(motion)[:, FEET]
        on_ground = (np.linalg.norm(np.diff(feet, axis=0), axis=-1) < 1e-5).mean()
        assert on_ground == pytest.approx(kind.duty, abs=0.08)


def test_jump_leaves_the_ground_and_falls_as_things_fall():
    motion, caption = gait("jump", 3, 100, 1)
    feet = world_joints(motion)[:, FEET, 1]
    air = (feet > 0.05).all(1)
    assert "jump" in caption
    assert air.sum() > 15
    height = motion.root_translation_m[air, 1]
    assert height.max() > motion.root_translation_m[0, 1]


def test_sitting_lowers_the_pelvis_and_keeps_the_head_up():
    motion, caption = gait("sit", 3, 30, 2)
    joints = world_joints(motion)
    assert "sits down" in caption
    assert joints[:, 0, 1].min() < 0.25
    assert joints[:, 16, 1].min() > 0.45


def test_seeds_repeat_and_differ():
    first, again, other = (gait("walk", 2, 20, seed)[0] for seed in (5, 5, 6))
    assert (first.rotvec == again.rotvec).all()
    assert np.abs(first.rotvec - other.rotvec).max() > 0.05


def test_one_frame_and_any_rate():
    assert len(gait("gallop", 0.01, 20, 0)[0]) == 1
    assert len(gait("jump", 1.0, 7.5, 0)[0]) == 8


@pytest.mark.parametrize(("name", "seconds", "fps"), [("fly", 1, 20), ("walk", 0, 20), ("walk", 1, float("nan"))])
def test_what_cannot_be_asked_for(name, seconds, fps):
    with pytest.raises(InputError):
        gait(name, seconds, fps, 0)


def test_to_motion_is_an_animal_at_shape_zero():
    motion = to_motion(np.tile(np.eye(3), (3, 35, 1, 1)), np.zeros((3, 3)), 20)
    assert motion.category == "animal"
    assert not motion.betas.any()
