"""Extract against the truth of the procedural world: how far the fitted bodies are from the true ones.

    python benchmarks/extract.py --data FOLDER_WITH_cmu_mocap [--clips 60] [--noise 2.0] [--perception] [--out FILE.json]
    python benchmarks/extract.py --data FOLDER_WITH_cmu_mocap --alone --size 512 --noise 3 --missing 0.1

Clips of the world's test split (held-out capture subjects). What is given is either the true keypoints with noise in
pixels, masks and depth with an error of scale and of 5 %, or with --perception what mini-perception sees in
the pictures; cameras are found. Subjects whose track is not matched are counted as missed. --alone takes the clips of a
single person, and gives all joints in the picture the same noise and confidence, but for those that are missing.

iou       of the drawn body and its mask, over all frames, without the pixels that other subjects hide
swaps_pc  per cent of pairs (hips to wrists, frame by frame) that lie nearer to each other's true place than to their own,
          in space after Procrustes
limits_pc per cent of joints, frame by frame, that are turned beyond their range (`body/joint_limits.py`)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kinema.body.joint_limits import beyond_limits
from kinema.body.model import joints
from kinema.camera import project
from kinema.evaluate.motion_metrics import acceleration_error_mm, root_aligned_mpjpe_mm
from kinema.extract.camera_motion import camera_motion
from kinema.extract.fitting import FitConfig, fit_bodies
from kinema.extract.observation import Observation, Track
from kinema.render.control_maps import render_maps
from kinema.types import BodyMotion, Cameras, Scene, Video
from kinema.world.clip import WorldClip
from kinema.world.sampler import World

METRICS = (
    "pa_mpjpe_mm", "root_aligned_mm", "acceleration_mm", "reprojection_px", "camera_space_mm", "iou", "swaps_pc",
    "limits_pc",
)  # fmt: skip
PAIRS = {
    "human": ((1, 2), (4, 5), (7, 8), (10, 11), (16, 17), (18, 19), (20, 21)),
    "animal": ((7, 11), (8, 12), (9, 13), (10, 14), (17, 21), (18, 22), (19, 23), (20, 24)),
}
"""Left and right: hips to feet, shoulders to wrists; an animal's legs."""


def true_observation(
    clip: WorldClip, noise_px: float, rng: np.random.Generator, missing: float = 0.0, plain: bool = False
) -> Observation:
    """What a perfect perception would see, with noise on the keypoints; a hidden joint is seen with half the confidence
    and three times the noise (plain: like any other), one outside the picture not at all, nor a share that is missing."""
    tracks = []
    height, width = clip.video.frames.shape[1:3]
    for index, subject in enumerate(clip.scene.subjects):
        mask = clip.subject_ids == index + 1
        present = mask.any((1, 2))
        boxes = np.zeros((len(mask), 4), np.float32)
        for t in np.flatnonzero(present):
            rows, columns = np.flatnonzero(mask[t].any(1)), np.flatnonzero(mask[t].any(0))
            boxes[t] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        pixels, visible = clip.joints_px[index], clip.joints_visible[index]
        if pixels is None or visible is None:
            pixels, visible = np.zeros((len(mask), 0, 2)), np.zeros((len(mask), 0), bool)
        inside = ((pixels >= 0) & (pixels < [width, height])).all(-1) & present[:, None]
        visible = visible | plain
        wide = np.where(visible, noise_px, 3 * noise_px + 1)
        seen = pixels + rng.normal(size=pixels.shape) * wide[..., None]
        inside = inside & (rng.random(inside.shape) >= missing) if missing else inside
        confidence = np.where(inside, np.where(visible, 0.9, 0.4), 0)
        category = subject.motion.category if isinstance(subject.motion, BodyMotion) else "object"
        tracks.append(
            Track(category, subject.label, present, boxes, mask, seen.astype(np.float32), confidence.astype(np.float32))
        )
    depth = clip.depth_m * np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.05, (len(clip.depth_m), 1, 1)))
    return Observation(tuple(tracks), clip.part_ids, depth.astype(np.float32), clip.video.fps)


def every_nth(clip: WorldClip, n: int) -> WorldClip:
    """Every n-th frame of a clip, as the coarse videos of the first stage have them."""
    if n == 1:
        return clip
    cut = slice(None, None, n)
    cameras = clip.scene.cameras
    cameras = Cameras(cameras.K[cut], cameras.T_camera_world[cut], cameras.image_hw)
    thinned = (
        (None if v is None else v[cut] for v in vs) for vs in (clip.joints_m, clip.joints_px, clip.joints_visible)
    )
    return WorldClip(
        Video(clip.video.frames[cut], clip.video.fps / n),
        Scene(clip.scene.subjects, cameras, clip.scene.prompt),
        clip.part_ids[cut], clip.subject_ids[cut], clip.depth_m[cut], *(tuple(v) for v in thinned),
    )  # fmt: skip


