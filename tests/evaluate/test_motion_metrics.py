"""Metrics against values that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.evaluate.motion_metrics import acceleration_error_mm, foot_slide_mm, mpjpe_mm, root_aligned_mpjpe_mm

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(2, 8, 22, 3))


def test_shift_of_the_whole_body():
    """3-4-0 cm is 5 cm in the world, nothing in the pose, nothing in the acceleration."""
    moved = TRUTH + np.array([0.03, 0.0, 0.04])
    assert mpjpe_mm(moved, TRUTH) == pytest.approx(50)
    assert root_aligned_mpjpe_mm(moved, TRUTH) == pytest.approx(0, abs=1e-9)
    assert acceleration_error_mm(moved, TRUTH) == pytest.approx(0, abs=1e-9)


def test_one_joint_of_22():
    moved = TRUTH.copy()
    moved[..., 5, 1] += 0.022
    assert mpjpe_mm(moved, TRUTH) == pytest.approx(1)
    assert root_aligned_mpjpe_mm(moved, TRUTH) == pytest.approx(1)


def test_root_alone_moves_every_joint_of_the_pose():
    moved = TRUTH.copy()
    moved[..., 0, 0] += 0.022
    assert mpjpe_mm(moved, TRUTH) == pytest.approx(1)
    assert root_aligned_mpjpe_mm(moved, TRUTH) == pytest.approx(21)


def test_acceleration_of_a_parabola():
    """x = 4 mm t^2 has a second difference of 8 mm/frame^2; a constant speed has none."""
    t = np.arange(8.0)[:, None, None]
    truth = TRUTH[0]
    assert acceleration_error_mm(truth + 0.004 * t**2 * [1, 0, 0], truth) == pytest.approx(8)
    assert acceleration_error_mm(truth + 0.5 * t, truth) == pytest.approx(0, abs=1e-9)


def test_spike_of_one_frame():
    """10 mm in one of 8 frames: second differences of 10, 20 and 10 mm in 3 of the 6 places."""
    moved = TRUTH.copy()
    moved[:, 4, :, 2] += 0.01
    assert acceleration_error_mm(moved, TRUTH) == pytest.approx(40 / 6)


@pytest.mark.parametrize(("height", "weight"), [(0.0, 1.0), (-0.02, 1.0), (0.025, 2 - 2**0.5), (0.05, 0.0), (0.4, 0.0)])
def test_slide_counts_by_height(height, weight):
    """Both feet slide 10 mm a frame, the rest of the body does not count."""
    points = RNG.normal(size=(9, 22, 3))
    points[:, [10, 11]] = np.stack([0.006 * np.arange(9), np.full(9, height), 0.008 * np.arange(9)], -1)[:, None]
    assert foot_slide_mm(points) == pytest.approx(10 * weight, abs=1e-9)


def test_slide_of_one_foot_and_of_given_feet():
    points = np.zeros((5, 22, 3))
    points[:, 10, 0] = 0.01 * np.arange(5)
    assert foot_slide_mm(points) == pytest.approx(5)
    assert foot_slide_mm(points, feet=(10,)) == pytest.approx(10)
    assert foot_slide_mm(points, feet=(3, 4, 5, 6)) == 0


def test_rising_is_no_slide():
    points = np.zeros((5, 22, 3))
    points[:, 10:12, 1] = 0.01 * np.arange(5)[:, None]
    assert foot_slide_mm(points) == 0


@given(st.floats(-3.1, 3.1), st.floats(-5, 5))
def test_errors_do_not_depend_on_where_the_world_is(heading, shift):
    turn = np.array([[np.cos(heading), 0, np.sin(heading)], [0, 1, 0], [-np.sin(heading), 0, np.cos(heading)]])
    found = TRUTH + np.random.default_rng(1).normal(0, 0.02, TRUTH.shape)
    for metric in (mpjpe_mm, root_aligned_mpjpe_mm, acceleration_error_mm):
        assert metric(found @ turn.T + shift, TRUTH @ turn.T + shift) == pytest.approx(metric(found, TRUTH))


def test_a_batch_is_the_mean_of_its_windows():
    found = TRUTH + np.random.default_rng(1).normal(0, 0.02, TRUTH.shape)
    for metric in (mpjpe_mm, root_aligned_mpjpe_mm, acceleration_error_mm):
        assert metric(found, TRUTH) == pytest.approx(np.mean([metric(a, b) for a, b in zip(found, TRUTH, strict=True)]))
    assert foot_slide_mm(found) == pytest.approx(np.mean([foot_slide_mm(a) for a in found]))


def test_too_few_frames():
    with pytest.raises(InputError, match="2 frames"):
        acceleration_error_mm(TRUTH[:, :2], TRUTH[:, :2])
    with pytest.raises(InputError, match="1 frames"):
        foot_slide_mm(TRUTH[:, :1])
