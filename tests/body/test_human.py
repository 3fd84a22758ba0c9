"""The built-in human body, and the user's SMPL-X file against `body-models`."""

from __future__ import annotations

import pickle
import time
from itertools import pairwise

import numpy as np
import pytest
from licensed import save, smplx_arrays
from scipy.spatial.transform import Rotation

from kinema.body.human import BUILT_IN, load_human
from kinema.body.model import joints, load_body
from kinema.body.skeleton import HUMAN_JOINTS, JOINT_PARTS, PART_IDS, PARTS, mirror_permutation
from kinema.body.skinning import SkinnedBody
from kinema.errors import InputError
from kinema.types import BodyMotion

AT = {name: j for j, name in enumerate(HUMAN_JOINTS)}
HUMAN_PARTS = {part: name for part, name in PARTS.items() if 1 <= part <= 17}


@pytest.fixture(scope="module", params=["full", "low"])
def body(request) -> SkinnedBody:
    return load_human(detail=request.param)


def still(frames: int = 1, **changes) -> BodyMotion:
    arrays = {
        "rotvec": np.zeros((frames, 55, 3), np.float32),
        "root_translation_m": np.zeros((frames, 3), np.float32),
        "betas": np.zeros(10, np.float32),
    }
    return BodyMotion("human", **(arrays | changes), fps=20.0)


# --- the built-in body


def test_the_asset_is_small_and_loads_fast():
    assert BUILT_IN.stat().st_size < 8e6
    assert (BUILT_IN.parent / "LICENSE").is_file()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        load_human()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


def test_low_is_a_few_thousand_faces_of_the_full_one():
    full, low = load_human(), load_human(detail="low")
    assert 3000 <= len(low.faces) <= 4000 < len(full.faces)
    rows = {tuple(v) for v in full.template}
    assert all(tuple(v) in rows for v in low.template)


def test_rest_pose_gives_the_rest_mesh(body):
    shift = body.rest_joints(np.zeros(10, np.float32))[0]
    np.testing.assert_allclose(body.vertices(still())[0], body.template - shift, atol=1e-6)


def test_root_goes_where_it_is_put(body):
    motion = still(root_translation_m=np.float32([[1, 2, 3]]), betas=np.float32([1, -1, 0, 1]))
    np.testing.assert_allclose(joints(motion, body)[0, 0], [1, 2, 3], atol=1e-6)
    moved = body.vertices(motion)[0] - body.vertices(still(betas=np.float32([1, -1, 0, 1])))[0]
    np.testing.assert_allclose(moved, np.broadcast_to([1, 2, 3], moved.shape), atol=1e-5)


def test_it_is_an_adult_of_1_70_m_in_a_t_pose_facing_z(body):
    rest = body.rest_joints(np.zeros(10, np.float32))
    assert np.ptp(body.template[:, 1]) == pytest.approx(1.70, abs=0.01)
    np.testing.assert_allclose(rest[0], [0.003, -0.35, 0.012], atol=0.01)  # the mean pelvis of SMPL-X
    arm = rest[AT["left_wrist"]] - rest[AT["left_shoulder"]]
    leg = rest[AT["left_ankle"]] - rest[AT["left_hip"]]
    assert np.degrees(np.arccos(arm[0] / np.linalg.norm(arm))) < 5
    assert np.degrees(np.arccos(-leg[1] / np.linalg.norm(leg))) < 5
    assert rest[AT["left_foot"], 2] > rest[AT["left_ankle"], 2] + 0.1
    assert rest[AT["left_eye_smplhf"], 2] > rest[AT["head"], 2]
    assert rest[AT["left_index1"], 2] > rest[AT["left_pinky1"], 2], "palms down: the index finger is in front"
    assert rest[AT["left_thumb3"], 2] > rest[AT["left_index1"], 2]


def test_left_is_at_positive_x_and_the_sides_mirror(body):
    rest = body.rest_joints(np.zeros(10, np.float32))
    for j, name in enumerate(HUMAN_JOINTS):
        assert not name.startswith("left") or rest[j, 0] > 0.01
    np.testing.assert_allclose(rest[mirror_permutation("human")] * [-1, 1, 1], rest, atol=2e-3)


def test_every_part_is_there_on_its_side(body):
    assert set(np.unique(body.vertex_parts)) == set(HUMAN_PARTS)
    for part, name in HUMAN_PARTS.items():
        x = body.template[body.vertex_parts == part, 0]
        if name.startswith("left"):
            assert x.min() > -0.01, name
        elif name.startswith("right"):
            assert x.max() < 0.01, name


