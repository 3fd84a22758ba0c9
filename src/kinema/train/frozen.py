"""A large pretrained network made ready to be trained in part: what is trained in float32, the rest frozen and small.

What is trained are the layers that ReVision trains (section 4.1), or, with a rank, a LoRA on their matrices and the added
convolution alone; `motion_tensors` folds the LoRA in, so that one kind of adapter file serves both. The frozen matrices are
in half precision, or in 8 bits and cast one layer at a time as they compute (diffusers' own layer-wise casting puts the
small numbers back before the backward pass has read the large ones, so that it can't train).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kinema.reinforce.memory import STORED_AS
from kinema.train.checkpoint import whole

COMPUTE = torch.bfloat16
"""What 8-bit weights are cast to on a GPU; on a CPU it is the input's numbers."""
SPACE_AND_TIME = ("SpatioTemporalResBlock", "TransformerSpatioTemporalModel")
"""The classes of SVD's blocks."""
ADDED = ".added."
"""In the names of the weights that a widened layer has besides the pretrained ones."""


def computing_in(precision: torch.dtype, device: torch.device) -> Any:
    """Matrix products in this precision, where it is not float32."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


class _Small:
    """A layer whose weights are stored in 8 bits."""

    weight: Tensor

    def cast(self, x: Tensor) -> Tensor:
        return self.weight.to(COMPUTE if x.device.type == "cuda" else x.dtype)


class SmallLinear(_Small, nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.cast(input), self.bias)


class SmallConv2d(_Small, nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.cast(input), self.bias)


class SmallConv3d(_Small, nn.Conv3d):
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.cast(input), self.bias)


SMALL: dict[type, type] = {nn.Linear: SmallLinear, nn.Conv2d: SmallConv2d, nn.Conv3d: SmallConv3d}


def make_ready(
    network: Any, is_trained: Callable[[str], bool], held: torch.dtype, rank: int = 0, eight_bits: bool = False
) -> None:
    """Freeze what is not trained and shrink it; in place.

    held  what frozen matrices are kept in; vectors (norms, biases) stay in float32, as do those the class asks for
    rank  of the LoRA; 0: the layers themselves are trained
    """
    network.requires_grad_(False)
    if rank:
        _add_lora(network, is_trained, rank)
    full = tuple(getattr(network, "_keep_in_fp32_modules", None) or ())
    for name, weight in network.named_parameters():
        trains = ".lora_" in name or (ADDED in f".{name}" if rank else is_trained(name))
        weight.requires_grad_(trains)
        stays = trains or weight.ndim < 2 or any(part in name.split(".") for part in full)
        weight.data = weight.data.to(torch.float32 if stays else held)
    if eight_bits:
        # Layers that the class itself would not store so, as those whose numbers others look at.
        kept = "|".join(getattr(network, "_skip_layerwise_casting_patterns", None) or ("$^",))
        for name, layer in network.named_modules():
            if type(layer) in SMALL and not layer.weight.requires_grad and not re.search(kept, name):
                layer.__class__ = SMALL[type(layer)]
                layer.weight.data = layer.weight.data.to(STORED_AS)


def compute_twice(network: Any) -> None:
    """Keep of each block its input alone, and compute it again on the way back.

    By the class's own gradient checkpointing; SVD's leaves out the temporal half, so that it would take thrice the memory.
    """
    halves = [m for m in network.modules() if type(m).__name__ in SPACE_AND_TIME]
    if not halves:
        network.enable_gradient_checkpointing()
    for module in halves:
        module.forward = partial(checkpoint, module.forward, use_reentrant=False)


def _add_lora(network: Any, is_trained: Callable[[str], bool], rank: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    targets = [n for n, layer in network.named_modules() if isinstance(layer, nn.Linear) and is_trained(f"{n}.weight")]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets), network)


def motion_tensors(network: Any, is_trained: Callable[[str], bool]) -> dict[str, Tensor]:
    """The network's trained tensors by their own names, in full, a LoRA folded in; all processes take part."""
    found = network.state_dict()
    made: dict[str, Tensor] = {}
    for name, value in found.items():
        plain = name.replace(".base_layer.", ".")
        if ".lora_" in name or not is_trained(plain):
            continue
        layer = name.removesuffix(".base_layer.weight")
        if layer == name:
            made[plain] = whole(value)
        else:
            down, up = (whole(found[f"{layer}.lora_{k}.default.weight"]) for k in "AB")
            made[plain] = whole(value).float() + up @ down
    return made
