"""Offload and 8-bit weights, on a CPU: the same frames where nothing is rounded, and adapters that come and go."""

import numpy as np
import pytest
import torch
from test_cogvideox import CLIP, adapted, moving_masks, noise_clip
from test_wan import PICTURE, SAMPLING, moving_parts
from tiny_svd import tiny_svd_pipeline
from tiny_wan import save_wan_adapter, save_wan_as_public, tiny_vace_pipeline

from kinema.reinforce import svd, vace, wan
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.cogvideox import load_cogvideox
from kinema.reinforce.memory import STORED_AS

__all__ = ["adapted"]  # a fixture


@pytest.fixture(scope="module")
def wan_folder(tmp_path_factory):
    return save_wan_as_public(tmp_path_factory.mktemp("wan") / "tiny-wan")


@pytest.fixture(scope="module")
def adapter(wan_folder, tmp_path_factory):
    return save_wan_adapter(wan_folder, tmp_path_factory.mktemp("adapter") / "motion.safetensors", scale=1.1)


def test_balanced_gives_the_same_frames_with_an_adapter_and_without(wan_folder, adapter):
    fast = wan.load_wan(wan_folder, adapter, torch.float32)
    spared = wan.load_wan(wan_folder, adapter, torch.float32, memory="balanced")
    assert spared.pipeline.vae.use_tiling
    plain = fast.generate(PICTURE, SAMPLING)
    moved = fast.generate(PICTURE, SAMPLING, moving_parts())
    assert not np.array_equal(plain, moved)
    for condition, expected in ((None, plain), (moving_parts(), moved), (None, plain)):
        assert np.array_equal(spared.generate(PICTURE, SAMPLING, condition), expected)


def test_low_keeps_weights_in_8_bits_and_frames_alike(wan_folder, adapter):
    spared = wan.load_wan(wan_folder, adapter, torch.float32, memory="low")
    stored = {w.dtype for w in spared.pipeline.transformer.blocks.parameters()}
    assert STORED_AS in stored
    assert spared.pipeline.transformer.dtype == torch.float32
    plain = spared.generate(PICTURE, SAMPLING)
    expected = wan.load_wan(wan_folder, None, torch.float32).generate(PICTURE, SAMPLING)
    assert np.abs(plain.astype(int) - expected).mean() < 3
    assert not np.array_equal(spared.generate(PICTURE, SAMPLING, moving_parts()), plain)
    assert np.array_equal(spared.generate(PICTURE, SAMPLING), plain)


@pytest.mark.parametrize(("memory", "off"), [("balanced", 1e-9), ("int8", 1), ("low", 3)])
def test_clips_of_mvideo_with_its_adapter_run_with_less(adapted, memory, off):
    if memory == "int8":
        pytest.importorskip("torchao", reason="the extra kinema[quantise]")
    folder, adapter, _ = adapted
    fast, spared = (load_cogvideox(folder, adapter, clip=CLIP, memory=m) for m in ("fast", memory))
    assert not hasattr(fast.network.base.proj_out, "_diffusers_hook")
    assert hasattr(spared.network.base.proj_out, "_diffusers_hook")
    expected, found = (model.generate("a dog", 3, moving_masks(), noise_clip()) for model in (fast, spared))
    assert np.abs(found.astype(int) - expected).mean() < off


@pytest.mark.parametrize("memory", ["balanced", "low"])
def test_vace_and_svd_run_with_less(tmp_path, memory):
    tiny_vace_pipeline().save_pretrained(tmp_path / "vace")
    control = np.random.default_rng(1).integers(0, 255, (9, 32, 48, 3), np.uint8)
    fast, spared = (vace.load_vace(tmp_path / "vace", None, torch.float32, memory=m) for m in ("fast", memory))
    expected = fast.generate(PICTURE, SAMPLING, control)
    found = spared.generate(PICTURE, SAMPLING, control)
    assert np.abs(found.astype(int) - expected).mean() < (1e-9 if memory == "balanced" else 3)

    tiny_svd_pipeline().save_pretrained(tmp_path / "svd")
    sampling = Sampling(4, (64, 64), 2, guidance=3.0)
    fast, spared = (svd.load_svd(tmp_path / "svd", None, torch.float32, memory=m) for m in ("fast", memory))
    assert spared.chunk < fast.chunk
    spared.chunk = fast.chunk
    square = np.random.default_rng(2).integers(0, 255, (64, 64, 3), np.uint8)
    expected, found = fast.generate(square, sampling), spared.generate(square, sampling)
    assert np.abs(found.astype(int) - expected).mean() < (1e-9 if memory == "balanced" else 6)
