"""The three stages end to end, on the shipped mini models and a shipped picture."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from commands import status
from kinema import revision
from kinema.errors import InputError
from kinema.motion_io import load_motion
from kinema.motion_io.scene import load_scene, save_scene
from kinema.picture import load_picture
from kinema.plan import look_at
from kinema.presets import PRESETS
from kinema.types import BodyMotion
from kinema.video import read_video

PICTURE = "examples/dancer.png"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """One run with a motion and a folder of stages: (result, folder)."""
    folder = tmp_path_factory.mktemp("stages")
    motion = load_motion("examples/punch.npz")
    result = revision.generate(PICTURE, "a woman punches", motion=motion, frames=8, stages=folder)
    return result, folder


def hand_of(part_ids, part=10):
    own = np.argwhere(part_ids == part)
    assert len(own) > 0
    return own.mean(0)[::-1] + 0.5


def test_the_video_begins_with_the_picture_and_moves(first):
    result, _ = first
    assert result.video.frames.shape == (8, 128, 128, 3)
    assert np.array_equal(result.video.frames[0], load_picture(PICTURE))
    assert np.abs(result.video.frames[-1].astype(int) - result.video.frames[0]).mean() > 0.5


def test_the_first_frame_of_the_refined_scene_is_the_pictures_pose(first):
    result, _ = first
    body = next(s.motion for s in result.extracted.subjects if isinstance(s.motion, BodyMotion))
    mended = next(s.motion for s in result.refined.subjects if isinstance(s.motion, BodyMotion))
    assert np.allclose(body.rotvec[0], mended.rotvec[0], atol=1e-5)


def test_the_parts_lie_on_the_person(first):
    result, _ = first
    drawn, seen = result.condition.part_ids[0] > 0, result.plan.subject_ids > 0
    assert (drawn & seen).sum() / (drawn | seen).sum() > 0.5


def test_everything_is_kept_to_look_at(first):
    _, folder = first
    assert {"scene.npz", "refined.npz", "final.npz", "final.mp4", "parts.mp4", "sheet.png", "result.json"} <= {
        p.name for p in folder.iterdir()
    }
    record = json.loads((folder / "result.json").read_text())
    assert record["seed"] == 42
    assert record["sha256"]
    assert len(read_video(folder / "final.mp4").frames) == 8
    assert cv2.imread(str(folder / "sheet.png")) is not None
    assert set(record["seconds"]) == {"coarse", "extract", "refine", "regenerate"}


def test_repeating_it_reuses_every_stage_and_gives_the_same_frames(first, monkeypatch):
    result, folder = first

    def forbidden(*arguments):
        raise AssertionError("a kept stage was made again")

    for stage in ("coarse_video", "extract_scene", "refine_scene", "regenerate"):
        monkeypatch.setattr(revision, stage, forbidden)
    again = revision.generate(
        PICTURE, "a woman punches", motion=load_motion("examples/punch.npz"), frames=8, stages=folder
    )
    assert np.array_equal(again.video.frames, result.video.frames)


def test_a_long_video_comes_in_windows_that_agree(first):
    """24 frames are two windows; the picture is carried into their common frames alike."""
    result, _ = first
    scene = revision.lengthen_scene(result.refined, 24)
    ids = revision.owners(result.plan, scene)[1]
    early, _ = revision.reposed(result.plan, scene, ids, slice(0, 16))
    late, _ = revision.reposed(result.plan, scene, ids, slice(8, 24))
    assert np.array_equal(early[8:], late[:8])
    condition = revision.scene_condition(scene, (128, 128))
    assert len(list(revision.regenerated_frames(result.plan, scene, condition, lambda *report: None))) == 24


def test_the_mini_model_leaves_background_as_it_was_filled(first):
    """It paints ghosts where subjects stood; other models paint better than the filling."""
    result, _ = first
    plan, ids = result.plan, revision.owners(result.plan, result.refined)[1]
    ground = result.condition.part_ids[-1] == 0
    _, known = revision.reposed(plan, result.refined, ids, slice(0, 8))
    assert known[-1][ground].mean() > 0.99
    free = replace(plan, preset=replace(plan.preset, start_filled=PRESETS["svd"].start_filled))
    _, known = revision.reposed(free, result.refined, ids, slice(0, 8))
    assert (known[-1][ground] == 0).mean() > 0.01


def test_going_on_without_the_motion_keeps_the_length_of_the_scene(first, tmp_path):
    _, folder = first
    for name in ("refined.npz", "scene.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for stage, frames in ((3, 8), (2, len(load_scene(folder / "scene.npz").cameras.K))):
        assert len(revision.generate(PICTURE, stages=tmp_path, from_stage=stage).video.frames) == frames


def test_an_edited_scene_is_gone_on_from(first, tmp_path):
    result, folder = first
    for name in ("refined.npz", "scene.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    scene = load_scene(tmp_path / "refined.npz")
    body = scene.subjects[0].motion
    away = body.root_translation_m + np.array([0.25, 0, 0], np.float32) * (np.arange(8) > 0)[:, None]
    moved = replace(scene.subjects[0], motion=replace(body, root_translation_m=away.astype(np.float32)))
    save_scene(replace(scene, subjects=(moved, *scene.subjects[1:])), tmp_path / "refined.npz")
    edited = revision.generate(
        PICTURE, "a woman punches", motion=load_motion("examples/punch.npz"), frames=8, stages=tmp_path, from_stage=3
    )
    before = np.argwhere(result.condition.part_ids[-1] > 0).mean(0)
    after = np.argwhere(edited.condition.part_ids[-1] > 0).mean(0)
    assert abs(after[1] - before[1]) > 3
    assert not np.array_equal(edited.video.frames[-1], result.video.frames[-1])


def test_an_edited_scene_is_believed_however_little_of_it_was_seen(first, caplog):
    result, _ = first
    plan = replace(result.plan, prompt="a woman dances", motion=None, frames=None)
    body = result.refined.subjects[0]
    few = replace(body.motion, fps=plan.preset.coarse_fps, valid=np.arange(8) < 2)
    scene = replace(result.refined, subjects=(replace(body, motion=few),))
    told = revision.refine_scene(plan, scene).subjects[0].motion
    assert "dance" in caplog.text
    caplog.clear()
    own = revision.refine_scene(plan, scene, edited=True).subjects[0].motion
    assert "hardly shows" not in caplog.text
    assert not np.allclose(told.root_translation_m, own.root_translation_m, atol=0.05)


@pytest.fixture(scope="module")
def dragged():
    """The three stages from a picture and a drag of the left hand."""
    parts, _ = look_at(load_picture(PICTURE))
    start = hand_of(parts)
    inside = np.argwhere(parts == 10)[:, ::-1] + 0.5
    start = inside[np.linalg.norm(inside - start, axis=1).argmin()]
    end = start + np.array([-4.0, -14.0])
    drag = ("left_hand", tuple(start), tuple(end))
    return end, revision.generate(PICTURE, "a woman lifts her hand", drags=[drag])


def test_a_dragged_hand_ends_where_it_was_dragged(dragged):
    end, result = dragged
    assert result.coarse is not None
    assert len(result.coarse.frames) == PRESETS["mini-svd"].coarse_frames
    assert len(result.video.frames) == PRESETS["mini-svd"].frames
    assert np.linalg.norm(hand_of(result.condition.part_ids[-1]) - end) < 0.06 * 128


def test_a_coarse_video_gives_the_presets_strength_unless_another_or_a_target_is_asked_for(dragged):
    _, result = dragged
    picture_only = replace(result.plan, sketch=None, strength=None)
    assert revision.strength_of(picture_only, result.extracted) == PRESETS["mini-svd"].strength == 0.5
    assert revision.strength_of(replace(picture_only, strength=0.2), result.extracted) == 0.2
    assert revision.strength_of(picture_only, result.refined) is None
    assert revision.strength_of(replace(result.plan, strength=None), result.extracted) is None
    believed = replace(picture_only, preset=replace(picture_only.preset, strength=None))
    assert revision.strength_of(believed, result.extracted) is None


def test_the_same_seed_gives_the_same_coarse_frames(dragged):
    _, result = dragged
    again = revision.coarse_video(result.plan, lambda *report: None)
    assert np.array_equal(again.frames, result.coarse.frames)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"strength": 1.5}, "strength"),
        ({"frames": 1}, "frames"),
        ({"frames": 8, "seconds": 2.0}, "one of the two"),
        ({"preset": "maxi"}, "mini-svd"),
        ({"drags": [("left_elbow", (60, 60), (70, 70))]}, "left_"),
        ({"drags": [("left_hand", (2, 2), (70, 70))]}, "parts there"),
        ({"from_stage": 2}, "folder"),
    ],
)
def test_what_cannot_be_asked_is_said(asked, words):
    with pytest.raises(InputError, match=words):
        revision.generate(PICTURE, **asked)


def test_a_picture_without_a_subject_is_refused():
    with pytest.raises(InputError, match="no person, animal or object"):
        revision.generate(np.full((128, 128, 3), 128, np.uint8))


def test_a_motion_of_something_that_is_not_in_the_picture_is_refused():
    motion = BodyMotion("animal", np.zeros((8, 35, 3)), np.zeros((8, 3)), np.zeros(0), 8.0)
    with pytest.raises(InputError, match="animal"):
        revision.generate(PICTURE, motion=motion)


def test_the_command_line_answers_a_mistake_with_status_2(tmp_path):
    assert status("generate", tmp_path / "gone.png", "--out", tmp_path / "x.mp4") == 2
    assert status("generate", PICTURE, "--out", tmp_path / "x.avi") == 2
    assert not list(tmp_path.iterdir())
