"""Where in time each frame of a window seems to belong, found without learning: a hint that the motion prior weighs.

Input: distances between all frames of a window. Output: a frame number for every frame. Two things give a disturbed
order away as long as frames are exact: repeated frames are equal, and the way through pose space is longer than it need
be. Repeats are taken out, the rest is put on the shortest way (2-opt and or-opt, Croes 1958, Or 1976), and as many
frames as were repeated are taken to be missing at the largest jump. Where that saves little, the order is left alone.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

REPEAT_M = 2.5e-4
"""Frames nearer than this (root mean square over the joints) are the same frame."""
SAVING = 0.2
"""Share of the way that a new order must save to be believed."""
STRAIGHTNESS = 0.7
"""Ends of two successive steps are this much of the steps' length apart in a motion; in noise it is about a half."""
JUMP = 2.0
"""A jump must be this many times the steps beside it, where frames are said to be missing."""
STEP_FLOOR_M = 3e-3


def belongs(points: Float[Tensor, "B T J 3"]) -> Float[Tensor, "B T"]:
    """Joint positions of windows -> the frame number at which each frame seems to belong, `arange(T)` for good motion."""
    flat = points.detach().cpu().flatten(-2)
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist") / points.shape[-2] ** 0.5
    return torch.from_numpy(_belongs(distances.numpy().astype(np.float64))).to(points)


@numba.njit(cache=True)
def _belongs(distances: np.ndarray) -> np.ndarray:
    found = np.empty(distances.shape[:2], np.float32)
    for b in range(len(distances)):
        found[b] = _window(distances[b])
    return found


@numba.njit(cache=True)
def _window(d: np.ndarray) -> np.ndarray:
    frames = len(d)
    source = np.arange(frames)
    for t in range(1, frames):
        for s in range(t):
            if d[t, s] < REPEAT_M:
                source[t] = source[s]
                break
    distinct = np.flatnonzero(source == np.arange(frames))
    count = len(distinct)
    same = np.arange(frames).astype(np.float32)
    if count < 5:
        return same
    path = _shortest_path(d, distinct)
    step = np.array([d[path[k], path[k + 1]] for k in range(count - 1)])
    moment = np.empty(frames, np.float32)
    for k in range(count):
        moment[path[k]] = k
    missing = frames - count
    if missing:
        best, at = 0.0, -1
        for k in range(count - 1):
            beside = 0.5 * (step[max(k - 1, 0)] + step[min(k + 1, count - 2)]) + STEP_FLOOR_M
            if step[k] / beside > best:
                best, at = step[k] / beside, k
        if best < JUMP:
            return same
        for k in range(at + 1, count):
            moment[path[k]] += missing
        for t in range(frames):
            moment[t] = moment[source[t]]
    return moment


@numba.njit(cache=True)
def _shortest_path(d: np.ndarray, given: np.ndarray) -> np.ndarray:
    """A short way over the `given` frames with both ends fixed; `given` itself where little is saved."""
    whole = _length(d, given)
    best = _improve(d, given.copy())
    other = _improve(d, _nearest_first(d, given))
    if _length(d, other) < _length(d, best):
        best = other
    pays = _length(d, best) < (1 - SAVING) * whole and _straightness(d, best) > STRAIGHTNESS
    return best if pays else given


@numba.njit(cache=True)
def _straightness(d: np.ndarray, path: np.ndarray) -> float:
    past, over = 0.0, 1e-9
    for k in range(1, len(path) - 1):
        past += d[path[k - 1], path[k + 1]]
        over += d[path[k - 1], path[k]] + d[path[k], path[k + 1]]
    return float(past / over)


@numba.njit(cache=True)
def _length(d: np.ndarray, path: np.ndarray) -> float:
    total = 0.0
    for k in range(len(path) - 1):
        total += d[path[k], path[k + 1]]
    return float(total)


@numba.njit(cache=True)
def _nearest_first(d: np.ndarray, given: np.ndarray) -> np.ndarray:
    """From the first frame always on to the nearest one left; the last stays last."""
    path = given.copy()
    for k in range(1, len(path) - 1):
        near = k
        for j in range(k + 1, len(path) - 1):
            if d[path[k - 1], path[j]] < d[path[k - 1], path[near]]:
                near = j
        path[k], path[near] = path[near], path[k]
    return path


@numba.njit(cache=True)
def _improve(d: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Exchanges of two frames, reversals and moves of a segment, as long as one shortens the way."""
    count = len(path)
    better = True
    rounds = 0
    while better and rounds < 50:
        better = False
        rounds += 1
        for i in range(1, count - 1):
            for j in range(i + 1, count - 1):
                a, b, c, e = path[i - 1], path[i], path[j], path[j + 1]
                if d[a, c] + d[b, e] < d[a, b] + d[c, e] - 1e-9:
                    path[i : j + 1] = path[i : j + 1][::-1].copy()
                    better = True
                elif j > i + 1 and _gain_of_exchange(d, path, i, j) > 1e-9:
                    path[i], path[j] = path[j], path[i]
                    better = True
        for length in range(1, min(9, count - 2)):
            for i in range(1, count - 1 - length):
                if _move_segment(d, path, i, length):
                    better = True
    return path


@numba.njit(cache=True)
def _gain_of_exchange(d: np.ndarray, path: np.ndarray, i: int, j: int) -> float:
    a, b = path[i], path[j]
    before = d[path[i - 1], a] + d[a, path[i + 1]] + d[path[j - 1], b] + d[b, path[j + 1]]
    after = d[path[i - 1], b] + d[b, path[i + 1]] + d[path[j - 1], a] + d[a, path[j + 1]]
    return float(before - after)


@numba.njit(cache=True)
def _move_segment(d: np.ndarray, path: np.ndarray, i: int, length: int) -> bool:
    """Take the segment that begins at place i to where it shortens the way most, if anywhere."""
    count = len(path)
    first, last = path[i], path[i + length - 1]
    saved = d[path[i - 1], first] + d[last, path[i + length]] - d[path[i - 1], path[i + length]]
    best, at = 1e-9, -1
    for k in range(count - 1):
        if i - 1 <= k < i + length:
            continue
        gain = saved - (d[path[k], first] + d[last, path[k + 1]] - d[path[k], path[k + 1]])
        if gain > best:
            best, at = gain, k
    if at < 0:
        return False
    segment = path[i : i + length].copy()
    if at > i:
        path[i : at - length + 1] = path[i + length : at + 1].copy()
        path[at - length + 1 : at + 1] = segment
    else:
        path[at + 1 + length : i + length] = path[at + 1 : i].copy()
        path[at + 1 : at + 1 + length] = segment
    return True
