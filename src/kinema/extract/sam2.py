"""Tracked masks: SAM 2 (Ravi et al. 2024) through transformers (ReVision, section 4.2-S2; MVideo, section 3.2).

Input: frames one after another, and a box or a mask of each thing in the frame where it is first seen. Output: for every
frame the mask of every thing, under its own number through the whole video. `Sam2VideoModel`, streaming: only what the
model looks back at is kept. Its processors insist on torchvision; their few steps are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from kinema.errors import InputError
from kinema.extract.detection import Detection
from kinema.extract.segmentation import Prompt, Tracked
from kinema.hub import model_folder

if TYPE_CHECKING:
    from transformers import Sam2VideoModel

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, 0-1: what the model's pictures are normalised by."""
BOX_CORNERS = (2, 3)
"""How the prompt encoder calls the upper left and the lower right corner of a box."""


class Sam2Track:
    """Things followed through one video, frame by frame, each under a number of its own.

    What a frame leaves behind is the memory that the model attends to in later ones; what is older than that is dropped,
    so that an hour takes no more room than a second.
    """

    def __init__(self, model: Sam2VideoModel):
        from transformers import Sam2VideoInferenceSession

        assert isinstance(model.image_size, int), "SAM 2's pictures are square"
        self.model, self.side = model, model.image_size
        self.session = Sam2VideoInferenceSession(
            inference_device=model.device, inference_state_device=model.device, video_storage_device=model.device,
            dtype=model.dtype,
        )  # fmt: skip
        self.frame = -1

    def step(self, frame: UInt8[np.ndarray, "H W 3"], new: Mapping[int, Prompt] | None = None) -> dict[int, Tracked]:
        """The next frame -> the mask of everything that is followed; `new`: what is followed from this frame on.

        No two masks share a pixel: it goes to the surer of them. A thing that is hidden has an empty mask, and is found
        again when it comes back. Raises InputError for a box or a mask that is not within the frame.
        """
        self.frame += 1
        return self.also(frame, new or {})

    def also(self, frame: UInt8[np.ndarray, "H W 3"], new: Mapping[int, Prompt]) -> dict[int, Tracked]:
        """The same frame once more, with what else is followed from it on; the rest is seen as before."""
        hw = (frame.shape[0], frame.shape[1])
        self.session.video_height, self.session.video_width = hw
        for number, prompt in new.items():
            self._begin(number, prompt, hw)
        if not self.session.obj_ids:
            return {}
        picture = prepare(frame, self.side).to(self.model.device)
        output = self.model(self.session, frame=picture, frame_idx=self.frame)
        self._forget()
        masks = masks_of(output.pred_masks, hw).cpu().numpy()
        scores = output.object_score_logits.float().sigmoid().flatten().tolist()
        return {
            number: Tracked(mask, score) for number, mask, score in zip(output.object_ids, masks, scores, strict=True)
        }

    def _begin(self, number: int, prompt: np.ndarray, hw: tuple[int, int]) -> None:
        if number in self.session.obj_ids:
            raise InputError(f"object {number}", "is followed already", "another number")
        side = self.side
        if prompt.ndim == 1:
            x0, y0, x1, y1 = prompt.tolist()
            if not (x1 > max(x0, 0) and y1 > max(y0, 0) and x0 < hw[1] and y0 < hw[0]):
                raise InputError(f"box of object {number}", f"is {prompt.tolist()}", f"within {hw[1]}x{hw[0]} pixels")
            corners = torch.from_numpy(np.array(prompt, np.float32)).reshape(1, 1, 2, 2)
            inputs = {
                "point_coords": corners * torch.tensor([side / hw[1], side / hw[0]]),
                "point_labels": torch.tensor([[BOX_CORNERS]], dtype=torch.int32),
            }
            self.session.add_point_inputs(self.session.obj_id_to_idx(number), self.frame, inputs)
        else:
            if prompt.shape != hw or not prompt.any():
                found = "is empty" if prompt.shape == hw else f"is {prompt.shape[1]}x{prompt.shape[0]}"
                raise InputError(f"mask of object {number}", found, f"{hw[1]}x{hw[0]}, with the object in it")
            self.session.add_mask_inputs(
                self.session.obj_id_to_idx(number), self.frame, prepare_mask(np.asarray(prompt, bool), side)
            )
        self.session.obj_with_new_inputs.append(number)

    def _forget(self) -> None:
        """Keep what `Sam2VideoModel` looks back at from this frame: memories of some frames, pointers of some more."""
        config, session = self.model.config, self.session
        session.processed_frames = {}
        for index, kept in session.output_dict_per_obj.items():
            for outputs in kept.values():
                for output in outputs.values():
                    output.pop("high_res_masks", None)
            for t, output in kept["cond_frame_outputs"].items():
                if t < self.frame:
                    output.pop("pred_masks", None)
            old = kept["non_cond_frame_outputs"]
            for t in [t for t in old if t < self.frame + 1 - config.num_maskmem]:
                for name in ("maskmem_features", "maskmem_pos_enc", "pred_masks"):
                    old[t].pop(name, None)
            for t in [t for t in old if t < self.frame + 1 - config.max_object_pointers_in_encoder]:
                del old[t]
            session.frames_tracked_per_obj[index].clear()
            session.point_inputs_per_obj[index].clear()
            session.mask_inputs_per_obj[index].clear()


