"""The same motion on another body: feet as high and as still as before, steps as long as the legs make them."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import mul
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from kinema.body.gaits import gait
from kinema.body.model import joints, load_body
from kinema.body.skeleton import HUMAN_JOINTS
from kinema.errors import InputError
from kinema.motion_io import load_motion
from kinema.optimize.contacts import LEGS, feet_down, standing_heights
from kinema.optimize.diagnosis import diagnose
from kinema.optimize.retarget import retarget
from kinema.types import BodyMotion

PUNCH = Path(__file__).parents[2] / "examples" / "punch.npz"
SHAPES = {
    "tall": [2, 0, 0, 0, 0, 1],
    "short": [-2, 0, 0, 0, 1, -1],
    "heavy, wide hips": [0, 2, 0, 0, 0, 0, 0, 0, 2],
    "long legs": [0, 0, 0, 0, 0, 3],
    "long back": [0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
}


@pytest.fixture(scope="module")
def body():
    return load_body("human", detail="low")


@pytest.fixture(scope="module")
def animal():
    return load_body("animal", detail="low")


@pytest.fixture(scope="module")
def punch() -> BodyMotion:
    return load_motion(PUNCH)


def leg_length(body, betas) -> float:
    rest = body.rest_joints(np.asarray(betas, np.float32))
    hip, knee, ankle = (rest[LEGS[body.category][:, k]] for k in range(3))
    return float((np.linalg.norm(knee - hip, axis=-1) + np.linalg.norm(ankle - knee, axis=-1)).mean())


def feet_over_floor(motion: BodyMotion, body) -> tuple[np.ndarray, np.ndarray]:
    """[T,L] metres over the height at which each foot stands, and [T,L,2] places on the floor."""
    feet = LEGS[motion.category][:, 3]
    points = joints(motion, body)[:, feet]
    return points[..., 1] - standing_heights(body, motion.betas)[feet], points[..., [0, 2]]


def test_same_betas_change_nothing(punch, body):
    again = retarget(punch, punch.betas, body)
    np.testing.assert_allclose(joints(again, body), joints(punch, body), atol=1e-4)


@pytest.mark.parametrize("betas", SHAPES.values(), ids=SHAPES.keys())
def test_feet_of_a_capture(punch, body, betas):
    """Heights over the floor and ways along it are those of the capture times the ratio of leg lengths, within 3 mm."""
    found = retarget(punch, np.array(betas, np.float32), body)
    scale = leg_length(body, found.betas) / leg_length(body, punch.betas)
    before, place_before = feet_over_floor(punch, body)
    after, place_after = feet_over_floor(found, body)
    np.testing.assert_allclose(after, scale * before, atol=3e-3)
    down = feet_down(joints(punch, body).astype(float), standing_heights(body, punch.betas), LEGS["human"])
    way = np.linalg.norm(np.diff(place_after, axis=0), axis=-1)
    way_before = np.linalg.norm(np.diff(place_before, axis=0), axis=-1)
    standing = down[1:] & down[:-1]
    assert standing.sum() > 50
    assert (way - scale * way_before)[standing].max() < 3e-3
    assert diagnose(found, body).clean


def test_pose_is_kept(punch, body):
    """Only legs change; the feet keep their orientation in the world."""
    found = retarget(punch, np.array(SHAPES["tall"], np.float32), body)
    changed = np.abs(found.rotvec - punch.rotvec).max((0, 2)) > 0
    legs = {f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle")}
    assert {HUMAN_JOINTS[j] for j in np.flatnonzero(changed)} <= legs
    for side in ("left", "right"):
        chain = [0, *(HUMAN_JOINTS.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle"))]
        sole = [reduce(mul, [Rotation.from_rotvec(m.rotvec[:, j]) for j in chain]) for m in (punch, found)]
        assert (sole[0].inv() * sole[1]).magnitude().max() < 1e-3
    assert found.fps == punch.fps
    assert found.betas[0] == 2


@settings(max_examples=10)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=10), st.floats(-3, 3))
def test_any_shape_where_ever_it_stands(betas, heading):
    """Turned and moved elsewhere in the world, the result is turned and moved with it."""
    body, motion = load_body("human", detail="low"), load_motion(PUNCH)[:12]
    turn = Rotation.from_rotvec([0, heading, 0])
    rotvec = motion.rotvec.copy()
    rotvec[:, 0] = (turn * Rotation.from_rotvec(rotvec[:, 0])).as_rotvec()
    shift = np.array([3.0, 0.0, -5.0])
    place = turn.apply(motion.root_translation_m) + shift
    elsewhere = replace(motion, rotvec=rotvec, root_translation_m=place.astype(np.float32))
    betas = np.array(betas, np.float32)
    here, there = (joints(retarget(m, betas, body), body) for m in (motion, elsewhere))
    want = turn.apply(here.reshape(-1, 3)).reshape(here.shape) + shift
    np.testing.assert_allclose(there, want, atol=2e-3)


def test_walk_covers_ground_with_the_legs(animal):
    motion, _ = gait("walk", 3.0, 20.0, seed=2)
    betas = np.zeros(41, np.float32)
    betas[:4] = (1.0, -0.5, 0.8, 0.3)
    found = retarget(motion, betas, animal)
    scale = leg_length(animal, betas) / leg_length(animal, motion.betas)

    def covered(m: BodyMotion) -> float:
        return float(np.linalg.norm((m.root_translation_m[-1] - m.root_translation_m[0])[[0, 2]]))

    assert covered(found) == pytest.approx(scale * covered(motion), rel=0.03)


@pytest.mark.parametrize("name", ["walk", "trot", "gallop", "turn", "stand"])
def test_animals_keep_their_feet_on_the_floor(animal, name):
    motion, _ = gait(name, 2.0, 20.0, seed=2)
    rng = np.random.default_rng(4)
    found = retarget(motion, rng.normal(0, 0.7, 41).astype(np.float32), animal)
    before, _ = feet_over_floor(motion, animal)
    after, _ = feet_over_floor(found, animal)
    assert after.min() > min(before.min(), 0) - 0.01
    assert diagnose(found, animal).clean


def test_knees_bend_forwards(body):
    """Straight legs that have to get shorter than the hips are high, on a body with long shins: knees go ahead (+z)."""
    rotvec = np.zeros((3, 55, 3), np.float32)
    for side in ("left", "right"):
        # As captures often have it: straight, with an error of 3 degrees the wrong way.
        rotvec[:, HUMAN_JOINTS.index(f"{side}_knee"), 0] = np.deg2rad(-3)
    height = standing_heights(body, np.zeros(10, np.float32))[0] - 0.05
    root = np.tile(np.float32([0, height, 0]), (3, 1))
    motion = BodyMotion("human", rotvec, root, np.zeros(10, np.float32), 20.0)
    found = retarget(motion, np.array([0, 0, 0, 0, 0, 2], np.float32), body)
    knee, hip, ankle = (
        joints(found, body)[0, HUMAN_JOINTS.index(f"left_{joint}")] for joint in ("knee", "hip", "ankle")
    )
    assert knee[2] > (hip[2] + ankle[2]) / 2


@pytest.mark.parametrize("betas", [np.zeros(11), np.array([np.nan]), np.full(10, -1e3)])
def test_bad_betas(punch, body, betas):
    with pytest.raises(InputError, match="betas"):
        retarget(punch, betas.astype(np.float32), body)
