"""Who is in front of whom, from the masks (ReVision, section 4.2-S2: "depth order").

A point inside of one subject's limb that lies in another one's visible mask, and not in its own, is hidden by that other
one. An object is in front of a fitted body where it is seen on it, once what looks like a body is taken off its mask.
Input: where the bones are in the picture, masks, colours. Output: places for the fit of the bodies to heed
(`fit_terms.order_energy`), and the masks and depth of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import uniform_filter1d
from torch import Tensor

from kinema.extract.lifter import CPU, LIFTED_PARENTS
from kinema.render.rasterizer import rasterize
from kinema.render.shot import make_shot
from kinema.types import BodyMotion, Cameras, Scene, Subject

BONE_SHARES = (0.2, 0.5, 0.8)
"""Points along a bone, as shares of its length."""
INSIDE_SHARE, OWN_SHARE = 1.5 / 128, 3.0 / 128
"""A hidden point is at least this far inside of the other's mask, and outside of its own; shares of the longer side."""
NEAR_SHARE = 0.12
"""The limb that hides a point lies this near to it."""
ORDER_WEIGHT = 1.0
"""What a frame counts in which one subject hides another: little, for the lifter and what is seen of depth know better."""
VOTE_SPAN = 8
"""The order of two bodies is voted on over this many frames before and after."""
BESIDE_SHARE = 0.1
"""Colours of the bodies are taken this near to an object, as a share of the longer side."""
LEAST_COLOURS, MOST_COLOURS = 20, 500
"""So many pixels tell what something looks like."""
OBJECT_GAP_M = 0.03
"""An object is nearer or farther than what it crosses by this much."""


@cache
def bone_points(category: str, device: torch.device = CPU) -> Tensor:
    """[P,J] weights of the joints whose mean is a point inside of a limb."""
    parents = LIFTED_PARENTS[category]
    bones = [(j, above) for j, above in enumerate(parents) if above >= 0]
    weights = torch.zeros(len(bones) * len(BONE_SHARES), len(parents))
    for row, (joint, above) in enumerate(bones):
        for k, share in enumerate(BONE_SHARES):
            weights[row * len(BONE_SHARES) + k, joint] = share
            weights[row * len(BONE_SHARES) + k, above] = 1 - share
    return weights.to(device)


@dataclass(frozen=True)
class Hidden:
    """K places in which a point of subject `behind` is hidden by the limb of `front` that is nearest to it there."""

    behind: int
    front: int
    frames: Tensor
    points_behind: Tensor
    points_front: Tensor
    weights: Tensor


def find_hidden(
    points_px: Sequence[Float[np.ndarray, "_ _ 2"]], masks: Sequence[Bool[np.ndarray, "T H W"]]
) -> list[Hidden]:
    """Points of the limbs [T,P,2] in pixels and the visible mask of every subject -> where one hides another.

    Frames in which either has no mask do not count. In a pair, those who hide most over some frames do.
    """
    found = []
    for a in range(len(masks)):
        for b in range(a):
            ab, ba = (_hidden_by(points_px[i], masks[i], masks[j]) for i, j in ((a, b), (b, a)))
            lead = uniform_filter1d(ab.sum(1, float) - ba.sum(1), 2 * VOTE_SPAN + 1, mode="constant")
            for behind, front, hidden, wins in ((a, b, ab, lead > 0), (b, a, ba, lead < 0)):
                hidden = hidden & wins[:, None]
                if hidden.any():
                    found.append(_places(behind, front, hidden, points_px, max(masks[a].shape[1:])))
    return found


