"""What a run through the stages looks like: videos of each stage, and one sheet of them side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import UInt8

from kinema.atomic import atomic_path
from kinema.plan import coarse_fit, hw_of
from kinema.provenance import write_generated
from kinema.reinforce.control_video import control_video
from kinema.reinforce.part_condition import scene_condition
from kinema.render.palette import parts_to_rgb
from kinema.video import write_video

if TYPE_CHECKING:
    from kinema.revision import GenerationResult

COLUMNS = 8
"""Moments of the clip that the sheet shows."""
LABEL_PX = 14


def write_pictures(result: GenerationResult, folder: Path) -> None:
    """coarse.mp4, overlay.mp4, parts.mp4, control.mp4 where the model follows one, final.mp4 and sheet.png."""
    fps, preset = result.video.fps, result.plan.preset.name
    if result.coarse is not None:
        write_generated(result.coarse.frames, folder / "coarse.mp4", result.coarse.fps, preset)
        write_generated(overlay(result), folder / "overlay.mp4", result.coarse.fps, preset)
    write_video(parts_to_rgb(result.condition.part_ids), folder / "parts.mp4", fps)
    if result.plan.control != "parts":
        size = (result.video.frames.shape[2], result.video.frames.shape[1])
        write_video(control_video(result.refined, result.plan.control, size), folder / "control.mp4", fps)
    write_generated(result.video.frames, folder / "final.mp4", fps, preset)
    with atomic_path(folder / "sheet.png") as temporary:
        cv2.imwrite(str(temporary), sheet(result)[..., ::-1])


def overlay(result: GenerationResult) -> UInt8[np.ndarray, "T H W 3"]:
    """The bodies that were fitted, half transparent, over the coarse video."""
    frames = whole_coarse(result)
    parts = scene_condition(result.extracted, frames.shape[1:3]).part_ids
    colours = parts_to_rgb(parts)
    mixed = frames // 2 + colours // 2
    return np.where((parts > 0)[..., None], mixed, frames)


def whole_coarse(result: GenerationResult) -> UInt8[np.ndarray, "T H W 3"]:
    """The coarse video at the size of the final one."""
    assert result.coarse is not None, "there is a coarse video"
    return coarse_fit(result.plan).placed(result.coarse.frames, hw_of(result.plan))


def sheet(result: GenerationResult) -> UInt8[np.ndarray, "H W 3"]:
    """Rows: coarse, extracted, refined part masks, final; columns: moments from first to last."""
    rows: list[tuple[str, np.ndarray]] = []
    if result.coarse is not None:
        rows += [("1 coarse", whole_coarse(result)), ("2 extracted", overlay(result))]
    rows += [("2 refined", parts_to_rgb(result.condition.part_ids)), ("3 final", result.video.frames)]
    return labelled_rows(rows)


def labelled_rows(rows: list[tuple[str, np.ndarray]], columns: int = COLUMNS) -> UInt8[np.ndarray, "H W 3"]:
    """Clips one below the other, each a row of evenly spaced frames under its name."""
    pictures = []
    for name, frames in rows:
        chosen = frames[np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int)]
        row = np.concatenate(list(chosen), 1)
        label = np.full((LABEL_PX, row.shape[1], 3), 255, np.uint8)
        cv2.putText(label, name, (2, LABEL_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        pictures += [label, row]
    width = max(p.shape[1] for p in pictures)
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures])
