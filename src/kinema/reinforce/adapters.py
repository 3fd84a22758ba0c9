"""What was trained of a backbone so that it sees motion, apart from the backbone: a safetensors file of those tensors alone.

Its header says what it belongs to:

kind         "kinema motion adapter"
base         name of the model that it was trained on
base_sha256  of that model's network (`weights_hash`); older files have none
trained      what was trained, in words
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.atomic import atomic_path
from kinema.checkpoints import read_tensors, weights_hash
from kinema.errors import InputError

KIND = "kinema motion adapter"
log = logging.getLogger(__name__)


def save_adapter(tensors: dict[str, Tensor], path: str | Path, model: Path, network: str, trained: str) -> None:
    """Write the trained tensors as float16.

    model    folder of the base        network  its subfolder that was trained: "unet", "transformer"
    trained  what was, in words
    """
    from safetensors.torch import save_file

    header = {"kind": KIND, "base": model.name, "base_sha256": weights_hash(model / network), "trained": trained}
    with atomic_path(path) as temporary:
        save_file({n: v.detach().half().cpu().contiguous() for n, v in tensors.items()}, temporary, header)


def read_adapter(path: str | Path, network: nn.Module, model: Path, subfolder: str) -> dict[str, Tensor]:
    """The tensors of an adapter for a network, which is in the subfolder of the model.

    Raises InputError where the file is no adapter, is one of another model, or does not fit.
    """
    header, tensors = read_tensors(path, "a motion adapter, .safetensors")
    if header.get("kind", KIND) != KIND:
        raise InputError(path, f"holds a {header['kind']}", f"a {KIND}")
    base, known = header.get("base", "another model"), header.get("base_sha256")
    if known is not None and known != weights_hash(model / subfolder):
        if base != model.name:
            raise InputError(path, f"was trained on {base}, not on {model.name}", f"an adapter of {model.name}")
        log.warning("%s was trained on other weights of %s than are loaded", path, base)
    own = network.state_dict()
    wrong = [n for n, v in tensors.items() if n not in own or own[n].shape != v.shape]
    if wrong or not tensors:
        first = wrong[0] if wrong else "it is empty"
        raise InputError(
            path, f"does not fit {model} ({first}): it is of {base}", mend="give the adapter of this model"
        )
    return tensors


@contextmanager
def adapted(network: nn.Module, tensors: dict[str, Tensor]) -> Iterator[None]:
    """The network with an adapter's tensors in the places of its own, for as long as this lasts."""
    own = network.state_dict()
    kept = {name: own[name].clone() for name in tensors}
    _put(network, tensors)
    try:
        yield
    finally:
        _put(network, kept)


def _put(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy tensors into the network's own, wherever those lie by now."""
    own = network.state_dict()
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)
