"""Clips of the procedural world, encoded once: what the video model trains on.

Input: a world and an autoencoder. Output: a folder of arrays that are read from disk as they are needed. A stopped build
goes on where it was; a finished one is used again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.world.sampler import World

FRAMES, SIDE = 16, 128
_BLOCK = 64
"""Clips between two notes of how far a build has come."""


@dataclass(frozen=True)
class LatentCache:
    """N clips of 16 frames: latents float16 [N,16,C,16,16] of unit size, part ids uint8 [N,16,128,128], first frames
    uint8 [N,128,128,3]."""

    latents: np.ndarray
    part_ids: np.ndarray
    first_frames: np.ndarray

    def __len__(self) -> int:
        return len(self.latents)


def build_cache(world: World, autoencoder: Any, folder: Path, clips: int, seed: int = 0) -> LatentCache:
    """Make (or finish, or open) a cache. Raises InputError where the folder holds another kind of cache."""
    scale, channels = autoencoder.config.scaling_factor, autoencoder.config.latent_channels
    shapes = {
        "latents": ((clips, FRAMES, channels, SIDE // 8, SIDE // 8), np.float16),
        "part_ids": ((clips, FRAMES, SIDE, SIDE), np.uint8),
        "first_frames": ((clips, SIDE, SIDE, 3), np.uint8),
    }
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.json"
    settings = {"clips": clips, "seed": seed, "split": world.split, "scale": scale, "channels": channels}
    done = 0
    if state.exists():
        found = json.loads(state.read_text())
        done = found.pop("done")
        if found != settings:
            raise InputError(folder, f"holds a cache with {found}", f"{settings}", "give another folder")
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "r+" if done else "w+", dtype, shape)
        for name, (shape, dtype) in shapes.items()
    }
    weights = next(autoencoder.parameters())
    for k in track(range(done, clips), "clips", disable=done == clips):
        clip = world.sample(seed + k, FRAMES, (SIDE, SIDE))
        pixels = torch.from_numpy(clip.video.frames).permute(0, 3, 1, 2).to(weights.device, weights.dtype) / 127.5 - 1
        with torch.inference_mode():
            arrays["latents"][k] = (autoencoder.encoder(pixels) * scale).half().cpu().numpy()
        arrays["part_ids"][k], arrays["first_frames"][k] = clip.part_ids, clip.video.frames[0]
        if (k + 1) % _BLOCK == 0 or k + 1 == clips:
            for array in arrays.values():
                array.flush()
            with atomic_path(state) as temporary:
                temporary.write_text(json.dumps(settings | {"done": k + 1}))
    return LatentCache(**arrays)
