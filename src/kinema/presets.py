"""Named, complete configurations: which weights, what size, and how each stage samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kinema.checkpoints import MINI_SVD
from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.reinforce.backbone import Backbone

Start = Literal["reposed", "noise"]


@dataclass(frozen=True)
class Preset:
    """A backbone and how the three stages use it (ReVision, section 4.2: S1 with half the frames, 32 of 50 steps).

    pixels          of a frame, about; the shape is the picture's
    frames, fps     of stage 3's clips; longer videos come in windows of that length
    coarse_frames, coarse_steps  of stage 1, which covers the same time
    steps           of stage 3 from pure noise
    start_noise, start_steps     of stage 3 from the reposed picture
    strength        of motion where none is asked for; None: that of the coarse video
    """

    name: str
    folder: Path
    adapter: Path
    pixels: int
    frames: int
    fps: float
    coarse_frames: int
    coarse_steps: int
    steps: int
    start_noise: float
    start_steps: int
    start: Start = "reposed"
    strength: float | None = None

    @property
    def coarse_fps(self) -> float:
        """Hz, so that the coarse clip lasts as long."""
        return self.fps * self.coarse_frames / self.frames

    def load(self) -> Backbone:
        """Read the weights: bfloat16 on a CPU where that is quick, else float32; float16 on a GPU."""
        import torch

        from kinema.precision import quick_dtype
        from kinema.reinforce.svd import load_svd

        if torch.cuda.is_available():
            return load_svd(self.folder, self.adapter, torch.float16, "cuda")
        return load_svd(self.folder, self.adapter, quick_dtype("cpu"))


PRESETS: dict[str, Preset] = {
    "mini-svd": Preset(
        name="mini-svd",
        folder=MINI_SVD,
        adapter=MINI_SVD / "adapter.safetensors",
        pixels=128 * 128,
        frames=16,
        fps=8.0,
        coarse_frames=8,
        coarse_steps=5,
        steps=12,
        start_noise=0.15,
        start_steps=3,
        strength=0.5,
    ),
}


def find_preset(name: str) -> Preset:
    """Raises InputError for an unknown name."""
    if name not in PRESETS:
        raise InputError("preset", f"is {name!r}", expected="one of " + ", ".join(PRESETS))
    return PRESETS[name]


@cache
def backbone(preset: Preset) -> Backbone:
    """The preset's model, read once."""
    return preset.load()
