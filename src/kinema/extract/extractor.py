"""The first stage: video -> scene (ReVision, section 4.2-S2): see, find the camera, fit bodies, lift objects.

Input: a video, and what is known already (an observation, cameras, a motion for the first frame). Output: a `Scene` in the
world: floor y = 0, metres up to what one view can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from scipy.ndimage import median_filter

from kinema.body.object_points import object_motion
from kinema.errors import InputError
from kinema.extract.camera_motion import camera_motion
from kinema.extract.depth_order import bodies_depth, in_seen_order, own_pixels
from kinema.extract.fitting import QUICK, THOROUGH, FitConfig, fit_bodies
from kinema.extract.hands_and_face import with_hands_and_face
from kinema.extract.lifter import Lift
from kinema.extract.observation import Observation, Track
from kinema.extract.regressor import Regressor
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject, Video

CameraMode = Literal["static", "pan-zoom", "colmap"]
DEPTH_FRAMES = 5
"""An object's estimated depth is the median over its mask and over this many frames."""


def extract(
    video: Video,
    prompt: str = "",
    observation: Observation | None = None,
    cameras: Cameras | None = None,
    hold_first: Sequence[BodyMotion | None] | None = None,
    regressor: Regressor | None = None,
    config: FitConfig = THOROUGH,
    camera: CameraMode = "pan-zoom",
) -> Scene:
    """The subjects of a video in the world, in the order of the observation's tracks.

    observation  what was seen; by default the shipped mini-perception looks
    cameras      known cameras; by default they are found, as `camera` says: "static", "pan-zoom" (`camera_motion`, which
                 also finds that it stands), or "colmap" for one that moves through space (`sfm_camera`)
    hold_first   for each track, a motion whose first frame and shape are right (`fitting.fit_bodies`)
    regressor    a 3D regressor of the user's, from which the fit of people starts (`regressor.py`)
    config       how long to fit
    Raises InputError where there is no subject, or the observation or the cameras are of another video.
    """
    if observation is None:
        from kinema.extract.observe import observe

        observation = observe(video)
    tracks = observation.tracks
    if not tracks:
        told = observation.told()
        raise InputError(
            "video", "shows no person, animal or object that was found" + (f" ({told})" if told else ""),
            expected="at least one, well visible",
            mend="give a picture in which the subject is larger, or the motion itself (--motion FILE)",
        )  # fmt: skip
    if observation.part_ids.shape != video.frames.shape[:3]:
        raise InputError(
            "observation", f"is of {observation.part_ids.shape}", f"{video.frames.shape[:3]}, as the video"
        )
    known = cameras is not None
    if cameras is None:
        cameras = _found_cameras(video, observation, camera)
    elif len(cameras.K) != len(video.frames):
        raise InputError("cameras", f"are {len(cameras.K)}", f"{len(video.frames)}, as the video has frames")
    alive = [k for k, t in enumerate(tracks) if t.category != "object"]
    held = None if hold_first is None else [hold_first[k] for k in alive]
    lifts = {} if regressor is None else _lifted(regressor, video, [tracks[k] for k in alive], cameras)
    bodies, cameras = fit_bodies(
        [tracks[k] for k in alive], cameras, video.fps, observation.depth_m, observation.part_ids, known, held, config,
        lifts,
    )  # fmt: skip
    bodies = [with_hands_and_face(b, tracks[k], cameras) for k, b in zip(alive, bodies, strict=True)]
    scale = _depth_scale([tracks[k] for k in alive], bodies, cameras, observation.depth_m)
    motions: dict[int, BodyMotion | ObjectMotion] = dict(zip(alive, bodies, strict=True))
    masks = [t.masks & t.present[:, None, None] for t in tracks]
    drawn_m = bodies_depth(bodies, cameras) if 0 < len(alive) < len(tracks) else None
    seen = np.any([masks[k] for k in alive], 0)
    for k, track in enumerate(tracks):
        if track.category == "object":
            depth_m = _steady_depth(track, observation.depth_m * scale)
            if drawn_m is not None:
                # Where outlines are not to be trusted, colours at edges are not either.
                own = own_pixels(masks[k], seen, video.frames) if config.outline_rounds else masks[k]
                depth_m = in_seen_order(depth_m, masks[k], own, drawn_m)
                masks[k] = own
            flat = np.broadcast_to(depth_m[:, None, None], masks[k].shape)
            motions[k] = object_motion(masks[k], flat, cameras, video.fps)
    if not bodies and not known:
        motions, cameras = _stood_on_floor(motions, cameras)
    subjects = tuple(Subject(k, t.label, "", motions[k]) for k, t in enumerate(tracks))
    return Scene(subjects, cameras, prompt)


