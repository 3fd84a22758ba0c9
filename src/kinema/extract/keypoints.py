"""Keypoints: frames and the subjects found in them -> where their joints are.

Behind it: `mini_perception`, and `vitpose`, whose joints are mapped to ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from kinema.extract.detection import Detection


@dataclass(frozen=True)
class Keypoints:
    """Of one subject in one frame. xy_px with the centre of the first pixel at (0.5, 0.5); confidence 0-1.

    K joints of `kinema.extract.observation.KEYPOINTS` of the category; none for objects.
    hands, face  as in `observation.Track`; None from an estimator that doesn't look for them
    """

    xy_px: Float32[np.ndarray, "K 2"]
    confidence: Float32[np.ndarray, " K"]
    hands: Float32[np.ndarray, "2 21 3"] | None = None
    face: Float32[np.ndarray, "68 3"] | None = None


@runtime_checkable
class KeypointEstimator(Protocol):
    def keypoints(
        self,
        frames: UInt8[np.ndarray, "T H W 3"],
        detections: list[list[Detection]],
        masks: list[Bool[np.ndarray, "_ H W"]],
    ) -> list[list[Keypoints]]:
        """For every frame the joints of its detections, in their order."""
        ...
