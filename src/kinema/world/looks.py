"""What subjects look like: colours and patterns by part, and the words for them.

Input: a random generator. Output: `Look` tables for the painter, and phrases for the caption.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kinema.body.skeleton import PART_IDS
from kinema.world import paint_kernels as paint

PART_COUNT = 65
"""Part ids go up to that of objects, 64."""
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (200, 40, 40), "orange": (232, 130, 40), "yellow": (236, 204, 70), "green": (60, 150, 70),
    "teal": (40, 150, 150), "blue": (50, 90, 200), "navy": (30, 40, 100), "purple": (130, 60, 170),
    "pink": (236, 130, 170), "white": (238, 238, 234), "grey": (140, 140, 144), "black": (38, 38, 42),
    "brown": (120, 80, 50), "beige": (214, 190, 150),
}  # fmt: skip
SKIN = ((252, 224, 200), (240, 200, 168), (222, 176, 140), (188, 138, 100), (140, 94, 64), (92, 62, 46))
HAIR = {
    "blond": (226, 190, 110),
    "brown": (96, 62, 38),
    "black": (34, 28, 26),
    "red": (170, 80, 40),
    "grey": (170, 170, 170),
}
FUR = {
    "brown": (130, 90, 55),
    "black": (45, 42, 42),
    "white": (232, 228, 220),
    "tan": (204, 160, 104),
    "grey": (140, 138, 136),
}
PATTERNS = {
    "": paint.PLAIN,
    "striped": paint.ROWS,
    "pin-striped": paint.COLUMNS,
    "checked": paint.CHECKS,
    "dotted": paint.DOTS,
}
SHIRT = ("chest", "abdomen", "left_upper_arm", "right_upper_arm")
FOREARMS = ("left_forearm", "right_forearm")
HANDS = ("left_hand", "right_hand", "neck")
THIGHS, SHINS, FEET = ("hips", "left_thigh", "right_thigh"), ("left_shin", "right_shin"), ("left_foot", "right_foot")
HAIRLINE_M = (0.60, -0.02)
"""Of the resting head: hair is what lies above this height, or behind this depth."""


@dataclass
class Look:
    """By part id: two colours (RGB 0-255), the pattern that mixes them, its scale and shift; and the words for it all."""

    words: str = ""
    colors: np.ndarray = field(default_factory=lambda: np.zeros((PART_COUNT, 2, 3), np.float32))
    patterns: np.ndarray = field(default_factory=lambda: np.zeros(PART_COUNT, np.int64))
    scales: np.ndarray = field(default_factory=lambda: np.zeros((PART_COUNT, 2), np.float32))

    def dress(
        self, parts, first, second=None, pattern: int = paint.PLAIN, scale: float = 0.0, shift: float = 0.0
    ) -> None:
        """Give some parts (by name) their colours."""
        ids = [PART_IDS[name] for name in parts]
        self.colors[ids, 0], self.colors[ids, 1] = first, first if second is None else second
        self.patterns[ids], self.scales[ids] = pattern, (scale, shift)


def _pick(rng: np.random.Generator, table) -> tuple[str, np.ndarray]:
    name = list(table)[rng.integers(len(table))]
    return name, np.clip(np.array(table[name]) + rng.normal(0, 10, 3), 8, 250)


def _cloth(rng: np.random.Generator) -> tuple[str, dict]:
    """A garment's words, and how to dress parts in it."""
    (name, first), (other, second) = _pick(rng, COLORS), _pick(rng, COLORS)
    pattern = "" if rng.random() < 0.6 or other == name else list(PATTERNS)[rng.integers(1, len(PATTERNS))]
    scale, shift = rng.uniform(5, 10), rng.random()
    words = f"{pattern} {name} and {other}" if pattern else name
    return words, {"first": first, "second": second, "pattern": PATTERNS[pattern], "scale": scale, "shift": shift}


def human_look(rng: np.random.Generator, betas: np.ndarray) -> Look:
    """A clothed person; the words go by the shape as well."""
    look = Look()
    skin = np.clip(np.array(SKIN[rng.integers(len(SKIN))]) + rng.normal(0, 6, 3), 20, 255)
    hair_name, hair = _pick(rng, HAIR)
    shirt_words, shirt = _cloth(rng)
    trousers_words, trousers = _cloth(rng)
    look.dress((*FOREARMS, *HANDS, *SHINS), skin)
    look.dress(("head",), skin, hair, paint.HAIR, HAIRLINE_M[0] + rng.uniform(-0.03, 0.03), HAIRLINE_M[1])
    look.dress(SHIRT + (FOREARMS if rng.random() < 0.5 else ()), **shirt)
    short = rng.random() < 0.3
    look.dress(THIGHS + (() if short else SHINS), **trousers)
    look.dress(FEET, _pick(rng, COLORS)[1])
    age = "boy" if betas[3] < -1.5 else "man"
    who = age if betas[4] < 0 else {"boy": "girl", "man": "woman"}[age]
    size = "tall " if betas[0] > 0.8 else "short " if betas[0] < -0.8 else ""
    legs = "shorts" if short else "trousers"
    look.words = f"a {size}{who} with {hair_name} hair in a {shirt_words} shirt and {trousers_words} {legs}"
    return look


def animal_look(rng: np.random.Generator) -> Look:
    """A dog with plain or patched fur."""
    look = Look()
    (name, first), (other, second) = _pick(rng, FUR), _pick(rng, FUR)
    patched = rng.random() < 0.5 and other != name
    parts = [n for n, k in PART_IDS.items() if 32 <= k <= 51]
    look.dress(parts, first, second, paint.PATCHES if patched else paint.PLAIN, rng.uniform(9, 16), rng.random())
    dark = np.clip(first * 0.6, 8, 250)
    look.dress(("left_ear", "right_ear"), dark)
    if rng.random() < 0.5:
        look.dress([n for n in parts if n.endswith("paw")], second if patched else dark)
    look.words = f"a {name} and {other} patched dog" if patched else f"a {name} dog"
    return look


def object_look(rng: np.random.Generator, thing: str) -> Look:
    """A thing in one or two colours; `thing` with its article ("a ball")."""
    look = Look()
    words, cloth = _cloth(rng)
    look.dress(("object",), **cloth)
    look.words = f"a {words} {thing.removeprefix('a ').removeprefix('an ')}"
    return look
