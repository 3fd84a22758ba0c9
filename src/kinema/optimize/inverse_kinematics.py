"""What is asked of joint rotations when joints should be elsewhere: one step of inverse kinematics, for all joints at once.

Input: channels of bodies (`features.py`), and for every joint where it should go. Output: channels nearer to it. The step
is the gradient of the squared distances (Jacobian transpose, Wolovich and Elliott 1984), with a gain for every joint.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from kinema.optimize.features import PRIOR_PARENTS


@cache
def _below(category: str) -> np.ndarray:
    """[J,J] 1 where joint j is joint i or hangs on it. Not a tensor: one kept from inference could not be trained with."""
    parents = PRIOR_PARENTS[category]
    below = np.eye(len(parents), dtype=np.float32)
    for joint in range(len(parents) - 1, 0, -1):
        below[parents[joint]] += below[joint]
    return below


def step_towards(
    channels: Tensor, points: Tensor, turned: Tensor, error: Tensor, gain: Tensor, category: str
) -> Tensor:
    """channels [B,T,C] with their joints' positions [B,T,J,3] and rotations [B,T,J,3,3], which are taken as constants
    -> channels [B,T,C].

    error [B,T,J,3] m   where each joint should go, less where it is; times how much that counts
    gain  [B,T,J+1]     rad per m^2 for every joint; the last, without a unit, for the root translation
    """
    points = points.detach()
    below = torch.from_numpy(_below(category)).to(channels)
    pull = below @ error
    moment = below @ torch.linalg.cross(points, error) - torch.linalg.cross(points, pull)
    # A joint turns in the frame of its parent; the root in that of the channels.
    turn = moment * gain[..., :-1, None]
    parents = torch.as_tensor(PRIOR_PARENTS[category][1:].copy())
    inner = (turned[..., parents, :, :].mT @ turn[..., 1:, :, None])[..., 0]
    turn = torch.cat([turn[..., :1, :], inner], -2)
    columns = channels[..., :-3].unflatten(-1, (-1, 2, 3))
    columns = columns + torch.linalg.cross(turn[..., None, :].expand_as(columns), columns)
    root = channels[..., -3:] + gain[..., -1:] * pull[..., 0, :] / error.shape[-2]
    return torch.cat([columns.flatten(-3), root], -1)
