"""An invisible mark in a video's frames that says which preset of kinema made it: spread spectrum.

Input and output: frames uint8 [H,W,3], one after another. One of `NAMES` is one of as many pseudo-random patterns of
signs over the middle frequencies of the luma, stretched to the frame (Cox et al. 1997, "Secure spread spectrum
watermarking"). It is as strong as the picture around hides it: in proportion to the local contrast, by which the search
divides again, so that smooth and busy places count alike. The same pattern is in every frame; the search takes their mean.
The patterns are public: the mark is no secret and proves nothing; anyone can add it, and whoever wants to takes it away. It
says where a video came from once its manifest is lost.

How sure a find is needs no statistics of videos: over the choice of pseudo-random signs, the chance that one pattern
correlates by z standard deviations is at most exp(-z^2 / 2), whatever the frames are (Hoeffding 1963).
docs/provenance.md has what was measured.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice, product

import cv2
import numpy as np
from jaxtyping import Bool, Float

from kinema.video import Frame

NAMES = (
    "another preset", "mini-svd", "mini-cogvideox", "svd", "wan", "vace-1.3b", "vace-14b", "cogvideox-fun",
    "cogvideox-2b", "cogvideox-5b",
)  # fmt: skip
"""What the patterns say, in their order. Only ever added to: a name's place is its pattern."""
PATTERNS = 32
"""How many there can be; all are looked for, so that a new name does not change how sure a find is."""
LABEL = b"kinema watermark 1"
"""The patterns are the bits of its SHAKE-256. Another number with any change to what is below."""
GRID = 128
"""Cells a side that a frame is brought to, so that another size of it, or another shape, gives the same."""
BAND = (8, 44)
"""Frequencies used, in half waves over the frame: below, they are seen; above, compression takes them from small videos."""
WINDOW, SPECTRUM = 7, 9
"""Cells, and frequencies, over which the local contrast, and the spectrum, are taken."""
FLOOR = 8.0
"""Contrast, in levels, that counts as none: below it the mark is as strong as it is there."""
GAIN, MASKING = 0.15, 0.7
"""The mark's standard deviation is GAIN * FLOOR * (contrast / FLOOR)^MASKING: 1.2 levels where it is smooth. The power is
that of contrast masking: Legge & Foley 1980."""
CLIP = 3.0
"""Standard deviations that one frequency counts for at most: edges and text have a few that are huge."""
SURE = 1e-6
"""A find may come by chance in so many unmarked videos."""
MOST_CUT, STEP = 14, 2
"""Cells: how much may have been cut from the height and the width, and how finely the search goes. Two cells move the
finest pattern by a third of its period."""
MOST_FRAMES = 64
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""ITU-R BT.709."""

Grid = Float[np.ndarray, "128 128"]


@dataclass(frozen=True)
class Watermark:
    """The most likely pattern of a video.

    preset  that it stands for      z  its correlation, standard deviations
    chance  at most so likely that an unmarked video has as much
    """

    preset: str
    z: float
    chance: float

    @property
    def found(self) -> bool:
        return self.chance <= SURE


def marked(frames: Iterable[Frame], preset: str) -> Iterator[Frame]:
    """The same frames with the mark of a preset; one without a pattern of its own is "another preset"."""
    band = np.zeros((GRID, GRID), np.float32)
    band[_in_band()] = _patterns()[NAMES.index(preset) if preset in NAMES else 0]
    pattern = cv2.idct(band)
    pattern *= GAIN * FLOOR / pattern.std()
    for frame in frames:
        masked = pattern * (_contrast(_band_pass(_grid(frame))) / FLOOR) ** MASKING
        mark = cv2.resize(masked, frame.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        yield np.clip(np.rint(frame + mark[..., None]), 0, 255).astype(np.uint8)


def find_watermark(frames: Iterable[Frame]) -> Watermark:
    """The mark that is most likely in a video, of which the first `MOST_FRAMES` are looked at.

    Where the frames as they are show none, it is looked for in mirrored frames, and in frames from which up to a ninth of
    the height and the width was cut; `chance` counts all that was tried.
    """
    grid = np.mean([_grid(frame) for frame in islice(frames, MOST_FRAMES)], axis=0)
    flat = _flattened(grid)
    whole = _likeliest([flat])
    return whole if whole.found else min(whole, _likeliest(_uncut(flat)), key=lambda mark: mark.chance)


def _likeliest(places: Iterable[Grid]) -> Watermark:
    """Of all patterns and all ways in which the frames may lie."""
    bands = np.stack([cv2.dct(place)[_in_band()] for place in places])
    lengths = np.linalg.norm(bands, axis=1, keepdims=True)
    scores = bands @ _patterns().T / np.maximum(lengths, 1e-6)
    best = int(scores.argmax())
    z, number = max(float(scores.flat[best]), 0.0), best % PATTERNS
    chance = min(1.0, scores.size * math.exp(-(z**2) / 2))
    return Watermark(NAMES[number] if number < len(NAMES) else NAMES[0], z, chance)


def _uncut(flat: Grid) -> Iterator[Grid]:
    """Where the cells would lie if the frames were mirrored, or cut: all heights, widths and places."""
    yield np.ascontiguousarray(flat[:, ::-1])
    sides = range(GRID - MOST_CUT, GRID + 1, STEP)
    for height, width in product(sides, sides):
        piece = cv2.resize(flat, (width, height), interpolation=cv2.INTER_AREA)
        for y, x in product(range(0, GRID - height + 1, STEP), range(0, GRID - width + 1, STEP)):
            placed = np.zeros((GRID, GRID), np.float32)
            placed[y : y + height, x : x + width] = piece
            yield placed


def _grid(frame: Frame) -> Grid:
    luma = frame.astype(np.float32) @ LUMA
    shrinks = min(luma.shape) >= GRID
    return cv2.resize(luma, (GRID, GRID), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _band_pass(grid: Grid) -> Grid:
    return cv2.idct(cv2.dct(grid) * _in_band())


def _contrast(band: Grid) -> Grid:
    """Standard deviation around every cell, levels."""
    return np.sqrt(cv2.blur(band * band, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT) + np.float32(FLOOR**2))


def _flattened(grid: Grid) -> Grid:
    """The band of a frame with the same weight for every place, and for every frequency."""
    band, inside = _band_pass(grid), _in_band()
    spectrum = cv2.dct(band / _contrast(band)) * inside
    size = (SPECTRUM, SPECTRUM)
    power = cv2.blur(spectrum**2, size, borderType=cv2.BORDER_REFLECT)
    share = cv2.blur(inside.astype(np.float32), size, borderType=cv2.BORDER_REFLECT)
    flat = np.clip(spectrum / np.sqrt(power / np.maximum(share, 1e-3) + 1e-6), -CLIP, CLIP)
    return cv2.idct(flat * inside)


@cache
def _in_band() -> Bool[np.ndarray, "128 128"]:
    frequency = np.hypot(*np.mgrid[:GRID, :GRID])
    return (frequency >= BAND[0]) & (frequency < BAND[1])


@cache
def _patterns() -> Float[np.ndarray, "32 N"]:
    """Signs, one row a pattern."""
    count = int(_in_band().sum())
    size = -(-count // 8)
    drawn = np.frombuffer(hashlib.shake_256(LABEL).digest(PATTERNS * size), np.uint8).reshape(PATTERNS, size)
    return np.unpackbits(drawn, axis=1)[:, :count].astype(np.float32) * 2 - 1