def _hidden_by(points_px: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[T,P] whether a subject's point lies well inside of the other's mask."""
    hidden = np.zeros(points_px.shape[:2], bool)
    height, width = own.shape[1:]
    columns, rows = np.floor(points_px).astype(int).transpose(2, 0, 1)
    shown = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    for t in np.flatnonzero(own.any((1, 2)) & other.any((1, 2))):
        inside = _distance(other[t]) >= INSIDE_SHARE * max(height, width)
        away = _distance(~own[t]) >= OWN_SHARE * max(height, width)
        which = np.flatnonzero(shown[t])
        hidden[t, which] = (inside & away)[rows[t, which], columns[t, which]]
    return hidden


def _distance(mask: np.ndarray) -> np.ndarray:
    """Pixels to the nearest pixel that is not in the mask."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)


def _places(behind: int, front: int, hidden: np.ndarray, points_px: Sequence[np.ndarray], side_px: int) -> Hidden:
    frames, points = np.nonzero(hidden)
    apart = np.linalg.norm(points_px[behind][frames, points][:, None] - points_px[front][frames], axis=-1)
    nearest = apart.argmin(1)
    near = apart[np.arange(len(frames)), nearest] <= NEAR_SHARE * side_px
    frames, points, nearest = frames[near], points[near], nearest[near]
    weights = ORDER_WEIGHT / np.bincount(frames, minlength=len(hidden))[frames]
    return Hidden(behind, front, *map(torch.from_numpy, (frames, points, nearest, weights.astype(np.float32))))


def bodies_depth(bodies: Sequence[BodyMotion], cameras: Cameras) -> Float[np.ndarray, "T H W"]:
    """Distance of the nearest body along the axis, metres; inf where there is none."""
    if not bodies:
        return np.full((len(cameras.K), *cameras.image_hw), np.inf, np.float32)
    shot = make_shot(Scene(tuple(Subject(k, "", "", b) for k, b in enumerate(bodies)), cameras))
    return rasterize(shot.meshes(slice(0, len(shot))), shot.cameras, normals=False).depth_m


def own_pixels(
    masks: Bool[np.ndarray, "T H W"], bodies: Bool[np.ndarray, "T H W"], frames: UInt8[np.ndarray, "T H W 3"]
) -> Bool[np.ndarray, "T H W"]:
    """An object's masks without the pixels whose colour (CIELAB) is nearer to those of bodies beside it than to its own,
    which are those well inside of it in all frames: masks bleed over hands and legs. bodies: where any is seen."""
    from scipy.spatial import KDTree

    side = max(frames.shape[1:3])
    lab = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2LAB) for f in frames])
    inside = np.stack([_distance(m) >= OWN_SHARE * side for m in masks])
    if inside.sum() < LEAST_COLOURS:
        return masks
    of_object, kept = KDTree(_some(lab[inside])), masks.copy()
    for t in np.flatnonzero(masks.any((1, 2))):
        away = _distance(~masks[t])
        beside = bodies[t] & (away >= OWN_SHARE * side) & (away <= BESIDE_SHARE * side)
        if beside.any():
            pixels = lab[t][masks[t]]
            kept[t][masks[t]] = of_object.query(pixels)[0] < KDTree(_some(lab[t][beside])).query(pixels)[0]
    return kept


def in_seen_order(
    depth_m: Float[np.ndarray, " T"],
    masks: Bool[np.ndarray, "T H W"],
    own: Bool[np.ndarray, "T H W"],
    drawn_m: Float[np.ndarray, "T H W"],
) -> Float[np.ndarray, " T"]:
    """Depths of an object, changed where its masks cross the bodies as they are drawn (`bodies_depth`): in front of them
    where one of its `own_pixels` lies on them, else behind."""
    ordered = depth_m.copy()
    drawn = np.isfinite(drawn_m)
    for t in np.flatnonzero((masks & drawn).any((1, 2))):
        if (on_body := own[t] & drawn[t]).any():
            ordered[t] = min(depth_m[t], np.quantile(drawn_m[t][on_body], 0.05) - OBJECT_GAP_M)
        else:
            ordered[t] = max(depth_m[t], np.quantile(drawn_m[t][masks[t] & drawn[t]], 0.95) + OBJECT_GAP_M)
    return ordered


def _some(colours: UInt8[np.ndarray, "N 3"]) -> UInt8[np.ndarray, "M 3"]:
    """At most `MOST_COLOURS` of them, evenly chosen."""
    return colours[np.linspace(0, len(colours) - 1, min(len(colours), MOST_COLOURS)).astype(int)]
