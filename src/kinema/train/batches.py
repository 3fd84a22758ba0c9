"""Batches: drawn ahead in threads or processes, in order; and kept on disk where one made the loss not a number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kinema.atomic import atomic_path
from kinema.errors import InputError


def drawn_ahead(
    draw: Callable[[int], Any], numbers: Iterable[int], threads: int, workers: int = 0
) -> Iterator[tuple[int, Any]]:
    """(number, its batch) in order; `threads` draw the next ones meanwhile, two each at a time.

    They compute in as many threads as this one does, so that who draws a batch changes no bit of it.
    workers  as many processes draw instead, one after the other in turn, each in one thread; `draw` is sent to them
    """
    if workers < 0:
        raise InputError("workers", f"are {workers}", "0 or more")
    if workers:
        yield from _drawn_by_processes(draw, numbers, workers)
        return
    if not threads:
        for number in numbers:
            yield number, draw(number)
        return
    pool = ThreadPoolExecutor(threads, "draw", _compute_in, (torch.get_num_threads(), numba.get_num_threads()))
    waiting: deque[tuple[int, Future]] = deque()
    try:
        for number in numbers:
            waiting.append((number, pool.submit(draw, number)))
            if len(waiting) > 2 * threads:
                first, batch = waiting.popleft()
                yield first, batch.result()
        for first, batch in waiting:
            yield first, batch.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _compute_in(of_torch: int, of_numba: int) -> None:
    """Both are settings of a thread."""
    torch.set_num_threads(of_torch)
    numba.set_num_threads(of_numba)


class _Numbered(Dataset):
    """What is drawn for a number."""

    def __init__(self, draw: Callable[[int], Any]):
        self.draw = draw

    def __getitem__(self, number: int) -> tuple[int, Any]:
        return number, self.draw(number)


def _drawn_by_processes(draw: Callable[[int], Any], numbers: Iterable[int], workers: int) -> Iterator[tuple[int, Any]]:
    # New processes, not forks: what has threads, as this one, can't be forked.
    yield from DataLoader(
        _Numbered(draw), None, sampler=numbers, num_workers=workers, multiprocessing_context="spawn",
        collate_fn=_as_it_is, worker_init_fn=_alone, pin_memory=torch.cuda.is_available(),
    )  # fmt: skip


def _as_it_is(drawn: Any) -> Any:
    return drawn


def _alone(worker: int) -> None:
    _compute_in(1, 1)
    cv2.setNumThreads(1)


def keep_batch(path: Path, batch: Any, about: dict[str, Any]) -> None:
    """Write a batch's tensors by the names of their fields; numbers and words go to the header with `about`."""
    from safetensors.torch import save_file

    tensors, rest = {}, {k: str(v) for k, v in about.items()}
    for name, value in named_values(batch, "batch"):
        if isinstance(value, Tensor | np.ndarray):
            tensors[name] = torch.as_tensor(value).detach().cpu().contiguous().clone()
        elif isinstance(value, str | int | float):
            rest[name] = str(value)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, rest)


def named_values(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What lies in dataclasses, named tuples, dicts and sequences, with where."""
    if is_dataclass(value):
        inner: Iterable[tuple[Any, Any]] = ((f.name, getattr(value, f.name)) for f in fields(value))
    elif hasattr(value, "_fields"):
        inner = zip(value._fields, value, strict=True)
    elif isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    else:
        yield name, value
        return
    for key, one in inner:
        yield from named_values(one, f"{name}.{key}")
