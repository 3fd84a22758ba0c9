"""Clips of a folder with what is known of them: videos by name, and beside them part ids and the like.

Input: a folder with .mp4 files or folders of PNGs, one a clip; one such clip is fine too. `NAME_parts.mp4` (colours of
`kinema.render.palette`) or `NAME.npz` (keys of `registry.INPUTS`) tell more of NAME, and `NAME.clips/result.json`, which
`kinema animate` leaves, its prompt and where its clips join. Output: paths by name, then arrays.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from kinema.errors import InputError
from kinema.json_file import read_json
from kinema.video import read_video

PARTS_SUFFIX = "_parts"


@dataclass(frozen=True)
class ClipFiles:
    """Where a clip and what is known of it lie."""

    name: str
    video: Path
    parts: Path | None
    known: Path | None
    record: Path | None = None


def find_clips(folder: Path) -> dict[str, ClipFiles]:
    """Name -> files, in order of names. Raises InputError where there is no clip, or two of one name."""
    if not folder.exists():
        raise InputError(folder, "does not exist", expected="a folder with videos (.mp4, or a folder of PNGs each)")
    one = folder.is_file() or (any(folder.glob("*.png")) and not any(folder.glob("*.mp4")))
    place = folder.parent if one else folder
    candidates = [folder] if one else sorted(p for p in folder.iterdir() if _is_clip(p))
    clips: dict[str, ClipFiles] = {}
    for path in candidates:
        name = path.stem if path.is_file() else path.name
        if name.endswith(PARTS_SUFFIX) and not one:
            continue
        if name in clips:
            raise InputError(path, f"has the name of {clips[name].video}", expected="one clip of a name")
        parts = next(
            (p for p in (place / f"{name}{PARTS_SUFFIX}.mp4", place / f"{name}{PARTS_SUFFIX}") if p.exists()), None
        )
        known, record = place / f"{name}.npz", place / f"{name}.clips" / "result.json"
        clips[name] = ClipFiles(
            name, path, parts, known if known.exists() else None, record if record.exists() else None
        )
    if not clips:
        raise InputError(folder, "holds no video", expected=".mp4 files, or a folder of PNGs for each clip")
    return clips


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() == ".mp4" if path.is_file() else path.is_dir() and any(path.glob("*.png"))


def read_clip(files: ClipFiles, keys: tuple[str, ...]) -> dict[str, Any]:
    """ "video", and those of `keys` that its other files hold. Raises InputError where they do not fit the video."""
    from kinema.render.palette import rgb_to_parts

    known: dict[str, Any] = {"video": read_frames_of(files.video)}
    if files.record:
        known |= _read_record(files.record)
    if files.known:
        known |= _read_npz(files.known, keys)
    if files.parts and "part_ids" not in known:
        known["part_ids"] = rgb_to_parts(read_frames_of(files.parts))
    shape = known["video"].shape[:3]
    if "masks" in known and (known["masks"].ndim != 4 or len(known["masks"]) != shape[0]):
        expected = f"[T,N,H,W], {shape[0]} frames of N masks, as {files.video} has"
        raise InputError(f"{files.known}: masks", f"has shape {known['masks'].shape}", expected)
    for key in ("part_ids", "subject_ids", "crossing"):
        if key in known and known[key].shape != shape:
            found = files.known if files.known and not (key == "part_ids" and files.parts) else files.parts
            raise InputError(
                f"{found}: {key}",
                f"has shape {known[key].shape}",
                expected=f"{shape}, as {files.video} has",
                mend="extract it from that video, at its size and with all its frames",
            )
    return known


def _read_record(path: Path) -> dict[str, Any]:
    """What `kinema animate` noted of a video."""
    expected = "what kinema animate wrote: its prompt and seams"
    record = read_json(path, expected)
    try:
        assert isinstance(record, dict)
        prompt, frames = str(record["prompt"]), [int(seam["frame"]) for seam in record["seams"]]
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"is no such record ({error!r})", expected) from error
    return ({"prompt": prompt} if prompt.strip() else {}) | ({"seams": np.array(frames)} if frames else {})


def _read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    kinds: dict[str, Any] = {"part_ids": np.uint8, "subject_ids": np.uint8, "crossing": bool, "joints_visible": bool,
                             "masks": bool, "seams": np.int64, "joints_px": np.float64}  # fmt: skip
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in keys if key in arrays}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            path, f"cannot be read ({error})", expected=f"an .npz with keys of {', '.join(keys)}"
        ) from None
    for key, value in found.items():
        if key in kinds:
            if value.dtype.kind not in "uifb" or not np.array_equal(value, value.astype(kinds[key]), equal_nan=True):
                raise InputError(f"{path}: {key}", f"has {value.dtype} values", f"what fits {np.dtype(kinds[key])}")
            found[key] = value.astype(kinds[key])
    if "prompt" in found:
        found["prompt"] = str(found["prompt"])
    return found


def read_frames_of(path: Path) -> UInt8[np.ndarray, "T H W 3"]:
    """All frames of an .mp4 or of a folder of PNGs (in the order of their names), RGB. Raises InputError."""
    if path.is_file():
        return read_video(path).frames
    import cv2

    frames = []
    for file in sorted(path.glob("*.png")):
        picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if picture is None:
            raise InputError(file, "is no picture that can be read", expected="a PNG")
        if frames and picture.shape != frames[0].shape:
            found, first = picture.shape[1::-1], frames[0].shape[1::-1]
            raise InputError(file, f"is {found[0]}x{found[1]}", expected=f"{first[0]}x{first[1]}, as those before it")
        frames.append(picture[..., ::-1])
    return np.ascontiguousarray(frames)
