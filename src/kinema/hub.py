"""The public checkpoints: which exist, where they come from, under which licence, how large; and how one is fetched.

Nothing is ever downloaded unasked: models are read from folders, and an error for a missing one names the command.
"""

from __future__ import annotations

import os
from pathlib import Path

from kinema.errors import InputError


def weights_folder() -> Path:
    """The one folder that fetched models lie in: $KINEMA_WEIGHTS, else ~/.cache/kinema."""
    return Path(os.environ.get("KINEMA_WEIGHTS") or Path.home() / ".cache" / "kinema")


def model_folder(folder: str | Path, name: str) -> Path:
    """The folder of a model in transformers' or diffusers' layout. Raises InputError where it holds none."""
    folder = Path(folder)
    if not (folder / "config.json").is_file() and not (folder / "model_index.json").is_file():
        problem = "holds no model" if folder.is_dir() else "does not exist"
        raise InputError(
            folder, problem, f"the folder of {name}, with config.json and safetensors", f"kinema fetch {name}"
        )
    if not any(folder.rglob("*.safetensors")):
        raise InputError(folder, "holds no weights in safetensors", f"those of {name}", f"kinema fetch {name}")
    return folder