def test_parts_follow_one_another_up_the_trunk_and_along_the_limbs(body):
    def centre(name: str) -> np.ndarray:
        return body.template[body.vertex_parts == PART_IDS[name]].mean(0)

    trunk = [centre(name)[1] for name in ("left_foot", "left_shin", "left_thigh", "hips", "abdomen", "chest", "neck",
                                          "head")]  # fmt: skip
    arm = [centre(name)[0] for name in ("chest", "left_upper_arm", "left_forearm", "left_hand")]
    assert (np.diff(trunk) > 0).all()
    assert (np.diff(arm) > 0).all()


def test_faces_look_outwards(body):
    """The signed volume of the mesh, by its triangles, is that of a person of 45 to 90 kg."""
    a, b, c = (body.template[body.faces[:, k]].astype(float) for k in range(3))
    volume_m3 = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert 0.045 < volume_m3 < 0.09


def test_weights_of_a_finger_belong_to_its_hand(body):
    for side in ("left", "right"):
        hand = body.vertex_parts == PART_IDS[f"{side}_hand"]
        used = np.unique(body.weight_joints[hand][body.weights[hand] > 0.3])
        fingers = [j for j, name in enumerate(HUMAN_JOINTS) if name.startswith(side) and name[-1] in "123"]
        assert set(fingers) <= set(used), "all 15 finger joints move flesh"


def height(body: SkinnedBody, *betas: float) -> float:
    return float(np.ptp(body.rest_vertices(np.float32([*betas, *[0] * (10 - len(betas))]))[:, 1]))


def unit(k: int) -> np.ndarray:
    return np.eye(10, dtype=np.float32)[k]


def volume(body: SkinnedBody, betas: np.ndarray) -> float:
    a, b, c = (body.rest_vertices(betas)[body.faces[:, k]].astype(float) for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def length(body: SkinnedBody, betas: np.ndarray, *names: str) -> float:
    rest = body.rest_joints(betas)
    return float(sum(np.linalg.norm(rest[AT[a]] - rest[AT[b]]) for a, b in pairwise(names)))


def test_betas_do_what_they_are_named(body):
    none = np.zeros(10, np.float32)
    assert height(body, 1.0) - height(body) == pytest.approx(0.07, abs=0.005)
    assert volume(body, 2 * unit(1)) > 1.05 * volume(body, none) > 1.1 * volume(body, -2 * unit(1))
    assert abs(np.ptp(body.rest_vertices(unit(1))[:, 1]) - height(body)) < 0.005, "weight leaves the stature"
    for k, names, gain in (
        (5, ("left_hip", "left_knee", "left_ankle"), 0.03),
        (6, ("left_shoulder", "left_elbow", "left_wrist"), 0.02),
        (7, ("left_shoulder", "right_shoulder"), 0.02),
        (8, ("left_hip", "right_hip"), 0.02),
        (9, ("pelvis", "spine1", "spine2", "spine3", "neck"), 0.02),
    ):
        assert length(body, unit(k), *names) - length(body, none, *names) == pytest.approx(gain, abs=0.004), k
    woman, man = 2 * unit(4), -2 * unit(4)
    shoulders = ("left_shoulder", "right_shoulder")
    assert length(body, man, *shoulders) > length(body, woman, *shoulders) + 0.02
    assert height(body, 0, 0, 0, 0, -2) > height(body, 0, 0, 0, 0, 2)


def test_joints_stay_inside_the_flesh_of_every_shape(body):
    """Knees and elbows are between the vertices around them, whatever the shape."""
    for k in range(10):
        for sign in (-2, 2):
            betas = (sign * unit(k)).astype(np.float32)
            rest, vertices = body.rest_joints(betas), body.rest_vertices(betas)
            for name in ("left_knee", "right_elbow", "left_wrist", "neck"):
                near = vertices[np.linalg.norm(vertices - rest[AT[name]], axis=1) < 0.12]
                assert (near.min(0) < rest[AT[name]]).all(), (name, k, sign)
                assert (near.max(0) > rest[AT[name]]).all(), (name, k, sign)


def test_jaw_opens_by_expression_and_by_joint(body):
    chin = body.template[:, 1] < body.joint_template[AT["jaw"], 1] - 0.04
    chin &= (body.vertex_parts == PART_IDS["head"]) & (body.template[:, 2] > 0.1)
    opened = body.vertices(still(expression=unit(0)[None]))[0] - body.vertices(still())[0]
    assert opened[chin, 1].min() < -0.015
    rotvec = np.zeros((1, 55, 3), np.float32)
    rotvec[0, AT["jaw"], 0] = 0.3
    turned = body.vertices(still(rotvec=rotvec))[0] - body.vertices(still())[0]
    assert turned[chin, 1].min() < -0.015
    feet = np.isin(body.vertex_parts, [PART_IDS["left_foot"], PART_IDS["right_foot"]])
    assert abs(opened[feet]).max() == 0


def test_bent_limbs_keep_most_of_their_volume():
    """Sitting, arms down: the volume of the mesh stays within a tenth of that at rest."""
    body = load_human()
    rotvec = np.zeros((1, 55, 3), np.float32)
    rotvec[0, [AT["left_hip"], AT["right_hip"]], 0] = -np.pi / 2
    rotvec[0, [AT["left_knee"], AT["right_knee"]], 0] = np.pi / 2
    rotvec[0, AT["left_shoulder"], 2], rotvec[0, AT["right_shoulder"], 2] = -1.3, 1.3
    posed = body.vertices(still(rotvec=rotvec))[0]
    a, b, c = (posed[body.faces[:, k]].astype(float) for k in range(3))
    sitting = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert sitting == pytest.approx(volume(body, np.zeros(10, np.float32)), rel=0.1)


def test_real_captures_stand_on_the_floor(shared_data):
    data = np.load(shared_data / "cmu_mocap" / "cmu_test.npz")
    frames = slice(0, None, 20)
    first, second = (data["rot6d"][frames].astype(np.float64)[..., k : k + 3] for k in (0, 3))
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second -= (first * second).sum(-1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=-1, keepdims=True)
    matrices = np.stack([first, second, np.cross(first, second)], -1)
    rotvec = np.zeros((len(matrices), 55, 3), np.float32)
    rotvec[:, :22] = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 22, 3)
    motion = still(len(matrices), rotvec=rotvec, root_translation_m=data["trans"][frames])
    lowest = load_human(detail="low").vertices(motion)[..., 1].min(1)
    assert abs(np.median(lowest)) < 0.02


