"""mini-perception: one small network that detects, segments, finds joints and estimates depth in a video, in one pass.

It fulfils the protocols of `detection`, `segmentation`, `depth` and `keypoints` for the procedural world; weights, data
and numbers: `docs/perception.md`. Pictures are brought
to 192 pixels on the longer side: limbs of a few pixels are seen better when they are larger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from kinema.checkpoints import ASSETS, read_weights, write_weights
from kinema.extract.detection import Detection, box_iou
from kinema.extract.instances import Instance, box_of_mask, find_instances, find_keypoints, with_mended_edges
from kinema.extract.keypoints import Keypoints
from kinema.extract.perception_net import (
    CATEGORIES,
    CLASS_TWIN,
    COARSE,
    PART_OF_CLASS,
    PerceptionConfig,
    PerceptionNet,
    channels_last,
    folded,
)
from kinema.extract.steady import AWAY_FRAMES, Steadied
from kinema.precision import quick_dtype

PERCEPTION_WEIGHTS = ASSETS / "mini_perception" / "perception.safetensors"
"""The shipped weights; how they were trained and what they score: `docs/perception.md`."""
SIDE_PX, WORLD_SIDE_PX = 192, 128
"""Longer side of what the network sees; it is that of the procedural world's pictures, made larger."""
PASS_FRAMES = 8
"""At most so many frames are looked at together."""
LABELS = {"human": "a person", "animal": "an animal", "object": "an object"}


@dataclass(frozen=True)
class Seen:
    """One pass over T frames: part ids at the frames' size; at the network's size S x S, a quarter of it for the joints,
    heatmaps 0-1 and depth; the subjects, at the smaller of the two sizes; and by what they are called the highest peak
    of any centre, 0-1."""

    part_ids: UInt8[np.ndarray, "T H W"]
    heatmaps: Float32[np.ndarray, "T J s s"]
    depth_m: Float32[np.ndarray, "T S S"]
    instances: list[list[Instance]]
    best: dict[str, float]


