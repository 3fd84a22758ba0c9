"""AMASS and SMPL-X parameters (.npz) <-> BodyMotion.

Source: AMASS (Mahmood et al. 2019) and its SMPL-X release; widths of SMPL, SMPL-H and plain 22-joint files are
mapped onto the 55 joints. AMASS gives `trans` as what is added to the model after posing, so that the pelvis is at
rest_joints(betas)[0] + trans, and has z up. Files that kinema writes have the same keys and say `up_axis` = "y";
others are told by the motion itself, and turned to y up.
"""

from __future__ import annotations

import difflib
import io
import logging
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from kinema.atomic import atomic_path
from kinema.body.model import BodyModel, body_for, joints
from kinema.body.skeleton import JOINTS
from kinema.errors import InputError
from kinema.geometry import rotmat_to_rotvec, rotvec_to_rotmat
from kinema.motion_io.content import describe_content, read_bytes
from kinema.types import BETA_COUNT, EXPRESSION_COUNT, JOINT_COUNT, BodyMotion, Category

FRAME_RATE_KEYS = ("mocap_frame_rate", "mocap_framerate", "fps")
POSE_PARTS = {"root_orient": 3, "pose_body": 63, "pose_jaw": 3, "pose_eye": 6, "pose_hand": 90}
"""The keys that AMASS splits `poses` into, in SMPL-X order, and their widths."""
HUMAN_LAYOUTS: dict[int, tuple[int, ...]] = {
    165: tuple(range(55)),
    156: (*range(22), *range(25, 55)),
    72: tuple(range(22)),
    66: tuple(range(22)),
}
"""Width of `poses` -> the SMPL-X joint of every triple: SMPL-X, SMPL-H, SMPL (its two hand joints go), body only."""
WANTED = {"poses", "trans", "betas", "up_axis", "category", "expression", "confidence", "valid"} | {
    *FRAME_RATE_KEYS,
    *POSE_PARTS,
}
"""The keys that are read; AMASS's own files keep some more, such as its marker tables, as Python objects."""
ANIMAL_WIDTH = 105
LARGEST = 1e6
"""A number beyond this in a motion file is not metres, radians or a shape coefficient."""
Z_TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
CLEARLY_UP = 0.7
"""Cosine to an axis (45 degrees) above which the body is taken to stand along it."""

log = logging.getLogger(__name__)


def load_npz(path: Path, body: BodyModel | None = None) -> BodyMotion:
    """Read AMASS / SMPL-X / SMAL parameters. Joints that the file does not hold are at rest with confidence 0.

    body  whose betas the file has, and whose pelvis at rest `trans` starts from
    """
    arrays = read_arrays(path, WANTED)
    if "rot6d" in arrays and "start" in arrays:
        raise InputError(
            path,
            "holds many clips",
            expected="one motion",
            mend="kinema.motion_io.capture.load_capture(path)",
        )
    poses = _poses(path, arrays)
    category = _category(path, arrays, poses.shape[1])
    trans = _numbers(path, arrays, "trans")
    if trans.shape != (len(poses), 3):
        raise InputError(f"{path}: trans", f"has shape {trans.shape}", expected=f"({len(poses)}, 3), as poses has")
    betas = _betas(path, arrays, category)
    if body is None and betas.any() and "category" not in arrays:
        licensed = "SMPL-X" if category == "human" else "SMAL"
        log.warning(
            "%s: its betas are %s's, of which the built-in body makes another shape: give your %s file with --body",
            path,
            licensed,
            licensed,
        )
    layout = HUMAN_LAYOUTS[poses.shape[1]] if category == "human" else tuple(range(JOINT_COUNT["animal"]))
    rotvec = np.zeros((len(poses), JOINT_COUNT[category], 3), np.float32)
    rotvec[:, layout] = poses.reshape(len(poses), -1, 3)[:, : len(layout)]
    confidence = np.zeros(rotvec.shape[:2], np.float32)
    confidence[:, layout] = 1
    pelvis = body_for(category, body).rest_joints(betas)[0]
    fps, optional = _frame_rate(path, arrays), _optional(path, arrays, len(poses), JOINT_COUNT[category])
    try:
        motion = BodyMotion(
            category=category,
            rotvec=rotvec,
            root_translation_m=(trans + pelvis).astype(np.float32),
            betas=betas,
            fps=fps,
            **{"confidence": confidence, **optional},
        )
    except InputError as error:
        raise InputError(f"{path}: {error.where}", error.problem, error.expected, error.mend) from error
    return _turned_y_up(motion) if _up_axis(path, arrays, motion, body) == "z" else motion


