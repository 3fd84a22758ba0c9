"""The video autoencoder of mini-cogvideox: layout, a linear encoder that needs no training, files."""

import numpy as np
import pytest
import torch

from kinema.checkpoints import MINI_SVD
from kinema.errors import InputError
from kinema.reinforce.video_autoencoder import FourFrameAutoencoder, deblocked
from kinema.train.loop import LoopConfig
from kinema.train.video_autoencoder import (
    VideoAutoencoderTrainConfig,
    clips_of,
    cut_out,
    detail,
    grown,
    jumps,
    make_video_autoencoder,
    train_video_autoencoder,
)
from kinema.world.sampler import World


@pytest.fixture(scope="module")
def clips():
    return clips_of(World.load(), 0, 12, seed=5)


@pytest.fixture(scope="module")
def made(clips):
    return make_video_autoencoder(MINI_SVD / "vae", clips)


@torch.no_grad()
def test_first_frame_alone_then_four_a_latent(made):
    video = torch.rand(2, 3, 9, 64, 48) * 2 - 1
    latents = made.encode(video).latent_dist.mode()
    assert latents.shape == (2, 16, 3, 8, 6)
    assert made.decode(latents).sample.shape == video.shape
    torch.testing.assert_close(made.encode(video[:, :, :1]).latent_dist.mode(), latents[:, :, :1])
    video[:, :, 5:] = 0
    torch.testing.assert_close(made.encode(video).latent_dist.mode()[:, :, :2], latents[:, :, :2])


@torch.no_grad()
def test_untrained_it_keeps_most_of_a_video(made, clips):
    latents = made.encode(clips).latent_dist.mode()
    error = (made.decode(latents).sample.clamp(-1, 1) - clips).square().mean() / 4
    assert -10 * error.log10() > 22
    assert latents.square().mean() == pytest.approx(1, rel=0.25)


@torch.no_grad()
def test_encoder_is_linear(made):
    a, b = torch.rand(2, 1, 3, 5, 32, 32)
    of_a, of_b, of_both = (made.encode(x).latent_dist.mode() for x in (a, b, (a + b) / 2))
    torch.testing.assert_close(of_both, (of_a + of_b) / 2, atol=1e-4, rtol=1e-4)


def test_files(made, tmp_path):
    made.save_pretrained(tmp_path)
    again = FourFrameAutoencoder.from_pretrained(tmp_path)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in made.state_dict().items())


def of_numbers(*numbers):
    """A video of one grey a frame."""
    return torch.tensor(numbers)[None, None, :, None, None].expand(1, 3, -1, 2, 2)


def test_steps_between_latent_frames_are_spread_over_the_time_of_one():
    steps = of_numbers(0.0, *[0.4] * 4, *[0.8] * 4)
    spread = deblocked(steps, 1.0)
    expected = of_numbers(0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.8, 0.8)
    torch.testing.assert_close(spread, expected)
    assert jumps(spread) < jumps(steps + torch.rand_like(steps) * 1e-3) / 50


def test_what_moves_evenly_is_left_and_large_steps_are_taken_for_motion():
    even = of_numbers(*torch.arange(9.0) / 10)
    torch.testing.assert_close(deblocked(even, 1.0), even)
    square = torch.zeros(1, 3, 9, 32, 64)
    for t in range(9):
        square[:, :, t, 8:24, 4 * t : 4 * t + 16] = 0.8
    assert (deblocked(square, 0.1) - square).abs().max() < 0.1 * 3 / 8 + 1e-6
    moving = of_numbers(0.0, 0.5, 0.8, 0.8, 0.8)
    torch.testing.assert_close(deblocked(moving, 0.1), of_numbers(0.0375, 0.4625, 0.7875, 0.8, 0.8))
    assert (deblocked(square, 1.0) - square).abs().max() > 0.1
    assert deblocked(square, 0.0) is square
    assert deblocked(square[:, :, :1], 1.0).shape[2] == 1


