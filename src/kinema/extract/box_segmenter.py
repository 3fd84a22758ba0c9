"""Segmenters told by a box what to look at: boxes in one frame -> masks in all (after Perazzi et al. 2017, MaskTrack).

They know no kinds of things: a box that a person draws gives masks of anything (`kinema mask --box`), and a video is judged
by whether it follows its masks whatever it shows, as SAM 2 judges it in the MVideo paper. There are two networks: one sees
colours; the other sees grey with its local contrast made even, so that colours alone do not decide. Each sees a frame and
the one before it, and the mask of the one before, or a filled box; all of it cut out around that, so that small things
are seen large.
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
from kinema.extract.instances import box_of_mask, mask_of_box
from kinema.extract.optical_flow import LEAST_SIDE_PX, to_grey

Sees = Literal["grey", "colour"]
SIDE_PX = 128
"""Side of what the networks see; what is cut out is stretched to it."""
CONTEXT, REACH = 2.5, 0.3
"""The side of what is cut out, as a multiple of the longer side of a box or mask; and what is added where a mask is
followed, which may have moved, as a share of the shorter side of the picture."""
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
        shares = np.stack([mask_of_box(box, frames.shape[1:3]) for box in boxes_px]).astype(np.float32)
        parts = [part_around(box, frames.shape[1:3]) for box in boxes_px]
        masks = np.empty((len(frames), *shares.shape), bool)
        for t in range(len(frames)):
            pair = frames[[t, max(t - 1, 0)]]
            seen = np.stack([what_is_seen(pair[:, *part], self.net.config.sees) for part in parts])
            hints = np.stack([to_side(share[part]) for share, part in zip(shares, parts, strict=True)])[:, None]
            boxed = torch.full((len(parts),), float(t == 0))
            found = self.net(torch.from_numpy(seen), torch.from_numpy(hints), boxed).sigmoid().numpy()
            shares[:] = 0
            for n, part in enumerate(parts):
                height, width = shares[n][part].shape
                shares[n][part] = cv2.resize(found[n], (width, height), interpolation=cv2.INTER_LINEAR)
            masks[t] = shares > 0.5
            for n, mask in enumerate(masks[t]):
                if mask.any():
                    parts[n] = part_around(box_of_mask(mask), mask.shape, REACH)
        return masks


Part = tuple[slice, slice]
"""Rows and columns of a picture."""


def part_around(
    box_px: Float32[np.ndarray, " 4"], image_hw: tuple[int, ...], reach: float = 0.0, context: float = CONTEXT
) -> Part:
    """What is looked at of a picture of H x W: a square around a box x0 y0 x1 y1, or as much of it as there is."""
    middle, sides = (box_px[:2] + box_px[2:]) / 2, box_px[2:] - box_px[:2]
    side = max(LEAST_SIDE_PX, round(context * float(max(sides)) + reach * min(image_hw)))
    part = []
    for centre, length in ((middle[1], image_hw[0]), (middle[0], image_hw[1])):
        taken = min(side, length)
        begin = min(max(round(float(centre) - taken / 2), 0), length - taken)
        part.append(slice(begin, begin + taken))
    return part[0], part[1]


def to_side(picture: np.ndarray) -> np.ndarray:
    """[H,W] or [H,W,3] -> `SIDE_PX` a side, without jagged edges."""
    larger = max(picture.shape[:2]) > SIDE_PX
    return cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)


def what_is_seen(frames: UInt8[np.ndarray, "T H W 3"], sees: Sees) -> Float32[np.ndarray, "T C S S"]:
    """`SIDE_PX` a side: colours in -1..1, or grey with mean 0 and deviation 1 around every pixel, less where it is flat."""
    if sees == "colour":
        small = np.stack([to_side(frame) for frame in frames])
        return np.ascontiguousarray(small.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1
    even = np.empty((len(frames), 1, SIDE_PX, SIDE_PX), np.float32)
    for t, grey in enumerate(to_grey(frames)):
        small = to_side(grey).astype(np.float32)
        mean = cv2.GaussianBlur(small, (0, 0), LOCAL_PX)
        spread = cv2.GaussianBlur(np.square(small - mean), (0, 0), LOCAL_PX)
        even[t, 0] = (small - mean) / np.sqrt(spread + LEAST_CONTRAST**2)
    return even


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
