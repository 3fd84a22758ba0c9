"""JSON that a user wrote, read with errors that say how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

from kinema.errors import InputError


def read_json(path: str | Path, expected: str) -> object:
    """The content of a JSON file. `expected`: what it should be, in words. Raises InputError where it can't be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror or error})", expected) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is no JSON ({error})", expected) from error
