"""The slow twin of `kinema.train.loop`: plain torch, one process, nothing kept on disk."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kinema.train.loop import LoopConfig, learning_rate


def plain_train(model: nn.Module, loss: Callable[[int], Tensor], config: LoopConfig) -> list[float]:
    """Train `model` in place and load the averaged weights into it. -> the loss of every step."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=config.weight_decay)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    losses = []
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = learning_rate(config, step)
        optimizer.zero_grad()
        total = 0.0
        for number in range(step * config.accumulate, (step + 1) * config.accumulate):
            part = loss(number) / config.accumulate
            part.backward()
            total += part.item()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        keep = min(config.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                average[name].lerp_(value, 1 - keep) if value.is_floating_point() else average[name].copy_(value)
        losses.append(total)
    model.load_state_dict(average)
    return losses
