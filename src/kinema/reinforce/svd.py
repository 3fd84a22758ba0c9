"""Stable Video Diffusion with two more channels for the motion (ReVision, section 4.1).

Input: a picture and a part condition. Output: frames. The classes are diffusers' and transformers' own
(`UNetSpatioTemporalConditionModel`, `CLIPVisionModelWithProjection`, `EulerDiscreteScheduler` with v-prediction, as in
`StableVideoDiffusionPipeline`); ours are the second, zero-initialised convolution that is added to `conv_in`, and the
start from a given clip. Source: Blattmann et al. 2023 (SVD); Karras et al. 2022 (EDM), table 1 for the preconditioning.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kinema.errors import InputError
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.part_condition import encode_condition
from kinema.types import PartCondition

IMAGE_NOISE = 0.02
"""Noise on the first frame's latents, as SVD was trained (noise augmentation)."""
CONDITION_CHANNELS = 2


class WidenedConv(nn.Module):
    """A convolution of more input channels, as the pretrained one plus a second one that starts at zero.

    Without the added channels the pretrained one alone runs, bit for bit.
    """

    def __init__(self, base: nn.Conv2d, added: int):
        super().__init__()
        self.base = base
        self.added = nn.Conv2d(added, base.out_channels, base.kernel_size, base.stride, base.padding, bias=False)  # type: ignore[arg-type]
        nn.init.zeros_(self.added.weight)

    def forward(self, x: Tensor) -> Tensor:
        known = self.base.in_channels
        found = self.base(x[:, :known])
        return found + self.added(x[:, known:]) if x.shape[1] > known else found


def widen(unet: Any) -> None:
    """Let `conv_in` take the two channels of the condition besides."""
    if not isinstance(unet.conv_in, WidenedConv):
        unet.conv_in = WidenedConv(unet.conv_in, CONDITION_CHANNELS)


def is_trained_for_motion(name: str) -> bool:
    """Whether a tensor of the widened UNet is trained with the condition: first block and temporal layers."""
    temporal = ("temporal_res_block", "temporal_transformer_blocks", "time_pos_embed", "time_mixer")
    return name.startswith(("conv_in", "down_blocks.0.")) or any(part in name for part in temporal)


def small_attention() -> Any:
    """On a CPU torch's fused attention is slow for the short sequences of temporal layers: 1.4 times a training step."""
    return sdpa_kernel(SDPBackend.MATH) if not torch.cuda.is_available() else nullcontext()


