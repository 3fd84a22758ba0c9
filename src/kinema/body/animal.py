"""The animal body in SMAL layout: the user's SMAL file, or the built-in quadruped.

Input: nothing, or a SMAL `.pkl`. Output: a `BodyModel` of 35 joints and 41 betas.
The built-in quadruped's betas (`assets/quadruped_body/README.md`) are not SMAL's components.
SMAL (Zuffi et al. 2017) rests with z up and its sides along y: the code that its users share mirrors the template
over y and turns it about z (SMALify, `smal_model/smal_basics.py` and `smal_fitter/smal_fitter.py`), and disagrees on
which side the joints named left are. So axes and sides are read off the file's own joints: up from the paws to the
spine, forward from the tail to the head; where the left paws come out on the right, the sides change names.
"""

from __future__ import annotations

import logging
from itertools import permutations, product
from pathlib import Path

import numpy as np

from kinema.body.legacy_pickle import Value, read_legacy_pickle
from kinema.body.model import BodyModel, Detail
from kinema.body.skeleton import ANIMAL_JOINTS, ANIMAL_PARENTS, JOINT_PARTS, mirror_permutation
from kinema.body.skinning import SkinnedBody, load_skinned_body
from kinema.errors import InputError
from kinema.types import BETA_COUNT

logger = logging.getLogger(__name__)

BUILT_IN = Path(__file__).parents[1] / "assets" / "quadruped_body" / "quadruped.safetensors"
_KEYS = ("v_template", "f", "shapedirs", "J_regressor", "weights", "kintree_table")
_WITHOUT_EARS = 33
"""Joints of the SMAL files of 2017; later ones add the ears (Rueegg et al. 2023)."""
_INFLUENCES = 8
"""Joints that hold a vertex, at most; SMAL's own weights are dense but fall off fast."""


def load_animal(file: str | Path | None = None, detail: Detail = "full") -> BodyModel:
    """The built-in quadruped, or the body of a SMAL `.pkl`, which has no low-polygon twin: `detail` is moot.

    The pickle is read without executing it (`kinema.body.legacy_pickle`). A file of 33 joints gets ears that lie in
    the head joint and move nothing. Raises InputError where the file is missing, hostile, or not a SMAL body.
    """
    if file is None:
        return load_skinned_body(BUILT_IN, detail)
    arrays = _checked(file, read_legacy_pickle(file))
    return _to_body(Path(file).stem, arrays)


def _checked(file: str | Path, found: dict[str, Value]) -> dict[str, np.ndarray]:
    """Dense arrays of the expected shapes: template [V,3], f [F,3], shapedirs [V,3,B], J_regressor and weights."""
    missing = [key for key in _KEYS if key not in found]
    if missing:
        raise InputError(file, f"lacks {', '.join(missing)}", expected=f"a SMAL body with {', '.join(_KEYS)}")
    dense = {key: np.asarray(found[key]) for key in _KEYS}
    vertices, joints = len(dense["v_template"]), dense["kintree_table"].shape[-1]
    if joints not in (_WITHOUT_EARS, len(ANIMAL_JOINTS)):
        raise InputError(
            f"{file}, kintree_table",
            f"has {joints} joints",
            expected="35 of SMAL, or 33 without ears",
            mend="SMPL-X bodies are given as .npz",
        )
    shapes = {"v_template": (vertices, 3), "f": (len(dense["f"]), 3), "J_regressor": (joints, vertices),
              "weights": (vertices, joints), "kintree_table": (2, joints),
              "shapedirs": (vertices, 3, dense["shapedirs"].shape[-1])}  # fmt: skip
    for key, shape in shapes.items():
        if dense[key].shape != shape:
            raise InputError(f"{file}, {key}", f"has shape {dense[key].shape}", expected=str(shape))
        if not np.isfinite(dense[key].astype(float)).all():
            raise InputError(f"{file}, {key}", "has numbers that are not finite")
    if not ((dense["f"] >= 0) & (dense["f"] < vertices)).all():
        raise InputError(f"{file}, f", "points to vertices that don't exist", expected=f"0 to {vertices - 1}")
    parents = dense["kintree_table"][0].astype(np.int64)
    if (parents[1:] != ANIMAL_PARENTS[1:joints]).any():
        raise InputError(f"{file}, kintree_table", "is another tree than SMAL's", expected="SMAL's joint order")
    if (dense["weights"] < -1e-6).any() or (dense["weights"].sum(1) < 1e-3).any():
        raise InputError(f"{file}, weights", "are negative or sum to nothing", expected="0-1, summing to 1")
    if "posedirs" in found and np.abs(np.asarray(found["posedirs"])).max(initial=0) > 1e-6:
        logger.warning("%s has pose correctives; animals are posed by linear blend skinning without them", file)
    return dense


