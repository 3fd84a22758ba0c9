"""SVD as it is trained to follow parts: EDM's loss for v (Blattmann et al. 2023, appendix D; Karras et al. 2022)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kinema.errors import InputError
from kinema.reinforce import svd
from kinema.reinforce.backbone import Sampling
from kinema.train.frozen import computing_in
from kinema.train.revision import LEFT_OUT
from kinema.train.shard_cache import Window
from kinema.train.world_video import motion_bucket
from kinema.types import PartCondition, Video

LOG_SIGMA = (0.7, 1.6)
"""Mean and deviation of the noise levels' logarithm, as SVD's image-to-video models were trained at 576x1024."""


@dataclass(frozen=True)
class SvdBatch:
    """noisy, target and first are latents; motion the condition; ids fps, motion bucket and noise of the picture."""

    noisy: Float[Tensor, "B T C h w"]
    target: Float[Tensor, "B T C h w"]
    time: Float[Tensor, " B"]
    first: Float[Tensor, "B C h w"]
    motion: Float[Tensor, "B T 2 h w"]
    context: Float[Tensor, "B 1 E"]
    ids: Float[Tensor, "B 3"]


class SvdTrainee:
    """See `kinema.train.revision.Trainee`."""

    subfolder, multiple, reads = "unet", svd.CONSTRAINTS.multiple, False

    def __init__(self, model: svd.Svd, device: torch.device, precision: torch.dtype):
        self.model, self.device, self.precision = model, device, precision
        self.network: Any = model.unet
        svd.widen(self.network)
        model.guided = model.unet

    @classmethod
    def load(cls, folder: Path, device: torch.device, precision: torch.dtype) -> SvdTrainee:
        """Raises InputError for a mini model."""
        model = svd.load_svd(folder, None, torch.float32, str(device))
        if model.mini:
            raise InputError(folder, "is a mini model", "SVD's own folder", "kinema train revision, without --preset")
        return cls(model, device, precision)

    def widen(self, network: Any) -> None:
        svd.widen(network)

    def is_trained(self, name: str) -> bool:
        return svd.is_trained_for_motion(name)

    @torch.inference_mode()
    def encode(self, window: Window) -> dict[str, Tensor]:
        """Latents of the frames; of the picture with a little noise, not scaled; and CLIP's vector of it."""
        generator = torch.Generator().manual_seed(zlib.crc32(window.key.encode()))
        pixels = torch.from_numpy(window.frames[:1]).permute(0, 3, 1, 2).float() / 255
        noisy = 2 * pixels - 1 + svd.IMAGE_NOISE * torch.randn(pixels.shape, generator=generator)
        made = {
            "latents": self.model.encode(window.frames),
            "first": self.model._most_likely(noisy.to(self.device))[0],
            "context": svd.pooled_context(self.model.image_encoder, pixels.to(self.device))[0],
        }
        return {name: value.half() for name, value in made.items()}

    def batch(
        self, kept: Sequence[dict[str, Tensor]], motion: Tensor, fps: Sequence[float], rng: np.random.Generator
    ) -> SvdBatch:
        x, first, context = (torch.stack([k[n] for k in kept]).float() for n in ("latents", "first", "context"))
        shown = torch.from_numpy(rng.random(len(kept)) >= LEFT_OUT).float()
        sigma = torch.from_numpy(np.exp(rng.normal(*LOG_SIGMA, len(kept)))).float()
        noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
        level = sigma[:, None, None, None, None]
        skip, out, scale, time = svd.precondition(level)
        noisy = x + level * noise
        ids = [[f - 1, motion_bucket(k["parts"].numpy()), svd.IMAGE_NOISE] for f, k in zip(fps, kept, strict=True)]
        return SvdBatch(
            scale * noisy,
            (x - skip * noisy) / out,
            time.flatten(),
            first * shown[:, None, None, None],
            motion,
            context * shown[:, None, None],
            torch.tensor(ids),
        )

    def loss(self, batch: SvdBatch) -> Tensor:
        given = torch.cat([batch.noisy, batch.first[:, None].expand_as(batch.noisy), batch.motion], 2)
        given, target, time, context, ids = (
            v.to(self.device) for v in (given, batch.target, batch.time, batch.context, batch.ids)
        )
        with computing_in(self.precision, self.device):
            found = self.network(given, time, context, ids).sample
        return (found.float() - target).square().mean()

    def sample(
        self, picture: UInt8[np.ndarray, "H W 3"], condition: PartCondition, caption: str, fps: float, steps: int
    ) -> Video:
        height, width, _ = picture.shape
        sampling = Sampling(len(condition.part_ids), (width, height), steps, fps=fps, guidance=3.0)
        with computing_in(self.precision, self.device):
            return Video(self.model.generate(picture, sampling, condition), fps)

    def release(self, sampling: bool) -> None:
        if not sampling:
            self.model.autoencoder = self.model.image_encoder = None
