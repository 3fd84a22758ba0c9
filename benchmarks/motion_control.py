"""Whether a motion obeys: held frames, a target pose, a motion strength, a length, on motion of the test subjects.

    python benchmarks/motion_control.py --data FOLDER_WITH_cmu_mocap [--out docs/results_control.json]

Windows of 32 frames at 20 fps with the noise of `benchmarks/pmp.py`. Held: the true first, middle and last frame are
put into the noisy window. Target: the last pose of a window half a second later. Strength: 0.3 and 0.7 with the same ends.
Smoothness is the largest acceleration of a joint in the frames around a held one, beside that of the true motion.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from pmp import FPS, KINDS, WINDOW, cut, to_body_motion
from rich.console import Console
from rich.progress import track
from rich.table import Table

import kinema
from kinema.checkpoints import shipped_prior
from kinema.evaluate.motion_metrics import foot_slide_mm
from kinema.geometry import geodesic_distance_rad, rotvec_to_rotmat
from kinema.optimize.motion_strength import speed, strength_of_speed
from kinema.optimize.optimizer import to_sequence
from kinema.optimize.perturbations import perturb
from kinema.train.motion_data import load_capture_clips

LATER = 10
BODY = slice(0, 22)


def apart(a: kinema.BodyMotion, b: kinema.BodyMotion) -> tuple[float, float]:
    """Largest difference of a joint's rotation in degrees, and of the root in mm."""
    angles = geodesic_distance_rad(rotvec_to_rotmat(a.rotvec[:, BODY]), rotvec_to_rotmat(b.rotvec[:, BODY]))
    return float(np.rad2deg(angles.max())), 1000 * float(np.abs(a.root_translation_m - b.root_translation_m).max())


def jolt(motion: kinema.BodyMotion, frame: int) -> float:
    """mm/frame^2, the largest acceleration of a joint within two frames of `frame`."""
    bend = np.linalg.norm(np.diff(kinema.joints(motion)[:, BODY], n=2, axis=0), axis=-1)
    return 1000 * float(bend[max(0, frame - 3) : frame + 2].max())


def measured_strength(motion: kinema.BodyMotion) -> float:
    value = speed(to_sequence(motion).channels[None], motion.category, motion.fps)
    return strength_of_speed(value, shipped_prior().speeds(motion.category)).item()


def with_true_frames(noisy: kinema.BodyMotion, true: kinema.BodyMotion, frames: list[int]) -> kinema.BodyMotion:
    rotvec, root = noisy.rotvec.copy(), noisy.root_translation_m.copy()
    rotvec[frames], root[frames] = true.rotvec[frames], true.root_translation_m[frames]
    return replace(noisy, rotvec=rotvec, root_translation_m=root)


def one(true: kinema.BodyMotion, noisy: kinema.BodyMotion, goal: kinema.BodyMotion) -> dict[str, float]:
    held = [0, WINDOW // 2, WINDOW - 1]
    kept = kinema.refine(with_true_frames(noisy, true, held), hold=held)
    reached = kinema.refine(with_true_frames(noisy, true, [0]), hold=[0], target=goal)
    calm, lively = (kinema.refine(true, strength=s, hold=[0, -1]) for s in (0.3, 0.7))
    longer = {n: kinema.refine(true, length=n) for n in (64, 128)}
    row = {"strength 0.3": measured_strength(calm), "strength 0.7": measured_strength(lively)}
    row |= {"livelier": float(measured_strength(lively) > measured_strength(calm))}
    row["held deg"], row["held mm"] = (max(v) for v in zip(*(apart(kept[[k]], true[[k]]) for k in held), strict=True))
    row["target deg"], row["target mm"] = apart(reached[-1:], goal[-1:])
    row["jolt held"], row["jolt true"] = jolt(kept, held[1]), jolt(true, held[1])
    row["jolt noisy"] = jolt(noisy, held[1])
    row["slide true"] = foot_slide_mm(kinema.joints(true))
    return row | {f"slide {n}": foot_slide_mm(kinema.joints(m)) for n, m in longer.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cmu_mocap/")
    parser.add_argument("--stride", type=int, default=48, help="frames from one window to the next")
    parser.add_argument("--out", type=Path, help="JSON with all numbers")
    options = parser.parse_args()
    clips = load_capture_clips(options.data / "cmu_mocap/cmu_test.npz")
    windows, _ = cut(clips, options.stride)
    noisy = perturb(windows, "human", KINDS["noise"], np.random.default_rng(42))
    goals, _ = cut(clips, 1)
    rows = []
    for k, window in enumerate(track(windows, description="control")):
        true = to_body_motion(window)
        at = int((goals - window).abs().flatten(1).sum(1).argmin())
        rows.append(one(true, to_body_motion(noisy[k]), to_body_motion(goals[min(at + LATER, len(goals) - 1)])))
    found = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    table = Table(
        "measured", "mean", "median", "largest", title=f"{len(rows)} windows of {WINDOW} frames at {FPS:g} fps"
    )
    for key, values in found.items():
        table.add_row(key, *(f"{v:.2f}" for v in (values.mean(), np.median(values), values.max())))
    Console().print(table)
    if options.out:
        numbers = {k: {"mean": float(v.mean()), "max": float(v.max())} for k, v in found.items()}
        options.out.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
