"""What a visitor may send, told from headers before anything is decoded.

Input: an uploaded file. Output: nothing, or `InputError` with what is wrong and how to mend it. The kind of a file is told
from its first bytes, never from its name alone, and a picture or video that holds another kind of file is refused.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from kinema.errors import InputError

MEGA = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    upload_bytes           of one file                   unpacked_bytes, unpacked_files  of what is packed in one
    picture_side_px, picture_px                          video_s, video_px (of a frame)
    motion_s               of an uploaded motion         made_s   of a video that is made
    prompt_letters         of a prompt
    waiting                jobs in the queue             waiting_each  of one visitor
    job_s                  a job is stopped after        folder_bytes  that one visitor's results may take
    scratch_s              age at which uploads and unfinished work are removed
    """

    upload_bytes: int = 100 * MEGA
    unpacked_bytes: int = 512 * MEGA
    unpacked_files: int = 5_000
    picture_side_px: int = 8_192
    picture_px: int = 40_000_000
    video_s: float = 60.0
    video_px: int = 3_840 * 2_160
    motion_s: float = 120.0
    made_s: float = 60.0
    prompt_letters: int = 1_000
    waiting: int = 20
    waiting_each: int = 5
    job_s: float = 1_800.0
    folder_bytes: int = 4_096 * MEGA
    scratch_s: float = 24 * 3_600.0


LIMITS = Limits()
PICTURES = {"PNG": (b"\x89PNG\r\n\x1a\n",), "JPEG": (b"\xff\xd8\xff",), "WEBP": (b"RIFF",), "BMP": (b"BM",)}
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
VIDEO_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif")
MASK_SUFFIXES = (".npz", ".json", ".zip", ".mp4")
MOTION_SUFFIXES = (".npz", ".bvh", ".glb", ".gltf")
MOST_FRAMES = 30_000
"""Of a motion: two minutes at 250 a second."""
PNG_BYTES_PER_PX = 2
"""Masks in a zip are held as bytes, some of them in three colours, more than once while they are read."""
FOREIGN = (b"<script", b"<html", b"<!doctype html", b"<svg", b"<?php", b"%pdf-", b"\x7felf\x02")
"""Beginnings of files that a browser or a shell would run."""


def check_size(path: Path, limits: Limits = LIMITS) -> None:
    """Raises InputError for a file that is too large, or empty."""
    size = path.stat().st_size
    if size == 0:
        raise InputError(path.name, "is empty", mend="send it again")
    if size > limits.upload_bytes:
        raise InputError(path.name, f"has {size / MEGA:.0f} MB", f"at most {limits.upload_bytes // MEGA} MB")


def check_picture(path: Path, limits: Limits = LIMITS) -> None:
    """By its header alone: kind, sides, and that nothing else is in it."""
    from PIL import Image

    check_size(path, limits)
    expected = "a picture: .png, .jpg, .webp or .bmp"
    head = _head(path)
    if not any(head.startswith(sign) for signs in PICTURES.values() for sign in signs):
        raise InputError(path.name, "is no picture", expected, "save it as .png or .jpg")
    check_alone(path)
    try:
        with Image.open(path, formats=list(PICTURES)) as opened:
            width, height = opened.size
    except Image.DecompressionBombError as error:
        most = f"{limits.picture_px // 1_000_000} million pixels"
        raise InputError(path.name, "has far too many pixels", f"at most {most}", "scale it down") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(path.name, "is damaged, or no picture", expected, "save it anew") from error
    if max(width, height) > limits.picture_side_px or width * height > limits.picture_px:
        most = f"sides up to {limits.picture_side_px}, and {limits.picture_px // 1_000_000} million pixels"
        raise InputError(path.name, f"is {width}x{height} pixels", most, "scale it down")


