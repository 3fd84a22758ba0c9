"""Joint acceleration in pixels, order in crossings, and bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.evaluate.bootstrap import bootstrap_interval, paired_difference_interval
from kinema.evaluate.keypoint_metrics import acceleration_error_px
from kinema.evaluate.occlusion import crossing_pixels, order_accuracy

TRUTH = np.random.default_rng(0).normal(size=(8, 5, 2)) * 20
SEEN = np.ones((8, 5), bool)


def test_acceleration_of_a_parabola():
    t = np.arange(8.0)[:, None, None]
    assert acceleration_error_px(TRUTH + 1.5 * t**2 * [3, 4], TRUTH, SEEN) == pytest.approx(15)
    assert acceleration_error_px(TRUTH + 7 * t, TRUTH, SEEN) == pytest.approx(0, abs=1e-9)


def test_joints_that_are_not_seen_do_not_count():
    """A spike in a frame that is not visible touches three second differences, all left out."""
    moved, seen = TRUTH.copy(), SEEN.copy()
    moved[4, 2] += 100
    assert acceleration_error_px(moved, TRUTH, seen) == pytest.approx(np.hypot(100, 100) * 4 / 30)
    seen[4, 2] = False
    assert acceleration_error_px(moved, TRUTH, seen) == 0
    with pytest.raises(InputError, match="three frames on end"):
        acceleration_error_px(TRUTH, TRUTH, np.arange(8)[:, None].repeat(5, 1) % 3 > 0)


def test_order_where_two_cross():
    """The right one in front in a quarter of the pixels that both could fill."""
    first, second = np.zeros((2, 16, 16), bool), np.zeros((2, 16, 16), bool)
    first[:, :, :8], second[:, :, 4:] = True, True
    crossing = crossing_pixels(np.stack([first, second]))
    assert crossing.sum() == 2 * 16 * 4
    truth = np.where(first, 1, 2).astype(np.uint8)
    found = truth.copy()
    found[:, :12, 4:8] = 2
    found[:, :, 12:] = 0
    assert order_accuracy(found, truth, crossing) == 0.25
    assert order_accuracy(truth, truth, crossing) == 1
    with pytest.raises(InputError, match="cross"):
        order_accuracy(found, truth, np.zeros_like(crossing))


def test_interval_of_a_mean():
    """Of 400 values of deviation 2: 1.96 * 2 / 20 on both sides."""
    values = np.random.default_rng(0).normal(0, 2, 400)
    values += 5 - values.mean()
    found = bootstrap_interval(values)
    assert (found.value, found.count) == (pytest.approx(5), 400)
    assert found.high - found.value == pytest.approx(0.196, rel=0.1)
    assert found.value - found.low == pytest.approx(0.196, rel=0.1)
    assert bootstrap_interval(values) == found
    assert bootstrap_interval(values, seed=1) != found


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    found = [bootstrap_interval(rng.exponential(1, 60)) for _ in range(60)]
    assert 0.85 <= np.mean([f.low <= 1 <= f.high for f in found]) <= 1


def test_pairs_take_out_what_clips_have_in_common():
    rng = np.random.default_rng(0)
    clip, gain = rng.normal(0, 10, 50), rng.normal(1, 0.5, 50)
    paired = paired_difference_interval(clip + gain, clip)
    assert 0 < paired.low < 1 < paired.high < 1.4
    assert bootstrap_interval(clip + gain).low < 0


def test_median_with_missing_targets():
    """A third of the targets is missing: the median is a number, and so is the lower end."""
    found = bootstrap_interval(np.array([0.01, 0.02, 0.03, 0.04, np.inf, np.inf]), "median")
    assert found.value == pytest.approx(0.035)
    assert found.low < 0.035
    assert found.high == np.inf
    assert bootstrap_interval(np.array([1.0, 2.0, 9.0]), "median").value == 2


def test_values_that_are_none():
    with pytest.raises(InputError, match="clip 1"):
        bootstrap_interval(np.array([1.0, np.nan]))
    with pytest.raises(InputError, match="2 and 1"):
        paired_difference_interval(np.ones(2), np.ones(1))
    with pytest.raises(InputError, match="at least one"):
        bootstrap_interval(np.ones(0))
