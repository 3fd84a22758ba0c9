"""AMASS / SMPL-X parameters: widths, axes, exactness, and the key of every fault."""

from __future__ import annotations

import io
import json
import logging
import pickle
import zipfile

import numpy as np
import pytest
from rigs import body_motion
from scipy.spatial.transform import Rotation

from kinema.body.model import joints, load_body
from kinema.errors import InputError
from kinema.motion_io import load_motion, save_motion
from kinema.motion_io.capture import load_capture


def amass(frames: int = 6, width: int = 165, **changes) -> dict[str, np.ndarray]:
    """A file as AMASS has them, z up; `changes` replace keys, None leaves one out."""
    motion = body_motion(frames)
    standing = Rotation.from_euler("x", 90, degrees=True)
    poses = motion.rotvec.reshape(frames, -1).astype(np.float64)[:, :width]
    poses[:, :3] = (standing * Rotation.from_rotvec(poses[:, :3])).as_rotvec()
    arrays = {
        "poses": poses,
        "trans": np.tile([1.0, 2.0, 0.9], (frames, 1)),
        "betas": np.linspace(-1, 1, 16),
        "mocap_frame_rate": np.array(120.0),
        "gender": np.array("neutral"),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def written(tmp_path, arrays):
    np.savez(tmp_path / "m.npz", **arrays)
    return tmp_path / "m.npz"


@pytest.mark.parametrize("category", ["human", "animal"])
def test_what_is_saved_is_loaded_to_the_last_bit(tmp_path, category):
    import dataclasses

    rng = np.random.default_rng(1)
    made = body_motion(9, seed=3, category=category, fps=29.97)
    made = dataclasses.replace(
        made,
        root_translation_m=rng.normal(0, 10, (9, 3)).astype(np.float32),
        expression=rng.normal(size=(9, 10)).astype(np.float32),
        valid=rng.random(9) < 0.5,
        confidence=rng.random(made.rotvec.shape[:2]).astype(np.float32),
    )
    save_motion(made, tmp_path / "m.npz")
    again = load_motion(tmp_path / "m.npz")
    for field in dataclasses.fields(made):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(made, field.name))


