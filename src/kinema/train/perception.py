"""Train mini-perception: frames of the procedural world in, parts, subjects, joints and depth out.

kinema train perception --capture cmu_train.npz --run runs/perception
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.extract.mini_perception import MiniPerception, load_perception, save_perception
from kinema.extract.perception_net import JOINT_SLICES, Maps, PerceptionConfig, PerceptionNet, channels_last
from kinema.precision import pick_precision
from kinema.train.card import of_world, write_card
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, rng_on, train
from kinema.train.made_looks import MadeLooks
from kinema.train.perception_data import (
    Batch,
    Change,
    ClipPool,
    ClipSource,
    Frame,
    InTurn,
    change_place,
    frames_of_clip,
    make_batch,
    spoil_looks,
)
from kinema.train.perception_score import score_perception

BACKGROUND_WEIGHT = 0.5
"""Of a background pixel beside one of a subject; most pixels are background."""
JOINT_WEIGHT, CENTRE_WEIGHT, OFFSET_WEIGHT, DEPTH_WEIGHT, FACING_WEIGHT = 0.06, 0.015, 1.0, 0.2, 1.0
"""Beside the parts' cross-entropy; heatmaps count by peak."""
OVERLAP_WEIGHT = 0.5
"""Of the parts' overlap beside their cross-entropy."""
SUBJECT_CHANCE, BACKGROUND_CHANCE = 0.3, 0.1
"""How often the parts' loss takes a pixel on or near a subject, and any other one, in a step."""
RUNS = (1, 4, 4, 8)
"""Of how many frames a step's videos are; one of these at random."""
FLICKER_SHARE = 0.5
"""How many videos have each frame spoilt in its own way."""


