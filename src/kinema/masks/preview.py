"""Masks to look at: every object in its colour, over the video that they come from or on black.

Input: a `MaskSequence`. Output: RGB frames, or one sheet of them with the time and the labels.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

from kinema.errors import InputError
from kinema.masks.palette import OBJECT_COLOURS, object_ids
from kinema.types import MaskSequence, Video

OVER_VIDEO = 0.55
"""How much of an object's colour covers the video."""
EDGE_SHARE = 500
"""The white rim of an object over a video is a pixel wide for so many of the picture's longer side."""
SHEET_FRAMES, SHEET_COLUMNS = 12, 4
SHEET_WIDTH_PX = 1280
LABEL_PX = 18


def preview(masks: MaskSequence, over: Video | None = None) -> UInt8[np.ndarray, "T H W 3"]:
    """Objects in their colours, the front one on top.

    over  the video behind them, of the same length and size. Raises InputError where it is another.
    """
    ids = object_ids(masks)
    colours = OBJECT_COLOURS[ids]
    if over is None:
        return colours
    if over.frames.shape[:3] != ids.shape:
        found = "{} frames of {}x{}".format(*np.array(over.frames.shape)[[0, 2, 1]])
        wanted = f"{len(ids)} frames of {ids.shape[2]}x{ids.shape[1]}"
        raise InputError("over", f"is {found}", wanted, "give the video that the masks were extracted from")
    mixed = over.frames * (1 - OVER_VIDEO) + colours * OVER_VIDEO
    shown = np.where((ids > 0)[..., None], mixed.astype(np.uint8), over.frames)
    shown[_edges(ids)] = 255
    return shown


def _edges(ids: UInt8[np.ndarray, "T H W"]) -> np.ndarray:
    """The rim of every object, wide enough to be seen in a small copy."""
    size = 1 + 2 * max(1, round(max(ids.shape[1:]) / EDGE_SHARE))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    inner = np.stack([cv2.erode(frame, disc) for frame in ids])
    outer = np.stack([cv2.dilate(frame, disc) for frame in ids])
    return (inner != outer) & (ids > 0)


def sheet(masks: MaskSequence, over: Video | None = None, frames: int = SHEET_FRAMES) -> UInt8[np.ndarray, "H W 3"]:
    """Evenly spaced frames in rows, each with its number and time, and the objects' labels in their colours below."""
    chosen = np.unique(np.linspace(0, len(masks) - 1, min(frames, len(masks))).round().astype(int))
    pictures = preview(masks, over)[chosen]
    columns = min(SHEET_COLUMNS, len(chosen))
    width = SHEET_WIDTH_PX // columns
    height = max(1, round(pictures.shape[1] * width / pictures.shape[2]))
    method = cv2.INTER_AREA if pictures.shape[2] > width else cv2.INTER_NEAREST
    cells = []
    for t, picture in zip(chosen, pictures, strict=True):
        cell = np.full((height + LABEL_PX, width, 3), 255, np.uint8)
        cell[LABEL_PX:, : width - 2] = cv2.resize(picture, (width - 2, height), interpolation=method)
        _write(cell, f"frame {t}, {t / masks.fps:.2f} s", 2, (0, 0, 0))
        cells.append(cell)
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.concatenate(cells[k : k + columns], 1) for k in range(0, len(cells), columns)]
    return np.concatenate([*rows, _legend(masks.labels, rows[0].shape[1])])


def _legend(labels: tuple[str, ...], width: int) -> np.ndarray:
    strip = np.full((LABEL_PX, width, 3), 255, np.uint8)
    x = 2
    for k, label in enumerate(labels):
        colour = OBJECT_COLOURS[min(k + 1, 255)].tolist()
        cv2.rectangle(strip, (x, 3), (x + 12, LABEL_PX - 4), colour, -1)
        _write(strip, label, x + 16, (0, 0, 0))
        x += 28 + 8 * len(label)
    return strip


def _write(picture: np.ndarray, text: str, x: int, colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, (x, LABEL_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
