"""Masks of a thing in a video, from a noun or a box (MVideo, section 3.2): a box in the first frame, then a mask a frame.

Input: a video and "a tiger", or where it is at first. Output: a `MaskSequence`. Detector and segmenter stand behind the
protocols of `kinema.extract`: the shipped mini-perception knows people, animals and objects; one that is asked in words
(GroundingDINO, SAM 2) labels what it finds with the noun, which is then taken by its label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from kinema.errors import InputError
from kinema.extract.detection import Detection, Detector
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import Keypoints
from kinema.extract.nouns import NOUNS, known_category, without_article, words_of
from kinema.extract.observation import SubjectCategory
from kinema.extract.observe import Sight, follow
from kinema.extract.segmentation import Segmenter, VideoSegmenter
from kinema.masks.parameters import nearest
from kinema.types import MaskSequence, Video


@runtime_checkable
class Seeing(Detector, Segmenter, Protocol):
    """What extraction takes: a detector and a segmenter."""


def extract_masks(video: Video, noun: str | Sequence[str], perception: Seeing | None = None) -> MaskSequence:
    """Find what a noun names in the first frame and follow it: one mask a noun, in their order.

    noun        "a tiger", "the man"; several give several masks, each of another thing
    perception  None: the shipped mini-perception
    Frames in which it is not seen have an empty mask. Raises InputError for a noun that is not known, and where no such
    thing is found; it says what was.
    """
    nouns = [noun] if isinstance(noun, str) else list(noun)
    if not nouns:
        raise InputError("object", "is not said", 'a noun, as in "a tiger"')
    if perception is None:
        for one in nouns:
            category_of(one)  # refuses what is not known before any work is done
        from kinema.extract.mini_perception import steady_perception

        perception = steady_perception()
    detections = perception.detect(video.frames)
    chains = _follow(video, detections, perception.segment(video.frames, detections))
    masks = np.zeros((len(video.frames), len(nouns), *video.frames.shape[1:3]), bool)
    scores = getattr(perception, "looked_for", {})  # of a detector that was asked in words
    for n, one in enumerate(nouns):
        chain = _pick(one, chains, nouns, scores)
        chains = [c for c in chains if c is not chain]
        for sight in chain:
            masks[sight.frame, n] = sight.mask
    return MaskSequence(masks, tuple(without_article(one) for one in nouns), video.fps)


def masks_in_boxes(
    video: Video, boxes: Sequence[tuple[str, Sequence[float] | np.ndarray]], segmenter: VideoSegmenter | None = None
) -> MaskSequence:
    """Follow what is in boxes of the first frame, whatever it is: one mask a box, in their order.

    boxes      what each holds, in words, and x0 y0 x1 y1 in pixels of the video, right and lower edges outside
    segmenter  None: the shipped `BoxSegmenter`
    Raises InputError for a box that is not within the picture, and where there is none.
    """
    if not boxes:
        raise InputError("boxes", "are none", "where something is in the first frame")
    height, width = video.frames.shape[1:3]
    for label, (x0, y0, x1, y1) in boxes:
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            said = f"{x0:g},{y0:g} {x1:g},{y1:g}"
            within = f"two corners within 0,0 {width},{height}, the upper left one first"
            raise InputError(f"the box of {label!r}", f"is {said}", within)
    corners = np.array([box for _, box in boxes], np.float32)
    if segmenter is None:
        from kinema.extract.box_segmenter import shipped_segmenter

        masks = shipped_segmenter("colour").track(video.frames, corners)
    else:
        track = segmenter.track()
        rows = [track.step(frame, dict(enumerate(corners)) if t == 0 else None) for t, frame in enumerate(video.frames)]
        masks = np.stack([[row[n].mask for n in range(len(boxes))] for row in rows])
    return MaskSequence(masks, tuple(without_article(label) for label, _ in boxes), video.fps)


def parse_box(words: Sequence[str]) -> tuple[str, tuple[float, float, float, float]]:
    """ "a lantern", "40,60", "90,130" -> its label and corners. Raises InputError."""
    label, *corners = words
    try:
        (x0, y0), (x1, y1) = ([float(number) for number in corner.split(",")] for corner in corners)
    except ValueError as error:
        raise InputError(
            "--box", f"is {' '.join(words)!r}", "a name and two corners in pixels, as in: lantern 40,60 90,130"
        ) from error
    return label, (x0, y0, x1, y1)


def category_of(noun: str) -> SubjectCategory:
    """ "a robot dog on the moon" -> "animal": the last known word of the noun. Raises InputError with what is known."""
    category = known_category(noun)
    if category is not None:
        return category
    known = [name for names in NOUNS.values() for name in names]
    raise InputError(
        f"object {noun!r}", "is not a noun that the mini-perception knows",
        "people (a man, a dancer ...), animals (a dog, a tiger ...) or objects (a ball, a car ...)",
        nearest((words_of(noun) or [""])[-1], known),
    )  # fmt: skip


def _follow(video: Video, detections: list[list[Detection]], masks: list[np.ndarray]) -> list[list[Sight]]:
    nothing = Keypoints(np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
    sights = []
    for t, (found, seen) in enumerate(zip(detections, masks, strict=True)):
        row = []
        for detection, mask in zip(found, seen, strict=True):
            if mask.any():
                x0, y0, x1, y1 = box_of_mask(mask)
                middle = np.array([x0 + x1, y0 + y1]) / 2
                row.append(Sight(t, detection, mask, nothing, middle, video.frames[t][mask].mean(0) / 255))
        sights.append(row)
    return follow(sights, max(video.frames.shape[1:3]))


def _pick(noun: str, chains: list[list[Sight]], nouns: Sequence[str], scores: Mapping[str, float]) -> list[Sight]:
    """Of the things that the noun names and that are there first, the one that is surest over all frames.

    Where none bears its name, those of its kind that bear no other noun's.
    """
    names = [without_article(one).lower() for one in nouns]
    name = without_article(noun).lower()
    named = [c for c in chains if _name(c) == name]
    if not named:
        kind = known_category(noun)
        named = [c for c in chains if c[0].detection.category == kind and _name(c) not in names]
    if not named:
        others = sorted({c[0].detection.label for c in chains})
        found = ", ".join(others) if others else "nothing that it knows"
        best = f" (best score {scores[noun]:.2f})" if noun in scores else ""
        raise InputError(
            f"object {noun!r}", f"was not found in the video{best}", "a thing that is seen in its first frames",
            f"what was found: {found}; or draw outlines at a few frames (docs/masks.md)",
        )  # fmt: skip
    return min(named, key=lambda c: (c[0].frame, -sum(sight.detection.score for sight in c)))


def _name(chain: list[Sight]) -> str:
    return without_article(chain[0].detection.label).lower()
