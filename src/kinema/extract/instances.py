"""The maps of mini-perception in one frame -> subjects: every pixel goes to the centre that it points to.

Panoptic-DeepLab (Cheng et al. 2020, section 3.2), with centres by category; H x W pixels, all maps at that size except
the heatmaps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from kinema.extract.keypoints import Keypoints
from kinema.extract.label_edges import mended
from kinema.extract.observation import KEYPOINTS, SubjectCategory
from kinema.extract.perception_net import CATEGORIES, COARSE, JOINT_SLICES, OFFSET_PX

CENTRE_SCORE = {"human": 0.3, "animal": 0.3, "object": 0.2}
"""A peak of the centres' heatmap below this is no subject: legs of one category are easily taken for another's."""
FAINT_SCORE = 0.1
"""Where no peak is above that, the highest one of a lone subject's category still has at least this; a blank wall
has up to 0.07."""
CENTRE_APART = 0.06
"""Two centres of one category closer than this, as a share of the longer side, are one subject."""
LEAST_AREA = 0.002
"""A subject covers at least this share of the picture: 33 of 128 x 128 pixels."""
SPECK = 0.04
"""A loose piece below this share of its subject is noise."""
MOST_SUBJECTS = 6
"""Of one category in one frame."""
MASK_REACH_PX = 3
"""Joints are looked for this far outside of the mask."""


@dataclass(frozen=True)
class Instance:
    category: SubjectCategory
    score: float
    mask: Bool[np.ndarray, "H W"]


def find_instances(
    part_ids: UInt8[np.ndarray, "H W"],
    centres: Float32[np.ndarray, "3 h w"],
    offsets: Float32[np.ndarray, "2 H W"],
) -> list[Instance]:
    """Centres 0-1, offsets in units of `OFFSET_PX` -> the subjects, the largest first.

    Where no centre is clear in the whole frame, all pixels of the category of most pixels are one subject, if it has a
    faint one.
    """
    found = []
    least = LEAST_AREA * part_ids.size
    pixels = {category: _of_category(part_ids, category) for category in CATEGORIES}
    for index, category in enumerate(CATEGORIES):
        if pixels[category].sum() >= least:
            peaks, scores = _peaks(centres[index], CENTRE_SCORE[category])
            for mask, score in _assign(pixels[category], offsets, peaks, scores):
                found.append(Instance(category, score, mask))
    if not found:
        category = max(CATEGORIES, key=lambda c: int(pixels[c].sum()))
        mask = _without_specks(pixels[category])
        if mask.sum() >= least and centres[CATEGORIES.index(category)].max() >= FAINT_SCORE:
            found.append(Instance(category, CENTRE_SCORE[category], mask))
    return sorted(found, key=lambda i: -int(i.mask.sum()))


def _of_category(part_ids: np.ndarray, category: str) -> np.ndarray:
    first = {"human": 1, "animal": 32, "object": 64}[category]
    return (part_ids >= first) & (part_ids < first + 31)


def _peaks(heat: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """[h,w] -> x y in pixels of the picture [N,2] and heights [N], the highest first, none too close to a higher one."""
    top = cv2.dilate(heat, np.ones((5, 5), np.uint8))
    rows, columns = np.nonzero((heat >= top) & (heat > least))
    order = np.argsort(-heat[rows, columns])
    xy = (np.stack([columns, rows], 1)[order] + 0.5) * COARSE
    kept: list[int] = []
    for i, point in enumerate(xy):
        if all(np.linalg.norm(point - xy[k]) > CENTRE_APART * COARSE * max(heat.shape) for k in kept):
            kept.append(i)
    return xy[kept[:MOST_SUBJECTS]], heat[rows, columns][order][kept[:MOST_SUBJECTS]]


def _assign(ours: np.ndarray, offsets: np.ndarray, peaks: np.ndarray, scores: np.ndarray):
    """-> (mask, score) of every peak that enough of our pixels point to."""
    rows, columns = np.nonzero(ours)
    least = LEAST_AREA * ours.size
    if len(peaks) > 1:
        aim = np.stack([columns, rows], 1) + 0.5 + offsets[:, rows, columns].T * OFFSET_PX
        apart = np.linalg.norm(aim[:, None] - peaks, axis=-1)
        share = np.bincount(apart.argmin(1), minlength=len(peaks))
        strong = share >= least
        peaks, scores = peaks[strong], scores[strong]
        nearest = apart[:, strong].argmin(1) if strong.any() else np.zeros(len(rows), int)
    else:
        nearest = np.zeros(len(rows), int)
    for index in range(len(peaks)):
        mask = np.zeros(ours.shape, bool)
        mine = nearest == index
        mask[rows[mine], columns[mine]] = True
        mask = _without_specks(mask)
        if mask.sum() >= least:
            yield mask, float(scores[index])


def _without_specks(mask: np.ndarray) -> np.ndarray:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    area = np.bincount(np.ravel(labels), minlength=count)
    keep = [k for k in range(1, count) if area[k] >= SPECK * area[1:].sum()]
    return np.isin(labels, keep)


def with_mended_edges(
    picture: UInt8[np.ndarray, "H W 3"], part_ids: UInt8[np.ndarray, "H W"], instances: list[Instance]
) -> tuple[UInt8[np.ndarray, "H W"], list[Instance]]:
    """Parts and subjects with edges where the picture has them (`label_edges`)."""
    whose = np.zeros(part_ids.shape, np.int32)
    for number, instance in enumerate(instances, 1):
        whose[instance.mask] = number
    names, labels = np.unique(np.where(part_ids > 0, whose * 256 + part_ids, 0), return_inverse=True)
    labels = mended(picture, labels.reshape(part_ids.shape).astype(np.int32), (names // 256).astype(np.int32))
    whose, part_ids = names[labels] // 256, (names[labels] % 256).astype(np.uint8)
    found = [replace(instance, mask=whose == number) for number, instance in enumerate(instances, 1)]
    return part_ids, [instance for instance in found if instance.mask.any()]


def box_of_mask(mask: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, " 4"]:
    """x0 y0 x1 y1, the right and lower edges outside; zeros for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros(4, np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def mask_of_box(box_px: Float32[np.ndarray, " 4"], image_hw: tuple[int, ...]) -> Bool[np.ndarray, "H W"]:
    """The pixels of a box x0 y0 x1 y1, right and lower edges outside; one at least, if it is in the picture."""
    mask = np.zeros(image_hw, bool)
    x0, y0, x1, y1 = np.rint(box_px).astype(int)
    mask[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)] = True
    return mask