@dataclass(frozen=True)
class PerceptionTrainConfig:
    """Train mini-perception. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    capture: Path | None = None
    """Human capture that moves the world's people, in the multi-clip npz schema; made-up motion without it."""
    photographs: Path | None = None
    """Folder of photographs for the world's backdrops."""
    validation: Path | None = None
    """Capture of other people for the numbers in the log."""
    validation_photographs: Path | None = None
    """Other photographs for them."""
    validation_clips: int = 24
    wide: bool = True
    """Make every other clip one of the wide world, with its more animals, robots and places."""
    made_share: float = 0.0
    """How many of the clips look as if mini-cogvideox had made them: through its autoencoder, with noise on the latents."""
    out: Path | None = None
    """Where to write the finished weights (safetensors)."""
    start: Path | None = None
    """Weights to start from instead of random ones."""
    batch: int = 32
    """Frames a step, out of fewer videos."""
    sides: tuple[int, ...] = (96, 128, 160)
    """Pixels of a side of what is kept of a step's frames, multiples of 16; one of these at random. Small is quick."""
    pool: int = 96
    """Clips that frames are drawn from at a time."""
    new_clips: int = 2
    """Clips that are made a step."""
    workers: int = 0
    """Processes that make clips and batches, for a GPU; 0: a thread does. The pool and the new clips are each one's own."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    """auto takes a GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the convolutions; auto takes bfloat16 on a GPU and on a CPU that has instructions for it."""
    model: PerceptionConfig = field(default_factory=PerceptionConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=2500, learning_rate=2e-3, warmup=100, decay=0.85, ema=0.998)
    )


def perception_loss(maps: Maps, batch: Batch, rng: np.random.Generator, frames: int = 1) -> dict[str, Tensor]:
    """The weighted terms; each `frames` pictures in a row are a video. Which pixels the parts are judged at is random."""
    known = batch.log_depth.isfinite()
    depth_off = (maps.log_depth.float() - batch.log_depth.nan_to_num()).abs()
    aimed = batch.offsets[:, 0].isfinite()
    offset_off = (maps.offsets.float() - batch.offsets.nan_to_num()).abs().sum(1)
    turned = batch.facing[:, 0].isfinite()
    facing_off = (maps.facing.float() - batch.facing.nan_to_num()).square().sum(1)
    joints = sum(
        _heatmap_loss(maps.joints[batch.holds[:, k], part], batch.joints[batch.holds[:, k], part])
        for k, part in enumerate(JOINT_SLICES.values())
    )
    return {
        "parts": _part_loss(maps.parts, batch.classes, batch.near, frames, rng),
        "joints": JOINT_WEIGHT * joints / batch.peaks[1],
        "centres": CENTRE_WEIGHT * _heatmap_loss(maps.centres, batch.centres) / batch.peaks[0],
        "offsets": OFFSET_WEIGHT * (offset_off * aimed).sum() / aimed.sum().clamp(min=1),
        "depth": DEPTH_WEIGHT * (depth_off * known).sum() / known.sum().clamp(min=1),
        "facing": FACING_WEIGHT * (facing_off * turned).sum() / turned.sum().clamp(min=1),
    }


def _heatmap_loss(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.float().contiguous(), truth, reduction="sum")


def _part_loss(logits: Tensor, classes: Tensor, near: Tensor, frames: int, rng: np.random.Generator) -> Tensor:
    """Cross-entropy and overlap at random pixels of the picture, fewer of them where all around is background."""
    chance = torch.where(near, SUBJECT_CHANCE, BACKGROUND_CHANCE)
    drawn = torch.rand(classes.shape, generator=rng_on(chance.device, rng), device=chance.device) < chance
    found, truth = logits.permute(0, 2, 3, 1)[drawn].float(), classes[drawn].long()
    weight = torch.ones(logits.shape[1], device=logits.device)
    weight[0] = BACKGROUND_WEIGHT
    video = drawn.nonzero()[:, 0] // frames
    missed = 1 - parts_overlap(found.softmax(-1), truth, 1 / chance[drawn], video)
    return F.cross_entropy(found, truth, weight) + OVERLAP_WEIGHT * missed


def parts_overlap(found: Tensor, truth: Tensor, pixels: Tensor, video: Tensor) -> Tensor:
    """The mean over videos and the parts that each of them shows of a soft intersection over union: that by which parts
    are judged, small ones as much as large ones (Rahman and Wang 2016).

    found [N,C] probabilities; truth, video [N] which class and which video; pixels [N] how many one stands for
    """
    classes = found.shape[1]
    count = int(video.max()) + 1 if len(video) else 0
    which = video * classes + truth
    nothing = found.new_zeros(count * classes)
    held = nothing.index_add(0, which, pixels)
    common = nothing.index_add(0, which, pixels * found.gather(1, truth[:, None])[:, 0])
    said = found.new_zeros(count, classes).index_add(0, video, pixels[:, None] * found).flatten()
    shown = (held > 0) & (torch.arange(len(held), device=held.device) % classes > 0)
    overlaps = (common / (held + said - common).clamp(min=1))[shown]
    return overlaps.mean() if len(overlaps) else found.sum() * 0 + 1


def draw(pool: ClipPool, batch: int, sides: tuple[int, ...], step: int, seed: int) -> tuple[Batch, int]:
    """The batch of a step, and how many of its frames in a row are of one video."""
    rng = rng_for(seed, step)
    frames, side = int(rng.choice(RUNS)), int(rng.choice(sides))
    found = []
    for run in pool.draw(step, batch // frames, frames, rng):
        change = Change.draw(run[0], side, rng)
        seeds = np.full(len(run), rng.integers(2**31)) + (rng.random() < FLICKER_SHARE) * np.arange(len(run))
        moved = [change_place(frame, change) for frame in run]
        found += [
            replace(f, picture=spoil_looks(f.picture, np.random.default_rng(s)))
            for f, s in zip(moved, seeds, strict=True)
        ]
    return make_batch(found), frames


def step_loss(
    net: PerceptionNet, pool: ClipPool, config: PerceptionTrainConfig, step: int, precision: torch.dtype
) -> Tensor:
    """The sum of the terms on the batch of a step."""
    return drawn_loss(net, draw_step(pool, config, step), precision)


def draw_step(pool: ClipPool, config: PerceptionTrainConfig, step: int) -> tuple[Batch, int, np.random.Generator]:
    """What `draw` gives, and what decides which pixels are judged."""
    return *draw(pool, config.batch, config.sides, step, config.loop.seed), rng_for(config.loop.seed + 1, step)


def drawn_loss(net: PerceptionNet, drawn: tuple[Batch, int, np.random.Generator], precision: torch.dtype) -> Tensor:
    device, (batch, frames, rng) = net.parts.weight.device, drawn
    batch = Batch._make(v.to(device, non_blocking=True) for v in batch)
    net.train()
    pictures = batch.pictures.contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        maps = net(pictures, frames)
    terms = perception_loss(maps, batch, rng, frames)
    return torch.stack(list(terms.values())).sum()


def held_out_videos(world: ClipSource, clips: int) -> list[list[Frame]]:
    """The first clips of the held-out world."""
    return [frames_of_clip(world.sample(index)) for index in range(clips)]


def train_perception(config: PerceptionTrainConfig) -> Path:
    """Train, resume or finish; -> the path of the weights."""
    from kinema.world.sampler import World

    device = pick_device(config.device, config.threads)
    for path in (config.capture, config.photographs, config.validation, config.validation_photographs, config.start):
        if path is not None and not path.exists():
            raise InputError(path, "does not exist", expected="a file or folder")
    world: ClipSource = World.load(config.capture, config.photographs, "train")
    if config.wide:
        world = InTurn((world, World.load(config.capture, config.photographs, "train", wide=True)))
    world = MadeLooks(world, config.made_share)
    pool = ClipPool(world, config.pool, config.new_clips, config.loop.seed * 1_000_000, lanes=max(1, config.workers))
    other = World.load(config.validation, config.validation_photographs, "test")
    held_out = held_out_videos(other, config.validation_clips)
    held_out_made = held_out_videos(MadeLooks(other, 1.0), config.validation_clips) if config.made_share else None
    torch.manual_seed(config.loop.seed)
    net = PerceptionNet(config.model)
    if config.start:
        try:
            net.grow_from(load_perception(config.start))
        except RuntimeError as error:
            sizes = "one of the same widths with as many blocks or fewer"
            raise InputError(config.start, "is a network of other sizes than --model's", sizes) from error
    channels_last(net.to(device))
    precision = pick_precision(config.precision, device)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, PerceptionNet)
        perception = MiniPerception(copy.deepcopy(model))
        scores = score_perception(perception, held_out)
        if held_out_made:
            scores |= {f"made_{name}": v for name, v in score_perception(perception, held_out_made).items()}
        return scores

    drawn = partial(draw_step, pool, config)
    train(
        net, lambda batch: drawn_loss(net, batch, precision), config, config.run, evaluate, draw=drawn,
        workers=config.workers,
    )  # fmt: skip
    out = config.out or config.run / "perception.safetensors"
    if leads():
        save_perception(net, out, {"loop": json.dumps(asdict(config.loop)), "batch": str(config.batch)})
        write_card(
            out,
            config.run,
            "perception",
            config,
            of_world(config.capture),
        )
    return out