def matched(clip: WorldClip, tracks: Sequence[Track]) -> list[tuple[int, int | None]]:
    """(index of a body among the true subjects, index of the track that overlaps it most or None)."""
    pairs = []
    for index, subject in enumerate(clip.scene.subjects):
        if not isinstance(subject.motion, BodyMotion):
            continue
        mask = clip.subject_ids == index + 1
        overlaps = [
            (mask & t.masks).sum() / max(1, (mask | t.masks).sum()) if t.category == subject.motion.category else 0.0
            for t in tracks
        ]
        best = int(np.argmax(overlaps)) if overlaps else None
        pairs.append((index, best if best is not None and overlaps[best] > 0.3 else None))
    return pairs


def aligned(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[T,J,3] both around their middle, the first after the best similarity a frame (Gower 1975)."""
    a, b = found - found.mean(1, keepdims=True), truth - truth.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(a.transpose(0, 2, 1) @ b)
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = u * sign[:, None] @ vt
    scale = (s * sign).sum(1) / (a**2).sum((1, 2))
    return scale[:, None, None] * a @ rotation, b


def procrustes_mm(found: np.ndarray, truth: np.ndarray) -> float:
    """PA-MPJPE, mm."""
    a, b = aligned(found, truth)
    return 1000 * float(np.linalg.norm(a - b, axis=-1).mean())


def swaps_pc(found: np.ndarray, truth: np.ndarray, category: str) -> float:
    a, b = aligned(found, truth)
    pairs = np.array(PAIRS[category])
    own = np.linalg.norm(a[:, pairs] - b[:, pairs], axis=-1).sum(-1)
    exchanged = np.linalg.norm(a[:, pairs] - b[:, pairs[:, ::-1]], axis=-1).sum(-1)
    return 100 * float((exchanged < own).mean())


def silhouette_iou(motion: BodyMotion, cameras: Cameras, clip: WorldClip, index: int) -> float:
    drawn = render_maps([motion], cameras, maps="parts").part_ids
    assert drawn is not None
    mask = clip.subject_ids == index + 1
    free = mask | (clip.subject_ids == 0)
    return float(((drawn > 0) & mask).sum() / (((drawn > 0) | mask) & free).sum())


def in_camera(points: np.ndarray, cameras: Cameras) -> np.ndarray:
    T = cameras.T_camera_world
    return points @ T[:, :3, :3].transpose(0, 2, 1) + T[:, None, :3, 3]


def errors(motion: BodyMotion, cameras: Cameras, clip: WorldClip, index: int) -> dict[str, float]:
    truth, pixels, visible = clip.joints_m[index], clip.joints_px[index], clip.joints_visible[index]
    assert truth is not None
    assert pixels is not None
    assert visible is not None
    points = joints(motion)[:, : truth.shape[1]]
    found, true = in_camera(points, cameras), in_camera(truth, clip.scene.cameras)
    away = np.linalg.norm(project(points, cameras)[0] - pixels, axis=-1)[visible]
    return {
        "pa_mpjpe_mm": procrustes_mm(found, true),
        "root_aligned_mm": root_aligned_mpjpe_mm(found, true),
        "acceleration_mm": acceleration_error_mm(found - found[:, :1], true - true[:, :1]),
        "reprojection_px": float(away.mean()) if len(away) else 0.0,
        "iou": silhouette_iou(motion, cameras, clip, index),
        "swaps_pc": swaps_pc(found, true, motion.category),
        "limits_pc": 100 * float((beyond_limits(motion.rotvec, motion.category)[:, : truth.shape[1]] > 0).mean()),
        "camera_space_mm": 1000 * float(np.linalg.norm(found - true, axis=-1).mean()),
    }


def is_alone(clip: WorldClip) -> bool:
    """One subject, a person."""
    motions = [s.motion for s in clip.scene.subjects]
    return len(motions) == 1 and isinstance(motions[0], BodyMotion) and motions[0].category == "human"


def run(
    world: World, clips: int, noise_px: float, perception: bool, first: int = 0, every: int = 1, size: int = 128,
    missing: float = 0.0, alone: bool = False,
) -> dict:  # fmt: skip
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    missed, seconds, per_clip, pitch, still = 0, [], [], [], []
    for seed in track(range(first, first + clips), description="extract"):
        clip = every_nth(world.sample(seed, size=(size, size)), every)
        if alone and not is_alone(clip):
            continue
        if perception:
            from kinema.extract.observe import observe

            observation = observe(clip.video)
        else:
            observation = true_observation(clip, noise_px, np.random.default_rng(seed), missing, alone)
        pairs = matched(clip, observation.tracks)
        missed += sum(t is None for _, t in pairs)
        alive = [k for k, t in enumerate(observation.tracks) if t.category != "object"]
        bodies = [observation.tracks[k] for k in alive]
        if not bodies:
            continue
        began = time.process_time()
        masks = np.any([t.masks for t in observation.tracks], 0)
        cameras = camera_motion(clip.video, masks)
        seconds.append(time.process_time() - began)
        for stage, config in (("lifter", FitConfig(steps=0, outline_rounds=0)), ("fit", FitConfig())):
            began = time.process_time()
            found, placed = fit_bodies(
                bodies, cameras, clip.video.fps, observation.depth_m, observation.part_ids, config=config
            )
            if stage == "fit":
                per_clip.append((time.process_time() - began) / len(bodies))
                true_down, down = (
                    np.arcsin(np.clip(-c.T_camera_world[0, 2, 1], -1, 1)) for c in (clip.scene.cameras, placed)
                )
                pitch.append(abs(float(np.degrees(true_down - down))))
            for index, which in pairs:
                if which is None:
                    continue
                motion = found[alive.index(which)]
                rows.setdefault((motion.category, stage), []).append(errors(motion, placed, clip, index))
        truly_still = bool(
            np.ptp(clip.scene.cameras.T_camera_world, 0).max() < 1e-5 and np.ptp(clip.scene.cameras.K, 0).max() < 1e-3
        )
        found_still = bool(np.ptp(cameras.T_camera_world, 0).max() == 0 and np.ptp(cameras.K, 0).max() == 0)
        still.append((truly_still, found_still))
    table = {
        f"{category} {stage}": {m: float(np.mean([r[m] for r in rs])) for m in METRICS} | {"subjects": len(rs)}
        for (category, stage), rs in sorted(rows.items())
    }
    return {
        "table": table,
        "missed": missed,
        "fit_s_a_subject": float(np.mean(per_clip)),
        "slowest_fit_s_a_subject": float(np.max(per_clip)),
        "camera_s": float(np.mean(seconds)),
        "pitch_error_deg": float(np.mean(pitch)),
        "still_found_still": float(np.mean([f for t, f in still if t])) if any(t for t, _ in still) else None,
        "moving_found_moving": float(np.mean([not f for t, f in still if not t]))
        if not all(t for t, _ in still)
        else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test", choices=["val", "test"], help="capture subjects")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="seed of the first clip")
    parser.add_argument("--noise", type=float, default=2.0, help="pixels")
    parser.add_argument("--missing", type=float, default=0.0, help="share of the joints that are not seen")
    parser.add_argument("--size", type=int, default=128, help="of the pictures, pixels")
    parser.add_argument("--alone", action="store_true", help="only clips of one person, all joints equally certain")
    parser.add_argument("--perception", action="store_true", help="what mini-perception sees instead of noisy truth")
    parser.add_argument("--every", type=int, default=1, help="take every n-th frame; 2 is stage 1's rate")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    world = World.load(args.data / f"cmu_mocap/cmu_{args.split}.npz", None, "test")
    result = run(
        world, args.clips, args.noise, args.perception, args.first, args.every, args.size, args.missing, args.alone
    )
    given = "mini-perception" if args.perception else f"true joints, {args.noise} px of noise"
    given += f", every {args.every}. frame" if args.every > 1 else ""
    given += f", {args.size} x {args.size}, {args.missing:.0%} missing" if args.alone else ""
    table = Table(title=f"{args.clips} clips, {given}")
    for name in ("", *METRICS, "subjects"):
        table.add_column(name, justify="right")
    for name, row in result["table"].items():
        table.add_row(
            name, *(f"{row[m]:.3f}" if m == "iou" else f"{row[m]:.1f}" for m in METRICS), str(row["subjects"])
        )
    console = Console()
    console.print(table)
    console.print({k: v for k, v in result.items() if k != "table"})
    if args.out:
        args.out.write_text(json.dumps({"arguments": {"clips": args.clips, "given": given}, **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
