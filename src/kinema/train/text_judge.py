"""Train the network that judges whether a video shows what its prompt says, on clips and captions of the procedural world.

kinema train text-judge --capture cmu_train.npz --run runs/text_judge

InfoNCE both ways within a batch (Radford et al. 2021). Each caption also has a twin in which one thing was changed (a
subject and what it does, the place, a colour, a side) to something that another caption or the same vocabulary says:
without those the network can tell clips apart by their most striking colour alone.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from kinema.evaluate.text_alignment import (
    CLIP_FRAMES,
    TextJudge,
    VideoTextConfig,
    VideoTextNet,
    chosen_of_ten,
    network_input,
    save_text_judge,
    seen_of_clip,
)
from kinema.motion_io.capture import mirrored_caption
from kinema.reinforce.cogvideox import TokenPrompts
from kinema.train.card import of_world, write_card
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, train
from kinema.train.perception_data import ClipSource, Pool
from kinema.world.looks import COLORS

MOST_SCALE = 100.0
"""Largest inverse temperature (Radford et al. 2021, section 2.5)."""
PART_SHARE = 0.6
"""How many twins have a whole part changed, where they have several; the others a colour or a side."""
SEPARATOR = "; "
"""Between the parts of the world's captions: subjects, then the place."""
CHANGEABLE = re.compile(r"\b(" + "|".join((*COLORS, "left", "right")) + r")\b")
TRIES = 4


