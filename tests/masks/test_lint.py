"""Lint: every fault is found where it is, its mend mends it, and good masks are left alone."""

from dataclasses import replace

import numpy as np
import pytest
from mask_shapes import boxes, disc, one_box

from kinema.masks.lint import lint_masks, mends
from kinema.masks.recipe import apply_recipe
from kinema.types import MaskSequence


def found(masks, **asked):
    return {f.code: f for f in lint_masks(masks, **asked)}


def changed(**frames) -> MaskSequence:
    """A box that moves, some of whose frames are other masks: f3=mask."""
    masks = one_box(17, (48, 96)).masks.copy()
    for name, mask in frames.items():
        masks[int(name[1:]), 0] = mask
    return MaskSequence(masks, ("runner",), 8.0)


def mended(masks, **asked):
    return apply_recipe(masks, mends(lint_masks(masks, **asked)))


def test_good_masks_are_left_alone():
    assert lint_masks(changed()) == []
    assert lint_masks(changed(), seconds=2) == []
    assert lint_masks(boxes()) == []
    assert mends([]) == ()


def test_black_and_white_exchanged():
    turned = replace(changed(), masks=~changed().masks)
    (finding,) = lint_masks(turned)
    assert (finding.code, finding.frame, finding.label, finding.must) == ("polarity", 0, "runner", True)
    assert np.array_equal(mended(turned).masks, changed().masks)


def test_a_close_up_is_no_background():
    assert "polarity" not in found(disc(60, frames=5))


def test_an_object_that_is_nowhere():
    masks = boxes().masks.copy()
    masks[:, 0] = False
    (finding,) = lint_masks(replace(boxes(), masks=masks))
    assert (finding.code, finding.label, finding.must) == ("empty", "runner", True)
    assert mended(replace(boxes(), masks=masks)).labels == ("tree",)
    alone = MaskSequence(np.zeros((5, 1, 8, 8), bool), ("dog",), 8.0)
    assert found(alone)["empty"].steps == ()


def test_length():
    assert found(changed(), seconds=4)["too-short"].frame == 17
    assert found(changed(), seconds=4)["too-short"].must
    assert len(mended(changed(), seconds=4)) == 33
    assert found(changed(), seconds=1)["too-long"].frame == 9
    assert len(mended(changed(), seconds=1)) == 9
    assert found(boxes(12))["frame-count"].frame == 9
    assert len(mended(boxes(12))) == 9


def test_rate():
    fast = replace(changed(), fps=24.0)
    assert found(fast)["rate"].must
    good = mended(fast, seconds=4)
    assert (good.fps, len(good)) == (8.0, 33)
    assert not [f for f in lint_masks(good, seconds=4) if f.must]
    assert "rate" not in found(fast, fps=24.0)


def test_missing_frames():
    nothing = np.zeros((48, 96), bool)
    masks = changed(f5=nothing, f6=nothing, f11=nothing)
    finding = found(masks)["missing"]
    assert finding.frame == 5
    assert "frames 5-6, 11" in finding.sentence
    assert np.array_equal(mended(masks).masks, changed().masks)


def test_what_comes_and_goes_within_the_picture():
    masks = changed().masks.copy()
    masks[:3] = masks[12:] = False
    codes = found(MaskSequence(masks, ("runner",), 8.0))
    assert (codes["appears"].frame, codes["vanishes"].frame) == (3, 12)
    assert not any(f.must for f in codes.values())


def test_a_frame_that_is_elsewhere():
    masks = changed(f8=np.roll(changed().masks[8, 0], 15, axis=0))
    (finding,) = lint_masks(masks)
    assert (finding.code, finding.frame) == ("jumps", 8)
    assert np.array_equal(mended(masks).masks, changed().masks)


def test_a_jump_for_good_and_a_sudden_size():
    masks = changed().masks.copy()
    masks[9:] = np.roll(masks[9:], 15, axis=2)
    (finding,) = lint_masks(MaskSequence(masks, ("runner",), 8.0))
    assert (finding.code, finding.frame) == ("jumps", 9)
    masks = changed().masks.copy()
    masks[9:, :, 12:40] = masks[9:, :, 26:27]  # twice as tall
    assert found(MaskSequence(masks, ("runner",), 8.0))["jumps"].frame == 9


def test_a_subject_that_walks_out_of_the_picture():
    masks = one_box(33, (48, 64))
    codes = found(masks)
    assert set(codes) == {"out-of-frame"}
    assert codes["out-of-frame"].frame == 17  # x from 4 + 3 t to 14 + 3 t: the first that reaches 64
    kept = apply_recipe(masks, codes["out-of-frame"].steps)
    assert np.array_equal(kept.masks, masks.masks[:17])
    assert "out-of-frame" not in found(kept)


def test_specks():
    speck = changed().masks[4, 0].copy()
    speck[3, 3] = True
    finding = found(changed(f4=speck))["specks"]
    assert finding.frame == 4
    assert np.array_equal(mended(changed(f4=speck)).masks, changed().masks)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (1, 2, 1, 1), (2, 1, 1, 9)])
def test_the_smallest_masks_and_full_ones_are_looked_at(shape):
    for masks in (np.zeros(shape, bool), np.ones(shape, bool)):
        findings = lint_masks(MaskSequence(masks, ("dog", "cat")[: shape[1]], 8.0), seconds=1)
        assert findings[0].must
