"""The loops of `kinema.reinforce.inpainting`, compiled by numba: find alike patches, and blend them into a hole.

Input: a picture with a rough filling, the hole, where patches may come from. Output: a nearest-neighbour field, and the
picture with the hole filled from it. A patch is a square of (2 `PATCH_PX` + 1) pixels a side around its centre.
Source: Barnes et al., "PatchMatch" (2009), section 3; the votes are those of Wexler et al. (2007), section 3.2.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PATCH_PX = 4
_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(fastmath={"reassoc"}, **_COMPILE)
def _distance(rows, y, x, v, u, limit):
    """Sum of squared differences of the patches around (y, x) and (v, u); given up beyond `limit`. rows [H,3W]"""
    total = np.float32(0)
    one, other = 3 * (x - PATCH_PX), 3 * (u - PATCH_PX)
    for j in range(-PATCH_PX, PATCH_PX + 1):
        for i in range(3 * (2 * PATCH_PX + 1)):
            difference = rows[y + j, one + i] - rows[v + j, other + i]
            total += difference * difference
        if total >= limit:
            return limit
    return total


@njit(**_COMPILE)
def search(image, targets, allowed, field, distances, rounds, seed):
    """Improve the field: for each target the centre of the allowed patch most like its own.

    targets    int32 [N,2] centres, row by row; all patches lie inside the picture      allowed  bool [H,W]
    field      int32 [H,W,2], -1 where none; comes with a guess at every target, is improved in place
    distances  float32 [H,W], written at the targets
    """
    state = np.uint64(seed)
    height, width = allowed.shape
    rows = image.reshape(height, 3 * width)
    for n in range(len(targets)):
        y, x = targets[n]
        distances[y, x] = _distance(rows, y, x, field[y, x, 0], field[y, x, 1], np.float32(np.inf))
    for turn in range(rounds):
        step = 1 if turn % 2 == 0 else -1
        for n in range(len(targets)):
            y, x = targets[n] if step > 0 else targets[len(targets) - 1 - n]
            v, u, least = field[y, x, 0], field[y, x, 1], distances[y, x]
            for k in range(2):
                above, beside = y - step * (k == 0), x - step * (k == 1)
                if field[above, beside, 0] >= 0:
                    p, q = field[above, beside, 0] + step * (k == 0), field[above, beside, 1] + step * (k == 1)
                    if 0 <= p < height and 0 <= q < width and allowed[p, q]:
                        distance = _distance(rows, y, x, p, q, least)
                        if distance < least:
                            v, u, least = p, q, distance
            reach = max(height, width)
            while reach >= 1:
                state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                p = v + np.int64((state >> np.uint64(33)) % np.uint64(2 * reach + 1)) - reach
                state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                q = u + np.int64((state >> np.uint64(33)) % np.uint64(2 * reach + 1)) - reach
                if 0 <= p < height and 0 <= q < width and allowed[p, q]:
                    distance = _distance(rows, y, x, p, q, least)
                    if distance < least:
                        v, u, least = p, q, distance
                reach //= 2
            field[y, x, 0], field[y, x, 1], distances[y, x] = v, u, least


@njit(**_COMPILE)
def vote(image, hole, targets, field, distances, softness):
    """Fill the hole, in place: every pixel the mean of what the patches over it have there, alike ones the most.

    softness  squared difference of patches at which a vote counts 1/e
    """
    height, width = hole.shape
    total = np.zeros((height, width, image.shape[2] + 1))
    for n in range(len(targets)):
        y, x = targets[n]
        v, u = field[y, x]
        weight = np.exp(-distances[y, x] / softness) + 1e-6
        for j in range(-PATCH_PX, PATCH_PX + 1):
            for i in range(-PATCH_PX, PATCH_PX + 1):
                if hole[y + j, x + i]:
                    for k in range(image.shape[2]):
                        total[y + j, x + i, k] += weight * image[v + j, u + i, k]
                    total[y + j, x + i, image.shape[2]] += weight
    for y in range(height):
        for x in range(width):
            if hole[y, x] and total[y, x, image.shape[2]] > 0:
                for k in range(image.shape[2]):
                    image[y, x, k] = total[y, x, k] / total[y, x, image.shape[2]]
