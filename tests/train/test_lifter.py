"""Training the lifter: what the cameras see, the loss, a short overfit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.body.skeleton import BODY_JOINT_COUNT, mirror_permutation
from kinema.errors import InputError
from kinema.extract.lifter import Lifter, LifterConfig, built_in_bones, load_lifter
from kinema.train import lifter as training
from kinema.train.lifter import (
    HALF_WIDTH,
    PITCH_RAD,
    LifterTrainConfig,
    at_video_rate,
    camera_rotation,
    disturb,
    draw,
    lifting_loss,
    train_lifter,
    validation_numbers,
)
from kinema.train.loop import rng_for
from tests.train.test_pmp import clips

CATEGORIES = ["human", "animal"]


def some_views(category: str = "human", batch: int = 8, step: int = 0) -> training.Views:
    return draw(clips(category, 110), built_in_bones(category), batch, rng_for(0, step))


def test_windows_at_a_lower_rate_span_more_of_the_capture():
    """A clip that walks 1 m in a second moves by 1/8 m between frames at 8 Hz, a little more or less as it is sped up."""
    source = clips("human", 110)
    found = at_video_rate(source, 64, 16, 8.0, rng_for(0, 0))
    step = found[:, :, -1].diff(dim=1).abs().median()
    assert 0.09 < step < 0.19


@pytest.mark.parametrize("category", CATEGORIES)
def test_views_show_bodies_before_the_camera_in_the_picture(category):
    views = some_views(category)
    assert (views.points[..., 2] > 0.5).all()
    assert torch.allclose(views.points[..., :2] / views.points[..., 2:], views.clean)
    assert (views.clean.abs() < HALF_WIDTH).float().mean() > 0.8
    assert ((views.pitch_rad >= PITCH_RAD[0]) & (views.pitch_rad <= PITCH_RAD[1])).all()
    assert ((views.confidence >= 0) & (views.confidence <= 1)).all()


def test_the_lifters_own_forward_kinematics_gives_the_views_joints():
    views = some_views()
    model = Lifter(LifterConfig("human", 16, 1, 2))
    lift = training.Lift(views.rot6d, views.points[:, :, 0], views.betas, views.pitch_rad)
    assert torch.allclose(model.points(lift), views.points, atol=1e-5)


def test_cameras_are_level_and_look_down_by_their_pitch():
    azimuth, pitch = torch.tensor([0.0, 1.0]), torch.tensor([0.2, 0.1])
    turn = camera_rotation(azimuth, pitch)
    assert torch.allclose(turn @ turn.mT, torch.eye(3).expand(2, 3, 3), atol=1e-6)
    assert torch.allclose(turn[:, 0, 1], torch.zeros(2))
    assert torch.allclose(turn[:, 2, 1], -pitch.sin())
    assert torch.allclose(turn[0, 2], torch.tensor([0, -np.sin(0.2), -np.cos(0.2)], dtype=torch.float32))


def test_errors_are_of_some_pixels_and_less_confident_joints_are_farther_off():
    clean = some_views(batch=64).clean
    rays, confidence = disturb(clean, "human", rng_for(3, 0))
    seen = confidence > 0
    off = (rays - clean).norm(dim=-1) / training.PIXEL
    assert 1 < off[seen].median() < 5
    assert off[seen & (confidence > 0.8)].mean() < 0.6 * off[seen & (confidence < 0.4)].mean()
    assert not rays[~seen].any()
    assert 0.02 < (~seen).float().mean() < 0.3


def test_a_left_that_is_taken_for_right_is_its_twin():
    clean = torch.randn(400, 16, BODY_JOINT_COUNT, 2)
    mixed = training._swapped(clean, "human", rng_for(0, 0))
    twin = clean[:, :, torch.from_numpy(mirror_permutation("human")[:BODY_JOINT_COUNT])]
    assert ((mixed == clean) | (mixed == twin)).all()
    assert 0.002 < (mixed != clean).float().mean() < 0.1


@pytest.mark.parametrize("category", CATEGORIES)
def test_thirty_steps_on_one_batch_bring_the_loss_down(category):
    torch.manual_seed(0)
    model = Lifter(LifterConfig(category, 48, 2, 4))
    views = some_views(category, 2)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    first = None
    for _ in range(30):
        loss = lifting_loss(model, views)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6 * first


def test_numbers_for_the_log_are_in_their_units():
    numbers = validation_numbers(Lifter(LifterConfig("human", 16, 1, 2)), clips("human", 110), 8)
    assert 10 < numbers["pa_mpjpe_mm"] < numbers["root_aligned_mm"] < 2000
    assert 0 <= numbers["pitch_deg"] < 90


def test_a_run_writes_weights_that_load(tmp_path):
    source = clips("human", 110)
    np.savez(
        tmp_path / "capture.npz",
        rot6d=source.channels[:, :-3].reshape(-1, BODY_JOINT_COUNT, 6).numpy().astype(np.float16),
        trans=source.channels[:, -3:].numpy(),
        start=source.starts,
        fps=20.0,
        name=np.array(["a", "b", "c"]),
        caption=np.array(source.captions),
    )
    loop = training.LoopConfig(steps=2, checkpoint_every=1)
    config = LifterTrainConfig(
        tmp_path / "run", tmp_path / "capture.npz", model=LifterConfig("human", 16, 1, 2), batch=2, loop=loop
    )
    assert load_lifter(train_lifter(config)).config == config.model


def test_people_need_a_capture_that_exists(tmp_path):
    with pytest.raises(InputError, match="capture"):
        train_lifter(LifterTrainConfig(tmp_path))
    with pytest.raises(InputError, match="does not exist"):
        train_lifter(LifterTrainConfig(tmp_path, capture=Path("nowhere.npz")))
