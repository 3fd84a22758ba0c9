"""Round what is float16 in a weights file to fewer bits, so that git and packages, which compress, hold it in less.

python scripts/round_weights.py src/kinema/assets/mini_perception/perception.safetensors --bits 5

Numbers of a mantissa of 5 bits are off by 0.6 % on average; a network of two million of them is 2.9 MB in git instead of
4.1. Measure the network afterwards.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import tyro
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from kinema.atomic import atomic_path

MANTISSA = 10
"""Bits of float16's, without the leading one."""


def rounded(values: Tensor, bits: int) -> Tensor:
    """float16 of any shape -> the nearest numbers with so many bits of mantissa. Infinities, of which weights have none,
    would not survive."""
    dropped = MANTISSA - bits
    half = 1 << dropped >> 1
    return (values.view(torch.int16).int().add(half) >> dropped << dropped).to(torch.int16).view(torch.float16)


def main(path: tyro.conf.Positional[Path], bits: int = 5) -> None:
    """Write the file anew."""
    assert 0 < bits <= MANTISSA
    tensors = {k: rounded(v, bits) if v.dtype == torch.float16 else v for k, v in load_file(path).items()}
    with safe_open(path, "pt") as opened:
        header = opened.metadata() or {}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, header)
    print(json.dumps({"tensors": len(tensors), "bits": bits}))


if __name__ == "__main__":
    tyro.cli(main)
