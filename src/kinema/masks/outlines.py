"""Operations that change the outlines of masks: dilate, smooth, clean, fill gaps in time, invert.

Input: a `Draft` (its moves are sampled first), which objects. Output: a `Draft`. Lengths are shares of the picture's
longer side; the picture's edge is no outline: what reaches over it is taken to go on there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float

from kinema.masks.draft import Draft, begin, bounds, sample
from kinema.masks.moves import steady
from kinema.types import MaskSequence

Chosen = Bool[np.ndarray, " N"]
Curve = Float[np.ndarray, " T"]


def dilate(draft: Draft, chosen: Chosen, by: Curve) -> Draft:
    """Outlines go out by a length, or in where it is negative; rounded as a disc is."""
    return _each(draft, chosen, lambda mask, t: grown(mask, float(by[t]) * max(draft.hw)))


def smooth(draft: Draft, chosen: Chosen, radius: Curve, seconds: float) -> Draft:
    """Outlines without what is finer than a radius; the common centre's way without what is quicker than a time."""
    calm = steady(draft, chosen, seconds)
    if not radius.any():
        return calm
    return _each(calm, chosen, lambda mask, t: blurred(mask, float(radius[t]) * max(draft.hw)))


def clean(draft: Draft, chosen: Chosen, specks: float, holes: float) -> Draft:
    """Loose pieces and holes smaller than a share of their object go."""
    return _each(draft, chosen, lambda mask, t: without_holes(without_specks(mask, specks), holes))


def invert(draft: Draft, chosen: Chosen) -> Draft:
    """What is background becomes object, and the other way around."""
    return _each(draft, chosen, lambda mask, t: ~mask)


def drop(draft: Draft, chosen: Chosen) -> Draft:
    """Without the chosen objects."""
    kept = np.flatnonzero(~chosen)
    source = replace(
        draft.source, masks=draft.source.masks[:, kept], labels=tuple(draft.source.labels[n] for n in kept)
    )
    return replace(draft, source=source, transforms=draft.transforms[:, kept])


def fill(draft: Draft, chosen: Chosen, at: tuple[float, ...]) -> Draft:
    """Frames in which an object is missing, and those at the given times, from the frames around them.

    Before its first sight and after its last an object stays away.
    """
    masks = draft.done()
    found = masks.masks.copy()
    given = {round(t * (len(masks) - 1)) for t in at}
    for n in np.flatnonzero(chosen):
        known = [t for t in np.flatnonzero(masks.masks[:, n].any((1, 2))) if t not in given]
        for before, after in pairwise(known):
            for t in range(before + 1, after):
                share = (t - before) / (after - before)
                found[t, n] = blend(masks.masks[before, n], masks.masks[after, n], share)
    return begin(replace(masks, masks=found))


def in_between(draft: Draft, times: Float[np.ndarray, " M"]) -> Draft:
    """Masks at times between frames: 2.25 is three quarters frame 2 and one quarter frame 3."""
    masks = draft.done()
    before = np.clip(np.floor(times).astype(int), 0, len(masks) - 1)
    after = np.minimum(before + 1, len(masks) - 1)
    count, height, width = masks.masks.shape[1:]
    made = np.zeros((len(times), count, height, width), bool)
    for k, share in enumerate(times - before):
        for n in range(count):
            made[k, n] = blend(masks.masks[before[k], n], masks.masks[after[k], n], float(share))
    return begin(replace(masks, masks=made))


def blend(first: Bool[np.ndarray, "H W"], second: Bool[np.ndarray, "H W"], share: float) -> Bool[np.ndarray, "H W"]:
    """The outline that has gone a share of the way from one mask to another: the centre moves, then distances mix."""
    if share < 1e-6 or share > 1 - 1e-6 or not first.any() or not second.any():
        return first if share < 0.5 else second
    way = _centre(second) - _centre(first)
    there, back = np.rint(share * way), np.rint(share * way) - np.rint(way)
    start, end, found = _shifted(first, there), _shifted(second, back), np.zeros_like(first)
    if not (start | end).any():  # both have gone out of the picture
        return found
    near = bounds(start | end, margin_px=1)
    found[near] = (1 - share) * _signed_px(start[near]) + share * _signed_px(end[near]) > 0
    return found


def grown(mask: Bool[np.ndarray, "H W"], by_px: float) -> Bool[np.ndarray, "H W"]:
    """All pixels whose centre is no farther than a distance from the outline, which is half a pixel around the mask's
    pixels; negative: without those that near it."""
    if by_px == 0 or not mask.any():
        return mask
    start = mask if by_px > 0 else ~mask
    if start.all():
        return mask
    near = cv2.distanceTransform((~start).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= abs(by_px) + 0.5
    return near if by_px > 0 else ~near & mask


def blurred(mask: Bool[np.ndarray, "H W"], radius_px: float) -> Bool[np.ndarray, "H W"]:
    """More than half inside of a soft disc (a Gaussian) around every pixel."""
    if radius_px <= 0 or not mask.any():
        return mask
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), radius_px, borderType=cv2.BORDER_REPLICATE)
    return soft > 0.5


def without_specks(mask: Bool[np.ndarray, "H W"], share: float) -> Bool[np.ndarray, "H W"]:
    """Without loose pieces smaller than a share of the mask; its largest piece stays."""
    return mask & ~_small_pieces(mask, share * mask.sum())


def without_holes(mask: Bool[np.ndarray, "H W"], share: float) -> Bool[np.ndarray, "H W"]:
    """Without holes smaller than a share of the mask."""
    return mask | _small_pieces(~mask, share * mask.sum())


def _small_pieces(mask: np.ndarray, least_px: float) -> np.ndarray:
    """Pixels of the pieces that are smaller than an area and not the largest."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return np.zeros_like(mask)
    sizes = np.bincount(pieces.ravel(), minlength=count)
    small = (sizes < least_px) & (sizes < sizes[1:].max())
    small[0] = False
    return small[pieces]


def _each(draft: Draft, chosen: np.ndarray, change: Callable[[np.ndarray, int], np.ndarray]) -> Draft:
    masks: MaskSequence = draft.done()
    changed = masks.masks.copy()
    for t in range(len(masks)):
        for n in np.flatnonzero(chosen):
            changed[t, n] = change(masks.masks[t, n], t)
    return begin(replace(masks, masks=changed))


def _centre(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])


def _shifted(mask: np.ndarray, by_px: np.ndarray) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2, 2] = by_px
    return sample(mask, matrix, (mask.shape[0], mask.shape[1]))


def _signed_px(mask: np.ndarray) -> np.ndarray:
    """Distance to the outline, above 0 inside."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return inside - cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
