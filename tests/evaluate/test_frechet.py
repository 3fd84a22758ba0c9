"""The Frechet distance of known Gaussians, and what the handcrafted features of clips see."""

from __future__ import annotations

import numpy as np
import pytest
from clips import moving

from kinema.errors import InputError
from kinema.evaluate.frechet import frechet_distance, frechet_video_distance
from kinema.evaluate.handcrafted_features import clip_features


def gaussian(mean, covariance, count=400, seed=0):
    """Rows whose sample mean and covariance are exactly those asked for."""
    rows = np.random.default_rng(seed).normal(size=(count, len(mean)))
    rows -= rows.mean(0)
    white = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    return white @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def test_distance_in_closed_form():
    """Diagonal covariances: the squared distance of means plus that of standard deviations."""
    a, b = gaussian([0, 0], np.diag([1, 4])), gaussian([3, 4], np.diag([9, 16]), seed=1)
    assert frechet_distance(a, b) == pytest.approx(25 + (1 - 3) ** 2 + (2 - 4) ** 2)
    assert frechet_distance(b, a) == pytest.approx(33)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_correlated_covariances():
    """tr((C_a C_b)^(1/2)) by the eigenvalues of the product itself."""
    cov_a, cov_b = np.array([[2.0, 0.8], [0.8, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    expected = np.trace(cov_a + cov_b) - 2 * np.sqrt(np.linalg.eigvals(cov_a @ cov_b)).sum()
    assert frechet_distance(gaussian([1, 2], cov_a), gaussian([1, 2], cov_b, seed=1)) == pytest.approx(expected)


def test_fewer_rows_than_features():
    a = np.random.default_rng(0).normal(size=(5, 40))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + 1) == pytest.approx(40, rel=1e-4)


def test_one_feature_of_videos():
    """Mean brightness 100, 110 against 100, 130: (105 - 115)^2 + (7.07 - 21.2)^2."""
    videos = {v: np.full((3, 16, 16, 3), v, np.uint8) for v in (100, 110, 130)}

    def brightness(video):
        return np.array([video.mean(dtype=float)])

    found = frechet_video_distance([videos[100], videos[110]], [videos[100], videos[130]], brightness)
    assert found == pytest.approx(100 + 200)
    with pytest.raises(InputError, match="1 and 2"):
        frechet_video_distance([videos[100]], [videos[100], videos[130]], brightness)


def test_handcrafted_features_order_sets_of_videos():
    """Blurred, recoloured or still videos are farther from the true ones than others like them."""
    truth = [moving((2, 0), seed=s) for s in range(6)]
    alike = [moving((2, 0), seed=s) for s in range(6, 12)]
    near = frechet_video_distance(alike, truth)
    for worse in (
        [moving((0, 0), seed=s) for s in range(6, 12)],
        [moving((-2, 0), seed=s) for s in range(6, 12)],
        [v // 2 for v in alike],
        [v[..., [2, 2, 2]] for v in alike],
    ):
        assert frechet_video_distance(worse, truth) > 1.5 * near


def test_what_a_feature_vector_holds():
    still, right = clip_features(moving((0, 0))), clip_features(moving((2, 0)))
    assert still.shape == (96,)
    assert np.isfinite(still).all()
    # 24 numbers of colour, 32 of edges, then motion: cells by directions, to the right first.
    motion = right[56:88].reshape(4, 8)
    assert (motion.argmax(1) == 0).all()
    assert motion[:, 0] == pytest.approx(100 * 2 / 64, rel=0.15)
    assert np.abs(still[56:]).max() < 0.05


def test_edges_by_direction():
    """Stripes across: the gradient is along x, direction 0."""
    stripes = np.zeros((3, 32, 32, 3), np.uint8)
    stripes[:, :, ::4] = stripes[:, :, 1::4] = 200
    edges = clip_features(stripes)[24:56].reshape(4, 8)
    assert (edges.argmax(1) == 0).all()
    assert edges[:, 2:7].max() < 1e-6
