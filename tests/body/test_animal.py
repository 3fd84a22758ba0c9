"""The animal body: the shipped quadruped, and SMAL files in any axes, with or without ears."""

import pickle

import numpy as np
import pytest
from scipy import sparse

from kinema.body.animal import load_animal, rest_rotation
from kinema.body.gaits import gait
from kinema.body.model import joints
from kinema.body.quadruped import REST_JOINTS_M, to_motion
from kinema.body.skeleton import ANIMAL_JOINTS, ANIMAL_PARENTS, PART_IDS, mirror_permutation
from kinema.errors import InputError


@pytest.fixture(scope="module")
def full():
    return load_animal()


@pytest.fixture(scope="module")
def low():
    return load_animal(detail="low")


def standing(frames=1, betas=()):
    motion = to_motion(np.tile(np.eye(3), (frames, 35, 1, 1)), np.tile(REST_JOINTS_M[0], (frames, 1)), 20)
    return type(motion)("animal", motion.rotvec, motion.root_translation_m, np.array(betas, np.float32), 20)


def edge_counts(faces):
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def test_built_in_mesh_is_closed_and_faces_outwards(full, low):
    for body, faces in ((full, 5200), (low, 1800)):
        assert len(body.faces) == faces
        assert (edge_counts(body.faces) == 2).all()
        assert 0.02 < volume(body.template, body.faces) < 0.04
        np.testing.assert_allclose(body.weights.sum(1), 1, atol=1e-5)


def test_built_in_rest_pose(full):
    np.testing.assert_allclose(full.rest_joints(np.zeros(41, np.float32)), REST_JOINTS_M, atol=1e-6)
    vertices = full.vertices(standing())[0]
    np.testing.assert_allclose(vertices, full.template, atol=1e-5)
    assert abs(vertices[:, 1].min()) < 2e-3
    assert 0.5 < vertices[vertices[:, 2] > 0.5][:, 1].mean() < 0.8
    assert vertices[:, 2].argmax() in np.flatnonzero(full.vertex_parts == PART_IDS["animal_head"])


def test_every_animal_part_is_on_its_side(full, low):
    for body in (full, low):
        for name, part in PART_IDS.items():
            if not 32 <= part <= 51:
                continue
            places = body.template[body.vertex_parts == part]
            assert len(places) > 4, name
            if name.startswith("left"):
                assert places[:, 0].min() > -0.01
            if name.startswith("right"):
                assert places[:, 0].max() < 0.01


@pytest.mark.parametrize("beta", range(13))
def test_betas_change_the_shape_and_keep_the_paws_on_the_floor(full, beta):
    for value in (-2.0, 2.0):
        betas = np.eye(41, dtype=np.float32)[beta] * value
        vertices = full.rest_vertices(betas)
        assert np.abs(vertices - full.template).max() > 0.003
        assert abs(vertices[:, 1].min()) < 4e-3
        assert volume(vertices, full.faces) > 0.01


def test_unnamed_betas_do_nothing(full):
    assert not full.shape_dirs[..., 13:].any()


@pytest.mark.parametrize("name", ["walk", "gallop", "sit", "lie"])
def test_skin_stays_above_the_floor_in_motion(low, name):
    motion, _ = gait(name, 2.0, 20, 1)
    vertices = low.vertices(motion)
    assert vertices[..., 1].min() > -0.012
    feet = joints(motion, low)[:, [ANIMAL_JOINTS.index("left_front_foot")], 1]
    assert feet.min() == pytest.approx(0.045, abs=2e-3)


# What a user's SMAL file looks like, made up: a stick of vertices around every joint.
def smal_file(path, turn=None, ears=True, swap_sides=False, wrap=lambda x: x, **changed):
    count = 35 if ears else 33
    turn = np.eye(3) if turn is None else turn
    rng = np.random.default_rng(0)
    spread = rng.normal(0, 0.01, (count, 6, 3))
    spread -= spread.mean(1, keepdims=True)
    order = mirror_permutation("animal")[:count] if swap_sides else np.arange(count)
    template = ((REST_JOINTS_M[order, None] + spread).reshape(-1, 3)) @ turn.T
    owner = np.repeat(np.arange(count), 6)
    held = np.eye(count)[owner]
    vertices = len(template)
    body = {
        "v_template": wrap(template),
        "f": np.stack([np.arange(vertices - 2), np.arange(1, vertices - 1), np.arange(2, vertices)], -1).astype(
            np.uint32
        ),
        "shapedirs": wrap(rng.normal(0, 0.01, (vertices, 3, 41))),
        "J_regressor": sparse.csc_matrix(held.T / 6),
        "weights": held,
        "kintree_table": np.stack([ANIMAL_PARENTS[:count].astype(np.uint32), np.arange(count, dtype=np.uint32)]),
        "posedirs": np.zeros((vertices, 3, 9 * (count - 1))),
        "bs_type": "lrotmin",
    }
    body["kintree_table"][0, 0] = 2**32 - 1
    path.write_bytes(pickle.dumps({k: v for k, v in (body | changed).items() if v is not None}, 2))
    return path


