"""What a user asks of the last frame: where parts shall be, as drawn shapes.

Input: a JSON file of shapes, or drags. Output: a `Sketch` of polygons in pixels of the input image
(ReVision, section 4.1: circles or ovals for the final positions of parts become polygonal masks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class SketchedPart:
    """One shape: part id of `kinema.body.skeleton.PARTS`, outline in pixels, index of the subject (None: not said)."""

    part_id: int
    polygon_px: Float[np.ndarray, "N 2"]
    subject: int | None = None


@dataclass(frozen=True)
class Sketch:
    """Shapes in the pixels of an image of size (height, width); at least one."""

    shapes: tuple[SketchedPart, ...]
    image_hw: tuple[int, int]
