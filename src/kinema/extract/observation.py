"""What perception saw in a video, before any body is fitted: subjects followed through time, parts, depth.

The value between the first half of Extract (ReVision, section 4.2-S2: detect, segment, joints, depth) and the second
(fitting). T frames, H x W pixels, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from kinema.body.skeleton import ANIMAL_JOINTS, BODY_JOINTS

SubjectCategory = Literal["human", "animal", "object"]
KEYPOINTS: dict[str, tuple[str, ...]] = {"human": BODY_JOINTS, "animal": ANIMAL_JOINTS, "object": ()}
"""The joints that are looked for in a subject; objects have none."""


@dataclass(frozen=True)
class Track:
    """One subject through the clip.

    label                what to call it: "a person", "an animal", "an object"
    present              frames in which it was seen; in the others box, mask and confidence are 0
    boxes_px             x0 y0 x1 y1, the right and lower edges outside
    masks                where it is seen
    keypoints_px         x y, the centre of the first pixel at (0.5, 0.5); K joints of `KEYPOINTS[category]`
    keypoint_confidence  0 not seen to 1 certain
    hands                x y confidence of a person's left and right hand: the wrist, then thumb to little finger, four
                         points each (OpenPose's order); None where they were not looked for
    face                 likewise, the 68 points of 300-W
    """

    category: SubjectCategory
    label: str
    present: Bool[np.ndarray, " T"]
    boxes_px: Float32[np.ndarray, "T 4"]
    masks: Bool[np.ndarray, "T H W"]
    keypoints_px: Float32[np.ndarray, "T K 2"]
    keypoint_confidence: Float32[np.ndarray, "T K"]
    hands: Float32[np.ndarray, "T 2 21 3"] | None = None
    face: Float32[np.ndarray, "T 68 3"] | None = None


@dataclass(frozen=True)
class Observation:
    """Everything that was seen; no tracks where no subject was found.

    part_ids  0 background, else `kinema.body.skeleton.PARTS`
    depth_m   distance along the camera's axis up to the estimator's scale; inf where unknown
    fps       Hz
    looked_for  each noun that was looked for, with the best score that anything had for it, 0-1, where that is known
    """

    tracks: tuple[Track, ...]
    part_ids: UInt8[np.ndarray, "T H W"]
    depth_m: Float32[np.ndarray, "T H W"]
    fps: float
    looked_for: Mapping[str, float] = field(default_factory=dict)

    def told(self) -> str:
        """ "looked for: a dog (best score 0.12), a ball (0.05)"; empty where it is not known."""
        ranked = sorted(self.looked_for.items(), key=lambda item: -item[1])
        words = [f"{noun} ({'best score ' if k == 0 else ''}{score:.2f})" for k, (noun, score) in enumerate(ranked)]
        return "looked for: " + ", ".join(words) if words else ""
