"""Training mini-svd: what a step sees, that it learns, that a stopped run goes on, and the encoder's components."""

import numpy as np
import pytest
import torch
from tiny_svd import CHANNELS, tiny_autoencoder, tiny_encoder, tiny_unet

from kinema.errors import InputError
from kinema.reinforce import svd
from kinema.train.autoencoder import LATENT_CHANNELS, make_autoencoder
from kinema.train.latent_cache import LatentCache, build_cache
from kinema.train.loop import LoopConfig, rng_for, train
from kinema.train.world_video import Denoiser, denoising_loss, draw, motion_bucket
from kinema.world.sampler import World


@pytest.fixture(scope="module")
def cache():
    rng = np.random.default_rng(0)
    parts = np.zeros((3, 16, 64, 64), np.uint8)
    for t in range(16):
        parts[:, t, 20:40, 10 + t : 25 + t] = 6
    latents = rng.normal(size=(3, 1, CHANNELS, 8, 8)) + 0.1 * np.arange(16)[None, :, None, None, None]
    return LatentCache(latents.astype(np.float16), parts, rng.integers(0, 255, (3, 64, 64, 3), np.uint8))


def tiny_denoiser():
    return Denoiser(tiny_unet(), tiny_encoder())


def test_a_batch_is_a_function_of_the_step_alone(cache):
    first, again = draw(cache, rng_for(0, 7), 4, 8), draw(cache, rng_for(0, 7), 4, 8)
    for name in ("latents", "images", "ids", "weights", "motion"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.latents, draw(cache, rng_for(0, 8), 4, 8).latents)


def test_shapes_and_what_counts_more(cache):
    batch = draw(cache, rng_for(0, 1), 2, 8)
    assert batch.latents.shape == (2, 8, CHANNELS, 8, 8)
    assert batch.motion.shape == (2, 8, 2, 8, 8)
    assert set(batch.weights.unique().tolist()) == {1.0, 4.0}
    assert set(batch.ids[:, 0].tolist()) <= {7.0, 3.0}


def test_motion_bucket_grows_with_what_moves():
    still = np.zeros((4, 32, 32), np.uint8)
    still[:, 8:20, 8:20] = 3
    slow, fast = still.copy(), still.copy()
    for t in range(4):
        slow[t], fast[t] = np.roll(still[t], t, 1), np.roll(still[t], 4 * t, 1)
    assert motion_bucket(still) == 0 < motion_bucket(slow) < motion_bucket(fast) <= 255


def test_it_learns_one_batch(cache):
    model = tiny_denoiser().train()
    batch = draw(cache, rng_for(0, 0), 3, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = denoising_loss(model, batch, rng_for(1, 0), False, torch.float32)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_the_motion_channels_get_a_gradient_from_zero(cache):
    model = tiny_denoiser()
    svd.widen(model.unet)
    denoising_loss(model, draw(cache, rng_for(0, 0), 3, 4), rng_for(1, 0), True, torch.float32).backward()
    assert model.unet.conv_in.added.weight.grad.abs().max() > 0


def test_a_stopped_run_goes_on_bit_for_bit(cache, tmp_path):
    def run(folder, steps):
        model = tiny_denoiser()

        def loss(step):
            rng = rng_for(0, step)
            return denoising_loss(model, draw(cache, rng, 1, 4), rng, False, torch.float32)

        config = LoopConfig(steps=4, checkpoint_every=2, warmup=1)
        if steps < 4:
            stop = {"at": steps}

            def stopping(step):
                if step == stop["at"]:
                    raise KeyboardInterrupt
                return loss(step)

            with pytest.raises(KeyboardInterrupt):
                train(model, stopping, config, folder)
            return None
        return train(model, loss, config, folder).state_dict()

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "stopped", 2)
    resumed = run(tmp_path / "stopped", 4)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_cache_is_built_once_and_refuses_other_settings(tmp_path):
    world = World.load()
    model = tiny_autoencoder()
    model.register_to_config(scaling_factor=1.0)
    built = build_cache(world, model, tmp_path / "cache", 2)
    assert built.latents.shape == (2, 16, CHANNELS, 16, 16)
    assert np.abs(built.latents.astype(float)).max() > 0
    before = np.array(built.latents)
    again = build_cache(world, model, tmp_path / "cache", 2)
    assert np.array_equal(before, again.latents)
    with pytest.raises(InputError, match="another folder"):
        build_cache(world, model, tmp_path / "cache", 3)


def test_the_encoder_gives_the_principal_components_of_the_blocks():
    rng = np.random.default_rng(0)
    smooth = torch.nn.functional.interpolate(torch.from_numpy(rng.uniform(-1, 1, (24, 3, 12, 12))).float(), (48, 48))
    model = make_autoencoder(smooth)
    with torch.no_grad():
        latents = model.encoder(smooth).permute(0, 2, 3, 1).reshape(-1, LATENT_CHANNELS)
    blocks = torch.nn.functional.pixel_unshuffle(smooth, 8).permute(0, 2, 3, 1).reshape(-1, 192)
    centred = blocks - blocks.mean(0)
    _, sizes, components = torch.linalg.svd(centred, full_matrices=False)
    deviation = sizes[:LATENT_CHANNELS] / len(blocks) ** 0.5
    expected = centred @ components[:LATENT_CHANNELS].T / deviation.sqrt()
    scale = (latents * expected).sum() / expected.square().sum()
    assert scale > 0
    assert (latents - scale * expected).abs().max() < 1e-4
    assert latents.std().item() * model.config.scaling_factor == pytest.approx(1.0, rel=0.01)
