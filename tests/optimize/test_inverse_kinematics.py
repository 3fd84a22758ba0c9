"""Steps of inverse kinematics on random bodies."""

import pytest
import torch

from kinema.optimize.features import joint_frames, positions
from kinema.optimize.inverse_kinematics import step_towards
from tests.optimize.test_features import bones, windows


def cost(channels: torch.Tensor, goal: torch.Tensor, category: str) -> torch.Tensor:
    return 0.5 * (positions(channels, bones(category), category) - goal).square().sum()


@pytest.mark.parametrize("category", ["human", "animal"])
def test_the_step_is_down_the_gradient_of_the_squared_distances(category):
    channels = windows(category).double()
    points, turned = joint_frames(channels.float(), bones(category), category)
    goal = points + 0.1 * torch.randn(points.shape, generator=torch.Generator().manual_seed(1))
    gain = torch.ones(*points.shape[:-1], dtype=torch.float32)
    gain = torch.cat([gain, torch.full_like(gain[..., :1], points.shape[-2])], -1)
    start = channels.float().requires_grad_()
    slope = torch.autograd.grad(cost(start, goal, category), start)[0]
    change = step_towards(channels.float(), points, turned, goal - points, gain, category) - channels.float()
    # Along J^T e the cost falls by |J^T e|^2, with e the errors, J by turns of the joints and moves of the root.
    parents_turn = change[..., :-3].unflatten(-1, (-1, 2, 3))
    columns = channels.float()[..., :-3].unflatten(-1, (-1, 2, 3))
    third = torch.linalg.cross(columns[..., 0, :], columns[..., 1, :])
    turn = 0.5 * (
        torch.linalg.cross(columns, parents_turn).sum(-2) + torch.linalg.cross(third, _third(columns, parents_turn))
    )
    fall = turn.square().sum() + change[..., -3:].square().sum()
    assert torch.allclose((slope * change).sum(), -fall, rtol=1e-3)


def _third(columns: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    first, second = columns.unbind(-2)
    by_first, by_second = change.unbind(-2)
    return torch.linalg.cross(by_first, second) + torch.linalg.cross(first, by_second)


def test_a_small_step_comes_nearer_and_none_where_all_is_well():
    channels = windows("human")
    points, turned = joint_frames(channels, bones("human"), "human")
    goal = points.clone()
    goal[..., 10, :] += 0.2
    gain = torch.full((*points.shape[:-2], 23), 0.2)
    moved = step_towards(channels, points, turned, goal - points, gain, "human")
    assert cost(moved, goal, "human") < 0.95 * cost(channels, goal, "human")
    assert torch.equal(step_towards(channels, points, turned, points - points, gain, "human"), channels)
