"""The motion prior against smoothing: errors on motion of subjects that no one has trained on.

    python benchmarks/pmp.py --data FOLDER_WITH_cmu_mocap [--weights FILE] [--out docs/results_pmp.json]

Windows of 32 frames at 20 fps of the test subjects; noise, shuffle and drop as in ReVision, section 4.2-S2, at fixed
strengths and seeds. The prior is called as users call it (`kinema.refine`), a window at a time, without text or strength.
Gaussian, Savitzky-Golay and One-Euro are tuned on the validation subjects for each perturbation; SmoothNet is trained on
the training subjects with the prior's own windows and perturbations. Joints are those of the built-in body.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from smoothing_baselines import train_smoothnet, tuned

import kinema
from kinema.body.model import forward_kinematics
from kinema.checkpoints import PMP_WEIGHTS, load_prior
from kinema.evaluate import motion_metrics
from kinema.geometry import rotmat_to_rotvec
from kinema.optimize.features import PRIOR_PARENTS, unpack
from kinema.optimize.motion_prior import MotionPrior
from kinema.optimize.optimizer import to_sequence
from kinema.optimize.perturbations import Perturbation, perturb
from kinema.train.motion_data import MotionClips, load_capture_clips
from kinema.train.pmp import built_in_bones

WINDOW, FPS = 32, 20.0
KINDS = {
    "clean": Perturbation(),
    "noise": Perturbation(noise_rad=0.1, noise_m=0.02),
    "shuffle": Perturbation(shuffle_frames=10),
    "drop": Perturbation(drop_frames=8),
}
HEAVY = {
    "heavy noise": Perturbation(noise_rad=0.4, noise_m=0.1),
    "heavy shuffle": Perturbation(shuffle_frames=24),
    "heavy mix": Perturbation(noise_rad=0.25, noise_m=0.05, drop_frames=8),
}


def cut(clips: MotionClips, stride: int) -> tuple[torch.Tensor, np.ndarray]:
    """Windows [N,32,C] every `stride` frames, and the clip that each is from [N]."""
    begin, clip = [], []
    for k, (a, b) in enumerate(zip(clips.starts[:-1], clips.starts[1:], strict=True)):
        places = np.arange(a, b - WINDOW + 1, stride)
        begin += list(places)
        clip += [k] * len(places)
    return clips.channels[np.array(begin)[:, None] + np.arange(WINDOW)], np.array(clip)


def to_body_motion(window: torch.Tensor) -> kinema.BodyMotion:
    rotmat, root = unpack(window)
    rotvec = np.zeros((len(window), 55, 3), np.float32)
    rotvec[:, :22] = rotmat_to_rotvec(rotmat).numpy()
    return kinema.BodyMotion("human", rotvec, root.numpy(), np.zeros(10, np.float32), FPS)


def world_joints(windows: torch.Tensor, bones: torch.Tensor) -> np.ndarray:
    """[N,32,C] -> [N,32,22,3] metres."""
    rotmat, root = unpack(windows)
    return forward_kinematics(rotmat, bones, root, PRIOR_PARENTS["human"])[0].numpy()


def apply_prior(
    prior: MotionPrior, given: torch.Tensor, prompts: list[str | None] | None = None, what: str = "refine"
) -> torch.Tensor:
    """The prior as users call it, a window at a time -> channels [N,32,135]."""
    prompts = prompts or [None] * len(given)
    found = [
        to_sequence(kinema.refine(to_body_motion(w), prompt=p, prior=prior)).channels
        for w, p in track(list(zip(given, prompts, strict=True)), description=what)
    ]
    return torch.stack(found)


def measure(found: torch.Tensor, clean: torch.Tensor, bones: torch.Tensor) -> dict[str, float]:
    a, b = world_joints(found, bones), world_joints(clean, bones)
    return {
        "global": motion_metrics.mpjpe_mm(a, b),
        "aligned": motion_metrics.root_aligned_mpjpe_mm(a, b),
        "acceleration": motion_metrics.acceleration_error_mm(a, b),
        "slide": float(np.mean([motion_metrics.foot_slide_mm(w) for w in a])),
    }


Results = dict[str, dict[str, dict[str, float]]]
"""Kind of perturbation -> method -> metric."""


def compare(data: Path, stride: int, prior: MotionPrior, smoothnet: Callable) -> Results:
    clips = {s: load_capture_clips(data / f"cmu_mocap/cmu_{s}.npz") for s in ("val", "test")}
    bones = built_in_bones("human")
    windows, _ = cut(clips["test"], stride)
    validation, _ = cut(clips["val"], stride)
    results = {"true motion": {"": measure(windows, windows, bones)}}
    for name, kind in KINDS.items():
        given = perturb(windows, "human", kind, np.random.default_rng(42))
        methods: dict[str, Callable] = {"no repair": lambda x: x}
        if kind != Perturbation():
            tuning = perturb(validation, "human", kind, np.random.default_rng(43))
            methods |= {**tuned(tuning, validation, bones), "SmoothNet": smoothnet}
        methods["PMP"] = lambda x, name=name: apply_prior(prior, x, what=name)
        results[name] = {m: measure(f(given), windows, bones) for m, f in methods.items()}
    return results


def text_effect(data: Path, stride: int, prior: MotionPrior) -> dict[str, dict[str, float]]:
    """Paired over windows: error with a wrong caption less error with the right one, mm, with its 95 % interval."""
    clips = load_capture_clips(data / "cmu_mocap/cmu_test.npz")
    windows, clip = cut(clips, stride)
    bones = built_in_bones("human")
    truth = world_joints(windows, bones)
    rng = np.random.default_rng(7)
    right = [clips.captions[k] for k in clip]
    wrong = [str(rng.choice(sorted({c for c in clips.captions if c != text}))) for text in right]
    effect = {}
    for name, kind in HEAVY.items():
        given = perturb(windows, "human", kind, np.random.default_rng(44))
        errors = [
            1000 * np.linalg.norm(world_joints(apply_prior(prior, given, texts, name), bones) - truth, axis=-1)
            for texts in (right, wrong, [None] * len(right))
        ]
        right_mm, wrong_mm, none_mm = (e.mean((1, 2)) for e in errors)
        gain = wrong_mm - right_mm
        half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
        effect[name] = {
            "right": float(right_mm.mean()),
            "wrong": float(wrong_mm.mean()),
            "none": float(none_mm.mean()),
            "low": float(gain.mean() - half),
            "high": float(gain.mean() + half),
        }
    return effect


def time_and_memory(weights: Path) -> dict[str, float]:
    """In a process of its own: 32 frames refined with the model loaded, median of 30 in ms; peak memory in MB."""
    code = """
