"""Training the prior: data, loss, and a short overfit on made-up motion."""

import numpy as np
import pytest
import torch

from kinema.errors import InputError
from kinema.geometry import rotvec_to_rotmat
from kinema.motion_io.capture import mirrored_caption
from kinema.optimize.features import joint_count, pack, unpack
from kinema.optimize.motion_prior import MotionPrior, PmpConfig
from kinema.optimize.motion_strength import speed, strength_of_speed
from kinema.train.loop import rng_for
from kinema.train.motion_data import (
    LEGS,
    MIXED_LIMBS,
    MotionClips,
    _mix_limbs,
    _turn_joints,
    load_capture_clips,
    mirrored,
    sample_windows,
)
from kinema.train.pmp import Task, correction_loss, draw, perturb_batch, random_orders, speed_table
from tests.optimize.test_features import bones, windows


def clips(category: str = "human", frames: int = 80) -> MotionClips:
    """Three smooth made-up clips."""
    made = []
    for phase in range(3):
        t = torch.arange(frames)[:, None] / 20
        if category == "object":
            channels = 0.3 * torch.sin(t + phase + torch.arange(63))
        else:
            joints = joint_count(category)
            rotvec = 0.4 * torch.sin(2 * t + phase + torch.arange(3 * joints)).unflatten(1, (joints, 3))
            channels = pack(rotvec_to_rotmat(rotvec), torch.cat([torch.sin(t), 0 * t + 1, t], 1))
        made.append((channels, "turn left"))
    return MotionClips.join(category, made)


@pytest.mark.parametrize("category", ["human", "animal", "object"])
def test_a_mirrored_mirror_image_is_the_thing_itself(category):
    channels = windows(category)
    assert torch.allclose(mirrored(mirrored(channels, category), category), channels, atol=1e-6)


def test_mirrored_captions_exchange_sides():
    assert mirrored_caption("walk, veer left, then right turn") == "walk, veer right, then left turn"
    assert mirrored_caption("leftover") == "leftover"


@pytest.mark.parametrize("category", ["human", "animal", "object"])
def test_windows_are_cut_from_within_a_clip(category):
    source = clips(category)
    made = sample_windows(source, 16, 32, rng_for(0, 0))
    assert made.channels.shape == (16, 32, source.channels.shape[1])
    assert made.clip.max() < 3
    assert made.mirrored.dtype == made.reversed.dtype == bool
    within = (source.channels[1:80] - source.channels[:79]).abs().max()
    assert made.channels.diff(dim=1).abs().max() < 1.7 * within


def test_mixed_limbs_are_whole_and_legs_stay_with_their_root():
    plain = windows("human", 32, 32)
    changed = (_mix_limbs(plain, rng_for(0, 1)) != plain).any(1)[:, :-3].unflatten(1, (-1, 6)).any(-1)
    assert 0.02 < changed.any(1).float().mean() < 0.5
    assert not changed[:, list(LEGS)].any()
    assert {tuple(np.flatnonzero(c).tolist()) for c in changed.numpy()} <= {
        (),
        *(tuple(sorted(m)) for m in MIXED_LIMBS),
    }


def test_turned_joints_keep_their_motion_and_leave_the_legs():
    plain = windows("human", 32, 32)
    turned, _ = unpack(_turn_joints(plain, rng_for(0, 2)))
    rotmat, _ = unpack(plain)
    turn = rotmat.mT @ turned
    assert torch.allclose(turn[:, :1].expand_as(turn), turn, atol=1e-5)
    assert torch.allclose(turned[:, :, list(LEGS)], rotmat[:, :, list(LEGS)], atol=1e-5)
    assert not torch.allclose(turned, rotmat, atol=1e-2)


def test_windows_longer_than_any_clip_are_refused():
    with pytest.raises(InputError, match="none is"):
        sample_windows(clips(frames=20), 4, 64, rng_for(0, 0))


def test_held_frames_are_given_as_they_are():
    clean = windows("human", 64, 32)
    given, held, belongs = perturb_batch(clean, "human", np.random.default_rng(0))
    assert held.any()
    assert torch.equal(given[held], clean[held])
    assert torch.equal(belongs[held], torch.arange(32.0).expand(64, -1)[held])
    untouched = (given == clean).all(-1).all(-1)
    assert 0.02 < untouched.float().mean() < 0.3


def test_orders_are_of_every_kind():
    orders = random_orders(200, 32, np.random.default_rng(0))
    plain = (orders == np.arange(32)).all(1)
    dropped = np.array([len(np.unique(o)) < 32 for o in orders])
    assert 0.65 < plain.mean() < 0.85
    assert 0.03 < dropped.mean() < 0.2
    assert (~plain & ~dropped).any()


def test_strength_is_a_quantile_of_speed():
    source = clips()
    table = speed_table(source)
    assert (table.diff() >= 0).all()
    values = strength_of_speed(torch.tensor([0.0, table[6].item(), 1e3]), table)
    assert torch.allclose(values, torch.tensor([0.0, 0.5, 1.0]), atol=1e-4)


def test_speed_is_in_rad_and_metres_a_second():
    t = torch.arange(10) / 20
    channels = torch.zeros(1, 10, 135)
    channels[..., 0:132:6] = channels[..., 4:132:6] = 1
    channels[..., -3] = 2 * t
    assert speed(channels, "human").item() == pytest.approx(2, rel=1e-4)
    turn = torch.stack([t.cos(), t.sin(), 0 * t, -t.sin(), t.cos(), 0 * t], -1)
    channels[..., 6:12] = turn
    assert unpack(channels)[0].shape == (1, 10, 22, 3, 3)
    assert speed(channels, "human").item() == pytest.approx(2 + 1 / 22, rel=1e-3)


def test_fifty_steps_overfit_one_batch():
    torch.manual_seed(0)
    source = clips()
    task = Task({"human": source}, {"human": torch.randn(3, 2, 128)}, np.array([1.0, 0, 0]), 8, 0)
    model = MotionPrior(PmpConfig(width=32, depth=2, heads=2, pointers=4))
    model.bones("human").copy_(bones("human"))
    model.speeds("human").copy_(speed_table(source))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(50):
        loss = correction_loss(model, task, 0, torch.device("cpu"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_step_is_a_pure_function_of_its_number():
    task = Task({"human": clips()}, {"human": torch.randn(3, 2, 128)}, np.array([1.0, 0, 0]), 4, 0)
    a, b, c = draw(task, 5), draw(task, 5), draw(task, 6)
    assert torch.equal(a[1], b[1])
    assert a[1].shape != c[1].shape or not torch.equal(a[1], c[1])


def test_capture_data_are_read(shared_data):
    source = load_capture_clips(shared_data / "cmu_mocap/cmu_test.npz")
    assert source.channels.shape == (3074, 135)
    assert len(source.captions) == 19


def test_a_file_that_is_no_capture_is_refused(tmp_path):
    path = tmp_path / "capture.npz"
    path.write_text("hello")
    with pytest.raises(InputError, match="capture"):
        load_capture_clips(path)
