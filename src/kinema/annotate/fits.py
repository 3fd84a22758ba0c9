"""Stages that put subjects in space: bodies, animals by segments, how well the camera is known (ReVision, appendix B).

Record -> record. `extract` fits everything over the whole clip; animals are then fitted anew in segments of 10 frames, each
apart, as the paper does "to mitigate the impact of outliers in camera predictions".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from kinema.annotate.record import Record
from kinema.extract.extractor import extract
from kinema.extract.fitting import fit_bodies
from kinema.extract.observation import Track
from kinema.types import BodyMotion, Cameras, Subject

SEGMENT_FRAMES = 10
"""ReVision, appendix B."""
LEAST_SEEN = 3
"""Frames of a segment in which an animal must be seen to be fitted."""
CORNERS, CORNER_APART = 120, 0.03
"""Corners a start (Shi and Tomasi 1994): most, distance as a share of the longer side."""
LEAST_CORNER = 1e-4
"""Least eigenvalue of a corner (brightness 0-1, 3 x 3 pixels): a wall's joints have 1e-3, the clouds of a sky 1e-5."""
START_EVERY = 10
"""Frames between two starts of tracks."""
BACK_PX = 1.0
"""A point that doesn't come back to where it was, followed back, is lost; pixels of 128."""
WINDOW_PX = 21
"""Side of what is compared around a point, pixels of the picture (OpenCV's default): half of it may not be a subject's."""


def place(record: Record) -> Record:
    """Bodies with the hands and faces that were seen, objects of 21 points, and cameras, over the whole clip."""
    assert record.video is not None
    assert record.observation is not None
    return replace(record, scene=extract(record.video, record.caption, record.observation))


def fit_animals(record: Record) -> Record:
    """Animals again, in segments of 10 frames, each fitted apart from where the cameras are known to stand.

    A segment in which the animal is hardly seen is not valid. The shape is the mean of the segments'.
    """
    scene, seen = record.scene, record.observation
    assert scene is not None
    assert seen is not None
    frames = len(seen.part_ids)
    spans = list(_spans(frames))
    subjects, segments = [], []
    for subject, track in zip(scene.subjects, seen.tracks, strict=True):
        motion = subject.motion
        if not isinstance(motion, BodyMotion) or motion.category != "animal":
            subjects.append(subject)
            segments.append(((0, frames),))
            continue
        subjects.append(replace(subject, motion=_in_segments(track, motion, record, spans)))
        segments.append(tuple(spans))
    return replace(record, scene=replace(scene, subjects=tuple(subjects)), segments=tuple(segments))


def _in_segments(track: Track, whole: BodyMotion, record: Record, spans: list[tuple[int, int]]) -> BodyMotion:
    scene, seen = record.scene, record.observation
    assert scene is not None
    assert seen is not None
    rotvec, root = whole.rotvec.copy(), whole.root_translation_m.copy()
    valid, shapes = np.zeros(len(whole), bool), []
    for first, end in spans:
        cut = slice(first, end)
        piece = _cut_track(track, cut)
        if piece.present.sum() < LEAST_SEEN:
            continue
        cameras = _cut_cameras(scene.cameras, cut)
        (motion,), _ = fit_bodies([piece], cameras, seen.fps, seen.depth_m[cut], seen.part_ids[cut], cameras_known=True)
        rotvec[cut], root[cut], valid[cut] = motion.rotvec, motion.root_translation_m, motion.valid
        shapes.append(motion.betas)
    betas = np.mean(shapes, 0) if shapes else whole.betas
    return replace(whole, rotvec=rotvec, root_translation_m=root, valid=valid, betas=betas)


def _spans(frames: int) -> Iterator[tuple[int, int]]:
    """Of 10 frames; a rest shorter than half of that goes with the one before."""
    starts = list(range(0, frames, SEGMENT_FRAMES))
    if len(starts) > 1 and frames - starts[-1] < SEGMENT_FRAMES / 2:
        starts.pop()
    yield from zip(starts, [*starts[1:], frames], strict=True)


def _cut_track(track: Track, cut: slice) -> Track:
    """Some frames of an animal, which has no hands."""
    return replace(
        track, present=track.present[cut], boxes_px=track.boxes_px[cut], masks=track.masks[cut],
        keypoints_px=track.keypoints_px[cut], keypoint_confidence=track.keypoint_confidence[cut],
        hands=None, face=None,
    )  # fmt: skip


def _cut_cameras(cameras: Cameras, cut: slice) -> Cameras:
    return Cameras(cameras.K[cut], cameras.T_camera_world[cut], cameras.image_hw)


