"""Train a segmenter that judges videos, on tracks of the procedural world.

kinema train segmenter --model.sees grey --capture cmu_train.npz --run runs/segmenter

It sees a few frames in a row, starts from a box or a spoilt mask, and then from its own masks, as it will when it judges;
so it learns to mend its own mistakes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.evaluate.mask_alignment import mask_alignment, masks_of_ids
from kinema.extract.box_segmenter import (
    SIDE_PX,
    BoxSegmenter,
    Sees,
    SegmenterConfig,
    SegmenterNet,
    load_segmenter,
    part_around,
    save_segmenter,
    to_side,
    what_is_seen,
)
from kinema.extract.instances import box_of_mask, mask_of_box
from kinema.precision import pick_precision
from kinema.train.card import of_world, write_card
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, train
from kinema.train.made_looks import MadeLooks
from kinema.train.perception_data import ClipPool, ClipSource, Frame, spoil_looks
from kinema.types import MaskSequence

TRACK_FRAMES = 17
"""Of the clips that the segmenter learns from and is judged by: 2 s."""
MOST_THINGS = 2
"""Of a few frames; to make and to spoil these takes longer than to learn from them."""
LEAST_PIXELS = 40
"""A thing of fewer pixels in the first frame of a window is not learnt from."""
BOX_SHARE, JITTER = 0.5, 0.06
"""How many windows start from a box; how far its edges are off, as a share of its sides."""
ZOOM, TURN_RAD, TURN_SHARE = (0.75, 1.3), 0.15, 0.5
"""By how much pictures are zoomed and turned, and how many of them."""
CONTEXT, REACH, SHIFT = (1.2, 3.0), (0.0, 0.4), 0.1
"""How much is cut out around a thing, as `part_around` has it, and how far off its middle, as a share of its sides."""
OVERLAP_WEIGHT = 1.0
"""Of the soft overlap beside the cross-entropy."""


@dataclass(frozen=True)
class SegmenterTrainConfig:
    """Train a segmenter that is told by boxes what to look at. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    capture: Path | None = None
    """Human capture that moves the world's people (multi-clip npz); the few shipped clips without it."""
    photographs: Path | None = None
    """Folder of photographs for the world's backdrops."""
    validation: Path | None = None
    """Capture of other people for the numbers in the log."""
    validation_photographs: Path | None = None
    """Other photographs for them."""
    validation_clips: int = 24
    made_share: float = 0.4
    """How many of the clips look as if mini-cogvideox had made them: through its autoencoder, with noise on the latents."""
    out: Path | None = None
    """Where to write the finished weights (safetensors)."""
    start: Path | None = None
    """Weights to start from instead of random ones."""
    batch: int = 16
    """Windows a step."""
    window: int = 3
    """Frames of a window."""
    pool: int = 96
    """Clips that windows are drawn from at a time."""
    new_clips: int = 1
    """Clips that are made a step."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the convolutions; auto takes bfloat16 on a CPU that has instructions for it."""
    model: SegmenterConfig = field(default_factory=SegmenterConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=3000, learning_rate=2e-3, decay=0.9, ema=0.998))


@dataclass(frozen=True)
class Window:
    """W frames in a row of one thing, as the network sees them, and what it starts from.

    seen   W + 1: the first is the frame before the window, or the first of the window again where it starts from a box
    """

    seen: Float32[np.ndarray, "W1 C S S"]
    masks: Bool[np.ndarray, "W S S"]
    hint: Float32[np.ndarray, "S S"]
    boxed: bool


