"""Clips through an autoencoder: other pictures of the same truth."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.train.made_looks import MadeLooks, remade
from kinema.world.sampler import World


@pytest.fixture(scope="module")
def world() -> World:
    return World.load(split="train")


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_the_picture_loses_detail_and_the_truth_stays(world: World, frames: int):
    true, made = world.sample(3, frames), MadeLooks(world, 1.0).sample(3, frames)
    assert made.video.frames.shape == true.video.frames.shape
    assert np.array_equal(made.part_ids, true.part_ids)
    error = made.video.frames.astype(float) - true.video.frames
    assert 2 < np.abs(error).mean() < 30  # it is the same scene, seen worse
    assert np.array_equal(MadeLooks(world, 1.0).sample(3, frames).video.frames, made.video.frames)


def test_the_share_is_of_the_clips(world: World):
    class Still:
        def sample(self, seed: int, frames: int = 16):
            return clip

    clip = world.sample(0, 1)
    looks = MadeLooks(Still(), 0.3)
    changed = [not np.array_equal(looks.sample(seed).video.frames, clip.video.frames) for seed in range(60)]
    assert 10 <= sum(changed) <= 26
    assert not any(MadeLooks(Still(), 0.0).sample(seed) is not clip for seed in range(9))


def test_more_noise_is_further_from_the_truth(world: World):
    frames = world.sample(3, 5).video.frames
    none, much = (np.abs(remade(frames, s, np.random.default_rng(0)).astype(float) - frames).mean() for s in (0.0, 0.6))
    assert much > 1.2 * none
