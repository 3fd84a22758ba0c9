"""Wan image-to-video on tiny random weights: diffusers' own frames without motion, and what motion adds."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from diffusers.pipelines.wan import pipeline_wan_i2v as diffusers_file
from PIL import Image
from tiny_wan import save_wan_adapter, save_wan_as_public, tiny_wan_transformer

from kinema.errors import InputError
from kinema.reinforce import wan
from kinema.reinforce.backbone import Backbone, Sampling
from kinema.reinforce.part_condition import encode_condition, no_condition
from kinema.reinforce.vace import NEGATIVE_PROMPT
from kinema.types import PartCondition

SAMPLING = Sampling(frames=9, size=(48, 32), steps=2, seed=5, guidance=5.0)
PICTURE = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_wan_as_public(tmp_path_factory.mktemp("wan") / "tiny-wan")


@pytest.fixture(scope="module")
def adapter(folder, tmp_path_factory):
    return save_wan_adapter(folder, tmp_path_factory.mktemp("adapter") / "motion.safetensors")


def moving_parts():
    parts = np.zeros((9, 32, 48), np.uint8)
    for t in range(9):
        parts[t, 8:24, 2 * t : 2 * t + 16] = 3
    return PartCondition(parts, (parts > 0).astype(np.float32))


def diffusers_frames(pipeline, sampling):
    found = WanImageToVideoPipeline(**pipeline.components)
    found.set_progress_bar_config(disable=True)
    frames = found(
        Image.fromarray(PICTURE), "a woman waves", NEGATIVE_PROMPT, 32, 48, sampling.frames, sampling.steps,
        sampling.guidance, generator=torch.Generator().manual_seed(sampling.seed),
    ).frames[0]  # fmt: skip
    return (frames * 255).round().astype(np.uint8)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_without_motion_it_is_diffusers_own_bit_for_bit(folder, monkeypatch, guidance):
    monkeypatch.setattr(diffusers_file, "ftfy", SimpleNamespace(fix_text=lambda text: text), raising=False)
    assert len(list((folder / "transformer").glob("*.safetensors"))) > 1
    model = wan.load_wan(folder, None, torch.float32)
    assert isinstance(model, Backbone)
    sampling = replace(SAMPLING, guidance=guidance)
    expected = diffusers_frames(model.pipeline, sampling)
    assert np.array_equal(model.generate(PICTURE, sampling, prompt="a woman waves"), expected)
    assert expected.std() > 1


def test_confidence_0_and_an_untrained_adapter_change_nothing(folder, adapter):
    model = wan.load_wan(folder, adapter, torch.float32)
    plain = model.generate(PICTURE, SAMPLING)
    first_block = {n: w.float() for n, w in model.pipeline.transformer.state_dict().items() if n in model.adapter}
    model.adapter = first_block | {"patch_embedding.added.weight": torch.zeros(24, 2, 1, 2, 2)}
    assert np.array_equal(model.generate(PICTURE, SAMPLING, moving_parts()), plain)
    model.adapter = first_block | {"patch_embedding.added.weight": torch.ones(24, 2, 1, 2, 2)}
    assert np.array_equal(model.generate(PICTURE, SAMPLING, no_condition(9, (32, 48))), plain)
    assert not np.array_equal(model.generate(PICTURE, SAMPLING, moving_parts()), plain)


def test_a_loaded_adapter_moves_the_frames_and_leaves_the_base_as_it_was(folder, adapter):
    bare, model = wan.load_wan(folder, None, torch.float32), wan.load_wan(folder, adapter, torch.float32)
    moved = model.generate(PICTURE, SAMPLING, moving_parts())
    plain = model.generate(PICTURE, SAMPLING)
    assert not np.array_equal(moved, plain)
    assert np.array_equal(plain, bare.generate(PICTURE, SAMPLING))
    with pytest.raises(InputError, match="without its motion adapter"):
        bare.generate(PICTURE, SAMPLING, moving_parts())


@torch.no_grad()
def test_the_two_patch_embeddings_are_a_wider_one():
    transformer = tiny_wan_transformer()
    wan.widen(transformer)
    patch = transformer.patch_embedding
    torch.nn.init.normal_(patch.added.weight)
    x, patch.motion = torch.randn(1, 12, 3, 4, 6), torch.randn(1, 2, 3, 4, 6)
    wide = torch.nn.Conv3d(14, 24, patch.base.kernel_size, patch.base.stride)
    wide.weight.copy_(torch.cat([patch.base.weight, patch.added.weight], 1))
    wide.bias.copy_(patch.base.bias)
    assert torch.allclose(patch(x), wide(torch.cat([x, patch.motion], 1)), atol=1e-5)


def test_a_latent_sees_the_last_frame_that_it_holds():
    condition = moving_parts()
    found = wan.motion_latents(condition, 4, (4, 6))
    assert found.shape == (1, 2, 3, 4, 6)
    every = torch.from_numpy(encode_condition(condition, (4, 6)))
    assert torch.equal(found[0].transpose(0, 1), every[[0, 4, 8]])


def test_an_adapter_of_another_wan_is_refused_by_name(folder, adapter, tmp_path):
    other = save_wan_as_public(tmp_path / "other-wan", seed=3)
    with pytest.raises(InputError, match="was trained on tiny-wan, not on other-wan"):
        wan.load_wan(other, adapter, torch.float32)


def test_in_half_precision_the_autoencoder_stays_in_float32(folder, adapter):
    model = wan.load_wan(folder, adapter, torch.bfloat16)
    assert model.pipeline.vae.dtype == torch.float32
    assert model.pipeline.transformer.dtype == torch.bfloat16
    assert model.generate(PICTURE, SAMPLING, moving_parts()).shape == (9, 32, 48, 3)