# --- the user's SMPL-X file


def random_motion(seed: int = 1, frames: int = 3) -> BodyMotion:
    rng = np.random.default_rng(seed)
    return still(
        frames,
        rotvec=rng.normal(0, 0.5, (frames, 55, 3)).astype(np.float32),
        root_translation_m=rng.normal(0, 1, (frames, 3)).astype(np.float32),
        betas=rng.normal(0, 1, 10).astype(np.float32),
        expression=rng.normal(0, 1, (frames, 10)).astype(np.float32),
    )


def test_our_formula_is_that_of_body_models(tmp_path):
    """A made-up SMPL-X file without pose correctives, as `body-models` poses it and as a SkinnedBody does."""
    from body_models.smplx.numpy import SMPLX

    arrays = smplx_arrays()
    arrays["posedirs"] = np.zeros_like(arrays["posedirs"])
    regressed = np.einsum("jv,vdk->jdk", arrays["J_regressor"], arrays["shapedirs"])
    joint_template = arrays["J_regressor"] @ arrays["v_template"]
    ours = SkinnedBody(
        category="human",
        name="made up",
        joint_template=joint_template.astype(np.float32),
        joint_shape_dirs=regressed[..., :10].astype(np.float32),
        template=arrays["v_template"].astype(np.float32),
        shape_dirs=arrays["shapedirs"][..., :10].astype(np.float32),
        expression_dirs=arrays["shapedirs"][..., 300:310].astype(np.float32),
        weights=arrays["weights"].astype(np.float32),
        weight_joints=np.tile(np.arange(55, dtype=np.int32), (200, 1)),
        faces=arrays["f"].astype(np.int32),
        vertex_parts=np.ones(200, np.uint8),
    )
    motion = random_motion()
    # In SMPL-X expressions move the joints by a trifle, which a SkinnedBody leaves out.
    motion = still(3, rotvec=motion.rotvec, root_translation_m=motion.root_translation_m, betas=motion.betas)
    theirs = SMPLX(model_path=save(tmp_path / "smplx.npz", arrays), flat_hand_mean=True).forward_vertices(
        pelvis_rotation=motion.rotvec[:, 0],
        body_pose=motion.rotvec[:, 1:22],
        head_pose=motion.rotvec[:, 22:25],
        hand_pose=motion.rotvec[:, 25:],
        shape=np.repeat(motion.betas[None], 3, 0),
        expression=motion.expression,
        global_translation=motion.root_translation_m - ours.rest_joints(motion.betas)[0],
    )
    np.testing.assert_allclose(ours.vertices(motion), theirs, atol=2e-5)
    np.testing.assert_allclose(load_human(tmp_path / "smplx.npz").vertices(motion), theirs, atol=2e-5)