def judge_camera(record: Record, most_error_px: float, least_track: float) -> Record:
    """How well the cameras explain the background; a clip with animals is left out where they do not.

    most_error_px  median distance of followed corners from where the cameras put them, in pixels of 128
    least_track    frames for which a corner is followed before it is lost; not where a subject or the picture's edge ends it
    A background without corners says nothing against a camera, and nothing for it.
    """
    video, seen, scene = record.video, record.observation, record.scene
    assert video is not None
    assert seen is not None
    assert scene is not None
    masks = np.any([t.masks for t in seen.tracks], 0)
    error, length = track_errors(video.frames, masks, scene.cameras)
    record = record.scored(camera_error_px=error, camera_track_frames=length)
    if not any(t.category == "animal" for t in seen.tracks):
        return record
    if error > most_error_px:
        return record.filtered("camera", f"the camera is off by {error:.1f} px, at most {most_error_px:g} is asked")
    if length < min(least_track, len(masks) - 1):
        return record.filtered(
            "camera", f"the background is followed for {length:.1f} frames, at least {least_track:g} is asked"
        )
    return record


def track_errors(frames: np.ndarray, masks: np.ndarray, cameras: Cameras) -> tuple[float, float]:
    """Median reprojection error of background corners in pixels of 128, and frames for which one is followed, all that were
    seen for each one that was lost; NaN where there are no corners. Cameras are taken to turn and zoom only, as
    `camera_motion` finds them. The median, since a few tracks always slide along an edge (VGGSfM drops such outliers)."""
    grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]
    side = max(grey[0].shape)
    free = [cv2.erode((~m).astype(np.uint8), np.ones((WINDOW_PX, WINDOW_PX), np.uint8)) for m in masks]
    errors: list[float] = []
    seen = lost = 0
    for start in range(0, len(grey) - 1, START_EVERY):
        sharp = ((free[start] > 0) & (cv2.cornerMinEigenVal(grey[start], 3) >= LEAST_CORNER)).astype(np.uint8)
        found = cv2.goodFeaturesToTrack(grey[start], CORNERS, 1e-6, CORNER_APART * side, mask=sharp)
        if found is None:
            continue
        first = now = found.reshape(-1, 2)
        alive = np.ones(len(now), bool)
        for t in range(start + 1, min(start + 1 + 2 * START_EVERY, len(grey))):
            now, kept, inside = _followed(grey[t - 1], grey[t], now, BACK_PX * side / 128)
            x, y = (np.clip(now[:, k], 0, grey[t].shape[1 - k] - 1).astype(int) for k in (0, 1))
            alive &= inside & (free[t][y, x] > 0)
            lost += int((alive & ~kept).sum())
            alive &= kept
            if not alive.any():
                break
            seen += int(alive.sum())
            moved = _as_cameras_say(first[alive], cameras, start, t)
            errors += (np.linalg.norm(now[alive] - moved, axis=-1) * 128 / side).tolist()
    length = min(seen / max(lost, 1), len(grey) - 1) if seen or lost else float("nan")
    return (float(np.median(errors)) if errors else float("nan")), length


def _followed(
    before: np.ndarray, after: np.ndarray, points: np.ndarray, back_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in the next frame, whether each was found and comes back (Kalal et al. 2010), and is within the picture."""
    window, here = (WINDOW_PX, WINDOW_PX), points.reshape(-1, 1, 2).astype(np.float32)
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, here, None, winSize=window)  # type: ignore[call-overload]
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, winSize=window)  # type: ignore[call-overload]
    there, back = there.reshape(-1, 2), back.reshape(-1, 2)
    near = np.linalg.norm(back - points, axis=-1) < back_px
    inside = (there >= 0).all(-1) & (there < before.shape[::-1]).all(-1)
    return there, near & (found.ravel() > 0) & (returned.ravel() > 0), inside


def _as_cameras_say(points_px: np.ndarray, cameras: Cameras, a: int, b: int) -> np.ndarray:
    """Points infinitely far away, from frame a to frame b. OpenCV counts from the middle of the first pixel."""
    K, R = cameras.K.astype(float), cameras.T_camera_world[:, :3, :3].astype(float)
    H = K[b] @ R[b] @ R[a].T @ np.linalg.inv(K[a])
    rays = np.concatenate([points_px + 0.5, np.ones((len(points_px), 1))], 1) @ H.T
    return rays[:, :2] / rays[:, 2:] - 0.5


def only_valid(subject: Subject, valid: np.ndarray) -> Subject:
    """The subject, not valid where `valid` says so."""
    return replace(subject, motion=replace(subject.motion, valid=subject.motion.valid & valid))
