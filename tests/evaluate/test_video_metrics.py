"""Image and video metrics: analytic values, and a slow twin for SSIM."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from clips import moving, texture

from kinema.errors import InputError
from kinema.evaluate import video_metrics
from kinema.evaluate.video_metrics import (
    background_consistency,
    dynamic_degree,
    flow_strength_px,
    lpips_distance,
    motion_smoothness,
    psnr_db,
    ssim,
    subject_consistency,
)

CLIP = moving((1, 0))


def noisy(clip: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, sigma, clip.shape)
    return np.clip(np.rint(clip + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [5, 12])
def test_psnr_of_known_noise(sigma):
    grey = np.full((8, 64, 64, 3), 128, np.uint8)
    assert psnr_db(noisy(grey, sigma), grey) == pytest.approx(20 * np.log10(255 / sigma), abs=0.05)


def test_psnr_is_of_the_whole_clip():
    """One of 8 frames is off by 51: an MSE of 0.04 / 8, though seven frames are exact."""
    grey = np.full((8, 16, 16, 3), 100, np.uint8)
    off = grey.copy()
    off[3] += 51
    assert psnr_db(off, grey) == pytest.approx(-10 * np.log10(0.04 / 8))
    assert psnr_db(grey, grey) == np.inf


def test_ssim_of_flat_pictures():
    """Only the term of the means is left: (2 a b + C1) / (a^2 + b^2 + C1)."""
    a, b = (np.full((2, 16, 16, 3), v, np.uint8) for v in (60, 120))
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 60 * 120 + c1) / (60**2 + 120**2 + c1))


def test_ssim_against_its_definition():
    """A picture as large as the window has one place for it: the formula of Wang et al., written out."""
    a, b = CLIP[:1, :11, :11, :1].repeat(3, -1), noisy(CLIP, 20)[:1, :11, :11, :1].repeat(3, -1)
    x = np.arange(11) - 5
    weight = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.5**2))
    weight /= weight.sum()
    p, q = a[0, ..., 0].astype(float), b[0, ..., 0].astype(float)
    mean_p, mean_q = (weight * p).sum(), (weight * q).sum()
    var_p, var_q = (weight * (p - mean_p) ** 2).sum(), (weight * (q - mean_q) ** 2).sum()
    cov = (weight * (p - mean_p) * (q - mean_q)).sum()
    c1, c2 = 6.5025, 58.5225
    expected = (2 * mean_p * mean_q + c1) * (2 * cov + c2) / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)


def test_ssim_falls_with_noise():
    values = [ssim(noisy(CLIP, sigma), CLIP) for sigma in (0, 10, 30)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2] > 0
    with pytest.raises(InputError, match="10x10"):
        ssim(CLIP[:, :10, :10], CLIP[:, :10, :10])


def test_lpips_says_how_to_get_it(monkeypatch, tmp_path):
    video_metrics._lpips_model.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(InputError, match="pip install lpips"):
        lpips_distance(CLIP, CLIP)
    monkeypatch.setitem(sys.modules, "lpips", type(sys)("lpips"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match="weights are not at"):
        lpips_distance(CLIP, CLIP)


@pytest.mark.parametrize(("step", "dynamic"), [(0, 0), (1, 0), (3, 1)])
def test_dynamic_degree_by_its_threshold(step, dynamic):
    """6 px at 256 is 1.5 px at 64."""
    clip = moving((step, 0))
    assert dynamic_degree(clip) == dynamic
    assert flow_strength_px(clip) == pytest.approx(step, abs=0.3)


def test_only_the_strongest_part_of_the_flow_counts():
    """A tenth of a still picture that moves makes a clip dynamic."""
    clip = moving((0, 0)).copy()
    clip[:, :16, :32] = moving((3, 0), seed=5)[:, :16, :32]
    assert dynamic_degree(clip) == 1


def test_a_quarter_of_the_frames_have_to_move():
    """Of 8 frames 2."""
    still, moves = moving((0, 0)), moving((3, 0))
    assert dynamic_degree(np.concatenate([moves[:3], moves[2:3].repeat(5, 0)])) == 1
    assert dynamic_degree(np.concatenate([moves[:2], moves[1:2].repeat(6, 0)])) == 0
    assert dynamic_degree(still) == 0


def test_smoothness():
    still, steady = motion_smoothness(moving((0, 0))), motion_smoothness(moving((2, 1), frames=9))
    jerky = motion_smoothness(moving((2, 1), frames=9)[[0, 4, 1, 6, 2, 8, 3, 7, 5]])
    flicker = moving((0, 0), frames=9).astype(int)
    flicker[1::2] += 20
    assert still == pytest.approx(1, abs=1e-6)
    assert steady > 0.99
    assert jerky < 0.97
    assert motion_smoothness(np.clip(flicker, 0, 255).astype(np.uint8)) == pytest.approx(1 - 20 / 255, abs=0.003)
    with pytest.raises(InputError, match="2 frames"):
        motion_smoothness(moving((0, 0), frames=2))


def painted(colours) -> tuple[np.ndarray, np.ndarray]:
    """A square of one colour a frame before a texture that stands still, and its mask."""
    clip = np.repeat(texture(64)[None], len(colours), 0)
    mask = np.zeros(clip.shape[:3], bool)
    for t, colour in enumerate(colours):
        mask[t, 20:40, 10 + 3 * t : 30 + 3 * t] = True
        clip[t][mask[t]] = colour
    return clip, mask


RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_a_subject_that_moves_but_stays_the_same():
    assert subject_consistency(*painted([RED] * 4)) == pytest.approx(1)
    assert background_consistency(*painted([RED] * 4)) > 0.97


def test_a_subject_that_changes_its_colour():
    """Red and blue share no bin. To the frame before: 1, 0, 1; to the first: 1, 0, 0."""
    assert subject_consistency(*painted([RED, RED, BLUE, BLUE])) == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_a_subject_that_vanishes_counts_nothing():
    clip, mask = painted([RED] * 3)
    mask[2] = False
    assert subject_consistency(clip, mask) == pytest.approx(0.5)


def test_upside_down_is_not_the_same():
    clip, mask = painted([RED] * 2)
    clip[0, 20:27][mask[0, 20:27]] = BLUE
    clip[1, 33:40][mask[1, 33:40]] = BLUE
    assert subject_consistency(clip, mask) < 0.5


def test_features_can_be_others():
    def place(frames, mask):
        return np.eye(len(frames))

    assert subject_consistency(*painted([RED] * 3), features=place) == 0


def test_consistency_needs_something_to_look_at():
    clip, mask = painted([RED] * 3)
    with pytest.raises(InputError, match="no pixel"):
        subject_consistency(clip, np.zeros_like(mask))
    with pytest.raises(InputError, match="fills"):
        background_consistency(clip, np.ones_like(mask))
    with pytest.raises(InputError, match="1 frame"):
        subject_consistency(clip[:1], mask[:1])
