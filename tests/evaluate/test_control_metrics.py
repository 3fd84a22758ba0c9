"""Control metrics against values that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from clips import moving

from kinema.errors import InputError
from kinema.evaluate.control_metrics import (
    flow_error_px,
    part_miou,
    pixel_mse,
    target_error,
    target_hit,
    target_hit_rate,
)


def squares(left: int = 0) -> np.ndarray:
    """Part 3 in 20x10 px, part 8 in 10x10 px of three frames, both moved right."""
    parts = np.zeros((3, 64, 64), np.uint8)
    parts[:, 10:20, 10 + left : 30 + left], parts[:, 40:50, 10 + left : 20 + left] = 3, 8
    return parts


def test_parts_moved_sideways():
    """5 px: 15 of 25 columns shared, and 5 of 15."""
    assert part_miou(squares(), squares()) == 1
    assert part_miou(squares(), squares(5)) == pytest.approx((15 / 25 + 5 / 15) / 2)
    assert part_miou(squares(), np.zeros_like(squares())) == 0


def test_background_and_parts_that_were_not_asked_for_are_no_part_of_the_mean():
    found = squares()
    found[:, 60:] = 12
    assert part_miou(squares(), found) == 1
    found[:, 10:20, 10:20] = 12
    assert part_miou(squares(), found) == pytest.approx((0.5 + 1) / 2)


def test_tiny_parts_do_not_count():
    """64x64 / 2000 is 2.05 px: a part of 2 px a frame is left out, one of 3 px is not."""
    condition = squares()
    condition[:, 0, :2] = 10
    assert part_miou(condition, squares()) == 1
    condition[:, 0, 2] = 10
    assert part_miou(condition, squares()) == pytest.approx(2 / 3)


def test_overlap_is_pooled_over_frames():
    """A part that is found in one of three frames only has a third of the overlap."""
    found = squares()
    found[1:] = 0
    assert part_miou(squares(), found) == pytest.approx(1 / 3)


def test_within_some_pixels_only():
    within = np.zeros((3, 64, 64), bool)
    within[:, :32, :20] = True
    assert part_miou(squares(), squares(5), within) == pytest.approx(5 / 10)


def test_a_condition_without_parts_cannot_be_judged():
    with pytest.raises(InputError, match="no part"):
        part_miou(np.zeros((3, 64, 64), np.uint8), squares())


@pytest.mark.parametrize(("step", "expected"), [((2, 0), 2.0), ((0, 3), 3.0), ((-3, 4), 5.0)])
def test_flow_of_a_moving_texture_against_a_still_one(step, expected):
    assert flow_error_px(moving(step), moving((0, 0))) == pytest.approx(expected, rel=0.1)


def test_flow_does_not_see_colours_or_places():
    assert flow_error_px(moving((2, 1)), moving((2, 1))) == 0
    assert flow_error_px(moving((2, 1), seed=1), moving((2, 1))) < 0.3


def test_pixel_mse_of_a_constant_difference():
    black = np.zeros((2, 16, 16, 3), np.uint8)
    assert pixel_mse(black, black + np.uint8(51)) == pytest.approx(0.04)
    assert pixel_mse(black + np.uint8(51), black) == pytest.approx(0.04)


def test_target_error_is_a_share_of_the_height():
    """The part covers columns 10-19 and rows 40-49: its centre is (15, 45); 3-4-5 px of 64."""
    parts = squares()[-1]
    assert target_error(parts, 8, (15.0, 45.0)) == 0
    assert target_error(parts, 8, (18.0, 41.0)) == pytest.approx(5 / 64)
    assert target_error(parts, 11, (18.0, 41.0)) == np.inf


def test_targets_hit_within_12_percent():
    parts = squares()[-1]
    assert target_hit(parts, 8, (15.0 + 7.6, 45.0)) == 1
    assert target_hit(parts, 8, (15.0 + 7.8, 45.0)) == 0
    assert target_hit(parts, 9, (15.0, 45.0)) == 0
    assert target_hit_rate(np.array([0.0, 0.1199, 0.13, np.inf])) == 0.5


def test_different_lengths_and_sizes():
    with pytest.raises(InputError, match="8 frames of 64x64, the other 7"):
        pixel_mse(moving((1, 0)), moving((1, 0), frames=7))
    with pytest.raises(InputError, match="60x60"):
        flow_error_px(moving((1, 0)), moving((1, 0), size=60))


def test_flow_needs_two_frames_and_16_pixels():
    with pytest.raises(InputError, match="1 frame"):
        flow_error_px(moving((1, 0), frames=1), moving((1, 0), frames=1))
    with pytest.raises(InputError, match="12x12"):
        flow_error_px(moving((1, 0), size=12), moving((1, 0), size=12))
