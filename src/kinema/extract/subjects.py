"""Which subjects a scene is made of: those that nouns name, or those whose masks are given.

Input: what perception saw and nouns, or a video with masks. Output: an `Observation` of these subjects alone. Given masks
need no weights at all: they are general objects (ReVision, section 4.2-S2: box, contour, depth), at one assumed depth.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from kinema.body.skeleton import PART_IDS
from kinema.errors import InputError
from kinema.extract.instances import box_of_mask
from kinema.extract.nouns import known_category, nouns_of, without_article
from kinema.extract.observation import Observation, Track
from kinema.extract.observe import Perception
from kinema.extract.segmentation import VideoSegmenter
from kinema.types import MaskSequence, Video

log = logging.getLogger(__name__)
GIVEN_DEPTH_M = 4.0
"""How far away a given mask is taken to be: a mask alone does not tell."""
SHAPE_TOLERANCE = 0.02
"""Masks at another size than the video are brought to it where width over height is the same up to this share."""
PERCEPTIONS = ("mini", "public")


def perception_named(
    name: str, folder: str | Path | None = None, nouns: Sequence[str] = (), prompt: str = ""
) -> Perception:
    """ "mini": the shipped network; "public": the four public models in `folder`, which look for the nouns, or for those
    of the prompt. Raises InputError for another name, and where weights are missing."""
    _check_named(name)
    if name == "public":
        from kinema.extract.public_perception import load_public_perception

        return load_public_perception(folder, tuple(nouns) or nouns_of(prompt))
    from kinema.extract.mini_perception import shipped_perception

    return shipped_perception()


def segmenter_named(name: str, folder: str | Path | None = None) -> VideoSegmenter | None:
    """What follows boxes. "mini": None, for the shipped one; "public": SAM 2, alone of the models in `folder`. Raises
    InputError as `perception_named`."""
    _check_named(name)
    if name == "mini":
        return None
    import torch

    from kinema.extract.sam2 import load_sam2
    from kinema.hub import weights_folder

    models = weights_folder() if folder is None else Path(folder)
    return load_sam2(models / "sam2", "cuda" if torch.cuda.is_available() else "cpu")


def _check_named(name: str) -> None:
    if name not in PERCEPTIONS:
        raise InputError("perception", f"is {name!r}", "one of " + ", ".join(PERCEPTIONS))


def of_nouns(seen: Observation, nouns: Sequence[str]) -> Observation:
    """What nouns name among what was seen, one subject a noun, in their order.

    By label where a detector was asked in words, else by kind; of several the one seen in most frames. Raises InputError
    for a noun that fits nothing, with what was seen.
    """
    left, chosen = list(seen.tracks), []
    for noun in nouns:
        name = without_article(noun).lower()
        fits = [t for t in left if without_article(t.label).lower() == name]
        if not fits:
            kind = known_category(noun) or "object"
            fits = [t for t in left if t.category == kind]
        if not fits:
            others = ", ".join(t.label for t in seen.tracks) or "nothing"
            told = seen.told()
            raise InputError(
                f"object {noun!r}", "was not found in the video" + (f" ({told})" if told else ""),
                f"one of what was seen: {others}", "draw its masks and give them (--masks)",
            )  # fmt: skip
        best = max(fits, key=lambda t: int(t.present.sum()))
        left = [t for t in left if t is not best]
        chosen.append(replace(best, label=name))
    return replace(seen, tracks=tuple(chosen))


def of_masks(video: Video, masks: MaskSequence, labels: Sequence[str] = ()) -> Observation:
    """Given masks as what was seen: one object each, at `GIVEN_DEPTH_M`.

    labels  their names instead of those that came with them
    Masks for fewer frames than the video has: the object is out of sight in the rest. Raises InputError for masks of
    another shape, and where the labels are not as many.
    """
    if labels and len(labels) != len(masks.labels):
        raise InputError("objects", f"are {len(labels)}", f"{len(masks.labels)}, as there are masks")
    frames, height, width = video.frames.shape[:3]
    given_hw = masks.masks.shape[2:]
    if abs(given_hw[1] / given_hw[0] * height / width - 1) > SHAPE_TOLERANCE:
        raise InputError("masks", f"are {given_hw[1]}x{given_hw[0]}", f"of the video's shape, {width}x{height}")
    if len(masks) != frames:
        log.warning("%d frames of masks for %d of the video: what is over is left out", len(masks), frames)
    tracks = []
    for k, label in enumerate(labels or masks.labels):
        seen = np.zeros((frames, height, width), bool)
        for t in range(min(frames, len(masks))):
            seen[t] = _at_size(masks.masks[t, k], (height, width))
        present = np.array([m.any() for m in seen], bool)
        boxes = np.stack([box_of_mask(m) for m in seen])
        nowhere = np.zeros((frames, 0, 2), np.float32)
        tracks.append(Track("object", without_article(label), present, boxes, seen, nowhere, nowhere[..., 0]))
    anything = np.any([t.masks for t in tracks], 0)
    parts = np.where(anything, PART_IDS["object"], 0).astype(np.uint8)
    depth = np.where(anything, np.float32(GIVEN_DEPTH_M), np.float32(np.inf))
    return Observation(tuple(tracks), parts, depth, video.fps)


def _at_size(mask: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    if mask.shape == hw:
        return mask
    return cv2.resize(mask.astype(np.uint8), hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
