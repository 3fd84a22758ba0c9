"""How much of a model lies on the GPU at a time, by diffusers' group offload, layer-wise casting and tiled decoding.

fast      all of it
balanced  the network a block at a time, the text encoder a layer at a time; frames are decoded in tiles
low       the network a layer at a time too, its weights kept in 8 bits (which changes the frames); nothing is pinned before
          it is needed, so that the host holds the weights once
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

Memory = Literal["fast", "balanced", "low"]
STORED_AS = torch.float8_e4m3fn


def place(
    network: Any, autoencoder: Any, others: Sequence[Any], memory: Memory, device: str, dtype: torch.dtype
) -> None:
    """Put a model's parts where `memory` says, frozen and ready for inference.

    network  the large one; autoencoder stays on the device, and so do `others`, but for a text encoder
    dtype    that the network computes in
    """
    for part in (network, autoencoder, *others):
        part.eval().requires_grad_(False)
    if memory == "fast":
        for part in (network, autoencoder, *others):
            part.to(device)
        return
    if memory == "low":
        keep_in_8_bits(network, dtype)
    offload(network, "block" if memory == "balanced" else "leaf", device, pinned=memory == "balanced")
    for part in others:
        if is_text_encoder(part):
            offload(part, "leaf", device, pinned=memory == "balanced")
        else:
            part.to(device)
    autoencoder.to(device)
    if hasattr(autoencoder, "use_tiling"):
        autoencoder.enable_tiling()


def is_text_encoder(part: Any) -> bool:
    return hasattr(part, "shared")


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
