"""How a result was made: what a run needs to be repeated, as JSON beside its result."""

from __future__ import annotations

import json
from pathlib import Path

import kinema
from kinema.atomic import atomic_path
from kinema.checkpoints import ASSETS, PMP_WEIGHTS, sha256


def write_record(path: Path, verb: str, settings: dict[str, object]) -> None:
    """Write version, settings, and the hashes of the weights and of every file among the settings but "out"."""
    record = {
        "kinema": kinema.__version__,
        "command": verb,
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()},
        "sha256": {str(v): sha256(v) for k, v in settings.items() if isinstance(v, Path) and k != "out"}
        | {PMP_WEIGHTS.relative_to(ASSETS).as_posix(): sha256(PMP_WEIGHTS)},
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