def check_video(path: Path, limits: Limits = LIMITS) -> int:
    """By its header alone: kind, length, size of the frames; -> how many pixels all of its frames have."""
    import av
    from av.error import FFmpegError

    check_size(path, limits)
    expected = "a video: .mp4, .mov, .webm, .mkv, .avi or .gif"
    if not _looks_like_video(_head(path)):
        raise InputError(path.name, "is no video", expected, "save it as .mp4 (H.264)")
    check_alone(path, whole=False)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0] if container.streams.video else None
            length = (container.duration or 0) / av.time_base
            if stream is None:
                raise InputError(path.name, "holds no video stream", expected)
            width, height, frames = stream.width or 0, stream.height or 0, stream.frames or 0
            rate = float(stream.average_rate or 25)
            length = max(length, frames / rate)
    except (FFmpegError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path.name, "cannot be opened as a video", expected, "save it as .mp4 (H.264)") from error
    if length == 0:
        raise InputError(path.name, "does not say how long it is", expected, "save it as .mp4 (H.264)")
    if length > limits.video_s:
        raise InputError(path.name, f"lasts {length:.0f} s", f"at most {limits.video_s:g} s", "cut it")
    if width * height > limits.video_px:
        raise InputError(path.name, f"has frames of {width}x{height}", "at most 3840x2160", "scale it down")
    return round(max(frames, length * rate)) * width * height


def check_motion(path: Path, limits: Limits = LIMITS) -> None:
    """A motion file: of a known kind, and not of more frames or bytes, once unpacked, than is allowed."""
    check_size(path, limits)
    if path.suffix.lower() not in MOTION_SUFFIXES:
        raise InputError(path.name, f"has the suffix {path.suffix!r}", "a motion: " + ", ".join(MOTION_SUFFIXES))
    head = _head(path)
    if path.suffix.lower() == ".npz":
        check_archive(path, limits, is_motion=True)
    elif path.suffix.lower() == ".bvh" and not head.lstrip(b"\xef\xbb\xbf \t\r\n").upper().startswith(b"HIERARCHY"):
        raise InputError(path.name, "is no BVH: it does not begin with HIERARCHY", "a BVH motion capture")
    elif path.suffix.lower() == ".bvh":
        stated = re.findall(rb"(?im)^\s*Frames:\s*(\d{1,12})", path.read_bytes())
        _check_frames(path, max(map(int, stated), default=0))
    elif path.suffix.lower() == ".glb" and not head.startswith(b"glTF"):
        raise InputError(path.name, "is no glTF binary", "a .glb that kinema wrote")


def check_masks(path: Path, limits: Limits = LIMITS) -> None:
    """A mask file: .npz, .zip of PNGs, .json, or a black-and-white .mp4."""
    check_size(path, limits)
    suffix = path.suffix.lower()
    if suffix not in MASK_SUFFIXES:
        raise InputError(path.name, f"has the suffix {path.suffix!r}", "masks: " + ", ".join(MASK_SUFFIXES))
    if suffix == ".mp4":
        if check_video(path, limits) > limits.unpacked_bytes:
            raise InputError(path.name, "unpacks to too many pixels", "fewer or smaller frames", "scale the masks down")
    elif suffix == ".json":
        _check_mask_json(path, limits)
    else:
        check_archive(path, limits)


