"""What is wrong with masks before a video is made from them: each fault with its frame and what mends it.

Input: masks, and the seconds and rate asked for. Output: findings. Source of what is asked: MVideo, section 4.1
(8 frames a second), and the 4n + 1 frames of CogVideoX's video autoencoder (Yang et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from kinema.masks.draft import begin
from kinema.masks.files import FPS
from kinema.masks.operations import HOLE_SHARE, SPECK_SHARE
from kinema.masks.outlines import without_holes, without_specks
from kinema.masks.recipe import Step, step
from kinema.masks.time import clip_frames, resampled_frames
from kinema.types import MaskSequence

Code = Literal[
    "empty", "polarity", "rate", "too-short", "too-long", "frame-count", "missing", "appears", "vanishes", "jumps",
    "out-of-frame", "specks",
]  # fmt: skip
MOSTLY_WHITE, EDGE_WHITE = 0.5, 0.6
"""Background is what covers more of the picture than this, and more of its edge than that."""
JUMP_SHARE, JUMP_TIMES = 0.06, 3.0
"""A centre jumps that goes so many longer sides farther than so many times its usual step."""
AREA_RATIO = 2.0
"""An area jumps that changes by this from one frame to the next."""
CUT_OFF = 0.12
"""A subject is cut off that meets the picture's edge along more than this share of the way around its box."""
HOLED = 0.01
"""Small holes are worth a word where together they are more than this share of their object."""
ORDER = ("drop", "invert", "clean", "fill", "smooth", "rate", "loop", "length")
"""In which order mends are done so that none undoes another."""


@dataclass(frozen=True)
class Finding:
    """One fault.

    frame  where it is first seen
    label  of which object, None: of the clip
    mend   what to do, in words
    steps  operations that do it; none where only a person can
    must   the video would not be what was asked for: `kinema masks lint` ends with status 1
    """

    code: Code
    frame: int
    label: str | None
    sentence: str
    mend: str
    steps: tuple[Step, ...] = ()
    must: bool = False


@dataclass(frozen=True)
class _Object:
    """One object's masks and what is measured of them: area in pixels, centre in px, share of its box on the edge."""

    label: str
    masks: Bool[np.ndarray, "T H W"]
    area: Int[np.ndarray, " T"]
    centre: Float[np.ndarray, "T 2"]
    on_edge: Float[np.ndarray, " T"]

    @property
    def seen(self) -> Bool[np.ndarray, " T"]:
        return self.area > 0


def lint_masks(masks: MaskSequence, seconds: float | None = None, fps: float = FPS) -> list[Finding]:
    """Everything that is wrong with masks, what must be mended first; none where they are fine.

    seconds  of the video that is to be made, None: as long as the masks
    fps      of that video
    """
    found = [finding for n in range(len(masks.labels)) for finding in _of_object(_measure(masks, n), len(masks.labels))]
    found += _of_clip(masks, seconds, fps)
    return sorted(found, key=lambda f: (not f.must, f.frame))


def mends(findings: Sequence[Finding]) -> tuple[Step, ...]:
    """One recipe of the operations that mend, objects first, the clip's length last."""
    steps: list[Step] = []
    for finding in findings:
        steps += [s for s in finding.steps if s.op in ORDER and s not in steps]
    return tuple(sorted(steps, key=lambda s: ORDER.index(s.op)))


def _measure(masks: MaskSequence, n: int) -> _Object:
    layer = masks.masks[:, n]
    chosen = np.arange(len(masks.labels)) == n
    edge = layer[:, 0].sum(1) + layer[:, -1].sum(1) + layer[:, :, 0].sum(1) + layer[:, :, -1].sum(1)
    around = 2.0 * (layer.any(1).sum(1) + layer.any(2).sum(1))
    on_edge = edge / np.maximum(around, 1)
    return _Object(masks.labels[n], layer, layer.sum((1, 2)), begin(masks).centres(chosen), on_edge)


