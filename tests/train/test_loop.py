import importlib.machinery
import importlib.util
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import tiny_task
import torch
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_task import CONFIG, task
from torch import nn

from kinema.errors import InputError
from kinema.train.batches import drawn_ahead
from kinema.train.checkpoint import CHECKPOINT
from kinema.train.loop import LoopConfig, learning_rate, rng_for, train
from kinema.types import Video


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_learns(tmp_path):
    model, loss = task()
    before = loss(0).item()
    train(model, loss, LoopConfig(steps=300, learning_rate=1e-2, warmup=10, ema=0.9), tmp_path)
    assert loss(0).item() < before / 20


@pytest.mark.parametrize("step", [3, 47])
def test_a_killed_run_goes_on_bit_for_bit(step, tmp_path):
    """Killed as kill -9 does it, before the first checkpoint and between two."""
    whole, loss = task()
    train(whole, loss, CONFIG, tmp_path / "whole")
    # A new Python, not a fork: a fork of a process with threads may wait forever for a lock that one of them held.
    killed = subprocess.run([sys.executable, tiny_task.__file__, tmp_path / "killed", str(step)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    again, loss = task(seed=1 if step > 20 else 0)
    train(again, loss, CONFIG, tmp_path / "killed")
    assert same(whole, again)
    ours, theirs = (
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("killed", "whole")
    )
    assert [(line["step"], line["loss"]) for line in ours] == [(line["step"], line["loss"]) for line in theirs]


@pytest.mark.parametrize("ahead", [1, 3])
def test_batches_drawn_ahead_change_no_bit_also_after_a_stop(ahead, tmp_path):
    def draw(number: int) -> torch.Tensor:
        rng = rng_for(3, number)
        many, few = (torch.from_numpy(rng.standard_normal((300, n))).float() for n in (300, 4))
        return (many @ few)[:32] / 17

    def run(name: str, ahead: int, stop: int | None = None):
        model, _ = task()
        left = [stop]

        def loss(x: torch.Tensor):
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return (model(x) - x.sum(1, keepdim=True)).square().mean()

        config = LoopConfig(steps=20, checkpoint_every=6, ahead=ahead, tensorboard=False)
        return train(model, loss, config, tmp_path / name, draw=draw)

    whole = run("whole", 0)
    with pytest.raises(KeyboardInterrupt):
        run("ahead", ahead, stop=11)
    assert same(whole, run("ahead", ahead))


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


@dataclass(frozen=True)
class Seen:
    pictures: torch.Tensor
    caption: str


@pytest.mark.parametrize("ahead", [0, 2])
def test_the_batch_that_is_not_a_number_is_kept(ahead, tmp_path):
    model, _ = task()

    def draw(number: int) -> Seen:
        return Seen(torch.full((2, 4), torch.nan if number == 3 else 0.1 * number), f"clip {number}")

    config = LoopConfig(steps=9, checkpoint_every=2, ahead=ahead)
    with pytest.raises(FloatingPointError, match="nan_3"):
        train(model, lambda seen: model(seen.pictures).mean(), config, tmp_path, draw=draw)
    with safe_open(tmp_path / "nan_3.safetensors", "pt") as opened:
        assert opened.get_tensor("batch.pictures").isnan().all()
        assert opened.metadata() == {"number": "3", "step": "3", "batch.caption": "clip 3"}
    assert (tmp_path / CHECKPOINT).exists()


def test_batches_that_are_drawn_ahead_come_in_order():
    slow = np.random.default_rng(0).uniform(0, 0.01, 20)

    def draw(number: int) -> int:
        time.sleep(slow[number])
        return 10 * number

    assert list(drawn_ahead(draw, range(20), 3)) == [(n, 10 * n) for n in range(20)]


def test_other_settings_than_it_began_with_are_refused_or_said(tmp_path, caplog):
    model, loss = task()
    train(model, loss, LoopConfig(steps=4, checkpoint_every=4), tmp_path)
    other = LoopConfig(steps=6, checkpoint_every=4, learning_rate=0.1, seed=2)
    with pytest.raises(InputError, match=r"learning_rate 0\.001 -> 0\.1, seed 0 -> 2"):
        train(model, loss, other, tmp_path)
    train(model, loss, replace(other, other_settings="go-on"), tmp_path)
    assert "learning_rate 0.001 -> 0.1, seed 0 -> 2" in caplog.text


@dataclass(frozen=True)
class Settings:
    run: Path
    batch: int = 8
    capture: Path = Path("here/capture.npz")
    threads: int = 0
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=4, checkpoint_every=4))


