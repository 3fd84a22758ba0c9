"""Train the motion prior: perturbed windows in, clean windows out (ReVision, section 4.2-S2, appendix A).

kinema train pmp --capture cmu_train.npz --validation cmu_val.npz --run runs/pmp
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.body.model import load_body
from kinema.errors import InputError
from kinema.motion_io.capture import mirrored_caption
from kinema.optimize.features import CATEGORIES, PRIOR_PARENTS, canonical_frame, positions
from kinema.optimize.motion_prior import MotionPrior, PmpConfig
from kinema.optimize.motion_strength import STRENGTH_QUANTILES, speed, strength_of_speed
from kinema.optimize.perturbations import Perturbation, add_noise, frame_order, reorder
from kinema.optimize.text_encoder import default_text_encoder
from kinema.precision import pick_precision
from kinema.train.card import write_card
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, train
from kinema.train.motion_data import MotionClips, load_capture_clips, sample_windows
from kinema.types import BETA_COUNT, Category

log = logging.getLogger(__name__)

WINDOW = 32
LENGTHS = (32, 32, 32, 32, 32, 24, 16, 40)
"""Window lengths in training: mostly the 32 frames that windows have in use."""
RELATIVE_FLOOR_M = 0.01
"""An error of this size counts fully even where nothing was perturbed: what keeps clean motion clean."""
STEP_WEIGHT, PARAMETER_WEIGHT, MOMENT_WEIGHT = 0.5, 0.2, 0.2
SMOOTH_M = 1e-3
"""Distances are smooth below this."""
ORDER_SHARE = 0.25
"""How often the order of the frames is disturbed; most of the other windows are noisy."""


@dataclass(frozen=True)
class PmpTrainConfig:
    """Train the motion prior (PMP). Run the same command again to go on after a stop."""

    capture: Path
    """Human capture to train on, in the multi-clip npz schema."""
    run: Path
    """Folder for checkpoints and the log."""
    validation: Path | None = None
    """Human capture for the numbers in the log."""
    quadrupeds: tuple[Path, ...] = ()
    """Animal clips (npz) besides the procedural gaits."""
    out: Path | None = None
    """Where to write the finished weights (safetensors)."""
    start: Path | None = None
    """Weights to start from instead of random ones."""
    batch: int = 64
    category_share: tuple[float, float, float] = (0.85, 0.09, 0.06)
    """How often a batch is of humans, animals, objects."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    """auto takes a GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products; auto takes bfloat16 on a GPU and on a CPU that has instructions for it."""
    model: PmpConfig = field(default_factory=PmpConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=20_000, decay=0.85))


@dataclass(frozen=True)
class Task:
    """What a step needs: clips and caption embeddings [clips,2,E] (as they are, mirrored) by category."""

    clips: dict[str, MotionClips]
    texts: dict[str, Tensor]
    share: np.ndarray
    batch: int
    seed: int


def random_orders(batch: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """[B,T] frame orders: most untouched, the rest shuffled, swapped, or dropped and repeated, with random strengths."""
    orders = np.tile(np.arange(frames), (batch, 1))
    for i in np.flatnonzero(rng.random(batch) < ORDER_SHARE):
        kind = rng.integers(5)
        orders[i] = frame_order(
            frames,
            Perturbation(
                shuffle_frames=int(rng.integers(2, frames // 2)) if kind in (0, 1) else 0,
                swap_segment=int(rng.integers(2, max(3, frames // 5))) if kind == 2 else 0,
                drop_frames=int(rng.integers(1, frames // 4 + 1)) if kind in (3, 4) else 0,
            ),
            rng,
        )
    return orders


def perturb_batch(clean: Tensor, category: str, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Clean windows [B,T,C] -> perturbed ones, which frames are held [B,T] (given as they truly are), and the frame
    number at which each perturbed frame belongs [B,T]."""
    batch, frames = clean.shape[:2]
    orders = random_orders(batch, frames, rng)
    touched = (orders != np.arange(frames)).any(1)
    noisy = rng.random(batch) < np.where(touched, 0.25, 0.85)
    rad = np.where(noisy, 0.1 * np.exp(rng.normal(0, 0.6, batch)), 0)
    metres = np.where(noisy, 0.02 * np.exp(rng.normal(0, 0.6, batch)), 0)
    given = reorder(clean, torch.from_numpy(orders))
    given = add_noise(given, category, rad.astype(np.float32), metres.astype(np.float32), rng)
    held = np.zeros((batch, frames), bool)
    some = rng.random(batch) < 0.3
    held[:, 0] = some & (rng.random(batch) < 0.8)
    held[:, -1] = some & (rng.random(batch) < 0.5)
    held |= (some & (rng.random(batch) < 0.3))[:, None] & (rng.random((batch, frames)) < 0.1)
    held_t = torch.from_numpy(held)
    belongs = torch.from_numpy(np.where(held, np.arange(frames), orders)).float()
    return torch.where(held_t[..., None], clean, given), held_t, belongs


