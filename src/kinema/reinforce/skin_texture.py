"""The colours of a body's whole surface, from the part of it that one picture shows.

Input: colours of the vertices that the picture shows. Output: colours of all, and how well each is known.
What is hidden takes the colour of its mirror image on the other side where that is seen; else the nearest seen
colour of the same part in the rest pose, where a person's back is taken to be near the front. A part that is hardly seen
at all (its few pixels are mixed with what lies behind them) takes its usual colour where that is given, else the one
beside it. Then it is smoothed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, UInt8

from kinema.body.model import BodyModel
from kinema.body.skeleton import PART_IDS
from kinema.reinforce import texture_kernels as kernels
from kinema.types import BodyMotion

SEEN, MIRRORED, NEAREST = 1.0, 0.5, 0.25
"""How well a colour is known, by where it comes from."""
_MIRROR_REACH_M = 0.03
"""A vertex this near the mirror image of another is its twin."""
_LEAST_SEEN, _INNER_WEIGHT = 0.02, 0.5
"""A part of which a smaller share of the vertices is seen is hardly seen; vertices at a subject's border weigh less."""
_BESIDE = 24
"""So many of the nearest vertices have the usual colour beside a part, their median."""
_FLATTEN = 0.25
"""How much depth (z) counts against height and width, for the front of a person to be near the back."""
_PARTS_APART_M = 10.0
_SMOOTHING_STEPS = 6
_DARKEST, _MISFIT, _NO_LIGHT, _FITTING_ROUNDS = 8.0, 0.25, 0.005, 5
"""Brightness 0-255 below which there is only noise; log brightness that is no longer light but pattern; how strongly, a
vertex, the light is taken to be even; rounds of reweighting."""


def whole_skin(
    rest_m: Float32[np.ndarray, "V 3"],
    faces: Int32[np.ndarray, "F 3"],
    parts: UInt8[np.ndarray, " V"],
    colours: Float32[np.ndarray, "V 3"],
    weights: Float32[np.ndarray, " V"],
    usual: Float32[np.ndarray, "V 3"] | None = None,
) -> tuple[Float32[np.ndarray, "V 3"], Float32[np.ndarray, " V"]]:
    """Colours of all vertices, and how well they are known; the usual ones or grey where nothing at all is seen.

    rest_m   vertices in the rest pose, +y up, facing +z, left at +x
    weights  how far to trust the colour of each vertex: 0 where it is not seen, 1 away from its subject's border
    usual    of the part that each vertex is of, where a part is hardly seen on the body but known; NaN where it is not
    """
    seen = (weights > 0) & _well_seen(weights > 0, parts)
    usual = np.full_like(colours, np.nan) if usual is None else usual
    otherwise = np.where(np.isfinite(usual), usual, 128)
    colours, known = np.where(seen[:, None], colours, otherwise).astype(np.float32), seen.astype(np.float32)
    if not seen.any():
        return colours, known
    from scipy.spatial import KDTree

    hidden, source = np.flatnonzero(~seen), np.flatnonzero(seen)
    other_side = rest_m[hidden] * [-1, 1, 1]
    twin, distance = _nearest(rest_m[source], other_side, _MIRROR_REACH_M)
    mirrored = np.isfinite(distance)
    mirrored[mirrored] = parts[source[twin[mirrored]]] == parts[_nearest(rest_m, other_side[mirrored])[0]]
    colours[hidden[mirrored]], known[hidden[mirrored]] = colours[source[twin[mirrored]]], MIRRORED

    places = _places(rest_m, parts)
    source, hidden = np.flatnonzero(known), np.flatnonzero(known == 0)
    nearest, distance = _nearest(places[source], places[hidden])
    colours[hidden], known[hidden] = colours[source[nearest]], NEAREST
    alone = hidden[distance >= _PARTS_APART_M / 2]
    if len(alone):
        inner = np.flatnonzero(seen & (weights >= _INNER_WEIGHT))
        source = inner if len(inner) >= _BESIDE else source
        both_sides = np.concatenate([rest_m[source], rest_m[source] * [-1, 1, 1]])
        beside = KDTree(both_sides).query(rest_m[alone], min(_BESIDE, len(source)))[1].reshape(len(alone), -1)
        beside = beside % len(source)
        colours[alone] = np.median(colours[source[beside]], 1)
        colours[alone] = np.where(np.isfinite(usual[alone]), usual[alone], colours[alone])
    edges = np.concatenate([faces[:, :2], faces[:, 1:], faces[:, [2, 0]]])
    kernels.spread(colours, seen, edges[edges[:, 0] < edges[:, 1]], _SMOOTHING_STEPS)
    return colours, known


def _well_seen(seen: np.ndarray, parts: np.ndarray) -> Bool[np.ndarray, " V"]:
    """Whether a vertex is of a part that is not hardly seen; all are where no part is better."""
    enough = np.bincount(parts[seen], minlength=256) >= _LEAST_SEEN * np.bincount(parts, minlength=256)
    return enough[parts] if (seen & enough[parts]).any() else np.ones(len(parts), bool)


def _nearest(points: np.ndarray, queries: np.ndarray, reach: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest point and its distance, inf beyond `reach`, for each query."""
    from scipy.spatial import KDTree

    distance, index = KDTree(points).query(queries, distance_upper_bound=reach)
    return np.asarray(index), np.asarray(distance)


def fit_light(
    colours: Float32[np.ndarray, "N 3"], normals: Float32[np.ndarray, "N 3"], groups: Int[np.ndarray, " N"]
) -> Float32[np.ndarray, " 3"]:
    """How the logarithm of brightness grows along the normal, where each group (a part of a body) has one colour.

    Least squares, pulled towards no light at all, and less and less moved by what does not fit: patterns, shadows.
    """
    brightness = np.log(np.maximum(colours.mean(1), _DARKEST))
    _, group = np.unique(groups, return_inverse=True)
    known = np.concatenate([normals, brightness[:, None]], 1).astype(float)
    weights, light = np.ones(len(known)), np.zeros(3)
    for _ in range(_FITTING_ROUNDS):
        total = np.bincount(group, weights)
        means = np.stack([np.bincount(group, weights * column) / np.maximum(total, 1e-9) for column in known.T], 1)
        centred = known - means[group]
        N, y = centred[:, :3] * weights[:, None], centred[:, 3]
        light = np.linalg.solve(N.T @ centred[:, :3] + _NO_LIGHT * (1 + len(known)) * np.eye(3), N.T @ y)
        weights = 1 / (1 + ((y - centred[:, :3] @ light) / _MISFIT) ** 2)
    return light.astype(np.float32)


def _places(rest_m: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """[V,4] where near vertices lie near each other: parts far apart, people flattened, but for their heads."""
    person = (parts < PART_IDS["animal_head"]) & (parts != PART_IDS["head"])
    flat = rest_m.astype(float) * np.where(person, _FLATTEN, 1.0)[:, None] ** [0, 0, 1]
    return np.concatenate([flat, parts[:, None] * _PARTS_APART_M], 1)


def rest_vertices(body: BodyModel, motion: BodyMotion) -> Float32[np.ndarray, "V 3"]:
    """Vertices of a motion's body in the rest pose, metres."""
    still = BodyMotion(
        motion.category, np.zeros_like(motion.rotvec[:1]), np.zeros((1, 3), np.float32), motion.betas, 1.0
    )
    return body.vertices(still)[0]
