"""Perception by the public models: GroundingDINO, SAM 2, Depth Anything and ViTPose behind the protocols of `observe`.

Input: frames, and nouns. What they name is looked for in the first frame and again every few frames; SAM 2 follows it from
there under one number, through occlusion too; joints are looked for in the box of each mask. Parts are from both.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from kinema.errors import InputError
from kinema.extract.depth import DepthEstimator
from kinema.extract.detection import Detection, Detector, box_iou
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import KeypointEstimator, Keypoints
from kinema.extract.observation import SubjectCategory
from kinema.extract.parts_of_joints import parts_of_joints
from kinema.extract.segmentation import Tracked, VideoSegmenter
from kinema.extract.vitpose import unseen

log = logging.getLogger(__name__)
LOOK_EVERY = 12
"""Frames between two looks for new subjects: half a second, mostly."""
MOST_SUBJECTS = 8
"""So many are followed at once; each costs as much as the first."""
SAME_KIND_IOU, SAME_IOU, WITHIN = 0.5, 0.8, 0.8
"""A box is of a subject that is followed already where it overlaps that one's by so much, being of its kind; or by so much
whatever it is; or where this share of that one's mask lies in it, under the same noun."""
FOLDERS = ("grounding-dino", "sam2", "depth-anything", "vitpose")
ANIMAL_JOINTS_FOLDER = "vitpose-animals"
"""Optional: the hub has no AP-10K head in transformers' layout. Without it joints of animals are unknown."""


@dataclass(frozen=True)
class Started:
    """A subject as it was found first."""

    category: SubjectCategory
    label: str
    score: float


