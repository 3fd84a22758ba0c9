"""How well a video follows its masks: S_m, the mean overlap of the masks asked for with those seen (MVideo, equation 3).

Input: a video, the masks that drove it, and a segmenter that is told where things are by boxes. Output: one number a
clip. The paper starts SAM 2 from the true mask's box in every frame; starting from the first frame's alone, and following
from there, asks more. Both are here. The segmenter's own mistakes are in the number: state the true video's beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from kinema.errors import InputError
from kinema.extract.detection import Detector
from kinema.extract.instances import box_of_mask, mask_of_box
from kinema.extract.segmentation import Segmenter
from kinema.types import MaskSequence

LEAST_AREA = 0.005
"""A thing counts from the first frame on in which its mask covers this share of the picture, 82 of 128 x 128 pixels."""
INSIDE = 0.7
"""Share of a subject's pixels in a box, above which it may be a piece of what the box is of."""
Boxes = Literal["first", "every"]


@runtime_checkable
class Tracker(Protocol):
    """What S_m is measured with; SAM 2 can be one."""

    def track(
        self, frames: UInt8[np.ndarray, "T H W 3"], boxes_px: Float32[np.ndarray, "N 4"]
    ) -> Bool[np.ndarray, "T N H W"]:
        """Masks of N things in all frames; boxes x0 y0 x1 y1 in the first one, right and lower edges outside."""
        ...


@runtime_checkable
class Seeing(Detector, Segmenter, Protocol):
    """What detects and segments."""


class PerceptionTracker:
    """mini-perception (or another that detects and segments) as a `Tracker`, whatever it takes a thing for.

    In the first frame the mask that fits the box best, in each other one the mask that fits the one before best; it is that
    of one subject found, or of all of them that lie in the box, since one that looks strange is often seen in pieces.
    """

    def __init__(self, perception: Seeing | None = None):
        if perception is None:
            from kinema.extract.mini_perception import steady_perception

            perception = steady_perception()
        self.perception: Seeing = perception

    def track(
        self, frames: UInt8[np.ndarray, "T H W 3"], boxes_px: Float32[np.ndarray, "N 4"]
    ) -> Bool[np.ndarray, "T N H W"]:
        found = self.perception.segment(frames, self.perception.detect(frames))
        masks = np.zeros((len(frames), len(boxes_px), *frames.shape[1:3]), bool)
        for n, box in enumerate(boxes_px):
            expected = mask_of_box(box, frames.shape[1:3])
            for t, subjects in enumerate(found):
                candidates = _candidates(subjects, box)
                if t == 0:
                    fits = [box_iou(box, box_of_mask(mask)) for mask in candidates]
                else:
                    fits = [mask_iou(expected, mask) for mask in candidates]
                if max(fits) > 0:
                    expected = masks[t, n] = candidates[int(np.argmax(fits))]
                    box = box_of_mask(expected)
        return masks


def _candidates(subjects: Bool[np.ndarray, "S H W"], box: Float32[np.ndarray, " 4"]) -> Bool[np.ndarray, "S1 H W"]:
    """Each subject, and all together that lie mostly in the box."""
    within = mask_of_box(box, subjects.shape[1:])
    inside = [(mask & within).sum() > INSIDE * mask.sum() for mask in subjects]
    together = np.any(subjects[np.array(inside, bool)], axis=0)
    return np.concatenate([subjects, together[None]])


def box_iou(a: Float32[np.ndarray, " 4"], b: Float32[np.ndarray, " 4"]) -> float:
    """Intersection over union of two boxes, 0-1."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / max(1e-6, float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common)


def mask_alignment(
    video: UInt8[np.ndarray, "T H W 3"], masks: MaskSequence, tracker: Tracker, boxes: Boxes = "first"
) -> float:
    """S_m of one clip, 0-1, higher is better: the mean of `mask_overlaps`, nan where nothing counts. At least 30 clips."""
    overlaps = mask_overlaps(video, masks, tracker, boxes)
    return float(np.nanmean(overlaps)) if np.isfinite(overlaps).any() else float("nan")


def mask_overlaps(
    video: UInt8[np.ndarray, "T H W 3"], masks: MaskSequence, tracker: Tracker, boxes: Boxes = "first"
) -> Float[np.ndarray, "T N"]:
    """Intersection over union of every thing in every frame, nan where it does not count.

    masks    of the video's length; of another size they are scaled to its
    tracker  the segmenter
    boxes    "first": a thing is followed from its box in the first frame that counts (see `LEAST_AREA`); "every": found
             anew from its box in each such frame, as in the paper. Frames without it count in "first" only: 1 where the
             tracker sees none either, else 0 (as DAVIS has it, Perazzi et al. 2016).
    Raises InputError where the masks are not as long as the video.
    """
    if len(masks) != len(video):
        raise InputError("masks", f"are {len(masks)} frames", f"{len(video)}, as the video has", "cut or resample them")
    truth = scaled_masks(masks.masks, video.shape[1:3])
    enough = truth.mean((2, 3)) >= LEAST_AREA
    overlaps = np.full(enough.shape, np.nan)
    begins = np.where(enough.any(0), enough.argmax(0), -1)
    for begin in range(len(video)):
        things = np.flatnonzero(begins == begin if boxes == "first" else enough[begin])
        if not len(things):
            continue
        asked = np.stack([box_of_mask(truth[begin, n]) for n in things])
        found = tracker.track(video[begin:] if boxes == "first" else video[begin : begin + 1], asked)
        for t, row in enumerate(found, begin):
            overlaps[t, things] = [mask_iou(truth[t, n], mask) for n, mask in zip(things, row, strict=True)]
    return overlaps


def masks_of_ids(subject_ids: UInt8[np.ndarray, "T H W"], labels: Sequence[str], fps: float = 8.0) -> MaskSequence:
    """Ids 1, 2, ... of things, 0 the background -> their masks."""
    numbers = np.arange(1, len(labels) + 1, dtype=np.uint8)[:, None, None]
    return MaskSequence(subject_ids[:, None] == numbers, tuple(labels), fps)


def scaled_masks(masks: Bool[np.ndarray, "T N H W"], image_hw: tuple[int, ...]) -> Bool[np.ndarray, "T N h w"]:
    """A pixel counts where half of it is covered."""
    if masks.shape[2:] == tuple(image_hw):
        return masks
    size = (image_hw[1], image_hw[0])
    flat = masks.reshape(-1, *masks.shape[2:])
    small = np.stack([cv2.resize(m.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5 for m in flat])
    return small.reshape(*masks.shape[:2], *image_hw)


def mask_iou(a: Bool[np.ndarray, "H W"], b: Bool[np.ndarray, "H W"]) -> float:
    """Intersection over union; 1 where both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0
