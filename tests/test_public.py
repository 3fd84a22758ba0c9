"""The public names: quick to import, all there, and the same objects as in their home modules."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import kinema


def seconds_of(*command: str, tries: int = 3) -> float:
    """Best wall time of a new Python, whatever else the machine does meanwhile."""
    measure = "import subprocess, sys, time; t = time.perf_counter(); subprocess.run(sys.argv[1:], check=True, "
    measure += "stdout=subprocess.DEVNULL); print(time.perf_counter() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", measure, *command], check=True, capture_output=True, text=True)
        for _ in range(tries)
    ]
    return min(float(run.stdout) for run in runs)


def test_every_public_name_resolves():
    assert set(kinema._HOME) == set(kinema.__all__) - {"__version__"}
    for name in kinema.__all__:
        assert getattr(kinema, name) is not None
    assert set(kinema.__all__) <= set(dir(kinema))


def test_names_are_the_ones_of_their_modules():
    for name, home in kinema._HOME.items():
        assert getattr(kinema, name) is getattr(import_module(home), name)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'refinement'"):
        _ = kinema.refinement


def test_import_takes_under_half_a_second_and_nothing_heavy():
    bare = seconds_of(sys.executable, "-c", "pass")
    assert seconds_of(sys.executable, "-c", "import kinema") - bare < 0.5
    code = "import kinema, sys; print([m for m in ('torch', 'numba', 'numpy', 'cv2', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
