"""`BodyMotion` is whole or refused: shapes, finite numbers, ranges."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.types import BodyMotion


def resting(frames: int = 4) -> BodyMotion:
    zeros = np.zeros((frames, 55, 3), np.float32)
    return BodyMotion("human", zeros, zeros[:, 0], np.zeros(3, np.float32), 20)


def test_what_is_left_out_is_filled_in():
    motion = resting()
    assert motion.betas.shape == (10,)
    assert motion.expression.shape == (4, 10)
    assert motion.valid.all()
    assert (motion.confidence == 1).all()
    assert isinstance(motion.fps, float)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fps", 0),
        ("fps", -20.0),
        ("fps", float("nan")),
        ("fps", "20"),
        ("fps", None),
        ("fps", 1e9),
        ("category", "dog"),
        ("category", "animal"),
        ("rotvec", np.zeros((4, 22, 3))),
        ("rotvec", np.zeros((0, 55, 3))),
        ("rotvec", np.full((4, 55, 3), np.inf)),
        ("root_translation_m", np.zeros((3, 3))),
        ("root_translation_m", np.full((4, 3), np.nan)),
        ("betas", np.zeros(11)),
        ("expression", np.zeros((4, 9))),
        ("valid", np.ones(5, bool)),
        ("confidence", np.full((4, 55), -0.1)),
        ("confidence", np.full((4, 55), np.nan)),
    ],
)
def test_what_is_wrong_is_refused(field, value):
    """By BodyMotion's own checks: those of beartype, which come first here, are not there outside of tests."""
    made = object.__new__(BodyMotion)
    for name, given in (vars(resting()) | {field: value}).items():
        object.__setattr__(made, name, given)
    with pytest.raises(InputError, match=r"expected: "):
        made.__post_init__()


def test_no_frames_are_no_motion():
    with pytest.raises(InputError, match="at least one"):
        resting()[2:2]
