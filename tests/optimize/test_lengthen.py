"""Resampling is exact where it should be and smooth between; continuations go on without a jump."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from kinema.body.gaits import gait
from kinema.body.model import joints, load_body
from kinema.errors import InputError
from kinema.motion_io import load_motion
from kinema.optimize.diagnosis import diagnose
from kinema.optimize.lengthen import extrapolate, interpolate, lengthen, resample
from kinema.types import BodyMotion

PUNCH = Path(__file__).parents[2] / "examples" / "punch.npz"


@pytest.fixture(scope="module")
def body():
    return load_body("human", detail="low")


@pytest.fixture(scope="module")
def punch() -> BodyMotion:
    return load_motion(PUNCH)


def spinning(frames: int, fps: float = 20.0, rate_rad_s: float = 1.5) -> BodyMotion:
    """Walks on a line at 1 m/s while a shoulder turns at a constant rate, further than half a turn."""
    t = np.arange(frames) / fps
    rotvec = np.zeros((frames, 55, 3), np.float32)
    rotvec[:, 16] = Rotation.from_rotvec(np.outer(rate_rad_s * t, [0.6, 0.0, 0.8])).as_rotvec()
    root = np.stack([t, np.full(frames, 0.9), 0 * t], 1).astype(np.float32)
    return BodyMotion("human", rotvec, root, np.zeros(10, np.float32), fps)


def angle_between(a, b) -> np.ndarray:
    turn = Rotation.from_rotvec(np.reshape(a, (-1, 3))).inv() * Rotation.from_rotvec(np.reshape(b, (-1, 3)))
    return turn.magnitude()


@pytest.mark.parametrize("fps", [7.0, 30.0, 60.0, 24.0])
def test_steady_motion_is_resampled_exactly(fps):
    got, want = resample(spinning(41), fps=fps), spinning(round(2 * fps) + 1, fps)
    assert got.fps == fps
    assert len(got) == len(want)
    np.testing.assert_allclose(got.root_translation_m, want.root_translation_m, atol=1e-5)
    assert angle_between(got.rotvec[:, 16], want.rotvec[:, 16]).max() < 1e-5


def test_up_and_down_again(punch):
    again = resample(resample(punch, fps=60), fps=20)
    np.testing.assert_array_equal(again.root_translation_m, punch.root_translation_m)
    assert angle_between(again.rotvec, punch.rotvec).max() < 1e-6


def test_curve_is_closer_than_a_chord():
    """A circle sampled every 20 degrees, in place and in rotation: a chord is off by 1.5 % of the radius."""
    phase = np.deg2rad(20 * np.arange(19))
    root = np.stack([np.cos(phase), 1 + 0 * phase, np.sin(phase)], 1).astype(np.float32)
    rotvec = np.zeros((19, 55, 3), np.float32)
    rotvec[:, 16] = np.stack([np.cos(phase), np.sin(phase), 0 * phase], 1)
    twice = resample(BodyMotion("human", rotvec, root, np.zeros(10, np.float32), 20.0), fps=40.0)
    half = np.deg2rad(10 * np.arange(37))[5:-5]
    radius = np.linalg.norm(twice.root_translation_m[5:-5, [0, 2]], axis=-1)
    assert np.abs(radius - 1).max() < 1e-3
    want = np.stack([np.cos(half), np.sin(half), 0 * half], 1)
    assert angle_between(twice.rotvec[5:-5, 16], want).max() < 3e-3


def test_interpolate_keeps_given_frames_bit_for_bit(punch):
    twice = interpolate(punch[:32], 2)
    assert len(twice) == 64
    assert twice.fps == punch.fps
    np.testing.assert_array_equal(twice.rotvec[::2], punch.rotvec[:32])
    np.testing.assert_array_equal(twice.root_translation_m[::2], punch.root_translation_m[:32])


@pytest.mark.parametrize("frames", [2, 50, 96, 150])
def test_stretching_keeps_both_ends(punch, frames):
    stretched = resample(punch, frames=frames)
    assert len(stretched) == frames
    np.testing.assert_array_equal(stretched.rotvec[[0, -1]], punch.rotvec[[0, -1]])


def test_masks_are_carried_along(punch):
    valid = np.ones(96, bool)
    valid[10] = False
    twice = interpolate(replace(punch, valid=valid), 2)
    assert np.flatnonzero(~twice.valid).tolist() == [19, 20, 21]


@given(length=st.integers(2, 200), frames=st.integers(1, 40))
def test_any_length(length, frames):
    motion = spinning(frames)
    longer = lengthen(motion, length, body=load_body("human", detail="low"))
    assert len(longer) == length
    assert longer.fps == motion.fps
    np.testing.assert_array_equal(longer.rotvec[0], motion.rotvec[0])


def test_given_frames_are_untouched(punch, body):
    longer = extrapolate(punch, 300, body)
    np.testing.assert_array_equal(longer.rotvec[:96], punch.rotvec)
    np.testing.assert_array_equal(longer.root_translation_m[:96], punch.root_translation_m)


@pytest.mark.parametrize("name", ["walk", "trot", "gallop", "stand", "jump"])
def test_gaits_go_on_without_a_fault(name):
    animal = load_body("animal", detail="low")
    motion, _ = gait(name, 2.0, 20.0, seed=3)
    assert diagnose(extrapolate(motion, 130, animal), animal).clean


def test_a_walk_keeps_walking():
    """The cycle is found: the continuation covers ground at the speed of the original."""
    animal = load_body("animal", detail="low")
    motion, _ = gait("walk", 3.0, 20.0, seed=5)
    longer = extrapolate(motion, 180, animal)

    def speed(m: BodyMotion) -> float:
        return float(np.linalg.norm(np.diff(m.root_translation_m[:, [0, 2]], axis=0), axis=-1).mean() * m.fps)

    assert speed(longer[60:]) == pytest.approx(speed(motion), rel=0.1)


def test_no_teleport_at_the_seams(punch, body):
    for frames in (4, 20, 33, 96):
        found = diagnose(extrapolate(punch[:frames], 4 * frames, body), body)
        assert not {"teleport", "joint_flip", "repeated_frames"} & {f.kind for f in found.findings}


def test_swings_back_where_nothing_is_alike(body):
    """A bow that ends in the deepest pose never was there before: it has to return, and turns round smoothly."""
    ramp = np.linspace(0, 1, 30)
    rotvec = np.zeros((30, 55, 3), np.float32)
    for joint, rad in ((1, -1.2), (2, -1.2), (3, 0.8), (16, 1.0), (17, 1.0)):
        rotvec[:, joint, 0] = rad * ramp
    root = np.stack([0 * ramp, 0.93 - 0.3 * ramp, 1.0 * ramp], 1).astype(np.float32)
    motion = BodyMotion("human", rotvec, root, np.zeros(10, np.float32), 20.0)
    longer = extrapolate(motion, 100, body)
    forward = longer.root_translation_m[:, 2]
    assert forward.max() < 1.1
    assert forward[55:62].min() < 0.1
    assert forward[-15] > 0.8
    points = joints(longer, body)
    speed = np.linalg.norm(np.diff(points, axis=0), axis=-1).max(1)
    assert speed.max() < 1.5 * speed[:29].max()
    change = np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).max(1)
    assert change.max() < 0.6 * 2 * speed[:29].max()


def test_the_papers_way(punch, body):
    """32 -> 64 by interpolation, 64 -> 128 by extrapolation, then refinement of the whole."""
    seen = []

    def refine(motion: BodyMotion) -> BodyMotion:
        seen.append(len(motion))
        return motion

    longer = lengthen(punch[:32], 128, refine, body)
    assert seen == [128]
    np.testing.assert_array_equal(longer.rotvec[:64:2], punch.rotvec[:32])


def test_shorter_is_cut_and_not_refined(punch):
    def refine(motion: BodyMotion) -> BodyMotion:
        raise AssertionError("nothing to refine")

    cut = lengthen(punch, 40, refine)
    np.testing.assert_array_equal(cut.rotvec, punch.rotvec[:40])


def test_one_frame_stands_still(punch, body):
    still = lengthen(punch[:1], 9, body=body)
    assert len(still) == 9
    assert (still.rotvec == punch.rotvec[0]).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda m: lengthen(m, 1),
        lambda m: resample(m),
        lambda m: resample(m, fps=20.0, frames=3),
        lambda m: resample(m, fps=float("nan")),
        lambda m: resample(m, frames=0),
        lambda m: interpolate(m, 0),
    ],
)
def test_bad_input(punch, call):
    with pytest.raises(InputError):
        call(punch)
