"""Context parallelism: two processes on a CPU (gloo) make the frames of one; what cannot be shared out is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_wan import save_wan_as_public, tiny_wan_transformer

from kinema.errors import InputError
from kinema.presets import PRESETS
from kinema.reinforce import parallel

TWO = """
import sys
sys.path[:0] = {path!r}
import numpy as np, torch
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.parallel import is_first
from kinema.reinforce.wan import load_wan
torch.accelerator.device_count = lambda: 1  # diffusers asks for the number of GPUs; a CPU is none
picture = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
frames = load_wan({folder!r}, None, torch.float32).generate(picture, Sampling(5, (48, 32), 2, guidance=3.0))
if is_first():
    np.save({out!r}, frames)
"""


def test_two_processes_make_the_frames_of_one(tmp_path):
    import numpy as np

    folder = save_wan_as_public(tmp_path / "tiny-wan")
    here = Path(__file__).parent
    made = []
    for count in (1, 2):
        out, script = tmp_path / f"{count}.npy", tmp_path / f"{count}.py"
        script.write_text(TWO.format(path=[str(here), str(here.parents[1] / "src")], folder=str(folder), out=str(out)))
        launch = ["-m", "torch.distributed.run", f"--nproc-per-node={count}", "--master-port=29531"]
        command = [sys.executable, *(launch if count > 1 else []), str(script)]
        subprocess.run(command, check=True, capture_output=True, timeout=240)
        made.append(np.load(out))
    assert made[0].std() > 5
    assert np.abs(made[0].astype(int) - made[1]).max() <= 1


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
