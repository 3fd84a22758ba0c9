"""How much memory of a GPU a training takes, before it starts: by the same count as `kinema doctor` has for sampling.

The network's own class runs one step forwards and backwards on torch's meta device, where tensors have shapes and no
numbers, and the bytes that are alive are counted (`kinema.reinforce.memory_estimate`). Weights, averages and AdamW's two
moments are added. All is counted for one process without FSDP2, which divides weights and optimizer by the processes.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.reinforce.memory import STORED_AS
from kinema.reinforce.memory_estimate import ALLOWANCE, LiveBytes
from kinema.train.frozen import COMPUTE, compute_twice, make_ready

log = logging.getLogger(__name__)
STATE_BYTES = 12
"""Of a trained number besides itself: its average and AdamW's two moments, float32. Its gradient is counted as it comes."""


@dataclass(frozen=True)
class TrainingNeed:
    """Bytes on a GPU: of frozen weights, of trained ones with their state, and of one batch's way through the network."""

    frozen: int
    trained: int
    step: int

    @property
    def total(self) -> int:
        return self.frozen + self.trained + self.step + ALLOWANCE

    def __str__(self) -> str:
        frozen, trained, step, total = (f"{v / 1e9:.1f}" for v in (self.frozen, self.trained, self.step, self.total))
        return f"{total} GB: {frozen} of frozen weights, {trained} trained with its optimizer, {step} for a step"


def training_need(
    trainee: Any, batch: Any, held: torch.dtype, rank: int, eight_bits: bool, saving: bool
) -> TrainingNeed:
    """Of a trainee (`kinema.train.revision.Trainee`), whose network may be as it was read.

    batch   one that it would see    held, rank, eight_bits  as for `make_ready`    saving  whether blocks run twice
    """
    network = trainee.network
    with torch.device("meta"):
        twin = type(network).from_config(network.config)
        trainee.widen(twin)
    twin.to("meta")  # some classes make a tensor on the CPU whatever is asked
    make_ready(twin, trainee.is_trained, held, rank, eight_bits)
    trained = sum(w.numel() for w in twin.parameters() if w.requires_grad)
    frozen = sum(w.nbytes for w in twin.parameters() if not w.requires_grad)
    for weight in twin.parameters():
        if weight.dtype != STORED_AS:
            weight.data = weight.data.to(COMPUTE)
    if saving:
        compute_twice(twin)
    blank = copy.copy(trainee)
    blank.network, blank.device, blank.precision = twin.train(), torch.device("meta"), torch.float32
    seen = _on_meta(batch)
    # What is trained was held in half precision here: gradients count double, in float32.
    step = step_bytes(lambda: blank.loss(seen)) + trained * (4 - COMPUTE.itemsize)
    return TrainingNeed(frozen, trained * (4 + STATE_BYTES), step)


def step_bytes(loss: Callable[[], Tensor]) -> int:
    """Alive at most, beside the weights, on the way through a network on the meta device and back."""
    with _fused_attention(), LiveBytes() as live:
        loss().backward()
    return live.peak


class _Fused(torch.autograd.Function):
    """Attention as fused kernels keep it for the way back: what it was given and what it gave, without its matrix."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, found)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


@contextmanager
def _fused_attention() -> Iterator[None]:
    """On the meta device torch would take attention apart, before anything that counts can see it."""

    def fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        return _Fused.apply(query, key, value)  # pyright: ignore[reportReturnType]

    kept, F.scaled_dot_product_attention = F.scaled_dot_product_attention, fused
    try:
        yield
    finally:
        F.scaled_dot_product_attention = kept


def _on_meta(batch: Any) -> Any:
    values = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    placed = {n: v.to("meta", COMPUTE) if isinstance(v, Tensor) else v for n, v in values.items()}
    return type(batch)(**placed)


def tell_need(need: TrainingNeed, device: torch.device) -> None:
    """Log it; warn where the GPU has not as much."""
    log.info("this takes about %s", need)
    if device.type == "cuda" and need.total > torch.cuda.mem_get_info(device)[0]:
        free = torch.cuda.mem_get_info(device)[0] / 1e9
        log.warning("this takes about %s; %.1f GB are free: --rank 64 --eight-bits, or fewer --pixels", need, free)
