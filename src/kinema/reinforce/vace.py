"""Wan VACE: a video that follows a control video, with no training (Jiang et al. 2025).

Input: a picture, and where there is one a control video: depth, OpenPose or layout. Output: frames. All of it is
`WanVACEPipeline`. Stage 1 gives it the first frame alone; stage 3 the control video behind the first frame, and the picture
as reference besides. White in its masks is what it makes (there it follows the video), black what it keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from kinema.errors import InputError
from kinema.reinforce.backbone import Condition, Constraints, Sampling
from kinema.reinforce.memory import Memory
from kinema.reinforce.pipelines import encode_text, load_pipeline, place_pipeline, run
from kinema.types import PartCondition

CONSTRAINTS = Constraints(
    controls=("depth", "openpose", "layout"), multiple=16, frame_step=4, most_frames=81, fps=16.0,
    starts=("noise", "reposed"), white="made",
)  # fmt: skip
"""Of Wan 2.1: 8 pixels and 4 frames a latent, two latents a patch; 81 frames at 16 Hz (Wan et al. 2025)."""
UNKNOWN = 128
"""Grey of pixels of which nothing is said, as in diffusers' examples."""
TOKENS = 512
NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall gray, "
    "worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands, poorly "
    "drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three legs, many "
    "people in the background, walking backwards"
)
"""What guidance leads away from: Wan's own, as diffusers' documentation gives it in English."""


@dataclass
class Vace:
    """A loaded model; fulfils `kinema.reinforce.backbone.Backbone`."""

    pipeline: Any
    constraints: Constraints = CONSTRAINTS

    @torch.inference_mode()
    def generate(
        self,
        image: UInt8[np.ndarray, "H0 W0 3"],
        sampling: Sampling,
        condition: Condition | None = None,
        start: UInt8[np.ndarray, "T H W 3"] | None = None,
        known: Float32[np.ndarray, "T H W"] | None = None,
        progress: Callable[[int, int], None] | None = None,
        prompt: str = "",
    ) -> UInt8[np.ndarray, "T H W 3"]:
        """See `kinema.reinforce.backbone.Backbone.generate`.

        Of a start clip the pixels that are known stay, from half on; the others follow the control video.
        """
        from PIL import Image

        if isinstance(condition, PartCondition):
            raise InputError("condition", "is of parts", "a control video, which this model follows")
        picture = cv2.resize(image, sampling.size, interpolation=cv2.INTER_AREA)
        video, kept = video_and_kept(picture, sampling.frames, condition, start, known)
        makes_white = self.constraints.white == "made"
        masks = np.where(kept ^ makes_white, np.uint8(255), np.uint8(0))
        alone = condition is None and start is None
        return run(
            self.pipeline, sampling, progress,
            video=[Image.fromarray(frame) for frame in video],
            mask=[Image.fromarray(mask) for mask in masks],
            reference_images=None if alone else [Image.fromarray(picture)],
            prompt_embeds=encode_text(self.pipeline, prompt, TOKENS),
            negative_prompt_embeds=encode_text(self.pipeline, NEGATIVE_PROMPT, TOKENS),
            num_frames=sampling.frames,
        )  # fmt: skip


def video_and_kept(
    picture: UInt8[np.ndarray, "H W 3"],
    frames: int,
    control: UInt8[np.ndarray, "T H W 3"] | None,
    start: UInt8[np.ndarray, "T H W 3"] | None,
    known: Float32[np.ndarray, "T H W"] | None,
) -> tuple[UInt8[np.ndarray, "T H W 3"], Bool[np.ndarray, "T H W"]]:
    """What VACE is given, and which of its pixels are to stay: the first frame and what is known; else the control."""
    video = np.full((frames, *picture.shape), UNKNOWN, np.uint8) if control is None else control.copy()
    kept = np.zeros(video.shape[:3], bool)
    if start is not None and known is not None:
        kept = known >= 0.5
        video[kept] = start[kept]
    video[0], kept[0] = picture, True
    return video, kept


def load_vace(
    folder: str | Path, adapter: str | Path | None, dtype: torch.dtype, device: str = "cpu", memory: Memory = "fast"
) -> Vace:
    """Read a folder of `WanVACEPipeline`; its autoencoder runs in float32. Raises InputError."""
    from diffusers.pipelines.wan.pipeline_wan_vace import WanVACEPipeline

    if adapter is not None:
        raise InputError(adapter, "was given to a model that follows control videos untrained", "no adapter")
    pipeline = load_pipeline(WanVACEPipeline, folder, {"default": dtype, "vae": torch.float32})
    place_pipeline(pipeline, memory, device)
    return Vace(pipeline)
