"""Frames that are not where they belong: repeated frames and segments, and frames in the wrong order.

Input: joint positions [T,J,3] in metres and the frame rate. Output: which frames are at fault, and the order that mends
them. A shuffle is found as a shorter path: poses that follow each other in time are close, so frames out of order make
the path through pose space long, and the shortest path through the same poses tells where they belong. These are the
faults that ReVision's perturbations 2 and 3 make (section 4.2-S2).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

REPEAT_TOLERANCE_M = 2e-4
"""Two frames are one when no joint differs by more: above what rounding to float16 does to the capture (0.1 mm)."""
MOVING_M_PER_S = 0.08
"""Below this mean joint speed equal frames are a body that stands still."""
JUMP_SHARE = 0.7
"""What is played again begins where the velocity changes by more than this share of the speed around it."""
DETOUR_M_PER_S = 0.7
"""A frame is suspect when the way over it, rather than past it, is longer by this times the frame's duration."""
NEW_LINK_M_PER_S = 0.15
"""Every two frames that a new order puts side by side cost this times the frame's duration on top of their distance."""
GAIN_SHARE = 0.45
"""A new order must save this share of the moved frames' own steps. Noise fits nowhere: no order of it saves as much."""
DETOUR_SHARE = 0.5
"""... and leave less than this share of the detours at the moved frames and beside them."""
NOISE_FRAMES, NOISE_SHARE = 40, 0.85
"""Where so many frames on end are suspect, and nearly all of them, it is noise and not worth a search."""
REGION_FRAMES = 64
"""Longest run of frames that is searched at once."""
SEGMENT_FRAMES = 10
"""Longest segment that the search moves in one piece: a quarter of the prior's window and a little."""


def repeated_frames(points: Float[np.ndarray, "T J 3"], fps: float) -> Int[np.ndarray, " T"]:
    """For every frame the earlier frame that it repeats, -1 where it repeats none.

    Standing still is no repetition, nor is a loop that runs on smoothly: what is played again must begin with a jump.
    """
    source = np.full(len(points), -1)
    if len(points) < 3:
        return source
    from scipy.spatial import KDTree

    speed = np.linalg.norm(np.diff(points, axis=0), axis=-1).mean(1) * fps
    moving = np.flatnonzero(_speed_nearby(speed, fps) > MOVING_M_PER_S)
    if len(moving) < 2:
        return source
    jumps = _jumps(points, speed, fps)
    flat = points[moving].reshape(len(moving), -1)
    pairs = KDTree(flat).query_pairs(REPEAT_TOLERANCE_M * np.sqrt(3), p=2, output_type="ndarray")
    pairs = moving[pairs]
    for first, again in pairs[np.lexsort((-pairs[:, 0], pairs[:, 1]))].tolist():
        if source[again] >= 0:
            continue
        held = again == first + 1
        goes_on = source[again - 1] >= 0 and source[again - 1] == first - 1
        # Played backwards, it swings back the way it came.
        backwards = again > first + 3 and np.abs(points[again - 1] - points[first + 1]).max() < REPEAT_TOLERANCE_M
        if held or goes_on or (jumps[again] and not backwards):
            source[again] = first
    return source


def _jumps(points: Float[np.ndarray, "T J 3"], speed: Float[np.ndarray, " S"], fps: float) -> Bool[np.ndarray, " T"]:
    """[T] frames at which the velocity changes by much, against the speed and against what is usual around them."""
    from scipy.ndimage import median_filter

    change = np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1).mean(1) * fps
    usual = median_filter(change, size=2 * round(fps / 2) + 1, mode="nearest")
    strong = (change > JUMP_SHARE * np.maximum(speed[:-1], speed[1:])) & (change > 1.5 * usual)
    return np.concatenate([[False, False], strong])


def _speed_nearby(speed: Float[np.ndarray, " S"], fps: float) -> Float[np.ndarray, " T"]:
    """[T] the 80th percentile of the steps within a quarter of a second: a held frame in a motion counts as moving."""
    from scipy.ndimage import percentile_filter

    return percentile_filter(np.append(speed, speed[-1]), 80, size=2 * round(fps / 4) + 3, mode="nearest")


def belongs_at(points: Float[np.ndarray, "T J 3"], fps: float) -> Int[np.ndarray, " T"]:
    """[T] order: frame `order[k]` is the one that belongs at place k; `arange(T)` where all is well.

    The first and the last frame of a region that is searched stay where they are.
    """
    frames = len(points)
    order = np.arange(frames)
    if frames < 5:
        return order
    flat = points.reshape(frames, -1) / np.sqrt(points.shape[1])
    suspect = _detour(flat) * fps > DETOUR_M_PER_S
    for begin, end in _regions(suspect):
        region = flat[begin:end]
        distance = np.linalg.norm(region[:, None] - region[None], axis=-1)
        if end - begin > NOISE_FRAMES and suspect[begin:end].mean() > NOISE_SHARE:
            continue
        biased = distance + NEW_LINK_M_PER_S / fps * (1 - np.eye(end - begin, k=1))
        shortest = min(
            (_shortest_path(biased, start) for start in (np.arange(end - begin), _shortest_path(distance))),
            key=lambda path: biased[path[:-1], path[1:]].sum(),
        )
        kept = _keep_what_pays(shortest, biased)
        if _smoother(kept, distance):
            order[begin:end] = begin + kept
    return order


