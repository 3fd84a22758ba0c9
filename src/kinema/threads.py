"""How many threads compute: small sums are done sooner in one, most of all where other programs want the cores too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numba
import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV, torch and numba compute in one thread; then in as many as before, since the process may be a user's own.

    What is computed so does not depend on how many cores a machine has.
    """
    before = cv2.getNumThreads(), torch.get_num_threads(), numba.get_num_threads()
    _set_threads(1, 1, 1)
    try:
        yield
    finally:
        _set_threads(*before)


def _set_threads(of_cv2: int, of_torch: int, of_numba: int) -> None:
    cv2.setNumThreads(of_cv2)
    torch.set_num_threads(of_torch)
    numba.set_num_threads(of_numba)
