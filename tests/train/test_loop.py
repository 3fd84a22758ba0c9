import json

import pytest
import torch
from torch import nn

from kinema.errors import InputError
from kinema.train.loop import LoopConfig, learning_rate, rng_for, train


def task(seed: int = 0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

    def loss(step: int):
        x = torch.from_numpy(rng_for(3, step).standard_normal((32, 4))).float()
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    return model, loss


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_learns(tmp_path):
    model, loss = task()
    before = loss(0).item()
    train(model, loss, LoopConfig(steps=300, learning_rate=1e-2, warmup=10, ema=0.9), tmp_path)
    assert loss(0).item() < before / 20


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    config = LoopConfig(steps=60, checkpoint_every=20)
    whole, loss = task()
    train(whole, loss, config, tmp_path / "whole")

    killed, loss = task()

    def dies(step: int):
        if step == 47:
            raise KeyboardInterrupt
        return loss(step)

    with pytest.raises(KeyboardInterrupt):
        train(killed, dies, config, tmp_path / "killed")
    again, loss = task(seed=1)
    train(again, loss, config, tmp_path / "killed")
    assert same(whole, again)
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed/log.jsonl").read_text().splitlines()]
    assert steps == [20, 40, 60]


def test_two_batches_a_step_are_one_of_twice_the_size(tmp_path):
    def trained(name: str, accumulate: int, loss_of):
        model, loss = task()
        config = LoopConfig(steps=5, warmup=1, checkpoint_every=5, accumulate=accumulate)
        return train(model, loss_of(loss), config, tmp_path / name).state_dict()

    twice = trained("twice", 2, lambda loss: loss)
    once = trained("once", 1, lambda loss: lambda step: (loss(2 * step) + loss(2 * step + 1)) / 2)
    for name, value in twice.items():
        torch.testing.assert_close(value, once[name])


def test_nan_stops_and_keeps_the_checkpoint(tmp_path):
    model, loss = task()
    with pytest.raises(FloatingPointError, match="step 30"):
        train(
            model,
            lambda s: loss(s) * (torch.nan if s == 30 else 1),
            LoopConfig(steps=60, checkpoint_every=20),
            tmp_path,
        )
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    model, loss = task()
    train(model, loss, LoopConfig(steps=20, checkpoint_every=20), tmp_path)
    with pytest.raises(InputError, match="another model"):
        train(nn.Linear(4, 1), loss, LoopConfig(steps=40), tmp_path)


def test_the_learning_rate_warms_up_stays_and_falls():
    config = LoopConfig(steps=1000, learning_rate=1.0, warmup=100, decay=0.5)
    assert learning_rate(config, 0) == pytest.approx(0.01)
    assert learning_rate(config, 300) == 1
    assert learning_rate(config, 750) == pytest.approx(0.5)
    assert learning_rate(config, 999) < 0.01
