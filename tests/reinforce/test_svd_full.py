"""SVD with its own autoencoder and guidance, on tiny random weights: the frames of diffusers' own pipeline."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image
from tiny_svd import tiny_svd_pipeline, tiny_unet
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from kinema.errors import InputError
from kinema.reinforce import svd
from kinema.reinforce.adapters import save_adapter
from kinema.reinforce.backbone import Backbone, Sampling
from kinema.reinforce.part_condition import no_condition
from kinema.types import PartCondition

SAMPLING = Sampling(frames=4, size=(128, 64), steps=3, seed=5, fps=7.0, guidance=3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The public layout: model_index.json, weights in several shards."""
    made = tmp_path_factory.mktemp("svd") / "svd-xt"
    tiny_svd_pipeline().save_pretrained(made, max_shard_size="200KB")
    return made


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8)


def diffusers_frames(model, picture, sampling, chunk):
    """What diffusers' pipeline makes with the same weights (the same in memory: sums depend on how they are aligned)."""
    parts = model.autoencoder, model.image_encoder, model.unet, model.scheduler
    pipeline = StableVideoDiffusionPipeline(*parts, CLIPImageProcessorPil())
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(
        Image.fromarray(picture), sampling.size[1], sampling.size[0], sampling.frames, sampling.steps, None, 1.0,
        sampling.guidance, 7, decode_chunk_size=chunk, generator=torch.Generator().manual_seed(sampling.seed),
        output_type="np",
    ).frames[0]  # fmt: skip
    return (found * 255).round().astype(np.uint8)


def everywhere(size=(64, 128)):
    parts = np.full((4, *size), 3, np.uint8)
    return PartCondition(parts, np.ones(parts.shape, np.float32))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_saved_pipeline_gives_diffusers_own_frames_bit_for_bit(folder, picture, guidance):
    sampling = replace(SAMPLING, guidance=guidance)
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    model = svd.load_svd(folder, None, torch.float32)
    assert isinstance(model, Backbone)
    saved, own = tiny_unet().state_dict(), model.unet.state_dict()
    assert all(torch.equal(own[name], value) for name, value in saved.items())
    assert not model.mini
    assert model.constraints.most_frames == 4
    expected = diffusers_frames(model, picture, sampling, model.chunk)
    assert np.array_equal(model.generate(picture, sampling), expected)
    assert expected.std() > 1


def test_frames_are_decoded_in_chunks(folder, picture):
    model = svd.load_svd(folder, None, torch.float32)
    model.chunk = 3
    assert np.array_equal(model.generate(picture, SAMPLING), diffusers_frames(model, picture, SAMPLING, 3))


def test_with_confidence_0_and_with_an_untrained_adapter_nothing_changes(folder, picture, tmp_path):
    model = svd.load_svd(folder, None, torch.float32)
    plain = model.generate(picture, SAMPLING)
    model.guided = copy.deepcopy(model.unet)
    svd.widen(model.guided)
    assert np.array_equal(model.generate(picture, SAMPLING, everywhere()), plain)
    torch.nn.init.normal_(model.guided.conv_in.added.weight)
    assert np.array_equal(model.generate(picture, SAMPLING, no_condition(4, (64, 128))), plain)
    assert not np.array_equal(model.generate(picture, SAMPLING, everywhere()), plain)


def test_an_adapter_knows_its_base(folder, picture, tmp_path, caplog):
    widened = tiny_unet()
    svd.widen(widened)
    torch.nn.init.normal_(widened.conv_in.added.weight)
    trained = {n: w for n, w in widened.state_dict().items() if svd.is_trained_for_motion(n)}
    save_adapter(trained, tmp_path / "motion.safetensors", folder, "unet", "first block, temporal layers")
    model = svd.load_svd(folder, tmp_path / "motion.safetensors", torch.float32)
    assert not np.array_equal(model.generate(picture, SAMPLING, everywhere()), model.generate(picture, SAMPLING))

    other = tmp_path / "another"
    pipeline = tiny_svd_pipeline()
    torch.nn.init.normal_(pipeline.unet.conv_in.weight)
    pipeline.save_pretrained(other)
    with pytest.raises(InputError, match="was trained on svd-xt, not on another"):
        svd.load_svd(other, tmp_path / "motion.safetensors", torch.float32)
    other.rename(tmp_path / "svd-xt")
    svd.load_svd(tmp_path / "svd-xt", tmp_path / "motion.safetensors", torch.float32)
    assert "was trained on other weights of svd-xt" in caplog.text


def test_it_starts_from_a_clip(folder, picture):
    model = svd.load_svd(folder, None, torch.float32)
    clip = np.random.default_rng(3).integers(0, 255, (4, 64, 128, 3), np.uint8)
    known = np.zeros((4, 64, 128), np.float32)
    known[:, :32] = 1
    found = model.generate(picture, SAMPLING, start=clip, known=known)
    assert np.array_equal(found[:, :32], clip[:, :32])
    assert not np.array_equal(found[:, 32:], clip[:, 32:])


def test_a_folder_with_pickled_weights_only_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "pickled")
    for file in (tmp_path / "pickled" / "vae").glob("*.safetensors*"):
        file.rename(file.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(InputError, match="is no model folder"):
        svd.load_svd(tmp_path / "pickled", None, torch.float32)
