"""The one training loop: steps, averaged weights, checkpoints that resume exactly.

A task gives the model and `loss(number)`, a pure function of the weights and the number of the batch (that of the step,
where a step is one batch): data are drawn from `rng_for(seed, number)`, so a killed run goes on bit for bit from its last
checkpoint.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kinema.atomic import atomic_path
from kinema.errors import InputError

log = logging.getLogger(__name__)


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
    """Batches a step, one after another: the gradient is their mean, the memory that of one."""


def rng_for(seed: int, step: int) -> np.random.Generator:
    """The random numbers of one step, whatever came before it."""
    return np.random.default_rng([seed, step])


def learning_rate(config: LoopConfig, step: int) -> float:
    falling = (config.steps - step) / max(1, round(config.steps * config.decay))
    return config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup), falling)


def train(
    model: nn.Module,
    loss: Callable[[int], Tensor],
    config: LoopConfig,
    run: Path,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    evaluate_every: int = 400,
) -> nn.Module:
    """Train `model` in place up to `config.steps`, then load the averaged weights into it.

    `run` is a folder: checkpoint.safetensors (weights, averages, optimizer state, step) and log.jsonl. Where it holds a
    checkpoint already, training goes on from there. Raises InputError where that checkpoint is of another model, and
    FloatingPointError where the loss is not a finite number (the checkpoint before it is kept).
    """
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=config.weight_decay)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    run.mkdir(parents=True, exist_ok=True)
    first = _resume(run / "checkpoint.safetensors", model, optimizer, average)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    recent: list[float] = []
    began = time.time()
    with Progress(*columns) as bar:
        task = bar.add_task("training", total=config.steps, completed=first)
        for step in range(first, config.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            optimizer.zero_grad(set_to_none=True)
            value = _backward(loss, step, config.accumulate)
            if not np.isfinite(value):
                raise FloatingPointError(f"the loss is {value} at step {step}; {run} keeps the last checkpoint")
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            _update_average(average, model, min(config.ema, (step + 1) / (step + 10)))
            recent.append(value)
            bar.update(task, completed=step + 1, description=f"loss {np.mean(recent[-100:]):.4f}")
            done = step + 1
            if done % config.checkpoint_every == 0 or done == config.steps:
                record: dict = {"step": done, "loss": float(np.mean(recent)), "seconds": time.time() - began}
                recent.clear()
                _save(run / "checkpoint.safetensors", model, optimizer, average, done)
                if evaluate and (done % evaluate_every == 0 or done == config.steps):
                    record |= _evaluate_average(model, average, evaluate)
                with (run / "log.jsonl").open("a") as file:
                    file.write(json.dumps(record) + "\n")
                log.info("%s", record)
    model.load_state_dict(average)
    return model


def _backward(loss: Callable[[int], Tensor], step: int, batches: int) -> float:
    """Gradients of the mean of the losses number step * batches and on. -> that mean."""
    total = 0.0
    for number in range(step * batches, (step + 1) * batches):
        value = loss(number) / batches
        value.backward()
        total += value.item()
    return total


@torch.no_grad()
def _update_average(average: dict[str, Tensor], model: nn.Module, keep: float) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - keep)
        else:
            average[name].copy_(value)


def _evaluate_average(model: nn.Module, average: dict[str, Tensor], evaluate: Callable) -> dict[str, float]:
    trained = {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.load_state_dict(average)
    result = evaluate(model)
    model.load_state_dict(trained)
    return result


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict, step: int) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    with atomic_path(path) as temporary:
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary, {"step": str(step)}
        )


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]) -> int:
    """Load a checkpoint into all three, where there is one. -> the step to go on from."""
    if not path.exists():
        return 0
    from safetensors import safe_open

    tensors = load_file(path)
    with safe_open(path, "pt") as opened:
        step = int(opened.metadata()["step"])
    weights = {k[len("model.") :]: v for k, v in tensors.items() if k.startswith("model.")}
    shapes = {k: v.shape for k, v in model.state_dict().items()}
    if {k: v.shape for k, v in weights.items()} != shapes:
        raise InputError(path, "is the checkpoint of another model", mend="give another run folder, or the same sizes")
    model.load_state_dict(weights)
    for name, value in average.items():
        value.copy_(tensors[f"average.{name}"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    log.info("going on from step %d of %s", step, path)
    return step
