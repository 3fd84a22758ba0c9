"""Depth Anything: sizes and upsampling as the library's, scales made alike over time, disparity to distance by hand."""

import numpy as np
import pytest
import torch

from kinema.errors import InputError
from kinema.extract.depth_anything import DepthAnything, depth_of, load_depth_anything, steady
from tests.extract import tiny_public

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def relative():
    return DepthAnything(tiny_public.depth_anything(), tiny_public.depth_anything_pictures())


def test_frames_in_passes_are_what_the_library_says_of_each(relative):
    raw = relative.raw(FRAMES)
    assert raw.shape == (5, 48, 64)
    assert raw.std() > 0.01
    inputs = relative.pictures(FRAMES[4], return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 42, 56)  # by the side that changes less, to multiples of 14
    with torch.no_grad():
        output = relative.model(**inputs)
    theirs = relative.pictures.post_process_depth_estimation(output, [(48, 64)])[0]["predicted_depth"]
    np.testing.assert_allclose(raw[4], theirs.clamp(min=0), atol=1e-5)


def test_metres_are_left_as_they_are():
    metric = DepthAnything(tiny_public.depth_anything("metric"), tiny_public.depth_anything_pictures())
    depth = metric.depth(FRAMES[:2])
    np.testing.assert_array_equal(depth, metric.raw(FRAMES[:2]))
    assert 0 < depth.min() < depth.max() < 20


def test_every_frame_takes_the_first_ones_scale_and_shift():
    random = np.random.default_rng(1)
    truth = random.uniform(1, 5, (40, 48)).astype(np.float32)
    scale, shift = random.uniform(0.3, 3, (30, 1, 1)), random.uniform(-1, 1, (30, 1, 1))
    scale[0], shift[0] = 1, 0
    flickering = (truth * scale + shift).astype(np.float32)
    still = np.full((30, 40, 48, 3), 90, np.uint8)
    np.testing.assert_allclose(steady(flickering, still), np.tile(truth, (30, 1, 1)), rtol=1e-3)


def test_what_moves_does_not_pull_the_rest_along():
    disparity = np.tile(np.linspace(1, 2, 48, dtype=np.float32), (10, 40, 1))
    frames = np.full((10, 40, 48, 3), 90, np.uint8)
    for t in range(10):  # something near walks through, another colour every time
        disparity[t, :, 3 * t : 3 * t + 12] = 8
        frames[t, :, 3 * t : 3 * t + 12] = 120 + 10 * t
    np.testing.assert_allclose(steady(disparity, frames)[:, :, 47], 2, rtol=0.02)


def test_noise_does_not_shrink_a_long_clip():
    random = np.random.default_rng(2)
    truth = random.uniform(1, 5, (40, 48))
    noisy = (truth + random.normal(0, 0.5, (200, 40, 48))).astype(np.float32)
    out = steady(noisy, np.zeros((200, 40, 48, 3), np.uint8))
    assert out[-1].std() == pytest.approx(noisy[0].std(), rel=0.05)


def test_a_cut_and_a_flat_frame():
    disparity = np.stack([np.full((8, 8), 2), np.full((8, 8), 3), np.linspace(4, 8, 64).reshape(8, 8)])
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[2] = 200
    out = steady(disparity.astype(np.float32), frames)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[1], 2)
    np.testing.assert_allclose(np.median(out[2]), 2, atol=1e-5)


def test_distance_by_hand():
    depth = depth_of(np.array([[[2, 1, 2, 4, 0.001, 0, 2]]], np.float32))
    np.testing.assert_allclose(depth[0, 0], [4, 8, 4, 2, np.inf, np.inf, 4])
    assert np.isinf(depth_of(np.zeros((1, 2, 2), np.float32))).all()


def test_a_folder_as_the_hub_has_it(relative, tmp_path):
    relative.model.save_pretrained(tmp_path / "depth")
    relative.pictures.save_pretrained(tmp_path / "depth")
    np.testing.assert_array_equal(load_depth_anything(tmp_path / "depth").depth(FRAMES), relative.depth(FRAMES))
    with pytest.raises(InputError, match="kinema fetch depth-anything"):
        load_depth_anything(tmp_path)
