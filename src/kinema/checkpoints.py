"""Which weights exist, and how they are read and written: safetensors only, no pickle is ever opened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.atomic import atomic_path
from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.optimize.motion_prior import MotionPrior

ASSETS = Path(__file__).parent / "assets"
PMP_WEIGHTS = ASSETS / "motion_prior" / "pmp.safetensors"
"""The shipped motion prior; how it was trained and what it scores: `docs/motion_prior.md`."""

MINI_SVD = ASSETS / "mini_svd"
"""The shipped video model, in diffusers' folder layout, and its motion adapter; `docs/mini_svd.md`."""
WORLD_MOTION = ASSETS / "world_motion" / "world_motion.npz"
"""A few captured clips, so that the procedural world runs without a capture file."""


def sha256(path: str | Path) -> str:
    """Hex digest of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_prior(model: MotionPrior, path: str | Path, provenance: dict[str, str]) -> None:
    """Write weights with the network's sizes and where they come from in the header, floats as float16 where exact
    bits don't matter (matrices), float32 elsewhere."""
    from safetensors.torch import save_file

    tensors = {
        name: (value.half() if value.ndim >= 2 and not name.startswith("bones_") else value).contiguous()
        for name, value in model.state_dict().items()
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"kind": "kinema pmp", "config": json.dumps(asdict(model.config)), **provenance})


def load_prior(path: str | Path = PMP_WEIGHTS) -> MotionPrior:
    """Read a motion prior, float32, ready for inference. Raises InputError where the file is not one."""
    from safetensors import SafetensorError, safe_open

    from kinema.optimize.motion_prior import MotionPrior, PmpConfig

    try:
        with safe_open(path, "pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(path, f"cannot be read ({error})", expected="weights written by `kinema train pmp`") from error
    if header.get("kind") != "kinema pmp":
        raise InputError(path, "holds no motion prior", expected="weights written by `kinema train pmp`")
    model = MotionPrior(PmpConfig(**json.loads(header["config"])))
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


@cache
def shipped_prior() -> MotionPrior:
    """The shipped prior, read once."""
    return load_prior()
