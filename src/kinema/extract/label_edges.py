"""Where one label ends and the next begins: mended by the colours of the picture.

A network's labels are a pixel or two off along their edges, where the picture itself mostly tells what belongs to what. Each
pixel near an edge takes the label of those around it, well inside of theirs, whose colours it has; far pixels and pixels
near an edge count less. Input: a picture and a label for each pixel. Output: labels.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from jaxtyping import Int32, UInt8
from numba import njit

ROUNDS = 2
"""Colours are looked up anew once labels have changed."""
EDGE_PX = 3
"""So near to an edge a label may be mended: nothing but one of those that are as near."""
REACH_PX = 8
"""Pixels that a colour is compared with are so near."""
PX_COSTS, NEAR_EDGE_COSTS = 0.5, 5.0
"""What a pixel counts less for each pixel that it is away, and that it is nearer to an edge than `EDGE_PX`, in units of
8-bit CIELAB."""
CLEARLY, CLEARLY_WITHIN = 3.0, 16.0
"""By how much more another label's colours must be a pixel's for it to change; and where both are of one group, such as
parts of a body, which may well be of one colour."""
LEAST_KEPT = 0.5
"""A label that would lose more of its pixels in a round keeps all of them: what is thin has no inside to go by."""


def mended(
    picture: UInt8[np.ndarray, "H W 3"], labels: Int32[np.ndarray, "H W"], groups: Int32[np.ndarray, " L"]
) -> Int32[np.ndarray, "H W"]:
    """Labels 0 to L-1, and the group that each of these is of -> labels."""
    if (labels == labels.flat[0]).all():
        return labels
    colours = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    for _ in range(ROUNDS):
        distance = _edge_distance(labels)
        near_edge = np.square(NEAR_EDGE_COSTS * np.maximum(EDGE_PX - distance, 0))
        found = _mend(colours, labels, groups, distance <= EDGE_PX, near_edge, _around())
        kept, all_of_it = (np.bincount(at, minlength=len(groups)) for at in (labels[found == labels], labels.ravel()))
        labels = np.where((kept < LEAST_KEPT * all_of_it)[labels], labels, found)
    return labels


def _edge_distance(labels: np.ndarray) -> np.ndarray:
    """Pixels to the nearest pixel of another label; 1 on both sides of an edge."""
    rim = np.zeros(labels.shape, bool)
    for a, b in (
        (np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):  # fmt: skip
        differs = labels[a] != labels[b]
        rim[a] |= differs
        rim[b] |= differs
    return cv2.distanceTransform((~rim).astype(np.uint8), cv2.DIST_L2, 3) + 1


@cache
def _around() -> np.ndarray:
    """[K,2] rows and columns to where colours are compared, the nearest first: all close by, every other one farther off."""
    steps = np.mgrid[-REACH_PX : REACH_PX + 1, -REACH_PX : REACH_PX + 1].reshape(2, -1).T
    far = (steps**2).sum(1)
    around = (far > 0) & (far <= REACH_PX**2) & ((far <= EDGE_PX**2) | (steps.sum(1) % 2 == 0))
    return steps[around][np.argsort(far[around], kind="stable")]


@njit(cache=True, nogil=True, error_model="numpy")
def _mend(colours, labels, groups, band, near_edge, around):
    """colours float32 [H,W,3]; labels int32 [H,W]; groups [L]; band bool [H,W]: what may change; near_edge float32 [H,W]:
    what a pixel costs for being near to an edge, squared; around [K,2]."""
    far = ((PX_COSTS * around) ** 2).sum(1).astype(np.float32)
    height, width = labels.shape
    out = labels.copy()
    place = np.full(len(groups), -1)  # of a label among the candidates; -1 for the others
    candidates, costs = np.empty(len(groups), np.int32), np.empty(len(groups), np.float32)
    for row in range(height):
        for column in range(width):
            if not band[row, column]:
                continue
            count = 0
            for y in range(max(row - EDGE_PX, 0), min(row + EDGE_PX + 1, height)):
                for x in range(max(column - EDGE_PX, 0), min(column + EDGE_PX + 1, width)):
                    label = labels[y, x]
                    if place[label] < 0 and (y - row) ** 2 + (x - column) ** 2 <= EDGE_PX**2:
                        place[label], candidates[count], costs[count] = count, label, np.inf
                        count += 1
            for k in range(len(around)):
                y, x = row + around[k, 0], column + around[k, 1]
                if not (0 <= y < height and 0 <= x < width):
                    continue
                c = place[labels[y, x]]
                if c < 0:
                    continue
                cost = far[k] + near_edge[y, x]
                for channel in range(3):
                    away = colours[y, x, channel] - colours[row, column, channel]
                    cost += away * away
                costs[c] = min(costs[c], cost)
            own = labels[row, column]
            most = 0.0
            for c in range(count):
                clearly = CLEARLY_WITHIN if groups[candidates[c]] == groups[own] else CLEARLY
                gain = np.sqrt(costs[place[own]]) - np.sqrt(costs[c]) - clearly
                if candidates[c] != own and gain > most:
                    most, out[row, column] = gain, candidates[c]
            for c in range(count):
                place[candidates[c]] = -1
    return out