def draw(task: Task, step: int):
    """The batch of a step: category, perturbed and clean channels (canonical), held, belongs, text, strength given."""
    rng = rng_for(task.seed, step)
    category = CATEGORIES[rng.choice(len(CATEGORIES), p=task.share)]
    clips = task.clips[category]
    windows = sample_windows(clips, task.batch, LENGTHS[rng.integers(len(LENGTHS))], rng)
    clean = windows.channels
    given, held, belongs = perturb_batch(clean, category, rng)
    text = task.texts[category][windows.clip, windows.mirrored.astype(int)]
    untold = windows.reversed | (rng.random(task.batch) < 0.3)
    text = torch.where(torch.from_numpy(untold)[:, None], torch.nan, text)
    strength_known = torch.from_numpy(rng.random(task.batch) < 0.5)
    frame = canonical_frame(given, category)
    given, clean = frame.apply(given, category), frame.apply(clean, category)
    return category, given, clean, held, belongs, text, strength_known


def correction_loss(
    model: MotionPrior, task: Task, step: int, device: torch.device, precision: torch.dtype = torch.float32
) -> Tensor:
    """How far off every pass of the prior is: distances of joints in the world and around the root, of their steps, and
    of the parameters, relative to how much was perturbed; and of the moments at which the input frames belong.

    The paper's MSE of the pose, rooted joint by joint: what is judged is a mean distance, and squares let a few bad
    windows outweigh all others.
    """
    return batch_loss(model, draw(task, step), device, precision)


def batch_loss(
    model: MotionPrior, batch: tuple, device: torch.device, precision: torch.dtype = torch.float32
) -> Tensor:
    """`correction_loss` of what `draw` gave."""
    category, given, clean, held, belongs, text, strength_known = batch
    given, clean, held, belongs, text = (v.to(device) for v in (given, clean, held, belongs, text))
    strength = strength_of_speed(speed(clean, category), model.speeds(category))
    strength = torch.where(strength_known.to(device), strength, torch.nan)
    bones = model.bones(category)
    truth = positions(clean, bones, category)
    size = (positions(given, bones, category) - truth).square().sum(-1).mean((1, 2)) + RELATIVE_FLOOR_M**2
    corrections = model.passes(given, category, held, text, strength, precision=precision)
    losses = []
    for correction in corrections:
        error = positions(correction.channels, bones, category) - truth
        joint = _distance(error) + _distance(error - error[:, :, :1])
        parameters = (correction.channels - clean).abs().mean((1, 2))
        relative = (joint + STEP_WEIGHT * _distance(error.diff(dim=1)) + PARAMETER_WEIGHT * parameters) / size.sqrt()
        moments = F.smooth_l1_loss(correction.moments, belongs)
        losses.append(relative.mean() + MOMENT_WEIGHT * moments)
    return torch.stack(losses).mean()


def _distance(error: Tensor) -> Tensor:
    """[B,T,J,3] -> [B] mean length, smooth at 0."""
    return (error.square().sum(-1) + SMOOTH_M**2).sqrt().mean((1, 2))


