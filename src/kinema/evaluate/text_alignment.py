"""How well a video shows what its prompt says: cosine similarity in a space of videos and texts (as CLIP score, Hessel
et al. 2021; VBench's "overall consistency" has ViCLIP's).

Input: videos at 8 frames a second and their prompts. Output: 100 times the cosine, and how often a video's own prompt is
nearer than nine others. The network is small and knows the words and looks of the procedural world only: its numbers
order videos of one kind and are not to be put beside CLIP's. Weights, training and numbers: `docs/evaluate.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import comb
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from kinema.checkpoints import ASSETS, read_weights, write_weights
from kinema.errors import InputError
from kinema.extract.box_segmenter import Residual
from kinema.extract.optical_flow import to_grey
from kinema.reinforce.cogvideox import TokenPrompts

TEXT_JUDGE_WEIGHTS = ASSETS / "mini_judge" / "text.safetensors"
CLIP_FRAMES, SEEN_FRAMES, SIDE_PX = 17, 5, 64
"""A clip of 2 s, how many frames of it the network sees, and their side; longer videos are seen clip by clip."""
CHOICES = 10
"""Prompts among which the right one is looked for."""
CHANGE_SCALE = 32.0
"""Grey levels of change from a frame to the next that are 1 to the network."""


@dataclass(frozen=True)
class VideoTextConfig:
    widths: tuple[int, int, int] = (24, 48, 96)
    """Channels at 1/2, 1/4, 1/8 of the picture."""
    queries: int = 8
    """Vectors that a clip is pooled to before they are joined."""
    text_width: int = 128
    layers: int = 2
    heads: int = 4
    tokens: int = 96
    """Of a prompt; later ones are not read."""
    embedding: int = 128


class VideoEncoder(nn.Module):
    """[B,5,4,64,64], RGB and change 0 +- 1 -> unit vectors [B,E]: convolutions, then attention over all places and times."""

    def __init__(self, config: VideoTextConfig):
        super().__init__()
        a, b, c = config.widths
        self.frames = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(16, a, 3, padding=1), Residual(a), nn.ReLU(),
            nn.Conv2d(a, b, 3, 2, 1), Residual(b), nn.ReLU(),
            nn.Conv2d(b, c, 3, 2, 1), Residual(c),
        )  # fmt: skip
        places = (SIDE_PX // 8) ** 2
        self.place, self.time = (nn.Parameter(0.02 * torch.randn(n, c)) for n in (places, SEEN_FRAMES))
        self.norm = nn.LayerNorm(c)
        self.queries = nn.Parameter(torch.randn(config.queries, c))
        self.key, self.value = nn.Linear(c, c), nn.Linear(c, c)
        self.out = nn.Sequential(
            nn.Linear(config.queries * c, 2 * c), nn.ReLU(), nn.Linear(2 * c, config.embedding)
        )  # fmt: skip

    def forward(self, pictures: Float[Tensor, "B T C S S"]) -> Float[Tensor, "B E"]:
        flat = pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        maps = self.frames(flat).flatten(2).mT.unflatten(0, (len(pictures), -1))
        tokens = self.norm(maps + self.place + self.time[:, None]).flatten(1, 2)
        scores = self.queries @ self.key(tokens).mT * tokens.shape[-1] ** -0.5
        return F.normalize(self.out((scores.softmax(-1) @ self.value(tokens)).flatten(1)), dim=-1)


class TextEncoder(nn.Module):
    """Token vectors [B,L,128], 0 past the end -> unit vectors [B,E]."""

    def __init__(self, config: VideoTextConfig):
        super().__init__()
        width = config.text_width
        self.into = nn.Linear(128, width)
        self.layers = nn.ModuleList(
            [
                nn.TransformerEncoderLayer(width, config.heads, 2 * width, 0.0, batch_first=True, norm_first=True)
                for _ in range(config.layers)
            ]
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.embedding))

    def forward(self, tokens: Float[Tensor, "B L 128"]) -> Float[Tensor, "B E"]:
        past = (tokens == 0).all(-1)
        past[:, 0] = False
        longest = int((~past).sum(1).max())
        x, past = self.into(tokens[:, :longest]), past[:, :longest]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=past)
        there = (~past)[..., None].to(x.dtype)
        return F.normalize(self.out((x * there).sum(1) / there.sum(1)), dim=-1)


class VideoTextNet(nn.Module):
    """Both encoders, and the logarithm of the inverse temperature that they are trained with."""

    def __init__(self, config: VideoTextConfig | None = None):
        super().__init__()
        self.config = config = config or VideoTextConfig()
        self.video, self.text = VideoEncoder(config), TextEncoder(config)
        self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())


class TextJudge:
    """Videos and prompts to unit vectors."""

    def __init__(self, net: VideoTextNet):
        self.net = net.eval().requires_grad_(False)
        self.prompts = TokenPrompts(net.config.tokens)

    @torch.inference_mode()
    def of_video(self, video: UInt8[np.ndarray, "T H W 3"]) -> Float[Tensor, " E"]:
        """The mean over its clips of 2 s, brought back to unit length."""
        pictures = torch.from_numpy(np.stack([seen_of_clip(clip) for clip in clips_of(video)]))
        return F.normalize(self.net.video(network_input(pictures)).mean(0), dim=-1)

    @torch.inference_mode()
    def of_prompts(self, prompts: Sequence[str]) -> Float[Tensor, "N E"]:
        return self.net.text(self.prompts.encode(prompts))


def text_alignment(video: UInt8[np.ndarray, "T H W 3"], prompt: str, judge: TextJudge | None = None) -> float:
    """100 times the cosine of a video and its prompt, higher is better; at least 30 clips. Frames are at 8 a second."""
    if not prompt.strip():
        raise InputError("prompt", "is empty", "what the video shows")
    judge = judge or shipped_text_judge()
    return 100 * float(judge.of_video(video) @ judge.of_prompts([prompt])[0])


def chosen_of_ten(own: float, others: Float[np.ndarray, " M"]) -> float:
    """The chance that a video's own prompt is nearest to it among ten, nine of them drawn from `others`, 0-1.

    own, others  cosines to the video; `others` of the set's prompts in other words
    Its mean over clips is the accuracy of one choice in ten; by chance alone it is 0.1. At least 100 clips; source: the
    zero-shot choice of Radford et al. 2021. Raises InputError for fewer than nine others.
    """
    if len(others) < CHOICES - 1:
        raise InputError("other prompts", f"are {len(others)}", f"{CHOICES - 1} at least")
    beaten = int((np.asarray(others) < own).sum())
    return comb(beaten, CHOICES - 1) / comb(len(others), CHOICES - 1)


def clips_of(video: UInt8[np.ndarray, "T H W 3"]) -> list[UInt8[np.ndarray, "t H W 3"]]:
    """Clips of `CLIP_FRAMES` that share their end frames; what is left over at the end is not seen, unless it is all."""
    if len(video) <= CLIP_FRAMES:
        return [video]
    return [video[k : k + CLIP_FRAMES] for k in range(0, len(video) - CLIP_FRAMES + 1, CLIP_FRAMES - 1)]


def seen_of_clip(clip: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T2 S S 4"]:
    """Five frames, evenly from first to last but one, `SIDE_PX` a side: RGB, and the grey of the frame after each."""
    if len(clip) < 2:
        raise InputError("video", f"has {len(clip)} frame", "at least 2")
    taken = np.rint(np.linspace(0, len(clip) - 2, SEEN_FRAMES)).astype(int)
    both = [[cv2.resize(clip[t + k], (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for k in (0, 1)] for t in taken]
    return np.stack([np.dstack([now, to_grey(after[None])[0]]) for now, after in both])


def network_input(pictures: UInt8[Tensor, "B T S S 4"]) -> Float[Tensor, "B T 4 S S"]:
    """RGB -1 to 1, and the change of grey to the next frame."""
    light = pictures.float().permute(0, 1, 4, 2, 3)
    rgb, after = light[:, :, :3], light[:, :, 3:]
    grey = (rgb * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(2, keepdim=True)
    return torch.cat([rgb / 127.5 - 1, (after - grey) / CHANGE_SCALE], 2)


def save_text_judge(net: VideoTextNet, path: str | Path, provenance: dict[str, str]) -> None:
    write_weights(net, path, "text-judge", provenance)


def load_text_judge(path: str | Path = TEXT_JUDGE_WEIGHTS) -> VideoTextNet:
    """Read the network, float32, ready for inference. Raises InputError where the file is not one."""
    config, tensors = read_weights(path, "text-judge", "text judge")
    config["widths"] = tuple(config["widths"])
    net = VideoTextNet(VideoTextConfig(**config))
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


@cache
def shipped_text_judge() -> TextJudge:
    """The shipped network, read once."""
    return TextJudge(load_text_judge())