def _found_cameras(video: Video, observation: Observation, mode: CameraMode) -> Cameras:
    """The cameras as far as frames and depths tell them, in a world of their own."""
    if mode not in get_args(CameraMode):
        raise InputError("camera", f"is {mode!r}", "one of " + ", ".join(get_args(CameraMode)))
    tracks = observation.tracks
    masks = np.any([t.masks for t in tracks], 0)
    if mode == "static":
        return camera_motion(Video(np.zeros_like(video.frames), video.fps))
    if mode == "pan-zoom":
        return camera_motion(video, masks)
    from kinema.extract.sfm_camera import moving_cameras, scaled, without_place

    moved = moving_cameras(video, masks)
    alive = [t for t in tracks if t.category != "object"]
    bodies, placed = fit_bodies(alive, without_place(moved), video.fps, observation.depth_m, config=QUICK)
    scale = _depth_scale(alive, bodies, placed, observation.depth_m)
    return scaled(moved, observation.depth_m * scale)


def _lifted(regressor: Regressor, video: Video, tracks: Sequence[Track], cameras: Cameras) -> dict[int, Lift]:
    """{number of a person's track: what the regressor says of it}."""
    found = {k: regressor.lift(video.frames, t, cameras) for k, t in enumerate(tracks) if t.category == "human"}
    return {k: lift for k, lift in found.items() if lift is not None}


def _depth_scale(tracks: Sequence[Track], bodies: Sequence[BodyMotion], cameras: Cameras, depth_m: np.ndarray) -> float:
    """What estimated depths are to be multiplied by to be those of the bodies; 1 where nothing tells."""
    ratios = []
    for track, body in zip(tracks, bodies, strict=True):
        T = cameras.T_camera_world
        away = (T[:, 2, :3] * body.root_translation_m).sum(1) + T[:, 2, 3]
        for t in np.flatnonzero(track.present):
            seen = depth_m[t][track.masks[t]]
            seen = seen[np.isfinite(seen) & (seen > 0)]
            if len(seen):
                ratios.append(away[t] / np.median(seen))
    return float(np.median(ratios)) if ratios else 1.0


def _steady_depth(track: Track, depth_m: np.ndarray) -> np.ndarray:
    """[T] one depth a frame: estimates bleed at the edge of small things, where their contour is. inf: none at all."""
    found = np.full(len(depth_m), np.nan)
    for t in np.flatnonzero(track.present):
        seen = depth_m[t][track.masks[t]]
        seen = seen[np.isfinite(seen) & (seen > 0)]
        found[t] = np.median(seen) if len(seen) else np.nan
    known = np.flatnonzero(np.isfinite(found))
    if len(known) == 0:
        return np.full(len(found), np.inf, np.float32)
    steady = median_filter(np.interp(np.arange(len(found)), known, found[known]), DEPTH_FRAMES, mode="nearest")
    return steady.astype(np.float32)


def _stood_on_floor(motions: dict, cameras: Cameras) -> tuple[dict, Cameras]:
    """Objects alone: the lowest point of the clip on the floor, the middle at x = z = 0."""
    points = np.concatenate([m.points_m[m.valid] for m in motions.values()])
    if not len(points):
        return motions, cameras
    off = np.array([points[..., 0].mean(), points[..., 1].min(), points[..., 2].mean()], np.float32)
    T = cameras.T_camera_world.copy()
    T[:, :3, 3] += T[:, :3, :3] @ off
    return {k: replace(m, points_m=m.points_m - off) for k, m in motions.items()}, replace(cameras, T_camera_world=T)
