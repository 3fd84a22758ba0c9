"""Nouns of a prompt, by rules."""

import pytest

from kinema.extract.nouns import known_category, nouns_of


@pytest.mark.parametrize(
    ("prompt", "nouns"),
    [
        ("a man throws a red ball to his dog", ("a man", "a red ball", "his dog")),
        ("a fox runs in the snow", ("a fox",)),
        ("A woman rides a horse on the beach", ("a woman", "a horse")),
        ("a small robot dog jumps", ("a small robot dog",)),
        ("a robot walks through the city", ("a robot",)),
        ("three red balls bounce", ("three red balls",)),
        ("people dance, a dog barks", ("people", "a dog")),
        ("a man waves his left hand", ("a man",)),
        ("a beautiful golden retriever is running", ("a beautiful golden retriever",)),
        ("a dog sees the dog", ("a dog",)),
        ("waves crash", ()),
        ("", ()),
    ],
)
def test_what_a_prompt_speaks_of(prompt, nouns):
    assert nouns_of(prompt) == nouns


@pytest.mark.parametrize(("noun", "category"), [("his dog", "animal"), ("a robot", None), ("the Wolves", "animal")])
def test_kinds(noun, category):
    assert known_category(noun) == category
