"""Video -> Observation: look at every frame, then follow the subjects through time (ReVision, section 4.2-S2).

Detections of neighbouring frames are matched at once (Kuhn-Munkres) by overlap, distance and colour; a subject that was
out of sight is found again by the same measure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from kinema.extract.depth import DepthEstimator
from kinema.extract.detection import Detection, Detector
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import KeypointEstimator, Keypoints
from kinema.extract.observation import KEYPOINTS, Observation, Track
from kinema.extract.segmentation import PartSegmenter, Segmenter
from kinema.types import Video

FARTHEST = 0.3
"""How far a subject's middle goes from one sight to the next, as a share of the picture's longer side."""
PACE_SIGHTS = 3
"""Over this many of its last sights it is seen how fast a subject goes, and so where it will be."""
DISTANCE_WEIGHT, COLOUR_WEIGHT = 2.0, 1.0
"""Beside the overlap of masks (0-1): distances in longer sides, colours in 0-1."""
SEEN_SHARE = 0.2
"""A subject that is not in the first frame is seen in at least this share of the frames; less is a false alarm."""


@runtime_checkable
class Perception(Detector, Segmenter, PartSegmenter, DepthEstimator, KeypointEstimator, Protocol):
    """Everything that looking at a video takes."""


@dataclass(frozen=True)
class Sight:
    """One subject in one frame."""

    frame: int
    detection: Detection
    mask: np.ndarray
    keypoints: Keypoints
    middle: np.ndarray = field(compare=False)
    colour: np.ndarray = field(compare=False)


def observe(video: Video, perception: Perception | None = None) -> Observation:
    """Find and follow the subjects of a video; `perception` defaults to the shipped mini-perception.

    An observation without tracks where no subject is found.
    """
    if perception is None:
        from kinema.extract.mini_perception import shipped_perception

        perception = shipped_perception()
    frames = video.frames
    detections = perception.detect(frames)
    masks = perception.segment(frames, detections)
    keypoints = perception.keypoints(frames, detections, masks)
    sights = [
        [
            _sight(t, *seen, frames[t])
            for seen in zip(detections[t], masks[t], keypoints[t], strict=True)
            if seen[1].any()
        ]
        for t in range(len(frames))
    ]
    tracks = tuple(_track(chain, *frames.shape[:3]) for chain in follow(sights, max(frames.shape[1:3])))
    looked_for = dict(getattr(perception, "looked_for", {}))  # not every detector is asked in words
    return Observation(tracks, perception.parts(frames), perception.depth(frames), video.fps, looked_for)


def _sight(frame: int, detection: Detection, mask: np.ndarray, keypoints: Keypoints, picture: np.ndarray) -> Sight:
    rows, columns = np.nonzero(mask)
    middle = np.array([columns.mean(), rows.mean()]) + 0.5
    return Sight(frame, detection, mask, keypoints, middle, picture[mask].mean(0) / 255)


def follow(sights: list[list[Sight]], side_px: int) -> list[list[Sight]]:
    """Sights by frame -> chains of sights of the same subject, those in the first frame first."""
    chains: list[list[Sight]] = []
    for now in sights:
        cost = np.array([[_cost(chain, s, side_px) for s in now] for chain in chains]).reshape(len(chains), len(now))
        rows, columns = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e6))
        taken = {int(c): int(r) for r, c in zip(rows, columns, strict=True) if np.isfinite(cost[r, c])}
        for index, sight in enumerate(now):
            if index in taken:
                chains[taken[index]].append(sight)
            else:
                chains.append([sight])
    return [c for c in chains if c[0].frame == 0 or len(c) >= SEEN_SHARE * len(sights)]


def _cost(chain: list[Sight], now: Sight, side_px: int) -> float:
    """How unlike a sight is to what a subject would be by now if it went on as it does; inf where it can't be the same.
    Detectors that follow subjects know it."""
    last = chain[-1]
    numbers = (last.detection.number, now.detection.number)
    if None not in numbers:
        return 0.0 if numbers[0] == numbers[1] else float("inf")
    steps = now.frame - last.frame
    distance = float(np.linalg.norm(now.middle - last.middle)) / side_px
    if last.detection.category != now.detection.category or distance > FARTHEST * steps**0.5:
        return float("inf")
    before = chain[max(0, len(chain) - 1 - PACE_SIGHTS)]
    way = (last.middle - before.middle) / max(1, last.frame - before.frame) * steps
    shift = np.array([[1, 0, round(way[0])], [0, 1, round(way[1])]], np.float32)
    there = cv2.warpAffine(last.mask.astype(np.uint8), shift, now.mask.shape[::-1], flags=cv2.INTER_NEAREST) > 0
    overlap = (there & now.mask).sum() / (there | now.mask).sum()
    distance = float(np.linalg.norm(now.middle - last.middle - way)) / side_px
    colour = float(np.abs(now.colour - last.colour).mean())
    return 1 - float(overlap) + DISTANCE_WEIGHT * distance + COLOUR_WEIGHT * colour


def _track(chain: list[Sight], frames: int, height: int, width: int) -> Track:
    category = chain[0].detection.category
    joints = len(KEYPOINTS[category])
    present = np.zeros(frames, bool)
    boxes = np.zeros((frames, 4), np.float32)
    masks = np.zeros((frames, height, width), bool)
    points = np.zeros((frames, joints, 2), np.float32)
    confidence = np.zeros((frames, joints), np.float32)
    for sight in chain:
        t = sight.frame
        present[t], boxes[t], masks[t] = True, box_of_mask(sight.mask), sight.mask
        points[t], confidence[t] = sight.keypoints.xy_px, sight.keypoints.confidence
    hands, face = (_whole_body(chain, frames, name) for name in ("hands", "face"))
    return Track(category, chain[0].detection.label, present, boxes, masks, points, confidence, hands, face)


def _whole_body(chain: list[Sight], frames: int, name: str) -> np.ndarray | None:
    """[T,...] the "hands" or the "face" of a chain, confidence 0 where there is none; None where there never is."""
    found = {s.frame: value for s in chain if (value := getattr(s.keypoints, name)) is not None}
    if not found:
        return None
    stacked = np.zeros((frames, *next(iter(found.values())).shape), np.float32)
    for t, value in found.items():
        stacked[t] = value
    return stacked
