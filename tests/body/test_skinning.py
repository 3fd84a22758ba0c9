"""Linear blend skinning against its slow twin, rigid motions, and the body file's round trip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from kinema.body.model import joints
from kinema.body.skeleton import PARENTS
from kinema.body.skinning import SkinnedBody, load_skinned_body, save_skinned_body
from kinema.types import BETA_COUNT, JOINT_COUNT, BodyMotion

VERTICES, INFLUENCES, EXPRESSIONS = 100, 4, 10


def random_body(seed: int, category: str = "human") -> SkinnedBody:
    rng = np.random.default_rng(seed)
    joint_count, betas = JOINT_COUNT[category], BETA_COUNT[category]

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    weights = rng.random((VERTICES, INFLUENCES)).astype(np.float32) * (rng.random((VERTICES, INFLUENCES)) < 0.7)
    weights[:, 0] += 0.1
    return SkinnedBody(
        category=category,
        name="random",
        joint_template=normal(joint_count, 3),
        joint_shape_dirs=normal(joint_count, 3, betas) * 0.1,
        template=normal(VERTICES, 3),
        shape_dirs=normal(VERTICES, 3, betas) * 0.1,
        expression_dirs=normal(VERTICES, 3, EXPRESSIONS if category == "human" else 0) * 0.1,
        weights=weights / weights.sum(1, keepdims=True),
        weight_joints=rng.integers(0, joint_count, (VERTICES, INFLUENCES)).astype(np.int32),
        faces=rng.integers(0, VERTICES, (50, 3)).astype(np.int32),
        vertex_parts=rng.integers(1, 18, VERTICES).astype(np.uint8),
    )


def random_motion(seed: int, category: str = "human", frames: int = 5, angle_rad: float = 1.0) -> BodyMotion:
    rng = np.random.default_rng(seed)
    face = {"expression": rng.normal(0, 1, (frames, 10)).astype(np.float32)} if category == "human" else {}
    return BodyMotion(
        category=category,
        rotvec=rng.normal(0, angle_rad, (frames, JOINT_COUNT[category], 3)).astype(np.float32),
        root_translation_m=rng.normal(0, 1, (frames, 3)).astype(np.float32),
        betas=rng.normal(0, 1, BETA_COUNT[category]).astype(np.float32),
        fps=20.0,
        **face,
    )


def naive_vertices(body: SkinnedBody, motion: BodyMotion) -> np.ndarray:
    """SMPL's equations as they are written, one 4x4 matrix at a time, float64."""
    parents = PARENTS[body.category]
    rest = body.joint_template + body.joint_shape_dirs.astype(float) @ motion.betas
    shaped = body.template + body.shape_dirs.astype(float) @ motion.betas
    out = np.zeros((len(motion), len(shaped), 3))
    for t in range(len(motion)):
        vertices = shaped.copy()
        if body.expression_dirs.shape[-1]:
            vertices += body.expression_dirs.astype(float) @ motion.expression[t]
        world: list[np.ndarray] = []
        for j, parent in enumerate(parents):
            local = np.eye(4)
            local[:3, :3] = Rotation.from_rotvec(motion.rotvec[t, j].astype(float)).as_matrix()
            local[:3, 3] = motion.root_translation_m[t] if parent < 0 else rest[j] - rest[parent]
            world.append(local if parent < 0 else world[parent] @ local)
        for v, point in enumerate(vertices):
            for weight, j in zip(body.weights[v], body.weight_joints[v], strict=True):
                moved = world[j] @ np.append(point - rest[j], 1.0)
                out[t, v] += weight * moved[:3]
    return out


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), category=st.sampled_from(["human", "animal"]), frames=st.integers(1, 4))
def test_fast_skinning_equals_the_naive_twin(seed, category, frames):
    body, motion = random_body(seed, category), random_motion(seed + 1, category, frames)
    np.testing.assert_allclose(body.vertices(motion), naive_vertices(body, motion), atol=2e-5)


