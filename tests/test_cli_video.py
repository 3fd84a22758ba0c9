"""The verbs for video from the command line: world sample, evaluate, and what generate refuses before any work."""

import json

import numpy as np
import pytest

from commands import refused, status
from kinema.motion_io.scene import load_scene
from kinema.render.palette import rgb_to_parts
from kinema.video import read_video

PICTURE = "examples/dancer.png"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "clips"
    assert status("world", "sample", "--out", folder, "-n", 2, "--seed", 5) == 0
    return folder


def test_sampled_clips_come_with_their_truth(clips):
    names = {p.name for p in clips.iterdir()}
    for stem in ("000005", "000006"):
        assert {f"{stem}.mp4", f"{stem}_parts.mp4", f"{stem}.npz", f"{stem}_scene.npz", f"{stem}.txt"} <= names
    truth = np.load(clips / "000005.npz")
    shown = rgb_to_parts(read_video(clips / "000005_parts.mp4").frames)
    assert np.array_equal(shown, truth["part_ids"])
    assert len(load_scene(clips / "000005_scene.npz").subjects) == truth["subject_ids"].max()
    assert "; before " in (clips / "000005.txt").read_text()


def test_a_clip_measured_against_itself_is_perfect(clips, tmp_path):
    out = tmp_path / "scores.json"
    assert status("evaluate", clips, "--against", clips, "--out", out) == 0
    rows = json.loads(out.read_text())["rows"]
    values = {row["metric"]: row["value"] for row in rows} if isinstance(rows, list) else rows
    assert {"ssim", "part_miou", "flow_error"} <= set(values)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("world", "sample", "--out", "nowhere/at/all"), "folder"),
        (("world", "sample", "--out", "clips", "-n", "0"), "at least 1"),
        (("generate", "gone.png", "--out", "x.mp4"), "does not exist"),
        (("generate", PICTURE, "--out", "x.avi"), ".mp4"),
        (("generate", PICTURE, "--out", "x.mp4", "--preset", "maxi"), "mini-svd"),
        (("generate", PICTURE, "--out", "x.mp4", "--preset", "vace-1.3b"), "kinema fetch vace-1.3b"),
        (("generate", PICTURE, "--out", "x.mp4", "--strength", "7"), "0 (calm) to 1"),
        (("generate", PICTURE, "--out", "x.mp4", "--drag", "left_hnad", "33,34", "40,14"), "left_hand"),
        (("generate", PICTURE, "--out", "x.mp4", "--drag", "left_hand", "33;34", "40,14"), "33;34"),
        (("generate", PICTURE, "--out", "x.mp4", "--from-stage", "2"), "--stages"),
        (("generate", PICTURE, "--out", "x.mp4", "--target", "gone.json"), "gone.json"),
        (("generate", PICTURE, "--out", "x.mp4", "--motion", "gone.bvh"), "gone.bvh"),
    ],
)
def test_mistakes_end_with_status_2_and_a_word_of_help(arguments, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(__import__("pathlib").Path("examples").resolve())
    monkeypatch.chdir(tmp_path)
    assert words in " ".join(refused(capsys, *arguments).split())
    assert {p.name for p in tmp_path.iterdir()} == {"examples"}
