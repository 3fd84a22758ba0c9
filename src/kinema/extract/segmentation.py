"""Segmentation: frames and the subjects found in them -> one mask a subject, and the parts of bodies.

One family behind it so far: `mini_perception`. SAM 2, asked by boxes, fulfils `segment` (ReVision, section 4.2-S2).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Bool, UInt8

from kinema.extract.detection import Detection


class Segmenter(Protocol):
    def segment(
        self, frames: UInt8[np.ndarray, "T H W 3"], detections: list[list[Detection]]
    ) -> list[Bool[np.ndarray, "_ H W"]]:
        """For every frame the masks of its detections, in their order; empty where there is nothing to see."""
        ...


class PartSegmenter(Protocol):
    def parts(self, frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
        """0 background, else `kinema.body.skeleton.PARTS`."""
        ...
