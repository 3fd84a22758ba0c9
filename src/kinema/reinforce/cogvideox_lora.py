"""The adapter of a frozen CogVideoX: LoRA on its attention, the mask projection, and the two vectors of the sequence.

Source: Hu et al. 2021 (LoRA); MVideo, section 4.1. On disk an adapter is a folder of two files:

pytorch_lora_weights.safetensors  the LoRA alone, as `CogVideoXPipeline.load_lora_weights` of diffusers reads it
mvideo.safetensors                the rest, and in its header the base that all of it was trained on
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.atomic import atomic_path
from kinema.checkpoints import read_tensors
from kinema.errors import InputError
from kinema.reinforce.cogvideox_network import MVideoTransformer

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of a block's attention that get a LoRA, as in diffusers' own CogVideoX training."""
LORA_FILE, MVIDEO_FILE = "pytorch_lora_weights.safetensors", "mvideo.safetensors"
KIND = "kinema mvideo adapter"
EXPECTED = "a folder that training mvideo wrote"
log = logging.getLogger(__name__)


class Adapter(nn.Module):
    """Only what is trained of a network, sharing its tensors: what an optimizer and a checkpoint need to hold."""

    def __init__(self, network: MVideoTransformer):
        super().__init__()
        self.lora = nn.ParameterList(value for name, value in network.base.named_parameters() if ".lora_" in name)
        self.mask, self.kinds = network.mask, network.kinds


def add_lora(network: MVideoTransformer, rank: int) -> Adapter:
    """Put a LoRA on every attention projection and freeze everything but it and what is new. -> what is trained.

    The scale is 1 (alpha = rank), which is what diffusers takes where a file names no other.
    """
    from peft import LoraConfig

    network.requires_grad_(False)
    network.base.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)))
    return Adapter(network).requires_grad_(True)


@contextmanager
def lora_off(network: MVideoTransformer) -> Iterator[None]:
    """The frozen base, for as long as this lasts."""
    network.base.disable_adapters()
    try:
        yield
    finally:
        network.base.enable_adapters()


def save_adapter(network: MVideoTransformer, folder: Path, base: str, base_sha256: str) -> None:
    """Write both files, float16. `base`: the name of the model that this was trained on."""
    from safetensors.torch import save_file

    header = {"kind": KIND, "base": base, "base_sha256": base_sha256}
    folder.mkdir(parents=True, exist_ok=True)
    files = ((LORA_FILE, _lora_tensors(network), {"format": "pt"}), (MVIDEO_FILE, _own_tensors(network), header))
    for file, tensors, about in files:
        with atomic_path(folder / file) as temporary:
            save_file({k: v.detach().half().cpu().contiguous() for k, v in tensors.items()}, temporary, about)


def load_adapter(network: MVideoTransformer, folder: Path, base: str, base_sha256: str) -> Adapter:
    """Put a saved adapter on a network that has none. -> what is trained, where it is trained on.

    base, base_sha256  of the network's own weights
    Raises InputError where a file cannot be read, is of another base, or does not fit.
    """
    (header, own), (_, lora) = (read_tensors(folder / name, EXPECTED) for name in (MVIDEO_FILE, LORA_FILE))
    if header.get("kind") != KIND:
        raise InputError(folder / MVIDEO_FILE, "holds no mvideo adapter", "a file that training mvideo wrote")
    if header.get("base_sha256") != base_sha256:
        if header.get("base") != base:
            raise InputError(folder, f"was trained on {header.get('base')}", f"an adapter of {base}", "give that one")
        log.warning("%s was trained on other weights of %s than are loaded", folder, base)
    ranks = {v.shape[0] for k, v in lora.items() if k.endswith("lora_A.weight")}
    if len(ranks) != 1:
        raise InputError(folder / LORA_FILE, f"holds LoRA of {len(ranks)} ranks", "one rank")
    adapter = add_lora(network, ranks.pop())
    places, found = _lora_tensors(network) | _own_tensors(network), lora | own
    if {k: v.shape for k, v in places.items()} != {k: v.shape for k, v in found.items()}:
        raise InputError(folder, f"does not fit {base}", mend="give the adapter of this model")
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(found[name])
    return adapter


def _lora_tensors(network: MVideoTransformer) -> dict[str, Tensor]:
    """By the names that diffusers' pipeline has for them."""
    from peft import get_peft_model_state_dict

    return {f"transformer.{name}": value for name, value in get_peft_model_state_dict(network.base).items()}


def _own_tensors(network: MVideoTransformer) -> dict[str, Tensor]:
    return {"mask.weight": network.mask.weight, "kinds": network.kinds}
