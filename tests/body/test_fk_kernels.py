"""The compiled forward kinematics against its twin in torch, values and gradients."""

import numpy as np
import pytest
import torch

from kinema.body.fk_kernels import joint_frames
from kinema.body.model import forward_kinematics
from kinema.body.skeleton import ANIMAL_PARENTS, HUMAN_PARENTS
from kinema.geometry import rot6d_to_rotmat


@pytest.mark.parametrize("parents", [HUMAN_PARENTS, ANIMAL_PARENTS], ids=["human", "animal"])
def test_positions_and_gradients_are_those_of_the_twin(parents: np.ndarray):
    generator = torch.Generator().manual_seed(0)
    rot6d = torch.randn(3, 4, len(parents), 6, generator=generator, requires_grad=True)
    root = torch.randn(3, 4, 3, generator=generator, requires_grad=True)
    bones = torch.randn(len(parents), 3, generator=generator) * 0.2
    found, turned = joint_frames(rot6d, bones, root, parents)
    truth, rotations = forward_kinematics(rot6d_to_rotmat(rot6d), bones, root, parents)
    assert torch.allclose(found, truth, atol=1e-5)
    assert torch.allclose(turned, rotations, atol=1e-5)
    assert not turned.requires_grad
    weight = torch.randn(found.shape, generator=generator)
    gradients = [torch.autograd.grad((points * weight).sum(), (rot6d, root)) for points in (found, truth)]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4 * theirs.abs().max().item())
    assert gradients[1][0].abs().max() > 0.1


def test_columns_of_zeros_make_no_numbers_that_are_not():
    rot6d = torch.zeros(1, 22, 6, requires_grad=True)
    points, _ = joint_frames(rot6d, torch.ones(22, 3), torch.zeros(1, 3), HUMAN_PARENTS[:22])
    assert points.isfinite().all()
