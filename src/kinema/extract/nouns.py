"""Nouns: which things a prompt speaks of, and whether a thing is a person, an animal or an object.

Input: "a man throws a red ball to his dog". Output: "a man", "a red ball", "his dog". Rules over words, no model; a person
can always say the nouns himself (`--objects`).
"""

from __future__ import annotations

import re

from kinema.extract.observation import SubjectCategory

NOUNS: dict[SubjectCategory, tuple[str, ...]] = {
    "human": (
        "person", "man", "woman", "boy", "girl", "child", "kid", "human", "dancer", "runner", "player", "athlete",
        "walker", "skater", "rider", "gymnast", "boxer", "actor", "astronaut", "worker", "body",
    ),
    "animal": (
        "animal", "dog", "puppy", "cat", "kitten", "horse", "pony", "tiger", "lion", "leopard", "cheetah", "wolf", "fox",
        "cow", "bull", "sheep", "goat", "pig", "deer", "bear", "elephant", "zebra", "giraffe", "llama", "camel",
        "donkey", "squirrel", "quadruped", "monkey",
    ),
    "object": (
        "object", "thing", "ball", "football", "car", "truck", "bus", "vehicle", "box", "stick", "chair", "table",
        "bottle", "cup", "toy", "bicycle", "bike", "boat", "plane", "book", "bag",
    ),
}  # fmt: skip
"""The nouns whose kind is known."""
PLURALS = {"people": "person", "men": "man", "women": "woman", "children": "child", "wolves": "wolf", "sheep": "sheep"}
DETERMINERS = {
    "a", "an", "the", "his", "her", "their", "its", "my", "our", "this", "that", "some", "two", "three", "four", "several",
}  # fmt: skip
END_OF_NOUN = {"on", "in", "with", "of", "at", "by", "from", "under", "behind", "and", "who", "that", "which"}
_PLACES = {"on", "in", "at", "through", "over", "under", "across", "along", "behind", "near", "into", "past", "around"}
"""What follows these is mostly a place ("in the snow"): it counts only where it is a noun of `NOUNS`."""
_BODY_PARTS = {
    "hand", "arm", "leg", "foot", "feet", "head", "hair", "face", "finger", "knee", "elbow", "shoulder", "tail", "paw",
    "ear", "eye", "mouth", "body", "back", "side", "hip",
}  # fmt: skip
"""No things of their own: "he waves his left hand"."""
_STOP = END_OF_NOUN | _PLACES | {"is", "are", "was", "were", "has", "to", "or", "while", "as", "then", "up", "down"}


def words_of(noun: str) -> list[str]:
    """The words of a noun, lower case, in the singular, up to the first preposition."""
    words = []
    for word in noun.lower().replace("-", " ").split():
        plain = word.strip(".,;:!?'\"")
        if plain in END_OF_NOUN:
            break
        words.append(singular(plain))
    return words


def singular(word: str) -> str:
    known = any(word in names for names in NOUNS.values())
    return PLURALS.get(word, word if known else word.removesuffix("s"))


def known_category(noun: str) -> SubjectCategory | None:
    """ "a robot dog on the moon" -> "animal": by the last known word of the noun; None where no word is known."""
    for word in reversed(words_of(noun)):
        for category, names in NOUNS.items():
            if word in names:
                return category
    return None


def without_article(noun: str) -> str:
    """ "a red ball" -> "red ball"."""
    words = noun.split()
    return " ".join(words[1:] if len(words) > 1 and words[0].lower() in ("a", "an", "the") else words)


def nouns_of(prompt: str) -> tuple[str, ...]:
    """The things that a prompt speaks of, in its order, each once; empty where the rules find none.

    A thing is a determiner and what follows up to a verb, a preposition or a comma; or a known noun that stands alone. What
    comes after "in", "on" ... is a place unless the noun is known: "a fox runs in the snow" is about a fox.
    """
    found: dict[str, str] = {}
    for clause in re.split(r"[.,;:!?()]", prompt.lower().replace("-", " ")):
        words = clause.split()
        at = 0
        while at < len(words):
            if words[at] not in DETERMINERS and known_category(words[at]) is None:
                at += 1
                continue
            place = at > 0 and words[at - 1] in _PLACES
            length = _phrase_length(words[at:])
            phrase = " ".join(words[at : at + length])
            part = words_of(phrase)[-1:] and words_of(phrase)[-1] in _BODY_PARTS
            if length > (words[at] in DETERMINERS) and not part and (known_category(phrase) or not place):
                found.setdefault(" ".join(words_of(without_article(phrase))), phrase)
            at += max(1, length)
    return tuple(found.values())


def _phrase_length(words: list[str]) -> int:
    """Words of the noun phrase that a clause begins with: to its known noun, or to what looks like a verb or the like."""
    plural = words[0] not in ("a", "an", "this", "that")
    length = 1 if words[0] in DETERMINERS else 0
    for word in words[length:]:
        if word in _STOP or word in DETERMINERS or (word.endswith(("ing", "ly")) and known_category(word) is None):
            break
        verb = length > 1 and word.endswith("s") and not word.endswith("ss") and known_category(word) is None
        if verb and not (plural and length == 1):
            break
        length += 1
        if known_category(word) and not _goes_on(words[length:]):
            break
    return length


def _goes_on(rest: list[str]) -> bool:
    """Whether a known noun follows at once, as in "a toy car" or "a dog toy"."""
    return bool(rest) and known_category(rest[0]) is not None
