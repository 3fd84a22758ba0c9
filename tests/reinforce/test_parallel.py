"""Context parallelism: two processes on a CPU (gloo) make the frames of one; what cannot be shared out is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_wan import save_wan_as_public, tiny_wan_transformer

from kinema.errors import InputError
from kinema.presets import PRESETS
from kinema.reinforce import parallel
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.wan import load_wan

SAMPLING = Sampling(5, (48, 32), 2, guidance=3.0)
ONE_OF_TWO = """
import sys
sys.path[:0] = {path!r}
import numpy as np, torch
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.parallel import is_first
from kinema.reinforce.wan import load_wan
torch.accelerator.device_count = lambda: 1  # diffusers asks for the number of GPUs; a CPU is none
frames = load_wan({folder!r}, None, torch.float32).generate(np.load({picture!r}), Sampling(5, (48, 32), 2, guidance=3.0))
if is_first():
    np.save({out!r}, frames)
"""


def test_two_processes_make_the_frames_of_one(tmp_path):
    folder, picture = save_wan_as_public(tmp_path / "tiny-wan"), np.random.default_rng(0).integers(0, 255, (32, 48, 3))
    picture, out, script = picture.astype(np.uint8), tmp_path / "out.npy", tmp_path / "one_of_two.py"
    np.save(tmp_path / "picture.npy", picture)
    names = {"folder": str(folder), "picture": str(tmp_path / "picture.npy"), "out": str(out)}
    script.write_text(ONE_OF_TWO.format(path=[str(Path(parallel.__file__).parents[2])], **names))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29531", str(script)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    alone = load_wan(folder, None, torch.float32).generate(picture, SAMPLING)
    assert alone.std() > 5
    assert np.abs(alone.astype(int) - np.load(out)).max() <= 1


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")


@pytest.mark.parametrize("name", ["svd", "vace-1.3b", "cogvideox-fun", "mini-svd"])
def test_what_diffusers_cannot_share_out_is_refused_by_name(two_processes, name):
    with pytest.raises(InputError, match="2 processes"):
        parallel.check_shareable(PRESETS[name].model)
    assert not parallel.is_first()


def test_heads_and_tokens_are_divisible(two_processes, monkeypatch):
    parallel.check_shareable("wan")
    network = tiny_wan_transformer()
    parallel.check_tokens(network, 3, (6, 4))
    with pytest.raises(InputError, match="9 tokens"):
        parallel.check_tokens(network, 1, (6, 6))
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="2 heads"):
        parallel.share_tokens(network)


def test_alone_nothing_changes():
    assert parallel.processes() == 1
    assert parallel.is_first()
    parallel.check_shareable("svd")
    parallel.check_tokens(tiny_wan_transformer(), 1, (6, 6))
