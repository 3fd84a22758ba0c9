"""The public names: quick to import, all there, and the same objects as in their home modules."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import kinema


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


def test_import_takes_under_half_a_second_and_nothing_heavy(cpu_seconds):
    assert cpu_seconds("import kinema") < 0.5
    code = "import kinema, sys; print([m for m in ('torch', 'numba', 'numpy', 'cv2', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
