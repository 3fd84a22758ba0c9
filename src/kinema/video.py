"""Video files: streaming decode, encode, and another frame rate (PyAV).

Input: frames uint8 [H,W,3] RGB one after another, or a file. Output: a file, or frames. Nothing holds a whole clip
but `read_video`. Colours are BT.709, limited range, as players expect of H.264. What is read is as a player shows it:
turned upright, on white where it is transparent, in 8 bits, at a steady rate.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.types import Video

Frame = UInt8[np.ndarray, "H W 3"]
X264 = {"crf": "16", "preset": "fast", "x264-params": "mbtree=0"}
"""Rate factor 18 counts as visually lossless, control maps get a little more. x264's macroblock tree reads memory that
nobody wrote: with it the same small frames give other bytes once in some hundred runs, without it never in 7,500."""
UNEVEN = 0.5
"""A file whose frames last longer or shorter than the usual one by more than this share has no steady rate."""
HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions (ITU-T H.273) that 8 bits show flat."""
_LOGGER = logging.getLogger(__name__)


def write_video(
    frames: Iterable[Frame],
    path: str | Path,
    fps: float,
    lossless: bool = False,
    finish: Callable[[Path], object] | None = None,
) -> int:
    """Write .mp4 (H.264), or one PNG a frame where `path` has no suffix or ends in .png; -> number of frames.

    lossless  RGB 4:4:4 without loss, for masks that are read back; not every player shows it
    finish    is called with the closed .mp4 before it gets its name
    What a model made is written by `kinema.provenance.write_generated`.
    An .mp4 has even sides: an odd last row or column is repeated. Raises InputError; then nothing is left behind.
    """
    path = Path(path)
    if not (np.isfinite(fps) and 0 < fps <= 1000):
        raise InputError("fps", f"is {fps!r}", expected="frames a second, above 0, at most 1000")
    if path.suffix.lower() in ("", ".png"):
        return _write_pngs(frames, path.with_suffix(""))
    if path.suffix.lower() != ".mp4":
        raise InputError(path, "is no kind of video that can be written", expected=".mp4, or a folder for PNG files")
    with atomic_path(path) as temporary:
        try:
            count = _encode(frames, temporary, Fraction(fps).limit_denominator(1001), lossless)
        except FFmpegError as error:
            raise InputError(path, f"could not be written ({error.strerror})") from error
        if finish is not None:
            finish(temporary)
        return count


def _encode(frames: Iterable[Frame], path: Path, rate: Fraction, lossless: bool) -> int:
    count, shape = 0, None
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        options = {"crf": "0", "preset": "veryfast"} if lossless else X264
        stream = container.add_stream("libx264rgb" if lossless else "libx264", rate=rate, options=options)
        for count, frame in enumerate(frames, 1):
            even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if shape is None:
                shape = even.shape
                stream.height, stream.width = shape[:2]
                stream.pix_fmt = "rgb24" if lossless else "yuv420p"
                if not lossless:
                    stream.codec_context.colorspace = Colorspace.ITU709.value
                    stream.codec_context.color_range = ColorRange.MPEG.value
            elif even.shape != shape:
                raise InputError(f"frame {count}", f"is {even.shape[1]}x{even.shape[0]}", f"{shape[1]}x{shape[0]}")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            if not lossless:
                picture = picture.reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
            container.mux(stream.encode(picture))
        if count == 0:
            raise InputError("video", "has no frames", expected="at least one")
        container.mux(stream.encode())
    return count


