"""Depth: frames -> distance along the camera's axis. Behind it: `mini_perception`, and `depth_anything`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8


@runtime_checkable
class DepthEstimator(Protocol):
    def depth(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T H W"]:
        """Metres up to the estimator's own scale, which is one for the whole clip; inf where unknown."""
        ...
