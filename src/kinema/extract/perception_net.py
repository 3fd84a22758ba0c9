"""The network of mini-perception: frames in; parts, subject centres and offsets, joints and depth out, per pixel.

A U-Net of residual blocks with two layers of attention at the bottom, where left and right are told apart by the whole
picture and by the frames before and after it. Instances are centres and offsets as in Panoptic-DeepLab (Cheng et al.
2020, section 3); joints are heatmaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kinema.body.skeleton import PARTS
from kinema.extract.observation import KEYPOINTS

PART_OF_CLASS = np.array(sorted(PARTS), np.uint8)
"""[39] part ids; the index is the class that the network predicts."""
CLASS_OF_PART = np.zeros(256, np.uint8)
CLASS_OF_PART[PART_OF_CLASS] = np.arange(len(PART_OF_CLASS))
CATEGORIES = ("human", "animal", "object")
JOINT_SLICES = {"human": slice(0, len(KEYPOINTS["human"])), "animal": slice(len(KEYPOINTS["human"]), None)}
"""Channels of the joint heatmaps."""
HEATMAPS = sum(map(len, KEYPOINTS.values()))
STRIDE, CELL, COARSE = 2, 16, 4
"""Picture pixels per pixel of the highest map, of the lowest one, and of everything but the parts."""
OFFSET_PX = 128
"""So many of the network's pixels are an offset of 1."""
FALL = (0.5, 3.0)
"""How much less a frame counts for each frame that it is away, natural logarithm, in the first head and in the last."""
RARE_LOGIT, USUAL_LOG_DEPTH = -5.0, 1.5
"""Where the heatmaps and the depth start."""


def _twins(names: tuple[str, ...]) -> np.ndarray:
    """[N] index of each name's twin on the other side; itself in the middle."""
    other = {name: name.replace("left_", "*").replace("right_", "left_").replace("*", "right_") for name in names}
    return np.array([names.index(other[name]) for name in names])


CLASS_TWIN = _twins(tuple(PARTS[int(p)] for p in PART_OF_CLASS)).astype(np.uint8)
JOINT_TWIN = np.concatenate([_twins(KEYPOINTS[c]) + JOINT_SLICES[c].start for c in ("human", "animal")])
"""Index of each class's and each heatmap's twin on the other side of the body; itself in the middle."""


class Maps(NamedTuple):
    """What the network says of B pictures: parts at their full size, all else at a quarter, h x w.

    parts      [B,39,4h,4w] logits of the classes of `PART_OF_CLASS`
    centres    [B,3,h,w] logits: the middle of a human, animal, object
    offsets    [B,2,h,w] from a subject's pixel to its middle, x y in units of `OFFSET_PX`
    joints     [B,57,h,w] logits: 22 of people, 35 of animals
    log_depth  [B,h,w] ln of the distance along the axis in metres
    facing     [B,2,H/16,W/16] in the camera frame, right and forward, which way a body's left side is. It is asked for
               to be learned: what is left follows from it and where a limb is, both together take long to find
    """

    parts: Tensor
    centres: Tensor
    offsets: Tensor
    joints: Tensor
    log_depth: Tensor
    facing: Tensor


@dataclass(frozen=True)
class PerceptionConfig:
    widths: tuple[int, int, int, int] = (32, 64, 128, 192)
    """Channels at 1/2, 1/4, 1/8, 1/16 of the picture."""
    out_width: int = 48
    """Channels that the heads read."""
    attention_layers: int = 2
    attention_heads: int = 6
    deeper: tuple[int, int] = (1, 1)
    """More residual blocks at 1/8 on the way down, and at 1/2 before the parts."""