def _detour(flat: Float[np.ndarray, "T D"]) -> Float[np.ndarray, " T"]:
    """[T] metres that the way over a frame is longer than the way past it; 0 at both ends."""
    step = np.linalg.norm(np.diff(flat, axis=0), axis=-1)
    past = np.linalg.norm(flat[2:] - flat[:-2], axis=-1)
    return np.concatenate([[0], step[:-1] + step[1:] - past, [0]])


def _smoother(order: Int[np.ndarray, " N"], distance: Float[np.ndarray, "N N"]) -> bool:
    """Whether the way over the moved frames is much straighter in the new order. Noise that is sorted stays crooked."""

    def detours(o) -> np.ndarray:
        step = distance[o[:-1], o[1:]]
        return np.concatenate([[0], step[:-1] + step[1:] - distance[o[:-2], o[2:]], [0]])

    from scipy.ndimage import binary_dilation

    asis = np.arange(len(order))
    near = np.asarray(binary_dilation(order != asis), bool)
    return bool(detours(order)[near].sum() < DETOUR_SHARE * detours(asis)[near].sum())


def _regions(suspect: Bool[np.ndarray, " T"]) -> list[tuple[int, int]]:
    """Runs [begin, end) of frames to search: suspects that are near each other, with some sound frames around."""
    found: list[tuple[int, int]] = []
    for t in np.flatnonzero(suspect).tolist():
        begin, end = max(t - SEGMENT_FRAMES - 2, 0), min(t + SEGMENT_FRAMES + 3, len(suspect))
        if found and begin < found[-1][1] and end - found[-1][0] <= REGION_FRAMES:
            found[-1] = (found[-1][0], end)
        elif found and begin < found[-1][1]:
            found.append((found[-1][1], max(end, found[-1][1])))
        else:
            found.append((begin, end))
    return [(a, b) for a, b in found if b - a > 3]


def _shortest_path(distance: Float[np.ndarray, "N N"], start: Int[np.ndarray, " N"] | None = None):
    """[N] a short path through all poses with both ends fixed: the best exchange of two places or segments, reversal
    or move of a segment, again and again until nothing gets shorter (2-opt and Or-opt, Croes 1958, Or 1976)."""
    count = len(distance)
    order = np.arange(count) if start is None else start
    moves = _candidate_moves(count)
    for _ in range(4 * count):
        path = distance[order[moves[:, :-1]], order[moves[:, 1:]]].sum(1)
        best = int(np.argmin(path))
        if path[best] > path[0] - 1e-9:
            break
        order = order[moves[best]]
    return order


@lru_cache(maxsize=8)
def _candidate_moves(count: int) -> Int[np.ndarray, "M N"]:
    """Every exchange, reversal and segment move of `count` places, as permutations; the first one changes nothing."""
    same = list(range(count))
    moves = [same]
    for i in range(1, count - 1):
        for j in range(i + 1, count - 1):
            swapped = same.copy()
            swapped[i], swapped[j] = j, i
            moves.append(swapped)
            if j > i + 1:
                moves.append(same[:i] + same[i : j + 1][::-1] + same[j + 1 :])
            for length in range(2, min(SEGMENT_FRAMES, j - i, count - 1 - j) + 1):
                exchanged = same.copy()
                exchanged[i : i + length], exchanged[j : j + length] = same[j : j + length], same[i : i + length]
                moves.append(exchanged)
        for length in range(1, min(SEGMENT_FRAMES, count - 1 - i) + 1):
            rest = same[:i] + same[i + length :]
            piece = same[i : i + length]
            moves.extend(rest[:k] + piece + rest[k:] for k in range(i + 1, len(rest)))
    return np.array(moves, np.int16)


def _keep_what_pays(order: Int[np.ndarray, " N"], distance: Float[np.ndarray, "N N"]) -> Int[np.ndarray, " N"]:
    """Undo every cycle of the permutation that saves too small a share of its own steps to be believed."""

    def length(o) -> float:
        return float(distance[o[:-1], o[1:]].sum())

    kept = order.copy()
    for cycle in _cycles(order):
        without = kept.copy()
        without[cycle] = cycle
        around = np.unique(np.concatenate([cycle - 1, cycle]))
        around = around[(around >= 0) & (around < len(order) - 1)]
        own = float(distance[without[around], without[around + 1]].sum())
        if length(without) - length(kept) < GAIN_SHARE * own:
            kept = without
    return kept


def _cycles(order: Int[np.ndarray, " N"]) -> list[np.ndarray]:
    seen, cycles = set(np.flatnonzero(order == np.arange(len(order))).tolist()), []
    for start in range(len(order)):
        if start in seen:
            continue
        cycle, at = [], start
        while at not in seen:
            seen.add(at)
            cycle.append(at)
            at = int(order[at])
        cycles.append(np.array(cycle))
    return cycles
