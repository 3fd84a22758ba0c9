"""Depth: frames -> distance along the camera's axis. One family behind it so far: `mini_perception`.

Depth Anything fulfils the same protocol.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float32, UInt8


class DepthEstimator(Protocol):
    def depth(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T H W"]:
        """Metres up to the estimator's own scale, which is one for the whole clip; inf where unknown."""
        ...
