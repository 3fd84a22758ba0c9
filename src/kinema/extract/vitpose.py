"""2D joints: ViTPose and ViTPose+ (Xu et al. 2022, 2023) through transformers (ReVision, section 4.2-S2).

Input: frames and the subjects found in them. Output: the joints of `kinema.body.skeleton` that the checkpoint knows, each
with its score; those that it does not know have confidence 0. Crops, and peaks of heatmaps refined as DARK does (Zhang et
al. 2020), are those of transformers' PIL processor; no mirrored second look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from kinema.errors import InputError
from kinema.extract.detection import Detection
from kinema.extract.keypoints import Keypoints
from kinema.extract.observation import KEYPOINTS, SubjectCategory
from kinema.hub import model_folder

if TYPE_CHECKING:
    from transformers import VitPoseForPoseEstimation

PASS_CROPS = 16
"""So many crops are looked at together."""
CROP_MARGIN = 1.25
"""How much larger than its box a crop is, in ViTPose's training."""
DERIVED_TRUST = 0.5
"""A joint between two points, such as the neck between the shoulders, is where bodies have it on average only."""

COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
WHOLE_BODY = (
    *COCO,
    *(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel")),
    *(f"face{k}" for k in range(68)),
    *(f"{side}_hand{k}" for side in ("left", "right") for k in range(21)),
)
"""COCO-WholeBody (Jin et al. 2020): body, feet, face, hands; of a hand the wrist, then thumb to little finger."""
AP10K = (
    "left_eye", "right_eye", "nose", "neck", "tail_root", "left_shoulder", "left_elbow", "left_front_paw",
    "right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_hind_paw", "right_hip",
    "right_knee", "right_hind_paw",
)  # fmt: skip
"""AP-10K (Yu et al. 2021)."""


def _human_sources() -> dict[str, tuple[str, ...]]:
    sources: dict[str, tuple[str, ...]] = {
        "pelvis": ("left_hip", "right_hip"),
        "neck": ("left_shoulder", "right_shoulder"),
        "head": ("left_ear", "right_ear"),
    }
    for side in ("left", "right"):
        for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
            sources[f"{side}_{joint}"] = (f"{side}_{joint}",)
        sources[f"{side}_foot"] = (f"{side}_big_toe", f"{side}_small_toe")
        sources[f"{side}_eye_smplhf"] = (f"{side}_eye",)
        for first, finger in zip((1, 5, 9, 13, 17), ("thumb", "index", "middle", "ring", "pinky"), strict=True):
            for k in range(3):
                sources[f"{side}_{finger}{k + 1}"] = (f"{side}_hand{first + k}",)
    return sources


def _animal_sources() -> dict[str, tuple[str, ...]]:
    sources: dict[str, tuple[str, ...]] = {
        "pelvis": ("left_hip", "right_hip"),
        "neck": ("neck",),
        "head": ("left_eye", "right_eye"),
        "mouth": ("nose",),
        "tail1": ("tail_root",),
    }
    for side in ("left", "right"):
        sources |= {
            f"{side}_front_leg1": (f"{side}_shoulder",), f"{side}_front_leg2": (f"{side}_elbow",),
            f"{side}_front_foot": (f"{side}_front_paw",), f"{side}_hind_leg1": (f"{side}_hip",),
            f"{side}_hind_leg2": (f"{side}_knee",), f"{side}_hind_foot": (f"{side}_hind_paw",),
        }  # fmt: skip
    return sources


SOURCES: dict[str, dict[str, tuple[str, ...]]] = {"human": _human_sources(), "animal": _animal_sources()}
"""Joint of ours -> the points of a layout whose mean it is."""


@dataclass(frozen=True)
class Layout:
    """The points that a checkpoint's heatmaps are of. expert: which one of ViTPose+'s feed-forward experts knows them."""

    name: str
    category: SubjectCategory
    points: tuple[str, ...]
    expert: int


LAYOUTS = {
    "coco": Layout("coco", "human", COCO, 0),
    "whole-body": Layout("whole-body", "human", WHOLE_BODY, 5),
    "ap-10k": Layout("ap-10k", "animal", AP10K, 3),
}


class VitPose:
    """A `KeypointEstimator` of people or of animals; joints of other subjects have confidence 0."""

    def __init__(self, model: VitPoseForPoseEstimation, pictures: Any, layout: Layout):
        points = model.config.num_labels
        if points != len(layout.points):
            raise InputError("ViTPose checkpoint", f"has {points} points", f"{len(layout.points)}, as {layout.name}")
        self.model, self.pictures, self.layout = model.eval().requires_grad_(False), pictures, layout

    def keypoints(
        self,
        frames: UInt8[np.ndarray, "T H W 3"],
        detections: list[list[Detection]],
        masks: list[Bool[np.ndarray, "_ H W"]],
    ) -> list[list[Keypoints]]:
        """For every frame the joints of its detections, in their order; looked for in their boxes."""
        category = self.layout.category
        asked = [(t, k) for t, found in enumerate(detections) for k, d in enumerate(found) if d.category == category]
        out = [[unseen(d.category) for d in found] for found in detections]
        for begin in range(0, len(asked), PASS_CROPS):
            now = asked[begin : begin + PASS_CROPS]
            boxes = [detections[t][k].box_px for t, k in now]
            points, scores = self.points([frames[t] for t, _ in now], boxes)
            for (t, k), xy, score in zip(now, points, scores, strict=True):
                seen = to_skeleton(xy, score, self.layout, KEYPOINTS[category])
                hands, face = hands_and_face(xy, score, self.layout)
                out[t][k] = replace(seen, hands=hands, face=face)
        return out

    @torch.inference_mode()
    def points(
        self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes_px: Sequence[Float32[np.ndarray, " 4"]]
    ) -> tuple[Float32[np.ndarray, "N P 2"], Float32[np.ndarray, "N P"]]:
        """The layout's own points in each picture's box: x y, the centre of the first pixel at (0.5, 0.5), and 0-1.

        Points whose peak is nowhere in their crop have score 0.
        """
        # The processor has the centre of the first pixel at (0, 0).
        boxes = [[[float(x0) - 0.5, float(y0) - 0.5, float(x1 - x0), float(y1 - y0)]] for x0, y0, x1, y1 in boxes_px]
        crops = [
            self.pictures(p, boxes=[b], input_data_format="channels_last", return_tensors="pt")["pixel_values"]
            for p, b in zip(pictures, boxes, strict=True)
        ]
        pixels = torch.cat(crops).to(self.model.device, self.model.dtype)
        experts: int = getattr(self.model.config.backbone_config, "num_experts", 1)
        index = torch.full((len(pixels),), self.layout.expert, device=pixels.device) if experts > 1 else None
        outputs = self.model(pixels, dataset_index=index)
        outputs.heatmaps = outputs.heatmaps.float()
        found = [f[0] for f in self.pictures.post_process_pose_estimation(outputs, boxes=boxes)]
        xy = np.stack([f["keypoints"].numpy() for f in found]).astype(np.float32) + 0.5
        scores = np.stack([f["scores"].numpy() for f in found]).astype(np.float32).clip(0, 1)
        corners = np.stack(boxes_px)[:, None]
        middle, reach = (corners[..., :2] + corners[..., 2:]) / 2, (corners[..., 2:] - corners[..., :2]).max(-1)
        astray = ~(np.abs(xy - middle).max(-1) <= reach * CROP_MARGIN)  # and what is not a number
        return np.where(astray[..., None], middle, xy), np.where(astray, 0, scores)


def unseen(category: SubjectCategory) -> Keypoints:
    """Joints of which nothing is known."""
    count = len(KEYPOINTS[category])
    return Keypoints(np.zeros((count, 2), np.float32), np.zeros(count, np.float32))


def to_skeleton(
    points: Float32[np.ndarray, "P 2"], scores: Float32[np.ndarray, " P"], layout: Layout, joints: Sequence[str]
) -> Keypoints:
    """A layout's points -> joints of ours by name, such as `KEYPOINTS["human"]` or all of `HUMAN_JOINTS`."""
    xy, confidence = np.zeros((len(joints), 2), np.float32), np.zeros(len(joints), np.float32)
    for k, joint in enumerate(joints):
        sources = SOURCES[layout.category].get(joint, ())
        if sources and all(name in layout.points for name in sources):
            at = [layout.points.index(name) for name in sources]
            xy[k] = points[at].mean(0)
            confidence[k] = scores[at].min() * (1.0 if len(at) == 1 else DERIVED_TRUST)
    return Keypoints(xy, confidence)


def hands_and_face(
    points: Float32[np.ndarray, "P 2"], scores: Float32[np.ndarray, " P"], layout: Layout
) -> tuple[Float32[np.ndarray, "2 21 3"] | None, Float32[np.ndarray, "68 3"] | None]:
    """Left and right hand, and the face, as `observation.Track` has them; None of a layout without them."""
    if layout.points != WHOLE_BODY:
        return None, None
    seen = np.concatenate([points, scores[:, None]], 1)
    face, hands = WHOLE_BODY.index("face0"), WHOLE_BODY.index("left_hand0")
    return seen[hands:].reshape(2, 21, 3), seen[face:hands]


def layout_of(config: Any) -> Layout:
    """By the number of a checkpoint's points and, where it tells, their names. Raises InputError for another."""
    names = [str(name).lower() for name in (config.id2label or {}).values()]
    if config.num_labels == len(WHOLE_BODY):
        return LAYOUTS["whole-body"]
    if config.num_labels == len(COCO):
        return LAYOUTS["ap-10k" if any("paw" in name or "tail" in name for name in names) else "coco"]
    raise InputError(
        "ViTPose checkpoint", f"has {config.num_labels} points",
        "17 (COCO; AP-10K where its labels say so) or 133 (COCO-WholeBody)",
    )  # fmt: skip


def load_vitpose(
    folder: str | Path, layout: str | None = None, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> VitPose:
    """Read a checkpoint in transformers' layout, such as vitpose-plus-base's.

    layout  of `LAYOUTS`; None: what the checkpoint says
    Raises InputError.
    """
    from transformers import VitPoseForPoseEstimation, VitPoseImageProcessorPil

    folder = model_folder(folder, "vitpose")
    model = VitPoseForPoseEstimation.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    pictures = VitPoseImageProcessorPil.from_pretrained(folder, local_files_only=True)
    return VitPose(model.to(device, dtype), pictures, LAYOUTS[layout] if layout else layout_of(model.config))  # type: ignore[arg-type]
