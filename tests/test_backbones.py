"""The three stages with the public backbones' classes, tiny and untrained, and their presets."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_svd import tiny_svd_pipeline
from tiny_wan import tiny_vace_pipeline

from kinema import presets, revision
from kinema.errors import InputError
from kinema.motion_io import load_motion
from kinema.optimize.perform import Cue
from kinema.picture import load_picture
from kinema.plan import make_plan
from kinema.presets import PRESETS, find_preset
from kinema.stage_sheet import whole_coarse
from kinema.stages import record_of
from kinema.types import Video
from kinema.video import read_video

PICTURE, MOTION = "examples/dancer.png", "examples/punch.npz"
PUBLIC = [name for name in PRESETS if name != "mini-svd"]


@pytest.fixture(scope="module")
def vace_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vace") / "tiny-vace"
    tiny_vace_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def small_vace(monkeypatch, vace_folder):
    """vace-1.3b's preset at 64x64 with clips of 9 frames and one step."""
    small = replace(PRESETS["vace-1.3b"], pixels=64 * 64, frames=9, coarse_frames=5, steps=1, coarse_steps=1)
    monkeypatch.setitem(presets.PRESETS, "vace-1.3b", small)
    return find_preset("vace-1.3b", vace_folder)


def test_the_three_stages_run_with_a_control_video_and_odd_lengths(small_vace, vace_folder, caplog, tmp_path):
    """7 frames are made as 9; the record names the model's own files."""
    result = revision.generate(
        PICTURE, "a woman punches", motion=load_motion(MOTION), frames=7, preset="vace-1.3b", model=vace_folder,
        control="openpose", stages=tmp_path,
    )  # fmt: skip
    assert result.video.frames.shape == (7, 64, 64, 3)
    assert result.video.fps == 16
    assert any("7 frames are made as 9" in note for note in result.plan.notes)
    assert "7 frames are made as 9" in caplog.text
    record = record_of(result)
    assert record["control"] == "openpose"
    assert any(name.startswith("tiny-vace/transformer") for name in dict(record["sha256"]))
    assert len(read_video(tmp_path / "control.mp4").frames) == 7


def test_stage_1_is_smaller_and_shorter_and_later_windows_go_on_from_the_frames_before(small_vace):
    plan = make_plan(
        load_picture(PICTURE),
        small_vace,
        "a woman",
        None,
        (),
        None,
        None,
        None,
        None,
        seed=1,
        start=None,
        control="depth",
    )
    coarse = revision.coarse_video(plan, lambda *report: None)
    assert coarse.frames.shape == (5, 32, 32, 3)
    assert coarse.fps == pytest.approx(16 * 5 / 9)
    condition = revision.no_condition(9, (64, 64))
    scene = revision.extract_scene(replace(plan, motion=(Cue(load_motion(MOTION)),)), None)
    result = revision.GenerationResult(
        Video(condition.part_ids[..., None].repeat(3, -1), 16), coarse, scene, scene, condition, plan
    )
    assert whole_coarse(result).shape == (5, 64, 64, 3)

    seen = []

    class Spy:
        def generate(self, image, sampling, condition, *rest):
            seen.append((image, sampling.frames, condition))
            return np.random.default_rng(len(seen)).integers(0, 255, (sampling.frames, 64, 64, 3), np.uint8)

    motion = load_motion(MOTION)
    moved = replace(plan, motion=(Cue(motion),))
    scene = revision.lengthen_scene(revision.extract_scene(moved, None), 15)
    condition = revision.scene_condition(scene, (64, 64))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(revision, "backbone", lambda preset: Spy())
        frames = list(revision.regenerated_frames(moved, scene, condition, lambda *report: None))
    assert len(frames) == 15
    assert [count for _, count, _ in seen] == [9, 9]
    assert np.array_equal(seen[0][0], plan.picture)
    first_clip = np.random.default_rng(1).integers(0, 255, (9, 64, 64, 3), np.uint8)
    assert np.array_equal(seen[1][0], first_clip[6])
    control = revision.control_video(scene, "depth", (64, 64))
    assert np.array_equal(seen[1][2], control[6:15])


@pytest.mark.parametrize("name", PUBLIC)
def test_a_preset_without_weights_says_where_they_are(name, tmp_path):
    with pytest.raises(InputError, match=f"kinema fetch {name} .{PRESETS[name].source}"):
        find_preset(name)
    with pytest.raises(InputError, match="no model folder"):
        find_preset(name, tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    assert find_preset(name, tmp_path).folder == tmp_path
    with pytest.raises(InputError, match="does not exist"):
        find_preset(name, tmp_path, tmp_path / "gone.safetensors")


@pytest.mark.parametrize("name", list(PRESETS))
def test_what_a_preset_asks_for_its_model_can_do(name):
    """ReVision, section 4.2: stage 1 has half the frames, 32 of 50 steps, a quarter of the pixels."""
    preset = PRESETS[name]
    model = preset.constraints
    assert preset.start in model.starts
    assert preset.fps == model.fps
    for frames in (preset.frames, preset.coarse_frames):
        assert model.clip_frames(frames) == frames <= model.most_frames
    if name in PUBLIC:
        assert preset.coarse_frames == pytest.approx(preset.frames / 2, abs=1)
        assert (preset.coarse_steps, preset.steps, preset.coarse_share) == (32, 50, 0.25)


def test_every_mistake_is_found_before_weights_are_read(small_vace, monkeypatch):
    monkeypatch.setattr(revision, "backbone", lambda preset: pytest.fail("weights were read"))
    folder = small_vace.folder
    with pytest.raises(InputError, match="depth or openpose or layout"):
        revision.generate(PICTURE, preset="vace-1.3b", model=folder, control="parts")
    with pytest.raises(InputError, match="--start reposed"):
        revision.generate(PICTURE, preset="svd", model=folder, start="noise")


def test_svd_without_an_adapter_follows_the_motion_by_the_reposed_picture(monkeypatch, tmp_path):
    tiny_svd_pipeline().save_pretrained(tmp_path / "svd")
    small = replace(PRESETS["svd"], pixels=64 * 64, frames=4, steps=2, start_steps=1)
    monkeypatch.setitem(presets.PRESETS, "svd", small)
    result = revision.generate(
        PICTURE, motion=load_motion(MOTION), frames=4, preset="svd", model=tmp_path / "svd", seed=3
    )
    assert result.video.frames.shape == (4, 64, 64, 3)
    assert any("no motion adapter" in note for note in result.plan.notes)
    assert result.condition.part_ids.any()


def test_a_model_that_sees_no_picture_needs_a_motion(vace_folder):
    with pytest.raises(InputError, match="--motion FILE"):
        revision.generate(PICTURE, preset="cogvideox-fun", model=vace_folder)
    preset = replace(PRESETS["cogvideox-fun"], pixels=64 * 64, frames=9, folder=vace_folder)
    plan = make_plan(
        load_picture(PICTURE), preset, "a robot", None, (), load_motion(MOTION), None, 9, None, seed=1, start=None
    )
    assert any("looks come from the prompt" in note for note in plan.notes)
    scene = revision.lengthen_scene(revision.extract_scene(plan, None), 9)

    class Grey:
        def generate(self, image, sampling, *rest):
            return np.full((sampling.frames, 64, 64, 3), 77, np.uint8)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(revision, "backbone", lambda preset: Grey())
        made = revision.regenerate(plan, scene, revision.scene_condition(scene, (64, 64)), lambda *report: None)
    assert (made.frames == 77).all()