import resource, sys, time
import numpy as np, kinema
from kinema.checkpoints import load_prior
prior = load_prior(sys.argv[1])
rng = np.random.default_rng(0)
motion = kinema.BodyMotion("human", rng.normal(0, 0.2, (32, 55, 3)).astype(np.float32),
                           rng.normal(0, 0.1, (32, 3)).astype(np.float32), np.zeros(10, np.float32), 20.0)
times = []
for _ in range(33):
    began = time.perf_counter()
    kinema.refine(motion, prior=prior)
    times.append(time.perf_counter() - began)
print(1000 * float(np.median(times[3:])), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code, str(weights)], check=True, capture_output=True, text=True)
    milliseconds, megabytes = map(float, done.stdout.split())
    return {"ms": milliseconds, "MB": megabytes}


def verdicts(results: Results) -> list[tuple[str, str, str]]:
    """(what is asked, bar, measured) of each bar that the errors are held against."""
    rows = []
    for name, cut_bar, ahead_bar in (("noise", 60, 25), ("shuffle", 50, 37.5), ("drop", None, 25)):
        methods = results[name]
        for metric in ("global", "aligned"):
            mine, none = methods["PMP"][metric], methods["no repair"][metric]
            rivals = {m: v[metric] for m, v in methods.items() if m not in ("PMP", "no repair")}
            best = min(rivals, key=rivals.__getitem__)
            ahead = 100 * (1 - mine / rivals[best])
            if cut_bar:
                rows.append((f"{name}: {metric} error cut", f">= {cut_bar} %", f"{100 * (1 - mine / none):.1f} %"))
            rows.append((f"{name}: {metric} error below {best}", f">= {ahead_bar} %", f"{ahead:.1f} %"))
    noise = results["noise"]
    share = 1 - noise["PMP"]["acceleration"] / noise["no repair"]["acceleration"]
    rows.append(("noise: acceleration error cut", ">= 90 %", f"{100 * share:.1f} %"))
    rows.append(("clean: moved by", "< 10 mm", f"{results['clean']['PMP']['global']:.2f} mm"))
    return rows


def tables(results: Results, effect: dict, cost: dict) -> list[Table]:
    errors = Table(
        "perturbation", "method", "global mm", "root-aligned mm", "acceleration mm/frame²", "foot slide mm/frame"
    )
    for name, methods in results.items():
        for method, values in methods.items():
            errors.add_row(name, method, *(f"{values[m]:.1f}" for m in ("global", "aligned", "acceleration", "slide")))
    bars = Table("asked", "bar", "measured")
    for row in verdicts(results):
        bars.add_row(*row)
    bars.add_row("32 frames", "< 60 ms, < 1000 MB", f"{cost['ms']:.0f} ms, {cost['MB']:.0f} MB")
    text = Table("heavy perturbation", "right caption", "wrong", "none", "wrong - right, 95 %")
    for name, v in effect.items():
        text.add_row(name, *(f"{v[k]:.2f}" for k in ("right", "wrong", "none")), f"{v['low']:.2f} to {v['high']:.2f}")
    return [errors, bars, text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cmu_mocap/")
    parser.add_argument("--weights", type=Path, default=PMP_WEIGHTS, help="of the prior; the shipped ones by default")
    parser.add_argument(
        "--smoothnet", type=Path, default=Path("runs/smoothnet.safetensors"), help="trained if not there"
    )
    parser.add_argument("--smoothnet-steps", type=int, default=16_000, help="of 16 windows each")
    parser.add_argument("--stride", type=int, default=8, help="frames from one window to the next")
    parser.add_argument("--out", type=Path, help="JSON with all numbers")
    options = parser.parse_args()
    train_clips = load_capture_clips(options.data / "cmu_mocap/cmu_train.npz")
    smoothnet = train_smoothnet(train_clips, options.smoothnet_steps, options.smoothnet)
    prior = load_prior(options.weights)
    cost = time_and_memory(options.weights)
    results = compare(options.data, options.stride, prior, smoothnet)
    effect = text_effect(options.data, options.stride, prior)
    for table in tables(results, effect, cost):
        Console().print(table)
    if options.out:
        options.out.write_text(json.dumps({"errors": results, "text": effect, "cost": cost}, indent=1) + "\n")


if __name__ == "__main__":
    main()