def check_archive(path: Path, limits: Limits = LIMITS, is_motion: bool = False) -> None:
    """A .zip or .npz by its directory: how many files, how much they unpack to, and where they would go."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if len(entries) > limits.unpacked_files:
                raise InputError(path.name, f"holds {len(entries)} files", f"at most {limits.unpacked_files}")
            if total > limits.unpacked_bytes:
                most = f"at most {limits.unpacked_bytes // MEGA} MB"
                raise InputError(path.name, f"unpacks to {total / MEGA:.0f} MB", most, "send a shorter or smaller one")
            pixels = 0
            for entry in entries:
                _check_entry(path, entry)
                if entry.filename.endswith(".npy"):
                    rows = _check_array(path, archive, entry, limits)
                    _check_frames(path, rows if is_motion else 0)
                elif entry.filename.lower().endswith(".png"):
                    pixels += _pixels_of(path, archive, entry)
            if PNG_BYTES_PER_PX * pixels > limits.unpacked_bytes:
                most = f"at most {limits.unpacked_bytes // PNG_BYTES_PER_PX // 1_000_000} million pixels"
                raise InputError(path.name, "holds pictures of too many pixels", most, "scale the masks down")
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(path.name, "cannot be unpacked", "a .zip or .npz that is whole", "save it anew") from error


def check_alone(path: Path, whole: bool = True) -> None:
    """Refuse a picture or video in which another kind of file is hidden (a polyglot)."""
    content = path.read_bytes() if whole else _head(path, 1 * MEGA)
    plain = content.lower()
    hidden = next((sign for sign in FOREIGN if sign in plain), None)
    if hidden is not None or zipfile.is_zipfile(path):
        what = "an archive" if hidden is None else f"{hidden.decode('latin-1').strip()!r}"
        raise InputError(path.name, f"holds {what} beside the picture", "nothing but the picture", "save it anew")


def check_prompt(prompt: str | None, limits: Limits = LIMITS) -> str:
    """The prompt on one line. Raises InputError where it is too long, or holds control characters."""
    text = " ".join((prompt or "").split())
    if len(text) > limits.prompt_letters:
        raise InputError("prompt", f"has {len(text)} letters", f"at most {limits.prompt_letters}", "say less")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise InputError("prompt", "holds control characters", "letters, numbers and signs")
    return text


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = re.split(r"[\\/]", name)
    is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name or is_link:
        raise InputError(path.name, f"holds {name[:80]!r}, which leads out of its folder", "plain file names")


def _pixels_of(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """What a packed PNG's header states: a few bytes may stand for a billion pixels."""
    with archive.open(entry) as file:
        head = file.read(24)
    if not head.startswith(PICTURES["PNG"]) or len(head) < 24:
        raise InputError(path.name, f"holds {entry.filename[:80]!r}, which is no PNG", "one PNG a frame")
    return int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big")


def _check_frames(path: Path, frames: int) -> None:
    if frames > MOST_FRAMES:
        raise InputError(path.name, f"holds {frames} frames", f"at most {MOST_FRAMES}", "cut it")


def _check_array(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits) -> int:
    """The size that an array states: numpy makes room for it before it reads; -> its rows."""
    import math

    from numpy.lib import format as npy

    with archive.open(entry) as file:
        try:
            major, _ = npy.read_magic(file)
            read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
            shape, _, dtype = read(file)
        except (ValueError, EOFError) as error:
            raise InputError(path.name, f"holds {entry.filename!r}, which is no array", "an .npz by numpy") from error
    if dtype.hasobject:
        raise InputError(path.name, f"holds pickled objects ({entry.filename})", "plain arrays")
    if math.prod(shape) * dtype.itemsize > limits.unpacked_bytes:
        raise InputError(path.name, f"states an array of shape {shape}", f"at most {limits.unpacked_bytes // MEGA} MB")
    return shape[0] if shape else 0


def _check_mask_json(path: Path, limits: Limits) -> None:
    """Run-length codes are short for any size: what they state is what they unpack to."""
    text = path.read_bytes()
    if len(text) > 32 * MEGA:
        raise InputError(path.name, f"has {len(text) / MEGA:.0f} MB of JSON", "at most 32 MB")
    sizes = [
        int(a) * int(b) for a, b in re.findall(rb'"(?:size|image_size)"\s*:\s*\[\s*(\d{1,9})\s*,\s*(\d{1,9})', text)
    ]
    widths, heights = (
        [int(n) for n in re.findall(rb'"' + side + rb'"\s*:\s*(\d{1,9})', text)] for side in (b"width", b"height")
    )
    largest = max([*sizes, max(widths, default=0) * max(heights, default=0)], default=0)
    frames = max(1, text.count(b'"counts"') + text.count(b"null"))
    lengths = [int(n) for n in re.findall(rb'"(?:length|frames)"\s*:\s*(\d{1,9})', text)]
    if largest * max(frames, *lengths, 1) > 2 * limits.unpacked_bytes:
        raise InputError(path.name, "unpacks to too many pixels", "fewer or smaller frames", "scale the masks down")


def _head(path: Path, count: int = 64) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _looks_like_video(head: bytes) -> bool:
    return (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
        or head.startswith((b"\x1aE\xdf\xa3", b"GIF87a", b"GIF89a"))
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
    )
