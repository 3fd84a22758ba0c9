"""The reposed start against the true frames of the procedural world, beside two simple ways of making frames.

    python benchmarks/reposed.py --capture cmu_test.npz [--clips 30] [--out FILE.json]

Clips of the world's test split, 16 frames of 128x128. `true scene` knows bodies, objects and cameras, and whose each
pixel of the first frame is; `misfit` gets bodies that are off as fitted ones are (3.4 degrees a joint, 2 cm, another
shape). `first frame` repeats it; `flow` warps it by OpenCV's DIS flow from every true frame, which no method could know.
PSNR in dB over frames 2-16, the mean over clips; higher is better. Seconds of one core a clip.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kinema.reinforce.reposed import carry
from kinema.types import BodyMotion, Scene
from kinema.world.clip import WorldClip
from kinema.world.sampler import World

JOINT_NOISE_RAD, PLACE_NOISE_M, SHAPE_NOISE = 0.06, 0.02, 0.5
COLUMNS = ("everywhere", "subjects", "background")


def misfit(scene: Scene, seed: int) -> Scene:
    """The scene with bodies that are off by the same over the whole clip."""
    rng = np.random.default_rng(seed)

    def off(motion: BodyMotion) -> BodyMotion:
        rotvec = motion.rotvec.copy()
        rotvec[:, 1:22] += rng.normal(0, JOINT_NOISE_RAD, (1, 21, 3)).astype(np.float32)
        place = motion.root_translation_m + rng.normal(0, PLACE_NOISE_M, (1, 3)).astype(np.float32)
        betas = np.clip(motion.betas + rng.normal(0, SHAPE_NOISE, len(motion.betas)), -2.5, 2.5).astype(np.float32)
        return replace(motion, rotvec=rotvec, root_translation_m=place, betas=betas)

    motions = [off(s.motion) if isinstance(s.motion, BodyMotion) else s.motion for s in scene.subjects]
    return replace(scene, subjects=tuple(replace(s, motion=m) for s, m in zip(scene.subjects, motions, strict=True)))


def by_flow(frames: np.ndarray) -> np.ndarray:
    """The first frame at where the flow from every other frame leads."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    rows, columns = np.indices(grey[0].shape, np.float32)
    found = [flow.calc(now, grey[0], np.zeros((*now.shape, 2), np.float32)) for now in grey]
    return np.stack([
        cv2.remap(frames[0], columns + f[..., 0], rows + f[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for f in found
    ])  # fmt: skip


def reposed(clip: WorldClip, scene: Scene, samples: int = 2, part_ids: np.ndarray | None = None) -> np.ndarray:
    """The first frame carried by a scene, its subjects known."""
    return carry(clip.video.frames[0], scene, clip.subject_ids[0], samples=samples, part_ids=part_ids).frames


METHODS: dict[str, Callable[[WorldClip, int], np.ndarray]] = {
    "reposed, true scene": lambda clip, _: reposed(clip, clip.scene),
    "reposed, hard edges": lambda clip, _: reposed(clip, clip.scene, 1),
    "reposed, no subject ids": lambda clip, _: carry(clip.video.frames[0], clip.scene).frames,
    "reposed, misfit": lambda clip, k: reposed(clip, misfit(clip.scene, k)),
    "reposed, misfit, hard edges": lambda clip, k: reposed(clip, misfit(clip.scene, k), 1),
    "reposed, misfit, hard edges, by parts": lambda clip, k: reposed(clip, misfit(clip.scene, k), 1, clip.part_ids[0]),
    "flow": lambda clip, _: by_flow(clip.video.frames),
    "first frame": lambda clip, _: clip.video.frames[:1].repeat(len(clip.video.frames), 0),
}


def psnr_db(made: np.ndarray, clip: WorldClip) -> list[float]:
    """Everywhere, on the subjects, on the background, of all frames but the first."""
    error = ((made.astype(float) - clip.video.frames) ** 2).mean(-1)[1:]
    subject = clip.subject_ids[1:] > 0
    return [10 * np.log10(255**2 / max(float(e.mean()), 1e-3)) for e in (error, error[subject], error[~subject])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capture", type=Path, help="the held-out capture, a multi-clip npz; else the shipped one")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--out", type=Path, help="write the numbers here too, as JSON")
    options = parser.parse_args()
    world = World.load(options.capture, split="test")
    scores: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    for method in METHODS.values():
        method(world.sample(0), 0)  # compiles what it needs
    for k in track(range(options.clips), "clips"):
        clip = world.sample(k)
        for name, method in METHODS.items():
            began = time.process_time()
            made = method(clip, k)
            scores[name].append([*psnr_db(made, clip), time.process_time() - began])
    table = Table("", *(f"PSNR {column}, dB" for column in COLUMNS), "s a clip")
    means = {name: np.mean(values, 0) for name, values in scores.items()}
    for name, mean in means.items():
        table.add_row(name, *(f"{value:.2f}" for value in mean))
    Console().print(table)
    if options.out:
        keys = ("psnr_db", "psnr_subjects_db", "psnr_background_db", "seconds")
        found = {name: dict(zip(keys, map(float, mean), strict=True)) for name, mean in means.items()}
        options.out.write_text(json.dumps({"clips": options.clips, "methods": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
