"""Scenes to files and back, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.motion_io import load_motion
from kinema.motion_io.scene import load_scene, save_scene
from kinema.stages import digest
from kinema.types import Cameras, ObjectMotion, Scene, Subject


def a_scene():
    motion = load_motion("examples/punch.npz")[:4]
    ball = ObjectMotion(
        np.random.default_rng(0).normal(size=(4, 21, 3)).astype(np.float32), motion.fps, np.ones(4, bool)
    )
    cameras = Cameras(
        np.tile(np.eye(3, dtype=np.float32), (4, 1, 1)), np.tile(np.eye(4, dtype=np.float32), (4, 1, 1)), (96, 128)
    )
    return Scene((Subject(0, "a man", "in red", motion), Subject(1, "a ball", "", ball)), cameras, "he punches", 0.4)


def test_what_is_read_is_what_was_written_to_the_bit(tmp_path):
    scene = a_scene()
    save_scene(scene, tmp_path / "scene.npz")
    assert digest(load_scene(tmp_path / "scene.npz")) == digest(scene)
    save_scene(replace(scene, motion_strength=None), tmp_path / "scene.npz")
    assert load_scene(tmp_path / "scene.npz").motion_strength is None


def test_an_edit_shows(tmp_path):
    save_scene(a_scene(), tmp_path / "scene.npz")
    arrays = dict(np.load(tmp_path / "scene.npz"))
    arrays["0.rotvec"][2, 16] += 0.5
    np.savez(tmp_path / "edited.npz", **arrays)
    edited = load_scene(tmp_path / "edited.npz")
    difference = edited.subjects[0].motion.rotvec - a_scene().subjects[0].motion.rotvec
    assert difference[2, 16] == pytest.approx(0.5, abs=1e-6)
    assert np.abs(difference).sum() == pytest.approx(1.5, abs=1e-5)


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(InputError, match="missing"):
        load_scene(tmp_path / "other.npz")