def _write_pngs(frames: Iterable[Frame], folder: Path) -> int:
    import cv2

    if not folder.parent.is_dir():
        raise InputError(folder, "its folder does not exist", mend=f"mkdir -p {folder.parent}")
    if folder.exists():
        raise InputError(folder, "exists already", expected="the name of a folder to make")
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        count = 0
        for count, frame in enumerate(frames, 1):
            if not cv2.imwrite(str(temporary / f"{count - 1:06d}.png"), frame[..., ::-1]):
                raise InputError(folder, f"frame {count - 1} could not be written", mend="is the disk full?")
        if count == 0:
            raise InputError("video", "has no frames", expected="at least one")
        temporary.chmod(0o755)
        temporary.replace(folder)
        return count
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_frames(path: str | Path, fps: float | None = None) -> Iterator[Frame]:
    """Decode frame by frame. With `fps`, the frame that is shown at every 1/fps s. Raises InputError."""
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        step, count, start, time, shown = (1 / fps if fps else 0.0), 0, 0.0, 0.0, None
        number = -1
        try:
            for number, picture in enumerate(container.decode(stream)):
                time = picture.time if picture.time is not None else number / float(_rate(stream))
                start = time if number == 0 else start
                if number == 0 and picture.color_trc in HDR:
                    _LOGGER.warning("%s is HDR (%s): its colours will look flat", path, HDR[picture.color_trc])
                if not fps:
                    yield _rgb(picture)
                    count += 1
                    continue
                while shown is not None and count * step < time - start - 1e-6:
                    yield shown
                    count += 1
                shown = _rgb(picture)
            while shown is not None and (count == 0 or count * step < time - start + 1 / float(_rate(stream)) - 1e-6):
                yield shown
                count += 1
        except FFmpegError as error:
            if count == 0:
                raise InputError(path, f"holds no frame that can be decoded ({error.strerror})", "a video") from error
            _LOGGER.warning("%s: stops after frame %d (%s)", path, count - 1, error.strerror)
        else:
            # A decoder of several threads says nothing of an end that is missing.
            if 0 <= number < stream.frames - 1:
                _LOGGER.warning("%s: of %d frames it holds the first %d", path, stream.frames, number + 1)
        if count == 0:
            raise InputError(path, "has no frames", expected="a video with at least one")


def read_video(path: str | Path, fps: float | None = None, max_frames: int | None = None) -> Video:
    """Decode a whole video, or its first `max_frames`; with `fps` at that rate instead of its own.

    One without a steady rate is read at its mean rate, so that every moment is where it was. Raises InputError.
    """
    rate = fps or frame_rate(path)
    if fps is None and has_uneven_rate(path):
        _LOGGER.warning("%s has no steady frame rate: read at its mean, %.4g a second", path, rate)
        fps = rate
    frames: list[np.ndarray] = []
    for frame in read_frames(path, fps):
        if frames and frame.shape != frames[0].shape:
            sizes = " and ".join(f"{f.shape[1]}x{f.shape[0]}" for f in (frames[0], frame))
            raise InputError(path, f"has frames of {sizes}", "one size", "cut it where the size changes")
        frames.append(frame)
        if len(frames) == max_frames:
            break
    return Video(np.stack(frames), rate)


def frame_rate(path: str | Path) -> float:
    """Frames a second as the file states them, Hz."""
    with _open(path) as container:
        return float(_rate(container.streams.video[0]))


def has_uneven_rate(path: str | Path) -> bool:
    """Whether some frames are shown much longer or shorter than the others, as phones and screen recorders write."""
    with _open(path) as container:
        stream = container.streams.video[0]
        try:
            times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        except FFmpegError:
            return False  # a truncated file; what can be decoded of it is read as it comes
    lasts = np.diff(times)
    if len(lasts) < 2 or not np.median(lasts):
        return False
    # Containers round times to ticks, such as milliseconds: one tick more or less says nothing.
    return bool((np.abs(lasts - np.median(lasts)) > np.maximum(UNEVEN * np.median(lasts), 1)).any())


def resample(video: Video, fps: float) -> Video:
    """The same clip at another rate: every moment shows the frame that is on at its middle."""
    count = max(1, round(len(video.frames) * fps / video.fps))
    chosen = np.minimum(((np.arange(count) + 0.5) * video.fps / fps).astype(int), len(video.frames) - 1)
    return Video(video.frames[chosen], fps)


def _open(path: str | Path):
    if not Path(path).is_file():
        raise InputError(path, "does not exist" if not Path(path).exists() else "is no file", expected="a video file")
    try:
        container = av.open(str(path))
    except (FFmpegError, ValueError) as error:
        raise InputError(path, f"is no video ({error})", expected="a video file, such as .mp4") from error
    if not container.streams.video:
        container.close()
        raise InputError(path, "holds no video stream", expected="a video file, such as .mp4")
    return container


def _rate(stream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or Fraction(25)


def _rgb(picture: av.VideoFrame) -> np.ndarray:
    """[H,W,3] upright, on white."""
    if any(component.is_alpha for component in picture.format.components):
        rgba = picture.to_ndarray(format="rgba").astype(np.uint16)
        colour, alpha = rgba[..., :3], rgba[..., 3:]
        frame = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    else:
        frame = picture.to_ndarray(format="rgb24")
    turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(frame, turns)) if turns else frame