def find_keypoints(heatmaps: Float32[np.ndarray, "J h w"], category: str, mask: Bool[np.ndarray, "H W"]) -> Keypoints:
    """The highest cell of each joint's heatmap in and just around the mask, refined by a Gaussian's shape."""
    if not KEYPOINTS[category]:
        return Keypoints(np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
    size = 2 * MASK_REACH_PX + 1
    near = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    h, w = heatmaps.shape[1:]
    near: np.ndarray = np.asarray(near, bool).reshape(h, COARSE, w, COARSE).max((1, 3))
    heat = heatmaps[JOINT_SLICES[category]]
    best = np.where(near, heat, 0).reshape(len(heat), -1).argmax(1)
    rows, columns = np.divmod(best, w)
    height = heat[np.arange(len(heat)), rows, columns] * near[rows, columns]
    xy = np.stack([columns + _peak_shift(heat, rows, columns, 2), rows + _peak_shift(heat, rows, columns, 1)], 1)
    return Keypoints(((xy + 0.5) * COARSE).astype(np.float32), height.astype(np.float32))


def _peak_shift(heat: Float[np.ndarray, "K h w"], rows: np.ndarray, columns: np.ndarray, axis: int) -> np.ndarray:
    """How far the top of a Gaussian through a cell and its two neighbours is from the cell's middle, -0.5 to 0.5."""
    log = np.log(np.maximum(np.pad(heat, ((0, 0), (1, 1), (1, 1)), mode="edge"), 1e-6))
    one = np.eye(3, dtype=int)[axis]
    each, at = np.arange(len(heat)), np.stack([rows + 1, columns + 1])
    here, before, after = (log[each, at[0] + k * one[1], at[1] + k * one[2]] for k in (0, -1, 1))
    bend = 2 * here - before - after
    return np.where(bend > 1e-6, np.clip((after - before) / (2 * np.maximum(bend, 1e-6)), -0.5, 0.5), 0)
