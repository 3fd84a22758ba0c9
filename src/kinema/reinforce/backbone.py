"""What every video diffusion backbone does: a picture, a plan of motion and a way to sample in, frames out.

`revision.py` knows backbones by this protocol alone. What a backbone can be asked for are its `Constraints`, which are
known before any weight is read; `kinema.reinforce.preflight` holds a request against them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from kinema.reinforce.speed import QUALITY, Speed
from kinema.types import PartCondition

Control = Literal["parts", "depth", "openpose", "layout"]
"""How a model is told the motion: by a `PartCondition`, or by a control video (`kinema.reinforce.control_video`)."""
Start = Literal["reposed", "noise"]
"""What stage 3 starts from: the picture carried along with the motion, or pure noise."""
Condition = PartCondition | UInt8[np.ndarray, "T H W 3"]
"""The motion as a backbone takes it: parts, or a control video."""


@dataclass(frozen=True)
class Constraints:
    """What a model can be asked for.

    controls      how it can be told the motion, the usual one first
    multiple      width and height are multiples of this, in pixels
    frame_step    frames of a clip are a multiple of it and 1 more; with 1 any number will do
    most_frames   of one clip; longer videos come in windows
    fps           that it was trained at, Hz
    starts        what stage 3 can start from
    sees_picture  whether clips begin with the picture; else the prompt alone says how things look
    white         what white says in the masks that it takes: that a pixel is kept, or made; None: it takes none
    """

    controls: tuple[Control, ...]
    multiple: int
    frame_step: int
    most_frames: int
    fps: float
    starts: tuple[Start, ...] = ("noise",)
    sees_picture: bool = True
    white: Literal["kept", "made"] | None = None

    def clip_frames(self, frames: int) -> int:
        """The least number of frames, at least so many, that a clip can have."""
        return -(-(frames - 1) // self.frame_step) * self.frame_step + 1


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    frames, size   of the clip; size is (width, height) in pixels
    steps          of the sampler, from pure noise
    start_noise    standard deviation of the noise on the start clip's latents, where there is one (their own is 1)
    start_steps    steps from there
    motion_bucket  SVD's 0-255: how much the picture is to move
    guidance       scale of the classifier-free guidance; 1: none
    speed          what is saved of the plain model's work; the numbers of steps above are what is left
    """

    frames: int
    size: tuple[int, int]
    steps: int
    seed: int = 42
    fps: float = 8.0
    motion_bucket: int = 127
    start_noise: float = 0.6
    start_steps: int = 8
    guidance: float = 1.0
    speed: Speed = QUALITY


@runtime_checkable
class Backbone(Protocol):
    """A pretrained video model that takes one of the controls."""

    @property
    def constraints(self) -> Constraints: ...

    def generate(
        self,
        image: UInt8[np.ndarray, "H0 W0 3"],
        sampling: Sampling,
        condition: Condition | None = None,
        start: UInt8[np.ndarray, "T H W 3"] | None = None,
        known: Float32[np.ndarray, "T H W"] | None = None,
        progress: Callable[[int, int], None] | None = None,
        prompt: str = "",
    ) -> UInt8[np.ndarray, "T H W 3"]:
        """Frames that begin with the picture, where the model sees it.

        condition  of the same frames and size; None: the base model, untouched
        start      a clip to start from instead of pure noise, where `constraints.starts` has "reposed"
        known      0-1, how much of each of its pixels is to stay as it is; None: nothing of it
        progress   called with (steps done, steps)
        prompt     what the video shows, for models that read
        """
        ...
