"""Train `mini-svd` on the procedural world, in the paper's order: (1) image to video, (2) with the part condition.

kinema train world-video --capture cmu_train.npz --autoencoder ae/ --cache cache/ --run runs/base --out mini_svd/
kinema train revision --base mini_svd/ --cache cache/ --run runs/revision --out mini_svd/adapter.safetensors

(1) trains the UNet and the image encoder together. (2) trains the two new channels of `conv_in`, the first block and the
temporal layers on 40 % full part masks, 30 % polygons of random parts in the last frame, 30 % nothing (ReVision, 4.1).
Loss: EDM's (Karras et al. 2022, table 1) with v-prediction, where a pixel of a subject counts more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.precision import pick_precision
from kinema.reinforce import svd
from kinema.reinforce.adapters import save_adapter
from kinema.reinforce.part_condition import encode_condition, training_condition
from kinema.train.card import of_world, write_card
from kinema.train.latent_cache import SIDE, LatentCache, build_cache
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, train
from kinema.types import PartCondition
from kinema.world.sampler import World

log = logging.getLogger(__name__)

WIDTHS, HEADS = (64, 96, 96), (2, 3, 3)
CONTEXT = 128
LOG_SIGMA = (0.0, 1.4)
"""Mean and deviation of the noise levels' logarithm that are trained."""
SUBJECT_WEIGHT = 3.0
"""How much more a latent counts where a subject is now, or was in the first frame."""
SHORT = 8
"""Frames of the clips that most steps see."""
MOTION_SCALE = 0.06
"""Share of pixels that change their part from frame to frame that makes motion bucket 255."""


@dataclass(frozen=True)
class VideoTrainConfig:
    """Where to train, and for how long. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    cache: Path
    """Folder of encoded clips; made where it is missing."""
    capture: Path | None = None
    """Human capture to move the world's people (multi-clip npz); default: the few shipped clips."""
    photographs: Path | None = None
    """Folder of pictures to use as backdrops."""
    clips: int = 5000
    """Clips of the cache."""
    autoencoder: Path | None = None
    """Folder with the trained autoencoder; default: that of the shipped mini-svd."""
    base: Path | None = None
    """Model folder to start from; for `revision`, the base. Default: the shipped mini-svd (`revision` only)."""
    out: Path | None = None
    """Where to write the finished model folder, or the adapter (.safetensors)."""
    batch: int = 8
    long_share: float = 0.25
    """Share of the steps, at the end, that see whole clips of 16 frames, half as many at a time."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=20_000, learning_rate=1e-3, decay=0.85))


class Denoiser(nn.Module):
    """What is trained: the UNet, and with it the image encoder."""

    def __init__(self, unet: Any, image_encoder: Any):
        super().__init__()
        self.unet, self.image_encoder = unet, image_encoder


def make_denoiser(latent_channels: int) -> Denoiser:
    """The mini UNet and image encoder, untrained: the classes of SVD at small sizes."""
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    unet = UNetSpatioTemporalConditionModel(
        sample_size=16,
        in_channels=2 * latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlockSpatioTemporal", *("CrossAttnDownBlockSpatioTemporal",) * 2),
        up_block_types=(*("CrossAttnUpBlockSpatioTemporal",) * 2, "UpBlockSpatioTemporal"),
        block_out_channels=WIDTHS,
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        layers_per_block=1,
        cross_attention_dim=CONTEXT,
        num_attention_heads=HEADS,
        num_frames=16,
    )
    encoder = CLIPVisionConfig(
        hidden_size=CONTEXT, intermediate_size=2 * CONTEXT, projection_dim=CONTEXT, num_hidden_layers=2,
        num_attention_heads=4, image_size=SIDE, patch_size=16,
    )  # fmt: skip
    return Denoiser(unet, CLIPVisionModelWithProjection(encoder))


@dataclass(frozen=True)
class Batch:
    """latents [B,T,C,h,w] of unit size; images [B,3,H,W] in -1..1; ids [B,3]; weights [B,T,1,h,w]; motion [B,T,2,h,w]"""

    latents: Tensor
    images: Tensor
    ids: Tensor
    weights: Tensor
    motion: Tensor


def draw(
    cache: LatentCache, rng: np.random.Generator, batch: int, frames: int, clip: np.ndarray | None = None
) -> Batch:
    """Random clips, of random start and stride where they are short; the frame rate goes along."""
    chosen = rng.integers(0, len(cache), batch) if clip is None else clip
    latents, images, ids, weights, motion = [], [], [], [], []
    whole = cache.latents.shape[1]
    for k in chosen:
        # The image is the first frame of the cached clip, so a window begins there; its stride varies.
        stride = int(rng.integers(1, (whole - 1) // (frames - 1) + 1)) if frames > 1 else 1
        window = slice(0, stride * (frames - 1) + 1, stride)
        parts = np.ascontiguousarray(cache.part_ids[k, window])
        latents.append(np.asarray(cache.latents[k, window], np.float32))
        images.append(np.asarray(cache.first_frames[k]))
        ids.append((8 / stride - 1, motion_bucket(parts), svd.IMAGE_NOISE))
        seen = (
            encode_condition(PartCondition(parts, np.ones(parts.shape, np.float32)), latents[-1].shape[-2:])[:, :1] != 0
        )
        weights.append(1 + SUBJECT_WEIGHT * (seen | seen[:1]))
        motion.append(encode_condition(training_condition(parts, rng), latents[-1].shape[-2:]))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    arrays = (torch.from_numpy(np.stack(a).astype(np.float32)) for a in (ids, weights, motion))
    return Batch(torch.from_numpy(np.stack(latents)), pixels, *arrays)


def motion_bucket(part_ids: np.ndarray) -> int:
    """SVD's 0-255 from part masks [T,H,W]: the share of pixels that change their part from frame to frame."""
    if len(part_ids) < 2:
        return 0
    changed = float((part_ids[1:] != part_ids[:-1]).mean())
    return int(min(255, 255 * changed / MOTION_SCALE))


