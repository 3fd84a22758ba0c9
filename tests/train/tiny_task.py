"""A network that learns in seconds. As a program it is killed on the way: tiny_task.py RUN STEP."""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from kinema.train.loop import LoopConfig, rng_for, train

CONFIG = LoopConfig(steps=60, checkpoint_every=20, tensorboard=False)


def task(seed: int = 0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

    def loss(step: int):
        x = torch.from_numpy(rng_for(3, step).standard_normal((32, 4))).float()
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    return model, loss


if __name__ == "__main__":
    model, loss = task()

    def dies(number: int):
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(number)

    train(model, dies, CONFIG, Path(sys.argv[1]))