class Sam2:
    """SAM 2's weights: a track for a video, or a `Segmenter` of single frames by the boxes of their detections."""

    def __init__(self, model: Sam2VideoModel):
        self.model = model.eval().requires_grad_(False)

    def track(self) -> Sam2Track:
        """A new video begins."""
        return Sam2Track(self.model)

    def segment(
        self, frames: UInt8[np.ndarray, "T H W 3"], detections: list[list[Detection]]
    ) -> list[Bool[np.ndarray, "_ H W"]]:
        """Every frame by itself: the mask within each detection's box."""
        masks = []
        for frame, asked in zip(frames, detections, strict=True):
            seen = self.track().step(frame, {k: d.box_px for k, d in enumerate(asked)})
            masks.append(np.array([seen[k].mask for k in range(len(asked))], bool).reshape(-1, *frame.shape[:2]))
        return masks


def prepare(frame: UInt8[np.ndarray, "H W 3"], side: int) -> Float[Tensor, "1 3 S S"]:
    """A frame as the model takes it: stretched to side x side (bilinear, antialiased, in whole steps of 255), normalised."""
    picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()
    stretched = F.interpolate(picture, (side, side), mode="bilinear", antialias=True).round().clamp(0, 255) / 255
    return (stretched - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def prepare_mask(mask: Bool[np.ndarray, "H W"], side: int) -> Float[Tensor, "1 1 S S"]:
    """A mask at the model's size, 0 or 1."""
    given = torch.from_numpy(mask)[None, None].float()
    return (F.interpolate(given, (side, side), mode="bilinear", antialias=True) >= 0.5).float()


def masks_of(logits: Float[Tensor, "N 1 h w"], hw: tuple[int, int]) -> Bool[Tensor, "N H W"]:
    """The model's coarse scores -> masks at the frame's size; a pixel that several claim goes to the highest score."""
    fine = F.interpolate(logits.float(), hw, mode="bilinear", align_corners=False)[:, 0]
    first = torch.zeros_like(fine, dtype=torch.bool).scatter_(0, fine.argmax(0, keepdim=True), True)
    return first & (fine > 0)


def load_sam2(folder: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Sam2:
    """Read a checkpoint in transformers' layout, such as sam2.1-hiera-large's. Raises InputError."""
    from transformers import Sam2VideoModel

    folder = model_folder(folder, "sam2")
    model = Sam2VideoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return Sam2(model.to(device, dtype))  # type: ignore[arg-type]
