"""Another frame rate: a steady turn stays steady, own frames stay exact, there and back is where it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.resample import resample_motion
from kinema.types import BodyMotion


def turning(frames: int = 13, fps: float = 10.0) -> BodyMotion:
    """The root turns at 1 rad/s and moves at 0.5 m/s."""
    time = np.arange(frames, dtype=np.float32) / fps
    rotvec = np.zeros((frames, 55, 3), np.float32)
    rotvec[:, 0, 1] = time
    root = np.stack([0 * time, 0 * time + 1, 0.5 * time], 1)
    return BodyMotion("human", rotvec, root, np.zeros(10, np.float32), fps)


@given(st.floats(3, 120))
def test_a_steady_turn_stays_steady(fps):
    found = resample_motion(turning(), fps)
    time = np.arange(len(found)) / fps
    np.testing.assert_allclose(found.rotvec[:, 0, 1], time, atol=1e-5)
    np.testing.assert_allclose(found.root_translation_m[:, 2], 0.5 * time, atol=1e-5)
    assert found.fps == fps
    assert 1.2 - 1 / fps < time[-1] <= 1.2 + 1e-5


def test_own_frames_stay_exact_and_half_turns_are_no_trouble():
    motion = turning()
    rotvec = np.random.default_rng(0).normal(0, 2, motion.rotvec.shape).astype(np.float32)
    motion = replace(motion, rotvec=rotvec)
    twice = resample_motion(motion, 20)
    assert len(twice) == 25
    np.testing.assert_array_equal(twice.rotvec[::2], rotvec)
    np.testing.assert_array_equal(resample_motion(twice, 10).rotvec, rotvec)


def test_validity_needs_both_neighbours():
    motion = turning(5)
    valid = np.array([True, True, False, True, True])
    found = resample_motion(replace(motion, valid=valid), 20)
    np.testing.assert_array_equal(found.valid, [1, 1, 1, 0, 0, 0, 1, 1, 1])


def test_one_frame_stays_one_frame():
    assert len(resample_motion(turning(1), 60)) == 1


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e6])
def test_impossible_rates_are_refused(fps):
    with pytest.raises(InputError, match="fps"):
        resample_motion(turning(), fps)
