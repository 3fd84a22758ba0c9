"""The adapter of a frozen CogVideoX: LoRA on its attention, the mask projection, and the two vectors of the sequence.

Source: Hu et al. 2021 (LoRA); MVideo, section 4.1. On disk an adapter is a folder of two files:

pytorch_lora_weights.safetensors  the LoRA alone, as `CogVideoXPipeline.load_lora_weights` of diffusers reads it
mvideo.safetensors                the rest, and in its header the base that all of it was trained on
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinema.atomic import atomic_path
from kinema.checkpoints import sha256
from kinema.errors import InputError
from kinema.reinforce.cogvideox_network import MVideoTransformer

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of a block's attention that get a LoRA, as in diffusers' own CogVideoX training."""
LORA_FILE, MVIDEO_FILE = "pytorch_lora_weights.safetensors", "mvideo.safetensors"
KIND = "kinema mvideo adapter"
log = logging.getLogger(__name__)


class LoraLinear(nn.Module):
    """A linear layer and a product of two thin matrices beside it, W + B A; B starts at zero. `on` says whether it counts.

    The scale is 1 (alpha = rank), which is what diffusers takes where a file names no other.
    """

    def __init__(self, base: nn.Linear, rank: int):
        super().__init__()
        like = {"bias": False, "device": base.weight.device, "dtype": base.weight.dtype}
        self.base, self.on = base, True
        self.lora_A = nn.Linear(base.in_features, rank, **like)
        self.lora_B = nn.Linear(rank, base.out_features, **like)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        found = self.base(x)
        return found + self.lora_B(self.lora_A(x)) if self.on else found


class Adapter(nn.Module):
    """Only what is trained of a network, sharing its tensors: what an optimizer and a checkpoint need to hold."""

    def __init__(self, network: MVideoTransformer):
        super().__init__()
        self.lora = nn.ModuleList(part for _, layer in lora_layers(network) for part in (layer.lora_A, layer.lora_B))
        self.mask, self.kinds = network.mask, network.kinds


def add_lora(network: MVideoTransformer, rank: int) -> Adapter:
    """Put a LoRA on every attention projection and freeze everything but it and what is new. -> what is trained."""
    network.requires_grad_(False)
    for block in network.base.transformer_blocks:
        for name in TARGETS:
            parent, _, child = f"attn1.{name}".rpartition(".")
            holder = block.get_submodule(parent)
            holder._modules[child] = LoraLinear(block.get_submodule(f"attn1.{name}"), rank)
    return Adapter(network).requires_grad_(True)


def lora_layers(network: MVideoTransformer) -> list[tuple[str, LoraLinear]]:
    """The layers with a LoRA, by their names in diffusers' transformer."""
    return [(name, layer) for name, layer in network.base.named_modules() if isinstance(layer, LoraLinear)]


@contextmanager
def lora_off(network: MVideoTransformer) -> Iterator[None]:
    """The frozen base, for as long as this lasts."""
    layers = [layer for _, layer in lora_layers(network)]
    for layer in layers:
        layer.on = False
    try:
        yield
    finally:
        for layer in layers:
            layer.on = True


def weights_hash(folder: Path) -> str:
    """SHA-256 of the hashes of a folder's .safetensors files."""
    files = sorted(folder.rglob("*.safetensors"))
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()


def save_adapter(network: MVideoTransformer, folder: Path, base: str, base_sha256: str) -> None:
    """Write both files, float16. `base`: the name of the model that this was trained on."""
    from safetensors.torch import save_file

    header = {"kind": KIND, "base": base, "base_sha256": base_sha256}
    folder.mkdir(parents=True, exist_ok=True)
    files = ((LORA_FILE, _lora_tensors(network), {"format": "pt"}), (MVIDEO_FILE, _own_tensors(network), header))
    for file, tensors, about in files:
        with atomic_path(folder / file) as temporary:
            save_file({k: v.detach().half().cpu().contiguous() for k, v in tensors.items()}, temporary, about)


def load_adapter(network: MVideoTransformer, folder: Path, base: str, base_sha256: str) -> None:
    """Put a saved adapter on a network that has none.

    base, base_sha256  of the network's own weights
    Raises InputError where a file cannot be read, is of another base, or does not fit.
    """
    header, own = _read(folder / MVIDEO_FILE)
    _, lora = _read(folder / LORA_FILE)
    if header.get("kind") != KIND:
        raise InputError(folder / MVIDEO_FILE, "holds no mvideo adapter", "a file that training mvideo wrote")
    if header.get("base_sha256") != base_sha256:
        if header.get("base") != base:
            raise InputError(folder, f"was trained on {header.get('base')}", f"an adapter of {base}", "give that one")
        log.warning("%s was trained on other weights of %s than are loaded", folder, base)
    ranks = {v.shape[0] for k, v in lora.items() if k.endswith("lora_A.weight")}
    if len(ranks) != 1:
        raise InputError(folder / LORA_FILE, f"holds LoRA of {len(ranks)} ranks", "one rank")
    add_lora(network, ranks.pop())
    places, found = _lora_tensors(network) | _own_tensors(network), lora | own
    if {k: v.shape for k, v in places.items()} != {k: v.shape for k, v in found.items()}:
        raise InputError(folder, f"does not fit {base}", mend="give the adapter of this model")
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(found[name])


def _lora_tensors(network: MVideoTransformer) -> dict[str, Tensor]:
    """By the names that diffusers and peft have for them."""
    tensors = {}
    for name, layer in lora_layers(network):
        tensors[f"transformer.{name}.lora_A.weight"] = layer.lora_A.weight
        tensors[f"transformer.{name}.lora_B.weight"] = layer.lora_B.weight
    return tensors


def _own_tensors(network: MVideoTransformer) -> dict[str, Tensor]:
    return {"mask.weight": network.mask.weight, "kinds": network.kinds}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a safetensors file. Raises InputError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(path, f"cannot be read ({error})", "a folder that training mvideo wrote") from error
