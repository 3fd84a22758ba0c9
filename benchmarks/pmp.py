"""The motion prior against smoothing: errors on motion of subjects that no one has trained on.

    python benchmarks/pmp.py --data FOLDER_WITH_cmu_mocap [--out docs/results_pmp.json]

Windows of 32 frames at 20 fps of the test subjects; noise, shuffle and drop as in ReVision, section 4.2-S2, at fixed
strengths and seeds. The prior is called as users call it (`kinema.refine`), a window at a time, without text or strength.
Gaussian, Savitzky-Golay and One-Euro are tuned on the validation subjects for each perturbation; SmoothNet is trained on
the training subjects with the prior's own windows, perturbations and steps. Joints are those of the built-in body.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.progress import track

import kinema
from kinema.body.model import forward_kinematics
from kinema.evaluate import motion_metrics
from kinema.geometry import rotmat_to_rotvec
from kinema.optimize.features import PRIOR_PARENTS, unpack
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


def apply_prior(given: torch.Tensor, prompts: list[str | None] | None = None) -> torch.Tensor:
    """The prior as users call it, a window at a time -> channels [N,32,135]."""
    from kinema.optimize.optimizer import to_sequence

    prompts = prompts or [None] * len(given)
    found = [
        to_sequence(kinema.refine(to_body_motion(w), prompt=p)).channels
        for w, p in track(list(zip(given, prompts, strict=True)), description="refine")
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


def compare(data: Path, stride: int, smoothnet_steps: int) -> dict[str, dict[str, dict[str, float]]]:
    """kind of perturbation -> method -> metric."""
    from smoothing_baselines import smoothers

    clips = {s: load_capture_clips(data / f"cmu_mocap/cmu_{s}.npz") for s in ("train", "val", "test")}
    bones = built_in_bones("human")
    windows, _ = cut(clips["test"], stride)
    validation, _ = cut(clips["val"], stride)
    results = {}
    for name, kind in KINDS.items():
        given = perturb(windows, "human", kind, np.random.default_rng(42))
        tuning = perturb(validation, "human", kind, np.random.default_rng(43))
        methods = {
            "no repair": lambda x: x,
            **smoothers(tuning, validation, clips["train"], smoothnet_steps),
            "PMP": apply_prior,
        }
        results[name] = {m: measure(f(given), windows, bones) for m, f in methods.items()}
    return results


def text_effect(data: Path, stride: int) -> dict[str, dict[str, float]]:
    """Paired over windows: error with a wrong caption less error with the right one, mm, with its 95 % interval."""
    clips = load_capture_clips(data / "cmu_mocap/cmu_test.npz")
    windows, clip = cut(clips, stride)
    bones = built_in_bones("human")
    rng = np.random.default_rng(7)
    right = [clips.captions[k] for k in clip]
    wrong = [str(rng.choice(sorted({c for c in clips.captions if c != text}))) for text in right]
    effect = {}
    for name, kind in HEAVY.items():
        given = perturb(windows, "human", kind, np.random.default_rng(44))
        truth = world_joints(windows, bones)
        errors = [
            np.linalg.norm(world_joints(apply_prior(given, texts), bones) - truth, axis=-1).mean((1, 2)) * 1000
            for texts in (right, wrong, [None] * len(right))
        ]
        gain = errors[1] - errors[0]
        half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
        effect[name] = {
            "right": float(errors[0].mean()),
            "wrong": float(errors[1].mean()),
            "none": float(errors[2].mean()),
            "gain": float(gain.mean()),
            "low": float(gain.mean() - half),
            "high": float(gain.mean() + half),
        }
    return effect