def test_an_smplx_file_gives_a_body_of_our_conventions(tmp_path):
    arrays = smplx_arrays()
    body = load_body("human", save(tmp_path / "SMPLX_MADE_UP.npz", arrays))
    motion = random_motion(frames=70)  # more frames than are posed at a time
    vertices = body.vertices(motion)
    assert (body.category, body.name) == ("human", "SMPLX_MADE_UP")
    assert vertices.dtype == np.float32
    assert vertices.shape == (70, 200, 3)
    np.testing.assert_array_equal(body.faces, arrays["f"])
    regressed = np.einsum("jv,vdk,k->jd", arrays["J_regressor"], arrays["shapedirs"][..., :10], motion.betas)
    rest = arrays["J_regressor"] @ arrays["v_template"] + regressed
    np.testing.assert_allclose(body.rest_joints(motion.betas), rest, atol=1e-5)
    np.testing.assert_allclose(vertices[64:], body.vertices(motion[64:]), atol=1e-6)
    rigid = still(root_translation_m=np.float32([[1, 2, 3]]), betas=motion.betas)
    shaped = arrays["v_template"] + arrays["shapedirs"][..., :10] @ motion.betas
    np.testing.assert_allclose(body.vertices(rigid)[0], shaped - rest[0] + [1, 2, 3], atol=1e-5)
    votes = np.zeros((200, 18))
    for joint, part in enumerate(JOINT_PARTS["human"]):
        votes[:, part] += arrays["weights"][:, joint]
    np.testing.assert_array_equal(body.vertex_parts, votes.argmax(1))


def test_an_early_smplx_file_has_ten_shapes_and_ten_expressions(tmp_path):
    early = smplx_arrays(directions=20)
    late = smplx_arrays(directions=400)
    late["shapedirs"] = np.zeros_like(late["shapedirs"])
    late["shapedirs"][..., :10] = early["shapedirs"][..., :10]
    late["shapedirs"][..., 300:310] = early["shapedirs"][..., 10:]
    late |= {key: early[key] for key in late if key != "shapedirs"}
    motion = random_motion()
    a, b = (load_human(save(tmp_path / f"{k}.npz", arrays)) for k, arrays in enumerate((early, late)))
    np.testing.assert_array_equal(a.vertices(motion), b.vertices(motion))


class Hostile:
    """What a pickle can do."""

    ran = False

    def __reduce__(self):
        return setattr, (Hostile, "ran", True)


def test_nothing_in_the_file_is_unpickled(tmp_path):
    arrays = smplx_arrays()
    load_human(save(tmp_path / "other.npz", arrays | {"joint2num": np.array(Hostile(), object)}))
    with pytest.raises(InputError, match="pickled"):
        load_human(save(tmp_path / "needed.npz", arrays | {"weights": np.array(Hostile(), object)}))
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError):
        load_human(tmp_path / "bare.npz")
    assert not Hostile.ran


BROKEN = {
    "missing": lambda a: a.pop("posedirs") is None,
    "another tree": lambda a: a["kintree_table"].__setitem__((0, 5), 1),
    "another body": lambda a: a.update(weights=a["weights"][:, :24]),
    "not finite": lambda a: a["v_template"].__setitem__((3, 1), np.nan),
    "faces beyond": lambda a: a["f"].__setitem__((0, 0), 10**6),
    "strings": lambda a: a.update(v_template=np.array(["a"])),
    "scalar": lambda a: a.update(shapedirs=np.float32(1)),
    "too few directions": lambda a: a.update(shapedirs=a["shapedirs"][..., :5]),
}


@pytest.mark.parametrize("breakage", BROKEN)
def test_a_file_that_is_no_smplx_body_says_why(tmp_path, breakage):
    arrays = smplx_arrays()
    BROKEN[breakage](arrays)
    file = save(tmp_path / "broken.npz", arrays)
    with pytest.raises(InputError) as error:
        load_human(file)
    assert str(file) in str(error.value)
    assert error.value.problem
    assert error.value.expected


def test_files_that_are_not_what_their_name_says(tmp_path):
    whole = save(tmp_path / "whole.npz", smplx_arrays()).read_bytes()
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.npz").write_bytes(whole[:20_000] + bytes(5000) + whole[25_000:])
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("empty.npz", "text.npz", "cut.npz", "damaged.npz", "array.npy", "none.npz", "."):
        with pytest.raises(InputError, match="SMPL-X"):
            load_human(tmp_path / name)
