"""Reports over folders: what is matched, measured, left out with a reason, and refused."""

from __future__ import annotations

import inspect
import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import moving
from rich.console import Console

from kinema.errors import InputError
from kinema.evaluate.clip_files import read_frames_of
from kinema.evaluate.registry import INPUTS, METRICS
from kinema.evaluate.report import evaluate, evaluate_folder
from kinema.evaluate.seams import measure_seams
from kinema.extract.observation import Observation, Track
from kinema.render.palette import parts_to_rgb
from kinema.video import write_video

PAGE = Path(__file__).parents[2] / "docs" / "evaluate.md"


def parts(left: int = 20) -> np.ndarray:
    ids = np.zeros((8, 64, 64), np.uint8)
    ids[:, 20:40, left : left + 20] = 3
    return ids


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Two clips as .mp4 and PNGs, the second equal to its true one; parts as a video there, as .npz here."""
    videos, truth = tmp_path / "videos", tmp_path / "truth"
    videos.mkdir()
    truth.mkdir()
    write_video(moving((1, 0)), truth / "a.mp4", 8, lossless=True)
    write_video(moving((2, 0)), videos / "a.mp4", 8, lossless=True)
    for folder in (videos, truth):
        write_video(moving((2, 0), seed=1), folder / "b", 8)
    write_video(parts_to_rgb(parts()), truth / "a_parts.mp4", 8)
    np.savez(
        videos / "a.npz",
        part_ids=parts(25),
        subject_ids=(parts(25) > 0).astype(np.uint8),
        target_part=3,
        target_px=[32, 30],
    )
    return videos, truth


def test_a_report_of_two_clips(folders):
    report = evaluate_folder(*folders)
    rows = {row.metric: row for row in report.rows}
    assert list(rows["flow_error"].per_clip) == ["a", "b"]
    assert rows["flow_error"].per_clip["a"] == pytest.approx(1, rel=0.1)
    assert rows["flow_error"].per_clip["b"] == 0
    assert rows["flow_error"].value == pytest.approx(rows["flow_error"].per_clip["a"] / 2)
    assert rows["part_miou"].per_clip == {"a": pytest.approx(15 / 25, abs=0.02)}
    assert rows["target_error"].per_clip == {"a": pytest.approx(3 / 64)}
    assert rows["frechet_video_distance"].clips == 2
    assert rows["psnr"].per_clip["b"] == np.inf
    assert rows["morphology_failure_rate"].value == 0
    assert set(rows) | set(report.left_out) == set(METRICS)
    assert "joints_px of the video" in report.left_out["joint_acceleration_error"]


def test_without_true_videos(folders):
    report = evaluate_folder(folders[0])
    assert {"dynamic_degree", "motion_smoothness"} <= {row.metric for row in report.rows}
    assert "--against" in report.left_out["psnr"]
    assert "--against" in report.left_out["part_miou"]


def test_json_is_strict_and_the_table_says_all(folders):
    report = evaluate_folder(*folders, metrics=["psnr", "lpips", "joint_acceleration_error"])

    def refuse(name):
        raise AssertionError(name)

    found = json.loads(report.to_json(), parse_constant=refuse)
    assert found["rows"][0]["per_clip"]["b"] == "inf"
    console = Console(width=160, file=io.StringIO())
    console.print(report.to_table())
    text = console.file.getvalue()
    assert "2 < 30" in text
    assert "joint_acceleration_error" in text


def test_the_verb_prints_and_writes(folders, tmp_path, capsys):
    out = tmp_path / "scores.json"
    evaluate(folders[0], folders[1], out=out)
    assert "flow_error" in capsys.readouterr().out
    written = json.loads(out.read_text())
    evaluate(folders[0], folders[1], json=True)
    assert json.loads(capsys.readouterr().out) == written
    with pytest.raises(InputError, match=r"\.json"):
        evaluate(folders[0], out=tmp_path / "scores.txt")


def test_what_no_file_tells_is_looked_for(folders):
    """Only in the clip without parts of its own: part 8 as one subject, everywhere."""
    looked = []

    def observe(video):
        looked.append(len(video.frames))
        masks = np.ones(video.frames.shape[:3], bool)
        boxes, none = np.zeros((8, 4), np.float32), np.zeros((8, 0), np.float32)
        track = Track("human", "a person", masks.any((1, 2)), boxes, masks, none[..., None].repeat(2, -1), none)
        return Observation((track,), masks * np.uint8(8), masks.astype(np.float32), video.fps)

    report = evaluate_folder(folders[0], metrics=["morphology_failure_rate", "subject_consistency"], observe=observe)
    assert looked == [8]
    assert [row.clips for row in report.rows] == [2, 2]
    assert report.rows[0].value == 0


def test_one_clip_against_one(folders):
    report = evaluate_folder(folders[0] / "a.mp4", folders[1] / "b", ["pixel_mse"])
    assert report.rows[0].value > 0.001
    assert report.rows[0].low is None


def test_a_clip_without_its_true_one_still_counts(folders, caplog):
    write_video(moving((0, 1)), folders[0] / "c.mp4", 8)
    report = evaluate_folder(*folders, metrics=["ssim", "dynamic_degree"])
    assert [row.clips for row in report.rows] == [2, 3]
    assert "no true clip for 1 of 3" in caplog.text


def test_clips_that_do_not_fit(folders):
    write_video(moving((2, 0), frames=6), folders[0] / "a.mp4", 8)
    (folders[0] / "a.npz").unlink()
    with pytest.raises(InputError, match="6 frames of 64x64") as found:
        evaluate_folder(*folders)
    assert "-frames:v 8" in found.value.mend


def test_parts_that_do_not_fit(folders):
    np.savez(folders[0] / "a.npz", part_ids=parts()[:, :32])
    with pytest.raises(InputError, match=r"a.npz: part_ids.*\(8, 32, 64\)"):
        evaluate_folder(*folders)
    np.savez(folders[0] / "a.npz", part_ids=parts() + 0.5)
    with pytest.raises(InputError, match="float64"):
        evaluate_folder(*folders)
    (folders[0] / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="cannot be read"):
        evaluate_folder(*folders)


def test_folders_with_nothing_in_them(tmp_path, folders):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no video"):
        evaluate_folder(empty)
    with pytest.raises(InputError, match="does not exist"):
        evaluate_folder(tmp_path / "nowhere")
    write_video(moving((0, 0)), empty / "x.mp4", 8)
    with pytest.raises(InputError, match="rename"):
        evaluate_folder(folders[0], empty)


def test_pngs_of_two_sizes(folders):
    cv2.imwrite(str(folders[0] / "b" / "000009.png"), np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(InputError, match="64x32"):
        evaluate_folder(folders[0])


def test_what_animate_left_beside_a_video_and_the_masks_that_drove_it(tmp_path):
    video = moving((1, 0), frames=17)
    write_video(video, tmp_path / "a.mp4", 8, lossless=True)
    (tmp_path / "a.clips").mkdir()
    record = {"prompt": "spots on a wall", "seams": [{"frame": 9}]}
    (tmp_path / "a.clips" / "result.json").write_text(json.dumps(record))
    np.savez(tmp_path / "a.npz", masks=np.ones((17, 1, 8, 8), bool))
    names = [
        "mask_alignment",
        "mask_alignment_colour",
        "mask_alignment_grey",
        "text_alignment",
        "seam_difference_ratio",
        "seam_colour_drift",
    ]
    rows = {row.metric: row.value for row in evaluate_folder(tmp_path, metrics=names).rows}
    assert list(rows) == names
    seam = measure_seams(read_frames_of(tmp_path / "a.mp4"), [9])[0]
    assert rows["seam_difference_ratio"] == pytest.approx(seam.difference_ratio)
    assert rows["seam_colour_drift"] == pytest.approx(seam.colour_drift)
    assert -100 <= rows["text_alignment"] <= 100
    np.savez(tmp_path / "a.npz", masks=np.zeros((17, 1, 8, 8), bool), prompt="another")
    report = evaluate_folder(tmp_path, metrics=names)
    assert "nothing that is large enough" in report.left_out["mask_alignment"]
    assert {row.metric: row.value for row in report.rows}["text_alignment"] != rows["text_alignment"]


def test_masks_and_records_that_do_not_fit(tmp_path):
    write_video(moving((1, 0)), tmp_path / "a.mp4", 8)
    np.savez(tmp_path / "a.npz", masks=np.ones((5, 1, 8, 8), bool))
    with pytest.raises(InputError, match="8 frames of N masks"):
        evaluate_folder(tmp_path)
    (tmp_path / "a.npz").unlink()
    (tmp_path / "a.clips").mkdir()
    (tmp_path / "a.clips" / "result.json").write_text('{"prompt": 3}')
    with pytest.raises(InputError, match="no such record"):
        evaluate_folder(tmp_path)


def test_a_metric_that_does_not_exist(folders):
    with pytest.raises(InputError, match="one of part_miou"):
        evaluate_folder(folders[0], metrics=["fvd"])


def test_every_metric_asks_for_inputs_that_there_are():
    for metric in METRICS.values():
        assert {need.removeprefix("truth.") for need in metric.needs} <= set(INPUTS)
        assert len(metric.needs) <= len(inspect.signature(metric.function).parameters)


def test_the_page_has_the_metrics_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (\w+) \| (\d+) \| (.*?) \| (.*?) \|$", PAGE.read_text(), re.MULTILINE)
    expected = [(n, m.unit, m.better, str(m.least), m.source, ", ".join(m.needs)) for n, m in METRICS.items()]
    assert rows == expected