def _with_ears(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """33 joints to 35: ears where the head joint is, without any skin."""
    if arrays["weights"].shape[1] == len(ANIMAL_JOINTS):
        return arrays
    head = ANIMAL_JOINTS.index("head")
    regressor = np.concatenate([arrays["J_regressor"], arrays["J_regressor"][[head, head]]])
    weights = np.pad(arrays["weights"], ((0, 0), (0, 2)))
    return arrays | {"J_regressor": regressor, "weights": weights}


def rest_rotation(joints_m: np.ndarray) -> np.ndarray:
    """[35,3] rest joints in any axes -> [3,3] the axis-aligned turn that puts them with +y up, facing +z."""
    feet = [k for k, name in enumerate(ANIMAL_JOINTS) if name.endswith("foot")]
    spine = [k for k, name in enumerate(ANIMAL_JOINTS) if name.startswith("spine")]
    up = joints_m[spine].mean(0) - joints_m[feet].mean(0)
    forward = joints_m[ANIMAL_JOINTS.index("head")] - joints_m[ANIMAL_JOINTS.index("tail1")]
    turns = [
        np.eye(3)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]
    turns = [turn for turn in turns if np.linalg.det(turn) > 0]
    length = np.linalg.norm
    return max(turns, key=lambda turn: (turn @ up)[1] / length(up) + (turn @ forward)[2] / length(forward))


def _to_body(name: str, arrays: dict[str, np.ndarray]) -> SkinnedBody:
    arrays = _with_ears(arrays)
    regressor, weights = arrays["J_regressor"].astype(float), arrays["weights"].astype(float)
    turn = rest_rotation(regressor @ arrays["v_template"])
    template = arrays["v_template"] @ turn.T
    shape_dirs = np.zeros((len(template), 3, BETA_COUNT["animal"]))
    kept = min(arrays["shapedirs"].shape[-1], shape_dirs.shape[-1])
    shape_dirs[..., :kept] = np.einsum("ij,vjb->vib", turn, arrays["shapedirs"][..., :kept])

    left = [k for k, joint in enumerate(ANIMAL_JOINTS) if joint.startswith("left") and joint.endswith("foot")]
    if (regressor @ template)[left, 0].mean() < 0:
        twin = mirror_permutation("animal")
        regressor, weights = regressor[twin], weights[:, twin]
    strongest = np.argsort(-weights, 1)[:, :_INFLUENCES]
    held = np.take_along_axis(np.maximum(weights, 0), strongest, 1)
    return SkinnedBody(
        category="animal",
        name=name,
        joint_template=(regressor @ template).astype(np.float32),
        joint_shape_dirs=np.einsum("jv,vib->jib", regressor, shape_dirs).astype(np.float32),
        template=template.astype(np.float32),
        shape_dirs=shape_dirs.astype(np.float32),
        expression_dirs=np.zeros((len(template), 3, 0), np.float32),
        weights=(held / held.sum(1, keepdims=True)).astype(np.float32),
        weight_joints=strongest.astype(np.int32),
        faces=arrays["f"].astype(np.int32),
        vertex_parts=JOINT_PARTS["animal"][weights.argmax(1)],
    )
