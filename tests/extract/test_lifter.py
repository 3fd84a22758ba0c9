"""The lifter: what it may be given, its file, and the shipped weights on a motion with known truth."""

import numpy as np
import pytest
import torch

from kinema.camera import project
from kinema.errors import InputError
from kinema.extract.lifter import LIFTED_PARENTS, Lifter, LifterConfig, load_lifter, save_lifter, shipped_lifter
from tests.extract.scenes import cameras_for, dog, lifted_joints, walker


@pytest.fixture(params=["human", "animal"])
def tiny(request) -> Lifter:
    torch.manual_seed(0)
    return Lifter(LifterConfig(request.param, width=16, depth=1, heads=2))


def test_every_length_and_a_subject_that_is_never_seen_give_finite_bodies(tiny):
    joints = len(LIFTED_PARENTS[tiny.config.category])
    for frames in (1, 2, 19):
        lift = tiny(torch.zeros(2, frames, joints, 2), torch.zeros(2, frames, joints), torch.tensor([8.0, 30.0]))
        points = tiny.points(lift)
        assert points.shape == (2, frames, joints, 3)
        assert points.isfinite().all()
        assert (lift.root_m[..., 2] > 0).all()


def test_a_subject_twice_as_far_is_lifted_to_twice_the_depth(tiny):
    joints = len(LIFTED_PARENTS[tiny.config.category])
    rays = 0.1 * torch.randn(1, 6, joints, 2)
    near, far = (tiny(rays * size, torch.ones(1, 6, joints), torch.tensor([8.0])).root_m[..., 2] for size in (1, 0.5))
    assert torch.allclose(far / near, torch.full_like(near, 2), rtol=0.3)


def test_weights_come_back_from_their_file_as_they_were(tiny, tmp_path):
    save_lifter(tiny, tmp_path / "lifter.safetensors", {"steps": "0"})
    back = load_lifter(tmp_path / "lifter.safetensors")
    assert back.config == tiny.config
    for name, value in tiny.state_dict().items():
        assert torch.allclose(back.state_dict()[name], value, atol=2e-3), name


def test_files_that_hold_no_lifter_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="train lifter"):
        load_lifter(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_lifter(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("motion", [walker(16), dog(16)], ids=["human", "animal"])
def test_the_shipped_lifter_finds_pose_distance_and_pitch(motion):
    cameras = cameras_for([motion])
    pixels, depth = project(lifted_joints(motion), cameras)
    rays = torch.from_numpy(((pixels - cameras.K[:, None, :2, 2]) / cameras.K[0, 0, 0]).astype(np.float32))
    model = shipped_lifter(motion.category)
    lift = model(rays[None], torch.ones(1, *rays.shape[:2]), torch.tensor([8.0]))
    T = cameras.T_camera_world
    truth = lifted_joints(motion) @ T[:, :3, :3].transpose(0, 2, 1) + T[:, None, :3, 3]
    off = model.points(lift)[0].numpy() - truth
    assert np.linalg.norm(off - off[:, :1], axis=-1).mean() < 0.12
    assert np.abs(np.log(lift.root_m[0, :, 2].numpy() / depth[:, 0])).mean() < 0.12
    assert abs(np.degrees(float(lift.pitch_rad)) - 8) < 8


def test_a_lifter_that_was_first_asked_for_in_inference_mode_can_be_fitted_through():
    shipped_lifter.cache_clear()
    with torch.inference_mode():
        lifter = shipped_lifter("human")
    betas = torch.zeros(10, requires_grad=True)
    lifter.bones_of(betas).square().sum().backward()
    assert betas.grad is not None
    assert betas.grad.abs().sum() > 0
