"""The command: totals that add up, runs that go on, other settings, the report, what a user can get wrong."""

import re
from pathlib import Path

import disturbed
import numpy as np
import pytest

from commands import refused, status
from kinema.annotate.index import read_index
from kinema.annotate.recipes import Common, MVideo, Revision, fingerprint
from kinema.annotate.run import annotate, here
from kinema.annotate.shards import read_clips
from kinema.errors import InputError
from kinema.video import write_video


def run(videos, out, recipe=disturbed.RECIPE, **more):
    def executor(sources, recipe, to):
        return here(sources, recipe, to, disturbed.DiscModels())

    return annotate(videos, out, recipe, executor, **more)


@pytest.fixture
def videos(tmp_path) -> Path:
    return disturbed.write_videos(tmp_path / "videos", 4)


def test_totals_add_up_and_clips_are_what_the_index_says(videos, tmp_path):
    (videos / "copy.mp4").write_bytes((videos / "v1.mp4").read_bytes())
    write_video([np.full((48, 64, 3), 40, np.uint8)] * 12, videos / "empty.mp4", 8.0)
    write_video([np.full((48, 64, 3), 40, np.uint8)] * 4, videos / "short.mp4", 8.0)
    totals = run(videos, tmp_path / "out")
    assert totals.read == 9
    assert totals.skipped == 1
    assert totals.videos == {"cut": 7, "set aside": 1}
    assert totals.clips == {"kept": 6, "filtered": 2, "set aside": 1}
    assert totals.by_filter == {"seen": 1, "length": 1}
    rows = read_index(tmp_path / "out")
    assert len(rows) == sum(totals.clips.values()) + 1
    clips = list(read_clips(tmp_path / "out"))
    kept = {r["key"]: r for r in rows if r["outcome"] == "kept"}
    assert [c.key for c in clips] == list(kept)
    for clip in clips:
        row = kept[clip.key]
        assert len(clip.video.frames) == row["frames"] == row["end_frame"] - row["first_frame"]
        assert clip.labels == ("sports ball",)
        assert clip.masks[0, 0].sum() > 30
        assert clip.sha256 == row["sha256"]
        assert clip.scene is None
    v0 = [c for c in clips if c.key.startswith("v0-")]
    assert [c.frames for c in v0] == [(0, 10), (10, 20)]


def test_a_second_run_does_nothing_and_new_videos_go_into_new_shards(videos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(videos, out, group_size=2)
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.glob("clips-*.tar")}
    with monkeypatch.context() as patched:
        patched.setattr(disturbed.Discs, "detect", lambda *_: pytest.fail("it was done already"))
        run(videos, out, group_size=2)
    y, x = np.mgrid[:48, :64]
    frames = [
        np.where(((x - 20 - t) ** 2 + (y - 30) ** 2 < 70)[..., None], (250, 20, 20), 10).astype(np.uint8)
        for t in range(12)
    ]
    write_video(frames, videos / "aaa_first_by_name.mp4", 8.0)
    totals = run(videos, out, group_size=2)
    assert totals.read == 7
    after = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.glob("clips-*.tar")}
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1


def test_other_settings_and_other_content_under_the_same_key_are_refused(videos, tmp_path):
    out = tmp_path / "out"
    run(videos, out)
    with pytest.raises(InputError, match=r"holds clips of other settings .*least_s 1.0, now 2.0"):
        run(videos, out, MVideo(Common(), 2.0))
    (videos / "v1.txt").write_text("another caption")
    with pytest.raises(InputError, match="v1: was annotated as another video or with another caption"):
        run(videos, out)


def test_what_a_killed_run_left_unfinished_is_gone_when_all_is_done(videos, tmp_path):
    out = tmp_path / "out"
    (out / "work" / "clips" / "79").mkdir(parents=True)
    left = [out / "work" / "clips" / "79" / ".7956-0000.z8o8croj.tar", out / ".clips-00000.a1b2c3d4.tar"]
    for path in (*left, out / ".mine"):
        path.write_bytes(b"")
    run(videos, out)
    assert not any(path.exists() for path in left)
    assert (out / ".mine").exists()


def test_settings_change_the_fingerprint():
    found = {fingerprint(r) for r in (Revision(), MVideo(), Revision(Common(side_px=256)), Revision(least_iou=0.6))}
    assert len(found) == 4
    assert fingerprint(Revision()) == fingerprint(Revision())


def test_the_report_is_one_page_without_outside_resources(videos, tmp_path):
    run(videos, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6
    assert not re.search(r"https?://|<script|<link|src=\"(?!data:)", page)
    assert "ZeroDivisionError: too blue" in page
    counts = dict(re.findall(r"<td>([^<]+)</td><td class=n>(\d+)</td>", page))
    assert (
        int(counts["videos read"]) == sum(int(counts[k]) for k in ("= skipped", "+ set aside", "+ cut into clips")) + 0
    )


def test_two_runs_in_one_folder(videos, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    run(videos, tmp_path / "out")
    with (tmp_path / "out" / "work" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another run"):
            run(videos, tmp_path / "out")


def test_the_command_with_clips_that_are_too_short(videos, tmp_path, capsys):
    """Nothing is looked at, so no weights are read."""
    (videos / "poison.mp4").unlink()
    assert status("annotate", videos, "--out", tmp_path / "out", "--recipe", "mvideo") == 0
    told = capsys.readouterr().out
    assert "5 videos: 0 skipped, 0 left out before cutting, 1 set aside, 4 cut into 6 clips" in told
    assert "6 clips: 0 kept, 6 left out, 0 set aside (left out by length 6)" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone", "--out", "out"), "gone: does not exist"),
        (("videos", "--out", "no/such"), "mkdir -p no"),
        (("videos", "--out", "out", "--recipe", "other"), "revision, mvideo"),
        (("videos", "--out", "out", "--bad", "maybe"), "stop, skip"),
        (("videos", "--out", "out", "--captions", "maybe"), "needed, made"),
        (("videos", "--out", "out", "--side", "3"), "at least 32"),
        (("videos", "--out", "out", "--fps", "0"), "above 0"),
        (("videos", "--out", "out"), "has no caption"),
    ],
)
def test_mistakes_end_with_status_2(arguments, words, tmp_path, monkeypatch, capsys):
    disturbed.write_videos(tmp_path / "videos", 1)
    monkeypatch.chdir(tmp_path)
    assert words in " ".join(refused(capsys, "annotate", *arguments).split())
    assert not (tmp_path / "out").exists()
