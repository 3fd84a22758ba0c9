"""BVH of every naming scheme, pose and axis convention -> our layout, against the motion it was made from."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import NAMES, Z_UP_FACING_MINUS_Y, angles_deg, body_motion, global_rotations, rig_motion, write_rig

from kinema.body.model import joints
from kinema.body.skeleton import BODY_JOINTS, HUMAN_JOINTS
from kinema.errors import InputError
from kinema.motion_io import load_motion, save_motion
from kinema.motion_io.bvh import read_bvh, write_bvh

KNOWN = ("cmu", "daz", "mixamo", "lafan", "blender", "smpl")


def assert_same_motion(loaded, made, joints_mm=1.0, degrees=0.1):
    assert (loaded.category, loaded.fps) == (made.category, made.fps)
    assert np.abs(joints(loaded) - joints(made)).max() * 1000 < joints_mm
    assert angles_deg(global_rotations(loaded), global_rotations(made)).max() < degrees


@pytest.mark.parametrize("scheme", KNOWN)
def test_every_scheme_gives_the_motion_back(tmp_path, scheme):
    made = rig_motion(scheme)
    assert_same_motion(load_motion(write_rig(tmp_path / "rig.bvh", made, scheme)), made)


@pytest.mark.parametrize("arms", ["A", "N"])
@pytest.mark.parametrize("scheme", ["mixamo", "blender"])
def test_the_arms_of_the_zero_pose_do_not_matter(tmp_path, scheme, arms):
    made = rig_motion(scheme)
    assert_same_motion(load_motion(write_rig(tmp_path / "rig.bvh", made, scheme, arms)), made)


def test_z_up_rigs_that_face_minus_y(tmp_path):
    made = rig_motion("blender")
    rig = write_rig(tmp_path / "rig.bvh", made, "blender", "A", Z_UP_FACING_MINUS_Y, unit=1)
    assert_same_motion(load_motion(rig), made)


@pytest.mark.parametrize(
    ("unit", "name"), [(1, "metres"), (100, "centimetres"), (1000, "millimetres"), (39.37, "inches"), (17.72, "CMU")]
)
def test_units_are_guessed_from_the_legs_and_stated(tmp_path, caplog, unit, name):
    made = rig_motion("mixamo")
    with caplog.at_level(logging.INFO):
        loaded = load_motion(write_rig(tmp_path / "rig.bvh", made, "mixamo", unit=unit))
    assert f"read as {name}" in caplog.text
    assert_same_motion(loaded, made)


def test_a_rig_that_rests_y_up_and_moves_z_up_is_set_upright(tmp_path):
    made = rig_motion("mixamo")
    path = write_rig(tmp_path / "rig.bvh", made, "mixamo")
    lines = path.read_text().splitlines()
    first = lines.index("MOTION") + 3
    up = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    from scipy.spatial.transform import Rotation

    for k in range(first, len(lines)):
        values = np.array(lines[k].split(), float)
        values[:3] = up @ values[:3]
        root = up @ Rotation.from_euler("YZX", values[3:6], degrees=True).as_matrix()
        values[3:6] = Rotation.from_matrix(root).as_euler("YZX", degrees=True)
        lines[k] = " ".join(f"{v:.7f}" for v in values)
    path.write_text("\n".join(lines))
    assert_same_motion(load_motion(path), made)


def test_joints_that_the_rig_lacks_are_not_trusted(tmp_path):
    loaded = load_motion(write_rig(tmp_path / "rig.bvh", rig_motion("lafan"), "lafan"))
    assert (loaded.confidence[:, : len(BODY_JOINTS)] == 1).all()
    assert (loaded.confidence[:, len(BODY_JOINTS) :] == 0).all()


@pytest.mark.parametrize("as_file", [True, False])
def test_a_mapping_reads_any_rig(tmp_path, as_file):
    made = rig_motion("mixamo")
    rig = write_rig(tmp_path / "rig.bvh", made, "unknown")
    mapping = dict(zip(NAMES["unknown"].split(), BODY_JOINTS, strict=True))
    if as_file:
        (tmp_path / "map.json").write_text(json.dumps(mapping))
    assert_same_motion(load_motion(rig, tmp_path / "map.json" if as_file else mapping), made)


def test_an_unknown_rig_is_refused_with_the_nearest_names(tmp_path):
    rig = write_rig(tmp_path / "rig.bvh", rig_motion("mixamo"), "mixamo")
    rig.write_text(rig.read_text().replace("mixamorig:LeftForeArm", "mixamorig:LeftFourArm"))
    with pytest.raises(InputError, match="no known naming scheme") as raised:
        load_motion(rig)
    assert "left_elbow" in raised.value.problem
    assert "mapping" in raised.value.mend


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"kopff": "head"}, "'kopf'"),
        ({"kopf": "haed"}, "'head'"),
        ({"kopf": "head", "nacken": "head"}, "two joints"),
        ({"kopf": "head"}, "pelvis"),
    ],
)
def test_a_wrong_mapping_is_refused_with_the_nearest_name(tmp_path, mapping, text):
    rig = write_rig(tmp_path / "rig.bvh", rig_motion("mixamo"), "unknown")
    with pytest.raises(InputError, match=text):
        load_motion(rig, mapping)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', '"text"'])
def test_a_broken_mapping_file_is_refused(tmp_path, content):
    rig = write_rig(tmp_path / "rig.bvh", rig_motion("mixamo"), "unknown")
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(InputError, match="map"):
        load_motion(rig, tmp_path / "map.json")


def test_a_mapping_file_that_is_not_there_is_named_once(tmp_path):
    rig = write_rig(tmp_path / "rig.bvh", rig_motion("mixamo")[:2], "mixamo")
    with pytest.raises(InputError) as raised:
        load_motion(rig, tmp_path / "gone.json")
    assert str(raised.value).startswith(f"{tmp_path / 'gone.json'}: does not exist")


@pytest.mark.parametrize("scheme", ["mixamo", "lafan", "blender"])
def test_left_handed_files_are_refused(tmp_path, scheme):
    mirrored = np.diag([-1.0, 1, 1]) if scheme != "lafan" else np.diag([1.0, 1, -1])
    made = rig_motion(scheme)
    rig = write_rig(tmp_path / "rig.bvh", made, scheme)
    lines = rig.read_text().splitlines()
    for k, line in enumerate(lines):
        if line.startswith("OFFSET"):
            offset = mirrored @ np.array(line.split()[1:], float)
            lines[k] = "OFFSET {} {} {}".format(*offset)
    rig.write_text("\n".join(lines))
    with pytest.raises(InputError, match="left-handed") as raised:
        load_motion(rig)
    assert "mirror" in raised.value.mend


def test_a_zero_pose_that_does_not_stand_is_refused(tmp_path):
    rig = write_rig(tmp_path / "rig.bvh", rig_motion("mixamo"), "mixamo")
    lines = rig.read_text().splitlines()
    for name in ("LeftLeg", "RightLeg", "LeftFoot", "RightFoot"):
        lines[lines.index(f"JOINT mixamorig:{name}") + 2] = "OFFSET 0 0 40"
    rig.write_text("\n".join(lines))
    with pytest.raises(InputError, match="not a person standing"):
        load_motion(rig)


@settings(max_examples=8)
@given(st.integers(0, 10_000), st.sampled_from([20.0, 29.97, 30.0, 120.0]))
def test_our_own_bvh_gives_everything_back(tmp_path_factory, seed, fps):
    made = body_motion(frames=5, seed=seed, fps=fps)
    path = tmp_path_factory.mktemp("own") / "motion.bvh"
    save_motion(made, path)
    assert_same_motion(load_motion(path), made, joints_mm=0.05, degrees=0.01)


@pytest.mark.parametrize("centimetres_per_unit", [0.01, 10.0, 1 / 2.54])
def test_our_own_skeleton_is_known_in_any_unit(tmp_path, centimetres_per_unit):
    made = body_motion(frames=3)
    save_motion(made, tmp_path / "cm.bvh")
    write_bvh(read_bvh(tmp_path / "cm.bvh"), tmp_path / "unit.bvh", centimetres_per_unit)
    loaded = load_motion(tmp_path / "unit.bvh")
    assert_same_motion(loaded, made)
    assert np.abs(loaded.betas - made.betas).max() < 0.2


@pytest.mark.parametrize("rotvec", [(np.pi / 2, 0, 0), (-np.pi / 2, 0, 0), (np.pi, 0, 0), (0, np.pi, 0), (0, 0, 0)])
def test_our_own_bvh_at_the_edges_of_euler_angles(tmp_path, rotvec):
    made = body_motion(frames=3)
    made.rotvec[:] = np.float32(rotvec)
    save_motion(made, tmp_path / "edge.bvh")
    assert_same_motion(load_motion(tmp_path / "edge.bvh"), made)


def test_animals_go_through_bvh(tmp_path):
    made = body_motion(frames=4, category="animal")
    save_motion(made, tmp_path / "dog.bvh")
    assert_same_motion(load_motion(tmp_path / "dog.bvh"), made, joints_mm=0.05, degrees=0.01)


def test_another_animal_is_refused(tmp_path):
    save_motion(body_motion(frames=2, category="animal"), tmp_path / "dog.bvh")
    text = (tmp_path / "dog.bvh").read_text().splitlines()
    text[text.index(next(line for line in text if "JOINT" in line and "neck" in line)) + 2] = "OFFSET 90 0 0"
    (tmp_path / "dog.bvh").write_text("\n".join(text))
    with pytest.raises(InputError, match="animal"):
        load_motion(tmp_path / "dog.bvh")


@pytest.mark.parametrize("scheme", ["mixamo", "cmu"])
def test_foreign_to_ours_and_back_is_stable(tmp_path, scheme):
    first = load_motion(write_rig(tmp_path / "rig.bvh", rig_motion(scheme), scheme, "T"))
    save_motion(first, tmp_path / "ours.bvh")
    assert_same_motion(load_motion(tmp_path / "ours.bvh"), first, joints_mm=0.05, degrees=0.01)


def test_names_are_those_of_the_layout(tmp_path):
    save_motion(body_motion(frames=1), tmp_path / "m.bvh")
    words = (tmp_path / "m.bvh").read_text().split()
    assert {words[k + 1] for k, word in enumerate(words) if word in ("ROOT", "JOINT")} == set(HUMAN_JOINTS)
