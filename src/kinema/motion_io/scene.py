"""A `Scene` as one .npz: plain arrays and strings, nothing pickled, so that it can be looked at and edited.

Keys: prompt, motion_strength (not a number: not said), K, T_camera_world, image_hw; and for subject k: k.label,
k.appearance, k.fps, k.valid, then k.rotvec, k.root_translation_m, k.betas, k.expression, k.confidence, k.category of a
body, or k.points_m of an object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.motion_io.npz import read_arrays
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject

_BODY = ("rotvec", "root_translation_m", "betas", "expression", "confidence")


def save_scene(scene: Scene, path: str | Path) -> None:
    """Write a scene, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **scene_arrays(scene))  # type: ignore[arg-type]


def scene_arrays(scene: Scene) -> dict[str, np.ndarray]:
    """The arrays of such a file."""
    cameras = scene.cameras
    arrays: dict[str, np.ndarray] = {
        "prompt": np.array(scene.prompt),
        "motion_strength": np.array(np.nan if scene.motion_strength is None else scene.motion_strength),
        "K": cameras.K,
        "T_camera_world": cameras.T_camera_world,
        "image_hw": np.array(cameras.image_hw),
    }
    for k, subject in enumerate(scene.subjects):
        motion = subject.motion
        own: dict[str, object] = {"label": subject.label, "appearance": subject.appearance, "fps": motion.fps}
        own["valid"] = motion.valid
        if isinstance(motion, BodyMotion):
            own |= {"category": motion.category, **{name: getattr(motion, name) for name in _BODY}}
        else:
            own["points_m"] = motion.points_m
        arrays |= {f"{k}.{name}": np.asarray(value) for name, value in own.items()}
    return arrays


def load_scene(path: str | Path) -> Scene:
    """Read what `save_scene` writes. Raises InputError where a key is missing or does not fit."""
    try:
        return scene_of(read_arrays(Path(path), ()))
    except KeyError as error:
        raise InputError(f"{path}, key {error}", "is missing", "a scene written by kinema") from error


def scene_of(arrays: dict[str, np.ndarray]) -> Scene:
    """The scene of such arrays. Raises KeyError where one is missing."""
    cameras = Cameras(
        arrays["K"].astype(np.float32),
        arrays["T_camera_world"].astype(np.float32),
        (int(arrays["image_hw"][0]), int(arrays["image_hw"][1])),
    )
    count = len({key.split(".")[0] for key in arrays if key.endswith(".label")})
    subjects = tuple(_subject(k, arrays) for k in range(count))
    strength = float(arrays["motion_strength"])
    return Scene(subjects, cameras, str(arrays["prompt"]), None if np.isnan(strength) else strength)


def _subject(k: int, arrays: dict[str, np.ndarray]) -> Subject:
    fps, valid = float(arrays[f"{k}.fps"]), arrays[f"{k}.valid"].astype(bool)
    if f"{k}.points_m" in arrays:
        motion: BodyMotion | ObjectMotion = ObjectMotion(arrays[f"{k}.points_m"].astype(np.float32), fps, valid)
    else:
        category = str(arrays[f"{k}.category"])
        fields = {name: arrays[f"{k}.{name}"] for name in _BODY}
        motion = BodyMotion(category=category, fps=fps, valid=valid, **fields)  # type: ignore[arg-type]
    return Subject(k, str(arrays[f"{k}.label"]), str(arrays[f"{k}.appearance"]), motion)
