"""Parts of a body: where their centres are, how these move with the pose, and how much of a part a camera sees.

Input: a motion, and the numbers of parts. Output: points in the world, what carries them, shares of silhouettes.
A part's centre is carried by joints alone: by blend skinning it is sum_j c_j p_j + R_j m_j, with c and m from the
weights of its vertices (SMPL, Loper et al. 2015, equation 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from jaxtyping import Float

from kinema.body.model import load_body
from kinema.body.skeleton import BODY_JOINT_COUNT, JOINTS, PARENTS, depth_levels
from kinema.body.skinning import SkinnedBody
from kinema.camera import resize
from kinema.optimize.contacts import standing_heights
from kinema.types import BodyMotion, Cameras, Category

_NEAREST_M = 0.05
SEEN_PX = 128
"""Longer side of the picture in which it is counted what is seen of a part."""


@dataclass(frozen=True)
class Lens:
    """One camera: K [3,3] in pixels, T_camera_world [4,4], (height, width) of its picture in pixels."""

    K: Float[np.ndarray, "3 3"]
    T_camera_world: Float[np.ndarray, "4 4"]
    image_hw: tuple[int, int]

    @property
    def side_px(self) -> float:
        return float(max(self.image_hw))

    def cameras(self, longer_px: int) -> Cameras:
        """The same view as a clip of one frame, with so many pixels on the longer side."""
        height, width = (max(1, round(side * longer_px / self.side_px)) for side in self.image_hw)
        return resize(Cameras(self.K[None], self.T_camera_world[None], self.image_hw), (width, height))

    def see(self, points_m: Float[np.ndarray, "N 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """-> pixels [N,2], depth [N], and how both change with the point: [N,2,3], [N,3]."""
        rotation = self.T_camera_world[:3, :3].astype(float)
        seen = points_m @ rotation.T + self.T_camera_world[:3, 3]
        depth = np.maximum(seen[:, 2], _NEAREST_M)
        image = seen @ self.K.astype(float).T
        pixels = image[:, :2] / depth[:, None]
        slope = (self.K[None, :2].astype(float) - pixels[:, :, None] * [0.0, 0.0, 1.0]) / depth[:, None, None]
        return pixels, seen[:, 2], slope @ rotation, np.tile(rotation[2], (len(points_m), 1))


@dataclass(frozen=True)
class Rig:
    """What of a body and shape the solver needs. The first F joints are free; N points are carried by J joints.

    share   [N,J] c_j as above; of P parts first, then of the free joints themselves
    moment  [P,J,3] m_j as above, in metres; free joints have none
    """

    category: Category
    bones: Float[np.ndarray, "J 3"]
    share: Float[np.ndarray, "N J"]
    moment: Float[np.ndarray, "P J 3"]
    heights: Float[np.ndarray, " J"]

    @cached_property
    def below(self) -> np.ndarray:
        """[J,J] 1 where joint i is joint j or hangs on it."""
        parents = PARENTS[self.category]
        below = np.eye(len(parents))
        for joint in range(len(parents) - 1, 0, -1):
            below[parents[joint]] += below[joint]
        return below

    @cached_property
    def share_below(self) -> np.ndarray:
        """[N,F] how much of a point is carried by free joint j and what hangs on it."""
        return self.share @ self.below[: free_joints(self.category)].T

    def points(self, local: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Local rotations [J,3,3], root [3] -> points [N,3] m, how they change with turns and root [N,3,3F+3]."""
        parents = PARENTS[self.category]
        turned, joints = local.copy(), np.empty((len(local), 3))
        joints[0] = root
        for own in depth_levels(parents)[1:]:
            above = turned[parents[own]]
            turned[own] = above @ local[own]
            joints[own] = joints[parents[own]] + (above @ self.bones[own, :, None])[..., 0]
        carried = self.share[..., None] * joints
        carried[: len(self.moment)] += np.einsum("jab,njb->nja", turned, self.moment)
        free = free_joints(self.category)
        lever = self.below[:free] @ carried - self.share_below[..., None] * joints[:free]
        # The column of a turn about axis k of joint j, in its own frame: R_j e_k x lever.
        by_turn = np.cross(turned[:free].swapaxes(1, 2)[None], lever[:, :, None])
        by_root = np.tile(np.eye(3), (len(carried), 1, 1))
        return carried.sum(1), np.concatenate([by_turn.reshape(len(carried), -1, 3).swapaxes(1, 2), by_root], 2)


def free_joints(category: str) -> int:
    """How many joints turn: not the fingers and the face."""
    return BODY_JOINT_COUNT if category == "human" else len(JOINTS[category])


@cache
def low_body(category: str) -> SkinnedBody:
    """The built-in body of few triangles: its parts are where those of the full one are."""
    body = load_body(category, detail="low")  # type: ignore[arg-type]
    assert isinstance(body, SkinnedBody)
    return body


def make_rig(motion: BodyMotion, part_ids: list[int]) -> Rig:
    """The rig of a motion's body and shape, with the centres of parts: means over their surface."""
    body = low_body(motion.category)
    rest, joints = body.rest_vertices(motion.betas).astype(float), body.rest_joints(motion.betas).astype(float)
    corners = rest[body.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    surface = np.bincount(body.faces.ravel(), np.repeat(area, 3), len(rest))
    free = free_joints(motion.category)
    share = np.zeros((len(part_ids) + free, len(joints)))
    moment = np.zeros((len(part_ids), len(joints), 3))
    for n, part in enumerate(part_ids):
        own = np.flatnonzero(body.vertex_parts == part)
        weight = body.weights[own] * (surface[own] / surface[own].sum())[:, None]
        np.add.at(share[n], body.weight_joints[own], weight)
        arms = rest[own][:, None] - joints[body.weight_joints[own]]
        np.add.at(moment[n], body.weight_joints[own], weight[..., None] * arms)
    share[len(part_ids) :, :free] = np.eye(free)
    bones = joints - joints[np.maximum(PARENTS[motion.category], 0)]
    return Rig(motion.category, bones, share, moment, standing_heights(body, motion.betas))


def part_centres(motion: BodyMotion, part_ids: list[int]) -> Float[np.ndarray, "T N 3"]:
    """World positions of the centres of parts, metres: means over their surface."""
    from scipy.spatial.transform import Rotation

    rig = make_rig(motion, part_ids)
    frames = [
        rig.points(Rotation.from_rotvec(turns).as_matrix(), root)[0][: len(part_ids)]
        for turns, root in zip(motion.rotvec.astype(float), motion.root_translation_m.astype(float), strict=True)
    ]
    return np.stack(frames)


def seen_shares(pose: BodyMotion, part_ids: list[int], lens: Lens) -> Float[np.ndarray, " N"]:
    """How much of each part's own silhouette the rest of the body leaves to be seen, 0-1, in one frame."""
    from kinema.render.rasterizer import Mesh, rasterize

    body = low_body(pose.category)
    vertices, parts = body.vertices(pose), body.vertex_parts
    cameras = lens.cameras(SEEN_PX)
    shown = rasterize([Mesh(vertices, body.faces, parts, 1)], cameras, normals=False).part_ids
    shares = []
    for part in part_ids:
        alone = Mesh(vertices, body.faces[(parts[body.faces] == part).any(1)], parts, 1)
        drawn = (rasterize([alone], cameras, normals=False).part_ids == part).sum()
        shares.append((shown == part).sum() / max(1, drawn))
    return np.array(shares)
