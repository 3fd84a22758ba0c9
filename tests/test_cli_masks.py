"""The verbs for masks from the command line: what they make, what they say, and with which status they end."""

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from commands import refused, status
from kinema.masks.files import read_masks, write_masks
from kinema.masks.lint import Code
from kinema.masks.operations import OPERATIONS
from kinema.masks.recipe import read_recipe
from kinema.types import MaskSequence
from kinema.video import read_video, write_video


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with 17 frames of a box that goes right."""
    masks = np.zeros((17, 1, 48, 96), bool)
    for t in range(17):
        masks[t, 0, 20:32, 4 + 3 * t : 14 + 3 * t] = True
    write_masks(MaskSequence(masks, ("runner",), 8.0), tmp_path / "run.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("verb", ["edit", "compose", "preview", "lint"])
def test_help_shows_examples(verb, capsys):
    assert status("masks", "--help") == 0
    assert verb in capsys.readouterr().out
    assert status("masks", verb, "--help") == 0
    assert f"$ kinema masks {verb} " in capsys.readouterr().out


def test_edit_does_the_recipe_then_the_operations_and_keeps_what_it_did(folder, capsys):
    (folder / "r.json").write_text('[{"op": "mirror"}]')
    words = ["--op", "reverse", "--op", "shift x=0.25"]
    assert status("masks", "edit", "run.npz", "--recipe", "r.json", *words, "--out", "back") == 0
    said = capsys.readouterr().out
    assert "back: runner: 17 frames of 96x48, 2.1 s at 8 fps" in said
    assert "back.recipe.json" in said
    expected = np.pad(read_masks("run.npz").masks[::-1, :, :, ::-1], ((0, 0), (0, 0), (0, 0), (24, 0)))[..., :96]
    assert np.array_equal(read_masks("back").masks, expected)
    assert status("masks", "edit", "run.npz", "--recipe", "back.recipe.json", "--out", "again.json") == 0
    assert np.array_equal(read_masks("again.json").masks, expected)


def test_compose(folder, capsys):
    assert status("masks", "edit", "run.npz", "--op", "shift y=-0.25", "--out", "high") == 0
    both = ["run.npz", "high", "--offset", "0", "--offset", "0.5", "--size", "64x32"]
    assert status("masks", "compose", *both, "--out", "both.npz") == 0
    assert "runner, runner 2: 21 frames of 64x32" in capsys.readouterr().out
    found = read_masks("both.npz").masks
    assert found.any((2, 3))[:, 1].tolist() == [False] * 4 + [True] * 17


def test_preview_as_a_video_a_sheet_and_over_footage(folder):
    assert status("masks", "preview", "run.npz", "--out", "look.mp4") == 0
    assert read_video("look.mp4").frames.shape == (17, 48, 96, 3)
    write_video(np.full((40, 96, 192, 3), 90, np.uint8), "clip.mp4", 16.0)
    assert status("masks", "preview", "run.npz", "--over", "clip.mp4", "--out", "sheet.png") == 0
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_lint_ends_with_1_where_something_must_be_mended_and_writes_what_mends_it(folder, capsys):
    assert status("masks", "lint", "run.npz") == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert status("masks", "lint", "run.npz", "--seconds", "1") == 0
    assert "too-long" in capsys.readouterr().out
    assert status("masks", "lint", "run.npz", "--seconds", "4", "--json") == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["code"], finding["frame"], finding["must"]) == ("too-short", 17, True)
    assert status("masks", "lint", "run.npz", "--seconds", "4", "--mend", "mend.json") == 0
    assert status("masks", "edit", "run.npz", "--recipe", "mend.json", "--out", "good.npz") == 0
    capsys.readouterr()
    assert status("masks", "lint", "good.npz", "--seconds", "4") == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_mask_takes_a_thing_from_a_video(folder, capsys, monkeypatch):
    from coloured_boxes import PERCEPTION, RED, SCENE

    fake = SimpleNamespace(steady_perception=lambda: PERCEPTION)  # the real one takes torch, and seconds to import
    monkeypatch.setitem(sys.modules, "kinema.extract.mini_perception", fake)
    monkeypatch.setattr("kinema.video.read_video", lambda path, fps, most: SCENE)
    assert status("mask", "clip.mp4", "--object", "a man", "--object", "the ball", "--out", "man") == 0
    assert "man: man, ball: 6 frames of 60x40" in capsys.readouterr().out
    assert np.array_equal(read_masks("man").masks[:, 0], (SCENE.frames == RED).all(-1))


def test_mask_takes_what_is_in_a_box_under_any_name(folder, capsys):
    from coloured_boxes import RED, SCENE

    write_video(SCENE.frames, "clip.mp4", 8.0)
    box = ("--box", "a red lantern", "2,2", "10,12")
    assert status("mask", "clip.mp4", *box, "--out", "it.npz") == 0
    assert "it.npz: red lantern: 6 frames of 60x40" in capsys.readouterr().out
    found, truth = read_masks("it.npz").masks[:, 0], (SCENE.frames == RED).all(-1)
    assert np.logical_and(found, truth).sum() > 0.6 * np.logical_or(found, truth).sum()
    assert "within 0,0 60,40" in refused(capsys, "mask", "clip.mp4", "--box", "it", "50,2", "70,12", "--out", "x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("masks", "edit", "run.npz", "--out", "x.npz"), "nothing to do"),
        (("masks", "edit", "run.npz", "--out", "x.npz", "--op", "shfit x=1"), "did you mean 'shift'"),
        (("masks", "edit", "run.npz", "--out", "x.npz", "--op", "shift x=0.1 only=dog"), "not in the masks"),
        (("masks", "edit", "run.npz", "--out", "x.gif", "--op", "mirror"), "suffix '.gif'"),
        (("masks", "edit", "run.npz", "--out", "a/b/x.npz", "--op", "mirror"), "mkdir -p"),
        (("masks", "edit", "gone", "--out", "x.npz", "--op", "mirror"), "does not exist"),
        (("masks", "edit", "run.npz", "--out", "x.npz", "--recipe", "gone.json"), "gone.json"),
        (("masks", "compose", "run.npz", "run.npz", "--offset", "1", "--out", "x.npz"), "2 times"),
        (("masks", "compose", "run.npz", "--offset", "-1", "--out", "x.npz"), "is -1 s"),
        (("masks", "compose", "run.npz", "--size", "big", "--out", "x.npz"), "1024x576"),
        (("masks", "preview", "run.npz", "--out", "x.gif"), ".mp4, .png"),
        (("masks", "preview", "run.npz", "--over", "gone.mp4", "--out", "x.png"), "gone.mp4"),
        (("masks", "lint", "run.npz", "--seconds", "0"), "above 0"),
        (("masks", "lint", "gone"), "does not exist"),
        (("mask", "gone.mp4", "--object", "a man", "--out", "x"), "gone.mp4"),
        (("mask", "run.npz", "--object", "a man", "--out", "x", "--fps", "0"), "above 0"),
        (("mask", "run.npz", "--out", "x"), "--object and --box: are not given"),
        (("mask", "run.npz", "--out", "x", "--object", "a man", "--box", "it", "1,2", "3,4"), "are both given"),
        (("mask", "run.npz", "--out", "x", "--box", "it", "1,2", "3"), "two corners"),
        (("mask", "run.npz", "--out", "x", "--box", "it", "1,2", "3,4", "--perception", "best"), "one of mini, public"),
        (
            ("mask", "run.npz", "--out", "x", "--box", "it", "1,2", "3,4", "--perception", "public", "--models", "y"),
            "sam2",
        ),
    ],
)
def test_mistakes_end_with_status_2_and_a_word_of_help(arguments, words, folder, capsys):
    assert words in refused(capsys, *arguments)
    assert names(folder) == ["run.npz"]


def test_a_noun_that_is_not_known_is_refused(folder, capsys):
    write_video(np.zeros((3, 32, 32, 3), np.uint8), "clip.mp4", 8.0)
    assert "did you mean 'tiger'" in refused(capsys, "mask", "clip.mp4", "--object", "a tigre", "--out", "x")


def test_a_folder_that_exists_is_not_overwritten(folder, capsys):
    (folder / "x").mkdir()
    assert "exists already" in refused(capsys, "masks", "edit", "run.npz", "--op", "mirror", "--out", "x")


# --- the page ---------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "masks.md").read_text()


def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for line in PAGE.partition("```sh\n")[2].partition("```")[0].splitlines():
        words = shlex.split(line.replace("384x256", "96x64"))
        assert status(*words[1:]) == 0, line
    assert len(read_masks("good.npz")) == 41


def test_the_code_and_the_files_of_the_page(tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(PAGE.partition("```python\n")[2].partition("```")[0], {})
    assert capsys.readouterr().out.startswith("('boxer', 'boxer 2') [")
    drawn, recipe = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "fish.json").write_text(drawn)
    assert read_masks("fish.json").labels == ("fish",)
    (tmp_path / "recipe.json").write_text(recipe)
    assert [done.op for done in read_recipe("recipe.json")] == ["scale", "shift"]


def test_the_page_has_every_operation_with_its_parameters_and_every_code_of_lint():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|.*?\|(.*)\|$", PAGE.partition("## Lint")[0], re.MULTILINE))
    for name, operation in OPERATIONS.items():
        assert all(f"`{parameter}`" in rows[name] for parameter in operation.own), name
    assert all(f"`{code}`" in PAGE for code in get_args(Code))