@pytest.mark.parametrize("angle_rad", [0.0, 1e-6, 1e-4, 2e-4, np.pi, 2 * np.pi])
def test_tiny_and_full_turns_are_exact(angle_rad):
    body = random_body(3)
    rotvec = np.zeros((1, 55, 3), np.float32)
    rotvec[:, :, 1] = angle_rad
    motion = BodyMotion("human", rotvec, np.zeros((1, 3)), np.zeros(10), 20.0)
    np.testing.assert_allclose(body.vertices(motion), naive_vertices(body, motion), atol=1e-5)


def test_more_vertices_than_a_tile_and_one_influence():
    body = random_body(4)
    many = replace(
        body,
        template=np.tile(body.template, (7, 1)),
        shape_dirs=np.tile(body.shape_dirs, (7, 1, 1)),
        expression_dirs=np.tile(body.expression_dirs, (7, 1, 1)),
        weights=np.ones((7 * VERTICES, 1), np.float32),
        weight_joints=np.tile(body.weight_joints[:, :1], (7, 1)),
        vertex_parts=np.tile(body.vertex_parts, 7),
    )
    motion = random_motion(5, frames=2)
    np.testing.assert_allclose(many.vertices(motion), naive_vertices(many, motion), atol=2e-5)


def test_turning_and_moving_the_root_is_a_rigid_motion_of_the_mesh():
    body, motion = random_body(6), random_motion(7)
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7])
    rotvec = motion.rotvec.copy()
    rotvec[:, 0] = (turn * Rotation.from_rotvec(rotvec[:, 0])).as_rotvec()
    shifted = replace(motion, rotvec=rotvec, root_translation_m=motion.root_translation_m + np.float32([1, 2, 3]))
    root = motion.root_translation_m[:, None]
    expected = (body.vertices(motion) - root) @ turn.as_matrix().T + root + [1, 2, 3]
    np.testing.assert_allclose(body.vertices(shifted), expected, atol=3e-5)


def test_every_frame_stands_for_itself():
    body, motion = random_body(8), random_motion(9, frames=6)
    np.testing.assert_array_equal(body.vertices(motion)[2:4], body.vertices(motion[2:4]))


def test_a_strided_motion_gives_the_same_mesh():
    body, motion = random_body(8), random_motion(9, frames=6)
    strided = motion[::2]
    np.testing.assert_array_equal(body.vertices(strided), body.vertices(motion)[::2])


@pytest.mark.parametrize("category", ["human", "animal"])
def test_joints_are_where_the_flesh_of_one_joint_goes(category):
    """A vertex that lies on a joint and goes with it alone is where `joints` says the joint is."""
    body, motion = random_body(10, category), random_motion(11, category)
    count = JOINT_COUNT[category]
    index = np.arange(count, dtype=np.int32)
    markers = replace(
        body,
        template=body.joint_template,
        shape_dirs=body.joint_shape_dirs,
        expression_dirs=np.zeros((count, 3, 0), np.float32),
        weights=np.ones((count, 1), np.float32),
        weight_joints=index[:, None],
        faces=np.zeros((1, 3), np.int32),
        vertex_parts=np.ones(count, np.uint8),
    )
    np.testing.assert_allclose(markers.vertices(motion), joints(motion, body), atol=2e-5)


@pytest.mark.parametrize("category", ["human", "animal"])
def test_a_saved_body_reads_back(tmp_path, category):
    full = random_body(12, category)
    low = replace(random_body(13, category), joint_template=full.joint_template)
    path = tmp_path / "body.safetensors"
    save_skinned_body(path, full, low, {"licence": "none"})
    for detail, body in (("full", full), ("low", low)):
        again = load_skinned_body(path, detail)
        assert (again.category, again.name) == (category, "random")
        for name in ("faces", "weight_joints", "vertex_parts", "template", "joint_template"):
            np.testing.assert_array_equal(getattr(again, name), getattr(body, name))
        for name in ("shape_dirs", "expression_dirs", "weights"):
            np.testing.assert_allclose(getattr(again, name), getattr(body, name), atol=1e-3)
        np.testing.assert_allclose(again.weights.sum(1), 1, atol=1e-6)


def test_arrays_that_do_not_fit_together_are_our_bug():
    body = random_body(14)
    with pytest.raises(AssertionError):
        replace(body, weight_joints=body.weight_joints + 55)
