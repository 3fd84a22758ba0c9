"""Tasks for the queue's tests, which the worker finds by name."""

import logging
import os
import time
from pathlib import Path

from kinema.errors import InputError


def steps(settings, folder, report):
    """So many short steps, each reported; then a file."""
    for k in range(settings.get("steps", 3)):
        report("steps", k, settings.get("steps", 3))
        time.sleep(settings.get("pause", 0.01))
    Path(folder, "made.txt").write_text(f"{os.getpid()} {settings.get('name', '')}")


def stubborn(settings, folder, report):
    """Never looks whether it is to stop."""
    report("steps", 0, 1)
    time.sleep(60)


def mistaken(settings, folder, report):
    raise InputError(folder / "photo.jpg", "is no picture", "a picture", "save it anew")


def broken(settings, folder, report):
    logging.getLogger("kinema").warning("worth knowing")
    raise RuntimeError("secret detail")


def dies(settings, folder, report):
    os._exit(9)
