"""What SVD and VACE cost at full size, by random weights: seconds and peak memory of every level, three stages against one.

python benchmarks/speed_full.py --preset svd --out svd.json         (or vace-1.3b; on the GPU where there is one)

Random weights of the public configurations (`kinema.reinforce.public_configs`) take as long as trained ones, but for caches
that look at what changes from step to step (FirstBlock); what they show says nothing. One stage is the plain model from
noise; stage 1 the coarse clip; stage 3 follows a motion, from the reposed picture where the preset has it so. Stage 2 (a
second or so on a CPU) and the text encoder are not in it.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
import tyro

from kinema.picture import fit
from kinema.presets import PRESETS, Preset, with_speed
from kinema.reinforce.backbone import Backbone, Sampling
from kinema.reinforce.public_configs import PUBLIC, Configs
from kinema.reinforce.speed import QUALITY
from kinema.reinforce.speed_levels import SPEEDS
from kinema.reinforce.svd import CONSTRAINTS, Svd
from kinema.reinforce.vace import Vace

SEED = 42
SHAPE = 16 / 9
"""Width to height of the picture."""


def of_full(name: str, configs: Configs, preset: Preset) -> dict[str, dict[str, float]]:
    """Of every level: seconds of one stage at full quality, of stages 1 and 3, of both to it, and peak memory, GB.

    Stage 2 (mini-perception, fitting, the motion prior: a second or so) and the text encoder are not in it.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, preset.on_gpu) if device == "cuda" else torch.float32
    model = random_model(name, configs, device, dtype)
    side = preset.constraints.multiple
    height, width = (round((preset.pixels * ratio) ** 0.5 / side) * side for ratio in (1 / SHAPE, SHAPE))
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    one = on_device(lambda: full_stage(model, picture, preset, "one"))
    return {
        level: level_costs(model, picture, with_speed(preset, speed), one, device)
        for level, speed in {"quality": QUALITY, **SPEEDS[name]}.items()
    }


def level_costs(model: Backbone, picture: np.ndarray, preset: Preset, one_s: float, device: str) -> dict[str, float]:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    coarse = on_device(lambda: full_stage(model, picture, preset, "coarse"))
    last = on_device(lambda: full_stage(model, picture, preset, "last"))
    return {
        "one stage s": one_s, "stage 1 s": coarse, "stage 3 s": last, "stages 1 and 3, of one": (coarse + last) / one_s,
        "peak GB": peak_bytes(device) / 1e9,
    }  # fmt: skip


def on_device(make: Callable[[], Any]) -> float:
    """Seconds of wall-clock time, the GPU's work done."""
    began = time.perf_counter()
    make()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def peak_bytes(device: str) -> int:
    """Of the GPU's memory, else of the process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def full_stage(
    model: Backbone, picture: np.ndarray, preset: Preset, stage: Literal["one", "coarse", "last"]
) -> np.ndarray:
    """Sample as that stage does: "one" from noise by the picture alone, "last" by the motion, from a clip where it may."""
    height, width = picture.shape[:2]
    sampling = Sampling(
        preset.frames, (width, height), preset.steps, SEED, preset.fps, start_noise=preset.start_noise,
        start_steps=preset.start_steps, guidance=preset.guidance, speed=preset.speed,
    )  # fmt: skip
    if stage == "coarse":
        small = fit((height, width), round(height * width * preset.coarse_share), preset.constraints.multiple).size
        sampling = replace(sampling, frames=preset.coarse_frames, size=small, steps=preset.coarse_steps)
    if stage != "last":
        return model.generate(picture, sampling)
    clip = np.repeat(picture[None], preset.frames, 0)
    if preset.start == "reposed":
        return model.generate(picture, sampling, start=clip, known=np.zeros(clip.shape[:3], np.float32))
    return model.generate(picture, sampling, clip)


def random_model(name: str, configs: Configs, device: str, dtype: torch.dtype) -> Backbone:
    """SVD or VACE of these configurations, its weights as torch makes them."""
    import diffusers
    import transformers

    library: Any = diffusers

    def made(part: str, kind: torch.dtype) -> Any:
        config = dict(configs[part])
        of_class: Any = getattr(library, config["_class_name"], None) or getattr(transformers, config["_class_name"])
        del config["_class_name"]
        with torch.device(device):
            model = (
                of_class(of_class.config_class(**config)) if hasattr(of_class, "config_class") else of_class(**config)
            )
        torch.nn.Module.to(model, kind)
        for kept in getattr(model, "_keep_in_fp32_modules", None) or ():
            for found in (m for n, m in model.named_modules() if n.rpartition(".")[2] == kept):
                found.float()
        return model.eval().requires_grad_(False)

    if name == "svd":
        return Svd(
            made("unet", dtype), made("vae", dtype), made("image_encoder", dtype), euler(), None, False, CONSTRAINTS
        )
    flow: Any = library.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    text: Any = AnyText(configs["text_encoder"]["d_model"]).to(device, dtype)
    pipeline = library.WanVACEPipeline(text, text, made("vae", torch.float32), flow, made("transformer", dtype))
    pipeline.set_progress_bar_config(disable=True)
    return Vace(pipeline)


class AnyText(torch.nn.Module):
    """Stands for a tokenizer (of strings) and a text encoder (of ids and their mask): any vectors of the right size."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(width))

    @property
    def device(self) -> torch.device:
        return self.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    def forward(self, given: Any, mask: torch.Tensor | None = None, max_length: int = 1, **settings: Any) -> Any:
        if mask is None:
            ids = torch.zeros(1, max_length, dtype=torch.long)
            return SimpleNamespace(input_ids=ids, attention_mask=torch.ones_like(ids))
        return SimpleNamespace(last_hidden_state=self.weight.expand(*given.shape, -1))


def euler() -> Any:
    """As the hub has SVD's."""
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        timestep_spacing="leading", timestep_type="continuous", use_karras_sigmas=True, sigma_min=0.002,
        sigma_max=700.0, steps_offset=1, interpolation_type="linear",
    )  # fmt: skip


def main(out: Path, preset: Literal["svd", "vace-1.3b"]) -> None:
    """Measure every level of a preset, and print it."""
    found = of_full(preset, PUBLIC[preset], PRESETS[preset])
    out.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    tyro.cli(main)
