"""The picture's parts, drags back from the browser, command lines, edits of masks, and a pose mended in one frame."""

import shlex
import zipfile

import cv2
import numpy as np
import pytest

pytest.importorskip("gradio")

from kinema.body.model import joints
from kinema.body.skeleton import HUMAN_JOINTS, PART_IDS
from kinema.errors import InputError
from kinema.masks.recipe import parse_step
from kinema.presets import PRESETS
from kinema.sketch import parse_drag
from kinema.studio import canvas, commands, masks_draft, mend, shipped
from kinema.types import MaskSequence, Scene, Subject
from painted import camera, standing


def test_parts_lie_where_the_picture_shows_them():
    part_ids, subject_ids = np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
    cv2.ellipse(part_ids, (20, 10), (6, 3), 0, 0, 360, PART_IDS["left_hand"], -1)
    subject_ids[part_ids > 0] = 1
    picture = np.zeros((64, 64, 3), np.uint8)
    value = canvas.canvas_value(picture, part_ids, subject_ids, 32 * 32, 8)
    (part,) = value["parts"]
    assert part["part"] == "left_hand"
    assert part["subject"] == 0
    x, y, rx, ry, _ = part["ellipse"]
    assert np.allclose([x, y], [41, 21], atol=1.5)
    assert sorted([rx, ry]) == pytest.approx([6, 12], abs=2.5)
    assert value["picture"].startswith("data:image/png;base64,")


def test_drags_and_painted_shapes_come_back_checked():
    value = {
        "drags": [{"part": "left_hand", "subject": 0, "start": [3, 4.5], "end": [8, 2]}],
        "shapes": [{"part": "head", "polygon": [[0, 0], [9, 0], [9, 9]]}],
    }
    drags, shapes = canvas.read_drags(value)
    assert drags == [("left_hand", (3.0, 4.5), (8.0, 2.0))]
    assert shapes == [{"part": "head", "polygon": [[0.0, 0.0], [9.0, 0.0], [9.0, 9.0]]}]
    assert canvas.read_drags(None) == ([], [])
    drag, shape = value["drags"][0], value["shapes"][0]
    for wrong in (
        {"drags": [drag | {"part": "<b>"}]}, {"drags": [drag | {"end": [1]}]}, {"drags": [drag | {"end": [1, "2"]}]},
        {"drags": [drag | {"end": [float("nan"), 1]}]}, {"drags": [drag] * 99}, {"drags": "x"},
        {"shapes": [shape | {"polygon": [[0, 0]]}]}, {"shapes": [shape | {"part": 3}]},
    ):  # fmt: skip
        with pytest.raises(InputError):
            canvas.read_drags(wrong)


def test_the_command_line_says_what_the_page_was_told():
    settings = {
        "prompt": "a man's $(hat)", "seconds": 2.0, "strength": None, "seed": 7, "preset": "mini-svd",
        "drags": [("left_hand", (33.0, 34.0), (40.25, 14.0))], "shapes": [], "motion": "motion.bvh", "from_stage": 2,
        "watermark": True,
    }  # fmt: skip
    (line,) = commands.generate_command(settings)
    words = shlex.split(line)
    assert words[words.index("--prompt") + 1] == "a man's $(hat)"
    at = words.index("--drag")
    assert parse_drag(words[at + 1 : at + 4]) == ("left_hand", (33.0, 34.0), (40.25, 14.0))
    assert words[words.index("--from-stage") + 1] == "2"
    assert "--strength" not in words
    assert "--watermark" in words
    masks = {
        "masks": "masks.npz",
        "steps": ["shift x=0.1"],
        "prompt": "snow",
        "seconds": 4.0,
        "seed": 1,
        "anchored": False,
    }
    edit, animate = (shlex.split(line) for line in commands.animate_command(masks))
    assert parse_step(edit[edit.index("--op") + 1]).values == {"x": 0.1}
    assert animate[2] == "edited_again.npz"
    assert "--no-anchored" in animate
    (line,) = commands.animate_command({"masks": "masks.npz", "prompt": "snow", "anchored": True})
    assert "anchored" not in line


def test_models_that_cannot_run_here_are_disabled_and_say_what_they_need(monkeypatch):
    monkeypatch.setattr(shipped, "needs", lambda name: "" if name.startswith("mini") else f"a GPU for {name}")
    html = shipped.not_runnable_html()
    lacking = [name for name in PRESETS if not name.startswith("mini")]
    assert lacking
    assert html.count('<input type="radio" disabled>') == len(lacking)
    assert all(f"a GPU for {name}" in html for name in lacking)
    assert "<b>mini" not in html


def square(frames=5):
    masks = np.zeros((frames, 1, 32, 32), bool)
    masks[:, :, 8:20, 8:20] = True
    return MaskSequence(masks, ("man",), 8.0)


def test_sliders_make_a_recipe_and_masks_move_by_it(tmp_path):
    draft = masks_draft.begin(square(), tmp_path)
    steps = masks_draft.steps_of(1, 0.25, 0, 0, 1, False, "reverse\n\n")
    assert [s.op for s in steps] == ["shift", "reverse"]
    moved = masks_draft.edited(draft, steps)
    assert np.array_equal(moved.masks[0, 0], np.roll(square().masks[0, 0], 8, 1))
    assert masks_draft.steps_of(1, 0, 0, 0, 1, False, "") == ()
    with pytest.raises(InputError, match="did you mean"):
        masks_draft.steps_of(1, 0, 0, 0, 1, False, "shft x=1")


def test_composing_keeps_what_was_done_as_command_lines(tmp_path):
    draft = masks_draft.begin(square(), tmp_path)
    steps = masks_draft.steps_of(1, 0.25, 0, 0, 1, False, "")
    both = masks_draft.composed(draft, steps, square(), 0.5)
    assert both.masks().masks.shape == (9, 2, 32, 32)
    assert [line.split()[2] for line in both.lines] == ["edit", "compose"]
    assert all((tmp_path / name).is_file() for name in both.files)


def test_a_zip_of_pngs_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for t in range(3):
            mask = (square().masks[t, 0] * 255).astype(np.uint8)
            file.writestr(f"tiger/{t:05d}.png", cv2.imencode(".png", mask)[1].tobytes())
    assert np.array_equal(masks_draft.read_upload(tmp_path / "a.zip").masks, square(3).masks)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("readme.txt", "x")
    with pytest.raises(InputError, match="no PNGs"):
        masks_draft.read_upload(tmp_path / "b.zip")


def test_a_part_dragged_in_one_frame_is_met_there_and_the_first_frame_stays():
    frames = 16
    motion = standing(np.tile([0, 0.95, 0], (frames, 1)))
    scene = Scene((Subject(0, "a man", "", motion),), camera(frames, hw=(128, 128)))
    part_ids, _ = mend.parts_at(scene, 8)
    rows, columns = np.nonzero(part_ids == PART_IDS["left_hand"])
    start = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5
    poses = mend.moved(scene, 8, [("left_hand", start, (start[0] - 6, start[1] - 14))])
    mended = mend.with_poses(scene, 8, poses, blend=True).subjects[0].motion
    wrist = HUMAN_JOINTS.index("left_wrist")
    before, after = joints(motion)[:, wrist], joints(mended)[:, wrist]
    assert np.array_equal(mended.rotvec[0], motion.rotvec[0])
    assert after[8, 1] > before[8, 1] + 0.15
    assert np.allclose(after[8], joints(poses[0])[0, wrist], atol=1e-4)
    assert np.linalg.norm(np.diff(after, axis=0), axis=1).max() < 0.25
