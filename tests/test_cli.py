"""The command line: what it makes and what it says; `test_cli_mistakes` has what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from licensed import BETA_RAISES_M, RAISED_M, smplx_file

from commands import refused, status, walk
from kinema import cli
from kinema.cli_train import TRAINABLE
from kinema.errors import InputError
from kinema.motion_io import load_motion, save_motion

VERBS = ("refine", "render", "diagnose", "convert", "retarget", "doctor", "train")


def test_help_names_every_verb_and_shows_examples(capsys):
    assert status("--help") == 0
    overview = capsys.readouterr().out
    for verb in VERBS:
        assert verb in overview
        assert status(verb, "--help") == 0
        page = capsys.readouterr().out
        assert verb in ("doctor", "train") or f"$ kinema {verb} " in page


@pytest.mark.parametrize("name", TRAINABLE)
def test_train_help_shows_an_example_and_the_configuration(name, capsys):
    assert status("train", name, "--help") == 0
    page = capsys.readouterr().out
    assert f"$ kinema train {name} " in page
    assert "capture" in page
    assert "--loop.steps" in page


def test_convert_round_trip(motion_file, tmp_path, capsys):
    assert status("convert", motion_file, tmp_path / "walk.bvh") == 0
    assert f"{tmp_path / 'walk.bvh'}: human, 24 frames, 1.2 s at 20 fps" in capsys.readouterr().out
    again = load_motion(tmp_path / "walk.bvh")
    np.testing.assert_allclose(again.root_translation_m, walk().root_translation_m, atol=1e-3)


def test_diagnose_prints_a_table_or_pure_json(motion_file, tmp_path, capsys):
    assert status("diagnose", motion_file) == 0
    assert "24 frames" in capsys.readouterr().out
    plot = tmp_path / "faults.png"
    assert status("diagnose", motion_file, "--json", "--plot", plot) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["frame_count"] == 24
    assert str(plot) in said.err
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_refine_keeps_what_is_held_and_records_how(motion_file, tmp_path, capsys):
    from kinema.checkpoints import PMP_WEIGHTS, sha256

    out = tmp_path / "clean.npz"
    assert status("refine", motion_file, "--out", out, "--prompt", "a man walks", "--hold", "first,-1") == 0
    assert f"{out}: human, 24 frames" in capsys.readouterr().out
    mended = load_motion(out)
    np.testing.assert_allclose(mended.rotvec[[0, -1]], walk().rotvec[[0, -1]], atol=1e-4)
    np.testing.assert_allclose(mended.root_translation_m[[0, -1]], walk().root_translation_m[[0, -1]], atol=1e-4)
    record = json.loads((tmp_path / "clean.npz.json").read_text())
    assert record["settings"]["hold"] == [0, 23]
    assert record["settings"]["prompt"] == "a man walks"
    assert record["sha256"] == {
        str(motion_file): sha256(motion_file),
        "motion_prior/pmp.safetensors": sha256(PMP_WEIGHTS),
    }


def amass_file(path: Path, betas: np.ndarray) -> Path:
    """The walk as AMASS has it, with SMPL-X betas: y up, which it says."""
    poses = walk().rotvec.reshape(24, -1)
    np.savez(path, poses=poses, trans=walk().root_translation_m, betas=betas, mocap_frame_rate=20.0, up_axis="y")
    return path


def test_refine_on_a_licensed_body_takes_the_pelvis_and_the_betas_for_its_own(tmp_path, monkeypatch):
    from kinema.optimize import optimizer

    given = []
    monkeypatch.setattr(optimizer, "refine", lambda motion, *a, body, **k: given.append((motion, body)) or motion)
    body = smplx_file(tmp_path / "SMPLX_NEUTRAL.npz")
    betas = np.eye(10, dtype=np.float32)[0] * 2
    amass, out = amass_file(tmp_path / "amass.npz", betas), tmp_path / "out.npz"
    assert status("refine", amass, "--out", out, "--body", body) == 0
    (motion, model), trans = given[0], walk().root_translation_m
    assert model.name == "SMPLX_NEUTRAL"
    np.testing.assert_allclose(motion.betas, betas)
    np.testing.assert_allclose(
        motion.root_translation_m - trans, [[0, -0.35 + RAISED_M + 2 * BETA_RAISES_M, 0.012]] * 24, atol=1e-5
    )
    with np.load(out) as written:
        np.testing.assert_allclose(written["trans"], trans, atol=1e-5)
    assert str(body) in json.loads(Path(f"{out}.json").read_text())["sha256"]


def test_a_body_of_another_category_is_refused(tmp_path, motion_file, capsys):
    from kinema.body.gaits import gait

    body = smplx_file(tmp_path / "SMPLX_NEUTRAL.npz")
    save_motion(gait("walk", 1.0, 20, 0)[0], tmp_path / "dog.npz")
    for verb, out in (("refine", "out.npz"), ("render", "out.mp4"), ("retarget", "out.npz")):
        shape = ["--betas", "1"] if verb == "retarget" else []
        message = refused(capsys, verb, tmp_path / "dog.npz", "--out", tmp_path / out, "--body", body, *shape)
        assert "'SMPLX_NEUTRAL': is of human layout" in message
    message = refused(capsys, "refine", motion_file, "--out", tmp_path / "o.npz", "--target", tmp_path / "dog.npz")
    assert "target: is of animal layout" in message


@pytest.mark.parametrize("name", ["parts", "openpose", "depth"])
def test_render_writes_a_video(name, motion_file, tmp_path, capsys):
    from kinema.video import read_video

    out = tmp_path / "out.mp4"
    options = ["--map", name, "--size", "128x96", "--fps", "10", "--camera", "follow"]
    assert status("render", motion_file, "--out", out, *options) == 0
    assert f"{out}: {name}, 12 frames of 128x96, 1.2 s at 10 fps" in capsys.readouterr().out
    video = read_video(out)
    assert video.frames.shape == (12, 96, 128, 3)
    assert video.frames.std() > 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "walk.npz"]


def test_render_writes_pictures(motion_file, tmp_path, capsys):
    assert status("render", motion_file, "--out", tmp_path / "frames", "--map", "mask", "--size", "64x64") == 0
    assert len(list((tmp_path / "frames").glob("*.png"))) == 24
    assert f"{tmp_path / 'frames' / '000000.png'}" in capsys.readouterr().out


def test_a_single_frame_goes_through_every_verb(tmp_path, capsys):
    one = tmp_path / "one.npz"
    save_motion(walk(1), one)
    assert status("diagnose", one) == 0
    assert status("refine", one, "--out", tmp_path / "o.npz") == 0
    assert status("retarget", one, "--out", tmp_path / "o.bvh", "--betas", "height=1") == 0
    assert status("convert", one, tmp_path / "o.glb") == 0
    assert status("render", one, "--out", tmp_path / "o.mp4", "--size", "64x64", "--camera", "follow") == 0
    assert "o.mp4: shaded, 1 frame of 64x64" in capsys.readouterr().out


def test_doctor_says_ready(capsys):
    assert status("doctor") == 0
    assert capsys.readouterr().out.strip().endswith("Ready.")


def test_doctor_fails_on_a_damaged_asset(tmp_path, monkeypatch, capsys):
    from kinema import checkpoints

    (tmp_path / "body").mkdir()
    (tmp_path / "body" / "a.safetensors").write_bytes(b"damaged")
    entries = {"body/a.safetensors": {"sha256": "0" * 64, "licence": "x"}, "gone": {"sha256": "", "licence": "x"}}
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    monkeypatch.setattr(checkpoints, "ASSETS", tmp_path)
    assert status("doctor") == 1
    assert "Not ready: body/a.safetensors, gone" in capsys.readouterr().out


def test_pinned_torch_is_the_one_of_the_constraints():
    from kinema.doctor import TORCH_VERSION

    constraints = Path(__file__).parents[1] / "constraints.txt"
    assert f"torch=={TORCH_VERSION}" in constraints.read_text().splitlines()


SUFFIXES = (".safetensors", ".json", ".npz")


def test_manifest_is_up_to_date():
    from kinema.checkpoints import ASSETS, sha256

    manifest = json.loads((ASSETS / "manifest.json").read_text())
    stored = {p.relative_to(ASSETS).as_posix() for p in ASSETS.glob("*/**/*") if p.suffix in SUFFIXES}
    assert set(manifest) == stored, "run scripts/update_asset_manifest.py"
    for file, entry in manifest.items():
        assert sha256(ASSETS / file) == entry["sha256"], f"run scripts/update_asset_manifest.py: {file} has changed"


# --- what options mean -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,5-8,-1", [0, 5, 6, 7, 8, 23]),
        ("first,last", [0, 23]),
        ("-3--1", [21, 22, 23]),
        ("first-3, last", [0, 1, 2, 3, 23]),
        ("7,7,3", [3, 7]),
        ("20-last", [20, 21, 22, 23]),
    ],
)
def test_frame_lists(text, expected):
    assert cli.parse_frames(text, 24) == expected


@given(st.sets(st.integers(0, 49), min_size=1))
def test_frame_lists_round_trip(chosen):
    assert cli.parse_frames(",".join(map(str, chosen)), 50) == sorted(chosen)
    assert cli.parse_frames(",".join(str(frame - 50) for frame in chosen), 50) == sorted(chosen)


@given(st.text(alphabet="0123456789-,firstla ", max_size=12))
def test_any_frame_list_is_read_or_refused(text):
    try:
        frames = cli.parse_frames(text, 10)
    except InputError:
        return
    assert frames == sorted(set(frames))
    assert all(0 <= frame < 10 for frame in frames)


def test_size_is_width_and_height():
    assert cli.parse_size("1024x576") == (1024, 576)
    assert cli.parse_size("832X480") == (832, 480)


# --- in a process of its own ------------------------------------------------------------------------------------------


def test_help_answers_within_a_second_and_loads_nothing_heavy(cpu_seconds):
    command = "from kinema.cli import main; main(['--help'])"
    assert cpu_seconds(command) < 1.0
    watch = f"import sys\ntry:\n    {command}\nexcept SystemExit:\n    pass\n"
    watch += "print([m for m in ('torch', 'numba', 'scipy', 'cv2', 'av', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", watch], check=True, capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]")


def test_a_stopped_program_leaves_nothing(tmp_path):
    script = f"""
import os, signal
from kinema import cli
from kinema.atomic import atomic_path

def doctor() -> None:
    with atomic_path({str(tmp_path / "out.npz")!r}):
        os.kill(os.getpid(), signal.SIGTERM)

cli.COMMANDS = (doctor,)
cli.main(["doctor"])
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 128 + 15
    assert not list(tmp_path.iterdir())


def test_exit_status_of_the_program(tmp_path):
    command = [sys.executable, "-c", "from kinema.cli import main; main()", "diagnose", str(tmp_path / "gone.npz")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
