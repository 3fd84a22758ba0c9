"""What a user asks of the last frame: where parts shall be, as drawn shapes.

Input: a JSON file of shapes, or drags. Output: a `Sketch` of polygons in pixels of the input image
(ReVision, section 4.1: circles or ovals for the final positions of parts become polygonal masks).
The format is described in `docs/control.md`.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from kinema.body.skeleton import PART_IDS, PARTS
from kinema.errors import InputError
from kinema.json_file import read_json

Drag = tuple[str, tuple[float, float], tuple[float, float]]
"""Part name ("auto": the one under the start), start and end in pixels, x before y."""

ELLIPSE_CORNERS = 24
"""Corners of the polygon that stands for an ellipse; it covers 99 % of it."""
GRAB_SHARE = 0.08
"""A drag takes hold of a part this share of the picture's longer side away from its start, not farther."""
LEAST_RADIUS_SHARE = 0.03
"""What is dragged by a small outline, of a far or half hidden part, becomes an ellipse of at least this radius, as a
share of the picture's longer side, as a user would draw it."""
_SAME_SHAPE = 0.02
"""Relative difference of two aspect ratios up to which pictures have the same shape."""
_FORMS = {"ellipse": "[cx, cy, rx, ry, angle in degrees]", "circle": "[cx, cy, r]", "polygon": "[[x, y], ...]"}
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class SketchedPart:
    """One shape: part id of `kinema.body.skeleton.PARTS`, outline in pixels, index of the subject (None: not said)."""

    part_id: int
    polygon_px: Float[np.ndarray, "N 2"]
    subject: int | None = None

    @property
    def part(self) -> str:
        return PARTS[self.part_id]

    @property
    def centre_px(self) -> Float[np.ndarray, " 2"]:
        """Centre of area."""
        points = self.polygon_px - self.polygon_px.mean(0)
        after = np.roll(points, -1, 0)
        cross = points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]
        if abs(cross.sum()) < 1e-3 * np.ptp(points, 0).prod():  # crosses itself: no side is the inside
            return self.polygon_px.mean(0)
        return self.polygon_px.mean(0) + ((points + after) * cross[:, None]).sum(0) / (3 * cross.sum())

    @property
    def area_px(self) -> float:
        x, y = self.polygon_px.T
        return float(abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2)


@dataclass(frozen=True)
class Sketch:
    """Shapes in the pixels of an image of size (height, width); at least one."""

    shapes: tuple[SketchedPart, ...]
    image_hw: tuple[int, int]


def load_sketch(path: str | Path, image_hw: tuple[int, int]) -> Sketch:
    """Read a sketch for an image of size (height, width).

    A shape that reaches over the picture's edge is cut off there, with a warning. Raises InputError where the file
    cannot be read, a part is unknown, a shape is no area or lies outside of the picture, or there is no shape.
    """
    content = _read(path)
    _check_keys(content, ("image_size", "shapes"), str(path))
    shapes = content.get("shapes")
    if not isinstance(shapes, list) or not shapes:
        mend = 'draw at least one: {"shapes": [{"part": "right_hand", "circle": [90, 30, 8]}]}'
        raise InputError(f"{path}, key 'shapes'", "holds no shape", "a list of shapes", mend)
    scale = _scale(content.get("image_size"), image_hw, f"{path}, key 'image_size'")
    return Sketch(tuple(_shape(s, scale, image_hw, f"{path}, shape {k}") for k, s in enumerate(shapes)), image_hw)


def parse_drag(words: Sequence[str] | str) -> Drag:
    """ "right_hand 40,60 90,30", or those as separate words, -> a drag; without a part it is the one under the start."""
    given = words.split() if isinstance(words, str) else list(words)
    text, where = " ".join(given), "--drag"
    parts = given[:-2] if len(given) in (2, 3) else None
    if parts is None:
        raise InputError(where, f"is {text!r}", "a part and two points, as in: right_hand 40,60 90,30")
    points = []
    for word in given[-2:]:
        try:
            x, y = (float(number) for number in word.split(","))
        except ValueError as error:
            raise InputError(where, f"has the point {word!r}", "x,y in pixels of the picture, as in 40,60") from error
        if not (math.isfinite(x) and math.isfinite(y)):
            raise InputError(where, f"has the point {word!r}", "finite numbers")
        points.append((x, y))
    part = parts[0] if parts else "auto"
    if not _is_auto(part):
        part_id(part, where)
    return part, points[0], points[1]


def sketch_from_drags(
    drags: Sequence[Drag], part_ids: UInt8[np.ndarray, "H W"], subject_ids: UInt8[np.ndarray, "H W"]
) -> Sketch:
    """Drags on a picture -> the outlines of the parts they take hold of, moved by them.

    part_ids, subject_ids  what is where in the picture; a subject's id is 1 + its index
    Raises InputError where a drag starts on nothing, on too far from its part, or ends outside of the picture.
    """
    if not len(drags):
        raise InputError("drags", "are none", expected="at least one")
    hw = part_ids.shape
    return Sketch(tuple(_dragged(drag, part_ids, subject_ids) for drag in drags), (int(hw[0]), int(hw[1])))


