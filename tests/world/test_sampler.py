"""The procedural world: seeded, its truth agrees with its pictures, and training and test worlds are apart."""

import numpy as np
import pytest

from kinema.body.model import joints, load_body
from kinema.body.skeleton import PARTS
from kinema.camera import project
from kinema.errors import InputError
from kinema.types import BodyMotion
from kinema.world.sampler import World
from world import shipped_world, some_clips


def test_equal_seeds_give_equal_clips_and_others_do_not():
    world = shipped_world()
    first, again, other = world.sample(3), world.sample(3), world.sample(4)
    assert np.array_equal(first.video.frames, again.video.frames)
    assert first.scene.prompt == again.scene.prompt
    assert not np.array_equal(first.video.frames, other.video.frames)


def test_a_clip_is_the_same_whatever_was_sampled_before_it():
    fresh = World(shipped_world().clips, [], "train")
    assert np.array_equal(fresh.sample(5).video.frames, shipped_world().sample(5).video.frames)


def test_train_and_test_worlds_share_no_clip():
    assert not np.array_equal(shipped_world("test").sample(0).video.frames, shipped_world().sample(0).video.frames)


def test_sizes_types_and_ids():
    for clip in some_clips():
        assert clip.video.frames.shape == (16, 128, 128, 3)
        assert clip.video.fps == 8
        assert set(np.unique(clip.part_ids)) <= set(PARTS)
        assert clip.subject_ids.max() <= len(clip.scene.subjects)
        assert ((clip.part_ids > 0) == (clip.subject_ids > 0)).all()
        assert np.array_equal(np.isfinite(clip.depth_m), clip.subject_ids > 0)


def test_joints_in_pixels_are_those_of_the_motion_seen_by_the_camera():
    for clip in some_clips():
        for subject, pixels, points in zip(clip.scene.subjects, clip.joints_px, clip.joints_m, strict=True):
            if not isinstance(subject.motion, BodyMotion):
                assert pixels is None
                continue
            body = load_body(subject.motion.category, detail="low")
            own = joints(subject.motion, body)[:, : points.shape[1]]
            assert np.abs(own - points).max() < 1e-4
            assert np.abs(project(own, clip.scene.cameras)[0] - pixels).max() < 0.05


def test_visible_joints_of_a_lone_body_lie_in_or_beside_its_mask():
    checked = 0
    for clip in some_clips(12):
        if len(clip.scene.subjects) != 1 or clip.joints_px[0] is None:
            continue
        for t in (0, 15):
            seen = clip.joints_px[0][t][clip.joints_visible[0][t]]
            mask = np.argwhere(clip.subject_ids[t] > 0)[:, ::-1] + 0.5
            nearest = np.linalg.norm(seen[:, None] - mask, axis=-1).min(1)
            assert np.quantile(nearest, 0.9) < 3
            checked += 1
    assert checked >= 2


def test_subjects_differ_from_what_is_behind_them():
    """A painted subject is not the backdrop: where nothing is drawn, a still camera shows the same in all frames."""
    for clip in some_clips(12):
        cameras = clip.scene.cameras
        if np.ptp(cameras.K, axis=0).max() > 0 or np.ptp(cameras.T_camera_world, axis=0).max() > 1e-6:
            continue
        behind = (clip.subject_ids == 0).all(0)
        assert np.ptp(clip.video.frames[:, behind].astype(int), axis=0).max() == 0


def test_captions_say_looks_action_and_place():
    for clip in some_clips():
        assert "; before " in clip.scene.prompt
        assert all(subject.appearance in clip.scene.prompt for subject in clip.scene.subjects)


def test_other_sizes_and_lengths():
    clip = shipped_world().sample(0, frames=3, size=(96, 64))
    assert clip.video.frames.shape == (3, 64, 96, 3)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match="no pictures"):
        World.load(photographs=tmp_path)