def denoising_loss(
    model: Denoiser, batch: Batch, noise: np.random.Generator, guided: bool, precision: torch.dtype
) -> Tensor:
    """EDM's weighted error of the denoised latents, which for v-prediction is the error of the network itself."""
    x = batch.latents
    device = next(model.parameters()).device

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(noise.standard_normal(shape, np.float32))

    sigma = (LOG_SIGMA[0] + LOG_SIGMA[1] * normal(len(x))).exp()[:, None, None, None, None]
    skip, out, scale, time = svd.precondition(sigma)
    noisy = x + sigma * normal(*x.shape)
    first = x[:, :1] + svd.IMAGE_NOISE * normal(*x[:, :1].shape)
    given = torch.cat([scale * noisy, first.expand_as(x), *([batch.motion] if guided else [])], 2)
    target = (x - skip * noisy) / out
    given, target, weights, images, ids = (
        v.to(device) for v in (given, target, batch.weights, batch.images, batch.ids)
    )
    with torch.autocast(device.type, precision, enabled=precision != torch.float32), svd.small_attention():
        context = svd.context_tokens(model.image_encoder, images, pooled=False)
        found = model.unet(given, time.flatten().to(device), context, ids).sample
    return (weights * (found.float() - target).square()).mean() / weights.mean()


def train_world_video(config: VideoTrainConfig) -> Path:
    """(1): image to video. -> the finished model folder (or the run, where `out` is not given)."""
    device, autoencoder = _ready(config)
    torch.manual_seed(config.loop.seed)
    if config.base:
        base = svd.load_svd(config.base, None, torch.float32)
        model = Denoiser(base.unet, base.image_encoder).requires_grad_(True)
    else:
        model = make_denoiser(autoencoder.config.latent_channels)
    _train(model.to(device), config, autoencoder, guided=False)
    if config.out and leads():
        _save_folder(model, autoencoder, config.out)
        write_card(
            config.out,
            config.run,
            "world-video",
            config,
            of_world(config.capture),
        )
    return config.out or config.run


def train_revision(config: VideoTrainConfig) -> Path:
    """(2): the part condition on a frozen base. -> the finished adapter (or the run, where `out` is not given)."""
    from kinema.checkpoints import MINI_SVD

    device, autoencoder = _ready(config)
    folder = config.base or MINI_SVD
    base = svd.load_svd(folder, None, torch.float32)
    torch.manual_seed(config.loop.seed)
    svd.widen(base.unet)
    model = Denoiser(base.unet, base.image_encoder).to(device)
    for name, weight in model.unet.named_parameters():
        weight.requires_grad_(svd.is_trained_for_motion(name))
    _train(model, config, autoencoder, guided=True)
    if config.out and leads():
        own = {name: weight for name, weight in model.unet.state_dict().items() if svd.is_trained_for_motion(name)}
        save_adapter(own, config.out, folder, "unet", "first block and temporal layers")
        write_card(
            config.out,
            config.run,
            "revision",
            config,
            of_world(config.capture),
        )
    return config.out or config.run


def _ready(config: VideoTrainConfig) -> tuple[torch.device, Any]:
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    from kinema.checkpoints import MINI_SVD

    device = pick_device(config.device, config.threads)
    folder = config.autoencoder or MINI_SVD / "vae"
    try:
        autoencoder = AutoencoderTiny.from_pretrained(folder, torch_dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise InputError(
            folder, f"holds no autoencoder ({error})", mend="kinema train autoencoder --out FOLDER"
        ) from error
    return device, autoencoder.to(device).eval().requires_grad_(False)  # type: ignore[attr-defined]


def _train(model: Denoiser, config: VideoTrainConfig, autoencoder: Any, guided: bool) -> None:
    from accelerate import PartialState

    world = World.load(config.capture, config.photographs)
    with PartialState().main_process_first():
        cache = build_cache(world, autoencoder, config.cache, config.clips)
    precision = pick_precision("auto", next(model.parameters()).device)
    model.train()

    def batch_of(step: int) -> tuple[Batch, np.random.Generator]:
        rng = rng_for(config.loop.seed, step)
        long = step >= (1 - config.long_share) * config.loop.steps
        count, frames = (max(1, config.batch // 2), cache.latents.shape[1]) if long else (config.batch, SHORT)
        return draw(cache, rng, count, frames), rng

    def loss(drawn: tuple[Batch, np.random.Generator]) -> Tensor:
        return denoising_loss(model, *drawn, guided, precision)

    train(model, loss, config, config.run, draw=batch_of)


def _save_folder(model: Denoiser, autoencoder: Any, folder: Path) -> None:
    """diffusers' layout, float16."""
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        timestep_spacing="leading", timestep_type="continuous", use_karras_sigmas=True, sigma_min=0.02, sigma_max=40.0,
    )  # fmt: skip
    model.unet.half().save_pretrained(folder / "unet")
    model.image_encoder.half().save_pretrained(folder / "image_encoder")
    autoencoder.half().save_pretrained(folder / "vae")
    scheduler.save_pretrained(folder / "scheduler")
