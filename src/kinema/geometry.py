"""Rotations and rigid transforms: thin over `roma`, for numpy arrays as well as tensors.

Rotations act on column vectors. rotvec is the axis times the angle in rad; rot6d is the first two columns of the
matrix, one after the other (Zhou et al. 2019); quaternions are (w, x, y, z).
Every function takes any leading shape and returns what it was given: numpy for numpy, a tensor for a tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", np.ndarray, "torch.Tensor")


def _through_torch(function: Callable, *arrays):
    import torch

    if all(isinstance(a, np.ndarray) for a in arrays):
        return function(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)).numpy()
    return function(*arrays)


def rotvec_to_rotmat(rotvec: Array) -> Array:
    """[...,3] rad -> [...,3,3]."""
    import roma

    return _through_torch(roma.rotvec_to_rotmat, rotvec)


def rotmat_to_rotvec(rotmat: Array) -> Array:
    """[...,3,3] -> [...,3] rad, angle in [0, pi]."""
    import roma

    return _through_torch(roma.rotmat_to_rotvec, rotmat)


def rotmat_to_rot6d(rotmat: Array) -> Array:
    """[...,3,3] -> [...,6]: first column, then second column."""

    def columns(m):
        import torch

        return torch.cat([m[..., :, 0], m[..., :, 1]], -1)

    return _through_torch(columns, rotmat)


def rot6d_to_rotmat(rot6d: Array) -> Array:
    """[...,6] -> [...,3,3] by Gram-Schmidt; the inverse of `rotmat_to_rot6d` up to scale."""

    def gram_schmidt(six):
        import torch
        import torch.nn.functional as F

        x = F.normalize(six[..., :3], dim=-1)
        y = six[..., 3:]
        y = F.normalize(y - (x * y).sum(-1, keepdim=True) * x, dim=-1)
        return torch.stack([x, y, torch.linalg.cross(x, y)], -1)

    return _through_torch(gram_schmidt, rot6d)


def project_to_rotmat(matrix: Array) -> Array:
    """[...,3,3] any matrix -> the nearest rotation (Procrustes)."""
    import roma

    return _through_torch(roma.special_procrustes, matrix)


def rotvec_to_quat_wxyz(rotvec: Array) -> Array:
    """[...,3] rad -> [...,4] unit quaternion, (w, x, y, z)."""
    import roma

    return _through_torch(lambda v: roma.quat_xyzw_to_wxyz(roma.rotvec_to_unitquat(v)), rotvec)


def quat_wxyz_to_rotvec(quat: Array) -> Array:
    """[...,4] (w, x, y, z), of any length above 0 -> [...,3] rad."""
    import roma

    def convert(q):
        import torch.nn.functional as F

        return roma.unitquat_to_rotvec(roma.quat_wxyz_to_xyzw(F.normalize(q, dim=-1)))

    return _through_torch(convert, quat)


def geodesic_distance_rad(rotmat_a: Array, rotmat_b: Array) -> Array:
    """[...,3,3], [...,3,3] -> [...] angle between the two, in [0, pi]."""
    import roma

    return _through_torch(roma.rotmat_geodesic_distance, rotmat_a, rotmat_b)


def heading_rotmat(rotmat: Array) -> Array:
    """[...,3,3] orientation of a body -> [...,3,3] the turn about +y that its front (+z at rest) points to."""

    def turn(m):
        import torch

        sine, cosine = m[..., 0, 2], m[..., 2, 2]
        length = torch.sqrt(sine**2 + cosine**2).clamp_min(1e-8)
        s, c, zero = sine / length, cosine / length, torch.zeros_like(sine)
        return torch.stack([c, zero, s, zero, zero + 1, zero, -s, zero, c], -1).reshape(m.shape)

    return _through_torch(turn, rotmat)
