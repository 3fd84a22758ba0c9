"""What `test_processes.py` starts, once a process: trainings whose weights the first process keeps under the folder given.

FOLDER holds the shards.

python two_processes.py FOLDER    with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, as launchers set them
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kinema.train import shard_cache
from kinema.train.checkpoint import whole
from kinema.train.loop import LoopConfig, train
from kinema.train.shard_cache import ShardCache, Window, WindowSettings, build_shard_cache

CONFIG = LoopConfig(steps=6, learning_rate=1e-2, warmup=1, checkpoint_every=2, ema=0.5, tensorboard=False)
BATCH = 3


def encode(window: Window) -> dict[str, Tensor]:
    pixels = torch.from_numpy(window.frames[0, 0, :4, 0] / 60 - 1.5).float()
    return {"latents": torch.zeros(2, 1, 1, 1), "pixels": pixels}


def cache_of(shards: Path, folder: Path) -> ShardCache:
    """18 windows of three shards. The processes share them out."""
    shard_cache.WAIT_S = 0.05
    settings = WindowSettings(frames=2, pixels=64 * 128, multiple=32, stride=1)
    return build_shard_cache([shards], folder, settings, encode, "its first pixels")


def task(cache: ShardCache, batch: int, seed: int = 0):
    """The windows in the order of epochs, so that a batch of 2 b is two batches of b. One layer is frozen."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    model[2].requires_grad_(False)
    order = cache.order(batch, 7)

    def draw(number: int) -> Tensor:
        return torch.stack([cache.read(int(k))["pixels"] for k in order.of(number)])

    def loss(x: Tensor) -> Tensor:
        return (model(x) - x[:, :2].square()).square().mean()

    return model, loss, draw


class Part(nn.Module):
    """Only what is trained of a network, as of a LoRA."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.first, self.last = network[0], network[4]


def dies_at(step: int, loss):
    seen = {"calls": 0}

    def dying(x: Tensor) -> Tensor:
        if seen["calls"] == step:
            raise KeyboardInterrupt
        seen["calls"] += 1
        return loss(x)

    return dying


def run(folder: Path, name: str, stop: int | None = None, part: bool = False) -> None:
    """Train, perhaps stopped once on the way; the first process keeps the weights."""
    cache = cache_of(folder, folder / "cache")
    model, loss, draw = task(cache, BATCH)
    if stop is not None:
        try:
            train(model, dies_at(stop, loss), CONFIG, folder / name, draw=draw)
        except KeyboardInterrupt:
            model, loss, draw = task(cache, BATCH, seed=1)
            model[2].load_state_dict(task(cache, BATCH)[0][2].state_dict())
    trained = Part(model) if part else model
    train(trained, loss, CONFIG, folder / name, draw=draw, network=model)
    assert not any(hasattr(w, "full_tensor") for w in model.parameters() if w.requires_grad), "ready to be saved"
    weights = {k: whole(v).contiguous().clone() for k, v in model.state_dict().items()}
    if PartialState().is_main_process:
        save_file(weights, folder / f"{name}.safetensors")


def shard_from_now_on() -> None:
    """FSDP2, which accelerate itself does not start without GPUs."""
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["Linear"],
        cpu_ram_efficient_loading=False,
    )
    AcceleratorState._shared_state |= {"distributed_type": DistributedType.FSDP, "fsdp_plugin": plugin}
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP


if __name__ == "__main__":
    from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin, PartialState
    from accelerate.state import AcceleratorState

    out = Path(sys.argv[1])
    Accelerator()
    assert PartialState().num_processes == 2
    run(out, "two")
    run(out, "stopped", stop=3)
    run(out, "part", part=True)
    shard_from_now_on()
    run(out, "sharded")
    run(out, "sharded_stopped", stop=3)
    run(out, "sharded_part", part=True)
    torch.distributed.destroy_process_group()