def check_parts(sketch: Sketch, part_ids: UInt8[np.ndarray, "*any"]) -> None:
    """Raise InputError where a sketched part is of a kind (human, animal, object) of which nothing is in the picture.

    A part that is only hidden is allowed: a hand may come from behind a back.
    """
    there = {_kind(int(part)) for part in np.unique(part_ids) if part in PARTS and part > 0}
    for shape in sketch.shapes:
        if _kind(shape.part_id) not in there:
            found = ", ".join(sorted(there)) or "nothing"
            raise InputError(
                f"sketch, part {shape.part!r}", f"belongs to {_article(_kind(shape.part_id))}, but the picture shows "
                f"{found}", "a part of what was found in the picture", "name a part of that, or take another picture",
            )  # fmt: skip


def part_id(name: object, where: str) -> int:
    """Part name -> its id; spaces and capitals don't matter. Raises InputError with the nearest names."""
    plain = str(name).strip().lower().replace(" ", "_").replace("-", "_")
    if plain in PART_IDS and plain != "background":
        return PART_IDS[plain]
    names = [part for part in PART_IDS if part != "background"]
    near = [part for part in names if plain and plain in part] or difflib.get_close_matches(plain, names, 3, 0.5)
    mend = f"did you mean {' or '.join(near[:4])}?" if near else "take one of: " + ", ".join(names)
    raise InputError(where, f"names the part {name!r}, which there is not", "a part of docs/conventions.md", mend)


def _read(path: str | Path) -> dict:
    expected = "a JSON file of shapes, as docs/control.md describes"
    content = read_json(path, expected)
    if not isinstance(content, dict):
        raise InputError(path, f"holds a {type(content).__name__}", expected)
    return content


def _check_keys(given: dict, known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            mend = f"did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{where}, key {key!r}", "is not known", "one of " + ", ".join(known), mend)


def _scale(size: object, image_hw: tuple[int, int], where: str) -> np.ndarray:
    """[2] pixels of the image a pixel of the picture that the sketch was drawn on."""
    if size is None:
        return np.ones(2)
    drawn = _numbers(size, 2, where, "[width, height] in pixels")
    if (drawn < 1).any():
        raise InputError(where, f"is {size}", "[width, height] in pixels")
    scale = np.array(image_hw[::-1]) / drawn
    if abs(scale[0] / scale[1] - 1) > _SAME_SHAPE:
        raise InputError(
            where, f"is {drawn[0]:g}x{drawn[1]:g}, the picture {image_hw[1]}x{image_hw[0]}",
            "the same shape", "draw the sketch on the picture that it is for",
        )  # fmt: skip
    return scale


def _numbers(value: object, count: int, where: str, expected: str) -> np.ndarray:
    numbers = value if isinstance(value, list) else []
    if len(numbers) != count or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise InputError(where, f"is {value}", expected)
    if not all(abs(n) < 1e9 for n in numbers):
        raise InputError(where, f"is {value}", "finite numbers of pixels")
    return np.array(numbers, float)


def _shape(given: object, scale: np.ndarray, image_hw: tuple[int, int], where: str) -> SketchedPart:
    if not isinstance(given, dict):
        raise InputError(where, f"is {given!r}", 'an object such as {"part": "right_hand", "circle": [90, 30, 8]}')
    _check_keys(given, ("part", "subject", *_FORMS), where)
    if "part" not in given:
        raise InputError(where, "has no part", 'a name, as in "part": "right_hand"')
    forms = [form for form in _FORMS if form in given]
    if len(forms) != 1:
        raise InputError(where, f"has {len(forms)} outlines", "one of " + ", ".join(_FORMS))
    subject = given.get("subject")
    if subject is not None and (isinstance(subject, bool) or not isinstance(subject, int) or subject < 0):
        raise InputError(f"{where}, key 'subject'", f"is {subject!r}", "the index of a subject, 0 being the first")
    part = part_id(given["part"], where)
    polygon = _outline(forms[0], given[forms[0]], f"{where}, key {forms[0]!r}") * scale
    return SketchedPart(part, _inside(polygon, image_hw, f"{where} ({PARTS[part]})"), subject)


def _outline(form: str, value: object, where: str) -> np.ndarray:
    if form == "polygon":
        corners = value if isinstance(value, list) else []
        if len(corners) < 3:
            raise InputError(where, f"has {len(corners)} corners", "at least three, " + _FORMS[form])
        return np.array([_numbers(c, 2, f"{where}, corner {k}", "[x, y]") for k, c in enumerate(corners)])
    numbers = _numbers(value, 5 if form == "ellipse" else 3, where, _FORMS[form])
    x, y, *radii = numbers if form == "ellipse" else (*numbers, numbers[2], 0.0)
    if min(radii[:2]) <= 0:
        raise InputError(where, f"has the radius {min(radii[:2]):g}", "above 0 pixels")
    return _ellipse(np.array([x, y]), np.array(radii[:2]), math.radians(radii[2]))


