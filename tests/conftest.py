"""What every test runs under: shapes and types checked at every call into kinema; quick property tests."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import jaxtyping
import numba
import pytest
from hypothesis import settings

_njit = numba.njit


def _njit_unwrapped(*args, **options):
    """numba.njit on the function as it was written: numba cannot compile the type check around it."""
    if args and inspect.isfunction(args[0]):
        return _njit(inspect.unwrap(args[0]), *args[1:], **options)
    decorate = _njit(*args, **options)

    def decorator(function: Callable):
        return decorate(inspect.unwrap(function))

    return decorator


# Both before any test imports kinema: only modules that are imported after this line are checked.
numba.njit = _njit_unwrapped
# The tower: an int will do where a float is asked for, as in Python's own typing rules.
jaxtyping.install_import_hook("kinema", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# A developer's fetched weights change no test.
os.environ["KINEMA_WEIGHTS"] = "no-weights"
# Nor does a test write a developer's settings: the local certificate that videos are signed with lies here.
_SETTINGS = tempfile.TemporaryDirectory()
os.environ["KINEMA_CONFIG"] = _SETTINGS.name

settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "quick")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Where real captures lie: $KINEMA_SHARED, else shared/data beside the checkout; skips without."""
    given = os.environ.get("KINEMA_SHARED")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "cmu_mocap").is_dir():
        pytest.skip(f"no captures in {folder}: set KINEMA_SHARED to a folder that holds cmu_mocap/")
    return folder


@pytest.fixture(scope="session")
def cpu_seconds() -> Callable[[str], float]:
    """Processor time of a new Python that runs some code, the best of three: what it would take on an idle machine."""

    def once(code: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    return lambda code: min(once(code) for _ in range(3))


@pytest.fixture
def motion_file(tmp_path) -> Path:
    """A walk of 24 frames, for commands to work on."""
    from commands import walk
    from kinema.motion_io import save_motion

    save_motion(walk(), tmp_path / "walk.npz")
    return tmp_path / "walk.npz"
