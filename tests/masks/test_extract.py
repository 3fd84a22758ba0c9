"""Extraction by a noun: which thing is taken, what is refused."""

import numpy as np
import pytest
from coloured_boxes import BLUE, GREEN, PERCEPTION, RED, SCENE, WHITE, Fake, clip

from kinema.errors import InputError
from kinema.masks.extract import category_of, extract_masks


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
