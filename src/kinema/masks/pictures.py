"""Mask sequences as pictures: folders of PNGs (indexed as DAVIS has them, grey, or in flat colours) and videos.

Input: a folder with a PNG a frame in the order of their names, or a black-and-white video. Output: a `MaskSequence`, or
such files. The first PNG that kinema writes holds frame rate and labels as text ("kinema-masks"), beside the pixels.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from kinema.errors import InputError
from kinema.masks.palette import OBJECT_COLOURS, object_ids
from kinema.types import MaskSequence

MOST_IDS = 31
"""A grey picture with no value above this holds the numbers of objects, not grey levels (our choice)."""
VOID = 255
"""DAVIS and YouTube-VOS: a pixel that is not judged; background to us."""
MOST_COLOURS = 64
"""A clip with more colours than this is no drawing of masks but footage."""
GREYS = 64, 192
"""Between these a pixel is neither black nor white."""
MOST_GREY = 0.2
"""A clip of which a larger share is neither black nor white is footage; soft edges make up far less."""
TEXT_KEY = "kinema-masks"
_LOGGER = logging.getLogger(__name__)


def read_folder(folder: Path) -> tuple[np.ndarray, tuple[str, ...], object]:
    """A folder of PNGs -> masks bool [T,N,H,W], labels, frames a second where they say it.

    Raises InputError where there is none, their sizes differ, or they show no masks.
    """
    files = sorted(folder.glob("*.png"))
    if not files:
        found = sorted(p.name for p in folder.iterdir())[:3]
        raise InputError(folder, f"holds no PNG ({', '.join(found) or 'it is empty'})", "a PNG a frame")
    frames, kinds = [], []
    for file in files:
        values, kind = _read_png(file)
        if frames and (values.shape != frames[0].shape or kind != kinds[0]):
            raise InputError(
                file, f"is {_described(values, kind)}", f"{_described(frames[0], kinds[0])}, as {files[0].name} is",
                "make all frames alike",
            )  # fmt: skip
        frames.append(values)
        kinds.append(kind)
    said = _said(files[0])
    masks = _MAKERS[kinds[0]](np.stack(frames), folder)
    labels = [str(label) for label in said.get("labels") or ()]
    if labels and masks.shape[1] < len(labels):  # an object that is in no frame, or quite hidden
        masks = np.concatenate([masks, np.zeros_like(masks[:, :1]).repeat(len(labels) - masks.shape[1], 1)], 1)
    if not labels or len(labels) != masks.shape[1]:
        labels = numbered(masks.shape[1])
    return masks, tuple(labels), said.get("fps")


def write_folder(masks: MaskSequence, folder: Path) -> None:
    """Indexed PNGs in DAVIS's colours, 00000.png and on, whole or not at all; where objects overlap the front one."""
    from PIL import Image, PngImagePlugin

    if not folder.parent.is_dir():
        raise InputError(folder, "its folder does not exist", mend=f"mkdir -p {folder.parent}")
    if folder.exists():
        raise InputError(folder, "exists already", expected="the name of a folder to make")
    if len(masks.labels) > 254:
        raise InputError(folder, f"can't hold {len(masks.labels)} objects", "at most 254", "write .npz or .json")
    text = PngImagePlugin.PngInfo()
    text.add_text(TEXT_KEY, json.dumps({"fps": masks.fps, "labels": masks.labels}))
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for t, ids in enumerate(object_ids(masks)):
            picture = Image.fromarray(ids)
            picture.putpalette(OBJECT_COLOURS.tobytes())
            picture.save(temporary / f"{t:05d}.png", pnginfo=text if t == 0 else None)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except OSError as error:
        raise InputError(folder, f"could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_black_and_white(path: Path, fps: float | None) -> tuple[np.ndarray, float]:
    """A black-and-white video -> masks bool [T,1,H,W], and its frames a second. Raises InputError for footage."""
    from kinema.video import frame_rate, read_frames

    grey = np.stack([frame.mean(-1).astype(np.uint8) for frame in read_frames(path, fps)])
    return _from_grey(grey, path), fps or frame_rate(path)


def write_black_and_white(masks: MaskSequence, path: Path) -> None:
    """White on black, without loss; all objects in one."""
    from kinema.video import write_video

    if len(masks.labels) > 1:
        _LOGGER.warning("%s shows %d objects as one: .npz, .json and folders keep them apart", path, len(masks.labels))
    if masks.masks.shape[2] % 2 or masks.masks.shape[3] % 2:
        _LOGGER.warning("%s has even sides: the last row or column is repeated", path)
    white = (np.repeat(frame[..., None], 3, -1).astype(np.uint8) * 255 for frame in np.any(masks.masks, axis=1))
    write_video(white, path, masks.fps, lossless=True)


def numbered(count: int) -> tuple[str, ...]:
    """Labels of things without a name: "object 1" and on."""
    return tuple(f"object {k + 1}" for k in range(count))


def _read_png(file: Path) -> tuple[np.ndarray, str]:
    """-> pixels and what they are: "indexed" [H,W], "grey" [H,W] or "colour" [H,W,3]."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            opened.load()
    except UnidentifiedImageError as error:
        raise InputError(file, "is no picture", "a PNG") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(file, f"cannot be read ({error})", "a PNG", "save it anew") from error
    if opened.mode == "P" and not _means_its_colours(opened):
        return np.asarray(opened), "indexed"
    if opened.mode.startswith("I") or opened.mode == "F":  # 16 bits
        values = np.asarray(opened)
        return (values if values.max() <= MOST_IDS else values >> 8).astype(np.uint8), "grey"
    black = Image.new("RGBA", opened.size, "black")
    pixels = np.asarray(Image.alpha_composite(black, opened.convert("RGBA")).convert("RGB"))
    return (pixels[..., 0], "grey") if opened.mode in ("1", "L", "LA") else (pixels, "colour")


def _means_its_colours(opened) -> bool:
    """Whether a palette only saves space: all of it grey, or its first colour not the background's black."""
    colours = np.array(opened.getpalette("RGB") or [0, 0, 0], np.uint8).reshape(-1, 3)
    return bool(colours[0].any() or (colours.any() and (colours == colours[:, :1]).all()))


def _said(file: Path) -> dict:
    from PIL import Image

    with Image.open(file) as opened:
        try:
            said = json.loads(opened.info.get(TEXT_KEY, "{}"))
        except ValueError:
            said = {}
    return said if isinstance(said, dict) else {}


def _from_indexed(ids: UInt8[np.ndarray, "T H W"], where: object) -> np.ndarray:
    """Object k is index k; an index that no frame has, below the highest, is an empty object."""
    used = np.unique(ids)
    highest = int(max((k for k in used if k != VOID), default=0))
    if highest == 0 and VOID in used:
        return (ids == VOID)[:, None]
    if highest == 0:
        raise InputError(where, "shows no object: every pixel is background", "masks", "see how they were written")
    return np.stack([ids == k for k in range(1, highest + 1)], 1)


def _from_grey(grey: UInt8[np.ndarray, "T H W"], where: object) -> np.ndarray:
    if 0 < grey.max() <= MOST_IDS:
        return _from_indexed(grey, where)
    between = ((grey > GREYS[0]) & (grey < GREYS[1])).mean()
    if between > MOST_GREY:
        raise InputError(
            where, f"is no mask: {between:.0%} of its pixels are neither black nor white", "white things on black",
            'of footage, extract masks first: kinema mask VIDEO --object "a man" --out DIR',
        )  # fmt: skip
    return (grey >= 128)[:, None]


def _from_colour(frames: UInt8[np.ndarray, "T H W 3"], where: object) -> np.ndarray:
    """Black is background; every other flat colour is an object, in the order in which they are first seen."""
    if (frames == frames[..., :1]).all():
        return _from_grey(frames[..., 0], where)
    packed = frames.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    colours, first = np.unique(packed, return_index=True)
    if len(colours) > MOST_COLOURS or 0 not in colours:
        found = f"has {len(colours)} colours" if 0 in colours else "has no black for a background"
        raise InputError(
            where, f"{found}, so it is no drawing of masks", "flat colours on black, indexed PNGs, or black and white",
            "draw without soft edges, or save one black-and-white folder an object and compose them",
        )  # fmt: skip
    return np.stack([packed == c for c in colours[np.argsort(first)] if c != 0], 1)


_MAKERS = {"indexed": _from_indexed, "grey": _from_grey, "colour": _from_colour}


def _described(values: np.ndarray, kind: str) -> str:
    return f"{values.shape[1]}x{values.shape[0]}, {kind}"
