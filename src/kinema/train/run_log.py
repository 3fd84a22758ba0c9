"""What a training run tells: RUN/log.jsonl always, TensorBoard where it is installed, Weights & Biases where asked.

A line has the step, the mean loss since the line before it, seconds since the start, the learning rate, and the share of
the time that was spent waiting for data. Videos of an evaluation go to RUN/samples/NAME_STEP.mp4.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinema.errors import InputError
from kinema.types import Video

if TYPE_CHECKING:
    from kinema.train.loop import LoopConfig

log = logging.getLogger(__name__)
SHOWN = 8
"""Frames of a video in TensorBoard, side by side."""


class RunLog(AbstractContextManager):
    """Only the process that `leads` writes. Raises InputError where W&B is asked for and not installed."""

    def __init__(self, run: Path, config: LoopConfig, first: int, leads: bool):
        self.run, self.leads = run, leads
        self.losses: list[float] = []
        self.recent: list[float] = []
        self.waiting_s, self.began = 0.0, time.time()
        self.since = self.began
        self.board = _tensorboard(run, first) if leads and config.tensorboard else None
        self.wandb = _wandb(run, config.wandb) if leads and config.wandb else None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For a batch."""
        began = time.perf_counter()
        yield
        self.waiting_s += time.perf_counter() - began

    def add(self, loss: float) -> float:
        """The loss of a step. -> mean of the last hundred."""
        self.losses.append(loss)
        self.recent = [*self.recent[-99:], loss]
        return float(np.mean(self.recent))

    def write(self, step: int, rate: float, found: dict[str, Any]) -> None:
        """The line of a step, with what an evaluation found."""
        now = time.time()
        record: dict[str, Any] = {"step": step, "loss": float(np.mean(self.losses)), "seconds": now - self.began}
        record |= {"learning_rate": rate, "data_share": round(self.waiting_s / max(now - self.since, 1e-9), 4)}
        self.losses.clear()
        self.waiting_s, self.since = 0.0, now
        if not self.leads:
            return
        record |= {name: value for name, value in found.items() if not isinstance(value, Video)}
        for name, value in found.items():
            if isinstance(value, Video):
                self._show(name, value, step)
        with (self.run / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        numbers = {k: v for k, v in record.items() if k != "step" and isinstance(v, int | float)}
        if self.board:
            for name, value in numbers.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()
        if self.wandb:
            self.wandb.log(numbers, step=step)
        log.info("%s", record)

    def _show(self, name: str, video: Video, step: int) -> None:
        from kinema.provenance import write_generated

        folder = self.run / "samples"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}_{step:06d}.mp4"
        write_generated(video.frames, path, video.fps, "in training")
        if self.board:
            chosen = np.linspace(0, len(video.frames) - 1, min(SHOWN, len(video.frames))).round().astype(int)
            self.board.add_image(name, np.concatenate(video.frames[chosen], 1), step, dataformats="HWC")
        if self.wandb:
            import wandb  # pyright: ignore[reportMissingImports]

            self.wandb.log({name: wandb.Video(str(path), format="mp4")}, step=step)

    def __exit__(self, *error: object) -> None:
        if self.board:
            self.board.close()
        if self.wandb:
            self.wandb.finish(exit_code=int(error[0] is not None))


def _tensorboard(run: Path, first: int) -> Any:
    """A writer for the steps after `first`; what a killed run wrote after its checkpoint is not shown."""
    if importlib.util.find_spec("tensorboard") is None:
        log.info("TensorBoard is not installed (pip install 'kinema[train]'); %s has the numbers", run / "log.jsonl")
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(run / "tensorboard"), purge_step=first + 1 if first else None)


def _wandb(run: Path, project: str) -> Any:
    if importlib.util.find_spec("wandb") is None:
        raise InputError("--loop.wandb", "needs Weights & Biases, which is not installed", mend="pip install wandb")
    import wandb  # pyright: ignore[reportMissingImports]

    own = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:8]  # other runs may have folders of this name
    return wandb.init(project=project, name=run.name, id=f"{run.name}-{own}", dir=str(run), resume="allow")
