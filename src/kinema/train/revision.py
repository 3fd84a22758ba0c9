"""Train the motion adapter of a full model: SVD or Wan 2.1 with two more channels (ReVision, sections 4.1, 5.1 and 5.2).

kinema train revision --preset svd --model DIR --shards SHARDS --cache CACHE --run RUN --out adapter.safetensors

What is trained: of SVD the first block and the temporal layers, of Wan the patch embedding and the first block. A clip sees
its full part masks in 4 of 10 cases, polygons of random parts in the last frame in 3, nothing in 3. Where the paper says
nothing: the picture (SVD) or the words (Wan) are left out in 1 of 10 cases, for the classifier-free guidance; clips are cut
into windows one after another rather than at random, so that each frame is encoded once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from kinema.checkpoints import weights_hash
from kinema.precision import quick_dtype
from kinema.reinforce.adapters import save_adapter
from kinema.reinforce.part_condition import encode_condition, training_condition
from kinema.train.card import write_card
from kinema.train.frozen import compute_twice, make_ready, motion_tensors
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, share_out, train
from kinema.train.need import tell_need, training_need
from kinema.train.shard_cache import OnBad, ShardCache, Window, WindowSettings, build_shard_cache
from kinema.types import PartCondition, Video

log = logging.getLogger(__name__)
PART_STEP = 2
"""Pixels of a side that share a part id in the cache: a quarter of the bytes, 16 votes a latent."""
LEFT_OUT = 0.1
"""How often the picture or the words are left out."""


PAPER_LOOP = LoopConfig(steps=300_000, learning_rate=2e-5, warmup=0, decay=0.0, checkpoint_every=500, ahead=2)
TIKTOK_LOOP = replace(PAPER_LOOP, steps=30_000, learning_rate=1e-5)
"""Sections 5.1 and 5.2: a constant rate."""


@dataclass(frozen=True)
class FullRevisionConfig:
    """Train the motion adapter of a full model. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    cache: Path
    """Folder of encoded clips; made where it is missing, from the shards."""
    model: Path
    """Model folder in diffusers' layout."""
    shards: tuple[Path, ...]
    """Annotated clips: folders that `kinema annotate` wrote, or shards."""
    out: Path | None = None
    """Where to write the finished adapter (.safetensors), with its card."""
    preset: Literal["svd", "svd-tiktok", "wan"] = "svd"
    frames: int = 16
    stride: int = 4
    """Of the clip's own frames, every so-manyth."""
    pixels: int = 1024 * 576
    """Of a frame, about; its shape is the nearest of a few to that of the clip."""
    batch: int = 64
    """Windows a step, of all processes together."""
    at_once: int = 1
    """Windows that a process computes at once."""
    rank: int = 0
    """Of a LoRA on the trained layers' matrices, for small GPUs; 0: the layers themselves, as in the paper."""
    eight_bits: bool = False
    """Keep frozen matrices in 8 bits, for small GPUs."""
    checkpointing: bool = True
    """Compute what is inside a block twice rather than keep it."""
    on_bad: OnBad = "stop"
    """What to do about clips that can't be used: stop, or leave them out and count them."""
    held_out: int = 4
    """Windows that are not trained on, to be measured by; at most a tenth of them."""
    evaluate_every: int = 2000
    """Steps between two measurements, with a video of a held-out picture."""
    sample_steps: int = 25
    """Of the sampler for that video; 0: none is made."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    loop: LoopConfig = PAPER_LOOP


# Presets are configurations with other defaults, so that the command line shows those.


@dataclass(frozen=True)
class TiktokConfig(FullRevisionConfig):
    """SVD on people who dance, upright clips: section 5.2."""

    preset: Literal["svd", "svd-tiktok", "wan"] = "svd-tiktok"
    batch: int = 8
    loop: LoopConfig = TIKTOK_LOOP


@dataclass(frozen=True)
class WanConfig(FullRevisionConfig):
    """Wan 2.1 by the same settings as SVD (5.1); its clips have 4 n + 1 frames."""

    preset: Literal["svd", "svd-tiktok", "wan"] = "wan"
    frames: int = 17


PRESETS: dict[str, type[FullRevisionConfig]] = {"svd": FullRevisionConfig, "svd-tiktok": TiktokConfig, "wan": WanConfig}


@runtime_checkable
class Trainee(Protocol):
    """A full model that is trained to follow parts.

    subfolder  of the network in the model's folder
    multiple   the sides of frames are multiples of this, in pixels
    reads      whether it reads captions
    """

    network: Any
    subfolder: str
    multiple: int
    reads: bool

    def widen(self, network: Any) -> None:
        """Let a network of this kind take the condition."""
        ...

    def is_trained(self, name: str) -> bool: ...

    def encode(self, window: Window) -> dict[str, Tensor]:
        """What is kept of a window: "latents" [F,C,h,w], float16, and what else the network sees."""
        ...

    def batch(
        self, kept: Sequence[dict[str, Tensor]], motion: Tensor, fps: Sequence[float], rng: np.random.Generator
    ) -> Any:
        """Of windows of one size, with everything that is random. motion [B,T,2,h,w]"""
        ...

    def loss(self, batch: Any) -> Tensor: ...

    def sample(
        self, picture: UInt8[np.ndarray, "H W 3"], condition: PartCondition, caption: str, fps: float, steps: int
    ) -> Video:
        """What the network, as it now is, makes of a picture and parts."""
        ...

    def release(self, sampling: bool) -> None:
        """Let go of what only encoding needs; of more where nothing will be sampled."""
        ...


def train_full_revision(config: FullRevisionConfig) -> Path:
    """-> the finished adapter (or the run, where `out` is not given)."""
    from accelerate import PartialState

    device = pick_device(config.device, config.threads)
    precision = quick_dtype(device)
    torch.manual_seed(config.loop.seed)
    trainee = make_trainee(config, device, precision)
    cache = _cache(config, trainee)
    trainee.release(sampling=config.sample_steps > 0 and config.held_out > 0)
    trained, held = cache.split(config.held_out)
    loop = share_out(config.loop, config.batch, config.at_once, PartialState().num_processes)
    draw = drawer(trainee, trained, config.at_once, config.loop.seed)
    small = config.rank, config.eight_bits
    if leads():
        tell_need(training_need(trainee, draw(0), precision, *small, config.checkpointing), device)
    make_ready(trainee.network, trainee.is_trained, precision, *small)
    if config.checkpointing:
        compute_twice(trainee.network)
    trainee.network.to(device).train()
    measure = measurer(trainee, held, config.sample_steps) if len(held) else None
    train(trainee.network, trainee.loss, replace(config, loop=loop), config.run, measure, config.evaluate_every, draw)
    tensors = motion_tensors(trainee.network, trainee.is_trained)
    if config.out and leads():
        trained_what = f"{config.preset}, {f'LoRA of rank {config.rank}' if config.rank else 'whole layers'}"
        save_adapter(tensors, config.out, config.model, trainee.subfolder, trained_what)
        data = {"clips": cache.counts, "windows": len(trained), "held_out": len(held), "licences": cache.licences()}
        write_card(config.out, config.run, "revision", config, data)
    return config.out or config.run


def make_trainee(config: FullRevisionConfig, device: torch.device, precision: torch.dtype) -> Trainee:
    from kinema.train.revision_svd import SvdTrainee
    from kinema.train.revision_wan import WanTrainee

    of_preset: Any = WanTrainee if config.preset == "wan" else SvdTrainee
    return of_preset.load(config.model, device, precision)


def _cache(config: FullRevisionConfig, trainee: Trainee) -> ShardCache:
    settings = WindowSettings(
        config.frames, config.pixels, trainee.multiple, stride=config.stride, captions=trainee.reads
    )

    def encode(window: Window) -> dict[str, Tensor]:
        small = np.ascontiguousarray(window.part_ids[:, ::PART_STEP, ::PART_STEP])
        picture = torch.from_numpy(window.frames[0].copy())
        return trainee.encode(window) | {"parts": torch.from_numpy(small), "picture": picture}

    identity = weights_hash(config.model / "vae")
    return build_shard_cache(config.shards, config.cache, settings, encode, identity, config.on_bad)


def drawer(trainee: Trainee, cache: ShardCache, count: int, seed: int) -> Callable[[int], Any]:
    """Number -> batch: which windows, by the order of the epoch, and everything that is random about it."""
    order = cache.order(count, seed)

    def draw(number: int) -> Any:
        rng, chosen = rng_for(seed, number), order.of(number)
        return gather(trainee, cache, chosen, rng)

    return draw


def gather(trainee: Trainee, cache: ShardCache, chosen: Sequence[int] | np.ndarray, rng: np.random.Generator) -> Any:
    """The batch of some windows, each with one of the three kinds of condition."""
    kept = [cache.read(int(k)) for k in chosen]
    motion = [
        encode_condition(training_condition(k["parts"].numpy(), rng), (k["latents"].shape[2], k["latents"].shape[3]))
        for k in kept
    ]
    fps = [cache.examples[int(k)].about["fps"] for k in chosen]
    return trainee.batch(kept, torch.from_numpy(np.stack(motion)), fps, rng)


def measurer(trainee: Trainee, held: ShardCache, sample_steps: int) -> Callable[[Any], dict[str, Any]]:
    """The loss on held-out windows, always with the same noise and conditions, and a video of the first of them."""

    @torch.no_grad()
    def measure(_: Any) -> dict[str, Any]:
        losses = [trainee.loss(gather(trainee, held, [k], rng_for(0, k))).item() for k in range(len(held))]
        found: dict[str, Any] = {"held_out_loss": float(np.mean(losses))}
        if sample_steps:
            first = held.read(0)
            parts = first["parts"].numpy().repeat(PART_STEP, 1).repeat(PART_STEP, 2)
            condition = PartCondition(parts, (parts > 0).astype(np.float32))
            about = held.examples[0].about
            made = trainee.sample(first["picture"].numpy(), condition, about["caption"], about["fps"], sample_steps)
            found["sample"] = made
        return found

    return measure
