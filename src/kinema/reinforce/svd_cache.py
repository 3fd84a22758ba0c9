"""A cache for SVD's UNet, of which diffusers has none: deep blocks say in a step what they said in the one before.

Input: a `UNetSpatioTemporalConditionModel`. While `deep_cache` lasts, one call in `every` runs the whole UNet; in the others
only the first of the blocks that go down and the last of those that go up run, on what the last but one said before
(DeepCache, Ma et al. 2024, at the granularity of blocks). Such a call has 42 % of the operations of a whole one at SVD-XT's
sizes (as torch's FlopCounterMode counts them), and takes 28 % of its time in mini-svd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.reinforce.speed import replaced


@dataclass
class _Memory:
    """What the deep blocks said (`kept`), to an input of which shape, and how many calls ago."""

    every: int
    calls: int = 0
    shape: torch.Size | None = None
    whole: bool = True
    kept: Tensor | None = None

    def begin(self, shape: torch.Size) -> None:
        """A call begins. With another batch, as where guidance sets in, all of it is computed."""
        if shape != self.shape:
            self.calls, self.shape = 0, shape
        self.whole = self.calls % self.every == 0
        self.calls += 1


@contextmanager
def deep_cache(unet: Any, every: int) -> Iterator[None]:
    """One call of the UNet in `every` is whole while this lasts; with 1 all of them are. Raises InputError."""
    if len(unet.up_blocks) < 2:
        raise InputError("cache", "is Deep, and this UNet has no blocks but the outer ones", "no cache")
    memory = _Memory(every)
    *early, last = unet.up_blocks[:-1]
    changed = [
        *((block, _passing_down(block, memory)) for block in unet.down_blocks[1:]),
        (unet.mid_block, _passing(unet.mid_block, memory)),
        *((block, _passing(block, memory)) for block in early),
        (last, _remembering(last, memory)),
    ]
    handle = unet.register_forward_pre_hook(lambda module, given: memory.begin(given[0].shape))
    try:
        with replaced(changed):
            yield
    finally:
        handle.remove()


def _passing(block: Any, memory: _Memory) -> Callable[..., Any]:
    """Hands on what it gets, where the call is not whole."""
    own = block.forward
    return lambda hidden_states, *rest, **named: own(hidden_states, *rest, **named) if memory.whole else hidden_states


def _passing_down(block: Any, memory: _Memory) -> Callable[..., Any]:
    """The same of a block on the way down, which says something to those on the way up too: nobody listens."""
    own, outputs = block.forward, len(block.resnets) + len(block.downsamplers or ())

    def forward(hidden_states: Tensor, *rest: Any, **named: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        if memory.whole:
            return own(hidden_states, *rest, **named)
        return hidden_states, (hidden_states,) * outputs

    return forward


def _remembering(block: Any, memory: _Memory) -> Callable[..., Tensor]:
    """Says what it said before."""
    own = block.forward

    def forward(*given: Any, **named: Any) -> Tensor:
        if memory.whole:
            memory.kept = own(*given, **named)
        assert memory.kept is not None, "the first call is whole"
        return memory.kept

    return forward
