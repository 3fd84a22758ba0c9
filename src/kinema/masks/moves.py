"""Operations that move masks: zoom, shift, path, slope, rotate, mirror, crop (MVideo, section 4.3, figures 7 and 8).

Input: a `Draft`, which objects, and a number a frame for every curve. Output: a `Draft` with one more transform a frame.
x and y are shares of the picture's width and height; angles in degrees, from x towards y, clockwise as one sees it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from kinema.errors import InputError
from kinema.masks.draft import Draft, Place

Chosen = Bool[np.ndarray, " N"]
Curve = Float[np.ndarray, " T"]


def scale(draft: Draft, chosen: Chosen, by: Curve, about: Place) -> Draft:
    """Larger or smaller about a place that stays."""
    return draft.moved(_about(draft.place(about, chosen), by[:, None, None] * np.eye(2)), chosen)


def rotate(draft: Draft, chosen: Chosen, degrees: Curve, about: Place) -> Draft:
    """Turned about a place that stays."""
    return draft.moved(_about(draft.place(about, chosen), _turns(degrees)), chosen)


def shift(draft: Draft, chosen: Chosen, x: Curve, y: Curve) -> Draft:
    """To the right and down."""
    return draft.moved(_shifts(np.stack([x, y], 1) * draft.hw[::-1]), chosen)


def mirror(draft: Draft, chosen: Chosen, axis: str) -> Draft:
    """x: left becomes right; y: the upper side the lower."""
    flip = np.diag([-1.0, 1.0]) if axis == "x" else np.diag([1.0, -1.0])
    return draft.moved(_about(draft.place("picture", chosen), np.repeat(flip[None], len(draft), 0)), chosen)


def path(draft: Draft, chosen: Chosen, through: tuple[tuple[float, float], ...], way: Curve, own: str) -> Draft:
    """The chosen objects' common centre goes along a curve through points.

    way  share of the curve that is behind them at every frame
    own  "drop": the centre is on the curve; "keep": the curve's way is added to the objects' own
    """
    goal = along(through, way) * draft.hw[::-1]
    if own == "keep":
        return draft.moved(_shifts(goal - goal[0]), chosen)
    centres = draft.centres(chosen)
    return draft.moved(_shifts(np.where(np.isfinite(centres), goal - centres, 0.0)), chosen)


def slope(draft: Draft, chosen: Chosen, degrees: Curve, lean: Curve) -> Draft:
    """Uphill to the right: what is right of the picture's middle goes up, and leans back by a share of the slope."""
    centres = draft.place("subject", chosen)
    climb = -np.tan(np.radians(degrees)) * (centres[:, 0] - draft.hw[1] / 2)
    leaning = _about(centres, _turns(-degrees * lean))
    return draft.moved(_shifts(np.stack([np.zeros(len(draft)), climb], 1)) @ leaning, chosen)


def steady(draft: Draft, chosen: Chosen, seconds: float) -> Draft:
    """The common centre's way without what is quicker than about so many seconds; shapes stay as they are."""
    from scipy.ndimage import gaussian_filter1d

    centres = draft.centres(chosen)
    known = np.flatnonzero(np.isfinite(centres).all(1))
    if seconds <= 0 or len(known) < 3:
        return draft
    filled = np.stack([np.interp(np.arange(len(draft)), known, centres[known, axis]) for axis in (0, 1)], 1)
    smooth = gaussian_filter1d(filled, seconds * draft.source.fps / 2, axis=0, mode="nearest")
    return draft.moved(_shifts(smooth - filled), chosen)


def crop(draft: Draft, left: float, top: float, right: float, bottom: float) -> Draft:
    """The picture cut to a part of it: smaller, in whole pixels."""
    height, width = draft.hw
    x0, x1, y0, y1 = round(left * width), round(right * width), round(top * height), round(bottom * height)
    if x1 <= x0 or y1 <= y0:
        raise InputError(
            "crop", f"leaves {x1 - x0}x{y1 - y0} pixels of {width}x{height}", "left below right and top below bottom"
        )
    everything = np.ones(draft.transforms.shape[1], bool)
    moved = draft.moved(_shifts(np.repeat([[-float(x0), -float(y0)]], len(draft), 0)), everything)
    return replace(moved, hw=(y1 - y0, x1 - x0))


def along(through: tuple[tuple[float, float], ...], share: Curve) -> Float[np.ndarray, "T 2"]:
    """The point at a share of the way along a smooth curve through points (a cubic spline over chord lengths)."""
    from scipy.interpolate import CubicSpline

    points = np.array(through, float)
    points = points[np.concatenate([[True], (np.diff(points, axis=0) != 0).any(1)])]
    if len(points) == 1:
        return np.repeat(points, len(share), 0)
    chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    kind = "natural" if len(points) > 2 else "not-a-knot"
    return np.asarray(CubicSpline(chord, points, bc_type=kind)(share * chord[-1]))


def _about(places: Float[np.ndarray, "T 2"], linear: Float[np.ndarray, "T 2 2"]) -> Float[np.ndarray, "T 3 3"]:
    matrices = np.tile(np.eye(3), (len(places), 1, 1))
    matrices[:, :2, :2] = linear
    matrices[:, :2, 2] = places - np.einsum("tij,tj->ti", linear, places)
    return matrices


def _shifts(by_px: Float[np.ndarray, "T 2"]) -> Float[np.ndarray, "T 3 3"]:
    matrices = np.tile(np.eye(3), (len(by_px), 1, 1))
    matrices[:, :2, 2] = by_px
    return matrices


def _turns(degrees: Curve) -> Float[np.ndarray, "T 2 2"]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
