"""Videos as phones, screen recorders and editors write them, and broken ones: right, or a clear word."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from kinema.errors import InputError
from kinema.video import frame_rate, has_uneven_rate, read_frames, read_video, write_video

HW = (48, 64)


def clip(frames=12):
    """Red tells the frame, green goes right, blue goes down."""
    y, x = np.mgrid[: HW[0], : HW[1]]
    return np.stack([np.stack([np.full_like(x, 20 * t), 3 * x, 4 * y], -1) for t in range(frames)]).astype(np.uint8)


def encode(path, frames, codec, pixels, times=None, rate=20, source="rgb24", options=None, **stream_options):
    """Frames at times in milliseconds, or at a steady rate."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        stream.options = stream_options
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for t, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=source)
            if times is not None:
                picture.pts, picture.time_base = times[t], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def turned(path, matrix):
    """Write a rotation into an .mp4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *(v << (30 if k % 3 == 2 else 16) for k, v in enumerate(matrix)))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [
        ((0, 1, 0, -1, 0, 0, 0, 0, 1), -1),  # a phone held upright: shown a quarter clockwise
        ((0, -1, 0, 1, 0, 0, 0, 0, 1), 1),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), 2),
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), 0),
    ],
)
def test_portrait_videos_come_upright(tmp_path, matrix, turns):
    write_video(clip(), tmp_path / "a.mp4", 20)
    video = read_video(turned(tmp_path / "a.mp4", matrix))
    expected = np.rot90(clip(), turns, (1, 2))
    assert video.frames.shape == expected.shape
    assert np.abs(video.frames.astype(int) - expected).mean() < 3
    assert video.frames[0].flags.c_contiguous


def test_ten_bits_become_eight(tmp_path):
    encode(tmp_path / "a.mkv", clip(), "ffv1", "yuv444p10le")
    video = read_video(tmp_path / "a.mkv")
    assert video.frames.dtype == np.uint8
    assert np.abs(video.frames.astype(int) - clip()).mean() < 3


def test_hdr_is_said_once(tmp_path, caplog):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.height, stream.width, stream.pix_fmt = *HW, "yuv420p10le"
        stream.codec_context.color_trc = 16
        for frame in clip(3):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p10le")
            picture.color_trc = 16
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    assert len(read_video(tmp_path / "a.mkv").frames) == 3
    assert caplog.text.count("HDR (PQ)") == 1


def test_what_is_transparent_is_on_white(tmp_path):
    alpha = np.zeros((*HW, 1), np.uint8)
    alpha[:, 32:] = 255
    alpha[:8] = 128
    frames = np.concatenate([clip(3), np.tile(alpha, (3, 1, 1, 1))], -1)
    encode(tmp_path / "a.mov", frames, "qtrle", "argb", source="rgba")
    video = read_video(tmp_path / "a.mov")
    np.testing.assert_array_equal(video.frames[:, 8:, :32], 255)
    np.testing.assert_array_equal(video.frames[:, 8:, 32:], clip(3)[:, 8:, 32:])
    half = clip(3)[:, :8].astype(float) * 128 / 255 + 127
    assert np.abs(video.frames[:, :8] - half).max() <= 1


def test_a_video_without_a_steady_rate_keeps_its_times(tmp_path, caplog):
    times = [0, 50, 100, 150, 600, 650, 700, 750, 800, 850, 900, 950]  # the fourth frame stands for 450 ms
    path = encode(tmp_path / "a.mkv", clip(), "ffv1", "yuv444p", times)
    assert has_uneven_rate(path)
    video = read_video(path)
    assert "no steady frame rate" in caplog.text
    seconds = len(video.frames) / video.fps
    assert seconds == pytest.approx(1.0, abs=0.15)
    shown = np.rint(video.frames[:, 0, 0, 0] / 20.0)
    middle = shown[int(0.4 * video.fps)]
    assert middle == 3  # at 0.4 s it still stands
    assert (np.diff(shown) >= 0).all()


@pytest.mark.parametrize("rate", [20, Fraction(30000, 1001)])
def test_rounded_times_are_steady(tmp_path, rate):
    path = encode(tmp_path / "a.mkv", clip(), "ffv1", "yuv444p", rate=rate)  # milliseconds: 33, 34, 33 ...
    assert not has_uneven_rate(path)
    assert len(read_video(path).frames) == 12
    assert frame_rate(path) == pytest.approx(float(rate), rel=0.01)


def test_frames_out_of_order_in_the_file_are_steady(tmp_path):
    path = encode(tmp_path / "a.mp4", clip(), "libx264", "yuv420p", bf="2")
    assert not has_uneven_rate(path)
    shown = np.rint(read_video(path).frames[:, 24, 0, 0] / 20.0)
    np.testing.assert_array_equal(shown, np.arange(12))


def test_no_frames_at_all(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.height, stream.width, stream.pix_fmt = *HW, "yuv420p"
        container.start_encoding()
    with pytest.raises(InputError, match=r"no frame|no video"):
        read_video(tmp_path / "a.mkv")


def test_a_truncated_video_gives_what_it_has_and_says_so(tmp_path, caplog):
    noise = np.random.default_rng(0).integers(0, 256, (30, *HW, 3), np.uint8)
    write_video(noise, tmp_path / "a.mp4", 20)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    frames = list(read_frames(tmp_path / "cut.mp4"))
    assert 5 < len(frames) < 30
    assert "30 frames" in caplog.text or "stops after" in caplog.text
    assert len(read_video(tmp_path / "cut.mp4").frames) == len(frames)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    with pytest.raises(InputError, match="no video stream"):
        read_video(tmp_path / "a.wav")


def test_a_size_that_changes_is_said(tmp_path, monkeypatch):
    write_video(clip(2), tmp_path / "a.mp4", 20)
    sizes = iter([clip(1)[0], clip(1)[0][:20]])
    monkeypatch.setattr("kinema.video.read_frames", lambda path, fps: sizes)
    with pytest.raises(InputError, match="64x48 and 64x20"):
        read_video(tmp_path / "a.mp4")
