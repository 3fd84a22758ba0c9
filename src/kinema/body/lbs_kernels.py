"""The loops of linear blend skinning, compiled by numba; frames and vertices in parallel, float32.

Input: joint rotations, a rest skeleton and a rest mesh. Output: the mesh in every frame.
Source: SMPL (Loper et al. 2015), equations 2-4: v' = sum_k w_k G_k(theta, J) v. The tests hold a slow twin.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, error_model="numpy")
def _rodrigues(x, y, z, out):
    """Rotation vector (rad) -> 3x3 into `out`."""
    angle = np.sqrt(x * x + y * y + z * z)
    if angle > 1e-4:
        sine, versine = np.sin(angle) / angle, (1 - np.cos(angle)) / (angle * angle)
    else:
        sine, versine = 1 - angle * angle / 6, 0.5 - angle * angle / 24
    out[0, 0] = 1 - versine * (y * y + z * z)
    out[1, 1] = 1 - versine * (x * x + z * z)
    out[2, 2] = 1 - versine * (x * x + y * y)
    out[0, 1], out[1, 0] = versine * x * y - sine * z, versine * x * y + sine * z
    out[0, 2], out[2, 0] = versine * x * z + sine * y, versine * x * z - sine * y
    out[1, 2], out[2, 1] = versine * y * z - sine * x, versine * y * z + sine * x


@njit(cache=True, nogil=True, error_model="numpy")
def skinning_transforms(rotvec, rest, root, parents):
    """Forward kinematics: what carries a rest vertex of each joint into the world.

    rotvec [T,J,3] rad, parent-relative   rest [J,3] m   root [T,3] m, joint 0   parents [J], root's -1
    Returns [J,12,T]: the rows of the 3x4 matrices, frames last, so that a blend runs along them.
    """
    frames, count = rotvec.shape[0], rotvec.shape[1]
    transforms = np.empty((count, 12, frames), np.float32)
    glob = np.empty((count, 3, 3))
    position = np.empty((count, 3))
    local = np.empty((3, 3))
    for t in range(frames):
        for j in range(count):
            parent = parents[j]
            turn = rotvec[t, j].astype(np.float64)
            _rodrigues(turn[0], turn[1], turn[2], local)
            for row in range(3):
                if parent < 0:
                    position[j, row] = root[t, row]
                    for column in range(3):
                        glob[j, row, column] = local[row, column]
                    continue
                position[j, row] = position[parent, row]
                for column in range(3):
                    position[j, row] += glob[parent, row, column] * (rest[j, column] - rest[parent, column])
                    glob[j, row, column] = 0.0
                    for k in range(3):
                        glob[j, row, column] += glob[parent, row, k] * local[k, column]
            for row in range(3):
                moved = position[j, row]
                for column in range(3):
                    moved -= glob[j, row, column] * rest[j, column]
                    transforms[j, 4 * row + column, t] = glob[j, row, column]
                transforms[j, 4 * row + 3, t] = moved
    return transforms


@njit(cache=True, parallel=True, fastmath=True, error_model="numpy")
def blend_frames(rest, expression_dirs, expression, weights, weight_joints, transforms):
    """Linear blend skinning of all frames.

    rest [V,3] m   expression_dirs [V,3,E]   expression [T,E]   weights, weight_joints [V,K]
    transforms [J,12,T] of `skinning_transforms`          -> float32 [T,V,3] m
    """
    frames, count, influences = transforms.shape[2], rest.shape[0], weights.shape[1]
    out = np.empty((frames, count, 3), np.float32)
    block = 256
    for tile in prange((count + block - 1) // block):
        blended = np.empty((12, frames), np.float32)
        local = np.empty((frames, 3), np.float32)
        for v in range(tile * block, min(count, (tile + 1) * block)):
            blended[:] = 0
            for k in range(influences):
                weight = weights[v, k]
                if weight > 0:
                    transform = transforms[weight_joints[v, k]]
                    for e in range(12):
                        for t in range(frames):
                            blended[e, t] += weight * transform[e, t]
            for t in range(frames):
                for axis in range(3):
                    local[t, axis] = rest[v, axis]
                    for e in range(expression.shape[1]):
                        local[t, axis] += expression_dirs[v, axis, e] * expression[t, e]
            for t in range(frames):
                x, y, z = local[t, 0], local[t, 1], local[t, 2]
                for row in range(3):
                    a, b, c, d = 4 * row, 4 * row + 1, 4 * row + 2, 4 * row + 3
                    out[t, v, row] = blended[a, t] * x + blended[b, t] * y + blended[c, t] * z + blended[d, t]
    return out
