"""Segmentation: frames and the subjects found in them -> one mask a subject, and the parts of bodies.

Behind it: `mini_perception`, and `sam2`, which is asked by boxes and follows what they hold (ReVision, section 4.2-S2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from kinema.extract.detection import Detection


@runtime_checkable
class Segmenter(Protocol):
    def segment(
        self, frames: UInt8[np.ndarray, "T H W 3"], detections: list[list[Detection]]
    ) -> list[Bool[np.ndarray, "_ H W"]]:
        """For every frame the masks of its detections, in their order; empty where there is nothing to see."""
        ...


@dataclass(frozen=True)
class Tracked:
    """One thing in one frame. score 0-1: how surely it is to be seen."""

    mask: Bool[np.ndarray, "H W"]
    score: float


Prompt = Float[np.ndarray, " 4"] | Bool[np.ndarray, "h w"]
"""What is to be followed: a box x0 y0 x1 y1 in pixels, or a mask."""


@runtime_checkable
class MaskTrack(Protocol):
    """Things followed through one video, frame by frame, each under a number of its own."""

    def step(self, frame: UInt8[np.ndarray, "H W 3"], new: Mapping[int, Prompt] | None = None) -> dict[int, Tracked]:
        """The next frame; `new`: what is followed from this frame on. A hidden thing has an empty mask."""
        ...

    def also(self, frame: UInt8[np.ndarray, "H W 3"], new: Mapping[int, Prompt]) -> dict[int, Tracked]:
        """The same frame once more, with what else is followed from it on."""
        ...


@runtime_checkable
class VideoSegmenter(Segmenter, Protocol):
    """A segmenter that can follow."""

    def track(self) -> MaskTrack:
        """A new video begins."""
        ...


class PartSegmenter(Protocol):
    def parts(self, frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
        """0 background, else `kinema.body.skeleton.PARTS`."""
        ...
