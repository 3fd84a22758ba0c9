"""Simulated objects: laws of motion, points in their order, the same seed the same track."""

import numpy as np
import pytest

from kinema.body.object_tracks import KINDS, _bounces, _braked, object_track
from kinema.errors import InputError


def test_bounce_falls_by_gravity_and_loses_speed():
    t_s = np.linspace(0, 3, 3001)
    height, touches = _bounces(t_s, 1.0, 0.0, 0.7)
    np.testing.assert_allclose(height[:400], 1 - 9.81 * t_s[:400] ** 2 / 2, atol=1e-9)
    first = np.sqrt(2 / 9.81)
    assert height[t_s > first].max() == pytest.approx(0.49, abs=1e-3)
    assert touches > 3
    assert (height >= 0).all()


def test_braking_stops_where_energy_is_spent():
    path = _braked(np.linspace(0, 5, 100), 2.0, 1.0)
    assert path[-1] == pytest.approx(2.0)
    assert (np.diff(path) >= -1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
def test_tracks(kind):
    for seed in range(3):
        motion, caption = object_track(kind, 2.0, 20, seed)
        points = motion.points_m
        assert points.shape == (40, 21, 3)
        assert np.isfinite(points).all()
        assert motion.valid.all()
        assert caption.startswith("a ")
        assert points[:, :16, 1].min() > -0.02
        np.testing.assert_allclose(points[:, 20], points[:, 16:20].mean(1), atol=1e-4)
        size = np.linalg.norm(np.ptp(points[:, :16], axis=1), axis=-1)
        step = np.linalg.norm(np.diff(points[:, :16].mean(1), axis=0), axis=-1)
        assert (step < 0.75).all()
        vertex = np.linalg.norm(np.diff(points[:, :16] - points[:, :16].mean(1, keepdims=True), axis=0), axis=-1)
        assert np.median(vertex.max(1) / size[1:]) < 0.5


def test_what_stands_still_does_not_move():
    points = object_track("stays", 1.0, 20, 3)[0].points_m
    assert np.ptp(points, axis=0).max() < 1e-6


def test_seeds_repeat_and_differ():
    first, again, other = (object_track("ball rolls", 1.0, 20, seed)[0].points_m for seed in (1, 1, 2))
    assert (first == again).all()
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize(("kind", "seconds", "fps"), [("cloud", 1, 20), ("stays", -1, 20), ("stays", 1, 0)])
def test_what_cannot_be_asked_for(kind, seconds, fps):
    with pytest.raises(InputError):
        object_track(kind, seconds, fps, 0)
