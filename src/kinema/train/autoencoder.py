"""Make the autoencoder of `mini-svd`: diffusers' `AutoencoderTiny` (as TAESD), its encoder set, its decoder trained.

kinema train autoencoder --capture cmu_train.npz --photographs photos/ --run runs/autoencoder --out mini_svd/vae/

The encoder is linear: the first principal components of 8x8 blocks of pixels, written into its stride-2 convolutions. No
training is needed for it, and what it keeps is what a linear code can keep at most (28.7 dB, `docs/log.md`; encoders that
were trained on two CPU cores stood at 24 dB after ten minutes). The decoder learns to do better than the linear one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.precision import pick_precision
from kinema.train.card import of_world, write_card
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, train
from kinema.world.sampler import World

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

log = logging.getLogger(__name__)

LATENT_CHANNELS, WIDTH = 12, 48
DECODER_BLOCKS = (5, 3, 1, 0)
FRAMES = 4
"""Frames of a clip that a step sees."""
COMPONENT_CLIPS = 400
"""Clips that the principal components are taken from."""
LARGEST_LATENT = 2.5
"""Latents are made this much smaller than of unit size: the decoder clamps them at 3."""
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
    start: Path | None = None
    """Folder with weights to go on from; its encoder stays as it is."""
    clips: int = 2
    """Clips a step; four frames of each."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=6000, learning_rate=1e-3, decay=0.85, weight_decay=0)
    )


def make_autoencoder(frames: Tensor) -> AutoencoderTiny:
    """128x128 RGB in -1..1 <-> 16x16 latents of 12 channels; the encoder's components are those of `frames`."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    model = AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 4,
        decoder_block_out_channels=(WIDTH,) * 4,
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=DECODER_BLOCKS,
        latent_channels=LATENT_CHANNELS,
        scaling_factor=LARGEST_LATENT,
    )
    _set_components(model.encoder.layers, frames)
    return model


@torch.no_grad()
def _set_components(layers: Any, frames: Tensor) -> None:
    """Convolutions that fold 2x2, 4x4, then 8x8 pixels into channels, the last with the components as its weights.

    The k-th component is divided by the root of its deviation: half way to white, so that noise drowns fine detail
    before coarse, as it does in pixels, but not by so much.
    """
    blocks = F.pixel_unshuffle(frames, 8).permute(0, 2, 3, 1).reshape(-1, 192)
    mean = blocks.mean(0)
    _, sizes, components = torch.linalg.svd(blocks - mean, full_matrices=False)
    deviation = sizes[:LATENT_CHANNELS] / len(blocks) ** 0.5
    scaled = components[:LATENT_CHANNELS] / deviation.sqrt()[:, None]
    unit = float(((blocks - mean) @ scaled.T).std()) * LARGEST_LATENT
    for layer in layers:
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
    first, fold2, fold4, fold8, last = layers
    # The encoder sees pixels in 0..1.
    first.weight[range(3), range(3), 1, 1] = 2.0
    first.bias[:3] = -1.0
    _fold(fold2.weight, 3)
    _fold(fold4.weight, 12)
    # Channels after two folds: a pixel's place (y, x) in 8x8, with fold 4 outside and fold 2 inside.
    order = torch.arange(192).reshape(3, 2, 2, 2, 2, 2, 2)  # colour, y: 4 2 1, x: 4 2 1
    for row in range(2):
        for column in range(2):
            own = order[:, row, :, :, column].permute(0, 2, 4, 1, 3).reshape(48)
            fold8.weight[:LATENT_CHANNELS, :48, row + 1, column + 1] = scaled[:, own] / unit
    last.weight[range(LATENT_CHANNELS), range(LATENT_CHANNELS), 1, 1] = 1.0
    last.bias[:] = -(scaled @ mean) / unit


def _fold(weight: Tensor, channels: int) -> None:
    """Let a 3x3 convolution of stride 2 put the four pixels of a 2x2 block into 4 x `channels` channels."""
    for c in range(channels):
        for row in range(2):
            for column in range(2):
                weight[4 * c + 2 * row + column, c, row + 1, column + 1] = 1.0


def frames_of(world: World, step: int, clips: int, seed: int) -> Tensor:
    """[clips*4,3,128,128] in -1..1, a pure function of the step."""
    rng = rng_for(seed, step)
    frames = np.concatenate([world.sample(int(rng.integers(1 << 31)), FRAMES).video.frames for _ in range(clips)])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_autoencoder(config: AutoencoderTrainConfig) -> Path:
    """-> the folder with the finished weights (or the run, where `out` is not given)."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    device, world = pick_device(config.device, config.threads), World.load(config.capture, config.photographs)
    precision = pick_precision("auto", device)
    torch.manual_seed(config.loop.seed)
    if config.start:
        model = AutoencoderTiny.from_pretrained(config.start, torch_dtype=torch.float32)
    else:
        model = make_autoencoder(frames_of(world, 0, COMPONENT_CLIPS, config.loop.seed + 1))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.encoder.requires_grad_(False)

    def draw(step: int) -> Tensor:
        return frames_of(world, step, config.clips, config.loop.seed)

    def loss(frames: Tensor) -> Tensor:
        frames = frames.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            found = model.decoder(model.encoder(frames))
        error = found.float() - frames
        return error.abs().mean() + 2 * error.square().mean()

    test = World(world.clips, [], "test")
    held_out = torch.cat([frames_of(test, k, 1, 0) for k in range(EVALUATION_CLIPS)]).to(device)

    @torch.no_grad()
    def evaluate(model: Any) -> dict[str, float]:
        latents = model.encoder(held_out)
        mse = F.mse_loss(model.decoder(latents).clamp(-1, 1), held_out, reduction="none").mean((1, 2, 3)) / 4
        return {"psnr_db": float(-10 * mse.log10().mean()), "latent_std": float(latents.std())}

    train(model, loss, config, config.run, evaluate, evaluate_every=config.loop.checkpoint_every, draw=draw)
    if config.out and leads():
        model.half().save_pretrained(config.out, safe_serialization=True)
        write_card(
            config.out,
            config.run,
            "autoencoder",
            config,
            of_world(config.capture),
        )
    return config.out or config.run
