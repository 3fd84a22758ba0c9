"""Masks in the making: moves are gathered into one transform a frame and object, and pixels sampled once at the end.

So a recipe of many moves costs no quality, and a move with its inverse gives back every pixel. Source of the sampling:
pixels that go to pixels are copied; else the mask is sampled between its pixels, where it gets smaller at several points
a pixel, and a pixel is mask where more than half of it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from kinema.masks.time import choose
from kinema.types import MaskSequence

_EXACT = 1e-6
"""A transform this near to whole pixels is taken to be of whole pixels."""
MOST_SAMPLES = 8
"""Along each side of a pixel; a mask that shrinks further loses what is thinner."""
Place = str | tuple[float, float]


@dataclass(frozen=True)
class Draft:
    """Masks, where each frame of each object is to go (pixels to pixels of the result), and the result's size."""

    source: MaskSequence
    transforms: Float[np.ndarray, "T N 3 3"]
    hw: tuple[int, int]

    def __len__(self) -> int:
        return len(self.transforms)

    def moved(self, matrices: Float[np.ndarray, "_ 3 3"], chosen: Bool[np.ndarray, " _n"]) -> Draft:
        """The same with one more move a frame for the chosen objects."""
        transforms = self.transforms.copy()
        transforms[:, chosen] = matrices[:, None] @ transforms[:, chosen]
        return replace(self, transforms=transforms)

    def at(self, frames: Int[np.ndarray, " _m"]) -> Draft:
        """The given frames, in their order."""
        return replace(self, source=choose(self.source, frames), transforms=self.transforms[frames])

    def centres(self, chosen: Bool[np.ndarray, " _n"]) -> Float[np.ndarray, "T 2"]:
        """Centre of area of the chosen objects together, in pixels of the result; not a number where none is seen."""
        source = self.source.masks[:, chosen]
        by_row, by_column = source.sum(3), source.sum(2)
        area = by_row.sum(2).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            x = (by_column @ (np.arange(by_column.shape[2]) + 0.5)) / area
            y = (by_row @ (np.arange(by_row.shape[2]) + 0.5)) / area
            transforms = self.transforms[:, chosen]
            centre = np.einsum("tnij,tnj->tni", transforms[:, :, :2], np.stack([x, y, np.ones_like(x)], -1))
            area *= np.abs(np.linalg.det(transforms[:, :, :2, :2]))
            return np.nansum(centre * area[..., None], 1) / area.sum(1)[:, None]

    def place(self, about: Place, chosen: Bool[np.ndarray, " _n"]) -> Float[np.ndarray, "T 2"]:
        """A place that a move is about, in pixels of the result a frame."""
        size = np.array(self.hw[::-1], float)
        if about == "subject":
            centres = self.centres(chosen)
            return np.where(np.isfinite(centres), centres, size / 2)
        share = np.array([0.5, 0.5]) if about == "picture" else np.array(about, float)
        return np.repeat((share * size)[None], len(self), 0)

    def done(self) -> MaskSequence:
        """The masks, every pixel sampled."""
        if self.hw == self.source.masks.shape[2:] and (np.abs(self.transforms - np.eye(3)) < _EXACT).all():
            return self.source
        count = self.source.masks.shape[1]
        masks = np.zeros((len(self), count, *self.hw), bool)
        for t in range(len(self)):
            for n in range(count):
                if self.source.masks[t, n].any():
                    masks[t, n] = sample(self.source.masks[t, n], self.transforms[t, n], self.hw)
        return replace(self.source, masks=masks)


def begin(masks: MaskSequence) -> Draft:
    """Nothing done yet."""
    frames, count, height, width = masks.masks.shape
    return Draft(masks, np.tile(np.eye(3), (frames, count, 1, 1)), (height, width))


