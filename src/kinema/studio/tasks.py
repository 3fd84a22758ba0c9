"""What the worker can do: each task is one call of kinema's public functions, with files in a result's folder.

Input: settings (plain values), the folder, and whom to report to. Output: files there; a page that looks into the folder
meanwhile finds every stage as soon as it is made.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.studio.worker import Report

if TYPE_CHECKING:
    from kinema.types import Video

POSTER_PX = 256
MAP_SECONDS = 20.0
"""Control videos of longer motion are drawn for its beginning."""


def load_libraries(settings: dict[str, Any], folder: Path, report: Report) -> None:
    """Read what the first job would otherwise wait for."""
    import kinema.mvideo
    import kinema.revision  # noqa: F401


def animate_picture(settings: dict[str, Any], folder: Path, report: Report) -> None:
    """Tab 1, and the reruns of tab 2: `kinema.generate`. Files: picture.png, perhaps motion and sketch.json, stages/."""
    import kinema
    from kinema.motion_io import load_motion
    from kinema.provenance import write_generated
    from kinema.stages import record_of

    drags = [(part, tuple(start), tuple(end)) for part, start, end in settings.get("drags", ())]
    target = None
    if settings.get("shapes"):
        target = folder / "sketch.json"
        _write_json({"shapes": settings["shapes"]}, target)
    motion = load_motion(folder / settings["motion"]) if settings.get("motion") else None
    watch = _Stages(folder / "stages", report, settings["preset"])
    result = kinema.generate(
        folder / "picture.png", settings["prompt"] or None, target, drags, motion, settings.get("strength"),
        seconds=settings.get("seconds"), seed=settings["seed"], preset=settings["preset"], stages=folder / "stages",
        from_stage=settings.get("from_stage", 1), progress=watch,
    )  # fmt: skip
    watch.look()
    report("save", 0, 1)
    marked = settings.get("watermark", False)
    write_generated(result.video.frames, folder / "video.mp4", result.video.fps, settings["preset"], marked)
    _write_json(record_of(result), folder / "result.json")
    _write_faults(folder, {s.label or f"subject {s.id + 1}": s.motion for s in result.refined.subjects})
    _poster(result.video.frames, folder)


class _Stages:
    """Reports how far `kinema.generate` is, and makes of every finished stage what the page shows of it."""

    def __init__(self, folder: Path, report: Report, preset: str):
        self.folder, self.report, self.preset = folder, report, preset

    def __call__(self, stage: str, done: int, total: int) -> None:
        if done <= 1:
            self.look()
        self.report(stage, done, total)

    def look(self) -> None:
        from kinema.motion_io.scene import load_scene
        from kinema.provenance import write_generated
        from kinema.studio.view3d import scene_view, write_view

        coarse = self.folder / "coarse.npz"
        if coarse.exists() and not (self.folder / "coarse.mp4").exists():
            with np.load(coarse) as kept:
                write_generated(kept["frames"], self.folder / "coarse.mp4", float(kept["fps"]), self.preset)
        for name in ("scene", "refined"):
            if (self.folder / f"{name}.npz").exists() and not (self.folder / f"{name}.view.json").exists():
                write_view(scene_view(load_scene(self.folder / f"{name}.npz")), self.folder / f"{name}.view.json")


def animate_masks(settings: dict[str, Any], folder: Path, report: Report) -> None:
    """Tab 3: `kinema.animate`. Files: masks (settings["masks"]), edited.npz where there are steps."""
    from dataclasses import asdict

    import kinema
    from kinema.masks.files import read_masks, write_masks
    from kinema.masks.recipe import apply_recipe, parse_step, write_recipe
    from kinema.video import read_frames

    masks = read_masks(folder / settings["masks"]) if settings.get("masks") else None
    if masks is not None and settings.get("steps"):
        steps = [parse_step(text) for text in settings["steps"]]
        masks = apply_recipe(masks, steps)
        write_masks(masks, folder / "edited.npz")
        write_recipe(steps, folder / "edited.recipe.json")
    report("animate", 0, 1)
    made = kinema.animate(
        masks, settings["prompt"], settings["seconds"], settings["seed"], settings["preset"], out=folder / "video.mp4",
        anchored=settings["anchored"], fit=settings.get("fit"), progress=report,
        watermark=settings.get("watermark", False),
    )  # fmt: skip
    report("save", 0, 1)
    seams = [asdict(seam) for seam in made.seams]
    _write_json({"seams": seams, "fps": made.fps, "frames": made.frames}, folder / "seams.json")
    if made.seams:
        plot_seams(seams, folder / "seams.png")
    _poster(np.stack(list(read_frames(folder / "video.mp4"))), folder)


def find_masks(settings: dict[str, Any], folder: Path, report: Report) -> None:
    """Tab 3: masks of nouns in a video, as `kinema mask` makes them."""
    from kinema.masks.extract import extract_masks
    from kinema.masks.files import write_masks
    from kinema.masks.preview import preview
    from kinema.types import Video
    from kinema.video import write_video

    report("look", 0, 2)
    clip = _read_small(folder / settings["video"], settings["fps"], settings["most_frames"])
    report("look", 1, 2)
    found = extract_masks(clip, settings["nouns"])
    write_masks(found, folder / "masks.npz")
    shown = preview(found, Video(clip.frames[: len(found)], clip.fps))
    write_video(shown, folder / "video.mp4", found.fps)
    _poster(shown, folder)


def _read_small(path: Path, fps: float, most_frames: int, side: int = 720) -> Video:
    """A video's first frames, each at most `side` pixels at once: the mini models see no more, and all of a large one
    would fill the memory. Raises InputError."""
    import cv2

    from kinema.types import Video
    from kinema.video import read_frames

    frames = []
    for frame in islice(read_frames(path, fps), most_frames):
        scale = min(1.0, side / max(frame.shape[:2]))
        size = (round(frame.shape[1] * scale / 2) * 2, round(frame.shape[0] * scale / 2) * 2)
        frames.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame)
    if len({frame.shape for frame in frames}) > 1:
        raise InputError(path, "changes its size on the way", "frames of one size", "cut it there")
    return Video(np.stack(frames), fps)


def clean_motion(settings: dict[str, Any], folder: Path, report: Report) -> None:
    """Tab 4: diagnose, refine, lengthen, retarget, and write what other tools take."""
    import kinema
    from kinema.body.shape import parse_betas
    from kinema.motion_io import load_motion, save_motion
    from kinema.render.control_maps import render_frames
    from kinema.studio.view3d import motion_view, write_view
    from kinema.video import write_video

    report("read", 0, 1)
    given = load_motion(folder / settings["motion"])
    write_view(motion_view(given, "as it came"), folder / "before.view.json")
    _write_faults(folder, {"before": given}, "faults_before.json")
    motion = given
    report("refine", 0, 1)
    if settings.get("refine"):
        motion = kinema.refine(
            motion, settings["prompt"] or None, settings.get("strength"), length=settings.get("length")
        )
    if settings.get("betas"):
        motion = kinema.retarget(motion, parse_betas(settings["betas"], motion.category))
    write_view(motion_view(motion, "cleaned"), folder / "after.view.json")
    _write_faults(folder, {"cleaned": motion})
    for suffix in (".npz", ".bvh", ".glb") if motion.category == "human" else (".npz", ".glb"):
        save_motion(motion, folder / f"cleaned{suffix}")
    kinema.plot_diagnosis(motion, kinema.diagnose(motion), folder / "faults.png")
    width, height = (int(side) for side in settings["size"].split("x"))
    shown = motion[: max(1, int(MAP_SECONDS * motion.fps))]
    maps = ("shaded", *settings["maps"])
    for number, kind in enumerate(maps):
        report("draw", number, len(maps))
        frames = _reporting(render_frames(shown, kind, "fixed", (width, height)), report, number, len(maps))
        write_video(frames, folder / ("video.mp4" if kind == "shaded" else f"{kind}.mp4"), motion.fps)
    report("save", 0, 1)
    from kinema.video import read_frames

    _poster(np.stack([next(iter(read_frames(folder / "video.mp4")))]), folder)


def _reporting(frames, report: Report, number: int, total: int):
    for frame in frames:
        report("draw", number, total)
        yield frame


def plot_seams(seams: list[dict[str, float]], path: Path) -> None:
    """How each pair of clips joins: the jump at the seam as a multiple of the usual change, and the drift of colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from kinema.evaluate.seams import INVISIBLE_BELOW

    figure = Figure(figsize=(7, 2.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    at = [str(int(seam["frame"])) for seam in seams]
    left.bar(at, [seam["difference_ratio"] for seam in seams], color="#4f46e5", width=0.6)
    left.axhline(INVISIBLE_BELOW, color="#b45309", linewidth=1.2)
    left.set_title(f"jump at the seam (not seen under {INVISIBLE_BELOW:g})", fontsize=9)
    right.bar(at, [seam["colour_drift"] for seam in seams], color="#0f766e", width=0.6)
    right.set_title("colour drift, levels of 255", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("first frame of the next clip", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.set_xlim(-1.5, len(at) + 0.5)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _write_faults(folder: Path, motions: dict[str, Any], name: str = "faults.json") -> None:
    """What `kinema diagnose` says of every body."""
    from dataclasses import asdict

    import kinema
    from kinema.types import BodyMotion

    found = {}
    for label, motion in motions.items():
        if isinstance(motion, BodyMotion):
            found[label] = [asdict(finding) for finding in kinema.diagnose(motion).findings]
    _write_json(found, folder / name)


def _poster(frames: np.ndarray, folder: Path) -> None:
    """The middle frame as a small picture, for the list of results."""
    import cv2

    frame = frames[len(frames) // 2]
    scale = POSTER_PX / max(frame.shape[:2])
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    with atomic_path(folder / "poster.jpg") as temporary:
        cv2.imwrite(str(temporary), cv2.resize(frame, size, interpolation=cv2.INTER_AREA)[..., ::-1])


def _write_json(value: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")
