"""How much of a model lies on the GPU at a time, by diffusers' group offload, layer-wise casting and tiled decoding.

fast      all of it
balanced  the network a block at a time, the text encoder a layer at a time; frames are decoded in tiles
low       the network a layer at a time too, its weights kept in 8 bits (which changes the frames)
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
    from diffusers.hooks.group_offloading import apply_group_offloading

    for part in (network, autoencoder, *others):
        part.eval().requires_grad_(False)
    if memory == "fast":
        for part in (network, autoencoder, *others):
            part.to(device)
        return
    moved: dict[str, Any] = {
        "onload_device": torch.device(device), "offload_device": torch.device("cpu"),
        "use_stream": torch.device(device).type == "cuda",
    }  # fmt: skip
    if memory == "low":
        network.enable_layerwise_casting(storage_dtype=STORED_AS, compute_dtype=dtype)
        apply_group_offloading(network, offload_type="leaf_level", **moved)
    else:
        apply_group_offloading(network, offload_type="block_level", num_blocks_per_group=1, **moved)
    for part in others:
        if hasattr(part, "shared"):
            apply_group_offloading(part, offload_type="leaf_level", **moved)
        else:
            part.to(device)
    autoencoder.to(device)
    if hasattr(autoencoder, "use_tiling"):
        autoencoder.enable_tiling()