class MiniPerception:
    """All four protocols; the pass over the last frames given is remembered, so that four questions cost one.

    steady_frames  parts and masks are averaged over the picture and its mirror image, and along the motion over so many
                   frames before and after each one (`Steadied`)
    mended_frames  edges are mended by the picture's colours in so many frames, from the first on; None: in all of them
    """

    def __init__(self, net: PerceptionNet, steady_frames: int = 0, mended_frames: int | None = None):
        self.net = channels_last(folded(net.eval().requires_grad_(False)).to(quick_dtype("cpu")))
        self.steady_frames, self.mended_frames = steady_frames, mended_frames
        self._frames: np.ndarray | None = None
        self._seen: Seen | None = None

    def detect(self, frames: UInt8[np.ndarray, "T H W 3"]) -> list[list[Detection]]:
        """The subjects of every frame, the largest first."""
        fit = Fit.of(frames)
        return [
            [Detection(i.category, LABELS[i.category], box_of_mask(fit.back(i.mask)), i.score) for i in found]
            for found in self._look(frames).instances
        ]

    def segment(
        self, frames: UInt8[np.ndarray, "T H W 3"], detections: list[list[Detection]]
    ) -> list[Bool[np.ndarray, "_ H W"]]:
        """The mask that fits each detection's box best; empty where no subject of its category overlaps it."""
        fit = Fit.of(frames)
        masks = []
        for asked, found in zip(detections, self._look(frames).instances, strict=True):
            candidates = [(i.category, fit.back(i.mask)) for i in found]
            chosen = [_best_mask(d, candidates) for d in asked]
            nothing = np.zeros(frames.shape[1:3], bool)
            masks.append(np.array([nothing if m is None else m for m in chosen], bool).reshape(-1, *nothing.shape))
        return masks

    def keypoints(
        self,
        frames: UInt8[np.ndarray, "T H W 3"],
        detections: list[list[Detection]],
        masks: list[Bool[np.ndarray, "_ H W"]],
    ) -> list[list[Keypoints]]:
        """Joints of each detection, looked for within its mask."""
        fit = Fit.of(frames)
        points = []
        for heat, asked, ours in zip(self._look(frames).heatmaps, detections, masks, strict=True):
            small = [find_keypoints(heat, d.category, fit.there(m)) for d, m in zip(asked, ours, strict=True)]
            points.append([Keypoints(fit.points_back(k.xy_px), k.confidence) for k in small])
        return points

    def depth(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T H W"]:
        """Metres in the procedural world's scale; inf on the background."""
        fit = Fit.of(frames)
        seen = self._look(frames)
        return np.where(seen.part_ids > 0, np.stack([fit.back(d) for d in seen.depth_m]), np.float32(np.inf))

    def parts(self, frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
        return self._look(frames).part_ids

    @property
    def looked_for(self) -> dict[str, float]:
        """What was looked for in the last frames, each with the best score that anything had, 0-1."""
        return self._seen.best if self._seen else {}

    def _look(self, frames: np.ndarray) -> Seen:
        if self._seen is None or self._frames is not frames:
            self._frames, self._seen = frames, look(self.net, frames, self.steady_frames, self.mended_frames)
        return self._seen


@dataclass(frozen=True)
class Fit:
    """How a picture of H x W lies in the network's S x S: scaled to `h x w`, with `top` and `left` black pixels."""

    hw: tuple[int, int]
    small_hw: tuple[int, int]
    top: int
    left: int

    @staticmethod
    def of(frames: np.ndarray) -> Fit:
        height, width = frames.shape[1:3]
        scale = SIDE_PX / max(height, width)
        h, w = max(1, round(height * scale)), max(1, round(width * scale))
        return Fit((height, width), (h, w), (SIDE_PX - h) // 2, (SIDE_PX - w) // 2)

    def there(self, picture: np.ndarray) -> np.ndarray:
        """[H,W] or [H,W,3] -> [S,S] or [S,S,3]; smooth for pictures, nearest for anything else."""
        small = picture
        if self.hw != self.small_hw:
            smooth = cv2.INTER_AREA if self.small_hw < self.hw else cv2.INTER_LINEAR
            how = smooth if picture.ndim == 3 else cv2.INTER_NEAREST_EXACT
            small = cv2.resize(picture.view(np.uint8), self.small_hw[::-1], interpolation=how).view(picture.dtype)
        out = np.zeros((SIDE_PX, SIDE_PX, *picture.shape[2:]), picture.dtype)
        out[self.top : self.top + self.small_hw[0], self.left : self.left + self.small_hw[1]] = small
        return out

    def back(self, small: np.ndarray) -> np.ndarray:
        """[S,S] -> [H,W], nearest; what is of that size stays."""
        if small.shape == self.hw:
            return small
        small = small[self.top : self.top + self.small_hw[0], self.left : self.left + self.small_hw[1]]
        if self.hw == self.small_hw:
            return small
        rows = (np.arange(self.hw[0]) + 0.5) * self.small_hw[0] / self.hw[0]
        columns = (np.arange(self.hw[1]) + 0.5) * self.small_hw[1] / self.hw[1]
        return small[rows.astype(int)[:, None], columns.astype(int)]

    def shrunk(self, logits: Tensor) -> Tensor:
        """[T,C,S,S] -> [T,C,H,W] of pictures that are smaller than what the network sees."""
        shown = logits[..., self.top : self.top + self.small_hw[0], self.left : self.left + self.small_hw[1]]
        rows, columns = (_shrinking(*sizes).to(shown) for sizes in zip(self.small_hw, self.hw, strict=True))
        return rows @ shown @ columns.mT  # as products a third of the time that `F.interpolate` takes

    def points_back(self, xy: np.ndarray) -> np.ndarray:
        """[K,2] x y in the network's pixels -> in the picture's."""
        scale = np.array(self.hw[::-1]) / np.array(self.small_hw[::-1])
        return ((xy - (self.left, self.top)) * scale).astype(np.float32)


@cache
def _shrinking(size: int, smaller: int) -> Tensor:
    """[smaller,size] what brings a line of pixels to another length, as a bilinear filter without aliasing does."""
    return F.interpolate(torch.eye(size)[None, None], (smaller, size), mode="bilinear", antialias=True)[0, 0]


@torch.inference_mode()
def look(
    net: PerceptionNet, frames: UInt8[np.ndarray, "T H W 3"], steady_frames: int = 0, mended_frames: int | None = None
) -> Seen:
    """One pass of the network over the frames, and the subjects in its maps."""
    fit = Fit.of(frames)
    pictures = np.stack([fit.there(f) for f in frames])
    weight, small = net.parts.weight, max(fit.hw) < SIDE_PX
    steady, shown = Steadied(steady_frames), iter(frames if small else pictures)
    # Classes at the network's size, and at the frames' own where that is smaller.
    large_classes, classes = [], []
    heat, depth, centres, offsets = [], [], [], []
    for together in np.array_split(pictures, -(-len(frames) // PASS_FRAMES)):
        light = (torch.from_numpy(together).permute(0, 3, 1, 2).to(weight.device) / 255).to(weight.dtype)
        maps = net(light, len(light))
        own = fit.shrunk(maps.parts) if small else maps.parts
        if steady_frames:
            other = net(light.flip(-1), len(light)).parts.flip(-1)[:, CLASS_TWIN.tolist()]
            both = own, fit.shrunk(other) if small else other
            shares = torch.stack([logits.float().softmax(1) for logits in both]).mean(0)
            shares = shares.permute(0, 2, 3, 1).contiguous().cpu().numpy()
            classes += [_likeliest(m) for share in shares for m in steady.add(next(shown), share)]
        else:
            classes += [*_best(own)]
            large_classes += [*_best(maps.parts)] if small else classes[-len(light) :]
        far = (
            maps.log_depth.float().exp().mul(SIDE_PX / WORLD_SIDE_PX).cpu().numpy().repeat(COARSE, 1).repeat(COARSE, 2)
        )
        heat.append(maps.joints.float().sigmoid().cpu().numpy())
        depth.append(far.astype(np.float32))
        centres += [*maps.centres.float().sigmoid().cpu().numpy()]
        offsets += maps.offsets.float().cpu().split(1)
    if steady_frames:
        classes += map(_likeliest, steady.rest())
        large_classes = [fit.there(c) for c in classes] if small else classes
    part_ids, instances = [], []
    for picture, seen, large, peaks, coarse in zip(
        frames if small else pictures, classes, large_classes, centres, offsets, strict=True
    ):
        (shift,) = F.interpolate(coarse, scale_factor=COARSE, mode="bilinear", align_corners=False).numpy()
        found = find_instances(PART_OF_CLASS[large], peaks, shift)
        if small:
            found = [replace(i, mask=fit.back(i.mask)) for i in found]
        parts = PART_OF_CLASS[seen]
        if mended_frames is None or len(part_ids) < mended_frames:
            parts, found = with_mended_edges(picture, parts, found)
        part_ids.append(fit.back(parts))
        instances.append(found)
    best = {LABELS[c]: max(float(peaks[k].max()) for peaks in centres) for k, c in enumerate(CATEGORIES)}
    return Seen(np.stack(part_ids), np.concatenate(heat), np.concatenate(depth), instances, best)


def _best(logits: Tensor) -> UInt8[np.ndarray, "T H W"]:
    """[T,C,H,W] -> the class of each pixel; by `max`, which on a CPU takes a third of the time of `argmax`."""
    return logits.max(1).indices.to(torch.uint8).cpu().numpy()


def _likeliest(shares: Float32[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W"]:
    return shares.argmax(-1).astype(np.uint8)


def _best_mask(detection: Detection, candidates: list[tuple[str, np.ndarray]]) -> np.ndarray | None:
    overlaps = [
        (box_iou(detection.box_px, box_of_mask(mask)) if category == detection.category else 0.0, mask)
        for category, mask in candidates
    ]
    overlap, mask = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
    return mask if overlap > 0 else None


def save_perception(net: PerceptionNet, path: str | Path, provenance: dict[str, str]) -> None:
    """Write the network; batch norm's statistics keep their bits."""
    write_weights(net, path, "perception", provenance)


def load_perception(path: str | Path = PERCEPTION_WEIGHTS) -> PerceptionNet:
    """Read the network, float32, ready for inference. Raises InputError where the file is not one."""
    config, tensors = read_weights(path, "perception", "perception network")
    sizes: dict[str, Any] = {"deeper": (0, 0)}  # of weights from before there was such a thing
    sizes |= {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    net = PerceptionNet(PerceptionConfig(**sizes))
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


@cache
def shipped_perception(steady_frames: int = 0, mended_frames: int | None = None) -> MiniPerception:
    """The shipped network, read once and the same one for all settings."""
    return MiniPerception(_shipped_network(), steady_frames, mended_frames)


@cache
def _shipped_network() -> PerceptionNet:
    return load_perception()


def steady_perception() -> MiniPerception:
    """The shipped network, with the mirror image and along the motion: better parts and masks of a finished video, for
    three times the time."""
    return shipped_perception(AWAY_FRAMES)


def coarse_perception() -> MiniPerception:
    """The shipped network for a coarse video: its colours tell where edges are in the given picture alone, the first
    frame; what moves after it is painted too roughly."""
    return shipped_perception(mended_frames=1)
