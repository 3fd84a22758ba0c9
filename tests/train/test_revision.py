"""Training the motion adapter of SVD and Wan, on tiny random weights of their own classes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clips_to_train import clip, write
from safetensors.torch import load_file
from tiny_svd import tiny_svd_pipeline
from tiny_wan import save_wan_as_public

from kinema.errors import InputError
from kinema.reinforce import svd, wan
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.memory import STORED_AS
from kinema.train.frozen import compute_twice, make_ready, motion_tensors
from kinema.train.loop import LoopConfig
from kinema.train.need import training_need
from kinema.train.revision import PRESETS, FullRevisionConfig, drawer, make_trainee, train_full_revision
from kinema.train.revision import _cache as cache_of
from kinema.types import PartCondition

CPU, FLOAT = torch.device("cpu"), torch.float32
LOOP = LoopConfig(steps=3, learning_rate=1e-2, warmup=0, decay=0.0, checkpoint_every=1, ema=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    tiny_svd_pipeline().save_pretrained(made / "svd")
    save_wan_as_public(made / "wan")
    for shard in range(2):
        write(made / f"clips-{shard}.tar", *(clip(f"{k}-{shard}", frames=5) for k in "abc"))
    return made


def config(folder, where, preset="svd", **settings):
    frames = 5 if preset == "wan" else 4
    given = {"frames": frames, "stride": 1, "pixels": 64 * 128, "batch": 2, "at_once": 2, "held_out": 0, "loop": LOOP}
    given |= {"preset": preset, "out": where / "adapter.safetensors"} | settings
    return FullRevisionConfig(where / "run", folder / f"cache-{preset}", folder / preset, (folder,), **given)


def ready(folder, where, preset, **small):
    asked = config(folder, where, preset)
    trainee = make_trainee(asked, CPU, FLOAT)
    cache = cache_of(asked, trainee)
    make_ready(trainee.network, trainee.is_trained, FLOAT, **small)
    trainee.network.train()
    return trainee, drawer(trainee, cache, 2, 0)


SMALL = {"rank": 2, "eight_bits": True}


@pytest.mark.parametrize(("preset", "small"), [("svd", {}), ("svd", SMALL), ("wan", {}), ("wan", SMALL)])
def test_it_learns_a_batch_and_changes_nothing_else(preset, small, folder, tmp_path):
    trainee, draw = ready(folder, tmp_path, preset, **small)
    network, batch = trainee.network, draw(0)
    before = {n: v.detach().clone() for n, v in network.state_dict().items()}
    optimizer = torch.optim.Adam([w for w in network.parameters() if w.requires_grad], lr=2e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = trainee.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.985 * losses[0]
    trains = {n for n, w in network.named_parameters() if w.requires_grad}
    changed = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    assert changed <= trains
    assert any("added" in n for n in changed)
    if small:
        assert all(".lora_" in n or "added" in n for n in trains)
        assert sum(w.dtype == STORED_AS for w in network.parameters()) > 10
    else:
        assert trains == {n for n, _ in network.named_parameters() if trainee.is_trained(n)}
    folded = motion_tensors(network, trainee.is_trained)
    assert all(trainee.is_trained(n) and ".lora_" not in n for n in folded)


def test_eight_bits_compute_what_their_numbers_say(folder, tmp_path):
    """The gradients are those of the same numbers, kept in float32; also where blocks are computed twice."""
    small, draw = ready(folder, tmp_path, "svd", eight_bits=True)
    plain, _ = ready(folder, tmp_path, "svd")
    stored = {n for n, w in small.network.named_parameters() if w.dtype == STORED_AS}
    with torch.no_grad():
        for name, weight in plain.network.named_parameters():
            if name in stored:
                weight.copy_(weight.to(STORED_AS).float())
    batch = draw(0)
    compute_twice(small.network)
    for trainee in (small, plain):
        trainee.loss(batch).backward()
    grads = [{n: w.grad for n, w in t.network.named_parameters() if w.grad is not None} for t in (small, plain)]
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-4, atol=1e-6)


def condition(frames):
    parts = np.zeros((frames, 64, 128), np.uint8)
    parts[:, 16:48, 30:80] = 3
    return PartCondition(parts, np.ones(parts.shape, np.float32))


@pytest.mark.parametrize(("preset", "rank"), [("svd", 0), ("wan", 2)])
def test_from_the_shards_to_an_adapter_that_moves_the_model(preset, rank, folder, tmp_path):
    frames = 5 if preset == "wan" else 4
    out = train_full_revision(config(folder, tmp_path, preset, rank=rank))
    tensors = load_file(out)
    load = wan.load_wan if preset == "wan" else svd.load_svd
    is_trained = (wan if preset == "wan" else svd).is_trained_for_motion
    assert all(is_trained(name) for name in tensors)
    model, base = load(folder / preset, out, FLOAT), load(folder / preset, None, FLOAT)
    picture = np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8)
    sampling = Sampling(frames, (128, 64), 2, guidance=1.0)
    plain = base.generate(picture, sampling, prompt="a woman waves")
    assert np.array_equal(model.generate(picture, sampling, prompt="a woman waves"), plain)
    moved = model.generate(picture, sampling, condition(frames), prompt="a woman waves")
    assert not np.array_equal(moved, plain)


def test_a_stopped_training_goes_on_within_the_epoch_bit_for_bit(folder, tmp_path, monkeypatch):
    """Six windows, two a batch, three batches an epoch: killed in the second one."""
    five = replace(LOOP, steps=4, ema=0.9)
    whole = train_full_revision(config(folder, tmp_path / "whole", loop=five, out=None))

    from kinema.train.revision_svd import SvdTrainee

    real, calls = SvdTrainee.loss, []

    def dying(self, batch):
        calls.append(batch)
        if batch.noisy.device.type == "cpu" and sum(b.noisy.device.type == "cpu" for b in calls) == 4:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(SvdTrainee, "loss", dying)
    with pytest.raises(KeyboardInterrupt):
        train_full_revision(config(folder, tmp_path / "killed", loop=five, out=None))
    monkeypatch.setattr(SvdTrainee, "loss", real)
    again = train_full_revision(config(folder, tmp_path / "killed", loop=five, out=None))
    ours, theirs = (load_file(run / "checkpoint.safetensors") for run in (again, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_numbers_a_video_and_a_card_lie_beside_the_weights(folder, tmp_path):
    asked = config(folder, tmp_path, held_out=1, sample_steps=1, evaluate_every=1, batch=1, at_once=1)
    many = tmp_path / "shards"
    many.mkdir()
    write(many / "clips-0.tar", *(clip(f"k{k}") for k in range(5)))
    out = train_full_revision(replace(asked, shards=(many,), cache=tmp_path / "cache"))
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(np.isfinite(line["held_out_loss"]) for line in lines)
    assert (tmp_path / "run/samples/sample_000003.mp4").stat().st_size > 0
    assert list((tmp_path / "run/tensorboard").iterdir())
    card = json.loads((tmp_path / "adapter.safetensors.card.json").read_text())
    assert (card["steps"], card["seed"], card["data"]["clips"]) == (3, 0, {"clips": 5, "used": 5})
    assert card["data"]["licences"] == {"CC0-1.0": 10}
    assert card["weights"].keys() == {out.name}
    page = (tmp_path / "adapter.safetensors.card.md").read_text()
    assert "held_out_loss" in page
    assert str(tmp_path) not in page + json.dumps(card)


def test_a_mini_model_is_sent_to_its_own_training(tmp_path, folder):
    from kinema.checkpoints import MINI_SVD

    with pytest.raises(InputError, match="is a mini model"):
        train_full_revision(replace(config(folder, tmp_path), model=MINI_SVD))


def test_batches_that_do_not_divide_are_refused(tmp_path, folder):
    with pytest.raises(InputError, match="multiple of 1 processes with 2"):
        train_full_revision(config(folder, tmp_path, batch=3))


def test_the_need_of_memory_is_counted_and_smaller_where_it_should_be(folder, tmp_path):
    trainee, draw = ready(folder, tmp_path, "svd")
    batch = draw(0)
    plain, twice, lora, small = (
        training_need(trainee, batch, torch.bfloat16, rank, eight, saving)
        for rank, eight, saving in ((0, False, False), (0, False, True), (2, False, True), (2, True, True))
    )
    weights = {n: w.numel() for n, w in trainee.network.named_parameters()}
    trained = sum(count for name, count in weights.items() if trainee.is_trained(name))
    assert plain.trained == twice.trained == 16 * trained > lora.trained
    assert twice.step < 0.8 * plain.step
    assert small.frozen < 0.8 * lora.frozen
    assert lora.frozen >= 2 * (sum(weights.values()) - trained)


def test_the_presets_are_the_papers():
    where = (Path(), Path(), Path(), (Path(),))
    general, tiktok, of_wan = (PRESETS[name](*where) for name in ("svd", "svd-tiktok", "wan"))
    assert (general.frames, general.stride, general.pixels, general.batch) == (16, 4, 1024 * 576, 64)
    assert (general.loop.steps, general.loop.learning_rate) == (300_000, 2e-5)
    assert (tiktok.batch, tiktok.loop.steps, tiktok.loop.learning_rate) == (8, 30_000, 1e-5)
    assert (of_wan.batch, of_wan.loop, of_wan.frames) == (64, general.loop, 17)
    assert general.loop.warmup == general.loop.decay == 0, "a constant rate"
