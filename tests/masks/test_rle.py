"""COCO's run-length code: the strings of pycocotools, round trips, and what is no such code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kinema.errors import InputError
from kinema.masks import rle

KNOWN = [
    ([6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"),
    ([245, 5, 35, 5, 35, 5, 35, 5, 35, 5, 1190], "e75S10000000ST1"),
    ([5, 2, 2, 2, 5], "52203"),
    ([16], "`0"),
]
"""Counts and the strings that pycocotools makes of them."""


@pytest.mark.parametrize(("counts", "text"), KNOWN)
def test_strings_are_those_of_pycocotools(counts, text):
    assert rle.compress(counts) == text
    assert rle.decompress(text) == counts


@pytest.mark.parametrize(
    ("start", "end", "text"), [(0, 5, "05d00000000d?"), (5, 10, "R45d00000000b;"), (20, 25, "X`05d00000000")]
)
def test_squares_in_25_by_25_pixels(start, end, text):
    mask = np.zeros((25, 25), bool)
    mask[start:end, start:end] = True
    assert rle.compress(rle.encode(mask)) == text
    assert np.array_equal(rle.decode(rle.decompress(text), (25, 25)), mask)


def test_columns_come_first():
    mask = np.zeros((2, 3), bool)
    mask[1, 0] = mask[0, 1] = True
    assert rle.encode(mask) == [1, 2, 3]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_mask_comes_back(mask):
    counts = rle.encode(mask)
    assert sum(counts[1::2]) == mask.sum()
    assert np.array_equal(rle.decode(rle.decompress(rle.compress(counts)), mask.shape), mask)


@given(st.lists(st.integers(0, 1 << 40), min_size=1))
def test_any_counts_come_back(counts):
    assert rle.decompress(rle.compress(counts)) == counts


@pytest.mark.parametrize("text", ["6é", "6 ", "61X"])
def test_what_is_no_code_is_refused(text):
    with pytest.raises(InputError, match="counts"):
        rle.decompress(text)


def test_counts_that_do_not_fill_the_picture_are_refused():
    with pytest.raises(InputError, match="add up to 15"):
        rle.decode([10, 5], (4, 4), "here")
    with pytest.raises(InputError, match="add up to"):
        rle.decode([20, -4], (4, 4))
