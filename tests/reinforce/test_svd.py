"""The SVD backbone on tiny random weights: the widened convolution, adapters, starts, and the sampler."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_svd import CHANNELS, euler, save_tiny_folder, tiny_autoencoder, tiny_encoder, tiny_unet

from kinema.errors import InputError
from kinema.reinforce import svd
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.part_condition import no_condition
from kinema.types import PartCondition

SAMPLING = Sampling(frames=4, size=(64, 64), steps=2, start_steps=2)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


@pytest.fixture
def model():
    base = tiny_unet()
    guided = copy.deepcopy(base)
    svd.widen(guided)
    return svd.Svd(base, tiny_autoencoder(), tiny_encoder(), euler(), guided.eval())


def full_condition():
    parts = np.zeros((4, 64, 64), np.uint8)
    parts[:, 20:50, 20:40] = 3
    return PartCondition(parts, (parts > 0).astype(np.float32))


def test_without_the_added_channels_the_widened_unet_is_the_base_bit_for_bit():
    base = tiny_unet()
    widened = copy.deepcopy(base)
    svd.widen(widened)
    torch.nn.init.normal_(widened.conv_in.added.weight)
    x, context, ids = torch.randn(1, 4, 2 * CHANNELS, 8, 8), torch.randn(1, 5, 16), torch.rand(1, 3)
    with torch.no_grad():
        assert torch.equal(base(x, 0.3, context, ids).sample, widened(x, 0.3, context, ids).sample)


def test_an_untrained_adapter_leaves_the_base_as_it_is(model, picture):
    plain = model.generate(picture, SAMPLING)
    assert np.array_equal(plain, model.generate(picture, SAMPLING, full_condition()))


def test_a_trained_adapter_sees_where_parts_are(model, picture):
    torch.nn.init.normal_(model.guided.conv_in.added.weight)
    without = model.generate(picture, SAMPLING, no_condition(4, (64, 64)))
    assert np.array_equal(without, model.generate(picture, SAMPLING))
    assert not np.array_equal(without, model.generate(picture, SAMPLING, full_condition()))


def test_equal_seeds_give_equal_frames_and_others_do_not(model, picture):
    first = model.generate(picture, SAMPLING)
    assert first.shape == (4, 64, 64, 3)
    assert np.array_equal(first, model.generate(picture, SAMPLING))
    other = Sampling(frames=4, size=(64, 64), steps=2, seed=7)
    assert not np.array_equal(first[1:], model.generate(picture, other)[1:])


def test_a_start_with_next_to_no_noise_comes_back_sharper_than_the_autoencoder_shows_it(model, picture):
    clip = np.random.default_rng(3).integers(0, 255, (4, 64, 64, 3), np.uint8)
    quiet = Sampling(frames=4, size=(64, 64), steps=2, start_noise=0.0201, start_steps=1)
    found = model.generate(picture, quiet, start=clip)
    assert np.abs(found[1:].astype(int) - clip[1:]).mean() < 4
    assert np.abs(model.decode(model.encode(clip)).astype(int) - clip).mean() > 30


def test_what_is_known_of_the_start_stays(model, picture):
    clip = np.random.default_rng(3).integers(0, 255, (4, 64, 64, 3), np.uint8)
    known = np.zeros((4, 64, 64), np.float32)
    known[:, :32] = 1
    found = model.generate(picture, SAMPLING, start=clip, known=known)
    assert np.array_equal(found[1:, :32], clip[1:, :32])
    assert not np.array_equal(found[1:, 32:], clip[1:, 32:])


def test_the_first_frame_is_the_picture(model, picture):
    assert np.array_equal(model.generate(picture, SAMPLING)[0], picture)


def test_other_shapes_than_the_encoders_and_half_precision(model, picture):
    for part in (model.unet, model.autoencoder, model.image_encoder):
        part._apply(lambda value: value.bfloat16() if value.is_floating_point() else value)
    wide = Sampling(frames=4, size=(96, 64), steps=1)
    assert model.generate(picture, wide).shape == (4, 64, 96, 3)


def test_progress_counts_every_step(model, picture):
    calls = []
    model.generate(picture, SAMPLING, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


def test_karras_levels_fall_from_most_to_least():
    levels = svd.karras_sigmas(0.8, 0.02, 5)
    assert levels[0] == pytest.approx(0.8)
    assert levels[-1] == pytest.approx(0.02)
    assert (np.diff(levels) < 0).all()


def test_preconditioning_agrees_with_diffusers_euler_scheduler():
    """A step of size zero noise lands on what c_skip and c_out make of the network's answer."""
    scheduler = euler()
    scheduler.set_timesteps(sigmas=[0.7, 0.0])
    sample, found = torch.randn(1, 4), torch.randn(1, 4)
    scheduler.scale_model_input(sample, scheduler.timesteps[0])
    denoised = scheduler.step(found, scheduler.timesteps[0], sample).pred_original_sample
    skip, out, _, time = svd.precondition(torch.tensor(0.7))
    assert torch.allclose(denoised, skip * sample + out * found, atol=1e-5)
    assert time.item() == pytest.approx(scheduler.timesteps[0].item(), abs=1e-5)


def test_a_saved_folder_loads_with_its_adapter_and_refuses_another_models(tmp_path, picture):
    folder = save_tiny_folder(tmp_path / "model")
    widened = tiny_unet()
    svd.widen(widened)
    own = {n: w.contiguous() for n, w in widened.state_dict().items() if svd.is_trained_for_motion(n)}
    save_file(own, tmp_path / "adapter.safetensors")
    loaded = svd.load_svd(folder, tmp_path / "adapter.safetensors", torch.float32)
    assert loaded.generate(picture, SAMPLING, full_condition()).shape == (4, 64, 64, 3)
    save_file({"conv_in.added.weight": torch.zeros(5, 2, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="does not fit"):
        svd.load_svd(folder, tmp_path / "other.safetensors", torch.float32)


def test_a_condition_without_an_adapter_is_refused(model, picture):
    bare = svd.Svd(model.unet, model.autoencoder, model.image_encoder, model.scheduler)
    with pytest.raises(InputError, match="adapter"):
        bare.generate(picture, SAMPLING, full_condition())


def test_what_the_adapter_trains_is_the_first_block_and_the_temporal_layers():
    widened = tiny_unet()
    svd.widen(widened)
    names = [n for n, _ in widened.named_parameters()]
    trained = {n for n in names if svd.is_trained_for_motion(n)}
    assert {"conv_in.added.weight", "conv_in.base.weight"} <= trained
    assert all("temporal" in n or "time_" in n for n in trained if n.startswith(("mid_block", "up_blocks")))
    assert not any(n.startswith("conv_out") for n in trained)
    assert any("temporal_transformer_blocks" in n for n in trained)
