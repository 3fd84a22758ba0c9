"""A scene, or a motion, as the numbers that the page's 3D view draws (`static/view3d.js`).

Input: a `Scene` or a `BodyMotion`. Output: a JSON object: fps, frames, and for each subject its label, the surface (faces,
and vertices of every frame), joints and how sure each is. Arrays are base64 of little-endian numbers; positions are int16,
of which `step_m` is one.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from kinema.atomic import atomic_path
from kinema.body.model import joints, load_body
from kinema.body.skeleton import BODY_JOINT_COUNT, JOINTS, PARENTS
from kinema.types import BodyMotion, ObjectMotion, Scene

MOST_FRAMES = 96
"""That are shown; of longer motion every n-th."""
STEP_M = 0.001
LARGEST = 32_000
OBJECT_FACES = [[20, k, (k + 1) % 16] for k in range(16)]
"""Of the 21 points: a fan from the box's centre around the contour."""


def scene_view(scene: Scene) -> dict[str, Any]:
    """All subjects of a scene, and where its camera looks from."""
    subjects = [(subject.label or f"subject {subject.id + 1}", subject.motion) for subject in scene.subjects]
    view = _view(subjects)
    T = scene.cameras.T_camera_world[0].astype(float)
    view["eye_m"] = (-T[:3, :3].T @ T[:3, 3]).round(3).tolist()
    return view


def motion_view(motion: BodyMotion, label: str = "") -> dict[str, Any]:
    return _view([(label or motion.category, motion)])


def write_view(view: dict[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(view, separators=(",", ":")))


def _view(subjects: list[tuple[str, BodyMotion | ObjectMotion]]) -> dict[str, Any]:
    count = max((len(motion.valid) for _, motion in subjects), default=0)
    every = max(1, -(-count // MOST_FRAMES))
    shown = np.arange(0, count, every)
    fps = subjects[0][1].fps if subjects else 1.0
    return {
        "fps": fps / every,
        "frames": len(shown),
        "step_m": STEP_M,
        "subjects": [_subject(label, motion, shown) for label, motion in subjects],
    }


def _subject(label: str, motion: BodyMotion | ObjectMotion, shown: np.ndarray) -> dict[str, Any]:
    if isinstance(motion, ObjectMotion):
        points, confidence = motion.points_m[shown], np.ones((len(shown), 0))
        return {
            "label": label, "faces": _packed(np.array(OBJECT_FACES), "<u2"), "points": points.shape[1],
            "vertices": _positions(points), "joints": _positions(points[:, :0]), "names": [], "parents": [],
            "confidence": _packed(confidence, "u1"), "valid": motion.valid[shown].tolist(),
        }  # fmt: skip
    known = BODY_JOINT_COUNT if motion.category == "human" else len(JOINTS[motion.category])
    body = load_body(motion.category, detail="low")
    moved = BodyMotion(
        motion.category, motion.rotvec[shown], motion.root_translation_m[shown], motion.betas, motion.fps,
        motion.expression[shown],
    )  # fmt: skip
    vertices = body.vertices(moved)
    return {
        "label": label, "faces": _packed(body.faces, "<u2"), "points": vertices.shape[1],
        "vertices": _positions(vertices), "joints": _positions(joints(moved)[:, :known]),
        "names": list(JOINTS[motion.category][:known]), "parents": PARENTS[motion.category][:known].tolist(),
        "confidence": _packed(np.rint(motion.confidence[shown][:, :known] * 255), "u1"),
        "valid": motion.valid[shown].tolist(),
    }  # fmt: skip


def _positions(points_m: np.ndarray) -> str:
    return _packed(np.clip(np.rint(points_m / STEP_M), -LARGEST, LARGEST), "<i2")


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()