def _of_object(one: _Object, count: int) -> Iterator[Finding]:
    only = {"only": [one.label]} if count > 1 else {}
    if not one.seen.any():
        steps = (step("drop", **only),) if count > 1 else ()
        mend = "leave it out" if count > 1 else "look at where the masks come from: they are to be white on black"
        yield Finding("empty", 0, one.label, "is in no frame", mend, steps, must=True)
        return
    turned = _is_background(one.masks)
    if turned.mean() > 0.5:
        sentence = f"covers the edges of the picture in {_ranges(turned)}: black and white are exchanged"
        yield Finding("polarity", _first(turned), one.label, sentence, "invert", (step("invert", **only),), must=True)
        return
    yield from _sight(one, only)
    yield from _jumps(one, only)
    yield from _out_of_frame(one)
    specks = np.array([_has_specks(mask) for mask in one.masks])
    if specks.any():
        sentence = f"has specks or many small holes in {_ranges(specks)}"
        yield Finding("specks", _first(specks), one.label, sentence, "take them away", (step("clean", **only),))


def _has_specks(mask: np.ndarray) -> bool:
    filled = without_holes(mask, HOLE_SHARE).sum() - mask.sum()
    return bool((without_specks(mask, SPECK_SHARE) != mask).any() or filled > HOLED * mask.sum())


def _is_background(masks: np.ndarray) -> np.ndarray:
    edge = np.concatenate([masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]], 1)
    return (masks.mean((1, 2)) > MOSTLY_WHITE) & (edge.mean(1) > EDGE_WHITE)


def _sight(one: _Object, only: dict) -> Iterator[Finding]:
    """Gaps, and beginnings and ends of its sight in the middle of the picture and of the clip."""
    known = np.flatnonzero(one.seen)
    gaps = ~one.seen
    gaps[: known[0]] = gaps[known[-1] :] = False
    for before, after in pairwise(known):
        if one.on_edge[before] > 0 and one.on_edge[after] > 0:  # it has left the picture, and come back
            gaps[before + 1 : after] = False
    if gaps.any():
        steps = (step("fill", **only),)
        mend = "make those frames from the ones around them"
        yield Finding("missing", _first(gaps), one.label, f"is missing in {_ranges(gaps)}", mend, steps)
    first, last = int(known[0]), int(known[-1])
    if first > 0 and one.on_edge[first] == 0:
        sentence = f"appears in frame {first} in the middle of the picture"
        yield Finding("appears", first, one.label, sentence, "if it is not meant to, draw it in earlier frames, or cut")
    if last < len(one.masks) - 1 and one.on_edge[last] == 0:
        sentence = f"is gone after frame {last}, from the middle of the picture"
        yield Finding(
            "vanishes", last + 1, one.label, sentence, "if it is not meant to, draw it in later frames, or cut"
        )


def _jumps(one: _Object, only: dict) -> Iterator[Finding]:
    """Where the centre goes much farther, or the area changes much more, than from frame to frame."""
    jumps = [t for t in range(1, len(one.masks)) if _is_jump(one, t - 1, t)]
    if not jumps:
        return
    last = len(one.masks) - 1
    odd = [t for t in jumps if t + 1 in jumps and not _is_jump(one, t - 1, t + 1)]  # there and back again
    if odd:
        steps = (step("fill", at=[round(t / last, 5) for t in odd], **only),)
        mend = "make those frames from the ones around them"
        yield Finding("jumps", odd[0], one.label, f"is elsewhere in {_listed(odd)}", mend, steps)
    others = [t for t in jumps if t not in odd and t - 1 not in odd]
    if others:
        sentence = f"jumps, or changes its size at once, in {_listed(others)}"
        mend = "calm its way, or cut the clip there"
        yield Finding("jumps", others[0], one.label, sentence, mend, (step("smooth", seconds=0.5, **only),))


