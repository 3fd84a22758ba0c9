"""The outline of a body against that of a mask: nothing to do where it fits, the way to go where it doesn't."""

import numpy as np
import pytest
import torch

from kinema.body.model import forward_kinematics, joints, load_body
from kinema.body.skeleton import BODY_JOINT_COUNT
from kinema.extract.lifter import LIFTED_PARENTS, shipped_lifter
from kinema.extract.outline import find_outline, skin
from kinema.geometry import rotvec_to_rotmat
from kinema.render.control_maps import render_maps
from kinema.types import BodyMotion, Cameras
from tests.extract.scenes import cameras_for, dog, walker

FOCAL_PX = 128 / 2 / np.tan(np.radians(25))


def in_cameras(motion: BodyMotion, cameras: Cameras) -> torch.Tensor:
    T = cameras.T_camera_world
    vertices = load_body(motion.category, detail="low").vertices(motion)
    return torch.from_numpy(vertices @ T[:, :3, :3].transpose(0, 2, 1) + T[:, None, :3, 3])


@pytest.fixture(scope="module")
def person():
    motion = walker(3)
    cameras = cameras_for([motion])
    parts = render_maps([motion], cameras, maps="parts").part_ids
    assert parts is not None
    return in_cameras(motion, cameras), parts > 0, cameras


def away_px(vertices, mask, cameras, others=None) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.zeros_like(mask) if others is None else others
    outline = find_outline("human", vertices, mask, nothing, cameras)
    return (outline.away(vertices) * FOCAL_PX).numpy(), outline.weights.numpy()


def test_a_body_that_fills_its_mask_is_where_it_should_be(person):
    away, weights = away_px(*person)
    assert np.allclose(weights.sum(1), 1)
    assert np.abs(away)[weights > 0].mean() < 0.35


def test_the_way_to_a_shifted_mask_is_found(person):
    vertices, mask, cameras = person
    aim, depth, shift_px = np.roll(mask, 3, 2), float(vertices[..., 2].mean()), 0.0
    for _ in range(8):  # least squares, the outline looked at anew each time
        moved = vertices + torch.tensor([shift_px * depth / FOCAL_PX, 0.0, 0.0])
        outline = find_outline("human", moved, aim, np.zeros_like(aim), cameras)
        slope = outline.weights * outline.across[..., 0]
        shift_px -= float((slope * outline.away(moved)).sum() / (slope * outline.across[..., 0]).sum()) * FOCAL_PX
    assert shift_px == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_mask_of_all_or_nothing_says_nothing(person, everywhere):
    vertices, mask, cameras = person
    _, weights = away_px(vertices, np.full_like(mask, everywhere), cameras)
    assert not weights.any()


def test_where_another_is_in_front_an_outline_says_nothing(person):
    vertices, mask, cameras = person
    others = np.zeros_like(mask)
    others[:, 64:] = True
    rest = mask & ~others
    away, weights = away_px(vertices, rest, cameras, others)
    assert np.abs(away)[weights > 0].mean() < 0.6
    everywhere = np.ones_like(mask)
    assert not away_px(vertices, rest & ~everywhere, cameras, everywhere)[1].any()


@pytest.mark.parametrize("motion", [walker(2), dog(2)], ids=["human", "animal"])
def test_the_skin_is_that_of_the_body(motion):
    lifter, parents = shipped_lifter(motion.category), LIFTED_PARENTS[motion.category]
    betas = torch.from_numpy(motion.betas[: skin(motion.category).shape_dirs.shape[-1]])
    local = rotvec_to_rotmat(torch.from_numpy(motion.rotvec[:, : len(parents)]))
    bones = lifter.bones_of(betas).expand(len(local), -1, -1)
    points, turned = forward_kinematics(local, bones, torch.from_numpy(motion.root_translation_m), parents)
    found = skin(motion.category).vertices(turned, points, betas)
    assert np.abs(points.numpy()[:, :BODY_JOINT_COUNT] - joints(motion)[:, :BODY_JOINT_COUNT]).max() < 2e-3
    true = load_body(motion.category, detail="low").vertices(motion)
    assert np.abs(found.numpy() - true).max() < 5e-3
