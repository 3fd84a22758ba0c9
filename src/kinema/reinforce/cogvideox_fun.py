"""CogVideoX-Fun Control: a video that follows a control video and a prompt, with no training.

Input: a prompt and a control video of OpenPose or depth. Output: frames. All of it is `CogVideoXFunControlPipeline` (Yang et
al. 2024 for CogVideoX; the control checkpoints are Alibaba PAI's). It sees no picture: looks come from the prompt alone, so
there is no stage 1, and a motion is to be given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from kinema.errors import InputError
from kinema.reinforce.backbone import Condition, Constraints, Sampling
from kinema.reinforce.memory import Memory
from kinema.reinforce.pipelines import load_pipeline, place_pipeline, run
from kinema.types import PartCondition

CONSTRAINTS = Constraints(
    controls=("openpose", "depth"), multiple=16, frame_step=8, most_frames=49, fps=8.0, sees_picture=False
)
"""Of CogVideoX: 8 pixels and 4 frames a latent, two latents a patch; its autoencoder decodes an odd number of frames."""


@dataclass
class CogVideoXFun:
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
        """See `kinema.reinforce.backbone.Backbone.generate`; the picture is not seen."""
        from PIL import Image

        if condition is None or isinstance(condition, PartCondition):
            raise InputError("condition", "is no control video", "one, which this model follows")
        if start is not None:
            raise InputError("start", "is a clip", "pure noise, from which this model starts")
        return run(
            self.pipeline, sampling, progress,
            prompt=prompt, control_video=[Image.fromarray(frame) for frame in condition],
            max_sequence_length=self.pipeline.transformer.config.max_text_seq_length,
        )  # fmt: skip


def load_cogvideox_fun(
    folder: str | Path, adapter: str | Path | None, dtype: torch.dtype, device: str = "cpu", memory: Memory = "fast"
) -> CogVideoXFun:
    """Read a folder of `CogVideoXFunControlPipeline`; the hub's own say `CogVideoXPipeline`. Raises InputError.

    Sampled by DDIM, as diffusers' example of this pipeline has it.
    """
    from diffusers.pipelines.cogvideo.pipeline_cogvideox_fun_control import CogVideoXFunControlPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    if adapter is not None:
        raise InputError(adapter, "was given to a model that follows control videos untrained", "no adapter")
    also = ("CogVideoXPipeline",)
    pipeline = load_pipeline(CogVideoXFunControlPipeline, folder, {"default": dtype}, also)
    config = pipeline.transformer.config
    if config.in_channels != 2 * config.out_channels:
        raise InputError(
            folder, f"takes {config.in_channels} channels of latents", f"{2 * config.out_channels}: the video's and the "
            "control's", "give a control checkpoint of CogVideoX-Fun",
        )  # fmt: skip
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    place_pipeline(pipeline, memory, device)
    return CogVideoXFun(pipeline)
