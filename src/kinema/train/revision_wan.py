"""Wan 2.1 image-to-video as it is trained to follow parts: flow matching (Wan et al. 2025), parts in the patch embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kinema.reinforce import wan
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.cogvideox import latent_statistics
from kinema.reinforce.pipelines import encode_text
from kinema.reinforce.vace import TOKENS
from kinema.train.frozen import computing_in
from kinema.train.revision import LEFT_OUT
from kinema.train.shard_cache import Window
from kinema.types import PartCondition, Video

ADDED = "patch_embedding.added.weight"
TIMESTEPS = 1000.0
"""Of noise level 1, as the network is told it."""


@dataclass(frozen=True)
class WanBatch:
    """noisy and target are latents; fixed is what the network sees of the picture beside them."""

    noisy: Float[Tensor, "B C F h w"]
    target: Float[Tensor, "B C F h w"]
    time: Float[Tensor, " B"]
    fixed: Float[Tensor, "B K F h w"]
    motion: Float[Tensor, "B 2 F h w"]
    text: Float[Tensor, "B L E"]
    seen: Float[Tensor, "B N D"]


class WanTrainee:
    """See `kinema.train.revision.Trainee`."""

    subfolder, multiple, reads = "transformer", wan.CONSTRAINTS.multiple, True

    def __init__(self, model: wan.Wan, device: torch.device, precision: torch.dtype):
        self.model, self.device, self.precision = model, device, precision
        self.pipeline = model.pipeline
        self.network: Any = self.pipeline.transformer
        wan.widen(self.network)
        for part in (self.pipeline.vae, self.pipeline.text_encoder, self.pipeline.image_encoder):
            part.to(device)
        self.unsaid = encode_text(self.pipeline, "", TOKENS)[0].half().cpu()

    @classmethod
    def load(cls, folder: Path, device: torch.device, precision: torch.dtype) -> WanTrainee:
        """The transformer stays on the host until the clips are encoded."""
        return cls(wan.load_wan(folder, None, precision), device, precision)

    def widen(self, network: Any) -> None:
        wan.widen(network)

    def is_trained(self, name: str) -> bool:
        return wan.is_trained_for_motion(name)

    @torch.inference_mode()
    def encode(self, window: Window) -> dict[str, Tensor]:
        """Latents of the frames; what the pipeline gives of the picture, as latents and as CLIP's; the caption's vectors."""
        vae = self.pipeline.vae
        frames = torch.from_numpy(window.frames).permute(3, 0, 1, 2)[None].to(self.device, vae.dtype) / 127.5 - 1
        mean, deviation = latent_statistics(vae)
        latents = (vae.encode(frames).latent_dist.mode() - mean) / deviation
        count, height, width, _ = window.frames.shape
        fixed = self.pipeline.prepare_latents(
            frames[:, :, 0], 1, latents.shape[1], height, width, count, torch.float32, self.device,
            latents=torch.zeros_like(latents),
        )[1]  # fmt: skip
        text = encode_text(self.pipeline, window.caption, TOKENS)[0]
        said = int(text.abs().amax(1).nonzero().max()) + 1
        from PIL import Image

        seen = self.pipeline.encode_image(Image.fromarray(window.frames[0]), self.device)[0]
        made = {"latents": latents[0].transpose(0, 1), "fixed": fixed[0], "text": text[:said], "seen": seen}
        return {name: value.half() for name, value in made.items()}

    def batch(
        self, kept: Sequence[dict[str, Tensor]], motion: Tensor, fps: Sequence[float], rng: np.random.Generator
    ) -> WanBatch:
        x, fixed, seen = (torch.stack([k[n] for k in kept]).float() for n in ("latents", "fixed", "seen"))
        x = x.transpose(1, 2)
        text = torch.zeros(len(kept), *self.unsaid.shape)
        for row, k, left_out in zip(text, kept, rng.random(len(kept)) < LEFT_OUT, strict=True):
            said = self.unsaid if left_out else k["text"]
            row[: len(said)] = said.float()
        even, shift = torch.from_numpy(rng.random(len(kept))).float(), self.pipeline.scheduler.config.flow_shift
        sigma = shift * even / (1 + (shift - 1) * even)
        noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
        level = sigma[:, None, None, None, None]
        last = motion[:, :: self.model.constraints.frame_step].transpose(1, 2)
        return WanBatch((1 - level) * x + level * noise, noise - x, sigma * TIMESTEPS, fixed, last, text, seen)

    def loss(self, batch: WanBatch) -> Tensor:
        given = torch.cat([batch.noisy, batch.fixed], 1)
        given, target, time, motion, text, seen = (
            v.to(self.device) for v in (given, batch.target, batch.time, batch.motion, batch.text, batch.seen)
        )
        embedding = self.network.patch_embedding
        with computing_in(self.precision, self.device):
            embedding.motion = motion
            try:
                found = self.network(given, time, text, seen, return_dict=False)[0]
            finally:
                embedding.motion = None
        return (found.float() - target).square().mean()

    def sample(
        self, picture: UInt8[np.ndarray, "H W 3"], condition: PartCondition, caption: str, fps: float, steps: int
    ) -> Video:
        height, width, _ = picture.shape
        sampling = Sampling(len(condition.part_ids), (width, height), steps, fps=fps, guidance=5.0)
        with computing_in(self.precision, self.device):
            # The trained weights are in their places; a model with an adapter takes the condition.
            self.model.adapter = {ADDED: self.network.patch_embedding.added.weight.detach()}
            made = self.model.generate(picture, sampling, condition, prompt=caption)
        self.model.adapter = {}
        return Video(made, fps)

    def release(self, sampling: bool) -> None:
        if sampling:
            return
        for part in ("vae", "text_encoder", "image_encoder"):
            setattr(self.pipeline, part, None)
