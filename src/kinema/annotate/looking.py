"""Stages that look at a clip: sampled frames and the filter of sizes and counts, everything that is seen, MVideo's masks.

Record -> record, through a perception of `kinema.extract` (mini-perception by default). ReVision, appendix B; MVideo, 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from kinema.annotate.record import Record
from kinema.extract.detection import Detection, box_iou
from kinema.extract.instances import box_of_mask
from kinema.extract.nouns import nouns_of, without_article
from kinema.extract.observation import Observation, Track
from kinema.extract.observe import Perception, observe
from kinema.types import Video

SAMPLED_FRAMES = 10
"""ReVision, appendix B: "we equally sample 10 frames"."""
COCO_NOUNS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 categories of COCO (Lin et al. 2014), which MVideo's masks are of (section 4.1)."""
NOUNS_AT_ONCE = 40
"""So many are asked for in one look; GroundingDINO reads 256 tokens."""


def look_for(perception: Perception, nouns: Sequence[str]) -> None:
    """Have a perception that is asked in words look for these; mini-perception knows its three kinds and is not asked."""
    ask = getattr(getattr(perception, "detector", None), "ask", None)
    if ask is not None:
        ask(tuple(nouns))


def sampled(frames: int) -> np.ndarray:
    """Numbers of the 10 evenly spaced frames, the first and the last among them; all where there are fewer."""
    return np.unique(np.rint(np.linspace(0, frames - 1, SAMPLED_FRAMES)).astype(int))


def sample(record: Record, perception: Perception, least_share: float, most_people: int) -> Record:
    """Left out: a clip whose subjects are small on average over the sampled frames, or with too many people in one.

    least_share  of the picture, that people, animals and objects take together
    """
    assert record.video is not None
    look_for(perception, nouns_of(record.caption) or ("a person", "an animal"))
    frames = np.ascontiguousarray(record.video.frames[sampled(len(record.video.frames))])
    detections = perception.detect(frames)
    masks = perception.segment(frames, detections)
    share = float(np.mean([m.any(0).mean() if len(m) else 0.0 for m in masks]))
    people = max(sum(d.category == "human" for d in found) for found in detections)
    record = record.scored(subject_share=share, most_people=float(people))
    if share < least_share:
        return record.filtered("size", f"subjects take {share:.1%} of the picture, at least {least_share:.1%} is asked")
    if people > most_people:
        return record.filtered("count", f"{people} people in one frame, at most {most_people} is asked")
    return record


def see(record: Record, perception: Perception) -> Record:
    """Everything: subjects followed through the clip, masks, joints, parts, depth; of the caption's nouns where asked."""
    assert record.video is not None
    look_for(perception, nouns_of(record.caption) or ("a person", "an animal"))
    seen = observe(record.video, perception)
    if not seen.tracks:
        told = seen.told()
        return record.filtered("seen", "no person, animal or object was followed" + (f"; {told}" if told else ""))
    return replace(record, observation=seen)


def first_boxes(record: Record, perception: Perception) -> list[Detection]:
    """The things of COCO's 80 nouns in frame one, the surest first."""
    assert record.video is not None
    found: list[Detection] = []
    detector = getattr(perception, "detector", None)
    frame = np.ascontiguousarray(record.video.frames[:1])
    if detector is None:
        return perception.detect(frame)[0]
    for start in range(0, len(COCO_NOUNS), NOUNS_AT_ONCE):
        look_for(perception, COCO_NOUNS[start : start + NOUNS_AT_ONCE])
        found += detector.detect(frame)[0]
    return sorted(found, key=lambda d: -d.score)


def follow_first(record: Record, perception: Perception, most_subjects: int) -> Record:
    """MVideo's masks: a box for what is in frame one, followed through the clip; no joints, parts or depth."""
    assert record.video is not None
    boxes = first_boxes(record, perception)[:most_subjects]
    if not boxes:
        return record.filtered("seen", "nothing of COCO's 80 nouns in the first frame")
    frames = record.video.frames
    segmenter = getattr(perception, "segmenter", None)
    masks = _tracked(frames, boxes, segmenter) if segmenter else _paired(frames, boxes, perception)
    tracks = tuple(_track(b, m) for b, m in zip(boxes, masks, strict=True) if m.any())
    if not tracks:
        return record.filtered("seen", "the boxes of the first frame hold nothing that can be followed")
    nothing = np.zeros(frames.shape[:3], np.uint8)
    far = np.full(frames.shape[:3], np.inf, np.float32)
    return replace(record, observation=Observation(tracks, nothing, far, record.video.fps))


def _tracked(frames: np.ndarray, boxes: list[Detection], segmenter) -> np.ndarray:
    """[N,T,H,W] by a `VideoSegmenter`, from the boxes of frame one."""
    masks = np.zeros((len(boxes), *frames.shape[:3]), bool)
    track = segmenter.track()
    for t, frame in enumerate(frames):
        new = {n: b.box_px for n, b in enumerate(boxes)} if t == 0 else None
        for n, tracked in track.step(frame, new).items():
            masks[n, t] = tracked.mask
    return masks


def _paired(frames: np.ndarray, boxes: list[Detection], perception: Perception) -> np.ndarray:
    """[N,T,H,W] by a perception without memory: the tracks that begin in frame one, each box with the one it fits best."""
    seen = observe(Video(frames, 8.0), perception)  # the rate counts for nothing here
    masks = np.zeros((len(boxes), *frames.shape[:3]), bool)
    left = [t for t in seen.tracks if t.present[0]]
    for n, box in enumerate(boxes):
        best = max(left, key=lambda t: box_iou(box.box_px, t.boxes_px[0]), default=None)
        if best is not None and box_iou(box.box_px, best.boxes_px[0]) > 0:
            masks[n] = best.masks
            left = [t for t in left if t is not best]
    return masks


def _track(found: Detection, masks: Bool[np.ndarray, "T H W"]) -> Track:
    present = np.array([m.any() for m in masks], bool)
    boxes = np.stack([box_of_mask(m) for m in masks]).astype(np.float32)
    nowhere = np.zeros((len(masks), 0, 2), np.float32)
    return Track(found.category, without_article(found.label), present, boxes, masks, nowhere, nowhere[..., 0])
