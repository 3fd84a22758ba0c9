"""Motion strength: how lively a motion is, 0-1 (ReVision, section 4.2-S2 and appendix C).

Measured from the differences of the parameters between adjacent frames, normalised over the training set: 0 is
standing still, 0.5 the median window of the training set, 1 the liveliest. One number for a window of frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kinema.optimize.features import OBJECT_POINTS, REFERENCE_FPS, unpack

STRENGTH_QUANTILES = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])


def speed(channels: Tensor, category: str, fps: float = REFERENCE_FPS) -> Tensor:
    """[B,T,C] -> [B] mean speed of the parameters: rad/s over the joints plus m/s of the root (objects: m/s)."""
    if category == "object":
        points = channels.unflatten(-1, (OBJECT_POINTS, 3))
        return (points[:, 1:] - points[:, :-1]).norm(dim=-1).mean((1, 2)) * fps
    rotmat, root = unpack(channels)
    # The chord of a rotation by an angle a is 2 sqrt(2) sin(a / 2): its angle without an arc cosine's bad gradient.
    chord = (rotmat[:, 1:] - rotmat[:, :-1]).flatten(-2).norm(dim=-1)
    angle = 2 * torch.asin((chord / 8**0.5).clamp(max=1 - 1e-6))
    return (angle.mean((1, 2)) + (root[:, 1:] - root[:, :-1]).norm(dim=-1).mean(1)) * fps


def strength_of_speed(value: Tensor, table: Tensor) -> Tensor:
    """Speeds -> strengths 0-1 by the training set's quantiles: table [13] speeds at `STRENGTH_QUANTILES`."""
    quantiles = torch.as_tensor(STRENGTH_QUANTILES, dtype=table.dtype, device=table.device)
    upper = torch.searchsorted(table, value.contiguous()).clamp(1, len(table) - 1)
    low, high = table[upper - 1], table[upper]
    share = ((value - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
    return quantiles[upper - 1] + share * (quantiles[upper] - quantiles[upper - 1])
