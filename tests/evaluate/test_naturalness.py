"""Naturalness: shapes of known distributions, and that spoilt videos are farther from true ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from clips import moving

from kinema.errors import InputError
from kinema.evaluate.naturalness import FEATURES, Naturalness, asymmetric_shape, natural_features


def test_shapes_of_known_distributions():
    rng = np.random.default_rng(0)
    normal, laplacian = rng.normal(0, 2, 200_000), rng.laplace(0, 1, 200_000)
    assert asymmetric_shape(normal) == pytest.approx((2, 0, 4, 4), abs=0.05)
    assert asymmetric_shape(laplacian)[0] == pytest.approx(1, abs=0.03)
    size = np.abs(normal)
    lopsided = np.where(rng.random(len(size)) < 0.25, -size, 3 * size)
    _, middle, left, right = asymmetric_shape(lopsided)
    assert right / left == pytest.approx(9, rel=0.03)
    assert middle == pytest.approx(lopsided.mean(), rel=0.05)


def test_flat_pictures_have_finite_features():
    assert np.isfinite(natural_features(np.full((5, 32, 32, 3), 90, np.uint8))).all()


def test_spoilt_videos_are_farther_off():
    truths = [moving((1, 0), seed=seed, size=96) for seed in range(60)]
    natural, rng = Naturalness.of(truths[:50]), np.random.default_rng(0)

    def far(spoil) -> float:
        return float(np.mean([natural.distance(spoil(video)) for video in truths[50:]]))

    true = far(lambda video: video)
    assert 0.5 < true < 2.5
    blurred = far(lambda video: np.stack([cv2.GaussianBlur(f, (0, 0), 2) for f in video]))
    noisy = far(lambda video: np.clip(video + rng.normal(0, 8, video.shape), 0, 255).astype(np.uint8))
    assert min(blurred, noisy) > 2 * true


def test_few_true_videos_are_refused():
    with pytest.raises(InputError, match=f"more than {FEATURES}"):
        Naturalness.of([moving((1, 0))] * 3)
