"""Composing: depth order, offsets, sizes and rates; and what a preview shows of it."""

import numpy as np
import pytest
from mask_shapes import boxes, centre, disc, one_box

from kinema.errors import InputError
from kinema.masks.compose import compose, fit
from kinema.masks.palette import OBJECT_COLOURS, object_ids
from kinema.masks.preview import preview, sheet
from kinema.types import MaskSequence, Video


def test_the_first_is_in_front():
    both = compose([one_box(), MaskSequence(boxes().masks[:, 1:], ("tree",), 8.0)])
    assert both.labels == ("runner", "tree")
    assert np.array_equal(both.masks, boxes().masks)
    shown = object_ids(both)
    assert (shown[boxes().masks.all(1)] == 1).all()


def test_one_alone_stays_as_it_is():
    assert np.array_equal(compose([boxes()]).masks, boxes().masks)


def test_offsets_are_in_seconds_and_the_rest_of_the_time_is_empty():
    both = compose([one_box(3), one_box(3)], [0.0, 0.5])
    assert both.masks.any((2, 3)).T.astype(int).tolist() == [[1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]]
    assert both.labels == ("runner", "runner 2")


def test_labels_that_come_twice_are_numbered():
    names = MaskSequence(np.ones((1, 2, 4, 4), bool), ("object 1", "object 2"), 8.0)
    assert compose([names, names]).labels == ("object 1", "object 2", "object 3", "object 4")


def test_other_sizes_are_fitted_without_distortion_and_other_rates_kept_in_time():
    ball = MaskSequence(disc(12, (96, 96), 6).masks, ("ball",), 16.0)
    both = compose([one_box(3), ball])
    assert both.masks.shape == (3, 2, 48, 64)
    assert both.masks[0, 1].sum() == pytest.approx(np.pi * 6**2, rel=0.06)
    np.testing.assert_allclose(centre(both.masks[0, 1]), [32, 24], atol=0.2)
    assert compose([one_box(3)], hw=(24, 32), fps=16.0).masks.shape == (6, 1, 24, 32)


def test_covering_fills_the_picture_and_cuts_what_is_beyond():
    wide = np.zeros((1, 1, 10, 40), bool)
    wide[..., 15:25] = True
    assert fit(MaskSequence(wide, ("it",), 8.0), (20, 20), cover=True).masks.all()
    assert np.flatnonzero(fit(MaskSequence(wide, ("it",), 8.0), (10, 20), cover=True).masks[0, 0, 5]).tolist() == [
        *range(5, 15)
    ]


def test_fitting_to_the_same_size_changes_nothing():
    assert fit(boxes(), (48, 64)) is not None
    assert np.array_equal(fit(fit(boxes(), (96, 128)), (48, 64)).masks, boxes().masks)


@pytest.mark.parametrize(
    ("sequences", "offsets", "says"),
    [([], None, "nothing"), ([one_box()], [1.0, 2.0], "are 2"), ([one_box()], [-1.0], "is -1 s"),
     ([one_box()], [float("nan")], "is nan"), ([one_box()], [1e9], "is 1e")],
)  # fmt: skip
def test_what_is_refused(sequences, offsets, says):
    with pytest.raises(InputError, match=says):
        compose(sequences, offsets)


def test_a_preview_has_the_colours_of_the_objects():
    frames = preview(boxes())
    assert np.array_equal(frames, OBJECT_COLOURS[object_ids(boxes())])
    video = Video(np.full((9, 48, 64, 3), 200, np.uint8), 8.0)
    over = preview(boxes(), video)
    assert (over[~boxes().masks.any(1)] == 200).all()
    assert (over[boxes().masks.any(1)] != 200).any(-1).all()
    assert (over[0, 20, 4:14] == 255).all()  # the rim of the runner
    assert (over[0, 26, 9] == over[0, 25, 9]).all()
    with pytest.raises(InputError, match=r"(?s)is 9 frames of 64x48.*4 frames"):
        preview(boxes(4), video)


@pytest.mark.parametrize("frames", [1, 3, 40])
def test_a_sheet_shows_every_kind_of_clip(frames):
    shown = sheet(boxes(frames, hw=(48, 640)))
    assert shown.shape[1] in range(1270, 1281)
    for k in (1, 2):
        assert (shown == OBJECT_COLOURS[k]).all(-1).any()