def _is_jump(one: _Object, before: int, after: int) -> bool:
    if not (one.seen[before] and one.seen[after]) or one.on_edge[before] > 0 or one.on_edge[after] > 0:
        return False
    steps = np.linalg.norm(np.diff(one.centre, axis=0), axis=1)
    usual = float(np.nanmedian(steps)) if np.isfinite(steps).any() else 0.0
    moved = float(np.linalg.norm(one.centre[after] - one.centre[before]))
    sizes = sorted((float(one.area[before]), float(one.area[after])))
    return moved > JUMP_SHARE * max(one.masks.shape[1:]) + JUMP_TIMES * usual or sizes[1] > AREA_RATIO * sizes[0]


def _out_of_frame(one: _Object) -> Iterator[Finding]:
    cut_off = one.on_edge > CUT_OFF
    known = np.flatnonzero(one.seen)
    cut_off[known[-1] + 1 :] = one.on_edge[known[-1]] > 0  # it has left the picture
    cut_off[: known[0]] = one.on_edge[known[0]] > 0
    if not cut_off.any():
        return
    sentence = f"is cut off by the picture's edge, or out of it, in {_ranges(cut_off)}"
    start, end = _longest(~cut_off)
    if end - start < 1:
        mend = "move it (shift, scale about=subject), if it was edited; else leave it so"
        yield Finding("out-of-frame", _first(cut_off), one.label, sentence, mend)
        return
    last = len(one.masks) - 1
    steps = (step("cut", start=round(start / last, 5), end=round(end / last, 5)),)
    mend = f"keep to frames {start}-{end}, or leave it so"
    yield Finding("out-of-frame", _first(cut_off), one.label, sentence, mend, steps)


def _of_clip(masks: MaskSequence, seconds: float | None, fps: float) -> Iterator[Finding]:
    count = len(resampled_frames(len(masks), masks.fps, fps))
    if abs(masks.fps - fps) > 0.01:
        sentence = f"has {masks.fps:g} frames a second, the video {fps:g}"
        yield Finding("rate", 0, None, sentence, "bring it to that rate", (step("rate", fps=fps),), must=True)
    if seconds is None:
        if count % 4 != 1:
            fits = max(1, 4 * ((count - 1) // 4) + 1)
            steps = (step("length", frames=fits),)
            sentence = f"has {count} frames, which is not 4n + 1 as the video autoencoder has them"
            yield Finding("frame-count", fits, None, sentence, f"cut it to {fits}", steps)
        return
    wanted = clip_frames(seconds, fps)
    sentence = f"lasts {count / fps:.3g} s, {count} frames; {seconds:g} s are {wanted}"
    if count < wanted:
        mend = f"loop it there and back, or slow it down: time-warp seconds={seconds:g}"
        yield Finding("too-short", count, None, sentence, mend, (step("loop", seconds=seconds),), must=True)
    elif count > wanted:
        yield Finding("too-long", wanted, None, sentence, "cut its end", (step("length", seconds=seconds),))


def _first(frames: np.ndarray) -> int:
    return int(np.flatnonzero(frames)[0])


def _longest(frames: np.ndarray) -> tuple[int, int]:
    """First and last frame of the longest run; (0, -1) where there is none."""
    best, start = (0, -1), 0
    for t, is_in in enumerate([*frames, False]):
        if not is_in:
            best = max(best, (start, t - 1), key=lambda run: run[1] - run[0])
            start = t + 1
    return best


def _ranges(frames: np.ndarray) -> str:
    return _listed(np.flatnonzero(frames).tolist())


def _listed(frames: Sequence[int]) -> str:
    """ "frames 3, 5-8, 12"; the first few ranges of many."""
    runs: list[list[int]] = []
    for t in frames:
        if runs and t == runs[-1][1] + 1:
            runs[-1][1] = t
        else:
            runs.append([t, t])
    words = [f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:6]] + (["..."] if len(runs) > 6 else [])
    return ("frames " if len(frames) > 1 else "frame ") + ", ".join(words)
