"""Extraction by a noun or a box: which thing is taken, what is refused."""

import numpy as np
import pytest
from coloured_boxes import BLUE, GREEN, PERCEPTION, RED, SCENE, WHITE, Fake, clip

from kinema.errors import InputError
from kinema.evaluate.mask_alignment import mask_iou
from kinema.extract.instances import box_of_mask
from kinema.extract.segmentation import Tracked, VideoSegmenter
from kinema.masks.extract import category_of, extract_masks, masks_in_boxes, parse_box


@pytest.mark.parametrize(
    ("noun", "colour", "label"),
    [("the man", RED, "man"), ("A tiger", GREEN, "tiger"), ("ball", BLUE, "ball"), ("two dogs", GREEN, "two dogs")],
)
def test_the_thing_that_is_named_is_followed(noun, colour, label):
    masks = extract_masks(SCENE, noun, PERCEPTION)
    assert masks.labels == (label,)
    assert masks.fps == 8.0
    assert np.array_equal(masks.masks[:, 0], (SCENE.frames == colour).all(-1))


def test_several_nouns_give_several_masks_in_their_order():
    masks = extract_masks(SCENE, ["a ball", "a man"], PERCEPTION)
    assert masks.labels == ("ball", "man")
    assert np.array_equal(masks.masks[:, 1], (SCENE.frames == RED).all(-1))


def test_of_two_of_a_kind_the_surest_then_the_other():
    two = Fake(a=(RED, "human", "a person", 0.5), b=(WHITE, "human", "another person", 0.9))
    scene = clip((RED, 2, 1, 0), (WHITE, 2, 1, 0))
    masks = extract_masks(scene, ["a man", "a woman"], two)
    assert np.array_equal(masks.masks[:, 0], (scene.frames == WHITE).all(-1))
    assert np.array_equal(masks.masks[:, 1], (scene.frames == RED).all(-1))
    with pytest.raises(InputError, match="was not found"):
        extract_masks(scene, ["a man", "a woman", "a boy"], two)


def test_what_is_there_in_the_first_frame_comes_before_what_appears_later():
    two = Fake(a=(RED, "human", "a person", 0.5), b=(WHITE, "human", "another person", 0.9))
    scene = clip((RED, 2, 1, 0), (WHITE, 2, 1, 2))
    assert np.array_equal(extract_masks(scene, "a man", two).masks[:, 0], (scene.frames == RED).all(-1))
    late = extract_masks(clip((WHITE, 2, 1, 2)), "a man", two)
    assert late.masks.any((1, 2, 3)).tolist() == [False, False, True, True, True, True]


def test_a_detector_that_is_asked_in_words_is_taken_at_its_word():
    words = Fake(a=(RED, "object", "a red lantern", 0.5), b=(BLUE, "object", "an object", 0.9))
    scene = clip((RED, 2, 1, 0), (BLUE, 2, 1, 0))
    masks = extract_masks(scene, "the red lantern", words)
    assert np.array_equal(masks.masks[:, 0], (scene.frames == RED).all(-1))


def test_a_thing_that_was_found_under_another_noun_is_not_taken():
    words = Fake(a=(RED, "animal", "a dog", 0.5), b=(BLUE, "animal", "a dog", 0.9))
    words.looked_for = {"a dog": 0.9, "a cat": 0.12}
    scene = clip((RED, 2, 1, 0), (BLUE, 2, 1, 0))
    assert extract_masks(scene, ["a dog"], words).masks.any()
    with pytest.raises(InputError, match=r"'a cat': was not found in the video \(best score 0.12\)"):
        extract_masks(scene, ["a dog", "a cat"], words)


def test_what_is_not_found_is_told_with_what_was():
    with pytest.raises(InputError, match=r"(?s)object 'a dog': was not found.*found: a person"):
        extract_masks(clip((RED, 2, 1, 0)), "a dog", PERCEPTION)
    with pytest.raises(InputError, match="nothing that it knows"):
        extract_masks(clip(), "a dog", PERCEPTION)


@pytest.mark.parametrize(
    ("noun", "category"),
    [("a tiger", "animal"), ("the old man", "human"), ("a man on a horse", "human"), ("a robot dog", "animal"),
     ("Wolves", "animal"), ("children", "human"), ("the football player", "human"), ("a toy car with a dog", "object")],
)  # fmt: skip
def test_nouns(noun, category):
    assert category_of(noun) == category


@pytest.mark.parametrize(
    ("noun", "says"),
    [("a tigre", "did you mean 'tiger'"), ("a cloud", "expected: people"), ("", "not a noun"), ([], "not said")],
)
def test_nouns_that_are_not_known(noun, says):
    with pytest.raises(InputError, match=says):
        extract_masks(SCENE, noun)


class Filling:
    """A segmenter that shifts what is in the boxes by a pixel a frame."""

    def segment(self, frames, detections):
        raise AssertionError("boxes are followed")

    def track(self):
        return FillingTrack()


class FillingTrack:
    def step(self, frame, new=None):
        self.masks = {n: np.roll(mask, 1, 1) for n, mask in getattr(self, "masks", {}).items()}
        for n, (x0, y0, x1, y1) in (new or {}).items():
            self.masks[n] = np.zeros(frame.shape[:2], bool)
            self.masks[n][int(y0) : int(y1), int(x0) : int(x1)] = True
        return {n: Tracked(mask, 1.0) for n, mask in self.masks.items()}

    def also(self, frame, new):
        raise AssertionError("nothing is added later")


def test_what_is_in_boxes_is_followed_whatever_it_is():
    assert isinstance(Filling(), VideoSegmenter)
    found = masks_in_boxes(SCENE, [("a lantern", (1, 2, 5, 6)), ("moss", (0, 0, 2, 1))], Filling())
    assert found.labels == ("lantern", "moss")
    assert found.masks.shape == (len(SCENE.frames), 2, *SCENE.frames.shape[1:3])
    assert found.masks[0, 0, 2:6, 1:5].all()
    assert found.masks[:, 0].sum((1, 2)).tolist() == [16] * len(SCENE.frames)
    assert np.array_equal(found.masks[1], np.roll(found.masks[0], 1, 2))


def test_the_shipped_segmenter_takes_a_thing_without_a_name():
    masks = masks_in_boxes(SCENE, [("it", box_of_mask((SCENE.frames[0] == RED).all(-1)))])
    truth = (SCENE.frames == RED).all(-1)
    assert np.mean([mask_iou(a, b) for a, b in zip(masks.masks[:, 0], truth, strict=True)]) > 0.6


def test_boxes_in_words():
    assert parse_box(["a lantern", "40,60", "90,130.5"]) == ("a lantern", (40, 60, 90, 130.5))


@pytest.mark.parametrize("words", [["a", "1,2"], ["a", "1,2", "3"], ["a", "1,2", "3,x"], ["a", "1,2,3", "4,5"]])
def test_boxes_that_are_none(words):
    with pytest.raises(InputError, match="two corners in pixels"):
        parse_box(words)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (5, 5, 5, 9), (9, 9, 5, 12), (0, 0, 5, 999), (0, 0, float("nan"), 5)])
def test_boxes_outside_the_picture(box):
    with pytest.raises(InputError, match=r"(?s)box of 'it'.* upper left"):
        masks_in_boxes(SCENE, [("it", box)], Filling())


def test_no_boxes():
    with pytest.raises(InputError, match="boxes: are none"):
        masks_in_boxes(SCENE, [])