class ConvNorm(nn.Sequential):
    """Convolution and batch norm; an activation after it where asked."""

    def __init__(self, into: int, out: int, size: int = 3, stride: int = 1, act: bool = True):
        layers = [nn.Conv2d(into, out, size, stride, size // 2, bias=False), nn.BatchNorm2d(out)]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if act else []))


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(ConvNorm(width, width), ConvNorm(width, width, act=False))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Neighbours(nn.Module):
    """Adds to each pixel what it holds one frame earlier and one later, channel by channel; nothing before training."""

    def __init__(self, width: int):
        super().__init__()
        self.earlier, self.later = (nn.Parameter(torch.zeros(width, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor, frames: int) -> Tensor:
        if frames == 1:
            return x
        clips = x.unflatten(0, (-1, frames))
        nothing = torch.zeros_like(clips[:, :1])
        earlier, later = torch.cat([nothing, clips[:, :-1]], 1), torch.cat([clips[:, 1:], nothing], 1)
        return (clips + self.earlier * earlier + self.later * later).flatten(0, 1)


class Attention(nn.Module):
    """Pre-norm self-attention and feed-forward over the cells of all frames of a video.

    Where a cell is comes from a depthwise convolution, which sees the border (CPE, Chu et al. 2021), so that any size
    will do. Each head looks less at frames the further they are away, as ALiBi does (Press et al. 2022); how much less
    is learned, so that any number of frames will do.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.log_fall = nn.Parameter(torch.linspace(*FALL, heads).log())

    def forward(self, x: Tensor, frames: int) -> Tensor:
        x = x + self.place(x)
        tokens = x.flatten(2).mT
        q, k, v = (
            self.qkv(self.norm1(tokens))
            .unflatten(0, (-1, frames))
            .flatten(1, 2)
            .unflatten(-1, (3, self.heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        # Plain products: torch's fused kernel is slow on so few cells.
        scores = ((q * q.shape[-1] ** -0.5) @ k.mT).unflatten(3, (frames, -1)).unflatten(2, (frames, -1))
        time = torch.arange(frames, device=x.device)
        apart = (time[:, None] - time).abs()
        scores -= (self.log_fall.exp()[:, None, None] * apart).to(scores.dtype)[:, :, None, :, None]
        mixed = scores.flatten(4).flatten(2, 3).softmax(-1).to(v.dtype) @ v
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(1, (frames, -1)).flatten(0, 1)
        tokens = tokens + self.out(mixed)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.mT.unflatten(2, x.shape[2:]).contiguous(memory_format=torch.channels_last)


class PerceptionNet(nn.Module):
    """RGB [B,3,H,W], 0-1, sides multiples of 16 -> `Maps`.

    Each `frames` pictures in a row are a video of its own; a picture alone is one of a single frame.
    """

    def __init__(self, config: PerceptionConfig | None = None):
        super().__init__()
        self.config = config = config or PerceptionConfig()
        a, b, c, d = config.widths
        self.stem = nn.Sequential(ConvNorm(12, a), ConvNorm(a, a))
        self.quarter = nn.Sequential(ConvNorm(a, b, stride=2), Residual(b), Residual(b))
        self.eighth = nn.Sequential(ConvNorm(b, c, stride=2), *(Residual(c) for _ in range(1 + config.deeper[0])))
        self.sixteenth = ConvNorm(c, d, stride=2)
        layers = range(config.attention_layers)
        self.whole = nn.ModuleList([Attention(d, config.attention_heads) for _ in layers])
        self.near = nn.ModuleList([Neighbours(b), Neighbours(c)])
        self.facing = nn.Conv2d(d, 2, 1)
        self.up = nn.ModuleList([ConvNorm(d, c, 1), ConvNorm(c, b, 1), ConvNorm(b, config.out_width, 1)])
        self.skip = nn.ModuleList([ConvNorm(c, c, 1), ConvNorm(b, b, 1), ConvNorm(a, config.out_width, 1)])
        self.merge = nn.ModuleList([Residual(c), Residual(b), ConvNorm(config.out_width, config.out_width)])
        self.refine = nn.Sequential(*(Residual(config.out_width) for _ in range(config.deeper[1])))
        self.parts = nn.Conv2d(config.out_width, len(PART_OF_CLASS) * STRIDE**2, 1)
        self.sizes = (len(CATEGORIES), 2, HEATMAPS, 1)
        self.rest = nn.Sequential(ConvNorm(b, b), nn.Conv2d(b, sum(self.sizes), 1))
        self._start_at_rare()

    def _start_at_rare(self) -> None:
        """Peaks are rare: start there (Lin et al. 2017, section 4.1)."""
        bias = torch.full((sum(self.sizes),), RARE_LOGIT)
        bias[len(CATEGORIES) : len(CATEGORIES) + 2] = 0
        bias[-1] = USUAL_LOG_DEPTH
        assert isinstance(self.rest[1], nn.Conv2d)
        self.rest[1].bias = nn.Parameter(bias)

    def grow_from(self, other: PerceptionNet) -> None:
        """Take over the weights of a network with as many blocks or fewer, and say exactly what it says: what this one has
        more adds nothing yet. Raises RuntimeError where their widths differ."""
        own = self.state_dict()
        for module in self.modules():
            if isinstance(module, Residual):
                own_norm: Any = module.body[1]
                nn.init.zeros_(own_norm[1].weight)
            elif isinstance(module, Attention):
                for last in (module.place, module.out, module.mlp[2]):
                    nn.init.zeros_(last.weight)  # pyright: ignore[reportArgumentType]
                    nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]
        self.load_state_dict(own | other.state_dict())

    def forward(self, pictures: Tensor, frames: int = 1) -> Maps:
        x = F.pixel_unshuffle(pictures - 0.5, STRIDE).contiguous(memory_format=torch.channels_last)
        maps = [self.stem(x)]
        for stage, near in zip((self.quarter, self.eighth), self.near, strict=True):
            maps.append(near(stage(maps[-1]), frames))
        x = self.sixteenth(maps[-1])
        for layer in self.whole:
            x = layer(x, frames)
        facing, rest = self.facing(x), x
        for level, (up, skip, merge) in enumerate(zip(self.up, self.skip, self.merge, strict=True)):
            # Nearest, since the convolution after it smooths.
            x = merge(F.interpolate(up(x), scale_factor=2.0, mode="nearest") + skip(maps.pop()))
            if level == 1:
                rest = self.rest(x)
        x = self.refine(x)
        centres, offsets, joints, depth = rest.split(self.sizes, 1)
        return Maps(F.pixel_shuffle(self.parts(x), STRIDE), centres, offsets, joints, depth[:, 0], facing)


def folded(net: PerceptionNet) -> PerceptionNet:
    """The same network for inference alone, each batch norm part of the convolution before it; in place."""
    for module in net.modules():
        if isinstance(module, ConvNorm):
            convolution, norm = module[0], module[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return net


def channels_last(net: PerceptionNet) -> PerceptionNet:
    """The same network with its weights in the order that convolutions on a CPU are fastest in; in place."""
    return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
