"""How the outline of a fitted body differs from that of its mask, as something that a fit can follow.

Input: a body as it lies now, and the mask it should fill (ReVision, section 4.2-S2, appendix B). Output: points of its skin
that are drawn on its rim, each with the place in the picture where the mask's rim is and the direction across it. Both ways,
as in a Chamfer distance: from the drawn rim to the mask's, along the slope of the mask's distance field, and from the mask's
to the drawn point that is nearest. Where something else is in front, or the picture ends, an outline says nothing.
The points are found anew every few steps, as in iterative closest points (Besl and McKay 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from kinema.body.model import load_body
from kinema.body.skeleton import PARENTS
from kinema.body.skinning import SkinnedBody
from kinema.extract.lifter import CPU, LIFTED_BETAS, LIFTED_PARENTS
from kinema.render.rasterizer import Mesh, rasterize_surface
from kinema.types import Cameras

DRAWN_PX = 192
"""The longer side of what is drawn to find outlines; masks are brought to it."""
POINTS_EACH_WAY = 120
"""Of a frame: from the drawn rim to the mask's, and from the mask's to the drawn one."""
REACH_SHARE = 0.08
"""Rims further apart than this share of the longer side are not of the same thing."""
LEAST_MASK_PX = 40


@dataclass(frozen=True)
class Skin:
    """The built-in body with few vertices. template [V,3], shape_dirs [V,3,N], weights [V,J] of the lifted joints, faces
    [F,3]; joints [J,3] and joint_dirs [J,3,N] at rest. Fingers and face go with the lifted joint that they hang on.
    """

    template: Tensor
    shape_dirs: Tensor
    joints: Tensor
    joint_dirs: Tensor
    weights: Tensor
    faces: np.ndarray

    def vertices(self, turned: Tensor, points: Tensor, betas: Tensor) -> Tensor:
        """Global rotations [T,J,3,3], joints [T,J,3] and the shape [N] -> [T,V,3] in the frame of the joints."""
        rest, at = self.template + self.shape_dirs @ betas, self.joints + self.joint_dirs @ betas
        moved = points - (turned @ at[..., None])[..., 0]
        rotation = (self.weights @ turned.flatten(2)).unflatten(2, (3, 3))
        return (rotation @ rest[..., None])[..., 0] + self.weights @ moved


@cache
def skin(category: str, device: torch.device = CPU) -> Skin:
    """The skin of a category's built-in body, read once."""
    body = load_body("human" if category == "human" else "animal", detail="low")
    assert isinstance(body, SkinnedBody)
    lifted, betas = len(LIFTED_PARENTS[category]), LIFTED_BETAS[category]
    carrier = np.arange(len(body.joint_template))
    parents = PARENTS[category]
    for joint in range(lifted, len(carrier)):
        carrier[joint] = carrier[parents[joint]]
    weights = np.zeros((len(body.template), lifted), np.float32)
    np.add.at(weights, (np.arange(len(weights))[:, None], carrier[body.weight_joints]), body.weights)
    arrays = (body.template, body.shape_dirs[..., :betas], body.joint_template[:lifted],
              body.joint_shape_dirs[:lifted, :, :betas], weights)  # fmt: skip
    template, dirs, at_rest, joint_dirs, shares = (torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays)
    return Skin(template, dirs, at_rest, joint_dirs, shares, body.faces)


@dataclass(frozen=True)
class Outline:
    """K points a frame. corners [T,K,3] vertices of the skin and shares [T,K,3] of each: a point on the rim as drawn;
    rays [T,K,2] where it should be; across [T,K,2], unit, the direction that counts; weights [T,K], a frame's sum being
    1, or 0 where its outline says nothing."""

    corners: Tensor
    shares: Tensor
    rays: Tensor
    across: Tensor
    weights: Tensor

    def away(self, vertices: Tensor) -> Tensor:
        """[T,K] how far the points are from where they should be, across the rim, in rays. vertices [T,V,3] in each
        frame's camera."""
        frames = torch.arange(len(vertices), device=vertices.device)[:, None, None]
        points = (vertices[frames, self.corners] * self.shares[..., None]).sum(2)
        rays = points[..., :2] / points[..., 2:].clamp_min(0.1)
        return ((rays - self.rays) * self.across).sum(-1)