def test_where_all_around_jumps_large_steps_are_spread_too():
    steps = of_numbers(0.0, *[0.8] * 4)
    torch.testing.assert_close(deblocked(steps, 0.1), of_numbers(0.3, 0.5, 0.7, 0.8, 0.8))
    stripes = 0.8 * torch.tensor([0.0, 1.0]).repeat_interleave(4).repeat(8).expand(1, 3, 9, 32, 64).clone()
    stripes[:, :, 1:] = stripes[:, :, 1:].roll(4, -1)
    spread = deblocked(stripes, 0.1)
    torch.testing.assert_close(spread, deblocked(stripes, 2.0))
    assert jumps(spread) < 0.3 * jumps(stripes)


@torch.no_grad()
def test_what_is_decoded_is_deblocked_where_the_configuration_says_so(made, clips):
    latents = made.encode(clips[:1]).latent_dist.mode()
    latents = latents + 0.3 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    plain = made.decode(latents).sample
    made.register_to_config(most_joint_step=0.2)
    smooth = made.decode(latents).sample
    made.register_to_config(most_joint_step=0.0)
    torch.testing.assert_close(smooth, deblocked(plain, 0.2))
    assert jumps(smooth) < 0.7 * jumps(plain)


def test_training_leaves_the_encoder_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr("kinema.train.video_autoencoder.COMPONENT_CLIPS", 3)
    monkeypatch.setattr("kinema.train.video_autoencoder.EVALUATION_CLIPS", 1)

    def trained(run, *all_steps):
        for steps in all_steps:
            loop = LoopConfig(steps=steps, warmup=1, decay=1e-9, checkpoint_every=1)
            train_video_autoencoder(VideoAutoencoderTrainConfig(tmp_path / run, out=tmp_path / f"{run}.out", loop=loop))
        return FourFrameAutoencoder.from_pretrained(tmp_path / f"{run}.out").state_dict()

    once, resumed = trained("once", 2), trained("twice", 1, 2)
    assert all(torch.equal(v, resumed[k]) for k, v in once.items())
    start = make_video_autoencoder(MINI_SVD / "vae", clips_of(World.load(wide=True), 0, 3, seed=1)).half().state_dict()
    assert torch.equal(start["encoder.weight"], once["encoder.weight"])
    assert not torch.equal(start["decoder.layers.0.weight"], once["decoder.layers.0.weight"])


@torch.no_grad()
def test_blocks_that_are_added_do_nothing_at_first(made):
    latents = torch.randn(1, 16, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    before = made.decode(latents).sample
    larger = grown(made, 4)
    assert larger.config["blocks"] == 4
    assert len(larger.mend) == len(made.mend) + 2
    assert torch.equal(larger.decode(latents).sample, before)
    again = FourFrameAutoencoder.from_config(larger.config)
    again.load_state_dict(larger.state_dict())
    assert torch.equal(again.decode(latents).sample, before)
    assert grown(made, 0) is made


def test_detail_is_what_differs_between_neighbours_wherever_it_is():
    checks = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    video = checks.expand(1, 3, 5, 16, 16)
    assert detail(video).shape == (5, 3, 2, 2)
    torch.testing.assert_close(detail(-video), detail(video))
    torch.testing.assert_close(detail(0.5 * video), 0.5 * detail(video))
    assert detail(torch.zeros_like(video)).max() == 0


def test_what_is_cut_out_has_the_latents_of_the_whole(clips, made):
    part = cut_out(clips[:2], 64, np.random.default_rng(1))
    assert part.shape == (2, 3, clips.shape[2], 64, 64)
    whole, own = (made.encode(v).latent_dist.mode() for v in (clips[:2], part))
    places = [whole[..., y : y + 8, x : x + 8] for y in range(9) for x in range(9)]
    assert any(torch.allclose(place, own, atol=1e-5) for place in places)


def test_jumps_are_counted_between_latent_frames():
    even = torch.arange(9.0)[None, None, :, None, None].expand(1, 3, 9, 4, 4)
    assert jumps(even) == pytest.approx(1.0)
    steps = even + 2 * ((torch.arange(9) + 3) // 4)[None, None, :, None, None]
    assert jumps(steps) == pytest.approx(3.0)


@pytest.mark.parametrize(("asked", "says"), [({"frames": 16}, "frames.* 16"), ({"side": 60}, "side.* 60")])
def test_clips_that_are_no_whole_blocks_are_refused(asked, says, tmp_path):
    with pytest.raises(InputError, match=says):
        train_video_autoencoder(VideoAutoencoderTrainConfig(tmp_path / "run", **asked))
