"""Detection: frames -> which subjects are in each, and where.

Behind it: `mini_perception`, and `grounding_dino`, which is asked in words (MVideo, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from kinema.extract.observation import SubjectCategory


@dataclass(frozen=True)
class Detection:
    """A subject in one frame. box_px x0 y0 x1 y1, the right and lower edges outside; score 0-1.

    number  the subject's own in all frames, from a detector that follows subjects; None: frames know nothing of each other
    """

    category: SubjectCategory
    label: str
    box_px: Float32[np.ndarray, " 4"]
    score: float
    number: int | None = None


@runtime_checkable
class Detector(Protocol):
    def detect(self, frames: UInt8[np.ndarray, "T H W 3"]) -> list[list[Detection]]:
        """The subjects of every frame, the surest first; none where nothing is found."""
        ...


def box_iou(a: Float[np.ndarray, " 4"], b: Float[np.ndarray, " 4"]) -> float:
    """Overlap of two boxes x0 y0 x1 y1 over what both cover, 0-1."""
    common = float(np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)))
    both = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / both if both > 0 else 0.0
