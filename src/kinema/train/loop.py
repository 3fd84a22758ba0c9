"""The one training loop, on accelerate: steps, averaged weights, checkpoints that resume exactly.

A task gives the model, `draw(number)`, the batch of a number, and `loss(batch)`. The batch is a pure function of its number
(data are drawn from `rng_for(seed, number)`), so a killed run goes on bit for bit from its last checkpoint. A step of P
processes is the P * accumulate batches that follow those of the step before it, each process with its own share of them, so
that two processes do in a step what one does with `accumulate=2`. `accelerate launch` starts several processes, FSDP2 and
DeepSpeed (`configs/accelerate/`); without it there is one, and on a CPU in float32 it is plain torch, bit for bit.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.train.batches import drawn_ahead, keep_batch
from kinema.train.checkpoint import Trained
from kinema.train.run_log import RunLog

log = logging.getLogger(__name__)
Evaluate = Callable[[Any], dict[str, Any]]
"""The model with its averaged weights -> numbers for the log by name, and videos to look at."""


@dataclass(frozen=True)
class LoopConfig:
    """How to train. The learning rate warms up, stays, and falls linearly to 0 over the last `decay` of the steps."""

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.25
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema: float = 0.999
    checkpoint_every: int = 200
    seed: int = 0
    accumulate: int = 1
    """Batches a step of each process, one after another: the gradient is their mean, the memory that of one."""
    ahead: int = 1
    """Threads that draw the next batches meanwhile, so that a step does not wait for them; 0: drawn when they are due."""
    tensorboard: bool = True
    """Whether to log for TensorBoard besides, where it is installed; RUN/log.jsonl is always written."""
    wandb: str | None = None
    """Project of Weights & Biases to log to besides."""
    other_settings: Literal["stop", "go-on"] = "stop"
    """What to do where a run began with other settings, so that it would not be one curve."""


@runtime_checkable
class TaskConfig(Protocol):
    """All settings of a training: a dataclass."""

    @property
    def loop(self) -> LoopConfig: ...


def rng_for(seed: int, step: int) -> np.random.Generator:
    """The random numbers of one step, whatever came before it."""
    return np.random.default_rng([seed, step])


def rng_on(device: torch.device, rng: np.random.Generator) -> torch.Generator:
    """Random numbers that are drawn where they are needed; one number of `rng` decides them."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**62)))


def learning_rate(config: LoopConfig, step: int) -> float:
    falling = (config.steps - step) / max(1, round(config.steps * config.decay)) if config.decay else 1.0
    return config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup), falling)


def pick_device(asked: str, threads: int = 0) -> torch.device:
    """Where this process computes. auto: its own GPU where there is one, else the CPU. threads: of the CPU; 0: torch's."""
    from accelerate import PartialState

    if threads:
        torch.set_num_threads(threads)
    if asked != "auto":
        return torch.device(asked)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device: torch.device | None = PartialState().device
    assert device is not None, "the state is ready"
    return device


def leads() -> bool:
    """Whether this process is the one that writes."""
    from accelerate import PartialState

    return PartialState().is_main_process


class _Step(nn.Module):
    """Batch -> loss, as the one call that distributed wrappers see; the network's weights are among its own."""

    def __init__(self, network: nn.Module, loss: Callable[[Any], Tensor]):
        super().__init__()
        self.network, self.loss = network, loss
        own = {type(module).__name__ for module in network.modules()}
        asked = {name for module in network.modules() for name in getattr(module, "_no_split_modules", None) or ()}
        self._no_split_modules = sorted(asked & own)
        """Blocks that FSDP2 gathers at once, as diffusers' classes name them."""

    def forward(self, batch: Any) -> Tensor:
        return self.loss(batch)


