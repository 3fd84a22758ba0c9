"""Hands of a file on the bodies of a scene: round trips from known SMPL-X motions, and what is refused."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinema.body.model import joints
from kinema.body.skeleton import HUMAN_PARENTS
from kinema.camera import project
from kinema.errors import InputError
from kinema.extract.hands import FINGER_JOINTS, FIRST_FINGER, KNUCKLES, WRIST, load_hands, with_hands
from kinema.types import BodyMotion, Scene, Subject
from tests.extract.scenes import cameras_for, walker

FLIP = np.array([-1.0, 1.0, 1.0])


def gesturing() -> BodyMotion:
    """A walker whose wrists turn and whose fingers bend."""
    still, rng = walker(6), np.random.default_rng(0)
    rotvec = still.rotvec.copy()
    rotvec[:, [20, 21]] = rng.normal(0, 0.3, (1, 2, 3))
    rotvec[:, 25:55] = rng.normal(0, 0.25, (6, 30, 3))
    return BodyMotion("human", rotvec, still.root_translation_m, still.betas, still.fps)


def as_hamer(motion: BodyMotion, cameras, mirrored: bool = True) -> dict[str, np.ndarray]:
    """Both hands of all frames as HaMeR would give them without error."""
    points = project(joints(motion), cameras)[0]
    rows = {name: [] for name in ("frame", "is_right", "hand_pose", "global_orient", "keypoints_2d")}
    for t in range(len(motion)):
        for right in (False, True):
            joint, first, above = WRIST[right], FIRST_FINGER[right], Rotation.identity()
            chain = [joint]
            while HUMAN_PARENTS[chain[-1]] >= 0:
                chain.append(int(HUMAN_PARENTS[chain[-1]]))
            for j in reversed(chain):
                above = above * Rotation.from_rotvec(motion.rotvec[t, j])
            wrist = cameras.T_camera_world[t, :3, :3] @ above.as_matrix()
            fingers = Rotation.from_rotvec(motion.rotvec[t, first : first + FINGER_JOINTS]).as_matrix()
            if mirrored and not right:
                wrist, fingers = (m * (FLIP[:, None] * FLIP) for m in (wrist, fingers))
            seen = np.zeros((21, 2))
            seen[[0, *KNUCKLES]] = points[t, [joint, *range(first, first + FINGER_JOINTS, 3)]]
            for name, value in zip(rows, (t, right, fingers, wrist, seen), strict=True):
                rows[name].append(value)
    return {name: np.array(value) for name, value in rows.items()}


@pytest.fixture(scope="module")
def known():
    truth = gesturing()
    cameras = cameras_for([truth])
    bare = truth.rotvec.copy()
    bare[:, 20:] = 0
    body = BodyMotion("human", bare, truth.root_translation_m, truth.betas, truth.fps)
    return truth, Scene((Subject(0, "a person", "", body),), cameras), as_hamer(truth, cameras)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_hands_come_back_as_they_were(known, tmp_path, suffix):
    truth, scene, arrays = known
    path = tmp_path / f"hands{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_text(json.dumps({name: value.tolist() for name, value in arrays.items()}))
    motion = with_hands(scene, load_hands(path)).subjects[0].motion
    assert isinstance(motion, BodyMotion)
    turn = Rotation.from_rotvec(motion.rotvec.reshape(-1, 3)) * Rotation.from_rotvec(truth.rotvec.reshape(-1, 3)).inv()
    off = turn.magnitude().reshape(len(truth), -1)
    assert off[:, 25:].max() < 1e-4
    assert off[:, [20, 21]].max() < 0.02
    assert motion.confidence[:, 25:].min() > 0.95


def test_hands_that_lie_elsewhere_are_left_out(known, tmp_path):
    _, scene, arrays = known
    np.savez(tmp_path / "far.npz", **{**arrays, "keypoints_2d": arrays["keypoints_2d"] + 40})
    motion, given = with_hands(scene, load_hands(tmp_path / "far.npz")).subjects[0].motion, scene.subjects[0].motion
    assert isinstance(motion, BodyMotion)
    assert isinstance(given, BodyMotion)
    assert np.array_equal(motion.rotvec, given.rotvec)


def test_a_hand_that_half_agrees_counts_half_and_gaps_are_bridged(known, tmp_path):
    truth, scene, arrays = known
    some = np.isin(arrays["frame"], (0, 5)) & arrays["is_right"]
    kept = {name: value[some] for name, value in arrays.items()}
    kept["keypoints_2d"] = kept["keypoints_2d"] + np.array([2.0, 0.0])
    np.savez(tmp_path / "few.npz", **kept)
    motion = with_hands(scene, load_hands(tmp_path / "few.npz")).subjects[0].motion
    assert isinstance(motion, BodyMotion)
    assert 0.1 < motion.confidence[0, 40] < 0.95
    assert motion.confidence[2, 40] == 0
    between = (3 * truth.rotvec[0, 40:] + 2 * truth.rotvec[5, 40:]) / 5
    assert np.abs(motion.rotvec[2, 40:] - between).max() < 1e-4
    assert not motion.rotvec[:, 25:40].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hand_pose": np.zeros((12, 14, 3))}, "12 hands of 15"),
        ({"global_orient": np.ones((12, 3, 3))}, "no rotations"),
        ({"keypoints_2d": np.zeros((12, 20, 2))}, "21, 2"),
        ({"is_right": np.zeros(3)}, "one a hand"),
        ({"frame": np.zeros(0)}, "no frame"),
    ],
)
def test_files_that_do_not_fit_are_refused(known, tmp_path, change, words):
    np.savez(tmp_path / "bad.npz", **{**known[2], **change})
    with pytest.raises(InputError, match=words):
        load_hands(tmp_path / "bad.npz")


def test_hands_of_frames_that_are_not_there_are_refused(known, tmp_path):
    _, scene, arrays = known
    np.savez(tmp_path / "late.npz", **{**arrays, "frame": arrays["frame"] + 3})
    with pytest.raises(InputError, match="0 to 5"):
        with_hands(scene, load_hands(tmp_path / "late.npz"))
    np.savez(tmp_path / "pickled.npz", frame=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="never loaded"):
        load_hands(tmp_path / "pickled.npz")
    with pytest.raises(InputError, match="by its name"):
        load_hands(tmp_path / "hands.pkl")