def test_amass_is_turned_to_y_up(tmp_path):
    loaded = load_motion(written(tmp_path, amass()))
    head = joints(loaded)[:, 15] - joints(loaded)[:, 0]
    assert (head[:, 1] > 0.4).all()
    betas = np.linspace(-1, 1, 16)[:10].astype(np.float32)
    pelvis = load_body("human", detail="low").rest_joints(betas)[0] + [1, 2, 0.9]
    np.testing.assert_allclose(loaded.root_translation_m[0], pelvis[[0, 2, 1]] * [1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(loaded.rotvec, body_motion(6).rotvec, atol=1e-5)
    assert loaded.fps == 120
    np.testing.assert_array_equal(loaded.betas, betas)


def test_betas_of_another_body_are_warned_of(tmp_path, caplog):
    load_motion(written(tmp_path, amass()))
    assert "betas are SMPL-X's" in caplog.text
    caplog.clear()
    load_motion(written(tmp_path, amass(betas=np.zeros(16))))
    save_motion(body_motion(2), tmp_path / "ours.npz")
    load_motion(tmp_path / "ours.npz")
    assert "betas" not in caplog.text


def test_the_up_axis_that_a_file_states_is_taken(tmp_path):
    loaded = load_motion(written(tmp_path, amass(up_axis=np.array("y"))))
    head = joints(loaded)[0, 15] - joints(loaded)[0, 0]
    assert head[2] > 0.4


def test_a_clip_in_which_nobody_stands_warns(tmp_path, caplog):
    poses = np.zeros((4, 165))
    poses[:, 2] = np.pi / 2
    with caplog.at_level(logging.WARNING):
        load_motion(written(tmp_path, amass(4, poses=poses)))
    assert "up_axis" in caplog.text


@pytest.mark.parametrize("width", [66, 72, 156, 165])
def test_every_width_lands_on_its_joints(tmp_path, width):
    values = amass(3, width=165)["poses"]
    full = load_motion(written(tmp_path, amass(3))).rotvec
    without_face = np.concatenate([values[:, :66], values[:, 75:]], 1)
    poses = without_face if width == 156 else values[:, :width]
    loaded = load_motion(written(tmp_path, amass(3, poses=poses)))
    seen = {66: range(22), 72: range(22), 156: [*range(22), *range(25, 55)], 165: range(55)}[width]
    np.testing.assert_allclose(loaded.rotvec[:, list(seen)], full[:, list(seen)], atol=1e-6)
    rest = sorted(set(range(55)) - set(seen))
    assert not loaded.rotvec[:, rest].any()
    assert not loaded.confidence[:, rest].any()
    assert (loaded.confidence[:, list(seen)] == 1).all()


def test_split_keys_and_triples_are_read(tmp_path):
    whole = amass()
    poses = whole["poses"]
    parts = {
        "root_orient": poses[:, :3],
        "pose_body": poses[:, 3:66],
        "pose_jaw": poses[:, 66:69],
        "pose_eye": poses[:, 69:75],
        "pose_hand": poses[:, 75:],
    }
    expected = load_motion(written(tmp_path, whole)).rotvec
    split = load_motion(written(tmp_path, amass(poses=None, **parts)))
    triples = load_motion(written(tmp_path, amass(poses=poses.reshape(-1, 55, 3))))
    np.testing.assert_array_equal(split.rotvec, expected)
    np.testing.assert_array_equal(triples.rotvec, expected)


@pytest.mark.parametrize("key", ["mocap_frame_rate", "mocap_framerate", "fps"])
def test_every_name_of_the_frame_rate(tmp_path, key):
    assert load_motion(written(tmp_path, amass(**{"mocap_frame_rate": None, key: np.array(25)}))).fps == 25


def _nan(shape, at):
    values = np.zeros(shape)
    values[at] = np.nan
    return values


FAULTS = {
    "poses missing": ({"poses": None}, "poses", "missing"),
    "trans missing": ({"trans": None}, "trans", "missing"),
    "rate missing": ({"mocap_frame_rate": None}, "mocap_frame_rate", "missing"),
    "rate of zero": ({"mocap_frame_rate": np.array(0)}, "mocap_frame_rate", "above 0"),
    "rate in words": ({"mocap_frame_rate": np.array("fast")}, "mocap_frame_rate", "numbers"),
    "rate of many": ({"mocap_frame_rate": np.ones(3)}, "mocap_frame_rate", "one number"),
    "rate not finite": ({"mocap_frame_rate": np.array(np.nan)}, "mocap_frame_rate", "nan"),
    "poses of 63": ({"poses": np.zeros((6, 63))}, "poses", "165"),
    "matrices": ({"poses": np.zeros((6, 22, 3, 3))}, "poses", "axis-angle"),
    "no frames": ({"poses": np.zeros((0, 165)), "trans": np.zeros((0, 3))}, "poses", "no frames"),
    "nan in poses": ({"poses": _nan((6, 165), (4, 7))}, "poses", "frame 4"),
    "nan in trans": ({"trans": _nan((6, 3), (2, 1))}, "trans", "frame 2"),
    "nan in betas": ({"betas": _nan(10, 3)}, "betas", "nan"),
    "endless trans": ({"trans": np.full((6, 3), 1e300)}, "trans", "1e+06"),
    "trans too short": ({"trans": np.zeros((5, 3))}, "trans", "(6, 3)"),
    "betas a frame": ({"betas": np.arange(60.0).reshape(6, 10)}, "betas", "one shape"),
    "up unknown": ({"up_axis": np.array("w")}, "up_axis", "'y' or 'z'"),
    "category wrong": ({"category": np.array("animal")}, "category", "human"),
    "confidence of another length": ({"confidence": np.ones((5, 55))}, "confidence", "(6, 55)"),
    "confidence beyond 1": ({"confidence": np.full((6, 55), 2.0)}, "confidence", "0 (not known) to 1 (certain)"),
    "valid nowhere": ({"valid": np.zeros(6, bool)}, "valid", "0 in every frame"),
    "complex poses": ({"poses": np.zeros((6, 165), complex)}, "poses", "numbers"),
    "a pickled object": ({"betas": np.array([{}], object)}, "m.npz", "never loaded"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_its_key(tmp_path, fault):
    changes, key, text = FAULTS[fault]
    with pytest.raises(InputError) as raised:
        load_motion(written(tmp_path, amass(**changes)))
    assert raised.value.where.count("m.npz") == 1
    assert key in raised.value.where
    assert text in str(raised.value)


def test_objects_that_nobody_asks_for_are_passed_over_unread(tmp_path):
    """AMASS's SMPL-X files keep tables of their markers so."""

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was executed",))

    vids = np.array({"C7": Trap()}, object)
    path = tmp_path / "m.npz"
    np.savez(path, allow_pickle=True, markers_latent_vids=vids, **amass())
    assert len(load_motion(path)) == 6


def test_a_near_miss_of_a_key_is_named(tmp_path):
    with pytest.raises(InputError, match="'transl'"):
        load_motion(written(tmp_path, amass(trans=None, transl=np.zeros((6, 3)))))


def _zip(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty"),
        (b"hello", "text"),
        (b"HIERARCHY\nROOT hips\n", "BVH"),
        (pickle.dumps({"poses": 1}), "pickle"),
        (_npy(), "npy"),
        (_zip("report.txt", b"hello"), "other files"),
        (_zip("poses.npy", b"hello"), "m.npz"),
        (_zip("poses.npy", _npy())[:-30], "damaged"),
        (b"PK\x03\x04nonsense", "damaged"),
        (b"glTF\x02\0\0\0", "glTF"),
        (b"\x89PNG\r\n\x1a\n\0", "PNG picture"),
        (b"\0\0\0\x20ftypisom\0", "video"),
        (bytes(range(200, 256)), "m.npz"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path, content, text):
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(InputError, match=text):
        load_motion(tmp_path / "m.npz")


def capture(**changes) -> dict[str, np.ndarray]:
    arrays = {
        "rot6d": np.tile(np.float16([1, 0, 0, 0, 1, 0]), (7, 22, 1)),
        "trans": np.arange(21, dtype=np.float32).reshape(7, 3),
        "start": np.array([0, 3, 7]),
        "fps": np.int32(20),
        "name": np.array(["a", "b"]),
        "caption": np.array(["walk", "jump"]),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def test_captures_are_cut_into_clips(tmp_path):
    clips = load_capture(written(tmp_path, capture()))
    assert [(name, caption, len(motion)) for name, caption, motion in clips] == [("a", "walk", 3), ("b", "jump", 4)]
    np.testing.assert_array_equal(clips[1][2].root_translation_m[0], [9, 10, 11])
    assert not clips[0][2].rotvec.any()
    with pytest.raises(InputError, match="load_capture"):
        load_motion(tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"caption": None}, "caption"),
        ({"start": np.array([0, 3, 8])}, "start"),
        ({"start": np.array([0, 5, 5])}, "start"),
        ({"trans": np.zeros((6, 3), np.float32)}, "rot6d"),
        ({"rot6d": np.zeros((7, 21, 6), np.float16)}, "rot6d"),
    ],
)
def test_broken_captures_name_the_key(tmp_path, changes, key):
    changes = changes | ({"name": np.array(["a", "b"])} if "start" in changes else {})
    with pytest.raises(InputError) as raised:
        load_capture(written(tmp_path, capture(**changes)))
    assert key in raised.value.where


def test_real_captures_decode(shared_data):
    clips = load_capture(shared_data / "cmu_mocap" / "cmu_test.npz")
    lines = (shared_data / "cmu_mocap" / "cmu_clips.jsonl").read_text().splitlines()
    listed = {d["name"]: d for d in map(json.loads, lines)}
    for name, caption, motion in clips:
        assert (len(motion), caption) == (listed[name]["frames"], listed[name]["caption"])
    upright = np.median(np.concatenate([(joints(m)[:, 15] - joints(m)[:, 0]) for _, _, m in clips]), 0)
    assert upright[1] > 0.5
