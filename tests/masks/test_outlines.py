"""Operations on outlines: dilate, smooth, clean, fill, invert, drop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_shapes import boxes, centre, disc, done, one_box

from kinema.errors import InputError
from kinema.masks.recipe import apply_recipe, step
from kinema.types import MaskSequence


@given(st.floats(0.5, 6))
def test_dilation_goes_out_by_a_length(pixels):
    area = apply_recipe(disc(12), [step("dilate", by=pixels / 128)]).masks[0, 0].sum()
    assert area == pytest.approx(np.pi * (12 + pixels) ** 2, abs=0.6 * 2 * np.pi * (12 + pixels))
    less = apply_recipe(disc(12), [step("dilate", by=-pixels / 128)]).masks[0, 0]
    assert less.sum() == pytest.approx(np.pi * (12 - pixels) ** 2, abs=0.6 * 2 * np.pi * (12 - pixels))
    assert not (less & ~disc(12).masks[0, 0]).any()


def test_the_pictures_edge_is_no_outline():
    masks = np.zeros((1, 1, 20, 20), bool)
    masks[..., :10] = True
    found = done(MaskSequence(masks, ("wall",), 8.0), "dilate by=-0.1").masks[0, 0]
    assert found[:, :8].all()
    assert not found[:, 8:].any()


def test_smoothing_takes_spikes_and_keeps_the_rest():
    ball = disc(20)
    rough = ball.masks.copy()
    rough[:, :, 20:29, 64] = True
    found = done(MaskSequence(rough, ("ball",), 8.0), "smooth radius=0.02").masks[0, 0]
    assert not found[:26, 64].any()
    assert (found != ball.masks[0, 0]).sum() < 40


def test_smoothing_over_time_moves_shapes_as_they_are():
    masks = one_box().masks.copy()
    masks[4] = np.roll(masks[4], 9, axis=1)  # nine rows lower, in one frame
    found = done(MaskSequence(masks, ("runner",), 8.0), "smooth seconds=1").masks[:, 0]
    assert (found.sum((1, 2)) == 120).all()
    heights = np.array([centre(m)[1] for m in found])
    assert np.ptp(heights) < 4


def test_specks_and_holes_go():
    masks = disc(20).masks.copy()
    masks[:, :, 3:5, 3:5] = True
    masks[:, :, 48, 64:66] = False
    found = done(MaskSequence(masks, ("ball",), 8.0), "clean")
    assert np.array_equal(found.masks, disc(20).masks)
    masks[:, :, 44:52, 60:68] = False  # a hole that belongs to the thing, as between an arm and the body
    masks[:, :, 3:7, 3:7] = True  # and a piece that does, as a hand behind a pole
    kept = MaskSequence(masks, ("ball",), 8.0)
    assert np.array_equal(done(kept, "clean").masks, masks)
    assert np.array_equal(done(kept, "clean specks=0.1 holes=0.1").masks, disc(20).masks)


def test_missing_frames_are_made_from_their_neighbours():
    masks = one_box(step_px=4).masks.copy()
    masks[3] = masks[4] = False
    masks[7] = np.roll(masks[7], 15, axis=1)
    masks[0] = False
    found = done(MaskSequence(masks, ("runner",), 8.0), "fill at=0.875").masks
    assert np.array_equal(found[1:], one_box(step_px=4).masks[1:])
    assert not found[0].any()


def test_invert_and_drop():
    assert np.array_equal(done(boxes(), "invert only=tree").masks[:, 1], ~boxes().masks[:, 1])
    found = done(boxes(), "shift x=0.125", "drop only=runner")
    assert found.labels == ("tree",)
    assert np.array_equal(found.masks[:, 0, :, 8:], boxes().masks[:, 1, :, :-8])
    with pytest.raises(InputError, match="leaves no object"):
        done(boxes(), "drop only=runner,tree")
