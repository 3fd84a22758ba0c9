"""How much of a model lies on the GPU at a time, by diffusers' group offload, layer-wise casting and tiled decoding.

fast      all of it
balanced  the network a block at a time, the text encoder a layer at a time; frames are decoded in tiles
low       the network a layer at a time too, its weights kept in 8 bits (which changes the frames); nothing is pinned before
          it is needed, so that the host holds the weights once
int8      as balanced, with the network's linear layers in 8 bits with a scale for each row, by torchao (which changes the
          frames)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from kinema.errors import InputError

Memory = Literal["fast", "balanced", "low", "int8"]
STORED_AS = torch.float8_e4m3fn


def place(
    network: Any, autoencoder: Any, others: Sequence[Any], memory: Memory, device: str, dtype: torch.dtype,
    exact: Collection[str] = (),
) -> None:  # fmt: skip
    """Put a model's parts where `memory` says, frozen and ready for inference.

    network  the large one; autoencoder stays on the device, and so do `others`, but for a text encoder
    dtype    that the network computes in
    exact    tensors of the network that change yet, as those of an adapter: layers with one stay as they are
    """
    if memory == "int8":
        to_int8(network, exact)
    for part in (network, autoencoder, *others):
        part.eval().requires_grad_(False)
    if memory == "fast":
        for part in (network, autoencoder, *others):
            part.to(device)
        return
    if memory == "low":
        keep_in_8_bits(network, dtype)
    offload(network, "leaf" if memory == "low" else "block", device, pinned=memory != "low")
    for part in others:
        if is_text_encoder(part):
            offload(part, "leaf", device, pinned=memory != "low")
        else:
            part.to(device)
    autoencoder.to(device)
    if hasattr(autoencoder, "use_tiling"):
        autoencoder.enable_tiling()


def is_text_encoder(part: Any) -> bool:
    return hasattr(part, "shared")


def check_library(memory: Memory) -> None:
    """Raises InputError where a library is missing for it."""
    if memory == "int8" and find_spec("torchao") is None:
        raise InputError("memory", "is int8, for which there is no torchao", mend="pip install 'kinema[quantise]'")


def is_quantised(name: str, module: Any, exact: Collection[str] = ()) -> bool:
    """Whether a layer goes to 8 bits: linear ones, but for a LoRA's and those with a tensor of `exact`."""
    return isinstance(module, nn.Linear) and "lora_" not in name and f"{name}.weight" not in exact


def to_int8(network: Any, exact: Collection[str] = ()) -> None:
    """The network's linear layers in int8, a scale for each row; they compute as before."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(
        network, Int8WeightOnlyConfig(version=2), filter_fn=lambda module, name: is_quantised(name, module, exact)
    )


def keep_in_8_bits(network: Any, dtype: torch.dtype) -> None:
    """Its large layers in float8, turned into `dtype` one at a time while they compute."""
    base = getattr(network, "base", network)
    base.enable_layerwise_casting(storage_dtype=STORED_AS, compute_dtype=dtype)


def offload(part: Any, level: Literal["block", "leaf"], device: str, pinned: bool = True) -> None:
    """Keep a part where it lies but for the block or the layer that computes, and on a GPU the next one.

    A network that calls the parts of another one by itself (`MVideoTransformer`) goes by layers always.
    pinned  whether the host's memory is pinned at once: quicker, and for a while the blocks are there twice
    """
    from diffusers.hooks.group_offloading import apply_group_offloading

    to = torch.device(device)
    moved: dict[str, Any] = {"onload_device": to, "offload_device": next(part.parameters()).device}
    if to.type == "cuda":
        moved |= {"use_stream": True, "low_cpu_mem_usage": not pinned}
    if level == "block" and not hasattr(part, "base"):
        apply_group_offloading(part, offload_type="block_level", num_blocks_per_group=1, **moved)
    else:
        apply_group_offloading(part, offload_type="leaf_level", **moved)
