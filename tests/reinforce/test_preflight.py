"""Requests held against what a model can do, with no model there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.reinforce import svd
from kinema.reinforce.backbone import Constraints
from kinema.reinforce.preflight import Request, preflight

MINI = Request((128, 128), 128 * 128, 16, start="reposed", adapter=True)
FOLLOWS_VIDEO = Constraints(("depth", "openpose", "layout"), 16, 4, 81, 16.0, ("noise", "reposed"), white="made")
VIDEO = Request((832, 480), 832 * 480, 81)


def test_what_fits_is_left_as_it_is_without_a_word():
    made, notes = preflight(MINI, svd.MINI_CONSTRAINTS)
    assert notes == ()
    assert made == replace(MINI, control="parts", fps=8.0)


def test_a_picture_is_scaled_and_cut_to_multiples_and_that_is_said():
    made, notes = preflight(replace(VIDEO, size=(1000, 300)), FOLLOWS_VIDEO)
    assert made.size[0] % 16 == made.size[1] % 16 == 0
    assert made.size[0] * made.size[1] == pytest.approx(832 * 480, rel=0.05)
    assert notes == ()
    made, notes = preflight(replace(MINI, size=(300, 170)), svd.MINI_CONSTRAINTS)
    assert made.size == (160, 96)
    assert "300x170" in notes[0]
    assert "160x96" in notes[0]
    _, notes = preflight(replace(VIDEO, size=(208, 120)), FOLLOWS_VIDEO)
    assert "enlarged" in notes[0]


def test_frames_are_rounded_or_cut_into_windows_and_that_is_said():
    _, notes = preflight(replace(VIDEO, frames=30), FOLLOWS_VIDEO)
    assert "33, 4 n + 1; the last 3 are cut" in notes[0]
    assert preflight(replace(VIDEO, frames=33), FOLLOWS_VIDEO)[1] == ()
    _, notes = preflight(replace(VIDEO, frames=100), FOLLOWS_VIDEO)
    assert "2 windows" in notes[0]
    made, notes = preflight(replace(VIDEO, clip=120), FOLLOWS_VIDEO)
    assert made.clip == 81
    assert "120" in notes[0]


@given(st.integers(1, 400), st.sampled_from([1, 4, 8]))
def test_a_clip_has_the_least_number_of_frames_that_will_do(frames, step):
    found = replace(FOLLOWS_VIDEO, frame_step=step).clip_frames(frames)
    assert frames <= found < frames + step
    assert (found - 1) % step == 0


def test_another_rate_is_resampled_and_that_is_said():
    made, notes = preflight(replace(MINI, fps=30.0), svd.MINI_CONSTRAINTS)
    assert made.fps == 8
    assert "30 frames a second" in notes[0]


def test_controls_and_starts_that_a_model_has_not_are_refused():
    with pytest.raises(InputError, match="depth or openpose or layout"):
        preflight(replace(VIDEO, control="parts"), FOLLOWS_VIDEO)
    with pytest.raises(InputError, match="reposed"):
        preflight(replace(VIDEO, start="reposed"), replace(FOLLOWS_VIDEO, starts=("noise",)))


def test_parts_without_an_adapter_go_by_the_reposed_picture_or_not_at_all():
    bare = Request((1024, 576), 1024 * 576, 25, start="reposed")
    _, notes = preflight(bare, svd.CONSTRAINTS)
    assert "no motion adapter" in notes[0]
    with pytest.raises(InputError, match="--start reposed"):
        preflight(replace(bare, start="noise"), svd.CONSTRAINTS)


def test_masks_of_the_other_polarity_are_turned_and_a_model_that_sees_no_picture_says_so():
    _, notes = preflight(replace(VIDEO, start="reposed"), FOLLOWS_VIDEO)
    assert "white where it makes" in notes[0]
    _, notes = preflight(VIDEO, replace(FOLLOWS_VIDEO, sees_picture=False))
    assert "looks come from the prompt" in notes[0]