def precondition(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """EDM's c_skip, c_out, c_in and c_noise for v-prediction, as diffusers' Euler scheduler has them."""
    total = sigma**2 + 1
    return 1 / total, -sigma / total.sqrt(), 1 / total.sqrt(), 0.25 * sigma.log()


def context_tokens(image_encoder: nn.Module, images: Tensor, pooled: bool) -> Tensor:
    """Pictures [B,3,H,W] in -1..1 -> what the cross-attention sees [B,N,C]: one pooled vector (SVD), or every patch."""
    model: Any = image_encoder
    side = model.config.image_size
    small = nn.functional.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    seen = model(pixel_values=small.to(images.dtype))
    if pooled:
        return seen.image_embeds[:, None]
    return model.visual_projection(model.vision_model.post_layernorm(seen.last_hidden_state))


@dataclass
class Svd:
    """A loaded model; fulfils `kinema.reinforce.backbone.Backbone`.

    unet      the base; with an adapter its copy `guided` besides, which takes the condition
    pooled    whether the image encoder's one vector is the context, as in SVD, or every patch, as in mini-svd
    """

    unet: Any
    autoencoder: Any
    image_encoder: Any
    scheduler: Any
    guided: Any = None
    pooled: bool = False
    multiple: int = 32

    @property
    def most_frames(self) -> int:
        return self.unet.config.num_frames

    @torch.inference_mode()
    def encode(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Tensor:
        """[T,C,h,w] latents of about unit size."""
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).to(self.unet.device, self.unet.dtype) / 127.5 - 1
        return self.autoencoder.encoder(pixels) * self.autoencoder.config.scaling_factor

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> UInt8[np.ndarray, "T H W 3"]:
        pixels = self.autoencoder.decoder(latents.to(self.unet.dtype) / self.autoencoder.config.scaling_factor)
        pixels = (pixels.float().clamp(-1, 1) + 1) * 127.5
        return pixels.round().byte().permute(0, 2, 3, 1).cpu().numpy()

    @torch.inference_mode()
    def generate(
        self,
        image: UInt8[np.ndarray, "H0 W0 3"],
        sampling: Sampling,
        condition: PartCondition | None = None,
        start: UInt8[np.ndarray, "T H W 3"] | None = None,
        known: Float32[np.ndarray, "T H W"] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> UInt8[np.ndarray, "T H W 3"]:
        """See `kinema.reinforce.backbone.Backbone.generate`."""
        if condition is not None and self.guided is None:
            raise InputError("condition", "was given to a model without its motion adapter", mend="load the adapter")
        unet = self.unet if condition is None else self.guided
        picture = cv2.resize(image, sampling.size, interpolation=cv2.INTER_AREA)
        generator = torch.Generator().manual_seed(sampling.seed)
        fixed = self._fixed_channels(picture, sampling, condition, generator)
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].to(unet.device, unet.dtype) / 127.5 - 1
        context = context_tokens(self.image_encoder, pixels, self.pooled)
        ids = torch.tensor([[sampling.fps - 1, sampling.motion_bucket, IMAGE_NOISE]]).to(unet.device, unet.dtype)
        latents, timesteps = self._begin(sampling, start, fixed.shape, generator)
        with small_attention():
            for step, timestep in enumerate(timesteps):
                given = self.scheduler.scale_model_input(latents, timestep)
                given = torch.cat([given.to(unet.dtype), fixed], 1)[None]
                found = unet(given, timestep.to(unet.device), context, ids, return_dict=False)[0][0]
                latents = self.scheduler.step(found.float(), timestep, latents).prev_sample
                if progress:
                    progress(step + 1, len(timesteps))
        frames = self.decode(latents) if start is None else self._changed(start, known, latents)
        frames[0] = picture
        return frames

    def _changed(self, start: np.ndarray, known: np.ndarray | None, latents: Tensor) -> np.ndarray:
        """The start clip with what the model changed of it where that is asked, so that the rest stays as it is.

        Both are decoded, with and without the change, and the difference of the two is added to the clip: what the
        autoencoder blurs is in both.
        """
        before, after = (self.decode(z).astype(np.float32) for z in (self.encode(start), latents))
        change = after - before if known is None else (after - before) * (1 - known[..., None])
        return np.clip(np.rint(start + change), 0, 255).astype(np.uint8)

    def _fixed_channels(self, picture, sampling: Sampling, condition: PartCondition | None, generator) -> Tensor:
        """What every step sees besides the noisy latents [T,C,h,w]: the first frame's, and the motion where known."""
        first = self.encode(picture[None])
        first = first + IMAGE_NOISE * torch.randn(first.shape, generator=generator).to(first)
        repeated = first.expand(sampling.frames, -1, -1, -1)
        if condition is None:
            return repeated
        motion = torch.from_numpy(encode_condition(condition, (first.shape[2], first.shape[3])))
        return torch.cat([repeated, motion.to(first)], 1)

    def _begin(self, sampling: Sampling, start, fixed_shape, generator) -> tuple[Tensor, Tensor]:
        """Noisy latents [T,C,h,w], float32, and the timesteps to go."""
        shape = (sampling.frames, self.unet.config.out_channels, *fixed_shape[2:])
        noise = torch.randn(shape, generator=generator).to(self.unet.device)
        if start is None:
            self.scheduler.set_timesteps(sampling.steps)
            return noise * self.scheduler.init_noise_sigma, self.scheduler.timesteps
        sigmas = karras_sigmas(sampling.start_noise, self.scheduler.config.sigma_min, sampling.start_steps)
        self.scheduler.set_timesteps(sigmas=[*sigmas, 0.0])
        return self.encode(start).float() + noise * self.scheduler.sigmas[0], self.scheduler.timesteps


def karras_sigmas(most: float, least: float, steps: int, rho: float = 7.0) -> list[float]:
    """Noise levels from `most` down to `least` (Karras et al. 2022, equation 5)."""
    ramp = np.linspace(0, 1, steps)
    return list((most ** (1 / rho) + ramp * (least ** (1 / rho) - most ** (1 / rho))) ** rho)


def load_svd(folder: str | Path, adapter: str | Path | None, dtype: torch.dtype, device: str = "cpu") -> Svd:
    """Read a model folder in diffusers' layout (unet, vae, image_encoder, scheduler), and the motion adapter.

    Raises InputError where something is missing or does not fit.
    """
    import copy

    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from diffusers.utils import logging as diffusers_logging
    from safetensors.torch import load_file
    from transformers import CLIPVisionModelWithProjection
    from transformers.utils import logging as transformers_logging

    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = Path(folder)
    try:
        unet = UNetSpatioTemporalConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype)
        autoencoder = AutoencoderTiny.from_pretrained(folder, subfolder="vae", torch_dtype=dtype)
        encoder = CLIPVisionModelWithProjection.from_pretrained(folder, subfolder="image_encoder", dtype=dtype)
        scheduler = EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    except (OSError, ValueError) as error:
        raise InputError(folder, f"is no model folder ({error})", "unet, vae, image_encoder and scheduler") from error
    models: list[Any] = [unet, autoencoder, encoder]
    for model in models:
        model.to(device).eval().requires_grad_(False)
    guided = None
    if adapter is not None:
        guided = copy.deepcopy(models[0])
        widen(guided)
        own = guided.state_dict()
        trained = load_file(adapter)
        unknown = [n for n, v in trained.items() if n not in own or own[n].shape != v.shape]
        if unknown:
            raise InputError(adapter, f"does not fit {folder} ({unknown[0]})", mend="give the adapter of this model")
        guided.load_state_dict({n: v.to(dtype) for n, v in trained.items()}, strict=False)
        guided.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return Svd(models[0], models[1], models[2], scheduler, guided)
