"""Which weights exist, and how they are read and written: safetensors only, no pickle is ever opened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinema.atomic import atomic_path
from kinema.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from kinema.optimize.motion_prior import MotionPrior

ASSETS = Path(__file__).parent / "assets"
PMP_WEIGHTS = ASSETS / "motion_prior" / "pmp.safetensors"
"""The shipped motion prior; how it was trained and what it scores: `docs/motion_prior.md`."""

MINI_SVD = ASSETS / "mini_svd"
"""The shipped video model, in diffusers' folder layout, and its motion adapter; `docs/mini_svd.md`."""
MINI_COGVIDEOX = ASSETS / "mini_cogvideox"
"""The shipped model of long videos, in diffusers' folder layout, with its adapter in `adapter`; `docs/mini_cogvideox.md`."""
WORLD_MOTION = ASSETS / "world_motion" / "world_motion.npz"
"""A few captured clips, so that the procedural world runs without a capture file."""

LARGE_BYTES = 1 << 28
"""From this size on a file's hash is kept for as long as the program runs: the public models have tens of GB."""


def sha256(path: str | Path) -> str:
    """Hex digest of a file; one that takes long is read once, as long as it does not change."""
    path = Path(path)
    about = path.stat()
    if about.st_size < LARGE_BYTES:
        return _digest_of_file(path)
    return _kept_sha256(path.resolve(), about.st_size, about.st_mtime_ns)


@cache
def _kept_sha256(path: Path, size: int, mtime_ns: int) -> str:
    return _digest_of_file(path)


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_hash(folder: Path) -> str:
    """SHA-256 of the hashes of a folder's .safetensors files."""
    files = sorted(folder.rglob("*.safetensors"))
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()


def write_weights(
    model: Any, path: str | Path, kind: str, provenance: dict[str, str], exact: tuple[str, ...] = ()
) -> None:
    """Write a network of ours: matrices as float16, the rest (and names with one of `exact` in them) as it is.

    The header has what it is ("kinema KIND"), its `config` and where it comes from.
    """
    from safetensors.torch import save_file

    tensors = {
        name: (value.half() if value.ndim >= 2 and not any(e in name for e in exact) else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in model.state_dict().items()
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file(
            tensors, temporary, {"kind": f"kinema {kind}", "config": json.dumps(asdict(model.config)), **provenance}
        )


def read_weights(path: str | Path, kind: str, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_weights` wrote -> its configuration and tensors. Raises InputError where it is no such file.

    what  what the file should hold, in words
    """
    expected = f"weights written by `kinema train {kind}`"
    header, tensors = read_tensors(path, expected)
    if header.get("kind") != f"kinema {kind}":
        raise InputError(path, f"holds no {what}", expected=expected)
    return json.loads(header["config"]), tensors


def read_tensors(path: str | Path, expected: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a safetensors file. Raises InputError, with what was `expected`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(path, f"cannot be read ({error})", expected) from error


def save_prior(model: MotionPrior, path: str | Path, provenance: dict[str, str]) -> None:
    """Write a motion prior; its bones keep their bits."""
    write_weights(model, path, "pmp", provenance, exact=("bones_",))


def load_prior(path: str | Path = PMP_WEIGHTS) -> MotionPrior:
    """Read a motion prior, float32, ready for inference. Raises InputError where the file is not one."""
    from kinema.optimize.motion_prior import MotionPrior, PmpConfig

    config, tensors = read_weights(path, "pmp", "motion prior")
    model = MotionPrior(PmpConfig(**config))
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


@cache
def shipped_prior() -> MotionPrior:
    """The shipped prior, read once."""
    return load_prior()
