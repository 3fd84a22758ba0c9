"""`kinema animate`: masks of every kind to a video, what it says of them, and that finished clips outlive a failure."""

from __future__ import annotations

import errno
import json
import logging
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cogvideox import CLIP, save_tiny_folder

from commands import refused, status
from kinema import mvideo, presets, video
from kinema.cli_mvideo import clip_bar, describe_seams
from kinema.console import said_once
from kinema.evaluate.seams import Seam
from kinema.masks.files import write_masks
from kinema.masks.palette import OBJECT_COLOURS
from kinema.types import MaskSequence
from kinema.video import read_video
from test_mvideo import Counting

ROOT = Path(__file__).parents[1]
SIZE = 16


def disc(size=SIZE, softness=0.0):
    """Share of each pixel, 0-1, that a disc in the middle covers."""
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    away = size / 4 - np.hypot(x, y)
    return np.clip(away / softness + 0.5, 0, 1) if softness else (away > 0).astype(float)


def sequence(frames=17, height=SIZE, width=SIZE):
    masks = np.zeros((frames, 1, height, width), bool)
    for t in range(frames):
        masks[t, 0, 4:10, 3 + t % 4 : 9 + t % 4] = True
    return MaskSequence(masks, ("dog",), 8.0)


@pytest.fixture
def model(monkeypatch):
    """In place of the mini model: one that notes what it is asked for. Its clips are 9 frames, 8 of them new."""
    counting = Counting((SIZE, SIZE))
    tiny = replace(presets.CLIP_PRESETS["mini-cogvideox"], clip=counting.clip)
    monkeypatch.setitem(presets.CLIP_PRESETS, "mini-cogvideox", tiny)
    monkeypatch.setattr(presets.ClipPreset, "load", lambda preset: counting)
    yield counting
    presets.clip_model.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with 17 frames of masks."""
    write_masks(sequence(), tmp_path / "dog.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# the main way


def test_help_shows_examples_and_every_preset(capsys):
    assert status("animate", "--help") == 0
    page = capsys.readouterr().out
    assert page.count("$ kinema animate ") >= 4
    assert all(name in page for name in presets.CLIP_PRESETS)


def test_masks_to_a_video_its_seams_and_where_its_clips_lie(model, folder, capsys):
    assert status("animate", "dog.npz", "--prompt", "a dog", "--seconds", 2, "--seed", 5, "--out", "dog.mp4") == 0
    said = capsys.readouterr().out
    assert "dog.mp4: 16 frames at 8 fps, 2 s, in 2 clips" in said
    assert "seams: colour drift" in said
    assert "dog.clips" in said
    assert len(read_video("dog.mp4").frames) == 16
    assert np.array_equal(
        np.concatenate([c[2].masks for c in model.calls]), sequence().masks[[*range(9), *range(8, 17)]]
    )
    record = json.loads((folder / "dog.clips" / "result.json").read_text())
    assert (record["prompt"], record["seed"], record["masks"]["labels"]) == ("a dog", 5, ["dog"])


def test_the_prompt_alone_and_a_folder_of_pictures(model, folder, capsys):
    assert status("animate", "--prompt", "a dog", "--seconds", 1, "--out", "frames") == 0
    assert "frames: 8 frames at 8 fps, 1 s\n" in capsys.readouterr().out
    assert model.calls[0][2] is None
    assert len(names(folder / "frames")) == 8


def test_more_seconds_make_only_what_is_new(model, folder):
    asked = ["animate", "--prompt", "a dog", "--out", "dog.mp4", "--seconds"]
    assert status(*asked, 2) == 0
    assert status(*asked, 4) == 0
    assert len(model.calls) == 4


def test_real_weights_from_a_folder(folder, monkeypatch):
    save_tiny_folder(folder / "tiny")
    tiny = replace(presets.CLIP_PRESETS["cogvideox-5b"], clip=CLIP)
    monkeypatch.setitem(presets.CLIP_PRESETS, "cogvideox-5b", tiny)
    asked = ["dog.npz", "--prompt", "a dog", "--preset", "cogvideox-5b", "--model", "tiny", "--seconds", 1]
    assert status("animate", *asked, "--out", "dog.mp4") == 0
    assert read_video("dog.mp4").frames.shape == (8, 32, 32, 3)


# masks of every kind


def test_soft_edges_are_cut_in_the_middle(model, folder):
    (folder / "soft").mkdir()
    for t in range(9):
        Image.fromarray((disc(softness=3) * 255).astype(np.uint8)).save(folder / "soft" / f"{t}.png")
    assert status("animate", "soft", "--prompt", "a ball", "--seconds", 1, "--out", "x.mp4") == 0
    assert np.array_equal(model.calls[0][2].masks[0, 0], disc() > 0)


def test_a_palette_png_holds_numbers_of_things(model, folder):
    ids = np.zeros((SIZE, SIZE), np.uint8)
    ids[2:6, 2:6], ids[9:14, 9:14] = 1, 2
    picture = Image.fromarray(ids)
    picture.putpalette(OBJECT_COLOURS.tobytes())
    (folder / "davis").mkdir()
    picture.save(folder / "davis" / "00000.png")
    assert status("animate", "davis", "--prompt", "a dog, a cat", "--seconds", 0.125, "--out", "x.mp4") == 0
    assert np.array_equal(model.calls[0][2].masks[0], np.stack([ids == 1, ids == 2]))


def test_another_rate_plays_at_the_same_speed(model, folder, caplog):
    slow = sequence()
    write_masks(replace(slow, masks=slow.masks.repeat(2, 0), fps=16.0), "fast.npz")
    assert status("animate", "fast.npz", "--prompt", "a dog", "--seconds", 2.125, "--out", "x.mp4") == 0
    assert np.array_equal(model.calls[0][2].masks, slow.masks[:9])
    assert "masks" not in caplog.text


@pytest.mark.parametrize(("fit", "row"), [("crop", "0011111111110000"), ("pad", "0000011111000000")])
def test_another_shape_is_refused_or_made_to_fit(model, folder, capsys, caplog, fit, row):
    masks = np.zeros((9, 1, 8, 16), bool)
    masks[:, 0, :, 5:10] = True
    write_masks(MaskSequence(masks, ("dog",), 8.0), "wide.npz")
    asked = ["animate", "wide.npz", "--prompt", "a dog", "--seconds", 1, "--out", "x.mp4"]
    said = refused(capsys, *asked)
    assert "are 16x8, the video is 16x16" in said
    assert f"--fit {fit}" in said
    assert not model.calls
    assert status(*asked, "--fit", fit) == 0
    shown = model.calls[0][2].masks[0, 0]
    assert shown.shape == (SIZE, SIZE)
    assert "".join(str(int(on)) for on in shown[SIZE // 2]) == row
    assert {"crop": "cut, 50% of the width", "pad": "with room beside"}[fit] in caplog.text


def test_faults_are_said_with_their_mend_before_anything_is_made(model, folder, capsys):
    turned = sequence()
    turned.masks[:, :, :] ^= True
    write_masks(turned, "turned.npz")
    assert status("animate", "turned.npz", "--prompt", "a dog", "--seconds", 1, "--out", "x.mp4") == 0
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "polarity" in said
    assert '--op "invert"' in said
    assert "kinema masks edit MASKS" in said
    assert status("animate", "dog.npz", "--prompt", "a dog", "--seconds", 2, "--out", "y.mp4") == 0
    assert "frame" not in capsys.readouterr().err


# prompts


def test_words_in_another_script_are_named(model, folder, caplog):
    assert status("animate", "--prompt", "a Löwe, тигр, 虎 and 🐅", "--seconds", 1, "--out", "x.mp4") == 0
    assert "тигр,, 虎, 🐅" in caplog.text.replace("reads English: ", "")
    assert "Löwe" not in caplog.text


def test_a_prompt_of_2000_words_is_cut_and_said(folder, monkeypatch, caplog):
    save_tiny_folder(folder / "tiny")
    tiny = replace(presets.CLIP_PRESETS["mini-cogvideox"], clip=CLIP, folder=folder / "tiny", adapter=None)
    monkeypatch.setitem(presets.CLIP_PRESETS, "mini-cogvideox", tiny)
    many = " ".join(["a red dog runs"] * 500)
    assert status("animate", "--prompt", many, "--seconds", 1, "--out", "x.mp4") == 0
    assert "2000 tokens; what comes after the first 6 is not read" in caplog.text
    assert status("animate", "--prompt", "a red dog runs a red", "--seconds", 1, "--out", "short.mp4") == 0
    assert np.array_equal(read_video("x.mp4").frames, read_video("short.mp4").frames)


# what is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone",), "gone: does not exist"),
        (("empty.npz",), "no frame shows anything"),
        (("dog.npz", "--seconds", "0"), "0.125 to 2400"),
        (("dog.npz", "--seconds", "nan"), "0.125 to 2400"),
        (("dog.npz", "--seconds", "1e9"), "0.125 to 2400"),
        (("dog.npz", "--seconds", "soon"), "--seconds"),
        (("dog.npz", "--seed", "-1"), "0 or more"),
        (("dog.npz", "--fps", "0"), "above 0"),
        (("dog.npz", "--preset", "mini-svd"), "cogvideox-2b"),
        (("dog.npz", "--preset", "cogvideox-2b"), "kinema fetch cogvideox-2b"),
        (("dog.npz", "--out", "x.avi"), ".mp4"),
        (("dog.npz", "--out", "a/b/x.mp4"), "mkdir -p a/b"),
        (("dog.npz", "--out", "taken"), "exists already"),
        (("--prompt", " "), "say what the video shows"),
    ],
)
def test_mistakes_end_with_status_2_and_a_word_of_help(arguments, words, model, folder, capsys):
    (folder / "taken").mkdir()
    np.savez("empty.npz", masks=np.zeros((5, SIZE, SIZE), bool))
    defaults = [
        word for pair in {"--prompt": "a dog", "--out": "x.mp4"}.items() if pair[0] not in arguments for word in pair
    ]
    assert words in " ".join(refused(capsys, "animate", *arguments, *defaults).split())
    assert names(folder) == ["dog.npz", "empty.npz", "taken"]
    assert not model.calls


def test_a_folder_that_is_no_model_is_refused(folder, capsys):
    asked = ["dog.npz", "--fit", "crop", "--prompt", "a dog", "--model", "nothing", "--out", "x.mp4"]
    assert "nothing: is no model folder" in refused(capsys, "animate", *asked)


def test_training_on_a_folder_that_is_no_model_is_refused(folder, capsys):
    (folder / "nothing").mkdir()
    for name in ("mvideo", "mvideo-base"):
        said = refused(capsys, "train", name, "--base", "nothing", "--run", "run", "--data.cache", "cache")
        assert "nothing" in said
    assert names(folder) == ["dog.npz", "nothing"]


# failures on the way


def test_a_disk_that_fills_up_mid_video_keeps_the_finished_clips(model, folder, capsys, monkeypatch):
    def until_full(frames, path, rate, lossless):
        for count, _ in enumerate(frames):
            if count == 12:
                path.write_bytes(b"half a video")
                raise OSError(errno.ENOSPC, "No space left on device")

    asked = ["animate", "--prompt", "a dog", "--seconds", 3, "--out", "x.mp4"]
    with monkeypatch.context() as patched:
        patched.setattr(video, "_encode", until_full)
        said = refused(capsys, *asked)
    assert "x.mp4: could not be written (No space left on device)" in said
    assert "x.clips: 2 finished clips kept; the same command goes on from there" in said
    assert names(folder) == ["dog.npz", "x.clips"]
    assert names(folder / "x.clips") == ["clip_0000.npz", "clip_0001.npz"]
    assert status(*asked) == 0
    assert len(model.calls) == 3


def test_control_c_ends_with_130_and_says_what_is_kept(model, folder, capsys):
    model.dies_at = 1
    assert status("animate", "--prompt", "a dog", "--seconds", 3, "--out", "x.mp4") == 130
    assert "1 finished clip kept" in capsys.readouterr().err


# what is said


def test_the_bar_counts_clips_and_steps(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with clip_bar(15) as progress:
        progress("animate", 15 + 7, 90)
    said = capsys.readouterr().err
    assert "clip 2 of 6, step  7 of 15" in said


def test_seams_in_a_line():
    said = describe_seams([Seam(17, 1.0, 0.1, 0.9), Seam(33, 3.0, 0.0, 1.4)])
    assert "colour drift 2.0, at most 3.0" in said
    assert "1.15, at most 1.40 at frame 33" in said
    assert "1.3" in said


def test_a_warning_is_said_once_and_other_lines_always():
    keep = said_once()
    levels = [logging.WARNING, logging.WARNING, logging.INFO, logging.INFO]
    records = [logging.LogRecord("kinema", level, "", 0, "the prompt has %d tokens", (9,), None) for level in levels]
    assert [bool(keep(record)) for record in records] == [True, False, True, True]


# the README


def test_the_second_example_of_the_readme_runs(model, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "README.md").read_text().partition("## Masks to a long video")[2]
    for line in section.partition("```sh\n")[2].partition("```")[0].splitlines():
        assert status(*shlex.split(line)[1:]) == 0, line
    assert len(read_video("snow.mp4").frames) == len(read_video("robot.mp4").frames) == 96
    assert {call[0].split(";")[1] for call in model.calls} == {" in the snow", " under a night sky with stars"}
    assert all(call[2] is not None for call in model.calls)
    exec("import kinema\n" + section.partition("```python\n")[2].partition("```")[0], {})
    assert "sunset" in model.calls[-1][0]


# in Python


def test_animate_takes_a_path_and_the_preset_is_read_once(folder, monkeypatch):
    counting, loads = Counting((SIZE, SIZE)), []
    tiny = replace(presets.CLIP_PRESETS["mini-cogvideox"], clip=counting.clip, name="tiny")
    monkeypatch.setitem(presets.CLIP_PRESETS, "mini-cogvideox", tiny)
    monkeypatch.setattr(presets.ClipPreset, "load", lambda preset: loads.append(preset) or counting)
    for _ in range(2):
        found = mvideo.animate("dog.npz", "a dog", seconds=1)
        assert found.video.frames.shape == (8, SIZE, SIZE, 3)
    assert np.array_equal(counting.calls[0][2].masks, sequence().masks[:9])
    assert loads == [tiny]


def test_presets_are_whole():
    full = presets.find_clip_preset("cogvideox-5b", folder=presets.MINI_COGVIDEOX)
    assert (full.clip.size, full.clip.frames, full.sampler, full.adapter) == ((720, 480), 33, "dpm", None)
    mini = presets.find_clip_preset("mini-cogvideox")
    assert (mini.clip.size, mini.clip.frames, mini.clip.fps) == ((128, 128), 17, 8)
    assert mini.adapter == presets.MINI_COGVIDEOX / "adapter"
