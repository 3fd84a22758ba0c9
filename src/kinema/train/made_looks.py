"""Clips of the world as a video model would show them: through its autoencoder, with errors in the latents.

Perception also looks at videos that were made, and what an autoencoder does to small things hides much of them: of true
clips that only went through mini-cogvideox's of 2026-11-26 and back, mini-perception sees parts with a mIoU of 0.40 instead
of 0.70. What is shown where stays true.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from kinema.checkpoints import ASSETS
from kinema.precision import quick_dtype
from kinema.train.frozen import computing_in
from kinema.train.perception_data import ClipSource
from kinema.world.clip import WorldClip

AUTOENCODER = ASSETS / "mini_cogvideox" / "vae"
MOST_NOISE = 0.6
"""Deviation of the noise on latents of unit size: up to this, another one for each clip."""


@dataclass(frozen=True)
class MadeLooks:
    """A world of which a share of the clips went through an autoencoder; equal seeds, equal clips."""

    world: ClipSource
    share: float
    folder: Path = AUTOENCODER

    def sample(self, seed: int, frames: int = 16) -> WorldClip:
        clip, rng = self.world.sample(seed, frames), np.random.default_rng([seed, 1])
        if rng.random() >= self.share:
            return clip
        made = remade(clip.video.frames, rng.uniform(0, MOST_NOISE), rng, self.folder)
        return replace(clip, video=replace(clip.video, frames=made))


@torch.inference_mode()
def remade(
    frames: UInt8[np.ndarray, "T H W 3"], noise: float, rng: np.random.Generator, folder: Path = AUTOENCODER
) -> UInt8[np.ndarray, "T H W 3"]:
    """The frames from latents of theirs with noise of that deviation; sides are multiples of 8."""
    lacking = -(len(frames) - 1) % 4  # the autoencoder takes 4 n + 1
    whole = np.concatenate([frames, np.repeat(frames[-1:], lacking, 0)])
    pixels = torch.from_numpy(whole).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    autoencoder = _load(folder)
    latents = autoencoder.encode(pixels).latent_dist.mode()
    latents += noise * torch.from_numpy(rng.standard_normal(latents.shape, np.float32))
    with computing_in(quick_dtype("cpu"), torch.device("cpu")):
        found = autoencoder.decode(latents).sample[0].float()
    pictures = ((found / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 3, 0).numpy()
    return pictures[: len(frames)]


@cache
def _load(folder: Path) -> Any:
    from kinema.reinforce.video_autoencoder import FourFrameAutoencoder  # seconds to import

    return FourFrameAutoencoder.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True).eval()
