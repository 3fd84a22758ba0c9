"""Wan VACE on tiny random weights: the frames of diffusers' own pipeline, from a folder in the public layout."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import WanVACEPipeline
from diffusers.pipelines.wan import pipeline_wan_vace as diffusers_file
from PIL import Image
from tiny_wan import tiny_vace_pipeline

from kinema.errors import InputError
from kinema.reinforce import vace
from kinema.reinforce.backbone import Backbone, Sampling
from kinema.reinforce.part_condition import no_condition

SAMPLING = Sampling(frames=9, size=(48, 32), steps=2, seed=5, guidance=5.0)
PROMPT = "a  woman &amp; waves"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("vace") / "tiny-vace"
    tiny_vace_pipeline().save_pretrained(made, max_shard_size="50KB")
    return made


@pytest.fixture(scope="module")
def model(folder):
    return vace.load_vace(folder, None, torch.float32)


@pytest.fixture(autouse=True)
def no_ftfy(monkeypatch):
    """diffusers' pipeline wants ftfy for prompts; ours are not garbled."""
    monkeypatch.setattr(diffusers_file, "ftfy", SimpleNamespace(fix_text=lambda text: text), raising=False)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8)


PICTURE, CONTROL = noise(32, 48), noise(9, 32, 48, seed=1)


def diffusers_frames(pipeline, sampling, video, mask, reference):
    """As diffusers' documentation calls it: lists of pictures, and prompts as words."""
    found = WanVACEPipeline(**pipeline.components)
    found.set_progress_bar_config(disable=True)
    frames = found(
        PROMPT, vace.NEGATIVE_PROMPT, video, mask, reference, height=32, width=48, num_frames=sampling.frames,
        num_inference_steps=sampling.steps, guidance_scale=sampling.guidance,
        generator=torch.Generator().manual_seed(sampling.seed),
    ).frames[0]  # fmt: skip
    return (frames * 255).round().astype(np.uint8)


def white(value):
    return Image.new("L", (48, 32), value)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_stage_1_is_diffusers_own_from_the_first_frame_bit_for_bit(folder, model, guidance):
    assert len(list((folder / "transformer").glob("*.safetensors"))) > 1
    assert isinstance(model, Backbone)
    sampling = replace(SAMPLING, guidance=guidance)
    grey = Image.new("RGB", (48, 32), (128, 128, 128))
    video, mask = [Image.fromarray(PICTURE), *[grey] * 8], [white(0), *[white(255)] * 8]
    expected = diffusers_frames(model.pipeline, sampling, video, mask, None)
    assert np.array_equal(model.generate(PICTURE, sampling, prompt=PROMPT), expected)
    assert expected.std() > 1


def test_stage_3_is_diffusers_own_with_control_first_frame_and_reference_bit_for_bit(model):
    video = [Image.fromarray(PICTURE), *map(Image.fromarray, CONTROL[1:])]
    mask = [white(0), *[white(255)] * 8]
    expected = diffusers_frames(model.pipeline, SAMPLING, video, mask, [Image.fromarray(PICTURE)])
    found = model.generate(PICTURE, SAMPLING, CONTROL, prompt=PROMPT)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, model.generate(PICTURE, SAMPLING, prompt=PROMPT))
    assert not np.array_equal(found, model.generate(PICTURE, SAMPLING, CONTROL, prompt="static"))


def test_what_is_known_is_kept_and_the_rest_follows_the_control():
    known = np.zeros((9, 32, 48), np.float32)
    known[:, :16] = 0.7
    start = noise(9, 32, 48, seed=2)
    video, kept = vace.video_and_kept(PICTURE, 9, CONTROL, start, known)
    assert np.array_equal(video[0], PICTURE)
    assert kept[0].all()
    assert np.array_equal(video[1:, :16], start[1:, :16])
    assert np.array_equal(video[1:, 16:], CONTROL[1:, 16:])
    assert np.array_equal(kept[1:], known[1:] > 0)
    video, kept = vace.video_and_kept(PICTURE, 9, None, None, None)
    assert (video[1:] == vace.UNKNOWN).all()
    assert not kept[1:].any()


def test_known_pixels_reach_the_model(model):
    known = np.ones((9, 32, 48), np.float32)
    first, second = noise(9, 32, 48, seed=2), noise(9, 32, 48, seed=3)
    assert not np.array_equal(
        model.generate(PICTURE, SAMPLING, CONTROL, first, known),
        model.generate(PICTURE, SAMPLING, CONTROL, second, known),
    )
    nothing = model.generate(PICTURE, SAMPLING, CONTROL, first, 0 * known)
    assert np.array_equal(nothing, model.generate(PICTURE, SAMPLING, CONTROL, second, 0 * known))


def test_progress_counts_every_step_and_seeds_differ(model):
    calls = []
    first = model.generate(PICTURE, SAMPLING, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    assert np.array_equal(first, model.generate(PICTURE, SAMPLING))
    assert not np.array_equal(first, model.generate(PICTURE, replace(SAMPLING, seed=6)))


def test_a_library_that_a_folder_needs_is_named(folder, monkeypatch):
    def needs(*given, **named):
        raise ImportError("sentencepiece is needed for this tokenizer")

    monkeypatch.setattr(WanVACEPipeline, "from_pretrained", needs)
    with pytest.raises(InputError, match="sentencepiece"):
        vace.load_vace(folder, None, torch.float32)


def test_parts_adapters_and_other_models_are_refused(model, folder, tmp_path):
    with pytest.raises(InputError, match="control video"):
        model.generate(PICTURE, SAMPLING, no_condition(9, (32, 48)))
    with pytest.raises(InputError, match="untrained"):
        vace.load_vace(folder, tmp_path / "x.safetensors", torch.float32)
    with pytest.raises(InputError, match="model_index"):
        vace.load_vace(tmp_path, None, torch.float32)
    (tmp_path / "model_index.json").write_text('{"_class_name": "WanPipeline"}')
    with pytest.raises(InputError, match="holds a WanPipeline"):
        vace.load_vace(tmp_path, None, torch.float32)
