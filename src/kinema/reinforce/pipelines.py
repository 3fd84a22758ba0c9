"""What the backbones that run a whole pipeline of diffusers share: reading its folder, text, and frames out of it."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kinema.errors import InputError
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.memory import Memory, place
from kinema.reinforce.speed import sped_up

log = logging.getLogger(__name__)


def load_pipeline(of_class: Any, folder: str | Path, dtypes: dict[str, torch.dtype], also: tuple[str, ...] = ()) -> Any:
    """Read a model folder in the layout of diffusers' pipelines, into memory: model_index.json, a subfolder for each part.

    of_class  of the pipeline, which the folder must name, or one of `also`
    dtypes    by part; "default" for the others
    Only safetensors are read, and nothing is downloaded. Raises InputError where something is missing or does not fit.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    index = Path(folder) / "model_index.json"
    try:
        named = json.loads(index.read_text())["_class_name"]
        if named not in (of_class.__name__, *also):
            raise InputError(folder, f"holds a {named}", f"a {of_class.__name__}", "give the model of this preset")
        pipeline = of_class.from_pretrained(folder, dtype=dtypes, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            folder, f"is no folder of a {of_class.__name__} ({error})", "model_index.json, and every part it names"
        ) from error
    except ImportError as error:
        raise InputError(folder, f"needs a library that is not there ({error})", mend="install it by pip") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def place_pipeline(pipeline: Any, memory: Memory, device: str, exact: Collection[str] = ()) -> None:
    """Put a pipeline's parts where `memory` says; `exact` are tensors of its network that change yet."""
    network = pipeline.transformer
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    others = [part for part in modules if part is not network and part is not pipeline.vae]
    place(network, pipeline.vae, others, memory, device, network.dtype, exact)


@torch.inference_mode()
def encode_text(pipeline: Any, text: str, tokens: int) -> Float[Tensor, "1 L E"]:
    """The text encoder's vectors of a text, 0 past its end, as the pipelines of Wan have them.

    They clean a text by `ftfy` besides, which only matters where it is garbled.
    """
    text = " ".join(html.unescape(html.unescape(text)).split())
    count = len(pipeline.tokenizer(text).input_ids)
    if count > tokens:
        log.warning("the prompt has %d tokens; what comes after the first %d is not read", count, tokens)
    asked = pipeline.tokenizer(
        [text], padding="max_length", max_length=tokens, truncation=True, return_attention_mask=True,
        return_tensors="pt",
    )  # fmt: skip
    device = next(pipeline.text_encoder.parameters()).device
    mask = asked.attention_mask.to(device)
    found = pipeline.text_encoder(asked.input_ids.to(device), mask).last_hidden_state
    return found * mask.to(found.device)[..., None]


def run(
    pipeline: Any, sampling: Sampling, progress: Callable[[int, int], None] | None, **settings: Any
) -> UInt8[np.ndarray, "T H W 3"]:
    """The frames of a pipeline, sampled as is said; `progress` is called with (steps done, steps)."""

    def report(pipe: Any, step: int, timestep: Any, values: dict) -> dict:
        if progress:
            progress(step + 1, pipe.num_timesteps)
        return values

    (width, height), steps, guidance = sampling.size, sampling.steps, sampling.guidance
    with sped_up(pipeline, sampling.speed, steps, guidance):
        made = pipeline(
            **settings, height=height, width=width, num_inference_steps=steps, guidance_scale=guidance,
            generator=torch.Generator().manual_seed(sampling.seed), output_type="pt", callback_on_step_end=report,
        ).frames[0]  # fmt: skip
    assert len(made) == sampling.frames, f"{len(made)} frames came of {sampling.frames}"
    return (made.float() * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
