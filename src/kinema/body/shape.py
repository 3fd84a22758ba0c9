"""The betas of the built-in bodies by name: 'height=1,legs=-0.5' -> shape coefficients.

Licensed bodies have betas without names (principal components): for those, give the numbers.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from kinema.errors import InputError
from kinema.types import BETA_COUNT, Category

BETA_NAMES: dict[str, tuple[str, ...]] = {
    "human": ("height", "weight", "muscle", "age", "gender", "legs", "arms", "shoulders", "hips", "torso"),
    "animal": (
        "size", "leg length", "body length", "girth", "chest depth", "neck length", "head size", "muzzle length",
        "ear size", "tail length", "leg thickness", "tail thickness", "paw size",
    ),
}  # fmt: skip
"""The first betas of each built-in body; what +1 does is in the `README.md` beside the body."""

LARGEST_BETA = 10
"""In standard deviations, or what the built-in bodies have instead: beyond, a body is no body."""


def parse_betas(text: str, category: Category, licensed: bool = False) -> Float32[np.ndarray, " B"]:
    """Names with values, or all values in order ('2,0,-1'); what is left out is 0. Raises InputError.

    licensed  the betas are those of a licensed body, which have no names
    """
    names, betas = BETA_NAMES[category], np.zeros(BETA_COUNT[category], np.float32)
    pieces = [piece.strip() for piece in text.split(",")]
    if len(pieces) > len(betas):
        raise InputError("betas", f"has {len(pieces)} numbers", expected=f"at most {len(betas)}, as a {category} has")
    for index, piece in enumerate(pieces):
        name, named, value = piece.rpartition("=")
        name = name.strip().replace("_", " ").replace("-", " ")
        if named and licensed:
            raise InputError(
                "betas", f"{name!r} names one, and a licensed body's have no names", "numbers, such as 2,0,-1"
            )
        if named and name not in names:
            raise InputError("betas", f"{name!r} is none of the {category} body", expected=", ".join(names))
        try:
            betas[names.index(name) if named else index] = float(value)
        except ValueError:
            raise InputError(
                "betas", f"cannot read {piece!r} in {text!r}", expected=f"{names[0]}=1,{names[1]}=-0.5, or 1,-0.5"
            ) from None
    if not (np.abs(betas) <= LARGEST_BETA).all():
        raise InputError(
            "betas", f"is {text!r}", expected=f"numbers from -{LARGEST_BETA} to {LARGEST_BETA}, mostly below 2"
        )
    return betas
