"""animate-like: who moves whom, and a picture that moves as a video does, on the shipped mini models."""

import json

import numpy as np
import pytest

from commands import refused, status, walk
from kinema import like
from kinema.body.model import joints
from kinema.camera import fixed_cameras
from kinema.errors import InputError
from kinema.like import cues_of
from kinema.motion_io.scene import load_scene
from kinema.optimize.perform import Cue, across, cast, from_left, perform
from kinema.types import BodyMotion, Scene, Subject
from kinema.video import read_video, write_video
from kinema.world.sampler import World

PICTURE = "examples/dancer.png"


def standing(kinds: str, frames: int = 1) -> Scene:
    """Bodies side by side, the first farthest to the left: h a person, a an animal."""
    motions = []
    for k, kind in enumerate(kinds):
        category, count, height = ("human", 55, 0.93) if kind == "h" else ("animal", 35, 0.5)
        root = np.tile(np.array([1.2 * k, height, 0.0], np.float32), (frames, 1))
        motions.append(BodyMotion(category, np.zeros((frames, count, 3)), root, np.full(3, 0.3 * k), 8.0))
    cameras = fixed_cameras(np.concatenate([joints(m) for m in motions], 1), (128, 128))
    return Scene(tuple(Subject(k, "", "", m) for k, m in enumerate(motions)), cameras)


def test_partners_are_of_one_kind_and_stand_in_like_places():
    still = standing("hah")
    assert from_left(still) == [0, 1, 2]
    person, animal = walk(), BodyMotion("animal", np.zeros((4, 35, 3)), np.zeros((4, 3)), np.zeros(0), 8.0)
    assert cast(still, [Cue(person, 0.9), Cue(animal, 0.9), Cue(person, 0.1)]) == {0: 2, 1: 1, 2: 0}
    assert cast(still, [Cue(person, 0.1), Cue(person, 0.5), Cue(person, 0.9)]).keys() == {0, 2}
    assert cast(still, [Cue(person, 0.9, subject=0)]) == {0: 0}
    assert cast(still, [Cue(person)]) == {0: 0}


@pytest.mark.parametrize(
    ("cues", "words"),
    [
        ([Cue(walk(), subject=1)], "subject 2 of the picture a animal"),
        ([Cue(walk(), subject=5)], "1 to 2"),
        ([Cue(walk(), subject=0), Cue(walk(), subject=0)], "two motions"),
    ],
)
def test_pairs_that_cannot_be_are_refused(cues, words):
    with pytest.raises(InputError, match=words):
        cast(standing("ha"), cues)


def test_the_motion_goes_to_the_others_proportions_and_its_floor():
    still = standing("hh")
    moved = perform(still, [Cue(walk(48), 0.0)], 8.0)
    done, idle = (s.motion for s in moved.subjects)
    assert isinstance(done, BodyMotion)
    assert isinstance(idle, BodyMotion)
    assert len(done) == len(idle)
    assert np.array_equal(done.betas, still.subjects[0].motion.betas)  # type: ignore[union-attr]
    assert np.allclose(done.rotvec[0], 0)
    assert np.ptp(idle.root_translation_m, 0).max() == 0
    lowest = joints(done)[..., 1].min(1)
    assert np.abs(lowest[4:] - joints(idle)[0, :, 1].min()).max() < 0.08


def test_who_is_in_no_pair_keeps_still_and_numbers_count_from_the_left():
    source = standing("hh", 6)
    cues = cues_of(source, [(2, 1)])
    assert [c.subject for c in cues] == [0]
    assert cues[0].across == pytest.approx(across(source, 1))
    assert [c.subject for c in cues_of(source)] == [None, None]
    with pytest.raises(InputError, match="1 to 2"):
        cues_of(source, [(3, 1)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The command on a clip of the procedural world and a shipped picture; its folder."""
    folder = tmp_path_factory.mktemp("like")
    clip = World.load(split="test").sample(8)
    write_video(clip.video.frames[:6], folder / "clip.mp4", 8.0)
    done = status(
        "animate-like", folder / "clip.mp4", PICTURE, "--out", folder / "out.mp4", "--stages", folder / "stages"
    )
    assert done == 0
    return folder


def test_a_picture_moves_as_a_video_does(made):
    video, scene = read_video(made / "out.mp4"), load_scene(made / "stages" / "scene.npz")
    assert len(video.frames) == len(scene.cameras.K) == 6
    assert np.abs(video.frames[-1].astype(int) - video.frames[0]).mean() > 0.5
    source = load_scene(made / "stages" / "source.npz")
    moved, given = (
        (s.motion for s in scenes.subjects if isinstance(s.motion, BodyMotion)) for scenes in (scene, source)
    )
    # Elbows bend as they do in the video once the way has gone over to it.
    assert np.allclose(next(moved).rotvec[4:, 18], next(given).rotvec[4:, 18], atol=0.02)
    record = json.loads((made / "out.mp4.json").read_text())
    assert record["command"] == "animate-like"
    assert len(record["sha256_given"]["video"]) == 64


def test_the_videos_scene_is_used_again(made, monkeypatch):
    monkeypatch.setattr(like, "observe", lambda *a: pytest.fail("looked again"))
    clip = read_video(made / "clip.mp4")
    scene = like._kept(made / "stages", clip, None, "mini", None)
    assert len(scene.cameras.K) == 6


def test_mistakes_end_with_status_2(made, capsys):
    assert "such as 1:2" in refused(
        capsys, "animate-like", made / "clip.mp4", PICTURE, "--out", made / "x.mp4", "--pair", "1"
    )
    assert "does not exist" in refused(capsys, "animate-like", made / "gone.mp4", PICTURE, "--out", made / "x.mp4")