def save_npz(motion: BodyMotion, path: Path, body: BodyModel | None = None) -> None:
    """Write what `load_npz` gives back to the last bit: AMASS's keys, y up, and the keys that only kinema has.

    `trans` is float64, so that adding the pelvis again restores the float32 root exactly.
    """
    pelvis = body_for(motion.category, body).rest_joints(motion.betas)[0]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            poses=motion.rotvec.reshape(len(motion), -1),
            trans=motion.root_translation_m.astype(np.float64) - pelvis,
            betas=motion.betas,
            mocap_frame_rate=np.float64(motion.fps),
            gender=np.array("neutral"),
            surface_model_type=np.array("smplx" if motion.category == "human" else "smal"),
            up_axis=np.array("y"),
            category=np.array(motion.category),
            expression=motion.expression,
            valid=motion.valid,
            confidence=motion.confidence,
        )


def read_arrays(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """All arrays of an .npz; Python objects under names that are not `wanted` are passed over, unread.

    Raises InputError where the file is another thing, broken, or holds pickled objects where arrays are wanted.
    """
    data = read_bytes(path)
    if not data.startswith(b"PK"):
        raise InputError(path, f"is {describe_content(data)}", expected="a numpy archive (.npz)")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = dict(_readable(archive, wanted))
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for a damaged archive
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        pickled = "pickle" in str(error) or "Object arrays" in str(error)
        raise InputError(
            path,
            "holds Python objects, which are never loaded" if pickled else f"is a damaged archive ({why})",
            expected="an .npz of plain numeric arrays",
            mend="save its arrays as numbers (no dtype=object)" if pickled else "copy or download it again",
        ) from error
    other = [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]
    if other or not arrays:
        what = f"is a zip of other files ({', '.join(other[:3])})" if other else "is an empty archive"
        raise InputError(path, what, expected="an .npz of arrays: poses, trans, betas, mocap_frame_rate")
    return arrays


def _readable(archive: np.lib.npyio.NpzFile, wanted: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    for key in archive.files:
        try:
            yield key, archive[key]
        except ValueError as error:
            if key in wanted or "Object arrays" not in str(error):
                raise


def _numbers(path: Path, arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    """The array as float64. Raises InputError where it is missing, not numbers, not finite or out of all range."""
    if key not in arrays:
        near = difflib.get_close_matches(key, arrays, 1)
        raise InputError(
            f"{path}: {key}",
            f"is missing; the file has {', '.join(sorted(arrays)[:12])}",
            expected="poses, trans, betas and mocap_frame_rate, as in AMASS",
            mend=f"rename {near[0]!r}" if near else "",
        )
    value = arrays[key]
    if value.dtype.kind not in "fiub":
        raise InputError(f"{path}: {key}", f"holds {value.dtype}", expected="numbers")
    value = value.astype(np.float64)
    wrong = ~np.isfinite(value) | (np.abs(np.nan_to_num(value)) > LARGEST)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise InputError(
            f"{path}: {key}",
            f"is {value[index]} at index {index}" + (f" (frame {index[0]})" if value.ndim > 1 else ""),
            expected=f"finite numbers below {LARGEST:g}",
            mend="leave those frames out, or copy their neighbour's pose and set `valid` to 0 there",
        )
    return value


def _poses(path: Path, arrays: dict[str, np.ndarray]) -> Float[np.ndarray, "T W"]:
    if "poses" not in arrays and "root_orient" in arrays and "pose_body" in arrays:
        frames = len(np.atleast_1d(arrays["root_orient"]))
        parts = []
        for key, width in POSE_PARTS.items():
            part = _numbers(path, arrays, key) if key in arrays else np.zeros((frames, width))
            if part.shape != (frames, width):
                raise InputError(f"{path}: {key}", f"has shape {part.shape}", expected=f"({frames}, {width})")
            parts.append(part)
        with_hands = any(key in arrays for key in ("pose_jaw", "pose_eye", "pose_hand"))
        poses = np.concatenate(parts if with_hands else parts[:2], 1)
    else:
        poses = _numbers(path, arrays, "poses")
        if poses.ndim == 3 and poses.shape[2] == 3:
            poses = poses.reshape(len(poses), poses.shape[1] * 3)
    widths = (*HUMAN_LAYOUTS, ANIMAL_WIDTH)
    if poses.ndim != 2 or poses.shape[1] not in widths:
        raise InputError(
            f"{path}: poses",
            f"has shape {poses.shape}",
            expected="(frames, W), W one of 165 (SMPL-X), 156 (SMPL-H), 72 (SMPL), 66 (body), 105 (SMAL)",
            mend="axis-angle triples are needed, one a joint; matrices, quaternions and 6D must be converted",
        )
    if len(poses) == 0:
        raise InputError(f"{path}: poses", "has no frames", expected="at least one")
    return poses


def _optional(path: Path, arrays: dict[str, np.ndarray], frames: int, joint_count: int) -> dict[str, np.ndarray]:
    """The keys that only kinema writes, where they are there."""
    shapes = {"expression": (frames, EXPRESSION_COUNT), "confidence": (frames, joint_count), "valid": (frames,)}
    found = {key: _numbers(path, arrays, key) for key in shapes if key in arrays}
    for key, value in found.items():
        if value.shape != shapes[key]:
            raise InputError(f"{path}: {key}", f"has shape {value.shape}", expected=f"{shapes[key]}")
    if "valid" in found and not found["valid"].any():
        raise InputError(f"{path}: valid", "is 0 in every frame", expected="1 where the motion is known")
    return {key: value != 0 if key == "valid" else value.astype(np.float32) for key, value in found.items()}


def _category(path: Path, arrays: dict[str, np.ndarray], width: int) -> Category:
    by_width: Category = "animal" if width == ANIMAL_WIDTH else "human"
    named = str(arrays["category"]) if "category" in arrays else by_width
    if named != by_width:
        raise InputError(f"{path}: category", f"is {named!r}", expected=f"{by_width!r}, as poses has {width} columns")
    return by_width


def _betas(path: Path, arrays: dict[str, np.ndarray], category: Category) -> Float[np.ndarray, " B"]:
    """As many as the layout has (AMASS gives 16, of which SMPL-X's first 10 are used); zeros where there are none."""
    count = BETA_COUNT[category]
    if "betas" not in arrays:
        log.info("%s: no betas, the mean shape is used", path)
        return np.zeros(count, np.float32)
    betas = _numbers(path, arrays, "betas")
    if betas.ndim == 2 and len(betas) and (betas == betas[0]).all():
        betas = betas[0]
    if betas.ndim != 1:
        raise InputError(f"{path}: betas", f"has shape {betas.shape}", expected=f"({count},): one shape for all frames")
    return np.pad(betas[:count], (0, max(0, count - len(betas)))).astype(np.float32)


def _frame_rate(path: Path, arrays: dict[str, np.ndarray]) -> float:
    key = next((key for key in FRAME_RATE_KEYS if key in arrays), FRAME_RATE_KEYS[0])
    rate = _numbers(path, arrays, key)
    if rate.size != 1 or not 0 < float(rate.ravel()[0]) <= 1000:
        raise InputError(
            f"{path}: {key}",
            f"is {arrays[key]!s:.60}",
            expected="one number, frames a second, above 0, at most 1000",
        )
    return float(rate.ravel()[0])


def _up_axis(path: Path, arrays: dict[str, np.ndarray], motion: BodyMotion, body: BodyModel | None) -> str:
    """ "y" or "z": what the file says, else the way the body stands over the clip, else AMASS's z with a warning."""
    if "up_axis" in arrays:
        axis = str(arrays["up_axis"]).lower()
        if axis not in ("y", "z"):
            raise InputError(f"{path}: up_axis", f"is {axis!r}", expected="'y' or 'z'")
        return axis
    some = motion[:: max(1, len(motion) // 100)]
    position, names = joints(some, body), JOINTS[motion.category]
    if motion.category == "human":
        upward = position[:, names.index("head")] - position[:, 0]
    else:
        paws = [i for i, name in enumerate(names) if name.endswith("_foot")]
        upward = position[:, 0] - position[:, paws].mean(1)
    _, y, z = np.median(upward, 0) / max(1e-9, float(np.linalg.norm(np.median(upward, 0))))
    if max(y, z) < CLEARLY_UP:
        log.warning("%s: nobody stands in it, so up is taken to be z as in AMASS; the key up_axis decides", path)
        return "z"
    return "y" if y > z else "z"


def _turned_y_up(motion: BodyMotion) -> BodyMotion:
    from dataclasses import replace

    rotvec = motion.rotvec.copy()
    rotvec[:, 0] = rotmat_to_rotvec(Z_TO_Y_UP @ rotvec_to_rotmat(rotvec[:, 0]))
    return replace(motion, rotvec=rotvec, root_translation_m=motion.root_translation_m @ Z_TO_Y_UP.T)
