"""Scene cuts, and the frames of each shot (ReVision, appendix B; MVideo, section 4.1).

Input: a video's frames, streamed. Output: shots as [first, end), and later the frames of the chosen ones, one shot in memory
at a time. Cuts are PySceneDetect's content detector: mean change of hue, saturation and brightness between two frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from kinema.errors import InputError
from kinema.types import Video
from kinema.video import frame_rate, has_uneven_rate, read_frames

CUT_THRESHOLD = 27.0
"""PySceneDetect's own default."""
LEAST_SHOT_S = 0.5
"""Cuts nearer to each other than this are flashes."""
LOOK_SIDE_PX = 256
"""Longer side of the pictures that are compared."""
Frame = UInt8[np.ndarray, "H W 3"]


def steady_rate(path: str | Path, fps: float | None) -> tuple[float, float | None]:
    """-> frames a second that a video is read at, and what `read_frames` is to be asked for: a file without a steady rate
    is read at its mean. Raises InputError where it states none that can be."""
    own = frame_rate(path)
    if not 0 < own <= 1000:
        raise InputError(path, f"says that it has {own:g} frames a second", "above 0, at most 1000")
    return fps or own, fps or (own if has_uneven_rate(path) else None)


def scaled_frames(path: str | Path, ask_fps: float | None, side_px: int) -> Iterator[Frame]:
    """A video's frames, made smaller where their longer side is above `side_px`. Raises InputError where sizes change."""
    first: tuple[int, ...] = ()
    for frame in read_frames(path, ask_fps):
        if first and frame.shape != first:
            raise InputError(path, f"has frames of {first[1]}x{first[0]} and {frame.shape[1]}x{frame.shape[0]}", "one")
        first = frame.shape
        yield scaled(frame, side_px)


def scaled(frame: Frame, side_px: int) -> UInt8[np.ndarray, "h w 3"]:
    height, width = frame.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def find_shots(frames: Iterable[Frame], fps: float, threshold: float = CUT_THRESHOLD) -> list[tuple[int, int]]:
    """Shots of a video as frames [first, end), in order, without gaps. Raises InputError for a video without frames."""
    from scenedetect import ContentDetector, FrameTimecode

    detector = ContentDetector(threshold=threshold, min_scene_len=max(1, round(LEAST_SHOT_S * fps)))
    number, cuts = -1, []
    for number, frame in enumerate(frames):
        cuts += [c.frame_num for c in detector.process_frame(FrameTimecode(number, fps), frame[..., ::-1])]
    if number < 0:
        raise InputError("video", "has no frames", "at least one")
    edges = [0, *sorted(c for c in set(cuts) if 0 < c <= number), number + 1]
    return list(pairwise(edges))


def divided(shots: list[tuple[int, int]], longest: int) -> list[tuple[int, int]]:
    """Shots longer than so many frames, cut into equal pieces."""
    pieces = []
    for first, end in shots:
        count = -(-(end - first) // longest)
        edges = [first + (end - first) * k // count for k in range(count + 1)]
        pieces += pairwise(edges)
    return pieces


def shot_videos(frames: Iterable[Frame], shots: list[tuple[int, int]], fps: float) -> Iterator[tuple[int, Video]]:
    """(number of the shot, its frames), in order, out of one pass over all frames."""
    waiting = iter(enumerate(shots))
    now = next(waiting, None)
    kept: list[np.ndarray] = []
    for t, frame in enumerate(frames):
        if now is None:
            return
        number, (first, end) = now
        if first <= t < end:
            kept.append(frame)
        if t == end - 1:
            yield number, Video(np.stack(kept), fps)
            kept, now = [], next(waiting, None)
