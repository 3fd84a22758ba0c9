"""What a user can get wrong: a clear line, status 2, and no file."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from commands import refused, status


def written(path: Path, **changes) -> Path:
    """An npz of a walk with some of its keys changed; None takes one away."""
    with np.load(path) as stored:
        arrays = {**{k: stored[k] for k in stored.files}, **changes}
    bad = path.with_name("bad.npz")
    np.savez(bad, **{k: v for k, v in arrays.items() if v is not None})
    return bad


BROKEN = {
    "nan": (lambda a: {"trans": np.where(np.arange(24)[:, None] == 5, np.nan, a["trans"])}, "trans"),
    "shape": (lambda a: {"poses": a["poses"][:, :-1]}, "poses"),
    "lengths differ": (lambda a: {"trans": a["trans"][:-1]}, "trans"),
    "no frames": (lambda a: {"poses": a["poses"][:0], "trans": a["trans"][:0]}, "poses"),
    "fps": (lambda a: {"mocap_frame_rate": np.array(np.nan)}, "mocap_frame_rate"),
    "no poses": (lambda a: {"poses": None}, "poses"),
}


@pytest.mark.parametrize("verb", ["refine", "render", "diagnose", "convert"])
@pytest.mark.parametrize("fault", BROKEN)
def test_broken_npz_is_refused(verb, fault, motion_file, tmp_path, capsys):
    change, field = BROKEN[fault]
    with np.load(motion_file) as stored:
        bad = written(motion_file, **change(dict(stored)))
    out = tmp_path / ("out.mp4" if verb == "render" else "out.npz")
    before = sorted(tmp_path.iterdir())
    options = {"diagnose": [], "convert": [out]}.get(verb, ["--out", out])
    message = refused(capsys, verb, bad, *options)
    assert "bad.npz" in message
    assert field in message
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_not_what_its_name_says(tmp_path, capsys):
    for name in ("a.npz", "a.bvh", "a.glb"):
        (tmp_path / name).write_bytes(b"%PDF-1.7 something else")
        assert name in refused(capsys, "diagnose", tmp_path / name)


def test_a_missing_file_and_an_unknown_suffix(motion_file, tmp_path, capsys):
    assert "gone.bvh: does not exist" in refused(capsys, "diagnose", tmp_path / "gone.bvh")
    message = refused(capsys, "convert", motion_file, tmp_path / "walk.fbx")
    assert "walk.fbx" in message
    assert ".bvh" in message
    message = refused(capsys, "render", motion_file, "--out", tmp_path / "walk.avi")
    assert ".mp4" in message


def test_a_missing_folder_is_found_before_any_work(tmp_path, capsys):
    message = refused(capsys, "refine", tmp_path / "gone.npz", "--out", tmp_path / "none" / "x.npz")
    assert "its folder does not exist" in message
    assert "mkdir -p" in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--hold", "99"], "frames from 0 to 23"),
        (["--hold", "1;2"], "such as 0,5-8,-1"),
        (["--hold", "8-5"], "frames from 0 to 23"),
        (["--strength", "1.5"], "0 (calm) to 1 (lively)"),
        (["--strength", "lively"], "--strength"),
        (["--length", "0"], "length"),
        (["--length", "-3"], "length"),
        (["--target", "gone.npz"], "gone.npz"),
        (["--tempo", "3"], "--tempo"),
    ],
)
def test_bad_options_of_refine(options, expected, motion_file, tmp_path, capsys):
    assert expected in refused(capsys, "refine", motion_file, "--out", tmp_path / "out.npz", *options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["walk.npz"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--size", "1024"], "1024x576"),
        (["--size", "1023x576"], "even numbers"),
        (["--size", "4098x576"], "4096"),
        (["--map", "colours"], "shaded"),
        (["--camera", "gone.npz"], "gone.npz"),
        (["--camera", "spin"], "orbit"),
        (["--fps", "0"], "fps"),
        (["--fps", "nan"], "fps"),
        (["--body", "gone.npz"], "gone.npz"),
    ],
)
def test_bad_options_of_render(options, expected, motion_file, tmp_path, capsys):
    assert expected in refused(capsys, "render", motion_file, "--out", tmp_path / "out.mp4", *options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["walk.npz"]


def test_bad_betas(motion_file, tmp_path, capsys):
    out = tmp_path / "out.npz"
    assert "height" in refused(capsys, "retarget", motion_file, "--out", out, "--betas", "tall")
    assert "betas" in refused(capsys, "retarget", motion_file, "--out", out, "--betas", ",".join("1" * 99))
    assert not out.exists()


def test_a_full_disk_leaves_nothing(motion_file, tmp_path, capsys, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    before = sorted(tmp_path.iterdir())
    for name in ("walk.bvh", "copy.npz", "walk.glb"):
        message = refused(capsys, "convert", motion_file, tmp_path / name)
        assert name in message
        assert "No space left on device" in message
        assert sorted(tmp_path.iterdir()) == before


def test_nowhere_to_keep_compiled_code_is_said_so(motion_file, monkeypatch, capsys):
    """numba's own words, of an installation that its user cannot write to, without a home folder."""

    def numba(*arguments, **options):
        raise RuntimeError("cannot cache function 'project': no locator available for file 'raster_kernels.py'")

    monkeypatch.setattr("kinema.motion_io.load_motion", numba)
    assert "export NUMBA_CACHE_DIR=" in refused(capsys, "diagnose", motion_file)


def test_control_c_ends_with_130(motion_file, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("kinema.motion_io.load_motion", interrupted)
    assert status("diagnose", motion_file) == 130
    assert capsys.readouterr().err == "stopped\n"