@dataclass(frozen=True)
class TextJudgeTrainConfig:
    """Train the text judge. Run the same command again to go on after a stop."""

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
    validation_clips: int = 100
    out: Path | None = None
    """Where to write the finished weights (safetensors)."""
    batch: int = 48
    """Clips a step."""
    pool: int = 1024
    """Clips that batches are drawn from at a time."""
    new_clips: int = 4
    """Clips that are made a step."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    model: VideoTextConfig = field(default_factory=VideoTextConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=1500, learning_rate=1e-3, warmup=100, decay=0.8, weight_decay=0.05, ema=0.995
        )
    )


@dataclass(frozen=True)
class Captioned:
    """What the network sees of a clip (`seen_of_clip`), and its caption."""

    pictures: UInt8[np.ndarray, "T S S 4"]
    caption: str


class CaptionedPool(Pool[Captioned]):
    """Of clips with their captions."""

    def make(self, number: int) -> Captioned:
        return captioned(self.world, number)

    def draw(self, step: int, batch: int, rng: np.random.Generator) -> list[Captioned]:
        """Different clips, each mirrored or not and in another light."""
        pool = self.of_step(step)
        return [changed(pool[int(k)], rng) for k in rng.permutation(self.size)[:batch]]


def captioned(world: ClipSource, number: int) -> Captioned:
    clip = world.sample(number, frames=CLIP_FRAMES)
    return Captioned(seen_of_clip(clip.video.frames), clip.scene.prompt)


def changed(one: Captioned, rng: np.random.Generator) -> Captioned:
    """Mirrored half of the time, with its words; a little shifted and zoomed; softer, lighter, noisier, as generated
    frames are."""
    pictures, caption = one.pictures, one.caption
    side = pictures.shape[1]
    zoom, shift = np.exp(rng.uniform(-0.1, 0.1)), rng.uniform(-0.04, 0.04, 2) * side
    middle = (side - 1) / 2
    place = np.array([[zoom, 0, middle * (1 - zoom) + shift[0]], [0, zoom, middle * (1 - zoom) + shift[1]]])
    if rng.random() < 0.5:
        place[0, :] = -place[0, :] + (0, 0, side - 1)
        caption = mirrored_caption(caption)
    blur = rng.uniform(0.3, 1.2) if rng.random() < 0.5 else 0.0
    gain, lift, noise = rng.uniform(0.88, 1.12), rng.uniform(-10, 10), rng.uniform(0, 5) * (rng.random() < 0.3)
    new = np.empty_like(pictures)
    for target, picture in zip(new, pictures, strict=True):
        moved = cv2.warpAffine(picture, place, (side, side), borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)
        if blur:
            moved = cv2.GaussianBlur(moved, (0, 0), blur)
        moved = (moved - 128) * gain + 128 + lift + noise * rng.standard_normal(moved.shape, np.float32)
        target[:] = np.clip(np.rint(moved), 0, 255)
    return Captioned(new, caption)


def twins(captions: Sequence[str], rng: np.random.Generator) -> tuple[list[str], Bool[np.ndarray, " N"]]:
    """For each caption one with something else in it, and whether that could be had."""
    found = [_twin(caption, captions, rng) for caption in captions]
    return found, np.array([twin != caption for twin, caption in zip(found, captions, strict=True)])


def _twin(caption: str, others: Sequence[str], rng: np.random.Generator) -> str:
    parts, words = caption.split(SEPARATOR), list(CHANGEABLE.finditer(caption))
    if words and (len(parts) < 2 or rng.random() > PART_SHARE):
        word = words[int(rng.integers(len(words)))]
        sides = {"left": "right", "right": "left"}
        new = sides.get(word[0]) or str(rng.choice(list(COLORS)))
        return caption[: word.start()] + new + caption[word.end() :]
    index = int(rng.integers(len(parts)))
    last = index == len(parts) - 1 and len(parts) > 1
    for _ in range(TRIES):
        other = others[int(rng.integers(len(others)))].split(SEPARATOR)
        new = other[-1] if last else other[0]
        if new not in parts:
            return SEPARATOR.join([*parts[:index], new, *parts[index + 1 :]])
    return caption


def contrastive_loss(
    videos: Float[Tensor, "B E"],
    texts: Float[Tensor, "B2 E"],
    differ: Bool[np.ndarray, " B"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """InfoNCE, the mean of both ways; `texts` are the captions, then their twins, which count where they `differ`."""
    count = len(videos)
    logits = scale * videos @ texts.T
    same = torch.cat([torch.zeros(count, dtype=torch.bool), torch.from_numpy(~differ)])
    right = torch.arange(count)
    return (
        F.cross_entropy(logits.masked_fill(same, float("-inf")), right) + F.cross_entropy(logits[:, :count].T, right)
    ) / 2


def step_loss(
    net: VideoTextNet, pool: CaptionedPool, prompts: TokenPrompts, config: TextJudgeTrainConfig, step: int
) -> Float[Tensor, ""]:
    return judging_loss(net, draw(pool, prompts, config, step))


@dataclass(frozen=True)
class Judged:
    """Videos, what they and then their twins are called (in vectors), and whether the two differ."""

    pictures: Tensor
    words: Tensor
    differ: Bool[np.ndarray, " B"]


def draw(pool: CaptionedPool, prompts: TokenPrompts, config: TextJudgeTrainConfig, step: int) -> Judged:
    """The batch of a step."""
    rng = rng_for(config.loop.seed, step)
    drawn = pool.draw(step, config.batch, rng)
    captions = [one.caption for one in drawn]
    others, differ = twins(captions, rng)
    pictures = network_input(torch.from_numpy(np.stack([one.pictures for one in drawn])))
    return Judged(pictures, prompts.encode([*captions, *others]), differ)


def judging_loss(net: VideoTextNet, batch: Judged) -> Float[Tensor, ""]:
    texts = net.text(batch.words)
    return contrastive_loss(net.video(batch.pictures), texts, batch.differ, net.log_scale.exp().clamp(max=MOST_SCALE))


def score_text_judge(judge: TextJudge, clips: Sequence[Captioned]) -> dict[str, float]:
    """one_of_ten: how often the right caption wins against nine others; twin: against one with one thing changed;
    cosine, cosine_other: 100 times the mean cosine of right pairs, and of a video and another's caption."""
    captions = [one.caption for one in clips]
    others, differ = twins(captions, np.random.default_rng(0))
    with torch.inference_mode():
        videos = judge.net.video(network_input(torch.from_numpy(np.stack([one.pictures for one in clips]))))
    texts, changed_texts = judge.of_prompts(captions), judge.of_prompts(others)
    cosines, against = videos @ texts.T, (videos * changed_texts).sum(1)
    own, count = cosines.diagonal(), len(clips)
    wins = [
        chosen_of_ten(float(own[n]), np.array([row[k] for k in range(count) if captions[k] != captions[n]]))
        for n, row in enumerate(cosines.numpy())
    ]
    return {
        "one_of_ten": float(np.mean(wins)),
        "twin": float((own > against)[torch.from_numpy(differ)].float().mean()),
        "cosine": 100 * float(own.mean()),
        "cosine_other": 100 * float((cosines.sum() - own.sum()) / (count * (count - 1))),
    }


def train_text_judge(config: TextJudgeTrainConfig, worlds: tuple[ClipSource, ClipSource] | None = None) -> Path:
    """Train, resume or finish; -> the path of the weights. `worlds`: others than the procedural ones to train and score."""
    from kinema.world.sampler import World

    pick_device("cpu", config.threads)
    world, other = worlds or (
        World.load(config.capture, config.photographs, "train", wide=True),
        World.load(config.validation, config.validation_photographs, "test", wide=True),
    )
    pool = CaptionedPool(world, config.pool, config.new_clips, config.loop.seed * 1_000_000)
    held_out = [captioned(other, number) for number in range(config.validation_clips)]
    torch.manual_seed(config.loop.seed)
    net, prompts = VideoTextNet(config.model), TokenPrompts(config.model.tokens)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, VideoTextNet)
        return score_text_judge(TextJudge(copy.deepcopy(model)), held_out)

    def draw_step(step: int) -> Judged:
        return draw(pool, prompts, config, step)

    train(net, lambda batch: judging_loss(net, batch), config, config.run, evaluate, draw=draw_step)
    out = config.out or config.run / "text.safetensors"
    if leads():
        save_text_judge(net, out, {"loop": json.dumps(asdict(config.loop)), "batch": str(config.batch)})
        write_card(
            out,
            config.run,
            "text-judge",
            config,
            of_world(config.capture),
        )
    return out