def _ellipse(centre: np.ndarray, radii: np.ndarray, angle_rad: float) -> np.ndarray:
    turn = np.arange(ELLIPSE_CORNERS) / ELLIPSE_CORNERS * 2 * np.pi
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    return centre + np.stack([np.cos(turn), np.sin(turn)], 1) * radii @ np.array([[cosine, sine], [-sine, cosine]])


def _inside(polygon: np.ndarray, image_hw: tuple[int, int], where: str) -> np.ndarray:
    """What of a polygon is in the picture; InputError where it has no area or nothing is."""
    import cv2

    area = cv2.contourArea(cv2.convexHull(polygon.astype(np.float32)))
    if area < 1e-3:
        raise InputError(where, "has no area", "corners that are not on one line")
    size = np.array(image_hw[::-1], float)
    if (polygon >= 0).all() and (polygon <= size).all():
        return polygon
    cut = _cut(polygon, size)
    if len(cut) < 3 or cv2.contourArea(cv2.convexHull(cut.astype(np.float32))) < 1e-3:
        low, high = polygon.min(0), polygon.max(0)
        raise InputError(
            where, f"lies outside of the picture: x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}",
            f"x 0 to {size[0]:g}, y 0 to {size[1]:g}", "give pixels of the input image, x first",
        )  # fmt: skip
    _LOGGER.warning("%s reaches over the edge of the picture and is cut off there", where)
    return cut


def _cut(polygon: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A polygon cut off at the edges of the picture (Sutherland and Hodgman 1974)."""
    for axis in (0, 1):
        for sign, limit in ((1, 0.0), (-1, size[axis])):
            kept = []
            inside = sign * (polygon[:, axis] - limit)
            for k in range(len(polygon)):
                after = (k + 1) % len(polygon)
                if inside[k] >= 0:
                    kept.append(polygon[k])
                if (inside[k] >= 0) != (inside[after] >= 0):
                    share = inside[k] / (inside[k] - inside[after])
                    kept.append(polygon[k] + share * (polygon[after] - polygon[k]))
            polygon = np.array(kept).reshape(-1, 2)
    return polygon


def _is_auto(part: str) -> bool:
    return part.strip().lower() in ("", "auto")


def _dragged(drag: Drag, part_ids: np.ndarray, subject_ids: np.ndarray) -> SketchedPart:
    import cv2

    part, start, end = drag
    hw = (int(part_ids.shape[0]), int(part_ids.shape[1]))
    where = f"drag {part or 'auto'} {start[0]:g},{start[1]:g} {end[0]:g},{end[1]:g}"
    wanted = part_ids > 0 if _is_auto(part) else part_ids == part_id(part, where)
    rows, columns = np.nonzero(wanted)
    away = np.hypot(columns + 0.5 - start[0], rows + 0.5 - start[1])
    if not len(away) or away.min() > max(GRAB_SHARE * max(hw), 1.0):
        thing = "nothing" if _is_auto(part) else f"no {part}"
        raise InputError(
            where,
            f"starts where there is {thing}",
            "a start on a part",
            "parts there: " + _whereabouts(part_ids, subject_ids, start),
        )
    row, column = rows[away.argmin()], columns[away.argmin()]
    own = (part_ids == part_ids[row, column]) & (subject_ids == subject_ids[row, column])
    _, pieces = cv2.connectedComponents(own.astype(np.uint8))
    piece = (pieces == pieces[row, column]).astype(np.uint8)
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = cv2.approxPolyDP(outlines[0], 0.5, True)[:, 0].astype(float) + 0.5
    least = LEAST_RADIUS_SHARE * max(hw)
    if cv2.contourArea(outline.astype(np.float32)) < math.pi * least**2:
        radii = np.maximum(np.ptp(outline, 0) / 2, least)
        outline = _ellipse((outline.min(0) + outline.max(0)) / 2, radii, 0.0)
    moved = _inside(outline + np.subtract(end, start), hw, where)
    subject = int(subject_ids[row, column]) - 1
    return SketchedPart(int(part_ids[row, column]), moved, subject if subject >= 0 else None)


def _whereabouts(part_ids: np.ndarray, subject_ids: np.ndarray, start: tuple[float, float]) -> str:
    """The parts of a picture's subjects and their centres, the nearest first."""
    rows, columns = np.nonzero(part_ids)
    owners, of = np.unique(np.stack([part_ids, subject_ids], -1)[rows, columns], axis=0, return_inverse=True)
    middles = [np.array([columns[of == k].mean(), rows[of == k].mean()]) + 0.5 for k in range(len(owners))]
    nearest = sorted(range(len(owners)), key=lambda k: float(np.linalg.norm(middles[k] - start)))
    names = [PARTS.get(int(part), str(part)) for part, _ in owners]
    text = ", ".join(f"{names[k]} at {middles[k][0]:.0f},{middles[k][1]:.0f}" for k in nearest[:8])
    more = f" and {len(nearest) - 8} more" if len(nearest) > 8 else ""
    return text + more if text else "none, as nothing was found in the picture"


def _kind(part: int) -> str:
    return "person" if part < PART_IDS["animal_head"] else "animal" if part < PART_IDS["object"] else "object"


def _article(kind: str) -> str:
    return "a person" if kind == "person" else f"an {kind}"
