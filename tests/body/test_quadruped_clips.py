"""Clips of other quadrupeds on the built-in one: rest stays rest, planted paws stay planted, bad files are told."""

import numpy as np
import pytest

from kinema.body.quadruped import LEGS, REST_FEET_M, REST_JOINTS_M, trunk_kinematics
from kinema.body.quadruped_clips import FOX_NAMES, load_quadruped_clips
from kinema.body.skeleton import ANIMAL_JOINTS
from kinema.errors import InputError
from kinema.geometry import rotvec_to_rotmat

FEET = [leg.foot for leg in LEGS]
IDENTITY_6D = np.array([1, 0, 0, 0, 1, 0], np.float16)


def write_fox(path, frames=30, size=2.0, **changed):
    """A fox of our own bones, `size` times as large: every source joint stands for one of ours."""
    ours = {names[-1]: joint for joint, names in FOX_NAMES.items()}
    names = sorted({n for ns in FOX_NAMES.values() for n in ns}, key=lambda n: (n != "Hips", n))
    place = {n: ANIMAL_JOINTS.index(ours.get(n, "spine3")) for n in names}
    place |= {"Hips": 0, "Spine_3": ANIMAL_JOINTS.index("neck")}
    offsets = size * (REST_JOINTS_M[[place[n] for n in names]] - REST_JOINTS_M[0])
    arrays = {
        "rot6d": np.tile(IDENTITY_6D, (frames, len(names), 1)),
        "trans": np.tile([0, size * REST_JOINTS_M[0, 1], 0], (frames, 1)).astype(np.float32),
        "start": np.array([0, frames]),
        "fps": np.int32(20),
        "name": np.array(["Idle"]),
        "caption": np.array(["fox: idle"]),
        "joints": np.array(names),
        "parents": np.array([-1] + [0] * (len(names) - 1)),
        "rest_offsets": offsets.astype(np.float32),
        "rest_height": np.float32(size * REST_JOINTS_M[0, 1]),
    }
    np.savez(path, **{key: value for key, value in (arrays | changed).items() if value is not None})
    return path


def world_joints(motion):
    return trunk_kinematics(rotvec_to_rotmat(motion.rotvec).astype(float), motion.root_translation_m.astype(float))[1]


def test_a_source_at_rest_becomes_our_rest(tmp_path):
    ((motion, caption),) = load_quadruped_clips(write_fox(tmp_path / "fox.npz"), least_frames=40)
    assert caption == "a fox stands still"
    assert len(motion) == 40
    joints = world_joints(motion) - [0, 0, REST_JOINTS_M[0, 2]]
    np.testing.assert_allclose(joints[:, FEET, 1], np.tile(REST_FEET_M[:, 1], (40, 1)), atol=1e-4)
    np.testing.assert_allclose(motion.rotvec[:, :25], 0, atol=2e-3)


def test_the_whole_body_turns_with_its_source(tmp_path):
    half_turn = np.tile(IDENTITY_6D, (30, len({n for ns in FOX_NAMES.values() for n in ns}), 1))
    half_turn[:, 0] = [0, 0, -1, 0, 1, 0]
    ((motion, _),) = load_quadruped_clips(write_fox(tmp_path / "fox.npz", rot6d=half_turn))
    np.testing.assert_allclose(motion.rotvec[:, 0], np.tile([0, np.pi / 2, 0], (64, 1)), atol=1e-3)


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"rot6d": None}, "rot6d"), ({"joints": np.array(["a"] * 36)}, "animal"), ({"start": np.array([0, 7])}, "rot6d")],
)
def test_files_that_are_not_right(tmp_path, changed, word):
    names = {n for ns in FOX_NAMES.values() for n in ns}
    if "joints" in changed:
        changed = {"joints": np.array([f"bone{k}" for k in range(len(names))])}
    with pytest.raises(InputError, match=word):
        load_quadruped_clips(write_fox(tmp_path / "fox.npz", **changed))


def test_files_that_are_no_clips(tmp_path):
    (tmp_path / "text.npz").write_text("not an archive")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(InputError):
            load_quadruped_clips(tmp_path / name)


@pytest.mark.parametrize("animal", ["fox", "horse"])
def test_hand_keyed_clips(animal, shared_data):
    path = shared_data / "quadruped_cc0" / f"{animal}.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the captures")
    clips = load_quadruped_clips(path)
    assert len(clips) == 13
    assert len({caption for _, caption in clips}) == 13
    for motion, caption in clips:
        assert len(motion) >= 64
        assert np.isfinite(motion.rotvec).all()
        assert world_joints(motion)[..., 1].min() > 0.01, caption
        if "walks" in caption or "runs" in caption or "trots" in caption:
            assert motion.root_translation_m[-1, 2] > 1.0
