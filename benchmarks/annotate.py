"""The pipeline of annotation against the truth of rendered clips; what each stage costs; one and two workers of Ray.

    python benchmarks/annotate.py [--data FOLDER_WITH_cmu_mocap] [--clips 40] [--out FILE.json]
    python benchmarks/annotate.py --scaling [--clips 16]

Videos of the procedural world's test split, two clips each with a hard cut between them, go through ReVision's recipe with
mini-perception. Measured: cuts, each filter's precision and recall (a filter is right where it leaves out what the truth
leaves out), the IoU of masks and part masks with the true ones, and PA-MPJPE of the bodies that were kept and of those that
were not. Every number is over clips that reached the stage. With --scaling: wall and CPU seconds of the same work on one and
on two workers.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from extract import in_camera, procrustes_mm
from kinema.annotate import agreement, cuts, fits
from kinema.annotate.captions import RuleJudge
from kinema.annotate.looking import sampled
from kinema.annotate.recipes import Models, Revision, clip_stages
from kinema.annotate.record import Record, Source
from kinema.body.model import joints
from kinema.evaluate.control_metrics import part_miou
from kinema.types import BodyMotion, Scene
from kinema.video import write_video
from kinema.world.clip import WorldClip
from kinema.world.sampler import World

TRUE_IOU, TRUE_PA_MM = 0.5, 120.0
"""Truth of "the fit is good": the true silhouette overlaps the drawn one by this, and the pose is off by no more."""


@dataclass
class Counts:
    """Of a filter: whether it should have left something out, and whether it did."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    passed: int = 0

    def add(self, truth: bool, said: bool) -> None:
        name = ("right" if truth else "wrong") if said else ("missed" if truth else "passed")
        setattr(self, name, getattr(self, name) + 1)

    def row(self) -> dict[str, float]:
        left_out, ought = self.right + self.wrong, self.right + self.missed
        return {
            "left out": left_out, "ought to be": ought, "of": left_out + self.missed + self.passed,
            "precision": self.right / left_out if left_out else float("nan"),
            "recall": self.right / ought if ought else float("nan"),
        }  # fmt: skip


def moves(clip: WorldClip, least: float) -> bool:
    """Truth of "evident motion": the true joints or object that move most do so by `least` of the picture a second."""
    return max(agreement.picture_speed(s, clip.scene.cameras) for s in clip.scene.subjects) >= least


def matches(clip: WorldClip, record: Record) -> Iterator[tuple[int, int, float]]:
    """(true subject, track, IoU of their masks) for each true subject that is seen; track -1: none found."""
    seen = record.observation
    for index in range(len(clip.scene.subjects)):
        true = clip.subject_ids == index + 1
        if true.sum() < 40 * len(true) / 4:
            continue
        overlaps = [(true & t.masks).sum() / (true | t.masks).sum() for t in seen.tracks] if seen else []
        best = int(np.argmax(overlaps)) if overlaps else -1
        yield index, best, float(overlaps[best]) if overlaps else 0.0


def pose_error_mm(clip: WorldClip, index: int, scene: Scene, motion: BodyMotion, where: np.ndarray) -> float:
    truth = clip.joints_m[index]
    assert truth is not None
    points = joints(motion)[:, : truth.shape[1]]
    found, true = in_camera(points, scene.cameras)[where], in_camera(truth, clip.scene.cameras)[where]
    return procrustes_mm(found, true)


def judge(world: World, clips: int, recipe: Revision) -> dict[str, Any]:
    """Clip by clip through the recipe's stages, with what the truth says beside each verdict."""
    models = Models(recipe.common)
    stages = {s.name: s for s in clip_stages(recipe, models)}
    filters = {
        name: Counts()
        for name in ("caption", "motion", "size", "over one person", "fit: people", "fit: animals", "camera")
    }
    rule = RuleJudge()
    numbers: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        numbers.setdefault(name, []).append(value)

    for seed in track(range(clips), description="clips"):
        clip = world.sample(seed)
        still = not moves(clip, recipe.least_motion)
        filters["caption"].add(still, not rule.moves(clip.scene.prompt))
        source = Source(f"w{seed}", "", "0", clip.scene.prompt)
        record = Record(source, f"w{seed}-000", caption=clip.scene.prompt, fps=8.0, video=clip.video)
        true_share = float((clip.subject_ids > 0).mean())
        for name in ("sample", "see", "place", "motion", "camera", "animals"):
            if record.verdict and record.verdict.stage in ("size", "count", "motion"):
                record = replace(record, verdict=None)
            began = time.process_time()
            after = stages[name].run(record)
            seconds.setdefault(name, []).append(time.process_time() - began)
            if name == "sample":
                filters["size"].add(
                    true_share < recipe.least_share, after.quality["subject_share"] < recipe.least_share
                )
                filters["over one person"].add(people(clip) > 1, after.quality["most_people"] > 1)
            if name == "motion":
                filters["motion"].add(still, bool(after.verdict))
            if name == "camera" and after.observation and any(t.category == "animal" for t in after.observation.tracks):
                filters["camera"].add(bad_camera(clip, after), bool(after.verdict))
                after = replace(after, verdict=None)
            record = after
            if record.verdict and name not in ("sample", "motion"):
                break
        if record.scene is None or record.observation is None:
            for _, _, iou in matches(clip, record):
                note("mask IoU", iou)
            continue
        before = record
        began = time.process_time()
        record = stages["agree"].run(record)
        record = stages["parts"].run(replace(record, verdict=None))
        seconds.setdefault("agree, parts", []).append(time.process_time() - began)
        score(clip, before, record, filters, note)
    return {
        "filters": {name: c.row() for name, c in filters.items()},
        "numbers": {n: {"mean": float(np.mean(v)), "median": float(np.median(v)), "of": len(v)} for n, v in numbers.items()},
        "cpu_s": {name: float(np.mean(v)) for name, v in seconds.items()},
    }  # fmt: skip


