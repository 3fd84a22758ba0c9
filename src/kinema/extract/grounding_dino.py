"""Detection from words: GroundingDINO (Liu et al. 2023) through transformers (MVideo, section 3.2).

Input: frames, and nouns such as "a dog", "a red ball". Output: for every frame the boxes of what they name, each with the
noun that fits best. `GroundingDinoForObjectDetection`, with transformers' PIL processor: no torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from kinema.errors import InputError
from kinema.extract.detection import Detection, box_iou
from kinema.extract.nouns import known_category, without_article
from kinema.hub import model_folder

if TYPE_CHECKING:
    from transformers import GroundingDinoForObjectDetection

LEAST_SCORE = 0.35
"""A box whose best word scores below this is none; the threshold of GroundingDINO's own demonstration."""
SAME_IOU = 0.8
"""Of boxes that overlap by more than this only the surest is kept: one thing that two nouns name."""
PASS_FRAMES = 4
"""So many frames are looked at together."""
ANYTHING = ("a person", "an animal")
"""What is looked for where nobody says it."""


class GroundingDino:
    """A `Detector` that is asked in words.

    nouns       what to look for; a frame's detections bear them as labels
    looked_for  after `detect`: each noun with the best score that any box in any frame had for it, 0-1
    """

    def __init__(
        self,
        model: GroundingDinoForObjectDetection,
        tokenizer: Any,
        pictures: Any,
        nouns: Sequence[str] = ANYTHING,
        least_score: float | None = None,
    ):
        self.model, self.tokenizer, self.pictures = model.eval().requires_grad_(False), tokenizer, pictures
        self.least_score = LEAST_SCORE if least_score is None else least_score
        self.ask(nouns)

    def ask(self, nouns: Sequence[str]) -> None:
        """Look for these from now on. Raises InputError where there is none, or too many for the model."""
        if not nouns:
            raise InputError("objects", "are none", 'nouns, as in "a dog, a ball"')
        self.nouns = tuple(nouns)
        self.text, spans = text_of(nouns)
        found = self.tokenizer(self.text, return_offsets_mapping=True)
        if len(found["input_ids"]) > self.model.config.max_text_len:
            limit = self.model.config.max_text_len
            raise InputError("objects", f"are {len(found['input_ids'])} tokens long", f"at most {limit}", "name fewer")
        self.tokens = [tokens_within(span, found["offset_mapping"]) for span in spans]
        self.looked_for = dict.fromkeys(nouns, 0.0)

    @torch.inference_mode()
    def detect(self, frames: UInt8[np.ndarray, "T H W 3"]) -> list[list[Detection]]:
        """The things named, the surest first."""
        self.looked_for = dict.fromkeys(self.nouns, 0.0)
        found = []
        for together in np.array_split(frames, -(-len(frames) // PASS_FRAMES)):
            inputs = self.pictures(list(together), input_data_format="channels_last", return_tensors="pt")
            text = self.tokenizer([self.text] * len(together), return_tensors="pt")
            outputs = self.model(
                pixel_values=inputs["pixel_values"].to(self.model.device, self.model.dtype),
                pixel_mask=inputs["pixel_mask"].to(self.model.device),
                **text.to(self.model.device),
            )
            for logits, boxes in zip(outputs.logits.float().cpu(), outputs.pred_boxes.float().cpu(), strict=True):
                scores = noun_scores(logits, self.tokens)
                for noun, best in zip(self.nouns, scores.max(0), strict=True):
                    self.looked_for[noun] = max(self.looked_for[noun], float(best))
                found.append(self._kept(scores, boxes_px(boxes, (frames.shape[1], frames.shape[2]))))
        return found

    def _kept(self, scores: np.ndarray, boxes: np.ndarray) -> list[Detection]:
        kept: list[Detection] = []
        for query in np.argsort(-scores.max(1), kind="stable"):
            noun = int(scores[query].argmax())
            if scores[query, noun] <= self.least_score:
                break
            width, height = boxes[query, 2:] - boxes[query, :2]
            if width > 0 and height > 0 and all(box_iou(boxes[query], d.box_px) <= SAME_IOU for d in kept):
                name = self.nouns[noun]
                category = known_category(name) or "object"
                kept.append(Detection(category, name, boxes[query], float(scores[query, noun])))
        return kept


def text_of(nouns: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """["a dog", "A red ball"] -> "dog. red ball." and from which to which character each of them stands."""
    text, spans = "", []
    for noun in nouns:
        bare = without_article(noun.strip().lower().replace(".", " "))
        text += " " if text else ""
        spans.append((len(text), len(text) + len(bare)))
        text += bare + "."
    return text, spans


def tokens_within(span: tuple[int, int], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The tokens that lie within the characters of a span; special ones, which have none, never do."""
    return [k for k, (begin, end) in enumerate(offsets) if end > begin and begin >= span[0] and end <= span[1]]


def noun_scores(logits: Float[Tensor, "Q L"], tokens: Sequence[Sequence[int]]) -> Float32[np.ndarray, "Q N"]:
    """How well each of Q boxes fits each of N nouns, 0-1: that of the noun's best token."""
    probability = logits.sigmoid().numpy()
    return np.stack([probability[:, list(t)].max(1, initial=0.0) for t in tokens], 1).astype(np.float32)


def boxes_px(boxes: Float[Tensor, "Q 4"], hw: tuple[int, int]) -> Float32[np.ndarray, "Q 4"]:
    """Middle and size in shares of the picture -> x0 y0 x1 y1 in pixels, within the picture."""
    middle, size = boxes[:, :2].numpy(), boxes[:, 2:].numpy()
    corners = np.concatenate([middle - size / 2, middle + size / 2], 1) * np.array([hw[1], hw[0]] * 2)
    return corners.clip(0, np.array([hw[1], hw[0]] * 2)).astype(np.float32)


def load_grounding_dino(
    folder: str | Path, nouns: Sequence[str] = ANYTHING, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> GroundingDino:
    """Read a checkpoint in transformers' layout, such as grounding-dino-base's. Raises InputError."""
    from transformers import AutoTokenizer, GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil

    folder = model_folder(folder, "grounding-dino")
    model = GroundingDinoForObjectDetection.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    pictures = GroundingDinoImageProcessorPil.from_pretrained(folder, local_files_only=True)
    return GroundingDino(model.to(device, dtype), tokenizer, pictures, nouns)  # type: ignore[arg-type]
