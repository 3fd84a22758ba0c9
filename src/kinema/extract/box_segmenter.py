"""Segmenters told by a box what to look at: boxes in one frame -> masks in all (after Perazzi et al. 2017, MaskTrack).

They know no kinds of things: a box that a person draws gives masks of anything (`kinema mask --box`), and a video is judged
by whether it follows its masks whatever it shows, as SAM 2 judges it in the MVideo paper. There are two networks: one sees
colours; the other sees grey with its local contrast made even, so that colours alone do not decide. Each sees a frame and
the one before it, and the mask of the one before, or a filled box.
Weights, training and numbers: `docs/evaluate.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor, nn

from kinema.checkpoints import ASSETS, read_weights, write_weights
from kinema.extract.optical_flow import to_grey

Sees = Literal["grey", "colour"]
SIDE_PX = 128
"""Side of what the networks see; other pictures are stretched to it."""
LOCAL_PX = 10.0
"""Deviation of the Gaussian within which contrast is made even, at `SIDE_PX`."""
LEAST_CONTRAST = 4.0
"""Grey levels; flatter places are not made as lively as the rest."""


@dataclass(frozen=True)
class SegmenterConfig:
    sees: Sees = "colour"
    widths: tuple[int, ...] = (24, 64, 96, 128)
    """Channels at 1/2, 1/4, 1/8, 1/16 of the picture."""
    blocks: tuple[int, ...] = (1, 1, 2, 2)
    """Residual blocks there on the way down."""


class Residual(nn.Module):
    """Without a norm; does nothing before training."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class SegmenterNet(nn.Module):
    """A U-Net: frames [B,2,C,H,W] (now, before), hint [B,1,H,W] 0-1 and whether that is a box [B] -> logits [B,H,W]."""

    def __init__(self, config: SegmenterConfig | None = None):
        super().__init__()
        self.config = config = config or SegmenterConfig()
        a, *_ = widths = config.widths
        seen = 2 * (3 if config.sees == "colour" else 1)
        self.stem = nn.Conv2d(4 * (seen + 2), a, 3, padding=1)
        self.down = nn.ModuleList([nn.Conv2d(x, y, 3, 2, 1) for x, y in pairwise(widths)])
        self.there = nn.ModuleList(
            [nn.Sequential(*(Residual(w) for _ in range(n))) for w, n in zip(widths, config.blocks, strict=True)]
        )
        self.up = nn.ModuleList([nn.Conv2d(y, x, 1) for x, y in pairwise(widths)])
        self.back = nn.ModuleList([Residual(width) for width in widths[:-1]])
        self.head = nn.Conv2d(a, 4, 3, padding=1)

    def forward(
        self, seen: Float[Tensor, "B 2 C H W"], hint: Float[Tensor, "B 1 H W"], boxed: Float[Tensor, " B"]
    ) -> Float[Tensor, "B H W"]:
        kind = boxed[:, None, None, None].expand_as(hint)
        given = torch.cat([seen.flatten(1, 2), hint, kind], 1)
        x = F.pixel_unshuffle(given, 2).contiguous(memory_format=torch.channels_last)
        maps = [self.there[0](self.stem(x))]
        for down, there in zip(self.down, self.there[1:], strict=True):
            maps.append(there(down(maps[-1])))
        x = maps.pop()
        for up, back in zip(reversed(self.up), reversed(self.back), strict=True):
            x = back(F.interpolate(up(x), scale_factor=2.0, mode="nearest") + maps.pop())
        return F.pixel_shuffle(self.head(F.relu(x)), 2)[:, 0]


class BoxSegmenter:
    """Follows what is in a box; a `kinema.evaluate.mask_alignment.Tracker`."""

    def __init__(self, net: SegmenterNet):
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @torch.inference_mode()
    def track(
        self, frames: UInt8[np.ndarray, "T H W 3"], boxes_px: Float32[np.ndarray, "N 4"]
    ) -> Bool[np.ndarray, "T N H W"]:
        """The first frame's masks from their boxes, each other one's from the masks before it."""
        seen = torch.from_numpy(what_is_seen(frames, self.net.config.sees))
        hint = torch.from_numpy(filled_boxes(boxes_px, frames.shape[1:3]))[:, None]
        height, width = frames.shape[1:3]
        masks = np.empty((len(frames), len(boxes_px), height, width), bool)
        for t in range(len(frames)):
            pair = torch.stack([seen[t], seen[max(t - 1, 0)]]).expand(len(hint), -1, -1, -1, -1)
            hint = self.net(pair, hint, torch.full((len(hint),), float(t == 0))).sigmoid()[:, None]
            masks[t] = F.interpolate(hint, (height, width), mode="bilinear")[:, 0].numpy() > 0.5
        return masks


def what_is_seen(frames: UInt8[np.ndarray, "T H W 3"], sees: Sees) -> Float32[np.ndarray, "T C S S"]:
    """`SIDE_PX` a side: colours in -1..1, or grey with mean 0 and deviation 1 around every pixel, less where it is flat."""
    if sees == "colour":
        small = np.stack([cv2.resize(frame, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for frame in frames])
        return np.ascontiguousarray(small.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1
    even = np.empty((len(frames), 1, SIDE_PX, SIDE_PX), np.float32)
    for t, grey in enumerate(to_grey(frames)):
        small = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        mean = cv2.GaussianBlur(small, (0, 0), LOCAL_PX)
        spread = cv2.GaussianBlur(np.square(small - mean), (0, 0), LOCAL_PX)
        even[t, 0] = (small - mean) / np.sqrt(spread + LEAST_CONTRAST**2)
    return even


def filled_boxes(boxes_px: Float32[np.ndarray, "N 4"], image_hw: tuple[int, ...]) -> Float32[np.ndarray, "N S S"]:
    """Boxes x0 y0 x1 y1 in a picture of H x W, right and lower edges outside -> 1 inside, at `SIDE_PX` a side."""
    scale = SIDE_PX / np.array([image_hw[1], image_hw[0]] * 2)
    filled = np.zeros((len(boxes_px), SIDE_PX, SIDE_PX), np.float32)
    for mask, (x0, y0, x1, y1) in zip(filled, np.rint(boxes_px * scale).astype(int), strict=True):
        mask[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)] = 1
    return filled


def save_segmenter(net: SegmenterNet, path: str | Path, provenance: dict[str, str]) -> None:
    write_weights(net, path, "segmenter", provenance)


def load_segmenter(path: str | Path) -> SegmenterNet:
    """Read the network, float32, ready for inference. Raises InputError where the file is not one."""
    config, tensors = read_weights(path, "segmenter", "segmenter")
    net = SegmenterNet(SegmenterConfig(config["sees"], tuple(config["widths"]), tuple(config["blocks"])))
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


@cache
def shipped_segmenter(sees: Sees) -> BoxSegmenter:
    """The shipped network that sees this, read once."""
    return BoxSegmenter(load_segmenter(ASSETS / "mini_segmenter" / f"{sees}.safetensors"))
