"""Wan 2.1 image-to-video with two more channels for the motion (ReVision, section 4.1 and table 1).

Input: a picture, a prompt and a part condition. Output: frames. All of it is `WanImageToVideoPipeline` (Wan et al. 2025);
ours is the second, zero-initialised convolution that is added to the transformer's patch embedding. Text and picture enter
as before. With guidance the motion is in both halves, so guidance strengthens the text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.reinforce.adapters import adapted, read_adapter
from kinema.reinforce.backbone import Condition, Constraints, Sampling
from kinema.reinforce.memory import Memory
from kinema.reinforce.parallel import check_tokens, processes, share_tokens
from kinema.reinforce.part_condition import encode_condition
from kinema.reinforce.pipelines import encode_text, load_pipeline, place_pipeline, run
from kinema.reinforce.vace import NEGATIVE_PROMPT, TOKENS
from kinema.types import PartCondition

CONSTRAINTS = Constraints(controls=("parts",), multiple=16, frame_step=4, most_frames=81, fps=16.0)
"""Of Wan 2.1: 8 pixels and 4 frames a latent, two latents a patch; 81 frames at 16 Hz."""
CONDITION_CHANNELS = 2


class WidenedPatch(nn.Module):
    """A patch embedding, and a second one that starts at zero for the motion, where there is some: `motion`.

    Without motion the pretrained one alone runs, bit for bit. (The pipeline calls the transformer with the channels that
    it knows, so the motion waits here.)
    """

    def __init__(self, base: nn.Conv3d):
        super().__init__()
        self.base = base
        self.added = nn.Conv3d(CONDITION_CHANNELS, base.out_channels, base.kernel_size, base.stride, bias=False)  # type: ignore[arg-type]
        nn.init.zeros_(self.added.weight)
        self.motion: Tensor | None = None

    def forward(self, x: Float[Tensor, "B C F h w"]) -> Float[Tensor, "B D F h2 w2"]:
        found = self.base(x)
        return found if self.motion is None else found + self.added(self.motion.to(x))


def widen(transformer: Any) -> None:
    """Let the patch embedding take the two channels of the condition besides."""
    if not isinstance(transformer.patch_embedding, WidenedPatch):
        transformer.patch_embedding = WidenedPatch(transformer.patch_embedding)


def is_trained_for_motion(name: str) -> bool:
    """Whether a tensor of the widened transformer is trained with the condition: patch embedding and first block.

    ReVision trains SVD's first block and temporal layers; Wan's attention is over space and time at once.
    """
    return name.startswith(("patch_embedding.", "blocks.0."))


def motion_latents(condition: PartCondition, frame_step: int, latent_hw: tuple[int, int]) -> Float[Tensor, "1 2 F h w"]:
    """The condition on the latent grid: of the frames that share a latent the last one, so that a sketched end stays."""
    last = slice(None, None, frame_step)
    drawn = encode_condition(PartCondition(condition.part_ids[last], condition.confidence[last]), latent_hw)
    return torch.from_numpy(drawn).transpose(0, 1)[None]


@dataclass
class Wan:
    """A loaded model; fulfils `kinema.reinforce.backbone.Backbone`.

    adapter  tensors that take the places of the transformer's own where there is a condition; none: it takes none
    """

    pipeline: Any
    adapter: dict[str, Tensor] = field(default_factory=dict)
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
        """See `kinema.reinforce.backbone.Backbone.generate`."""
        from PIL import Image

        if start is not None:
            raise InputError("start", "is a clip", "pure noise, from which this model starts")
        picture = cv2.resize(image, sampling.size, interpolation=cv2.INTER_AREA)
        width, height = sampling.size
        check_tokens(self.pipeline.transformer, (sampling.frames - 1) // 4 + 1, (width // 8, height // 8))
        with self._moved_by(condition, (height // 8, width // 8)):
            return run(
                self.pipeline, sampling, progress,
                image=Image.fromarray(picture),
                prompt_embeds=encode_text(self.pipeline, prompt, TOKENS),
                negative_prompt_embeds=encode_text(self.pipeline, NEGATIVE_PROMPT, TOKENS),
                num_frames=sampling.frames,
            )  # fmt: skip

    @contextmanager
    def _moved_by(self, condition: Condition | None, latent_hw: tuple[int, int]) -> Iterator[None]:
        """The adapter in its place and the motion where the patch embedding takes it; the base as it is without."""
        if condition is None:
            yield
            return
        if not isinstance(condition, PartCondition):
            raise InputError("condition", "is a control video", "parts, which this model takes")
        if not self.adapter:
            raise InputError("condition", "was given to a model without its motion adapter", mend="load the adapter")
        transformer = self.pipeline.transformer
        with adapted(transformer, self.adapter):
            transformer.patch_embedding.motion = motion_latents(condition, self.constraints.frame_step, latent_hw)
            try:
                yield
            finally:
                transformer.patch_embedding.motion = None


def load_wan(
    folder: str | Path, adapter: str | Path | None, dtype: torch.dtype, device: str = "cpu", memory: Memory = "fast"
) -> Wan:
    """Read a folder of `WanImageToVideoPipeline`, and the motion adapter. Raises InputError.

    The autoencoder and the image encoder run in float32.
    """
    from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline

    dtypes = {"default": dtype, "vae": torch.float32, "image_encoder": torch.float32}
    pipeline, tensors = load_pipeline(WanImageToVideoPipeline, folder, dtypes), {}
    if adapter is not None:
        widen(pipeline.transformer)
        pipeline.transformer.patch_embedding.added.to(pipeline.transformer.patch_embedding.base.weight)
        tensors = read_adapter(adapter, pipeline.transformer, Path(folder), "transformer")
    place_pipeline(pipeline, memory, device, tensors)
    if processes() > 1:
        share_tokens(pipeline.transformer)
    return Wan(pipeline, tensors)
