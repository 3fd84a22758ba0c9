"""Masks of recorded clips, where they are: what the tools make of silhouettes that nobody drew for a test."""

import numpy as np
import pytest

from kinema.masks.files import read_masks
from kinema.masks.lint import lint_masks
from kinema.masks.recipe import apply_recipe, step
from kinema.types import MaskSequence


@pytest.fixture(scope="module")
def car(shared_data) -> MaskSequence:
    """A car that drives up the picture, in and out of it: every other frame, at half the size."""
    path = shared_data / "videos" / "masks" / "cars.npz"
    if not path.exists():
        pytest.skip(f"no recorded masks in {path}")
    masks = read_masks(path, fps=12.5).masks[::2, :, ::2, ::2]
    return MaskSequence(np.ascontiguousarray(masks), ("car",), 6.25)


def test_lint_sees_that_it_drives_in_and_out_and_nothing_else(car):
    findings = lint_masks(car, fps=6.25)
    assert {f.code for f in findings} <= {"out-of-frame", "frame-count"}
    assert findings[0].frame == 0


def test_a_zoom_and_back_in_one_recipe_loses_nothing_and_in_two_little(car):
    steps = [step("rotate", degrees=20), step("scale", by=0.5)], [step("scale", by=2), step("rotate", degrees=-20)]
    assert np.array_equal(apply_recipe(car, steps[0] + steps[1]).masks, car.masks)
    twice = apply_recipe(apply_recipe(car, steps[0]), steps[1]).masks
    inside = car.masks.any((1, 2, 3))
    overlap = (twice & car.masks).sum((1, 2, 3)) / (twice | car.masks).sum((1, 2, 3))
    assert overlap[inside].mean() > 0.97
