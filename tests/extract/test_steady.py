"""Averaging along the motion: what a frame is mistaken about is mended, and nothing else is touched."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from kinema.extract.mini_perception import MiniPerception
from kinema.extract.perception_net import CLASS_OF_PART, CLASS_TWIN, PerceptionConfig, PerceptionNet
from kinema.extract.steady import AWAY_FRAMES, Steadied

FRAMES, SIDE, STEP_PX = 9, 64, 2


def steadied(frames: np.ndarray, shares: np.ndarray, away: int = AWAY_FRAMES) -> np.ndarray:
    steady = Steadied(away)
    found = [mixed for seen in zip(frames, shares, strict=True) for mixed in steady.add(*seen)]
    assert len(steady.held) <= 2 * away + 1
    return np.stack(found + steady.rest())


def textured(seed: int, side: int = SIDE) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def moving_thing() -> tuple[np.ndarray, np.ndarray]:
    """Frames in which a thing goes to the right, and the shares of three classes; all of the thing is of class 1."""
    frames = np.repeat(textured(0)[None], FRAMES, 0)
    shares = np.zeros((FRAMES, SIDE, SIDE, 3), np.float32)
    shares[..., 0] = 1
    for t in range(FRAMES):
        here = (slice(20, 44), slice(8 + STEP_PX * t, 28 + STEP_PX * t))
        frames[t][here] = textured(1, 24)[:, :20]
        shares[t][here] = (0, 1, 0)
    return frames, shares


@pytest.mark.parametrize("mistaken", [0, 4, FRAMES - 1])
def test_what_one_frame_mistakes_its_neighbours_mend(mistaken: int):
    frames, shares = moving_thing()
    truth = shares.argmax(-1)
    thing = shares[mistaken, ..., 1] > 0
    shares[mistaken][thing] = (0, 0.2, 0.8)
    assert (shares.argmax(-1) != truth).sum() == thing.sum()
    found = steadied(frames, shares)
    wrong = (found.argmax(-1) != truth)[mistaken]
    assert wrong.sum() < 0.2 * thing.sum()
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("away", [1, 2, 20])
def test_what_is_right_stays_right(away: int):
    frames, shares = moving_thing()
    found = steadied(frames, shares, away)
    assert found.shape == shares.shape
    assert (found.argmax(-1) == shares.argmax(-1)).mean() > 0.995


def test_nothing_crosses_a_cut():
    frames = np.concatenate([np.repeat(textured(k)[None], 3, 0) for k in (2, 3)])
    shares = np.zeros((6, SIDE, SIDE, 2), np.float32)
    shares[:3, ..., 0] = shares[3:, ..., 1] = 1
    found = steadied(frames, shares)
    assert (found.argmax(-1) == shares.argmax(-1)).mean() > 0.99


def test_pictures_too_small_for_optical_flow_and_single_ones_are_left_alone():
    shares = np.random.default_rng(0).random((3, 12, 20, 4), np.float32)
    assert np.array_equal(steadied(np.zeros((3, 12, 20, 3), np.uint8), shares), shares)
    shares = np.random.default_rng(0).random((1, 32, 32, 4), np.float32)
    assert np.array_equal(steadied(np.zeros((1, 32, 32, 3), np.uint8), shares), shares)


@pytest.mark.parametrize("size", [(48, 64), (200, 250)])
def test_a_steady_perception_says_of_a_mirror_image_the_same_with_sides_exchanged(size: tuple[int, int]):
    torch.manual_seed(0)
    net = PerceptionNet(PerceptionConfig((16, 16, 24, 32), out_width=16, attention_layers=1, attention_heads=2))
    torch.nn.init.normal_(net.parts.weight)
    picture = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    mirrored = np.ascontiguousarray(picture[:, :, ::-1])
    seen, seen_mirrored = (CLASS_OF_PART[MiniPerception(net, 4).parts(p)] for p in (picture, mirrored))
    assert len(np.unique(seen)) > 3
    assert (CLASS_TWIN[seen[:, :, ::-1]] == seen_mirrored).mean() > 0.99
