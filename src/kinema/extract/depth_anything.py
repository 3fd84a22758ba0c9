"""Depth: Depth Anything V2 (Yang et al. 2024) through transformers (ReVision, section 4.2-S2).

Input: frames. Output: the distance of every pixel, in metres (the metric checkpoints) or up to one scale for the clip (the
relative ones, which see a frame's disparity up to a scale and a shift of its own; those are made alike over time).
`DepthAnythingForDepthEstimation`, with transformers' PIL processor.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8

from kinema.hub import model_folder

if TYPE_CHECKING:
    from transformers import DepthAnythingForDepthEstimation

PASS_FRAMES = 4
"""So many frames are looked at together."""
STILL = 8
"""A pixel whose colour changes by at most this, of 255, shows the same thing in both frames, nearly always."""
LEAST_STILL = 0.05
"""Where fewer pixels than this share are still, as at a cut, a frame is made like the one before by all of its pixels."""
SAMPLES = 1 << 14
"""Pixels of a frame that its scale and shift are found from."""
TYPICAL_M = 4.0
"""The distance that the median disparity of a clip is taken for, where the model knows no metres."""
FARTHEST = 0.01
"""A disparity below this share of the clip's median is unknown: sky, as good as infinitely far."""


class DepthAnything:
    """A `DepthEstimator`."""

    def __init__(self, model: DepthAnythingForDepthEstimation, pictures: Any):
        self.model, self.pictures = model.eval().requires_grad_(False), pictures

    @property
    def metric(self) -> bool:
        """Whether the checkpoint knows metres."""
        return self.model.config.depth_estimation_type == "metric"

    def depth(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T H W"]:
        """Metres, for relative checkpoints up to one scale; inf where it is infinitely far."""
        raw = self.raw(frames)
        return raw if self.metric else depth_of(steady(raw, frames))

    @torch.inference_mode()
    def raw(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T H W"]:
        """What the model says of each frame by itself, 0 or more: metres, or a disparity up to scale and shift."""
        seen = []
        for together in np.array_split(frames, -(-len(frames) // PASS_FRAMES)):
            inputs = self.pictures(list(together), input_data_format="channels_last", return_tensors="pt")
            pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
            small = self.model(pixel_values=pixels).predicted_depth.float()
            fine = F.interpolate(small[:, None], frames.shape[1:3], mode="bicubic", align_corners=False)[:, 0]
            seen.append(fine.clamp(min=0).cpu().numpy())
        return np.concatenate(seen)


def steady(
    disparity: Float32[np.ndarray, "T H W"], frames: UInt8[np.ndarray, "T H W 3"]
) -> Float32[np.ndarray, "T H W"]:
    """Every frame's disparity at the scale and shift of the first's.

    From frame to frame the pixels that keep their colour keep their median and their mean deviation from it, as MiDaS
    compares disparities (Ranftl et al. 2020, equation 5). That is the same both ways, so that scales don't shrink over time.
    """
    out = disparity.copy()
    stride = max(1, round((disparity[0].size / SAMPLES) ** 0.5))
    sparse = (slice(None, None, stride), slice(None, None, stride))
    for t in range(1, len(out)):
        change = np.abs(frames[t][sparse].astype(np.int16) - frames[t - 1][sparse]).max(-1)
        still = change <= STILL
        if still.mean() < LEAST_STILL:
            still[:] = True
        before, now = out[t - 1][sparse][still], disparity[t][sparse][still]
        middle_before, middle_now = np.median(before), np.median(now)
        spread_before, spread_now = np.abs(before - middle_before).mean(), np.abs(now - middle_now).mean()
        scale = spread_before / spread_now if min(spread_before, spread_now) > 1e-6 else 1.0
        out[t] = (disparity[t] - middle_now) * scale + middle_before
    return out


def depth_of(disparity: Float32[np.ndarray, "T H W"]) -> Float32[np.ndarray, "T H W"]:
    """Distance where the clip's median disparity is `TYPICAL_M` away."""
    near = disparity[disparity > 0]
    if not len(near):
        return np.full_like(disparity, np.inf)
    share = disparity / np.median(near)
    return np.where(share > FARTHEST, TYPICAL_M / np.maximum(share, FARTHEST), np.inf).astype(np.float32)


def load_depth_anything(folder: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> DepthAnything:
    """Read a checkpoint in transformers' layout, such as Depth-Anything-V2-Small-hf's. Raises InputError."""
    from transformers import DepthAnythingForDepthEstimation, DPTImageProcessorPil

    folder = model_folder(folder, "depth-anything")
    model = DepthAnythingForDepthEstimation.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    pictures = DPTImageProcessorPil.from_pretrained(folder, local_files_only=True)
    return DepthAnything(model.to(device, dtype), pictures)  # type: ignore[arg-type]