class PublicPerception:
    """A `Perception`. What was seen in the frames given last is remembered, so that five questions cost one."""

    def __init__(
        self,
        detector: Detector,
        segmenter: VideoSegmenter,
        estimator: DepthEstimator,
        people: KeypointEstimator | None = None,
        animals: KeypointEstimator | None = None,
        look_every: int = LOOK_EVERY,
    ):
        self.detector, self.segmenter, self.estimator = detector, segmenter, estimator
        self.joints: dict[str, KeypointEstimator | None] = {"human": people, "animal": animals, "object": None}
        self.look_every = look_every
        self.looked_for: dict[str, float] = {}
        self._frames: np.ndarray | None = None
        self._detections: list[list[Detection]] = []
        self._masks: list[np.ndarray] = []
        self._keypoints: list[list[Keypoints]] | None = None

    def detect(self, frames: UInt8[np.ndarray, "T H W 3"]) -> list[list[Detection]]:
        """The subjects of every frame, each under its number; a hidden one is missing until it comes back."""
        if self._frames is not frames:
            self._follow(frames)
        return self._detections

    def segment(
        self, frames: UInt8[np.ndarray, "T H W 3"], detections: list[list[Detection]]
    ) -> list[Bool[np.ndarray, "_ H W"]]:
        """The masks of detections: of our own as they were followed, of others by their boxes."""
        return self._masks if detections is self.detect(frames) else self.segmenter.segment(frames, detections)

    def keypoints(
        self,
        frames: UInt8[np.ndarray, "T H W 3"],
        detections: list[list[Detection]],
        masks: list[Bool[np.ndarray, "_ H W"]],
    ) -> list[list[Keypoints]]:
        """Joints of people and of animals, where there is a model for them."""
        found = [[unseen(d.category) for d in now] for now in detections]
        for category, model in self.joints.items():
            if model is None or not any(d.category == category for now in detections for d in now):
                continue
            for t, seen in enumerate(model.keypoints(frames, detections, masks)):
                for k, detection in enumerate(detections[t]):
                    if detection.category == category:
                        found[t][k] = seen[k]
        if detections is self._detections:
            self._keypoints = found
        return found

    def depth(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T H W"]:
        """What the depth model says, subjects and background."""
        return self.estimator.depth(frames)

    def parts(self, frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
        """Each mask divided among the bones of its joints."""
        detections = self.detect(frames)
        keypoints = self._keypoints or self.keypoints(frames, detections, self._masks)
        parts = np.zeros(frames.shape[:3], np.uint8)
        for t, (found, masks, points) in enumerate(zip(detections, self._masks, keypoints, strict=True)):
            for detection, mask, seen in zip(found, masks, points, strict=True):
                np.copyto(parts[t], parts_of_joints(mask, seen, detection.category), where=mask)
        return parts

    def _follow(self, frames: np.ndarray) -> None:
        self._frames, self._keypoints, self.looked_for = frames, None, {}
        self._detections, self._masks = [], []
        track, started = self.segmenter.track(), {}
        for t, frame in enumerate(frames):
            seen = track.step(frame)
            if t % self.look_every == 0:
                new = self._new(frame, seen, started)
                if new:
                    seen = track.also(frame, new)
            visible = [number for number, tracked in seen.items() if tracked.mask.any()]
            self._detections.append([_detection(n, started[n], seen[n]) for n in visible])
            self._masks.append(np.array([seen[n].mask for n in visible], bool).reshape(-1, *frame.shape[:2]))

    def _new(self, frame: np.ndarray, seen: dict[int, Tracked], started: dict[int, Started]) -> dict[int, np.ndarray]:
        """Number -> box of what is detected and not followed; it is written down in `started`."""
        new: dict[int, np.ndarray] = {}
        found = self.detector.detect(frame[None])[0]
        for noun, score in getattr(self.detector, "looked_for", {}).items():
            self.looked_for[noun] = max(score, self.looked_for.get(noun, 0.0))
        for detection in found:
            if any(_same(detection, started[n], tracked.mask) for n, tracked in seen.items()):
                continue
            if len(started) == MOST_SUBJECTS:
                log.warning("more than %d subjects: the rest is not followed", MOST_SUBJECTS)
                break
            new[len(started)] = detection.box_px
            started[len(started)] = Started(detection.category, detection.label, detection.score)
        return new


def _detection(number: int, started: Started, tracked: Tracked) -> Detection:
    box = box_of_mask(tracked.mask)
    return Detection(started.category, started.label, box, started.score * tracked.score, number)


def _same(found: Detection, followed: Started, mask: np.ndarray) -> bool:
    """Whether a detection is of a subject that is followed, whose mask is where it is now."""
    if not mask.any():
        return False
    overlap = box_iou(found.box_px, box_of_mask(mask))
    x0, y0, x1, y1 = (int(v) for v in np.rint(found.box_px))
    within = float(mask[y0:y1, x0:x1].sum() / mask.sum())
    return (
        overlap >= SAME_IOU
        or (overlap >= SAME_KIND_IOU and found.category == followed.category)
        or (within >= WITHIN and found.label == followed.label)
    )


def load_public_perception(
    folder: str | Path | None = None, nouns: Sequence[str] = (), device: str | None = None
) -> PublicPerception:
    """Read the four checkpoints from the subfolders `FOLDERS`, each in transformers' layout.

    folder  None: where `kinema fetch` puts them
    nouns   what to look for; none: people and animals
    device  None: a GPU where there is one
    Raises InputError where one is missing: all of those, and the command that fetches them.
    """
    import torch

    from kinema.extract.depth_anything import load_depth_anything
    from kinema.extract.grounding_dino import ANYTHING, load_grounding_dino
    from kinema.extract.sam2 import load_sam2
    from kinema.extract.vitpose import load_vitpose
    from kinema.hub import weights_folder

    folder = weights_folder() if folder is None else Path(folder)
    missing = [name for name in FOLDERS if not (folder / name / "config.json").is_file()]
    if missing:
        raise InputError(
            folder, "lacks " + ", ".join(missing), "the folders " + ", ".join(FOLDERS),
            f"kinema fetch public --folder {folder}",
        )  # fmt: skip
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    animals = folder / ANIMAL_JOINTS_FOLDER
    return PublicPerception(
        load_grounding_dino(folder / "grounding-dino", nouns or ANYTHING, device),
        load_sam2(folder / "sam2", device),
        load_depth_anything(folder / "depth-anything", device),
        load_vitpose(folder / "vitpose", None, device),
        load_vitpose(animals, "ap-10k", device) if (animals / "config.json").is_file() else None,
    )
