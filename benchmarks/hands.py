"""Fingers from 2D keypoints of hands, against the true ones of made-up scenes and against hands at rest.

PYTHONPATH=. python benchmarks/hands.py [--seeds 6]     (the scenes are those of the tests)

A walker whose hands point, or whose fingers are bent at random, joints 3 degrees off what the model of hands can do, seen
from any side at 512 x 512 and below; arms 5 degrees and the body 2 cm off. px: how long a hand is; PA: mean error of its
21 points after Procrustes, mm; angle: of its 15 joints, degrees.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.spatial.transform import Rotation

from extract import procrustes_mm
from kinema.body.model import joints
from kinema.camera import fixed_cameras, project
from kinema.extract import hands_and_face
from kinema.extract.observation import Track
from kinema.types import BodyMotion, Cameras
from tests.extract.scenes import gesturing, hand_points, walker

FRAMES, OFF_DEG, ARMS_DEG, BODY_M = 8, 3, 5, 0.02
ROWS = (
    *((f"{noise} px of noise", 512, noise, "bent") for noise in (1, 2, 4, 8)),
    ("noise in the hand's box", 512, 1, "noise"),
    *((f"1 px, {size} x {size}", size, 1, "bent") for size in (256, 128)),
    ("1 px, hands that do rest", 512, 1, "rest"),
)


def curls(kind: str, rng: np.random.Generator) -> np.ndarray:
    """[T,2,5] 0 straight to 1 a fist."""
    if kind == "rest":
        return np.zeros((FRAMES, 2, 5))
    if rng.random() < 0.5:
        pointing = np.ones((FRAMES, 2, 5))
        pointing[:, :, 1] = 0
        return pointing
    first, last = rng.uniform(0, 1, (2, 2, 5))
    way = np.linspace(0, 1, FRAMES)[:, None, None]
    return first * (1 - way) + last * way


def scene(kind: str, size_px: int, rng: np.random.Generator) -> tuple[BodyMotion, BodyMotion, Cameras]:
    """The truth; what a fit of the body knows; the cameras."""
    still = walker(FRAMES)
    truth = gesturing(still, curls(kind, rng), tuple(rng.uniform(-1, 1, 3) * [1.2, 0.5, 0.5]))
    truth.rotvec[:, 25:] += np.radians(OFF_DEG) * rng.normal(size=(1, 30, 3))
    body = gesturing(still, curls("rest", rng))
    body.rotvec[:, 16:20] += np.radians(ARMS_DEG) * rng.normal(size=(1, 4, 3))
    moved = body.root_translation_m + BODY_M * rng.normal(size=3).astype(np.float32)
    body = replace(body, root_translation_m=moved, confidence=np.where(np.arange(55) < 22, body.confidence, 0))
    cameras = fixed_cameras(joints(truth), (size_px, size_px), rng.uniform(-3, 3), np.radians(8))
    return truth, body, cameras


def fitted(size_px: int, noise_px: float, kind: str, seed: int) -> list[tuple[float, ...]]:
    """For each hand: its length, px; PA and angle of the fit and of the resting hand; the confidence."""
    rng = np.random.default_rng(seed)
    truth, body, cameras = scene(kind, size_px, rng)
    at = project(hand_points(truth).reshape(FRAMES, -1, 3), cameras)[0].reshape(FRAMES, 2, 21, 2)
    seen = at + rng.normal(size=at.shape) * noise_px
    if kind == "noise":
        seen = rng.uniform(at.min(2, keepdims=True), at.max(2, keepdims=True), at.shape)
    hands = np.concatenate([seen, np.full((*at.shape[:3], 1), 0.9)], -1).astype(np.float32)
    joint, frames = np.zeros((FRAMES, 22), np.float32), np.ones(FRAMES, bool)
    boxes, masks = np.zeros((FRAMES, 4), np.float32), np.zeros((FRAMES, 4, 4), bool)
    given = Track("human", "a man", frames, boxes, masks, np.stack([joint, joint], -1), joint, hands)
    found = hands_and_face.with_hands_and_face(body, given, cameras)
    rows = []
    for side in (0, 1):
        length = np.linalg.norm(at[:, side, 12] - at[:, side, 0], axis=-1).mean()
        errors = [(pa_mm(m, truth, side), angle_deg(m, truth, side)) for m in (found, body)]
        rows.append((length, *errors[0], *errors[1], found.confidence[:, 25 + 15 * side].mean()))
    return rows


def pa_mm(found: BodyMotion, truth: BodyMotion, side: int) -> float:
    return procrustes_mm(hand_points(found)[:, side], hand_points(truth)[:, side])


def angle_deg(found: BodyMotion, truth: BodyMotion, side: int) -> float:
    own = slice(25 + 15 * side, 40 + 15 * side)
    one, other = (Rotation.from_rotvec(m.rotvec[:, own].reshape(-1, 3)) for m in (found, truth))
    return float(np.degrees((one.inv() * other).magnitude()).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    seeds = parser.parse_args().seeds
    table = Table(
        "keypoints", "px", "PA", "angle", "PA at rest", "angle at rest", "confidence", title=f"{2 * seeds} hands a row"
    )
    for name, size_px, noise_px, kind in track(ROWS, description="hands"):
        found = np.mean([row for seed in range(seeds) for row in fitted(size_px, noise_px, kind, seed)], 0)
        table.add_row(name, *(f"{value:.1f}" for value in found[:-1]), f"{found[-1]:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
