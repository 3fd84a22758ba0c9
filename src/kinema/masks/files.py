"""Mask sequences in files (MVideo, section 3.2: masks may come from anywhere).

Input: .npz, .json (COCO's run-length codes, or outlines drawn at a few frames), a folder of PNGs (DAVIS's indexed ones,
grey ones with soft edges, flat colours), a black-and-white video. Output: a `MaskSequence`, or such files, whole or not
at all. The kinds are described in `docs/masks.md`.
"""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path

import numpy as np

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.json_file import read_json
from kinema.masks.time import resample
from kinema.types import MaskSequence

FPS = 8.0
"""Of files that don't say: CogVideoX's and MVideo's frames a second (Hong et al. 2025; MVideo, section 4.1)."""
MASK_SUFFIXES = (".npz", ".json", ".mp4", "")
"""What masks are written as; the last is a folder of PNGs."""
_LOGGER = logging.getLogger(__name__)
_EXPECTED = "a folder of PNGs, .npz, .json, or a black-and-white video"


def read_masks(path: str | Path, fps: float | None = None) -> MaskSequence:
    """Read masks of any kind that `docs/masks.md` describes.

    fps  of the result: masks that state another rate are brought to it, the nearest frame in time;
         those that state none are taken to have it (None: the file's own, 8 where it states none)
    Raises InputError for what is missing, damaged, footage instead of masks, of several sizes, or empty.
    """
    path = Path(path)
    if fps is not None and not 0 < fps <= 1000:
        raise InputError("fps", f"is {fps!r}", "frames a second, above 0, at most 1000")
    if not path.exists():
        raise InputError(path, "does not exist", _EXPECTED)
    masks, labels, own = _read(path, fps)
    if 0 in masks.shape:
        raise InputError(path, f"holds {len(masks)} frames of {masks.shape[1]} objects", "at least one of both")
    if not masks.any():
        raise InputError(path, "is empty: no frame shows anything", "masks", "are they white on black, and 0 to 255?")
    rate = _rate(own, path) or fps
    if rate is None:
        _LOGGER.warning("%s does not say its frames a second: taken for %g (--fps says another)", path, FPS)
    found = MaskSequence(masks, labels, rate or FPS)
    return found if fps is None else resample(found, fps)


def write_masks(masks: MaskSequence, path: str | Path) -> None:
    """Write .npz, .json (YouTube-VIS), .mp4 (white on black) or, without a suffix, a folder of indexed PNGs.

    .npz and .json hold everything; in a folder what is hidden behind another object is lost, in a video labels as well.
    Raises InputError; then nothing is left behind.
    """
    from kinema.masks import coco, pictures

    path = Path(path)
    kind = path.suffix.lower()
    if kind not in MASK_SUFFIXES:
        raise InputError(path, f"has the suffix {path.suffix!r}", ".npz, .json, .mp4, or a folder (no suffix)")
    if kind == "":
        pictures.write_folder(masks, path)
    elif kind == ".mp4":
        pictures.write_black_and_white(masks, path)
    elif kind == ".json":
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(coco.as_youtube_vis(masks)) + "\n", encoding="utf-8")
    else:
        arrays = {"masks": masks.masks, "labels": np.array(masks.labels), "fps": np.float64(masks.fps)}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)


def _read(path: Path, fps: float | None) -> tuple[np.ndarray, tuple[str, ...], object]:
    from kinema.masks import pictures

    if path.is_dir():
        return pictures.read_folder(path)
    if path.suffix.lower() == ".npz":
        return _read_npz(path)
    if path.suffix.lower() == ".json":
        return _read_json(path)
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        raise InputError(path, "is one picture", _EXPECTED, "give the folder that it lies in")
    masks, rate = pictures.read_black_and_white(path, fps)
    return masks, pictures.numbered(1), rate


def _read_json(path: Path) -> tuple[np.ndarray, tuple[str, ...], object]:
    from kinema.masks.coco import read_coco
    from kinema.masks.polygons import read_polygons

    expected = "COCO's run-length codes, or outlines, as docs/masks.md describes"
    content = read_json(path, expected)
    if isinstance(content, list) and content and isinstance(content[0], dict) and "op" in content[0]:
        raise InputError(path, "is a recipe", expected, f"kinema masks edit MASKS --recipe {path} --out OUT")
    if isinstance(content, dict) and "polygons" in content:
        return read_polygons(content, str(path))
    if isinstance(content, list) or (isinstance(content, dict) and "annotations" in content):
        return read_coco(content, str(path))
    raise InputError(path, "holds neither annotations nor polygons", expected)


def _read_npz(path: Path) -> tuple[np.ndarray, tuple[str, ...], object]:
    """Keys: masks [T,N,H,W] or [T,H,W] (what is not 0 is object; whole numbers above 1: which), labels, fps.

    subject_ids [T,H,W], as `kinema world sample` writes them, serves as well.
    """
    from kinema.masks.pictures import numbered

    expected = "an .npz with masks [T,N,H,W] or [T,H,W], and labels and fps if you like"
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {k: stored[k] for k in ("masks", "subject_ids", "labels", "fps") if k in stored}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(path, f"cannot be read ({error})", expected) from error
    given = arrays.get("masks", arrays.get("subject_ids"))
    if given is None or given.ndim not in (3, 4) or given.dtype.kind not in "buif":
        found = "has no key 'masks'" if given is None else f"has masks of type {given.dtype} and shape {given.shape}"
        raise InputError(path, found, expected)
    if given.ndim == 4:
        masks = _levels(given, path)
    elif given.dtype != bool and 1 < given.max(initial=0) < 128:
        masks = np.stack([given == k for k in range(1, int(given.max()) + 1)], 1)
    else:
        masks = _levels(given, path)[:, None]
    labels = tuple(str(label) for label in np.ravel(arrays["labels"])) if "labels" in arrays else ()
    if labels and len(labels) != masks.shape[1]:
        raise InputError(f"{path}: labels", f"are {len(labels)}", f"{masks.shape[1]}, one an object")
    fps = arrays.get("fps")
    return masks, labels or numbered(masks.shape[1]), None if fps is None else fps.reshape(-1)[0]


def _levels(values: np.ndarray, path: Path) -> np.ndarray:
    """Truth values, 0 and 1, shares 0-1, or levels 0-255: from the middle of its range on it is mask."""
    if values.dtype == bool:
        return values
    if not np.isfinite(values).all() or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise InputError(f"{path}: masks", "have values that are no levels", "false and true, 0 to 1, or 0 to 255")
    return values >= (0.5 if values.max(initial=0) <= 1 else 128)


def _rate(own: object, path: Path) -> float | None:
    if own is None:
        return None
    try:
        rate = float(own)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        rate = 0.0
    if not 0 < rate <= 1000:
        raise InputError(f"{path}: fps", f"is {own!r}", "frames a second, above 0, at most 1000")
    return rate
