"""The loop is the plain loop, bit for bit; checkpoints of the first format are read."""

import json

import pytest
import torch
from plain_loop import plain_train
from safetensors.torch import save_file
from test_loop import same
from tiny_svd import tiny_encoder, tiny_unet
from torch import nn

from kinema.reinforce import svd
from kinema.train.loop import LoopConfig, rng_for, train
from kinema.train.world_video import Denoiser

GOLDEN = (0.88029933, 0.79262465, 0.79731810, 0.81830251, 0.67707902, 0.67670685)
"""Of six steps of `conv_task`, by the loop as it was before it ran on accelerate; torch 2.13 on a Xeon."""


def conv_task(seed=0):
    """Weights, a buffer that counts and one that averages, and a frozen layer."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.GELU(), nn.Conv2d(6, 1, 3)).requires_grad_(True)
    model[3].weight.requires_grad_(False)

    def loss(number):
        x = torch.from_numpy(rng_for(3, number).standard_normal((4, 2, 9, 9))).float()
        return (model(x) - x.mean(1, keepdim=True)[..., 2:-2, 2:-2]).square().mean()

    return model, loss


def svd_task(seed=0):
    model = Denoiser(tiny_unet(seed), tiny_encoder())
    svd.widen(model.unet)
    model.requires_grad_(False)
    for name, weight in model.unet.named_parameters():
        weight.requires_grad_(svd.is_trained_for_motion(name))

    def loss(number):
        x = torch.from_numpy(rng_for(4, number).standard_normal((1, 2, 10, 8, 8))).float()
        found = model.unet(x, torch.tensor([0.3]), torch.ones(1, 1, 16), torch.ones(1, 3)).sample
        return (found - x[:, :, :4]).square().mean()

    return model, loss


@pytest.mark.parametrize("task", [conv_task, svd_task])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loop_is_the_plain_loop_bit_for_bit(task, accumulate, tmp_path):
    config = LoopConfig(steps=6, learning_rate=3e-3, warmup=2, checkpoint_every=1, accumulate=accumulate)
    twin, loss = task()
    losses = plain_train(twin, loss, config)
    model, loss = task()
    train(model, loss, config, tmp_path)
    assert same(twin, model)
    logged = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == losses


def test_the_losses_of_six_steps(tmp_path):
    model, loss = conv_task()
    train(model, loss, LoopConfig(steps=6, learning_rate=3e-3, warmup=2, checkpoint_every=1), tmp_path)
    logged = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == pytest.approx(GOLDEN, rel=1e-5)


@pytest.mark.parametrize("task", [conv_task, svd_task])
def test_checkpoints_of_the_first_format_are_gone_on_from(task, tmp_path):
    """That held every tensor, frozen ones too, and numbered the optimizer's by their place among all weights."""
    config = LoopConfig(steps=4, learning_rate=3e-3, warmup=2, checkpoint_every=2)
    whole, loss = task()
    plain_train(whole, loss, config)

    model, loss = task()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=config.weight_decay)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    for step in range(2):
        optimizer.param_groups[0]["lr"] = config.learning_rate * min(1, (step + 1) / 2)
        optimizer.zero_grad()
        loss(step).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for name, value in model.state_dict().items():
            keep = (step + 1) / (step + 10)
            average[name].lerp_(value, 1 - keep) if value.is_floating_point() else average[name].copy_(value)
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    save_file({k: v.detach().clone() for k, v in tensors.items()}, tmp_path / "checkpoint.safetensors", {"step": "2"})

    again, loss = task(seed=1)
    with torch.no_grad():
        again.load_state_dict(task()[0].state_dict())  # what is frozen comes from the base
    train(again, loss, config, tmp_path)
    assert same(whole, again)
