"""A skinned body as plain arrays, its file format, and its linear blend skinning.

Input: a `BodyMotion` and the arrays of a body. Output: vertices in the world, float32 metres, +y up.
Source: SMPL (Loper et al. 2015, equations 2-4 without pose correctives). The loops are in `lbs_kernels.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from kinema.atomic import atomic_path
from kinema.body.model import Detail
from kinema.body.skeleton import PARENTS
from kinema.types import BETA_COUNT, JOINT_COUNT, BodyMotion, Category


@dataclass(frozen=True)
class SkinnedBody:
    """A body of one category; fulfils `kinema.body.model.BodyModel`.

    V vertices, F triangles, J joints, B betas, E expressions (0: no face), K influences a vertex.
    Lengths are metres in the model's own frame: rest pose, +y up, facing +z, left at +x.

    joint_template    joints of the mean shape
    joint_shape_dirs  what one unit of each beta adds to them
    template          vertices of the mean shape
    shape_dirs        what one unit of each beta adds to them
    expression_dirs   what one unit of each expression adds to them, before posing
    weights           0-1, those of a vertex sum to 1
    weight_joints     the joints that the weights belong to
    faces             counter-clockwise seen from outside
    vertex_parts      ids of `kinema.body.skeleton.PARTS`
    """

    category: Category
    name: str
    joint_template: Float32[np.ndarray, "J 3"]
    joint_shape_dirs: Float32[np.ndarray, "J 3 B"]
    template: Float32[np.ndarray, "V 3"]
    shape_dirs: Float32[np.ndarray, "V 3 B"]
    expression_dirs: Float32[np.ndarray, "V 3 E"]
    weights: Float32[np.ndarray, "V K"]
    weight_joints: Int32[np.ndarray, "V K"]
    faces: Int32[np.ndarray, "F 3"]
    vertex_parts: UInt8[np.ndarray, " V"]

    def __post_init__(self):
        joints, betas, vertices = JOINT_COUNT[self.category], BETA_COUNT[self.category], len(self.template)
        shapes = {
            "joint_template": (joints, 3),
            "joint_shape_dirs": (joints, 3, betas),
            "template": (vertices, 3),
            "shape_dirs": (vertices, 3, betas),
            "expression_dirs": (vertices, 3, self.expression_dirs.shape[-1]),
            "weight_joints": self.weights.shape,
            "vertex_parts": (vertices,),
        }
        for name, shape in shapes.items():
            assert getattr(self, name).shape == shape, f"{name} has shape {getattr(self, name).shape}"
        assert len(self.weights) == vertices
        assert set(np.unique(self.weight_joints)) <= set(range(joints))
        assert self.faces.min() >= 0
        assert self.faces.max() < vertices

    def rest_joints(self, betas: Float[np.ndarray, " B"]) -> Float[np.ndarray, "J 3"]:
        """Joints of the rest pose for a shape, metres, in the model's own frame (+y up, facing +z)."""
        return self.joint_template + self.joint_shape_dirs @ betas.astype(np.float32)

    def rest_vertices(self, betas: Float[np.ndarray, " B"]) -> Float[np.ndarray, "V 3"]:
        """Vertices of the rest pose for a shape, metres, in the model's own frame."""
        return self.template + self.shape_dirs @ betas.astype(np.float32)

    def vertices(self, motion: BodyMotion) -> Float[np.ndarray, "T V 3"]:
        """Skinned vertices in the world, float32 metres, joint 0 at `motion.root_translation_m`."""
        from kinema.body.lbs_kernels import blend_frames, skinning_transforms

        assert motion.category == self.category, "the motion is of another category than the body"
        faces_move = self.expression_dirs.shape[2] > 0 and bool(motion.expression.any())
        transforms = skinning_transforms(
            np.ascontiguousarray(motion.rotvec),
            self.rest_joints(motion.betas),
            np.ascontiguousarray(motion.root_translation_m),
            PARENTS[self.category],
        )
        return blend_frames(
            self.rest_vertices(motion.betas),
            self.expression_dirs if faces_move else self.expression_dirs[:, :, :0],
            np.ascontiguousarray(motion.expression if faces_move else motion.expression[:, :0]),
            self.weights,
            self.weight_joints,
            transforms,
        )


def load_skinned_body(path: str | Path, detail: Detail = "full") -> SkinnedBody:
    """Read a shipped body (safetensors). The layout, `*` being "full" or "low":

    joints [J,3]   joint_shape_dirs [J,3,B]
    *.vertices [V,3]   *.shape_dirs [V,3,B]   *.expression_dirs [V,3,E]
    *.weights [V,K]   *.weight_joints uint8 [V,K]   *.faces [F,3]   *.parts uint8 [V]
    header: category, name, and the source, licence and version of what it was made from

    Floats may be float16 or float32; weights are normalised again on reading.
    """
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        header = file.metadata()

        def floats(key: str) -> np.ndarray:
            return file.get_tensor(key).astype(np.float32)

        weights = floats(f"{detail}.weights")
        return SkinnedBody(
            category=header["category"],
            name=header["name"],
            joint_template=floats("joints"),
            joint_shape_dirs=floats("joint_shape_dirs"),
            template=floats(f"{detail}.vertices"),
            shape_dirs=floats(f"{detail}.shape_dirs"),
            expression_dirs=floats(f"{detail}.expression_dirs"),
            weights=weights / weights.sum(1, keepdims=True),
            weight_joints=file.get_tensor(f"{detail}.weight_joints").astype(np.int32),
            faces=file.get_tensor(f"{detail}.faces").astype(np.int32),
            vertex_parts=file.get_tensor(f"{detail}.parts"),
        )


def save_skinned_body(path: str | Path, full: SkinnedBody, low: SkinnedBody, header: dict[str, str]) -> None:
    """Write the file that `load_skinned_body` reads; directions, weights and offsets go down to float16.

    `header` says where the body comes from: source, licence, version, what each beta does.
    """
    from safetensors.numpy import save_file

    tensors = {"joints": full.joint_template, "joint_shape_dirs": full.joint_shape_dirs}
    for detail, body in (("full", full), ("low", low)):
        index_type = np.uint16 if len(body.template) <= 65536 else np.int32
        tensors |= {
            f"{detail}.vertices": body.template,
            f"{detail}.shape_dirs": body.shape_dirs.astype(np.float16),
            f"{detail}.expression_dirs": body.expression_dirs.astype(np.float16),
            f"{detail}.weights": body.weights.astype(np.float16),
            f"{detail}.weight_joints": body.weight_joints.astype(np.uint8),
            f"{detail}.faces": body.faces.astype(index_type),
            f"{detail}.parts": body.vertex_parts,
        }
    with atomic_path(path) as temporary:
        contiguous = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
        save_file(contiguous, temporary, metadata={"category": full.category, "name": full.name, **header})
