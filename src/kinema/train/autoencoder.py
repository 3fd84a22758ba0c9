"""Train the autoencoder of `mini-svd` on frames of the procedural world: diffusers' `AutoencoderDC`.

kinema train autoencoder --capture cmu_train.npz --photographs photos/ --run runs/autoencoder --out autoencoder/

Its shortcuts (pixels folded into channels, Chen et al. 2024, Deep Compression Autoencoder) carry plain colours past
every norm, and make it learn fast: `docs/log.md` has the others that were tried.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.train.loop import LoopConfig, rng_for, train
from kinema.train.pmp import pick_precision
from kinema.world.sampler import World

if TYPE_CHECKING:
    from diffusers import AutoencoderDC

log = logging.getLogger(__name__)

LATENT_CHANNELS = 12
WIDTHS, LAYERS = (24, 48, 96, 96), (0, 1, 1, 1)
FRAMES = 4
"""Frames of a clip that a step sees."""
LATENT_WEIGHT = 1e-3
"""Without it latents grow to a hundred and training becomes unsteady."""
EVALUATION_CLIPS = 24


@dataclass(frozen=True)
class AutoencoderTrainConfig:
    """Train the autoencoder of mini-svd. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    capture: Path | None = None
    """Human capture to move the world's people (multi-clip npz); default: the few shipped clips."""
    photographs: Path | None = None
    """Folder of pictures to use as backdrops."""
    out: Path | None = None
    """Folder for the finished weights, in diffusers' layout."""
    clips: int = 2
    """Clips a step; four frames of each."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=4000, learning_rate=2e-3, decay=0.85, weight_decay=0)
    )


def make_autoencoder() -> AutoencoderDC:
    """The mini autoencoder, untrained: 128x128 RGB in -1..1 <-> 16x16 latents of 12 channels."""
    from diffusers import AutoencoderDC

    return AutoencoderDC(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=WIDTHS,
        decoder_block_out_channels=WIDTHS,
        encoder_layers_per_block=LAYERS,
        decoder_layers_per_block=LAYERS,
        encoder_qkv_multiscales=((),) * len(WIDTHS),
        decoder_qkv_multiscales=((),) * len(WIDTHS),
    )


def frames_of(world: World, step: int, clips: int, seed: int) -> Tensor:
    """[clips*4,3,128,128] in -1..1, a pure function of the step."""
    rng = rng_for(seed, step)
    frames = np.concatenate([world.sample(int(rng.integers(1 << 31)), FRAMES).video.frames for _ in range(clips)])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def reconstruction_loss(model: nn.Module, frames: Tensor, precision: torch.dtype) -> Tensor:
    with torch.autocast(frames.device.type, precision, enabled=precision != torch.float32):
        latents = model.encoder(frames)
        found = model.decoder(latents)
    error = found.float() - frames
    return error.abs().mean() + 2 * error.square().mean() + LATENT_WEIGHT * latents.float().square().mean()


def train_autoencoder(config: AutoencoderTrainConfig) -> Path:
    """-> the folder with the finished weights (or the run, where `out` is not given)."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = torch.device(
        "cuda" if config.device == "auto" and torch.cuda.is_available() else config.device.replace("auto", "cpu")
    )
    precision = pick_precision("auto", device)
    world = World.load(config.capture, config.photographs)
    torch.manual_seed(config.loop.seed)
    model = make_autoencoder()
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(step: int) -> Tensor:
        frames = frames_of(world, step, config.clips, config.loop.seed)
        frames = frames.to(device, memory_format=torch.channels_last)
        return reconstruction_loss(model, frames, precision)

    test = World(world.clips, [], "test")
    held_out = torch.cat([frames_of(test, k, 1, 0) for k in range(EVALUATION_CLIPS)]).to(device)

    @torch.no_grad()
    def evaluate(model: nn.Module) -> dict[str, float]:
        latents = model.encoder(held_out)
        mse = F.mse_loss(model.decoder(latents).clamp(-1, 1), held_out, reduction="none").mean((1, 2, 3)) / 4
        return {"psnr_db": float(-10 * mse.log10().mean()), "latent_std": float(latents.std())}

    train(model, loss, config.loop, config.run, evaluate, evaluate_every=config.loop.checkpoint_every)
    with torch.no_grad():
        model.register_to_config(scaling_factor=round(1 / float(model.encoder(held_out).std()), 4))
    if config.out:
        model.half().save_pretrained(config.out, safe_serialization=True)
    return config.out or config.run
