"""The rule for missing, extra and torn parts: a real motion is whole, a paper doll fails where it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kinema.body.skeleton import PART_IDS
from kinema.errors import InputError
from kinema.evaluate.morphology import morphology, morphology_clip_failure, morphology_failure_rate
from kinema.motion_io import load_motion
from kinema.render.control_maps import render_maps

PUNCH = Path(__file__).parents[2] / "examples" / "punch.npz"
BOXES = {
    "head": (5, 15, 28, 36), "neck": (15, 18, 30, 34), "chest": (18, 30, 24, 40), "abdomen": (30, 38, 25, 39),
    "hips": (38, 46, 24, 40), "left_upper_arm": (19, 24, 40, 48), "left_forearm": (19, 24, 48, 56),
    "left_hand": (18, 25, 56, 61), "right_upper_arm": (19, 24, 16, 24), "right_forearm": (19, 24, 8, 16),
    "right_hand": (18, 25, 3, 8), "left_thigh": (46, 60, 33, 39), "left_shin": (60, 74, 33, 38),
    "left_foot": (74, 78, 33, 42), "right_thigh": (46, 60, 25, 31), "right_shin": (60, 74, 26, 31),
    "right_foot": (74, 78, 22, 31),
}  # fmt: skip
"""Rows and columns (first, one after the last) of a doll with spread arms in a picture of 90x64."""
ARM = ("left_upper_arm", "left_forearm", "left_hand")


def doll(frames: int = 5, image=(90, 64)) -> np.ndarray:
    parts = np.zeros((frames, *image), np.uint8)
    for name, (top, bottom, left, right) in BOXES.items():
        parts[:, top:bottom, left:right] = PART_IDS[name]
    return parts


def without(parts: np.ndarray, names, frames=slice(1, None)) -> np.ndarray:
    cut = parts.copy()
    cut[frames][np.isin(cut[frames], [PART_IDS[n] for n in names])] = 0
    return cut


def flags(parts, *more, **other) -> tuple[list[int], ...]:
    """Frames with missing, extra, torn parts."""
    found = morphology(parts, *more, **other)
    return tuple(np.flatnonzero(f).tolist() for f in (found.missing, found.extra, found.torn))


@pytest.fixture(scope="module")
def punch() -> np.ndarray:
    return render_maps(load_motion(PUNCH), size=(128, 128), maps="parts").part_ids[::2]


def test_a_real_motion_is_whole(punch):
    """48 frames of a man who punches, as clips of 16: fewer than one frame in twenty fails."""
    clips = punch.reshape(3, 16, 128, 128)
    assert np.mean([morphology_failure_rate(clip) for clip in clips]) < 0.05
    assert np.mean([morphology_clip_failure(clip) for clip in clips]) == 0


def test_a_real_motion_with_faults_fails(punch):
    clip = punch[:16]
    late = slice(8, None)
    no_leg = without(clip, ["right_thigh", "right_shin", "right_foot"], late)
    no_head = without(clip, ["head"], late)
    for cut in (no_leg, no_head):
        assert morphology(cut).missing[8:].mean() > 0.8
        assert morphology_failure_rate(cut) > 0.4
        assert morphology_clip_failure(cut) == 1


def test_a_whole_doll():
    assert flags(doll()) == ([], [], [])
    assert morphology_failure_rate(doll()) == 0


@pytest.mark.parametrize("names", [ARM, ("head",), ("left_thigh", "left_shin", "left_foot")])
def test_a_chain_that_is_gone_is_missing(names):
    assert flags(without(doll(), names, slice(2, 4)))[0] == [2, 3]


def test_what_the_first_frame_does_not_show_is_not_asked_for():
    assert flags(without(doll(), ARM, slice(None)))[0] == []


def test_one_part_of_a_chain_may_hide():
    assert flags(without(doll(), ["left_hand"]))[0] == []


def test_what_another_subject_or_the_edge_may_hide_is_not_missing():
    """A box as large as the arm stands before it; or the doll has stepped out to the side."""
    hidden = without(doll(), ARM)
    hidden[1:, 15:30, 40:63] = PART_IDS["object"]
    assert flags(hidden)[0] == []
    stepped = np.zeros_like(doll())
    stepped[0], stepped[1:, :, 24:] = doll()[0], doll()[1:, :, :-24]
    assert flags(stepped)[0] == []


def test_a_small_thing_hides_no_arm():
    held = without(doll(), ARM)
    held[1:, 20:24, 40:43] = PART_IDS["object"]
    assert flags(held)[0] == [1, 2, 3, 4]


def test_a_subject_that_vanishes():
    gone = doll()
    gone[3:] = 0
    assert flags(gone)[0] == [3, 4]


def test_a_second_hand_elsewhere_is_extra():
    parts = doll()
    parts[2, 60:67, 50:55] = PART_IDS["left_hand"]
    assert flags(parts)[1] == [2]


def test_a_part_that_something_passes_before_is_no_extra_one():
    parts = doll()
    parts[1:, 50:56, 20:45] = PART_IDS["object"]
    assert flags(parts)[1] == []


def test_specks_are_no_parts():
    parts = doll()
    parts[2, 60:62, 50:53] = PART_IDS["left_hand"]
    assert flags(parts) == ([], [], [])


def test_a_foot_in_the_air_is_torn():
    parts = without(doll(), ["left_foot"], slice(2, 3))
    parts[2, 80:84, 40:49] = PART_IDS["left_foot"]
    assert flags(parts)[2] == [2]


def test_a_hand_in_the_wrong_place_is_torn():
    """It hangs on the hips, while its forearm ends in the background."""
    parts = without(doll(), ["left_hand"], slice(2, 3))
    parts[2, 44:51, 40:46] = PART_IDS["left_hand"]
    assert flags(parts)[2] == [2]


def test_a_part_whose_holder_is_hidden_is_not_torn():
    """The forearm goes behind the trunk, the hand comes out at the other side."""
    parts = without(doll(), ["left_forearm", "left_hand"])
    parts[1:, 30:37, 39:44] = PART_IDS["left_hand"]
    assert flags(parts)[2] == []


def test_a_piece_outside_the_subjects_mask_is_still_its_own():
    parts = doll()
    ids = (parts > 0).astype(np.uint8)
    parts[2, 60:67, 50:55] = PART_IDS["left_hand"]
    assert flags(parts, subject_ids=ids)[1] == [2]


def test_two_dolls_have_two_of_each():
    both = np.concatenate([doll(), doll()], 2)
    ids = np.concatenate([(doll() > 0) * np.uint8(1), (doll() > 0) * np.uint8(2)], 2)
    assert flags(both, 2) == ([], [], [])
    assert flags(both, subject_ids=ids) == ([], [], [])
    assert flags(both, 1)[1] == [0, 1, 2, 3, 4]
    both[3:, :, 64:] = without(both[3:, :, 64:], ARM, slice(None))
    ids[both == 0] = 0
    assert flags(both, subject_ids=ids)[0] == [3, 4]


def test_a_picture_of_nothing():
    with pytest.raises(InputError, match="no subject"):
        morphology(np.zeros((3, 16, 16), np.uint8))