def train(
    model: nn.Module,
    loss: Callable[[Any], Tensor],
    settings: LoopConfig | TaskConfig,
    run: Path,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 400,
    draw: Callable[[int], Any] = int,
    network: nn.Module | None = None,
    workers: int = 0,
) -> nn.Module:
    """Train `model` in place up to `loop.steps`, then load the averaged weights into it.

    settings all of the training's, of which `loop` is used here; the others are kept with the checkpoint, which is
             refused to a run of other ones
    run      folder: checkpoint.safetensors (weights that are trained, averages, optimizer state, step), log.jsonl,
             tensorboard/, samples/. Where it holds a checkpoint already, training goes on from there
    draw     the batch of a number; without it `loss` gets the number itself
    network  what the loss calls and is distributed, where `model` is only the trained part of it (as a LoRA)
    workers  processes that draw batches instead of the loop's threads; `draw` is sent to them
    Raises InputError where the checkpoint is of another model or of other settings, and FloatingPointError where the loss
    is not a finite number: the checkpoint before it is kept, and the batch as RUN/nan_STEP.safetensors.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.utils import GradientAccumulationPlugin

    config = settings if isinstance(settings, LoopConfig) else settings.loop
    # Not every batch reaches every weight: a prior of three bodies sees one of them at a time.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    several = GradientAccumulationPlugin(num_steps=config.accumulate)
    accelerator = Accelerator(device_placement=False, gradient_accumulation_plugin=several, kwargs_handlers=[unused])
    run.mkdir(parents=True, exist_ok=True)
    state = Trained(model, config, network or model, settings)
    loss_of: Any = state.prepare(accelerator, _Step(network or model, loss))
    first, writes = state.resume(run, accelerator), accelerator.is_main_process
    numbers = batch_numbers(config, first, accelerator.num_processes, accelerator.process_index)
    batches = drawn_ahead(draw, numbers, config.ahead, workers)
    with RunLog(run, config, first, writes) as run_log, _bar(config.steps, first, writes) as tell:
        for step in range(first, config.steps):
            rate, value = learning_rate(config, step), 0.0
            state.set_learning_rate(rate)
            state.optimizer.zero_grad()
            for _ in range(config.accumulate):
                with run_log.waiting():
                    number, batch = next(batches)
                with accelerator.accumulate(loss_of):
                    found = loss_of(batch)
                    accelerator.backward(found)
                part = (found.detach() / config.accumulate).item()
                if not math.isfinite(part):
                    keep_batch(run / f"nan_{step}.safetensors", batch, {"number": number, "step": step})
                value += part
            value = _mean(accelerator, value, model)
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss is {value} at step {step}; {run} keeps the last checkpoint and the batch, nan_{step}"
                )
            state.clip(accelerator, config.clip_norm)
            state.optimizer.step()
            state.update_average(min(config.ema, (step + 1) / (step + 10)))
            done = step + 1
            tell(done, run_log.add(value))
            if done % config.checkpoint_every == 0 or done == config.steps:
                state.save(run, done, accelerator)
                seen = {}
                if evaluate and (done % evaluate_every == 0 or done == config.steps):
                    seen = _evaluate(evaluate, state, accelerator)
                run_log.write(done, rate, seen)
                accelerator.wait_for_everyone()
    state.put_average()
    state.put_whole()
    return model


def _evaluate(evaluate: Evaluate, state: Trained, accelerator: Any) -> dict[str, Any]:
    """By the first process; not at all where it holds but a part of the weights."""
    if accelerator.is_fsdp2:
        log.warning("with FSDP2 no process holds all weights: nothing is evaluated on the way")
        return {}
    with state.averaged():
        return evaluate(state.model) if accelerator.is_main_process else {}


def share_out(config: LoopConfig, batch: int, at_once: int, processes: int) -> LoopConfig:
    """A step of `batch` examples, of which each process computes `at_once`: the rest one after another.

    Raises InputError where they do not divide it.
    """
    if batch < 1 or at_once < 1 or batch % (at_once * processes):
        raise InputError(
            "batch", f"is {batch}", f"a multiple of {processes} processes with {at_once} at once", "--batch, --at-once"
        )
    return replace(config, accumulate=batch // (at_once * processes))


def batch_numbers(config: LoopConfig, first: int, processes: int = 1, process: int = 0) -> Iterator[int]:
    """The batches of one process, from step `first` on."""
    for step in range(first, config.steps):
        for part in range(config.accumulate):
            yield (step * config.accumulate + part) * processes + process


def _mean(accelerator: Any, value: float, model: nn.Module) -> float:
    """Of the losses of all processes."""
    if accelerator.num_processes == 1:
        return value
    device = next(model.parameters()).device
    return accelerator.reduce(torch.tensor(value, dtype=torch.float64, device=device), "mean").item()


@contextmanager
def _bar(steps: int, first: int, shown: bool) -> Iterator[Callable[[int, float], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not shown) as bar:
        task = bar.add_task("training", total=steps, completed=first)
        yield lambda done, loss: bar.update(task, completed=done, description=f"loss {loss:.4f}")
