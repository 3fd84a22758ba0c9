"""Seams of clips: values that can be worked out by hand."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.evaluate.seams import colour_drift, difference_ratio, measure_seams, sharpness_drift


def flat(*levels):
    """A clip of one grey level a frame."""
    return np.stack([np.full((8, 8, 3), level, np.uint8) for level in levels])


def noise(frames=3, seed=0):
    return np.random.default_rng(seed).integers(60, 190, (frames, 32, 32, 3), np.uint8)


def test_colour_drift_is_the_distance_of_the_mean_colours():
    before, after = flat(10, 20), flat(15, 15)
    assert colour_drift(before, after) == 0
    after[..., 0] += 3
    after[..., 1] -= 4
    assert colour_drift(before, after) == pytest.approx(5)


@given(st.integers(0, 60), st.integers(1, 4))
def test_colour_drift_of_an_even_shift_does_not_depend_on_the_picture(shift, frames):
    clip = noise(frames)
    assert colour_drift(clip, clip + np.uint8(shift)) == pytest.approx(shift * 3**0.5)


def test_half_the_contrast_is_two_octaves_of_sharpness():
    clip = noise()
    half = (clip // 2 + 60).astype(np.uint8)
    assert sharpness_drift(clip, half) == pytest.approx(-2, abs=0.02)
    assert sharpness_drift(half, clip) == pytest.approx(2, abs=0.02)
    assert sharpness_drift(clip, clip) == 0


def test_blur_lowers_sharpness_and_flat_pictures_have_none():
    clip = noise()
    assert sharpness_drift(clip, np.stack([cv2.blur(frame, (3, 3)) for frame in clip])) < -2
    assert sharpness_drift(flat(1, 2), flat(200)) == 0


def test_the_difference_ratio_counts_the_usual_step():
    assert difference_ratio(flat(10, 12, 14), flat(16, 18)) == 1
    assert difference_ratio(flat(10, 12, 14), flat(20, 22)) == 3
    assert difference_ratio(flat(10, 12, 14), flat(14, 16)) == 0


def test_still_videos_have_a_ratio_too():
    assert difference_ratio(flat(7, 7), flat(7)) == 1
    assert difference_ratio(flat(7, 7), flat(8)) == float("inf")
    with pytest.raises(InputError, match="one frame each"):
        difference_ratio(flat(7), flat(8))


def test_the_seams_of_a_video():
    video = flat(10, 12, 14, 20, 22, 24, 26)
    found = measure_seams(video, [3, 5])
    assert [seam.frame for seam in found] == [3, 5]
    assert [seam.difference_ratio for seam in found] == [3, 1]
    assert [seam.colour_drift / 3**0.5 for seam in found] == pytest.approx([9, 4])
    assert [seam.sharpness_drift for seam in found] == [0, 0]
    assert measure_seams(video, []) == ()
    for wrong in ([0], [7], [5, 3]):
        with pytest.raises(InputError, match="rising"):
            measure_seams(video, wrong)
