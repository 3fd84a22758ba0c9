"""Detection: frames -> which subjects are in each, and where. One family behind it so far: `mini_perception`.

GroundingDINO, asked for its labels in words, fulfils the same protocol (MVideo, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from kinema.extract.observation import SubjectCategory


@dataclass(frozen=True)
class Detection:
    """A subject in one frame. box_px x0 y0 x1 y1, the right and lower edges outside; score 0-1."""

    category: SubjectCategory
    label: str
    box_px: Float32[np.ndarray, " 4"]
    score: float


class Detector(Protocol):
    def detect(self, frames: UInt8[np.ndarray, "T H W 3"]) -> list[list[Detection]]:
        """The subjects of every frame, the surest first; none where nothing is found."""
        ...
