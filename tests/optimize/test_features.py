import numpy as np
import pytest
import roma
import torch

from kinema.geometry import rotvec_to_rotmat
from kinema.optimize.features import (
    CATEGORIES,
    PRIOR_PARENTS,
    canonical_frame,
    channel_count,
    channel_groups,
    joint_count,
    observe,
    observed_count,
    pack,
    pair_distances,
    positions,
    unpack,
)


def windows(category: str, batch: int = 3, frames: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if category == "object":
        return torch.randn(batch, frames, 63, generator=generator)
    joints = joint_count(category)
    rotmat = rotvec_to_rotmat(torch.randn(batch, frames, joints, 3, generator=generator))
    return pack(rotmat, torch.randn(batch, frames, 3, generator=generator))


def bones(category: str) -> torch.Tensor:
    return torch.randn(joint_count(category), 3, generator=torch.Generator().manual_seed(9)) * 0.2


@pytest.mark.parametrize("category", CATEGORIES)
def test_shapes_agree_with_their_counts(category):
    channels = windows(category)
    points = positions(channels, bones(category), category)
    assert channels.shape[-1] == channel_count(category) == len(channel_groups(category))
    assert points.shape[-2] == joint_count(category)
    seen = observe(channels, points, torch.zeros(3, 8), torch.arange(8.0).expand(3, -1))
    assert seen.shape == (3, 8, observed_count(category))


def test_pack_and_unpack_are_inverse():
    channels = windows("human")
    assert torch.allclose(pack(*unpack(channels)), channels, atol=1e-6)


@pytest.mark.parametrize("category", CATEGORIES)
def test_canonical_frame_is_undone(category):
    channels = windows(category)
    frame = canonical_frame(channels, category)
    assert torch.allclose(frame.undo(frame.apply(channels, category), category), channels, atol=1e-5)


@pytest.mark.parametrize("category", ["human", "animal"])
def test_canonical_channels_do_not_depend_on_place_and_heading(category):
    channels = windows(category)
    rotmat, root = unpack(channels)
    turn = rotvec_to_rotmat(torch.tensor([0.0, 1.3, 0.0]))
    turned = rotmat.clone()
    turned[..., 0, :, :] = turn @ rotmat[..., 0, :, :]
    moved = pack(turned, root @ turn.T + torch.tensor([3.0, 0.5, -2.0]))
    a = canonical_frame(channels, category).apply(channels, category)
    b = canonical_frame(moved, category).apply(moved, category)
    assert torch.allclose(a, b, atol=1e-5)


def test_canonical_objects_do_not_depend_on_place_and_size():
    channels = windows("object")
    moved = (channels.unflatten(-1, (21, 3)) * 2.5 + torch.tensor([1.0, 2.0, 3.0])).flatten(-2)
    a = canonical_frame(channels, "object").apply(channels, "object")
    b = canonical_frame(moved, "object").apply(moved, "object")
    assert torch.allclose(a, b, atol=1e-5)


def test_positions_of_the_human_agree_with_a_naive_chain():
    channels, rest = windows("human", 1, 2), bones("human")
    rotmat, root = unpack(channels)
    parents = PRIOR_PARENTS["human"]
    for t in range(2):
        glob, joint = [], []
        for j, parent in enumerate(parents):
            if parent < 0:
                glob.append(rotmat[0, t, 0])
                joint.append(root[0, t])
            else:
                glob.append(glob[parent] @ rotmat[0, t, j])
                joint.append(joint[parent] + glob[parent] @ rest[j])
        assert torch.allclose(positions(channels, rest, "human")[0, t], torch.stack(joint), atol=1e-5)


def test_repeated_frames_are_nearest():
    channels = windows("human")
    channels[:, 5] = channels[:, 2]
    distance = pair_distances(channels, positions(channels, bones("human"), "human"))
    others = distance[0, 5].clone()
    others[5] = torch.inf
    assert others[:, 0].argmin() == 2
    assert others[2, 0] == distance[0, 5, 5, 0]


def test_a_still_motion_differs_by_nothing_from_its_neighbours():
    channels = windows("human")[:, :1].expand(3, 8, -1).clone()
    points = positions(channels, bones("human"), "human")
    seen = observe(channels, points, torch.zeros(3, 8), torch.arange(8.0).expand(3, -1))
    moving = slice(channel_count("human") + 66, channel_count("human") + 4 * 66 + channel_count("human"))
    assert seen[..., moving].abs().max() < 1e-5


def test_rotations_stay_proper_after_averaging():
    mean = windows("human").mean(1)
    rotmat, _ = unpack(mean)
    assert torch.allclose(rotmat @ rotmat.mT, torch.eye(3).expand_as(rotmat), atol=1e-5)
    assert roma.is_rotation_matrix(rotmat.double(), 1e-5)
    assert np.isclose(torch.linalg.det(rotmat).numpy(), 1, atol=1e-5).all()
