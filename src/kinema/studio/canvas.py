"""The picture on which parts are dragged and targets are painted: what the browser is given, and what it gives back.

Input: a picture, its part ids and subject ids. Output: the value of `static/canvas.js`: the picture, and each part with its
outline and the ellipse that fits it. Back comes the same with drags and painted shapes, which are checked here as anything
from a browser is.
"""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from kinema.body.skeleton import PARTS
from kinema.errors import InputError
from kinema.picture import fit
from kinema.render.palette import PART_COLORS
from kinema.sketch import Drag

SHOWN_PX = 1024
"""Longer side of the picture as the browser gets it."""
LEAST_AREA_SHARE = 0.0004
"""Smaller pieces of a part are not offered."""
MOST_DRAGS = 24
MOST_CORNERS = 400
STATIC = Path(__file__).parent / "static"


def canvas_value(
    picture: UInt8[np.ndarray, "H W 3"], part_ids: UInt8[np.ndarray, "h w"], subject_ids: UInt8[np.ndarray, "h w"],
    pixels: int, multiple: int,
) -> dict[str, Any]:  # fmt: skip
    """The picture and its parts, in the picture's pixels.

    pixels, multiple  of the model that the ids are for: as `kinema.picture.fit` takes them
    """
    height, width = picture.shape[:2]
    fitted = fit((height, width), pixels, multiple)
    parts = []
    for subject in range(1, int(subject_ids.max(initial=0)) + 1):
        own = np.where(subject_ids == subject, part_ids, 0)
        for part in np.unique(own[own > 0]).tolist():
            outline = _outline(own == part)
            if outline is not None and part in PARTS:
                outline = (outline - np.array(fitted.shift)) / fitted.scale
                parts.append(_part(part, subject - 1, outline))
    return {
        "picture": as_data_url(picture), "width": width, "height": height, "parts": parts, "drags": [], "shapes": [],
    }  # fmt: skip


def _outline(mask: np.ndarray) -> np.ndarray | None:
    """[N,2] of the largest piece, None where it is too small to take hold of."""
    import cv2

    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    largest = max(outlines, key=cv2.contourArea)
    if cv2.contourArea(largest) < LEAST_AREA_SHARE * mask.size:
        return None
    return cv2.approxPolyDP(largest, 0.7, True)[:, 0].astype(float) + 0.5


def _part(part: int, subject: int, outline: np.ndarray) -> dict[str, Any]:
    import cv2

    centre = (outline.min(0) + outline.max(0)) / 2
    ellipse = [*centre.tolist(), *np.maximum(np.ptp(outline, 0) / 2, 1).tolist(), 0.0]
    if len(outline) >= 5:
        (x, y), (a, b), degrees = cv2.fitEllipse(outline.astype(np.float32))
        if max(a, b) < 2 * np.ptp(outline, 0).max() and min(a, b) > 0:
            ellipse = [x, y, a / 2, b / 2, degrees]
    return {
        "part": PARTS[part], "subject": subject, "colour": "#" + PART_COLORS[part].tobytes().hex(),
        "outline": outline.round(2).tolist(), "ellipse": [round(float(v), 2) for v in ellipse],
    }  # fmt: skip


def as_data_url(picture: UInt8[np.ndarray, "H W 3"]) -> str:
    """A picture inside of the page: nothing else has to be fetched for it."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((SHOWN_PX, SHOWN_PX))
    buffer = BytesIO()
    small = max(picture.shape[:2]) <= SHOWN_PX // 2
    image.save(buffer, "PNG" if small else "JPEG", quality=90)
    return f"data:image/{'png' if small else 'jpeg'};base64," + base64.b64encode(buffer.getvalue()).decode()


def as_jpeg_url(frame: UInt8[np.ndarray, "H W 3"], side: int = 480) -> str:
    """A frame of a video inside of the page, small."""
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((side, side))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def read_drags(value: Any) -> tuple[list[Drag], list[dict[str, Any]]]:
    """What was dragged and what was painted. Raises InputError for what the page itself never sends."""
    if not isinstance(value, dict):
        return [], []
    drags, shapes = value.get("drags") or [], value.get("shapes") or []
    if not isinstance(drags, list) or not isinstance(shapes, list) or len(drags) + len(shapes) > MOST_DRAGS:
        raise InputError("targets", "are too many, or none of this page", f"at most {MOST_DRAGS}", "clear them")
    return [_drag(drag) for drag in drags], [_shape(shape) for shape in shapes]


def _drag(given: Any) -> Drag:
    if not isinstance(given, dict) or given.get("part") not in PARTS.values():
        raise InputError("drag", "names no part", mend="clear it and drag again")
    return str(given["part"]), _point(given.get("start")), _point(given.get("end"))


def _shape(given: Any) -> dict[str, Any]:
    """A painted shape as a sketch file has it."""
    corners = given.get("polygon") if isinstance(given, dict) else None
    if corners is None or given.get("part") not in PARTS.values() or not isinstance(corners, list):
        raise InputError("painted target", "names no part, or has no outline", mend="clear it and paint again")
    if not 3 <= len(corners) <= MOST_CORNERS:
        raise InputError("painted target", f"has {len(corners)} corners", f"3 to {MOST_CORNERS}", "paint it again")
    return {"part": str(given["part"]), "polygon": [list(_point(corner)) for corner in corners]}


def _point(given: Any) -> tuple[float, float]:
    good = isinstance(given, list) and len(given) == 2
    if not good or not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e5 for v in given):
        raise InputError("point", "is no x and y in pixels", mend="drag again")
    return round(float(given[0]), 2), round(float(given[1]), 2)