def find_outline(
    category: str,
    vertices: Tensor,
    mask: Bool[np.ndarray, "T H W"],
    others: Bool[np.ndarray, "T H W"],
    cameras: Cameras,
) -> Outline:
    """Where the outline of a body whose vertices [T,V,3] are given in each frame's camera differs from that of its mask.

    others  where another subject is seen: the mask's rim is no rim of the body there
    The answer is on the device of the vertices.
    """
    small = _drawn_at(cameras)
    faces = skin(category).faces
    mesh = Mesh(vertices.cpu().numpy(), faces, np.ones(vertices.shape[1], np.uint8), 1)
    drawn = rasterize_surface([mesh], small)
    size = (small.image_hw[1], small.image_hw[0])
    found = []
    for t in range(len(mask)):
        seen, foreign = (_shrunk(m[t], size) for m in (mask, others))
        found.append(_rim_points(drawn.face_ids[t] >= 0, seen, foreign))
    count = max(1, max(len(f[0]) for f in found))
    frames = len(mask)
    at = np.zeros((frames, count, 2), int)
    goal, across, weights = np.zeros((frames, count, 2)), np.zeros((frames, count, 2)), np.zeros((frames, count))
    for t, (pixels, targets, normals) in enumerate(found):
        n = len(pixels)
        if n:
            at[t, :n], goal[t, :n], across[t, :n], weights[t, :n] = pixels, targets, normals, 1 / n
    each = np.arange(frames)[:, None]
    face_ids = drawn.face_ids[each, at[..., 0], at[..., 1]]
    rays = (goal[..., ::-1] - small.K[:, None, :2, 2]) / small.K[:, None, [0, 1], [0, 1]]
    shares = np.where(weights[..., None] > 0, drawn.weights[each, at[..., 0], at[..., 1]], 0)
    return Outline(
        torch.from_numpy(drawn.faces[np.maximum(face_ids, 0)].astype(np.int64)).to(vertices.device),
        *(
            torch.from_numpy(v.astype(np.float32)).to(vertices.device)
            for v in (shares, rays, across[..., ::-1], weights)
        ),
    )


def _drawn_at(cameras: Cameras) -> Cameras:
    """The cameras at the size of what is drawn, in their own frames."""
    height, width = cameras.image_hw
    scale = DRAWN_PX / max(height, width)
    hw = (max(1, round(height * scale)), max(1, round(width * scale)))
    K = cameras.K.astype(np.float64).copy()
    K[:, 0] *= hw[1] / width
    K[:, 1] *= hw[0] / height
    return Cameras(K.astype(np.float32), np.tile(np.eye(4, dtype=np.float32), (len(K), 1, 1)), hw)


def _shrunk(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size[::-1]:
        return mask
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5


Rim = tuple[np.ndarray, np.ndarray, np.ndarray]


def _rim_points(drawn: np.ndarray, seen: np.ndarray, foreign: np.ndarray) -> Rim:
    """Rows and columns [K,2] of drawn pixels, where they should be [K,2], and the directions [K,2] that count."""
    nothing = np.zeros((0, 2), int), np.zeros((0, 2)), np.zeros((0, 2))
    if min(drawn.sum(), seen.sum(), (~seen).sum()) < LEAST_MASK_PX:
        return nothing
    free = _free(foreign)
    signed = np.where(seen, 0.5 - _distance(seen), _distance(~seen) - 0.5)
    slope = np.stack(np.gradient(cv2.GaussianBlur(signed, (5, 5), 1.0)), -1)
    slope /= np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-6)
    reach = REACH_SHARE * max(seen.shape)

    own = _every(np.argwhere(_rim(drawn) & free & (np.abs(signed) < reach)))
    # The middle of a pixel on the rim lies half a pixel within.
    off = signed[own[:, 0], own[:, 1]] + 0.5
    normals = slope[own[:, 0], own[:, 1]]
    towards = own + 0.5 - off[:, None] * normals
    there = free[tuple(np.clip(np.floor(towards).astype(int), 0, np.array(seen.shape) - 1).T)]
    own, towards, normals = own[there], towards[there], normals[there]

    theirs = _every(np.argwhere(_rim(seen) & free))
    apart, nearest = _nearest(_rim(drawn), theirs)
    near = apart < reach
    theirs, nearest = theirs[near], nearest[near]
    back = slope[theirs[:, 0], theirs[:, 1]]
    return (
        np.concatenate([own, nearest]), np.concatenate([towards, theirs + 0.5]), np.concatenate([normals, back]),
    )  # fmt: skip


def _free(foreign: np.ndarray) -> np.ndarray:
    """Where a rim is the body's own: not beside another subject, not at the picture's edge."""
    free = cv2.dilate(foreign.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    free[[0, -1]] = False
    free[:, [0, -1]] = False
    return free


def _rim(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that touch what is not of it."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return mask & (cv2.erode(mask.astype(np.uint8), cross, borderValue=1) == 0)


def _distance(mask: np.ndarray) -> np.ndarray:
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


def _every(places: np.ndarray) -> np.ndarray:
    """At most `POINTS_EACH_WAY` of them, evenly."""
    step = max(1, -(-len(places) // POINTS_EACH_WAY))
    return places[::step]


def _nearest(rim: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each place the rim's nearest pixel: how far, and which."""
    pixels = np.argwhere(rim)
    if not len(places) or not len(pixels):
        return np.zeros(0), np.zeros((0, 2), int)
    squares = ((places[:, None] - pixels[None]) ** 2).sum(-1)
    best = squares.argmin(1)
    return np.sqrt(squares[np.arange(len(places)), best]), pixels[best]


def others_of(masks: Sequence[np.ndarray], index: int) -> np.ndarray:
    """Where any subject but one is seen."""
    rest = [m for k, m in enumerate(masks) if k != index]
    return np.any(rest, 0) if rest else np.zeros_like(masks[index])