def sample(
    mask: Bool[np.ndarray, "H W"], transform: Float[np.ndarray, "3 3"], hw: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """One mask where a transform puts it. A shift, a mirror image or a quarter turn is one of whole pixels."""
    turn = np.rint(transform[:2, :2])
    if (np.abs(transform[:2, :2] - turn) < _EXACT).all() and abs(round(np.linalg.det(turn))) == 1:
        return _copied(mask, turn, np.floor(transform[:2, 2] + 0.5 + _EXACT), hw)
    return _sampled(mask, transform, hw)


def _copied(mask: np.ndarray, turn: np.ndarray, shift: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    if turn[0, 0] == 0:  # x and y change places
        mask, turn = mask.T, turn[:, ::-1]
    columns = np.floor(turn[0, 0] * (np.arange(hw[1]) + 0.5 - shift[0])).astype(int)
    rows = np.floor(turn[1, 1] * (np.arange(hw[0]) + 0.5 - shift[1])).astype(int)
    right, down = (columns >= 0) & (columns < mask.shape[1]), (rows >= 0) & (rows < mask.shape[0])
    moved = np.zeros(hw, bool)
    moved[np.ix_(down, right)] = mask[np.ix_(rows[down], columns[right])]
    return moved


def bounds(mask: Bool[np.ndarray, "H W"], margin_px: int = 0) -> tuple[slice, slice]:
    """Rows and columns that hold all of a mask that is not empty, and so many more, as far as the picture goes."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (
        slice(max(0, int(rows[0]) - margin_px), int(rows[-1]) + 1 + margin_px),
        slice(max(0, int(columns[0]) - margin_px), int(columns[-1]) + 1 + margin_px),
    )


def _sampled(mask: np.ndarray, transform: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    found = np.zeros(hw, bool)
    if not mask.any() or np.linalg.svd(transform[:2, :2], compute_uv=False)[-1] < 1e-6:
        return found
    rows, columns = bounds(mask)
    x = np.array([columns.start, columns.stop, columns.start, columns.stop])
    y = np.array([rows.start, rows.start, rows.stop, rows.stop])
    corners = transform[:2] @ np.stack([x, y, np.ones(4)])
    low = np.clip(np.floor(corners.min(1)), 0, hw[::-1]).astype(int)
    high = np.clip(np.ceil(corners.max(1)), 0, hw[::-1]).astype(int)
    if (high <= low).any():
        return found
    near = transform.copy()
    near[:2, 2] += near[:2, :2] @ np.array([columns.start, rows.start]) - low
    size = (int(high[1] - low[1]), int(high[0] - low[0]))
    found[low[1] : high[1], low[0] : high[0]] = _warped(mask[rows, columns], near, size)
    return found


def _warped(mask: np.ndarray, transform: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """OpenCV's sampling, at several points a pixel where the mask gets smaller."""
    import cv2

    smallest = np.linalg.svd(transform[:2, :2], compute_uv=False)[-1]
    times = min(MOST_SAMPLES, max(1, math.ceil(1 / smallest - 1e-9)))
    level = mask.astype(np.float32)
    inside = cv2.warpAffine(level, _by_index(transform, times), (hw[1] * times, hw[0] * times), flags=cv2.INTER_LINEAR)
    share = inside.reshape(hw[0], times, hw[1], times).mean((1, 3))
    on_the_line = np.abs(share - 0.5) < 1e-3
    if on_the_line.any():  # an outline exactly through the middle of pixels: one side of an object gets them
        near = cv2.warpAffine(level, _by_index(transform, 1), hw[::-1], flags=cv2.INTER_NEAREST)
        return np.where(on_the_line, near > 0, share > 0.5)
    return share > 0.5


def _by_index(transform: np.ndarray, times: int) -> np.ndarray:
    """A transform of pixels whose first centre is at (0.5, 0.5) -> of indices, as OpenCV has it, to a finer grid."""
    grown = times * transform[:2]
    shift = grown[:, :2] @ np.array([0.5, 0.5]) + grown[:, 2] - 0.5
    return np.column_stack([grown[:, :2], shift])