def windows_of(run: Sequence[Frame], rng: np.random.Generator, sees: Sees) -> list[Window]:
    """W + 1 frames -> windows of some of their things, moved, spoilt and cut out; none where they show none."""
    ids, counts = np.unique(run[1].subject_ids, return_counts=True)
    large = ids[(ids > 0) & (counts >= LEAST_PIXELS)]
    if not len(large):
        return []
    size = run[0].subject_ids.shape[::-1]
    matrix, colours = _placement(size, rng), rng.permutation(3)
    seed = int(rng.integers(1 << 31))
    flags = (rng.random() < 0.3) * np.arange(len(run))
    moved = [cv2.warpAffine(f.picture, matrix, size, borderMode=cv2.BORDER_REFLECT_101)[..., colours] for f in run]
    pictures = np.stack([spoil(picture, seed + int(k)) for picture, k in zip(moved, flags, strict=True)])
    ids = np.stack([cv2.warpAffine(f.subject_ids, matrix, size, flags=cv2.INTER_NEAREST) for f in run])
    windows = []
    for thing in rng.permutation(large)[:MOST_THINGS]:
        masks = ids == thing
        if not masks[1].any():
            continue
        boxed = bool(rng.random() < BOX_SHARE) or not masks[0].any()
        box = box_of_mask(masks[1 if boxed else 0])
        off = np.tile(rng.uniform(-SHIFT, SHIFT, 2) * (box[2:] - box[:2]), 2).astype(np.float32)
        part = part_around(box + off, size[::-1], rng.uniform(*REACH), rng.uniform(*CONTEXT))
        seen = what_is_seen(pictures[:, *part], sees)
        masks = np.stack([to_side(mask[part].astype(np.float32)) >= 0.5 for mask in masks])
        if not masks[1 if boxed else 0].any():
            continue
        hint = jittered_box(masks[1], rng) if boxed else spoilt_mask(masks[0], rng)
        given = np.concatenate([seen[1:2], seen[1:]]) if boxed else seen
        windows.append(Window(given, masks[1:], hint, boxed))
    return windows


