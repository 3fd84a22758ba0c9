"""Forward kinematics of many poses at once with its gradient, compiled by numba: what the motion prior measures by.

Input: rot6d joint rotations and root positions. Output: joint positions; backwards, the gradient of a loss by the
first from that by the second. `kinema.body.model.forward_kinematics` is the same in torch, and the twin in the tests.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

_SHORTEST = 1e-12
"""Columns of rot6d are divided by their length, but never by less (as `torch.nn.functional.normalize`)."""


def joint_frames(rot6d: Tensor, bones: Tensor, root: Tensor, parents: np.ndarray) -> tuple[Tensor, Tensor]:
    """rot6d [...,J,6] parent-relative, bones [J,3] rest offsets from the parent (m), root [...,3] -> positions [...,J,3],
    world rotations [...,J,3,3].

    float32 on the CPU; the positions are differentiable by `rot6d` and `root`, the rotations are constants.
    `parents` [J], -1 first, parents before children.
    """
    return _JointFrames.apply(rot6d, bones, root, parents)


class _JointFrames(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rot6d: Tensor, bones: Tensor, root: Tensor, parents: np.ndarray) -> tuple[Tensor, Tensor]:
        six = rot6d.detach().float().reshape(-1, len(parents), 6).contiguous().numpy()
        place = root.detach().float().reshape(-1, 3).contiguous().numpy()
        offsets = bones.detach().float().contiguous().numpy()
        points, local, world = _forward(six, offsets, place, parents)
        ctx.kept = six, offsets, local, world, parents
        turned = torch.from_numpy(world).view(*rot6d.shape[:-1], 3, 3)
        ctx.mark_non_differentiable(turned)
        return torch.from_numpy(points).view(*rot6d.shape[:-1], 3), turned

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        six, offsets, local, world, parents = ctx.kept
        given = gradients[0].float().reshape(-1, len(parents), 3).contiguous().numpy()
        by_six, by_root = _backward(given, six, offsets, local, world, parents)
        shape = gradients[0].shape
        return torch.from_numpy(by_six).view(*shape[:-1], 6), None, torch.from_numpy(by_root).view(*shape[:-2], 3), None


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(six, bones, root, parents):
    """-> positions [N,J,3], local and world rotations [N,J,3,3]."""
    poses, count = six.shape[0], six.shape[1]
    points = np.empty((poses, count, 3), np.float32)
    local = np.empty((poses, count, 3, 3), np.float32)
    world = np.empty((poses, count, 3, 3), np.float32)
    for n in range(poses):
        for j in range(count):
            own, parent = local[n, j], parents[j]
            _gram_schmidt(six[n, j], own)
            for row in range(3):
                if parent < 0:
                    points[n, j, row] = root[n, row]
                    world[n, j, row] = own[row]
                    continue
                above = world[n, parent, row]
                points[n, j, row] = points[n, parent, row] + (
                    above[0] * bones[j, 0] + above[1] * bones[j, 1] + above[2] * bones[j, 2]
                )
                for column in range(3):
                    world[n, j, row, column] = (
                        above[0] * own[0, column] + above[1] * own[1, column] + above[2] * own[2, column]
                    )
    return points, local, world


@njit(cache=True, nogil=True, error_model="numpy")
def _backward(given, six, bones, local, world, parents):
    """Gradients by positions [N,J,3] -> by rot6d [N,J,6] and by the root [N,3]: from the leaves to the root."""
    poses, count = given.shape[0], given.shape[1]
    by_six = np.empty((poses, count, 6), np.float32)
    by_root = np.empty((poses, 3), np.float32)
    for n in range(poses):
        by_point = given[n].copy()
        by_world = np.zeros((count, 3, 3), np.float32)
        by_local = np.empty((3, 3), np.float32)
        for j in range(count - 1, -1, -1):
            parent = parents[j]
            if parent < 0:
                by_root[n] = by_point[j]
                by_local[:] = by_world[j]
            else:
                above, own, by = world[n, parent], local[n, j], by_world[j]
                for row in range(3):
                    by_point[parent, row] += by_point[j, row]
                    for column in range(3):
                        by_world[parent, row, column] += by_point[j, row] * bones[j, column] + (
                            by[row, 0] * own[column, 0] + by[row, 1] * own[column, 1] + by[row, 2] * own[column, 2]
                        )
                        by_local[row, column] = (
                            above[0, row] * by[0, column]
                            + above[1, row] * by[1, column]
                            + above[2, row] * by[2, column]
                        )
            _gram_schmidt_gradient(six[n, j], local[n, j], by_local, by_six[n, j])
    return by_six, by_root


@njit(cache=True, inline="always")
def _gram_schmidt(six, out):
    """Zhou et al. 2019: the first column as it is, the second made orthogonal to it, the third their cross product."""
    a = max(np.sqrt(six[0] * six[0] + six[1] * six[1] + six[2] * six[2]), np.float32(_SHORTEST))
    x0, x1, x2 = six[0] / a, six[1] / a, six[2] / a
    along = x0 * six[3] + x1 * six[4] + x2 * six[5]
    y0, y1, y2 = six[3] - along * x0, six[4] - along * x1, six[5] - along * x2
    b = max(np.sqrt(y0 * y0 + y1 * y1 + y2 * y2), np.float32(_SHORTEST))
    y0, y1, y2 = y0 / b, y1 / b, y2 / b
    out[0, 0], out[1, 0], out[2, 0] = x0, x1, x2
    out[0, 1], out[1, 1], out[2, 1] = y0, y1, y2
    out[0, 2], out[1, 2], out[2, 2] = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0


@njit(cache=True, inline="always")
def _gram_schmidt_gradient(six, rotation, by, out):
    """Gradient by the matrix, `by` [3,3] -> by its six numbers. Written out: small arrays would cost most of the time."""
    x0, x1, x2 = rotation[0, 0], rotation[1, 0], rotation[2, 0]
    y0, y1, y2 = rotation[0, 1], rotation[1, 1], rotation[2, 1]
    a = max(np.sqrt(six[0] * six[0] + six[1] * six[1] + six[2] * six[2]), np.float32(_SHORTEST))
    along = x0 * six[3] + x1 * six[4] + x2 * six[5]
    r0, r1, r2 = six[3] - along * x0, six[4] - along * x1, six[5] - along * x2
    b = max(np.sqrt(r0 * r0 + r1 * r1 + r2 * r2), np.float32(_SHORTEST))
    # z = x cross y: its gradient by x is y cross by_z, by y it is by_z cross x.
    gx0 = by[0, 0] + y1 * by[2, 2] - y2 * by[1, 2]
    gx1 = by[1, 0] + y2 * by[0, 2] - y0 * by[2, 2]
    gx2 = by[2, 0] + y0 * by[1, 2] - y1 * by[0, 2]
    gy0 = by[0, 1] + by[1, 2] * x2 - by[2, 2] * x1
    gy1 = by[1, 1] + by[2, 2] * x0 - by[0, 2] * x2
    gy2 = by[2, 1] + by[0, 2] * x1 - by[1, 2] * x0
    straight = gy0 * y0 + gy1 * y1 + gy2 * y2
    gr0, gr1, gr2 = (gy0 - straight * y0) / b, (gy1 - straight * y1) / b, (gy2 - straight * y2) / b
    by_along = -(gr0 * x0 + gr1 * x1 + gr2 * x2)
    out[3], out[4], out[5] = gr0 + by_along * x0, gr1 + by_along * x1, gr2 + by_along * x2
    gx0 += by_along * six[3] - along * gr0
    gx1 += by_along * six[4] - along * gr1
    gx2 += by_along * six[5] - along * gr2
    straight = gx0 * x0 + gx1 * x1 + gx2 * x2
    out[0], out[1], out[2] = (gx0 - straight * x0) / a, (gx1 - straight * x1) / a, (gx2 - straight * x2) / a
