"""One thread while it is asked for, and afterwards what there was."""

import os

import cv2
import numba
import pytest
import torch

from kinema.threads import one_thread


def numbers() -> tuple[int, int, int]:
    return cv2.getNumThreads(), torch.get_num_threads(), numba.get_num_threads()


def test_one_thread_is_given_back():
    before, environment = numbers(), dict(os.environ)

    def fail():
        with one_thread():
            assert numbers() == (1, 1, 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert numbers() == before
    assert dict(os.environ) == environment
