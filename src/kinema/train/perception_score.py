"""How well mini-perception sees: videos with their truth -> numbers, without following from frame to frame.

part_miou         mean over the parts that occur of intersection over union of all pixels; higher is better
left_right        share of limb pixels, of those called the right limb, that are also called the right side
instance_iou      mean over true subjects of 40 pixels or more of the best overlap with a found one of their category
found             share of those subjects with an overlap of at least 0.5
false_alarms      found subjects a frame that overlap no true one of their category by 0.1
pck_human/animal  share of visible joints within 5 % of the longer side of their subject's true box; a subject not
                  found counts as wrong
depth_error       median of |found / true - 1| over subjects' pixels
"""

from __future__ import annotations

import numpy as np

from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import Keypoints
from kinema.extract.observe import Perception
from kinema.extract.perception_net import CATEGORIES, CLASS_OF_PART, CLASS_TWIN, JOINT_SLICES, PART_OF_CLASS
from kinema.train.perception_data import Frame

LEAST_PIXELS = 40
PCK_SHARE = 0.05


def score_perception(perception: Perception, videos: list[list[Frame]]) -> dict[str, float]:
    """The numbers above."""
    count = len(PART_OF_CLASS)
    confusion = np.zeros((count, count), int)
    overlaps: list[float] = []
    hits: dict[str, list[np.ndarray]] = {"human": [], "animal": []}
    depths, alarms = [], 0
    for frames in videos:
        pictures = np.stack([f.picture for f in frames])
        found = perception.detect(pictures)
        masks = perception.segment(pictures, found)
        keypoints = perception.keypoints(pictures, found, masks)
        classes, depth = CLASS_OF_PART[perception.parts(pictures)], perception.depth(pictures)
        for t, frame in enumerate(frames):
            pairs = frame.classes.astype(int).ravel() * count + classes[t].ravel()
            confusion += np.bincount(pairs, minlength=count * count).reshape(count, count)
            known = (frame.subject_ids > 0) & np.isfinite(depth[t])
            depths.append(np.abs(depth[t][known] / frame.depth_m[known] - 1))
            table = _overlaps(frame, found[t], masks[t])
            alarms += int((table.max(0, initial=0) < 0.1).sum())
            for index, row in enumerate(table):
                if (frame.subject_ids == index + 1).sum() < LEAST_PIXELS:
                    continue
                overlaps.append(float(row.max(initial=0)))
                category = CATEGORIES[frame.categories[index]]
                if category != "object":
                    points = keypoints[t][int(row.argmax())] if overlaps[-1] >= 0.1 else None
                    hits[category].append(_joints_hit(frame, index, category, points))
    joined = {c: np.concatenate(v) if v else np.zeros(0, bool) for c, v in hits.items()}
    return {
        "part_miou": _mean_iou(confusion),
        "left_right": _sides_right(confusion),
        "instance_iou": _mean(overlaps),
        "found": _mean(np.array(overlaps) >= 0.5),
        "false_alarms": alarms / sum(map(len, videos)),
        **{f"pck_{c}": _mean(v) for c, v in joined.items()},
        "depth_error": float(np.median(np.concatenate(depths))) if sum(map(len, depths)) else float("nan"),
    }


def _joints_hit(frame: Frame, subject: int, category: str, found: Keypoints | None) -> np.ndarray:
    """[visible joints] whether each was found close enough."""
    truth, seen = (
        frame.joints_px[subject, JOINT_SLICES[category]],
        frame.joints_visible[subject, JOINT_SLICES[category]],
    )
    size = np.ptp(box_of_mask(frame.subject_ids == subject + 1).reshape(2, 2), axis=0).max()
    if found is None:
        return np.zeros(int(seen.sum()), bool)
    return np.linalg.norm(found.xy_px - truth, axis=-1)[seen] <= PCK_SHARE * size


def _overlaps(frame: Frame, found: list[Detection], masks: np.ndarray) -> np.ndarray:
    """[true subjects, found ones] intersection over union; 0 between categories."""
    table = np.zeros((len(frame.categories), len(found)))
    for i, category in enumerate(frame.categories):
        mine = frame.subject_ids == i + 1
        for j, detection in enumerate(found):
            if detection.category == CATEGORIES[category]:
                table[i, j] = (mine & masks[j]).sum() / max(1, (mine | masks[j]).sum())
    return table


def _mean_iou(confusion: np.ndarray) -> float:
    occurs = confusion.sum(1)[1:] > 0
    common = np.diag(confusion)[1:]
    union = (confusion.sum(0) + confusion.sum(1))[1:] - common
    return _mean(common[occurs] / union[occurs])


def _sides_right(confusion: np.ndarray) -> float:
    sided = np.flatnonzero(np.arange(len(CLASS_TWIN)) != CLASS_TWIN)
    right, wrong = confusion[sided, sided].sum(), confusion[sided, CLASS_TWIN[sided]].sum()
    return float(right / (right + wrong)) if right + wrong else float("nan")


def _mean(values) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