def _placement(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """2x3, of pictures of W x H: mirror half of them; zoom and turn some."""
    linear = np.eye(2)
    if rng.random() < TURN_SHARE:
        zoom, turn = np.exp(rng.uniform(*np.log(ZOOM))), rng.uniform(-TURN_RAD, TURN_RAD)
        linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear[:, 0] *= rng.choice((-1, 1))
    middle = (np.array(size) - 1) / 2
    return np.column_stack([linear, middle - linear @ middle])


def spoil(picture: UInt8[np.ndarray, "S S 3"], seed: int) -> UInt8[np.ndarray, "S S 3"]:
    """Other light and noise as mini-perception learns from, then often soft or oversharp, as generated frames are."""
    rng = np.random.default_rng(seed)
    spoilt = spoil_looks(np.ascontiguousarray(picture), rng)
    how = rng.random()
    if how < 0.35:
        return cv2.GaussianBlur(spoilt, (0, 0), rng.uniform(0.5, 2.0))
    if how < 0.5:
        soft = cv2.GaussianBlur(spoilt, (0, 0), 1.2)
        return cv2.addWeighted(spoilt, 1 + (amount := rng.uniform(0.3, 1.2)), soft, -amount, 0)
    return spoilt


def jittered_box(mask: Bool[np.ndarray, "S S"], rng: np.random.Generator) -> Float32[np.ndarray, "S S"]:
    box = box_of_mask(mask)
    sides = np.tile(box[2:] - box[:2], 2)
    moved = box + rng.uniform(-JITTER, JITTER, 4) * sides * (rng.random() < 0.5)
    return mask_of_box(moved.astype(np.float32), mask.shape).astype(np.float32)


def spoilt_mask(mask: Bool[np.ndarray, "S S"], rng: np.random.Generator) -> Float32[np.ndarray, "S S"]:
    """Shifted, grown or shrunk, with blobs put in or taken out, soft at the edge."""
    spoilt = mask.astype(np.float32)
    reach = int(rng.integers(0, 3))
    if reach:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        spoilt = (cv2.dilate if rng.random() < 0.5 else cv2.erode)(spoilt, kernel)
    for _ in range(int(rng.integers(0, 4))):
        x, y = box_of_mask(mask).reshape(2, 2).T
        middle = (int(rng.uniform(*x)), int(rng.uniform(*y)))
        radius = int(rng.uniform(2, 3 + 0.2 * max(np.ptp(x), np.ptp(y))))
        cv2.circle(spoilt, middle, radius, float(rng.random() < 0.4), -1)
    shift = np.column_stack([np.eye(2), rng.uniform(-2, 2, 2)])
    spoilt = cv2.warpAffine(spoilt, shift, (SIDE_PX, SIDE_PX))
    return cv2.GaussianBlur(spoilt, (0, 0), rng.uniform(0.3, 1.5))


def draw_windows(pool: ClipPool, config: SegmenterTrainConfig, step: int) -> list[Window]:
    """The windows of a step."""
    rng = rng_for(config.loop.seed, step)
    windows: list[Window] = []
    while len(windows) < config.batch:
        runs = pool.draw(step, -(-(config.batch - len(windows)) // MOST_THINGS), config.window + 1, rng)
        windows += [window for run in runs for window in windows_of(run, rng, config.model.sees)]
    return windows[: config.batch]


def segmenter_loss(net: SegmenterNet, windows: Sequence[Window]) -> Float[Tensor, ""]:
    """Cross-entropy and soft overlap of every frame; from the second on the network starts from its own masks."""
    seen = torch.from_numpy(np.stack([w.seen for w in windows]))
    truth = torch.from_numpy(np.stack([w.masks for w in windows])).float()
    hint = torch.from_numpy(np.stack([w.hint for w in windows]))[:, None]
    boxed = torch.tensor([w.boxed for w in windows]).float()
    losses = []
    for t in range(truth.shape[1]):
        logits = net(seen[:, [t + 1, t]], hint, boxed * (t == 0)).float()
        share = logits.sigmoid()
        common, both = (share * truth[:, t]).sum((1, 2)), (share + truth[:, t]).sum((1, 2))
        overlap = (common + 1) / (both - common + 1)
        losses.append(F.binary_cross_entropy_with_logits(logits, truth[:, t]) + OVERLAP_WEIGHT * (1 - overlap).mean())
        hint = share.detach()[:, None]
    return torch.stack(losses).mean()


def held_out_tracks(world: ClipSource, clips: int) -> list[tuple[np.ndarray, MaskSequence]]:
    """(frames, masks of all things) of the first clips of the held-out world."""
    made = [world.sample(number, frames=TRACK_FRAMES) for number in range(clips)]
    return [
        (clip.video.frames, masks_of_ids(clip.subject_ids, [s.label for s in clip.scene.subjects])) for clip in made
    ]


def train_segmenter(config: SegmenterTrainConfig, worlds: tuple[ClipSource, ClipSource] | None = None) -> Path:
    """Train, resume or finish; -> the path of the weights. `worlds`: others than the procedural ones to train and score."""
    from kinema.world.sampler import World

    precision = pick_precision(config.precision, pick_device("cpu", config.threads))
    world, other = worlds or (
        World.load(config.capture, config.photographs, "train", wide=True),
        World.load(config.validation, config.validation_photographs, "test", wide=True),
    )
    source, first = MadeLooks(world, config.made_share), config.loop.seed * 1_000_000
    pool = ClipPool(source, config.pool, config.new_clips, first, frames=TRACK_FRAMES)
    held_out = {"": held_out_tracks(other, config.validation_clips)}
    if config.made_share:
        held_out["made_"] = held_out_tracks(MadeLooks(other, 1.0), config.validation_clips)
    torch.manual_seed(config.loop.seed)
    net = load_segmenter(config.start).requires_grad_(True) if config.start else SegmenterNet(config.model)
    if net.config != config.model:
        raise InputError(config.start, "is a network of other sizes than --model's", str(config.model))
    net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, SegmenterNet)
        tracker = BoxSegmenter(copy.deepcopy(model))
        return {
            f"{looks}iou_{boxes}": float(np.nanmean([mask_alignment(f, m, tracker, boxes) for f, m in tracks]))
            for looks, tracks in held_out.items()
            for boxes in ("first", "every")
        }

    def draw(step: int) -> list[Window]:
        return draw_windows(pool, config, step)

    def loss(windows: list[Window]) -> Tensor:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            return segmenter_loss(net, windows)

    train(net, loss, config, config.run, evaluate, draw=draw)
    out = config.out or config.run / "segmenter.safetensors"
    if leads():
        save_segmenter(net, out, {"loop": json.dumps(asdict(config.loop)), "batch": str(config.batch)})
        write_card(
            out,
            config.run,
            "segmenter",
            config,
            of_world(config.capture),
        )
    return out
