"""Parts of a body from its mask and its joints: every pixel belongs to the bone that it is nearest to.

Input: one subject in one frame. Output: part ids, for perceptions whose models know no parts. What lies between joints that
were not seen is thought on the straight line between those that were.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from kinema.body.skeleton import JOINT_PARTS, PARENTS, PART_IDS
from kinema.extract.keypoints import Keypoints
from kinema.extract.observation import SubjectCategory

LEAST_CONFIDENCE = 0.15
"""A joint below this is where it is by chance."""
TRUNK = {"human": PART_IDS["chest"], "animal": PART_IDS["animal_belly"], "object": PART_IDS["object"]}
"""What all of a body is where no bone of it was seen."""


def parts_of_joints(
    mask: Bool[np.ndarray, "H W"], keypoints: Keypoints, category: SubjectCategory
) -> UInt8[np.ndarray, "H W"]:
    """Part ids within the mask, 0 outside."""
    bones = [] if category == "object" else seen_bones(keypoints, category)
    parts = np.full(mask.shape, TRUNK[category], np.uint8)
    drawn = np.zeros(mask.shape, np.uint8)
    for part, begin, end in bones:
        a, b = (tuple(int(v) for v in np.floor(point)) for point in (begin, end))
        cv2.line(drawn, a, b, int(part))
    if drawn.any():
        # The nearest drawn pixel of each pixel, and that one's part.
        _, nearest = cv2.distanceTransformWithLabels(
            (drawn == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        part_of = np.zeros(int(nearest.max()) + 1, np.uint8)
        part_of[nearest[drawn > 0]] = drawn[drawn > 0]
        parts = part_of[nearest]
    return np.where(mask, parts, 0).astype(np.uint8)


def seen_bones(keypoints: Keypoints, category: SubjectCategory) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(part id, from x y, to x y) of every bone whose ends were seen, or lie between joints that were."""
    count = len(keypoints.confidence)
    parents, parts = PARENTS[category][:count], JOINT_PARTS[category]
    known = {j: keypoints.xy_px[j] for j in range(count) if keypoints.confidence[j] > LEAST_CONFIDENCE}
    place = dict(known)
    for joint in known:
        between, above = [], int(parents[joint])
        while above >= 0 and above not in known:
            between.append(above)
            above = int(parents[above])
        for k, missing in enumerate(between, 1):
            if above >= 0:
                share = k / (len(between) + 1)
                place.setdefault(missing, known[joint] * (1 - share) + known[above] * share)
    return [
        (int(parts[parents[j]]), place[int(parents[j])], at)
        for j, at in place.items()
        if parents[j] >= 0 and int(parents[j]) in place
    ]