SMAL_AXES = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
"""kinema (left, up, forward) to z up, facing x."""


@pytest.mark.parametrize("turn", [np.eye(3), SMAL_AXES, SMAL_AXES @ np.diag([-1.0, 1, -1]), np.diag([1.0, -1, -1])])
def test_smal_files_turn_into_our_axes(tmp_path, turn):
    body = load_animal(smal_file(tmp_path / "smal.pkl", turn))
    assert body.name == "smal"
    np.testing.assert_allclose(body.rest_joints(np.zeros(41, np.float32)), REST_JOINTS_M, atol=1e-5)
    straight = load_animal(smal_file(tmp_path / "straight.pkl"))
    np.testing.assert_allclose(body.template, straight.template, atol=1e-5)
    np.testing.assert_allclose(body.rest_vertices(np.zeros(41, np.float32)), body.template)


def test_smal_shape_directions_turn_along(tmp_path):
    betas = np.zeros(41, np.float32)
    betas[3] = 2
    path = smal_file(tmp_path / "smal.pkl", SMAL_AXES)
    raw = pickle.loads(path.read_bytes())
    body = load_animal(path)
    want = (raw["v_template"] + 2 * raw["shapedirs"][..., 3]) @ SMAL_AXES
    np.testing.assert_allclose(body.rest_vertices(betas), want, atol=1e-5)
    np.testing.assert_allclose(body.rest_joints(betas), raw["J_regressor"] @ want, atol=1e-5)


def test_sides_that_a_file_names_the_other_way_round(tmp_path):
    body = load_animal(smal_file(tmp_path / "smal.pkl", SMAL_AXES, swap_sides=True))
    np.testing.assert_allclose(body.rest_joints(np.zeros(41, np.float32)), REST_JOINTS_M, atol=1e-5)
    left = body.vertex_parts == PART_IDS["left_hind_paw"]
    assert (body.template[left, 0] > 0).all()


def test_files_without_ears(tmp_path):
    body = load_animal(smal_file(tmp_path / "smal.pkl", SMAL_AXES, ears=False))
    rest = body.rest_joints(np.zeros(41, np.float32))
    head = ANIMAL_JOINTS.index("head")
    np.testing.assert_allclose(rest[:33], REST_JOINTS_M[:33], atol=1e-5)
    np.testing.assert_allclose(rest[33:], rest[[head, head]], atol=1e-6)
    assert body.vertices(gait("walk", 0.5, 20, 0)[0]).shape == (10, 33 * 6, 3)


def test_fewer_and_more_shape_components_than_41(tmp_path):
    for count in (20, 78):
        dirs = np.full((210, 3, count), 0.01)
        body = load_animal(smal_file(tmp_path / "smal.pkl", shapedirs=dirs))
        assert body.shape_dirs.shape == (210, 3, 41)
        assert body.shape_dirs[..., : min(count, 41)].all()


def test_pose_correctives_are_left_out_with_a_warning(tmp_path, caplog):
    load_animal(smal_file(tmp_path / "smal.pkl", posedirs=np.ones((210, 3, 306))))
    assert "correctives" in caplog.text


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"weights": None}, "weights"),
        ({"weights": np.zeros((210, 35))}, "weights"),
        ({"v_template": np.full((210, 3), np.nan)}, "finite"),
        ({"f": np.array([[0, 1, 999]])}, "vertices"),
        ({"shapedirs": np.zeros((7, 3, 41))}, "shapedirs"),
        ({"kintree_table": np.zeros((2, 24), int)}, "24 joints"),
        ({"kintree_table": np.zeros((2, 35), int)}, "tree"),
    ],
)
def test_files_that_are_no_smal_body(tmp_path, changed, word):
    with pytest.raises(InputError, match=word):
        load_animal(smal_file(tmp_path / "bad.pkl", **changed))


def test_rest_rotation_is_a_turn():
    for turn in (np.eye(3), SMAL_AXES, np.diag([-1.0, 1, -1])):
        np.testing.assert_allclose(rest_rotation(REST_JOINTS_M @ turn.T) @ turn, np.eye(3), atol=1e-12)