def people(clip: WorldClip) -> int:
    """The most people that one of the sampled frames shows, each with 40 pixels or more."""
    motions = [s.motion for s in clip.scene.subjects]
    ids = [k for k, m in enumerate(motions, 1) if isinstance(m, BodyMotion) and m.category == "human"]
    frames = clip.subject_ids[sampled(len(clip.subject_ids))]
    return max(sum(int((frame == k).sum() >= 40) for k in ids) for frame in frames)


def bad_camera(clip: WorldClip, record: Record) -> bool:
    """Truth: the camera's way over the clip is off by more than 1.5 px of 128 at the picture's edge, on average."""
    assert record.scene is not None
    corners = np.array([[0, 0], [127, 0], [0, 127], [127, 127], [64, 64]], float)
    off = []
    for t in range(1, len(clip.video.frames)):
        ours = fits._as_cameras_say(corners, record.scene.cameras, 0, t)
        true = fits._as_cameras_say(corners, clip.scene.cameras, 0, t)
        off.append(np.linalg.norm(ours - true, axis=-1).mean())
    return float(np.mean(off)) > 1.5


def score(clip: WorldClip, before: Record, after: Record, filters: dict[str, Counts], note) -> None:
    assert before.scene is not None
    assert after.scene is not None
    assert after.part_ids is not None
    assert before.observation is not None
    drawn = agreement.drawn_subjects(before.scene)
    if (clip.part_ids > 0).any() and after.part_ids.any():
        note("part mIoU, drawn", part_miou(clip.part_ids, after.part_ids))
        note("part mIoU, as seen", part_miou(clip.part_ids, before.observation.part_ids))
    for index, best, iou in matches(clip, before):
        note("mask IoU", iou)
        true = clip.scene.subjects[index].motion
        if best < 0 or iou < 0.3 or not isinstance(true, BodyMotion):
            continue
        ours, kept = before.scene.subjects[best].motion, after.scene.subjects[best].motion
        if not isinstance(ours, BodyMotion) or not isinstance(kept, BodyMotion) or ours.category != true.category:
            continue
        silhouette = agreement.frame_iou(drawn == best + 1, clip.subject_ids == index + 1)
        kind = "people" if true.category == "human" else "animals"
        spans = before.segments[best] if kind == "animals" else [(t, t + 1) for t in range(len(silhouette))]
        for first, end in spans:
            where = np.arange(first, end)[ours.valid[first:end]]
            if len(where):
                error = pose_error_mm(clip, index, before.scene, ours, where)
                bad = error > TRUE_PA_MM or float(silhouette[where].mean()) < TRUE_IOU
                gone = not kept.valid[where].any()
                filters[f"fit: {kind}"].add(bad, gone)
                note(f"PA-MPJPE mm, {kind} {'left out' if gone else 'kept'}", error)


def judge_cuts(world: World, pairs: int) -> dict[str, float]:
    """Two clips one after the other: the cut between them must be found, and no other."""
    found = true = right = 0
    for k in range(pairs):
        frames = np.concatenate([world.sample(2 * k).video.frames, world.sample(2 * k + 1).video.frames])
        shots = cuts.find_shots(frames, 8.0)
        edges = [first for first, _ in shots[1:]]
        found, true, right = found + len(edges), true + 1, right + (16 in edges)
    return {"precision": right / max(1, found), "recall": right / true, "of": true}


def scaling(world: World, clips: int, workers: tuple[int, ...] = (1, 2)) -> list[dict[str, float]]:
    """The same videos on so many of Ray's workers; each has one core."""
    from kinema.annotate.graph import on_ray
    from kinema.annotate.run import annotate

    folder = Path(tempfile.mkdtemp(prefix="kinema-"))
    for seed in range(clips):
        clip = world.sample(seed)
        write_video(clip.video.frames, folder / f"w{seed}.mp4", clip.video.fps)
        (folder / f"w{seed}.txt").write_text(clip.scene.prompt)
    rows = []
    for count in workers:
        times: list[float] = []
        executor = on_ray(num_cpus=count, num_gpus=0)
        began = time.monotonic()
        totals = annotate(folder, folder / f"out{count}", Revision(), executor,
                          on_progress=lambda *_, times=times: times.append(time.monotonic()))  # fmt: skip
        outcomes = (folder / f"out{count}" / "work" / "outcomes").rglob("*.json")
        cpu = sum(sum(json.loads(path.read_text())["cpu_s"].values()) for path in outcomes)
        rows.append({
            "workers": count, "videos": totals.read, "wall_s": times[-1] - began, "until the first_s": times[0] - began,
            "videos a minute after it": 60 * (len(times) - 1) / max(times[-1] - times[0], 1e-6), "stages_cpu_s": cpu,
        })  # fmt: skip
    shutil.rmtree(folder)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="captures of the test subjects; default: the shipped ones")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    capture = args.data / "cmu_mocap/cmu_test.npz" if args.data else None
    world = World.load(capture, None, "test")
    if args.scaling:
        result: Any = scaling(world, args.clips)
        Console().print(result)
    else:
        result = {
            "clips": args.clips,
            **judge(world, args.clips, Revision()),
            "cuts": judge_cuts(world, args.clips // 2),
        }
        for title in ("filters", "numbers"):
            rows = result[title]
            table = Table(title=f"{title}, {args.clips} clips")
            for name in ("", *next(iter(rows.values()))):
                table.add_column(name, justify="right")
            for name, row in rows.items():
                table.add_row(name, *(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()))
            Console().print(table)
        Console().print("cuts", result["cuts"], "CPU seconds a clip", result["cpu_s"])
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
