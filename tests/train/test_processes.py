"""Several processes: gloo on a CPU, plain and with FSDP2."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clips_to_train import clip, write
from safetensors.torch import load_file
from two_processes import BATCH, CONFIG, cache_of, task

from kinema.train.checkpoint import CHECKPOINT
from kinema.train.loop import batch_numbers, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have encoded three shards and trained on them, six steps, two epochs."""
    made = tmp_path_factory.mktemp("two")
    for shard in range(3):
        write(made / f"clips-{shard}.tar", *(clip(f"{k}-{shard}", frames=6) for k in "ab"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    script = Path(__file__).with_name("two_processes.py")
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(made)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for rank in range(2)
    ]
    ends = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(ends)
    return made


def weights(folder, name):
    return load_file(folder / f"{name}.safetensors")


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_two_processes_are_one_with_twice_the_batch(folder, tmp_path):
    alone = cache_of(folder, tmp_path / "cache")
    assert len(alone) == 18
    model, loss, draw = task(alone, 2 * BATCH)
    train(model, loss, CONFIG, tmp_path / "one", draw=draw)
    assert losses(folder / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-6)
    for name, value in weights(folder, "two").items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-5, atol=1e-6)
    untrained = task(alone, BATCH)[0].state_dict()
    assert not torch.equal(weights(folder, "two")["0.weight"], untrained["0.weight"])
    assert torch.equal(weights(folder, "two")["2.weight"], untrained["2.weight"])


@pytest.mark.parametrize("way", ["", "sharded"])
def test_two_stopped_processes_go_on_bit_for_bit(folder, way):
    """Stopped in the first epoch's last step, its checkpoint is of the one before: 2 of 3 steps."""
    whole, stopped = ("sharded", "sharded_stopped") if way else ("two", "stopped")
    assert same(weights(folder, whole), weights(folder, stopped))
    assert losses(folder / whole)[1:] == losses(folder / stopped)[-2:]


def test_fsdp2_trains_the_same_weights_and_its_checkpoints_are_whole(folder):
    plain, sharded = weights(folder, "two"), weights(folder, "sharded")
    for name, value in plain.items():
        torch.testing.assert_close(sharded[name], value, rtol=1e-5, atol=1e-6)
    files = [load_file(folder / name / CHECKPOINT) for name in ("two", "sharded")]
    assert {k: v.shape for k, v in files[0].items()} == {k: v.shape for k, v in files[1].items()}
    assert not any("2.weight" in name for name in files[0]), "frozen weights are not kept"


@pytest.mark.parametrize("way", ["", "sharded_"])
def test_a_part_is_trained_through_the_network_that_holds_it(folder, way):
    whole = weights(folder, "sharded" if way else "two")
    for name, value in weights(folder, f"{way}part").items():
        torch.testing.assert_close(value, whole[name], rtol=1e-5, atol=1e-6)


def test_batches_are_shared_out_without_repeats():
    shares = [list(batch_numbers(CONFIG, 2, 3, rank)) for rank in range(3)]
    assert sorted(n for share in shares for n in share) == list(range(2 * 3, CONFIG.steps * 3))
