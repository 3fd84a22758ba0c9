"""Several GPUs for one clip: each has the whole network and a share of a clip's tokens (diffusers' context parallelism).

Started by torchrun, one process a GPU. All processes do the same with the same seed; between attention's projections and
attention itself they exchange tokens for heads (Ulysses: Jacobs et al. 2023), so that each attends with some of the heads to
all tokens. Only the first process writes and speaks.
"""

from __future__ import annotations

import os
from typing import Any

from kinema.errors import InputError


def processes() -> int:
    """That torchrun started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def check_shareable(model: str) -> None:
    """Raises InputError where several processes were started for a model whose class diffusers cannot share out."""
    if processes() > 1 and model != "wan":
        raise InputError(
            "torchrun", f"started {processes()} processes for {model}",
            "one: diffusers shares out Wan's transformer alone, neither the UNet of SVD nor VACE nor "
            "CogVideoX", "start kinema without torchrun, or with --preset wan",
        )  # fmt: skip


def own_gpu() -> str:
    """The device of this process, which is made the current one."""
    import torch

    if processes() == 1:
        return "cuda"
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    torch.cuda.set_device(device)
    return device


def share_tokens(network: Any) -> None:
    """Let the network compute its share of every clip. All processes call it. Raises InputError where heads don't divide."""
    import torch.distributed as dist
    from diffusers.models._modeling_parallel import ContextParallelConfig

    count, heads = processes(), network.config.num_attention_heads
    if heads % count:
        raise InputError(
            "torchrun", f"started {count} processes", f"a number that divides the {heads} heads of the model"
        )
    if not dist.is_initialized():
        dist.init_process_group()
    network.enable_parallelism(config=ContextParallelConfig(ulysses_degree=count))


def check_tokens(network: Any, frames: int, size: tuple[int, int]) -> None:
    """Raises InputError where a clip of latents, frames and (width, height), has tokens that cannot be shared out evenly."""
    step, row, column = network.config.patch_size
    tokens = (frames // step) * (size[1] // row) * (size[0] // column)
    if tokens % processes():
        raise InputError(
            "torchrun", f"started {processes()} processes for clips of {tokens} tokens",
            "a number of processes that divides them", "another number of processes, or another --size",
        )  # fmt: skip
