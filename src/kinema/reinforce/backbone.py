"""What every video diffusion backbone does: a picture, a plan of motion and a way to sample in, frames out.

`revision.py` knows backbones by this protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from kinema.types import PartCondition


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    frames, size   of the clip; size is (width, height) in pixels
    steps          of the sampler, from pure noise
    start_noise    standard deviation of the noise on the start clip's latents, where there is one (their own is 1)
    start_steps    steps from there
    motion_bucket  SVD's 0-255: how much the picture is to move
    """

    frames: int
    size: tuple[int, int]
    steps: int
    seed: int = 42
    fps: float = 8.0
    motion_bucket: int = 127
    start_noise: float = 0.6
    start_steps: int = 8


@runtime_checkable
class Backbone(Protocol):
    """A pretrained image-to-video model that takes a part condition."""

    @property
    def multiple(self) -> int:
        """Width and height are multiples of this."""
        ...

    @property
    def most_frames(self) -> int:
        """Frames of one clip at most; longer videos come in windows."""
        ...

    def generate(
        self,
        image: UInt8[np.ndarray, "H0 W0 3"],
        sampling: Sampling,
        condition: PartCondition | None = None,
        start: UInt8[np.ndarray, "T H W 3"] | None = None,
        known: Float32[np.ndarray, "T H W"] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> UInt8[np.ndarray, "T H W 3"]:
        """Frames that begin with the picture.

        condition  of the same frames and size; None: the base model, untouched
        start      a clip to start from instead of pure noise
        known      0-1, how much of each of its pixels is to stay as it is; None: nothing of it
        progress   called with (steps done, steps)
        """
        ...
