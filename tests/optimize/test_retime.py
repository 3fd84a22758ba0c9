"""Scenes at another number of frames."""

import numpy as np

from kinema.camera import make_cameras
from kinema.motion_io import load_motion
from kinema.optimize.retime import at_frames, lengthen_scene, stretch_scene
from kinema.types import ObjectMotion, Scene, Subject


def a_scene(frames=8):
    motion = load_motion("examples/punch.npz")[:frames]
    points = np.random.default_rng(0).normal(size=(frames, 21, 3)).astype(np.float32)
    cameras = make_cameras("orbit", points, (128, 128), 0.3, motion.fps)
    ball = ObjectMotion(points, motion.fps, np.ones(frames, bool))
    return Scene((Subject(0, "a man", "", motion), Subject(1, "a ball", "", ball)), cameras)


def test_stretching_keeps_the_first_and_the_last_frame():
    scene = a_scene()
    long = stretch_scene(scene, 16, 8.0)
    for k in (0, -1):
        before, after = scene.subjects[0].motion, long.subjects[0].motion
        assert np.allclose(before.rotvec[k], after.rotvec[k], atol=1e-5)
        assert np.allclose(before.root_translation_m[k], after.root_translation_m[k], atol=1e-5)
        assert np.allclose(scene.subjects[1].motion.points_m[k], long.subjects[1].motion.points_m[k], atol=1e-5)
        assert np.allclose(scene.cameras.K[k], long.cameras.K[k], atol=1e-4)
        assert np.allclose(scene.cameras.T_camera_world[k], long.cameras.T_camera_world[k], atol=1e-4)
    assert len(long.cameras.K) == len(long.subjects[0].motion) == len(long.subjects[1].motion.points_m) == 16
    assert long.subjects[0].motion.fps == long.subjects[1].motion.fps == 8.0


def test_cameras_between_turn_evenly_and_stay_rigid():
    long = stretch_scene(a_scene(), 15, 8.0)
    R = long.cameras.T_camera_world[:, :3, :3]
    assert np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < 1e-5
    steps = np.einsum("tij,tij->t", R[1:], R[:-1])
    assert np.ptp(steps) < 1e-3


def test_lengthening_leaves_the_given_frames_where_they_were_when_cut():
    scene = a_scene()
    short = lengthen_scene(scene, 5)
    assert np.array_equal(short.subjects[0].motion.rotvec, scene.subjects[0].motion.rotvec[:5])
    assert len(short.subjects[1].motion.points_m) == len(short.cameras.K) == 5
    assert lengthen_scene(scene, 8) is scene


def test_lengthening_goes_on_moving_with_a_camera_that_stays():
    long = lengthen_scene(a_scene(), 40)
    assert len(long.subjects[0].motion) == len(long.cameras.K) == len(long.subjects[1].motion.points_m) == 40
    assert np.abs(np.diff(long.subjects[0].motion.rotvec[20:], axis=0)).max() > 1e-3
    assert np.array_equal(long.cameras.K[8], long.cameras.K[-1])


def test_one_frame_becomes_many():
    still = stretch_scene(lengthen_scene(a_scene(), 2), 2, 8.0)
    one = Scene(
        (Subject(0, "a man", "", still.subjects[0].motion[:1]),),
        type(still.cameras)(still.cameras.K[:1], still.cameras.T_camera_world[:1], (128, 128)),
    )
    many = stretch_scene(one, 6, 8.0)
    assert len(many.subjects[0].motion) == len(many.cameras.K) == 6


def test_chosen_frames_come_in_the_order_asked():
    scene = a_scene()
    some = at_frames(scene, np.array([0, 5, 5, 2]))
    assert np.array_equal(some.subjects[0].motion.rotvec, scene.subjects[0].motion.rotvec[[0, 5, 5, 2]])
    assert np.array_equal(some.subjects[1].motion.points_m, scene.subjects[1].motion.points_m[[0, 5, 5, 2]])
    assert np.array_equal(some.cameras.T_camera_world, scene.cameras.T_camera_world[[0, 5, 5, 2]])
