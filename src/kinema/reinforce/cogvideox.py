"""CogVideoX with mask sequences, clip after clip (MVideo, sections 3.2 and 3.3).

Input: a prompt; where given, masks, and the clip before. Output: the frames of one clip. The network is in
`cogvideox_network`, its adapter in `cogvideox_lora`; the autoencoders, the schedulers and the way of sampling are those of
diffusers' `CogVideoXPipeline` (Yang et al. 2024): v-prediction, and classifier-free guidance against an empty prompt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from kinema.checkpoints import weights_hash
from kinema.errors import InputError
from kinema.reinforce.cogvideox_lora import load_adapter
from kinema.reinforce.cogvideox_network import Before, MVideoTransformer
from kinema.reinforce.cogvideox_text import PromptEncoder, T5Prompts, TokenPrompts
from kinema.reinforce.memory import Memory, place
from kinema.reinforce.speed import QUALITY, Speed, blocks_of, cached, compiled, noise_of, only_dpm
from kinema.types import MaskSequence

COLOURS = np.array(
    [
        (255, 255, 255),
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
        (255, 0, 255),
        (0, 255, 255),
        (255, 128, 0),
    ],
    np.uint8,
)
"""RGB of the first, second, ... thing of a mask sequence, on black. Fixed: trained adapters depend on it."""
NEAR = 1 / 8
"""Of the shorter side: what is no further from a mask than that is near it."""
SHAPE_TOLERANCE = 0.02
"""Relative difference of two aspect ratios up to which masks are only scaled."""


@dataclass(frozen=True)
class ClipSettings:
    """How one clip is made; the defaults are those of CogVideoX-2b and 5b at MVideo's 4 s (sections 3.3 and 4.1).

    frames      4 n + 1 (8 n + 1 with CogVideoX's own autoencoder); the first is the last one of the clip before
    size        (width, height) in pixels
    small_size  of the previous clip, as it is seen
    guidance    scale of the classifier-free guidance; up to 1 there is none
    guide_all   whether it is against no masks and nothing before too, so that it strengthens them as it does the text
    guide_masks  with `guide_all`, the masks' own scale: the prompt is guided against nothing at all, and the masks against
                the prompt without them, in three forwards a step (Brooks et al. 2023, equation 3); None: one for all
    guide_away  with `guide_masks`, how much of that is left away from all masks, 0 to 1: there it strengthens nothing that
                was asked
    guidance_rescale  how far the deviation of what is guided is brought back to that of what was predicted, 0 to 1
                (Lin et al. 2024, section 3.4): strong guidance makes colours too strong
    context     latent frames of the clip before that are decoded along, for an autoencoder that looks at both sides of a
                moment: it then sees across the seam. CogVideoX's own looks back only, and takes an odd number or none
    fade        frames to which what the clip's first frame lacks of the one that was shown last is added, less and less, so
                that it goes on from there
    speed       what is saved of the plain model's work; `steps` are what is left of them
    """

    frames: int = 33
    size: tuple[int, int] = (720, 480)
    small_size: tuple[int, int] = (384, 256)
    fps: float = 8.0
    steps: int = 50
    guidance: float = 6.0
    guide_all: bool = False
    guide_masks: float | None = None
    guide_away: float = 1.0
    guidance_rescale: float = 0.0
    context: int = 0
    fade: int = 0
    speed: Speed = QUALITY


@dataclass
class CogVideoX:
    """A loaded model.

    name, identity  of the base; identity changes with any weight, the adapter's too
    """

    network: MVideoTransformer
    autoencoder: Any
    text_encoder: PromptEncoder
    scheduler: Any
    clip: ClipSettings
    name: str = "cogvideox"
    identity: str = ""

    def __post_init__(self):
        clip, step = self.clip, self.spatial_step * self.network.base.config.patch_size
        # diffusers' AutoencoderKLCogVideoX decodes an odd number of latent frames; of an even one it makes too many.
        own = type(self.autoencoder).__name__ == "AutoencoderKLCogVideoX"
        whole = self.temporal_step * (2 if own else 1)
        if clip.frames < 1 or (clip.frames - 1) % whole:
            raise InputError("frames", f"are {clip.frames}", f"a multiple of {whole} and 1 more")
        if clip.context < 0 or (own and clip.context and clip.context % 2 == 0):
            raise InputError("context", f"is {clip.context}", "odd, or 0" if own else "0 or more")
        if clip.fade < 0:
            raise InputError("fade", f"is {clip.fade}", "0 or more")
        if clip.guide_masks is not None and not clip.guide_all:
            raise InputError("guide_masks", f"is {clip.guide_masks:g}", "no scale of its own", "guide_all=True")
        if clip.guide_away != 1 and clip.guide_masks is None:
            raise InputError("guide_away", f"is {clip.guide_away:g}", "nothing to weaken", "guide_masks with it")
        for name in ("guide_away", "guidance_rescale"):
            if not 0 <= getattr(clip, name) <= 1:
                raise InputError(name, f"is {getattr(clip, name):g}", "0 to 1")
        for name, size in (("size", clip.size), ("small size", clip.small_size)):
            if min(size) < step or size[0] % step or size[1] % step:
                raise InputError(name, f"is {size[0]}x{size[1]}", f"multiples of {step}")

        config, taken = self.autoencoder.config, self.network.base.config.in_channels
        given = config.get("latent_channels") or config.get("z_dim")
        if given != taken:
            raise InputError("autoencoder", f"has {given} channels of latents", f"{taken}, as the transformer takes")

    @property
    def temporal_step(self) -> int:
        """Frames a latent frame, after the first."""
        config = self.autoencoder.config
        return int(config.get("temporal_compression_ratio") or config.get("scale_factor_temporal"))

    @property
    def spatial_step(self) -> int:
        """Pixels a latent."""
        config = self.autoencoder.config
        return int(config.get("scale_factor_spatial") or 2 ** (len(config.block_out_channels) - 1))

    @torch.inference_mode()
    def encode(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Float[Tensor, "F C h w"]:
        """Latents of about unit size; T is 4 n + 1. The most likely ones, so that equal frames have equal latents."""
        weight = next(self.autoencoder.parameters())
        pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].to(weight.device, weight.dtype) / 127.5 - 1
        mean, deviation = latent_statistics(self.autoencoder)
        latents = (self.autoencoder.encode(pixels).latent_dist.mode() - mean) / deviation
        return latents[0].transpose(0, 1)

    @torch.inference_mode()
    def decode(self, latents: Float[Tensor, "F C h w"]) -> UInt8[np.ndarray, "T H W 3"]:
        mean, deviation = latent_statistics(self.autoencoder)
        given = latents.transpose(0, 1)[None].to(next(self.autoencoder.parameters()).dtype) * deviation + mean
        pixels = self.autoencoder.decode(given).sample[0].float()
        return ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 3, 0).cpu().numpy()

    def encode_masks(self, masks: MaskSequence) -> Float[Tensor, "F C h w"]:
        """The motion encoder: the autoencoder's, frozen, on a picture of the masks (section 3.2).

        `masks` begin with the clip and may end before it does: a latent frame that they do not wholly cover is 0, so that
        there the network runs as without masks. (Black, in contrast, says that nothing is there.)
        """
        drawn = np.zeros((self.clip.frames, *self.clip.size[::-1], 3), np.uint8)
        count = min(len(masks), len(drawn))
        drawn[:count] = mask_pictures(masks.masks[:count], self.clip.size)
        latents = self.encode(drawn).clone()
        latents[(count - 1) // self.temporal_step + 1 :] = 0
        return latents

    def masks_guide(self, masks: MaskSequence) -> Float[Tensor, "F 1 h w"]:
        """Where the masks' guidance counts how much: 1 near them and where they have ended, `guide_away` elsewhere."""
        width, height = (side // self.spatial_step for side in self.clip.size)
        near = torch.ones(self.clip.frames, 1, height, width)
        shown = torch.from_numpy(masks.masks[: len(near)].any(1)).float()[:, None]
        reach = round(NEAR * min(width, height))
        near[: len(shown)] = F.max_pool2d(F.adaptive_max_pool2d(shown, (height, width)), 2 * reach + 1, 1, reach)
        later = near[1:].reshape(-1, self.temporal_step, 1, height, width).amax(1)
        return self.clip.guide_away + (1 - self.clip.guide_away) * torch.cat([near[:1], later])

    def encode_before(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Before:
        """What the next clip sees of this one: its last frame, and all of it, smaller (section 3.3)."""
        small = np.stack([cv2.resize(f, self.clip.small_size, interpolation=cv2.INTER_AREA) for f in frames])
        return Before(self.encode(frames[-1:])[None], self.encode(small)[None])

    def generate(
        self,
        prompt: str,
        seed: int,
        masks: MaskSequence | None = None,
        before: UInt8[np.ndarray, "T H W 3"] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> UInt8[np.ndarray, "T H W 3"]:
        """One clip.

        masks     from its first frame on, at its rate; fewer than its frames are taken as not known after that
        before    the clip before it, whose last frame is the first one of this
        progress  called with (steps done, steps)
        Guidance is against an empty prompt with, but for `guide_all`, the same masks and clip before.
        """
        seen = None if masks is None else self.encode_masks(masks)[None]
        earlier = None if before is None else self.encode_before(before)
        strength = None if masks is None or self.clip.guide_masks is None else self.masks_guide(masks)[None]
        latents = self.sample(prompt, seed, seen, earlier, progress, strength)
        if before is None or not self.clip.context:
            return self.decode(latents)
        # The first latent frame of a clip is the last moment of the one before.
        known = self.encode(before)[-self.clip.context :]
        return self.decode(torch.cat([known, latents[1:]]))[-self.clip.frames :]

    @torch.inference_mode()
    def sample(
        self,
        prompt: str,
        seed: int,
        masks: Float[Tensor, "1 F C h w"] | None = None,
        before: Before | None = None,
        progress: Callable[[int, int], None] | None = None,
        strength: Float[Tensor, "1 F 1 h w"] | None = None,
    ) -> Float[Tensor, "F C h w"]:
        """Latents of one clip: what `CogVideoXPipeline` does, with masks and what came before.

        strength  of the masks' guidance, a factor (`masks_guide`); None: 1
        """
        from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler
        from diffusers.utils.torch_utils import randn_tensor

        clip, computes_on = self.clip, next(self.autoencoder.parameters()).device
        weight = torch.empty(0, dtype=self.network.kinds.dtype, device=computes_on)  # the network may be kept elsewhere
        guided = clip.guidance > 1
        apart = guided and clip.guide_all
        text = self.text_encoder.encode(["", prompt] if guided else [prompt]).to(weight)
        batch = 2 if guided and not apart else 1
        if masks is not None:
            masks = masks.to(weight).expand(batch, -1, -1, -1, -1)
        if before is not None:
            earlier = (v.to(weight).expand(batch, -1, -1, -1, -1) for v in (before.last_frame, before.clip))
            before = Before(*earlier)
        if strength is not None:
            strength = strength.to(weight.device)
        generator = torch.Generator().manual_seed(seed)
        width, height = (side // self.spatial_step for side in clip.size)
        channels = self.network.base.config.out_channels
        shape = (1, (clip.frames - 1) // self.temporal_step + 1, channels, height, width)
        scheduler = self._scheduler()
        latents = randn_tensor(shape, generator, weight.device, weight.dtype) * scheduler.init_noise_sigma
        scheduler.set_timesteps(clip.steps, device=weight.device)
        looks_back, guess, last_time = isinstance(scheduler, CogVideoXDPMScheduler), None, None
        with self._sped_up():
            for number, time in enumerate(scheduler.timesteps):
                guides = guided and clip.speed.guides_at(noise_of(scheduler, time))
                found = self._predict(latents, text, time, masks, before, guides, strength)
                step = (found, guess, time, last_time, latents) if looks_back else (found, time, latents)
                latents, guess = scheduler.step(*step, generator=generator, return_dict=False)
                latents, last_time = latents.to(weight.dtype), time
                if progress:
                    progress(number + 1, clip.steps)
        return latents[0]

    def _predict(
        self,
        latents: Tensor,
        text: Tensor,
        time: Tensor,
        masks: Tensor | None,
        before: Before | None,
        guides: bool,
        strength: Tensor | None = None,
    ) -> Tensor:
        """v of one step, guided or not; `text` [2,L,E] is the empty prompt and the prompt, or [1,L,E] the prompt alone.

        Masks and what was before come once for each prompt that they go with.
        """
        network, clip = self.network, self.clip
        both = guides and not clip.guide_all
        batch = 2 if both else 1
        if masks is not None:
            masks = masks[-batch:]
        if before is not None:
            before = Before(before.last_frame[-batch:], before.clip[-batch:])
        given, times = latents.expand(batch, -1, -1, -1, -1), time.expand(batch)
        with network.base.cache_context("cond_uncond" if both else "cond"):
            found = network(given, text[-batch:], times, masks, before).float()
        if not guides:
            return found
        free, asked = found[:1], found[-1:]
        if not both:
            with network.base.cache_context("uncond"):
                free = network(latents, text[:1], times, None, None).float()
        if both or masks is None or clip.guide_masks is None:
            guided = free + clip.guidance * (asked - free)
        else:
            with network.base.cache_context("cond, no masks"):
                plain = network(latents, text[-1:], times, None, before).float()
            led = asked - plain if strength is None else strength * (asked - plain)
            guided = free + clip.guidance * (plain - free) + clip.guide_masks * led
        if not clip.guidance_rescale:
            return guided
        return guided.lerp(guided * (asked.std() / guided.std()), clip.guidance_rescale)

    @contextmanager
    def _sped_up(self) -> Iterator[None]:
        """The network as the clip's `speed` says, while this lasts."""
        speed, base = self.clip.speed, self.network.base
        with ExitStack() as stack:
            if speed.compiled:
                stack.enter_context(compiled(blocks_of(base)))
            stack.enter_context(cached(base, speed.cache, self.clip.steps))
            yield

    def _scheduler(self) -> Any:
        """The model's own, or CogVideoX's DPM-Solver++."""
        from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler

        sampler = self.clip.speed.sampler
        if sampler is None:
            return self.scheduler
        only_dpm(sampler)
        return CogVideoXDPMScheduler.from_config(self.scheduler.config, timestep_spacing="trailing")


def latent_statistics(autoencoder: Any) -> tuple[Any, Any]:
    """Mean and deviation that make an autoencoder's latents of unit size: a number for all (CogVideoX), or one a channel."""
    config = autoencoder.config
    if config.get("latents_mean") is None:
        return 0.0, 1 / config.scaling_factor
    weight = next(autoencoder.parameters())
    mean, deviation = (
        torch.tensor(config[name]).to(weight)[:, None, None, None] for name in ("latents_mean", "latents_std")
    )
    return mean, deviation


def mask_pictures(masks: Bool[np.ndarray, "T N H W"], size: tuple[int, int]) -> UInt8[np.ndarray, "T h w 3"]:
    """Masks in the colours of `COLOURS` on black, the first in front, scaled to (width, height).

    A pixel counts where half of it is covered. Raises InputError for more things than colours and for another shape.
    """
    count, height, width = masks.shape[1:]
    if count > len(COLOURS):
        raise InputError("masks", f"hold {count} things", f"at most {len(COLOURS)}", "merge some of them")
    if abs(width / height / (size[0] / size[1]) - 1) > SHAPE_TOLERANCE:
        raise InputError(
            "masks", f"are {width}x{height}, the video {size[0]}x{size[1]}", "the same shape", "crop or pad the masks"
        )
    drawn = np.zeros((len(masks), size[1], size[0], 3), np.uint8)
    for picture, frame in zip(drawn, masks, strict=True):
        for mask, colour in reversed(list(zip(frame, COLOURS, strict=False))):
            if (width, height) != size:
                mask = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
            picture[mask] = colour
    return drawn


def load_cogvideox(
    folder: str | Path,
    adapter: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    clip: ClipSettings | None = None,
    sampler: Literal["ddim", "dpm"] | None = None,
    transformer: Any = None,
    memory: Memory = "fast",
) -> CogVideoX:
    """Read a model folder in diffusers' layout: transformer, vae, scheduler, and text_encoder with tokenizer, or none.

    adapter      folder written by `save_adapter`
    sampler      instead of the folder's own; CogVideoX-5b is at its best with "dpm"
    transformer  instead of the folder's own, as one that is yet to be trained
    Without a text encoder in the folder it is the offline one. Only safetensors are read, and nothing is downloaded.
    Raises InputError where something is missing or does not fit.
    """
    from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "is no folder", "transformer, vae and scheduler")
    kwargs: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "torch_dtype": dtype}
    try:
        if transformer is None:
            transformer = CogVideoXTransformer3DModel.from_pretrained(folder, subfolder="transformer", **kwargs)
        autoencoder = _autoencoder_class(folder).from_pretrained(folder, subfolder="vae", **kwargs)
        scheduler = _load_scheduler(folder, sampler)
        text_encoder = _load_text_encoder(folder, transformer.config, dtype)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(folder, f"is no model folder ({error})", "transformer, vae and scheduler") from error
    network = MVideoTransformer(transformer)
    identity = weights_hash(folder / "transformer")
    if adapter is not None:
        load_adapter(network, Path(adapter), folder.name, identity)
        identity += weights_hash(Path(adapter))
    others = [text_encoder.model] if isinstance(text_encoder, T5Prompts) else []
    place(network.to(dtype=dtype), autoencoder, others, memory, device, dtype)
    identity += weights_hash(folder / "vae")
    return CogVideoX(
        network, autoencoder, text_encoder, scheduler, clip or ClipSettings(), folder.name, identity + str(dtype)
    )


def _autoencoder_class(folder: Path) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    from kinema.reinforce.video_autoencoder import FourFrameAutoencoder

    known = {model.__name__: model for model in (AutoencoderKLCogVideoX, AutoencoderKLWan, FourFrameAutoencoder)}
    return _named_in(folder / "vae" / "config.json", known)


def _load_scheduler(folder: Path, sampler: str | None) -> Any:
    from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler
    from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler

    known = {model.__name__: model for model in (CogVideoXDDIMScheduler, CogVideoXDPMScheduler)}
    own = _named_in(folder / "scheduler" / "scheduler_config.json", known)
    scheduler = own.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
    if scheduler.config.prediction_type != "v_prediction":
        raise InputError(folder / "scheduler", f"predicts {scheduler.config.prediction_type}", "v_prediction")
    if sampler is None:
        return scheduler
    asked = {"ddim": CogVideoXDDIMScheduler, "dpm": CogVideoXDPMScheduler}[sampler]
    spacing = "trailing" if sampler == "dpm" else scheduler.config.timestep_spacing
    return asked.from_config(scheduler.config, timestep_spacing=spacing)


def _load_text_encoder(folder: Path, config: Any, dtype: torch.dtype) -> PromptEncoder:
    tokens = config.max_text_seq_length
    if not (folder / "text_encoder").is_dir():
        offline = TokenPrompts(tokens)
        if config.text_embed_dim != offline.encoder.width:
            found = f"has no text_encoder, and its transformer reads text of {config.text_embed_dim} numbers a token"
            raise InputError(folder, found, "text_encoder and tokenizer", "get the whole model")
        return offline
    from transformers import AutoTokenizer, T5EncoderModel

    tokenizer = AutoTokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True)
    model: Any = T5EncoderModel.from_pretrained(
        folder, subfolder="text_encoder", dtype=dtype, local_files_only=True, use_safetensors=True
    )
    return T5Prompts(tokenizer, model, tokens)


def _named_in(path: Path, known: dict[str, Any]) -> Any:
    """The class that a configuration of diffusers names."""
    name = json.loads(path.read_text())["_class_name"]
    if name not in known:
        raise InputError(path, f"is of {name}", "one of " + ", ".join(known))
    return known[name]
