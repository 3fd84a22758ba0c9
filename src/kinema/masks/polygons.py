"""Masks drawn by a person: outlines at a few frames, interpolated between them.

Input: JSON, {"size": [width, height], "fps": 8, "frames": 33, "polygons": {"0": {"tiger": [[x, y], ...]}, "32": {...}}},
in pixels of that size, the corner of the picture at (0, 0). Output: a mask sequence. `null` in place of an outline says
that the object is gone from that frame on; before its first outline and after its last it stays as it is there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from kinema.errors import InputError

CORNERS = 96
"""Two outlines with other numbers of corners are both walked around in so many steps."""
MOST_FRAMES = 100_000


def read_polygons(content: dict, where: str) -> tuple[np.ndarray, tuple[str, ...], object]:
    """The content of such a file -> masks bool [T,N,H,W], labels, frames a second where it says so. InputError."""
    width, height = _size(content.get("size"), f"{where}, key 'size'")
    keys = _keyframes(content.get("polygons"), f"{where}, key 'polygons'")
    frames = content.get("frames", max(keys) + 1)
    if isinstance(frames, bool) or not isinstance(frames, int) or not max(keys) < frames <= MOST_FRAMES:
        raise InputError(f"{where}, key 'frames'", f"is {frames!r}", f"how many, above the last outline's, {max(keys)}")
    labels = tuple(dict.fromkeys(label for drawn in keys.values() for label in drawn))
    masks = np.zeros((frames, len(labels), height, width), bool)
    for n, label in enumerate(labels):
        outlines = {t: drawn[label] for t, drawn in sorted(keys.items()) if label in drawn}
        for t in range(frames):
            outline = outline_at(outlines, t)
            if outline is not None:
                masks[t, n] = fill([outline], (height, width))
    return masks, labels, content.get("fps")


def fill(polygons: list[Float[np.ndarray, "_ 2"]], hw: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """The pixels whose centre is inside of an odd number of polygons, which are in pixels, x first."""
    height, width = hw
    crossed = np.zeros((height, width + 1), np.int32)
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
            low, high = min(y0, y1), max(y0, y1)
            rows = np.arange(max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5))))
            if len(rows):
                x = x0 + (rows + 0.5 - y0) / (y1 - y0) * (x1 - x0)
                crossed[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] += 1
    return np.cumsum(crossed, 1)[:, :-1] % 2 == 1


def outline_at(outlines: dict[int, np.ndarray | None], t: int) -> np.ndarray | None:
    """The outline of one object in frame t, from those at its keyframes in order; None where it is gone."""
    times = list(outlines)
    before = max((k for k in times if k <= t), default=times[0])
    after = min((k for k in times if k >= t), default=times[-1])
    first, second = outlines[before], outlines[after]
    if first is None or second is None or before == after:
        return first
    share = (t - before) / (after - before)
    if len(first) != len(second):
        first, second = _walked(first), _walked(second)
        second = _aligned(second, first)
    return first + share * (second - first)


def _walked(outline: np.ndarray) -> np.ndarray:
    """[CORNERS,2] points at even distances along an outline, the same way around for all."""
    x, y = outline.T
    if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:
        outline = outline[::-1]
    closed = np.concatenate([outline, outline[:1]])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.arange(CORNERS) / CORNERS * along[-1]
    return np.stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)], 1)


def _aligned(outline: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The same points, beginning with the one that brings them nearest to another outline of as many."""
    centred, target = outline - outline.mean(0), to - to.mean(0)
    apart = [((np.roll(centred, -k, 0) - target) ** 2).sum() for k in range(len(outline))]
    return np.roll(outline, -int(np.argmin(apart)), 0)


def _size(size: object, where: str) -> tuple[int, int]:
    numbers = size if isinstance(size, list) else []
    good = len(numbers) == 2 and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 < n < 1 << 15 for n in numbers
    )
    if not good:
        raise InputError(where, f"is {size!r}", "[width, height] in whole pixels")
    return numbers[0], numbers[1]


def _keyframes(drawn: object, where: str) -> dict[int, dict[str, np.ndarray | None]]:
    if not isinstance(drawn, dict) or not drawn:
        raise InputError(where, f"is {drawn!r}", 'outlines by frame, as in {"0": {"tiger": [[10, 10], [20, 10], ...]}}')
    keys: dict[int, dict[str, np.ndarray | None]] = {}
    for frame, objects in drawn.items():
        if not frame.isascii() or not frame.isdigit():
            raise InputError(f"{where}, {frame!r}", "is no frame", "a whole number, the first frame being 0")
        if not isinstance(objects, dict):
            raise InputError(f"{where}, frame {frame}", f"is {objects!r}", 'an object, {"tiger": [[x, y], ...]}')
        keys[int(frame)] = {
            name: _outline(points, f"{where}, frame {frame}, {name}") for name, points in objects.items()
        }
    if not any(keys.values()):
        raise InputError(where, "names no object", 'outlines by frame and object, as in {"0": {"tiger": [...]}}')
    return keys


def _outline(points: object, where: str) -> np.ndarray | None:
    if points is None:
        return None
    try:
        outline = np.asarray(points, float)
    except (ValueError, TypeError) as error:
        raise InputError(where, "is no outline", "[[x, y], ...] in pixels, or null where it is gone") from error
    if outline.ndim != 2 or outline.shape[1] != 2 or len(outline) < 3:
        raise InputError(where, f"has the shape {list(outline.shape)}", "three points or more, [[x, y], ...]")
    if not (np.abs(outline) < 1e6).all():
        raise InputError(where, "holds a number that is no pixel", "finite pixels")
    return outline