def validation_numbers(model: MotionPrior, clips: MotionClips, windows: int = 256) -> dict[str, float]:
    """Mean joint error (mm, global) before and after, on fixed windows and perturbations."""
    kinds = {
        "clean": Perturbation(),
        "noise": Perturbation(noise_rad=0.1, noise_m=0.02),
        "shuffle": Perturbation(shuffle_frames=10),
        "drop": Perturbation(drop_frames=8),
    }
    room = np.concatenate(
        [np.arange(a, b - WINDOW + 1) for a, b in zip(clips.starts[:-1], clips.starts[1:], strict=True)]
    )
    begin = np.random.default_rng(0).choice(room, windows)
    clean = clips.channels[begin[:, None] + np.arange(WINDOW)]
    device = model.no_text.device
    numbers = {}
    for name, kind in kinds.items():
        given = reorder(
            clean, torch.from_numpy(np.stack([frame_order(WINDOW, kind, rng_for(1, i)) for i in range(windows)]))
        )
        given = add_noise(given, "human", kind.noise_rad, kind.noise_m, rng_for(2, 0))
        frame = canonical_frame(given, "human")
        given, true = frame.apply(given, "human").to(device), frame.apply(clean, "human").to(device)
        with torch.inference_mode():
            found = model(given, "human").channels
            points = [positions(v, model.bones("human"), "human") for v in (given, found, true)]
        error = [(p - points[2]).norm(dim=-1).mean().item() * 1000 for p in points[:2]]
        numbers |= {f"{name}_before": round(error[0], 2), f"{name}_mm": round(error[1], 2)}
        bend = [p.diff(n=2, dim=1) for p in points]
        numbers[f"{name}_acceleration"] = round((bend[1] - bend[2]).norm(dim=-1).mean().item() * 1000, 2)
    return numbers


def built_in_bones(category: Category) -> Tensor:
    """[J,3] metres, the rest offsets of the built-in body's joints that the prior knows."""
    parents = PRIOR_PARENTS[category]
    rest = load_body(category, detail="low").rest_joints(np.zeros(BETA_COUNT[category], np.float32))[: len(parents)]
    return torch.from_numpy(rest - rest[np.maximum(parents, 0)]).float()


def speed_table(clips: MotionClips) -> Tensor:
    """Speeds at `STRENGTH_QUANTILES` over windows of the training clips."""
    values = []
    for a, b in zip(clips.starts[:-1], clips.starts[1:], strict=True):
        whole = clips.channels[a : a + (b - a) // WINDOW * WINDOW] if b - a >= WINDOW else clips.channels[a:b]
        values.append(speed(whole.unflatten(0, (-1, min(WINDOW, b - a))), clips.category))
    table = torch.quantile(torch.cat(values), torch.tensor(STRENGTH_QUANTILES, dtype=torch.float32))
    table[0] = 0
    return table


def make_task(config: PmpTrainConfig) -> Task:
    """Load and make the clips, embed their captions."""
    from kinema.train.procedural_motion import animal_clips, object_clips

    clips = {
        "human": load_capture_clips(config.capture),
        "animal": animal_clips(config.quadrupeds, config.loop.seed),
        "object": object_clips(config.loop.seed),
    }
    encode = default_text_encoder()
    texts = {
        c: torch.stack([encode(m.captions), encode([mirrored_caption(t) for t in m.captions])], 1)
        for c, m in clips.items()
    }
    share = np.array(config.category_share) / sum(config.category_share)
    return Task(clips, texts, share, config.batch, config.loop.seed)


def train_pmp(config: PmpTrainConfig) -> Path:
    """Train, resume or finish; -> the path of the weights."""
    from kinema.checkpoints import load_prior, save_prior

    device = pick_device(config.device, config.threads)
    for path in (config.capture, config.validation, *config.quadrupeds, config.start):
        if path is not None and not path.exists():
            raise InputError(path, "does not exist", expected="a file")
    precision = pick_precision(config.precision, device)
    task = make_task(config)
    torch.manual_seed(config.loop.seed)
    model = MotionPrior(config.model)
    for category in get_args(Category):
        model.bones(category).copy_(built_in_bones(category))
    for category, clips in task.clips.items():
        model.speeds(category).copy_(speed_table(clips))
    if config.start:
        model.load_state_dict(load_prior(config.start).state_dict())
    model.to(device)
    validation = load_capture_clips(config.validation) if config.validation else None
    train(
        model,
        lambda batch: batch_loss(model, batch, device, precision),
        config,
        config.run,
        (lambda _: validation_numbers(model, validation)) if validation else None,
        draw=lambda step: draw(task, step),
    )
    out = config.out or config.run / "pmp.safetensors"
    provenance = {"loop": json.dumps(asdict(config.loop)), "batch": str(config.batch)}
    if leads():
        save_prior(model.cpu(), out, provenance)
        clips = {name: len(some.captions) for name, some in task.clips.items()}
        write_card(out, config.run, "pmp", config, {"clips": clips, "capture": config.capture.name})
    return out
