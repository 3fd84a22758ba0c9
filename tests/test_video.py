"""Video files: what is written is read back; broken files are refused and leave nothing behind."""

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.types import Video
from kinema.video import frame_rate, read_frames, read_video, resample, write_video


def clip(frames=12, hw=(48, 64)):
    """A slow gradient whose red channel tells the frame."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    return np.stack([np.stack([np.full_like(x, 20 * t), 3 * x, 4 * y], -1) for t in range(frames)]).astype(np.uint8)


def test_mp4_round_trip(tmp_path):
    frames = clip()
    assert write_video(iter(frames), tmp_path / "a.mp4", 24.0) == 12
    video = read_video(tmp_path / "a.mp4")
    assert video.fps == 24.0
    assert video.frames.shape == frames.shape
    assert np.abs(video.frames.astype(int) - frames).mean() < 3


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 150, 100), (0, 0, 0), (255, 255, 255)])
def test_colours_survive(tmp_path, color):
    frame = np.full((32, 32, 3), color, np.uint8)
    write_video([frame] * 3, tmp_path / "c.mp4", 20)
    assert np.abs(read_video(tmp_path / "c.mp4").frames[1].astype(int) - color).max() <= 3


def test_lossless_round_trip(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    write_video(frames, tmp_path / "a.mp4", 29.97, lossless=True)
    np.testing.assert_array_equal(read_video(tmp_path / "a.mp4").frames, frames)
    assert frame_rate(tmp_path / "a.mp4") == pytest.approx(29.97, abs=1e-3)


def test_odd_sides_are_padded(tmp_path):
    write_video(clip(3, (47, 63)), tmp_path / "a.mp4", 20)
    assert read_video(tmp_path / "a.mp4").frames.shape == (3, 48, 64, 3)


def test_png_folder(tmp_path):
    import cv2

    frames = clip(3)
    assert write_video(frames, tmp_path / "frames", 20) == 3
    files = sorted((tmp_path / "frames").iterdir())
    assert [f.name for f in files] == ["000000.png", "000001.png", "000002.png"]
    np.testing.assert_array_equal(cv2.imread(str(files[2]))[..., ::-1], frames[2])
    with pytest.raises(InputError, match="exists already"):
        write_video(frames, tmp_path / "frames", 20)


@pytest.mark.parametrize(("fps", "count"), [(5, 5), (10, 10), (20, 20), (30, 30), (40, 40)])
def test_other_frame_rates(tmp_path, fps, count):
    write_video(clip(12).repeat(2, 0)[:20], tmp_path / "a.mp4", 20)
    video = read_video(tmp_path / "a.mp4", fps)
    assert (len(video.frames), video.fps) == (count, fps)
    shown = np.rint(video.frames[:, 0, 0, 0] / 20.0)
    np.testing.assert_array_equal(shown, np.floor(np.arange(count) / fps * 20 + 1e-6) // 2)


def test_resample_keeps_the_duration():
    video = Video(clip(10), 20.0)
    assert len(resample(video, 10.0).frames) == 5
    up = resample(video, 40.0)
    assert len(up.frames) == 20
    np.testing.assert_array_equal(up.frames[::2], video.frames)


def test_streaming_reads_only_what_is_asked(tmp_path):
    write_video(clip(12), tmp_path / "a.mp4", 20)
    assert len(read_video(tmp_path / "a.mp4", max_frames=4).frames) == 4
    assert next(read_frames(tmp_path / "a.mp4")).shape == (48, 64, 3)


def test_broken_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_video(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(InputError, match="no video"):
        read_video(tmp_path / "text.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(InputError):
        read_video(tmp_path / "empty.mp4")
    write_video(clip(12), tmp_path / "a.mp4", 20)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:900])
    with pytest.raises(InputError):
        read_video(tmp_path / "cut.mp4")


def test_nothing_is_left_of_a_video_that_failed(tmp_path):
    def broken():
        yield clip(1)[0]
        raise RuntimeError("the renderer broke")

    with pytest.raises(RuntimeError):
        write_video(broken(), tmp_path / "a.mp4", 20)
    with pytest.raises(RuntimeError):
        write_video(broken(), tmp_path / "pngs", 20)
    with pytest.raises(InputError, match="no frames"):
        write_video([], tmp_path / "a.mp4", 20)
    with pytest.raises(InputError, match="fps"):
        write_video(clip(1), tmp_path / "a.mp4", float("nan"))
    with pytest.raises(InputError, match="kind of video"):
        write_video(clip(1), tmp_path / "a.gif", 20)
    with pytest.raises(InputError, match="does not exist"):
        write_video(clip(1), tmp_path / "none" / "a.mp4", 20)
    with pytest.raises(InputError, match="frame 2"):
        write_video([clip(1)[0], clip(1, (32, 32))[0]], tmp_path / "a.mp4", 20)
    assert list(tmp_path.iterdir()) == []
