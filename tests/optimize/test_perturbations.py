import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kinema.geometry import geodesic_distance_rad
from kinema.optimize.features import unpack
from kinema.optimize.perturbations import Perturbation, frame_order, perturb
from tests.optimize.test_features import windows


@given(st.integers(0, 10**6), st.integers(8, 64), st.integers(2, 20))
def test_shuffle_permutes_inner_frames_and_leaves_the_rest(seed, frames, count):
    order = frame_order(frames, Perturbation(shuffle_frames=count), np.random.default_rng(seed))
    assert sorted(order) == list(range(frames))
    assert order[0] == 0
    assert order[-1] == frames - 1
    assert (order != np.arange(frames)).sum() <= count


@given(st.integers(0, 10**6), st.integers(8, 64), st.integers(1, 12))
def test_swap_exchanges_two_segments(seed, frames, length):
    order = frame_order(frames, Perturbation(swap_segment=length), np.random.default_rng(seed))
    assert sorted(order) == list(range(frames))
    length = min(length, (frames - 2) // 2)
    assert (order != np.arange(frames)).sum() == 2 * length
    assert order[0] == 0
    assert order[-1] == frames - 1


@given(st.integers(0, 10**6), st.integers(8, 64), st.integers(1, 30))
def test_drop_leaves_out_one_segment_and_repeats_others(seed, frames, count):
    order = frame_order(frames, Perturbation(drop_frames=count), np.random.default_rng(seed))
    assert len(order) == frames
    missing = np.setdiff1d(np.arange(frames), order)
    count = min(count, frames // 4)
    assert len(missing) == count
    assert (np.diff(missing) == 1).all()


def test_untouched_frames_stay_exact():
    clean = windows("human", 4, 32)
    shuffled = perturb(clean, "human", Perturbation(shuffle_frames=10), np.random.default_rng(0))
    same = (shuffled == clean).all(-1)
    assert same.sum(1).min() >= 22
    assert (~same).any(1).all()


@pytest.mark.parametrize("category", ["human", "animal"])
def test_noise_has_the_asked_size(category):
    clean = windows(category, 16, 32)
    noisy = perturb(clean, category, Perturbation(noise_rad=0.1, noise_m=0.02), np.random.default_rng(0))
    (a, root_a), (b, root_b) = unpack(clean), unpack(noisy)
    angle = geodesic_distance_rad(a, b)
    assert abs(angle.square().mean().sqrt().item() - 0.1 * 3**0.5) < 0.002
    assert abs((root_b - root_a).std().item() - 0.02) < 0.001


def test_the_same_seed_gives_the_same_and_another_does_not():
    clean = windows("object", 4, 32)
    kind = Perturbation(noise_rad=0.1, noise_m=0.02, drop_frames=6)
    a, b, c = (perturb(clean, "object", kind, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_nothing_asked_changes_nothing():
    clean = windows("human")
    assert torch.equal(perturb(clean, "human", Perturbation(), np.random.default_rng(0)), clean)
