"""Stable Video Diffusion with two more channels for the motion (ReVision, section 4.1).

Input: a picture and a part condition. Output: frames. The classes are diffusers' and transformers' own
(`UNetSpatioTemporalConditionModel`, `CLIPVisionModelWithProjection`, `EulerDiscreteScheduler` with v-prediction, as in
`StableVideoDiffusionPipeline`); ours are the second, zero-initialised convolution that is added to `conv_in`, and the
start from a given clip. Source: Blattmann et al. 2023 (SVD); Karras et al. 2022 (EDM), table 1 for the preconditioning.

A checkpoint with SVD's own autoencoder is sampled as diffusers' pipeline does it, bit for bit. One with `AutoencoderTiny`
is mini-svd's, and trained to see the picture in another manner: every patch of it is the context, noise is on its latents,
which are scaled as the video's, and there is no guidance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kinema.errors import InputError
from kinema.reinforce.adapters import read_adapter
from kinema.reinforce.backbone import Condition, Constraints, Sampling
from kinema.reinforce.memory import Memory, place
from kinema.reinforce.part_condition import encode_condition
from kinema.reinforce.speed import Deep, Speed, compiled, only_dpm
from kinema.reinforce.svd_cache import deep_cache
from kinema.types import PartCondition

IMAGE_NOISE = 0.02
"""Noise on the first frame's latents, as SVD was trained (noise augmentation)."""
CONDITION_CHANNELS = 2
CONSTRAINTS = Constraints(
    controls=("parts",), multiple=64, frame_step=1, most_frames=25, fps=7.0, starts=("reposed", "noise")
)
"""Of SVD-XT: 8 pixels a latent and three halvings in its UNet; 25 frames and 7 Hz as diffusers' pipeline has them."""
MINI_CONSTRAINTS = Constraints(
    controls=("parts",), multiple=32, frame_step=1, most_frames=16, fps=8.0, starts=("reposed", "noise")
)
CHUNKS: dict[Memory, int] = {"fast": 8, "balanced": 4, "int8": 4, "low": 1}
"""Frames that SVD's own autoencoder decodes at once."""
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels that CLIP was trained on, RGB in 0-1 (Radford et al. 2021)."""


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


def pooled_context(image_encoder: nn.Module, image: Tensor) -> Tensor:
    """A picture [1,3,H,W] in 0..1 -> SVD's context [1,1,C]: CLIP's one vector of it, scaled down as diffusers does it."""
    from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as diffusers_svd

    model: Any = image_encoder
    side = model.config.image_size
    small = (diffusers_svd._resize_with_antialiasing(image * 2.0 - 1.0, (side, side)) + 1.0) / 2.0
    mean, deviation = (torch.tensor(v).to(small)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    weight = next(model.parameters())
    return model(((small - mean) / deviation).to(weight)).image_embeds[:, None]


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

    unet    the base; with an adapter its copy `guided` besides, which takes the condition
    mini    whether the checkpoint sees the picture in mini-svd's manner
    chunk   frames that are decoded at once, with SVD's own autoencoder
    """

    unet: Any
    autoencoder: Any
    image_encoder: Any
    scheduler: Any
    guided: Any = None
    mini: bool = True
    constraints: Constraints = MINI_CONSTRAINTS
    chunk: int = CHUNKS["fast"]

    @torch.inference_mode()
    def encode(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Tensor:
        """[T,C,h,w] latents of about unit size."""
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).to(self.unet.device, self.unet.dtype) / 127.5 - 1
        if self.mini:
            return self.autoencoder.encoder(pixels) * self.autoencoder.config.scaling_factor
        found = torch.cat([self._most_likely(one) for one in pixels.split(self.chunk)])
        return found * self.autoencoder.config.scaling_factor

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> UInt8[np.ndarray, "T H W 3"]:
        latents, scale = latents.to(self.unet.dtype), self.autoencoder.config.scaling_factor
        if self.mini:
            pixels = self.autoencoder.decoder(latents / scale)
            pixels = (pixels.float().clamp(-1, 1) + 1) * 127.5
        else:
            chunks = (1 / scale * latents).split(self.chunk)
            pixels = torch.cat([self.autoencoder.decode(one, num_frames=len(one)).sample for one in chunks])
            pixels = (pixels.float() * 0.5 + 0.5).clamp(0, 1) * 255
        return pixels.round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def _most_likely(self, pixels: Tensor) -> Tensor:
        """The autoencoder's latents [T,C,h,w], not scaled; in float32 where half precision overflows in it."""
        upcast = self.autoencoder.config.force_upcast and self.autoencoder.dtype == torch.float16
        if not upcast:
            return self.autoencoder.encode(pixels.to(self.autoencoder.dtype)).latent_dist.mode()
        found = self.autoencoder.float().encode(pixels.float()).latent_dist.mode()
        self.autoencoder.half()
        return found.half()

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
        """See `kinema.reinforce.backbone.Backbone.generate`. SVD reads no prompt.

        Guidance rises from 1 in the first frame to `sampling.guidance` in the last, against no picture with the same
        motion, so it strengthens the picture alone.
        """
        if condition is not None and not isinstance(condition, PartCondition):
            raise InputError("condition", "is a control video", "parts, which this model takes")
        if condition is not None and self.guided is None:
            raise InputError("condition", "was given to a model without its motion adapter", mend="load the adapter")
        unet = self.unet if condition is None else self.guided
        picture = cv2.resize(image, sampling.size, interpolation=cv2.INTER_AREA)
        generator = torch.Generator().manual_seed(sampling.seed)
        context, fixed = self._seen(picture, sampling, generator)
        fixed = fixed[:, None].expand(-1, sampling.frames, -1, -1, -1)
        if condition is not None:
            motion = torch.from_numpy(encode_condition(condition, (fixed.shape[3], fixed.shape[4]))).to(fixed)
            fixed = torch.cat([fixed, motion.expand(len(fixed), -1, -1, -1, -1)], 2)
        device, dtype = unet.device, unet.dtype
        ids = torch.tensor([[sampling.fps - 1, sampling.motion_bucket, IMAGE_NOISE]]).to(device, dtype)
        ids = ids.expand(len(fixed), -1)
        scale = torch.linspace(1, sampling.guidance, sampling.frames).to(device)[:, None, None, None]
        scheduler = self._scheduler(sampling, start is not None)
        with self._sped_up(unet, sampling.speed), small_attention() if self.mini else nullcontext():
            before = None if start is None else self.encode(start)
            latents, timesteps = self._begin(scheduler, sampling, before, fixed.shape, generator)
            for step, timestep in enumerate(timesteps):
                seen = slice(None) if sampling.speed.guides_at(float(scheduler.sigmas[step])) else slice(-1, None)
                given = scheduler.scale_model_input(latents, timestep).to(dtype)
                given = torch.cat([given.expand(len(fixed[seen]), -1, -1, -1, -1), fixed[seen]], 2)
                found = unet(given, timestep.to(device), context[seen], ids[seen], return_dict=False)[0].float()
                found = found[0] if len(found) == 1 else found[0] + scale * (found[1] - found[0])
                latents = scheduler.step(found, timestep, latents).prev_sample
                if progress:
                    progress(step + 1, len(timesteps))
            if start is None or before is None:
                frames = self.decode(latents)
            else:
                frames = self._changed(start, known, before, latents)
        if self.mini:
            frames[0] = picture
        return frames

    def _seen(self, picture: np.ndarray, sampling: Sampling, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What every step sees of the picture: context [B,N,C] and first latents [B,C,h,w]; with guidance nothing first."""
        pixels = torch.from_numpy(picture[None]).permute(0, 3, 1, 2).float()
        if self.mini:
            pixels = pixels.to(self.unet.device, self.unet.dtype) / 127.5 - 1
            first = self.encode(picture[None])
            first = first + IMAGE_NOISE * torch.randn(first.shape, generator=generator).to(first)
            return context_tokens(self.image_encoder, pixels, pooled=False), first
        pixels = pixels / 255
        noisy = 2.0 * pixels - 1.0 + IMAGE_NOISE * torch.randn(pixels.shape, generator=generator)
        context = pooled_context(self.image_encoder, pixels.to(self.unet.device)).to(self.unet.dtype)
        first = self._most_likely(noisy.to(self.unet.device))
        if sampling.guidance <= 1:
            return context, first
        return torch.cat([torch.zeros_like(context), context]), torch.cat([torch.zeros_like(first), first])

    def _changed(self, start: np.ndarray, known: np.ndarray | None, before: Tensor, after: Tensor) -> np.ndarray:
        """The start clip with what the model changed of it where that is asked, so that the rest stays as it is.

        Both are decoded, with and without the change, and the difference of the two is added to the clip: what the
        autoencoder blurs is in both.
        """
        was, became = (self.decode(latents).astype(np.float32) for latents in (before, after))
        change = became - was if known is None else (became - was) * (1 - known[..., None])
        return np.clip(np.rint(start + change), 0, 255).astype(np.uint8)

    def _scheduler(self, sampling: Sampling, from_clip: bool) -> Any:
        """Euler, or another one; its steps set: from pure noise, or from a start clip's."""
        scheduler, config = self.scheduler, self.scheduler.config
        most = sampling.start_noise if from_clip else config.sigma_max
        steps = sampling.start_steps if from_clip else sampling.steps
        if sampling.speed.sampler is not None:
            only_dpm(sampling.speed.sampler)
            scheduler = _dpm(config, most)
            scheduler.set_timesteps(steps)
        elif from_clip:
            scheduler.set_timesteps(sigmas=[*karras_sigmas(most, config.sigma_min, steps), 0.0])
        else:
            scheduler.set_timesteps(steps)
        return scheduler

    def _begin(
        self, scheduler: Any, sampling: Sampling, before: Tensor | None, fixed_shape, generator
    ) -> tuple[Tensor, Tensor]:
        """Noisy latents [T,C,h,w], float32, and the timesteps to go."""
        shape = (sampling.frames, self.unet.config.out_channels, *fixed_shape[3:])
        noise = torch.randn(shape, generator=generator).to(self.unet.device)
        if before is None:
            return noise * scheduler.init_noise_sigma, scheduler.timesteps
        return before.float() + noise * scheduler.sigmas[0], scheduler.timesteps

    @contextmanager
    def _sped_up(self, unet: Any, speed: Speed) -> Iterator[None]:
        """The UNet as `speed` says, while this lasts."""
        with ExitStack() as stack:
            if speed.compiled:
                stack.enter_context(compiled([*unet.down_blocks, unet.mid_block, *unet.up_blocks]))
            if isinstance(speed.cache, Deep):
                stack.enter_context(deep_cache(unet, speed.cache.every))
            elif speed.cache is not None:
                raise InputError("cache", f"is a {type(speed.cache).__name__}, and SVD is no transformer", "Deep")
            yield


def _dpm(config: Any, most: float) -> Any:
    """DPM-Solver++(2M) on EDM's levels of noise, from `most` down, of a network that was trained as SVD's."""
    from diffusers.schedulers.scheduling_edm_dpmsolver_multistep import EDMDPMSolverMultistepScheduler

    return EDMDPMSolverMultistepScheduler(
        sigma_min=config.sigma_min, sigma_max=most, sigma_data=1.0, prediction_type="v_prediction"
    )


def karras_sigmas(most: float, least: float, steps: int, rho: float = 7.0) -> list[float]:
    """Noise levels from `most` down to `least` (Karras et al. 2022, equation 5)."""
    ramp = np.linspace(0, 1, steps)
    return list((most ** (1 / rho) + ramp * (least ** (1 / rho) - most ** (1 / rho))) ** rho)


def load_svd(
    folder: str | Path, adapter: str | Path | None, dtype: torch.dtype, device: str = "cpu", memory: Memory = "fast"
) -> Svd:
    """Read a model folder in diffusers' layout (unet, vae, image_encoder, scheduler), and the motion adapter.

    Only safetensors are read, and nothing is downloaded. Raises InputError where something is missing or does not fit.
    """
    import copy

    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from diffusers.utils import logging as diffusers_logging
    from transformers import CLIPVisionModelWithProjection
    from transformers.utils import logging as transformers_logging

    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = Path(folder)
    kwargs: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    try:
        unet = UNetSpatioTemporalConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype, **kwargs)
        config: Any = AutoencoderTiny.load_config(folder, subfolder="vae", local_files_only=True)
        mini = config["_class_name"] == AutoencoderTiny.__name__
        of_class = AutoencoderTiny if mini else AutoencoderKLTemporalDecoder
        autoencoder = of_class.from_pretrained(folder, subfolder="vae", torch_dtype=dtype, **kwargs)
        encoder = CLIPVisionModelWithProjection.from_pretrained(
            folder, subfolder="image_encoder", dtype=dtype, **kwargs
        )
        scheduler = EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(folder, f"is no model folder ({error})", "unet, vae, image_encoder and scheduler") from error
    if mini:  # the order in which convolutions on a CPU are fastest: half the time, the same numbers
        autoencoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    models: list[Any] = [unet, autoencoder, encoder]
    guided = None
    if adapter is not None:
        guided = copy.deepcopy(models[0])
        widen(guided)
        trained = read_adapter(adapter, guided, folder, "unet")
        guided.load_state_dict({n: v.to(dtype) for n, v in trained.items()}, strict=False)
        place(guided.to(dtype=dtype), autoencoder, [], memory, device, dtype)
    place(models[0], autoencoder, [encoder], memory, device, dtype)
    limits = MINI_CONSTRAINTS if mini else CONSTRAINTS
    limits = replace(limits, most_frames=models[0].config.num_frames)
    return Svd(models[0], models[1], models[2], scheduler, guided, mini, limits, CHUNKS[memory])