def test_a_checkpoint_of_another_batch_or_data_is_refused_but_not_of_another_place(tmp_path):
    model, loss = task()
    began = Settings(tmp_path)
    train(model, loss, began, tmp_path)
    longer = replace(began, threads=2, capture=Path("there/capture.npz"), loop=replace(began.loop, steps=6))
    train(model, loss, longer, tmp_path)
    for changed, said in (
        (replace(began, batch=4), "batch 8 -> 4"),
        (replace(began, capture=Path("x.npz")), "capture capture.npz -> x.npz"),
    ):
        with pytest.raises(InputError, match=said):
            train(model, loss, changed, tmp_path)


def test_videos_and_numbers_of_an_evaluation_are_kept(tmp_path):
    model, loss = task()

    def evaluate(_: nn.Module):
        return {"score": 0.5, "sample": Video(np.zeros((4, 16, 16, 3), np.uint8), 8.0)}

    train(model, loss, LoopConfig(steps=4, checkpoint_every=2), tmp_path, evaluate, 4)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert ["score" in line for line in lines] == [False, True]
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["sample_000004.mp4"]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [2, 4]
    assert events.Tags()["images"] == ["sample"]


def test_wandb_is_asked_for_and_not_there(tmp_path, monkeypatch):
    model, loss = task()
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else real(name))
    with pytest.raises(InputError, match="pip install wandb"):
        train(model, loss, LoopConfig(steps=2, wandb="project"), tmp_path)


class Wandb:
    """Stands for the library: what a run was begun with, told, and how it ended."""

    def __init__(self):
        self.begun, self.told, self.ended = {}, [], None
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)

    def init(self, **settings):
        self.begun = settings
        return self

    def Video(self, path, format):
        return Path(path).name, format

    def log(self, values, step):
        self.told.append((step, values))

    def finish(self, exit_code):
        self.ended = exit_code


def test_wandb_is_told_numbers_and_videos_and_goes_on_as_the_same_run(tmp_path, monkeypatch):
    def run(steps: int, fails: bool = False) -> Wandb:
        monkeypatch.setitem(sys.modules, "wandb", board := Wandb())  # type: ignore[misc]
        model, loss = task()
        clip = Video(np.zeros((4, 16, 16, 3), np.uint8), 8.0)
        config = LoopConfig(steps=steps, checkpoint_every=2, wandb="project", tensorboard=False, ahead=0)
        bad = (lambda n: loss(n) * torch.nan) if fails else loss
        train(model, bad, config, tmp_path / "mine", lambda _: {"score": 0.5, "sample": clip}, 4)
        return board

    first = run(4)
    assert (first.begun["project"], first.begun["name"], first.begun["resume"]) == ("project", "mine", "allow")
    assert [step for step, _ in first.told] == [2, 4, 4]
    assert first.told[1][1] == {"sample": ("sample_000004.mp4", "mp4")}
    assert first.told[2][1].keys() >= {"loss", "learning_rate", "data_share", "score"}
    assert first.ended == 0
    assert run(6).begun["id"] == first.begun["id"]
    with pytest.raises(FloatingPointError):
        run(8, fails=True)
    assert sys.modules["wandb"].ended == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "deepspeed"])
def test_accelerate_reads_the_configurations(name):
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    file = Path(__file__).parents[2] / f"configs/accelerate/{name}.yaml"
    asked = ["--config_file", str(file), "-m", "kinema", "train", "revision"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(asked))
    assert args.num_processes == 8
    assert (args.use_fsdp, args.use_deepspeed, args.multi_gpu) == (name == "fsdp2", name == "deepspeed", name == "ddp")
    if name == "fsdp2":
        assert int(args.fsdp_version) == 2
    if name == "deepspeed":
        assert int(args.zero_stage) == 2


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
