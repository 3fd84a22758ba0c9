"""S_m: what counts, from which box on, and mini-perception as a segmenter that is asked by boxes."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.evaluate.mask_alignment import (
    LEAST_AREA,
    PerceptionTracker,
    Tracker,
    mask_alignment,
    mask_iou,
    mask_overlaps,
    masks_of_ids,
)
from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask
from kinema.types import MaskSequence

SIDE, FRAMES = 32, 5
VIDEO = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)


def square(left: int, top: int = 8, size: int = 12) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + size, left : left + size] = True
    return mask


def moving(things: int = 1) -> MaskSequence:
    """Squares that go right by 2 px a frame, the second one below the first and half as large."""
    rows = [[square(2 + 2 * t), square(2 + 2 * t, 22, 6)][:things] for t in range(FRAMES)]
    return MaskSequence(np.array(rows), tuple("ab"[:things]), 8.0)


class Told:
    """Says what it was told, from the frame that the asked frames begin with (frames carry their number as colour)."""

    def __init__(self, masks: np.ndarray):
        self.masks, self.asked = masks, []

    def track(self, frames, boxes_px):
        first = int(frames[0, 0, 0, 0])
        self.asked.append((first, boxes_px))
        things = [
            int(np.argmax([mask_iou(square_of(box), self.masks[first, n]) for n in range(self.masks.shape[1])]))
            for box in boxes_px
        ]
        return self.masks[first : first + len(frames), things]


def square_of(box: np.ndarray) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
    return mask


def numbered() -> np.ndarray:
    return VIDEO + np.arange(FRAMES, dtype=np.uint8)[:, None, None, None]


@pytest.mark.parametrize("boxes", ["first", "every"])
def test_the_truth_has_full_marks_and_boxes_are_those_of_the_truth(boxes):
    masks = moving(2)
    tracker = Told(masks.masks)
    assert isinstance(tracker, Tracker)
    assert mask_alignment(numbered(), masks, tracker, boxes) == 1
    assert [first for first, _ in tracker.asked] == ([0] if boxes == "first" else list(range(FRAMES)))
    for first, asked in tracker.asked:
        assert asked.tolist() == [box_of_mask(mask).tolist() for mask in masks.masks[first]]


def test_a_shift_by_half_of_a_square_is_a_third_of_overlap():
    masks = moving()
    off = np.roll(masks.masks, 6, axis=3)
    assert mask_alignment(numbered(), masks, Told(off)) == pytest.approx(1 / 3)


def test_things_count_from_where_they_are_large_enough():
    masks = moving(2)
    masks.masks[:2, 1] = False
    masks.masks[1, 1, :2, : int(LEAST_AREA * SIDE * SIDE / 2)] = True
    found = mask_overlaps(numbered(), masks, Told(masks.masks))
    assert np.isnan(found).tolist() == [[False, True], [False, True], [False, False], [False, False], [False, False]]
    assert np.nanmin(found) == 1


def test_a_thing_that_left_counts_where_it_is_followed_only():
    masks = moving()
    masks.masks[3:] = False
    still_there = masks.masks.copy()
    still_there[3] = masks.masks[2]
    found = mask_overlaps(numbered(), masks, Told(still_there))
    assert found[:, 0].tolist() == [1, 1, 1, 0, 1]
    assert np.isnan(mask_overlaps(numbered(), masks, Told(still_there), "every")[3:]).all()


def test_larger_masks_are_brought_to_the_size_of_the_video():
    masks = moving()
    large = MaskSequence(masks.masks.repeat(3, 2).repeat(3, 3), masks.labels, masks.fps)
    assert mask_alignment(numbered(), large, Told(masks.masks)) == 1


def test_nothing_to_see_has_no_number_and_another_length_is_refused():
    masks = moving()
    masks.masks[:] = False
    assert np.isnan(mask_alignment(numbered(), masks, Told(masks.masks)))
    with pytest.raises(InputError, match="5, as the video has"):
        mask_alignment(numbered(), MaskSequence(moving().masks[:3], ("a",), 8.0), Told(masks.masks))


def test_ids_to_masks():
    ids = np.zeros((1, 2, 3), np.uint8)
    ids[0, 1] = (1, 2, 2)
    assert masks_of_ids(ids, ["one", "two"]).masks.sum((0, 2, 3)).tolist() == [1, 2]


class Seen:
    """Perception that sees what it is given: (category, mask) of every frame."""

    def __init__(self, rows):
        self.rows = rows

    def detect(self, frames):
        return [[Detection(c, c, box_of_mask(m), 1.0) for c, m in row] for row in self.rows]

    def segment(self, frames, detections):
        return [np.array([m for _, m in row], bool).reshape(-1, SIDE, SIDE) for row in self.rows]


def tracked(rows, box) -> np.ndarray:
    return PerceptionTracker(Seen(rows)).track(VIDEO[: len(rows)], box_of_mask(box)[None])[:, 0]


def test_perception_follows_the_thing_of_the_box_whatever_it_is_taken_for():
    far = square(20, 0, 10)
    rows = [[("human", far), (kind, square(2 * t))] for t, kind in enumerate(("animal", "human", "object"))]
    found = tracked(rows, square(0))
    assert all(mask_iou(found[t], square(2 * t)) == 1 for t in range(3))


def test_perception_puts_pieces_in_the_box_together():
    whole = square(4)
    left, right = whole.copy(), whole.copy()
    left[:, 10:], right[:, :10] = False, False
    found = tracked([[("human", left), ("animal", right), ("object", square(20, 0, 10))]], whole)
    assert (found[0] == whole).all()


def test_perception_finds_a_thing_again_that_it_lost():
    found = tracked([[("human", square(4))], [], [("human", square(6))]], square(4))
    assert found.any((1, 2)).tolist() == [True, False, True]
    assert not tracked([[]], square(4)).any()
