"""Stages that draw the fits over the frames: part masks, and the filters of IoU, joints and PSNR (ReVision, appendix B).

Record -> record. A frame of a person whose drawn mask or joints do not lie on the mask that was seen is not valid; so is an
animal's segment by IoU or PSNR. A clip in which nothing is left is left out.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from kinema.annotate.fits import only_valid
from kinema.annotate.record import Record
from kinema.body.model import joints, load_body
from kinema.body.skeleton import PART_IDS
from kinema.camera import project
from kinema.extract.observation import KEYPOINTS, Track
from kinema.reinforce.skin_texture import rest_vertices
from kinema.render.control_maps import render_maps
from kinema.render.rasterizer import Mesh, Surface, rasterize_surface
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject

SURE = 0.3
"""A joint counts from this confidence on."""
REACH_PX = 3.0
"""A joint lies on its mask up to this far outside of it, in pixels of 128; detected ones are often near the rim."""
CELL_M = 0.08
"""Size of the pieces of a body that have one colour each: some hundred, fewer than a segment has pixels of it."""
MOST_PSNR_DB = 60.0
"""Of a perfect copy."""
CONTRAST_DB = 1.0
"""Better than in one colour for all: where that one is below the PSNR asked, as of a patched coat, so much is enough."""
STEP_S = 0.25
"""Between two looks at where a joint or an object's centre is: fits and masks tremble from frame to frame."""
FASTEST = 3
"""Joints that must move together: one alone may tremble, and an arm that waves moves three."""


def agree(
    record: Record,
    least_iou: float,
    least_joints: float,
    least_animal_iou: float,
    least_psnr_db: float,
    least_frames: float,
) -> Record:
    """Frames and segments whose fit does not agree with what was seen become not valid.

    least_iou     of a person's drawn body with the mask seen, frame by frame; of an animal's: segment by segment
    least_joints  share of a person's sure joints that lie on the mask
    least_psnr_db of an animal painted with its own colours, segment by segment; of a coat with contrasts `CONTRAST_DB` more
                  than in one colour
    least_frames  share of the frames in which a subject was seen that must be left; else none of its frames is valid
    Left out: a clip in which no body is valid anywhere though there was one, unless objects remain.
    """
    scene, seen, video = record.scene, record.observation, record.video
    assert scene is not None
    assert seen is not None
    assert video is not None
    drawn = drawn_subjects(scene)
    subjects, overlaps, inside, likeness = [], [], [], []
    for k, (subject, track) in enumerate(zip(scene.subjects, seen.tracks, strict=True)):
        if not isinstance(subject.motion, BodyMotion):
            subjects.append(subject)
            continue
        iou = frame_iou(drawn == k + 1, track.masks)
        good = subject.motion.valid & track.present
        if subject.motion.category == "human":
            share = joints_on_mask(track)
            inside += share[good].tolist()
            good &= (iou >= least_iou) & (share >= least_joints)
        else:
            psnr = segment_psnr_db(subject, scene.cameras, video.frames, track, record.segments[k])
            likeness += [p for p, _ in psnr if np.isfinite(p)]
            good &= _good_segments(iou, track.present & good, record.segments[k], psnr, least_animal_iou, least_psnr_db)
        overlaps += iou[track.present].tolist()
        if good.sum() < least_frames * track.present.sum():
            good[:] = False
        subjects.append(only_valid(subject, good))
    bodies = [s.motion.valid for s in subjects if isinstance(s.motion, BodyMotion)]
    record = replace(record, scene=replace(scene, subjects=tuple(subjects)))
    scores = {
        "iou": overlaps,
        "joints_on_mask": inside,
        "psnr_db": likeness,
        "valid_share": np.concatenate(bodies or [[]]),
    }
    record = record.scored(**{name: float(np.mean(v)) for name, v in scores.items() if len(v)})
    others = any(isinstance(s.motion, ObjectMotion) and s.motion.valid.any() for s in subjects)
    if bodies and not any(v.any() for v in bodies) and not others:
        told = f"mean IoU {np.mean(overlaps):.2f}" + (f", PSNR {np.mean(likeness):.1f} dB" if likeness else "")
        return record.filtered("fit", f"no body agrees with its mask ({told})")
    return record


def _good_segments(
    iou: np.ndarray,
    seen: np.ndarray,
    spans: tuple[tuple[int, int], ...],
    psnr: list[tuple[float, float]],
    least: float,
    least_db: float,
) -> Bool[np.ndarray, " T"]:
    good = np.zeros(len(iou), bool)
    for (first, end), (likeness, flat) in zip(spans, psnr, strict=True):
        now = seen[first:end]
        enough = likeness >= min(least_db, flat + CONTRAST_DB)
        if now.any() and iou[first:end][now].mean() >= least and enough:
            good[first:end] = True
    return good


def draw_parts(record: Record) -> Record:
    """Part masks: the bodies that are valid, drawn; objects where they were seen, in front of or behind them as drawn."""
    scene, seen = record.scene, record.observation
    assert scene is not None
    assert seen is not None
    parts = np.zeros(seen.part_ids.shape, np.uint8)
    bodies = [s for s in scene.subjects if isinstance(s.motion, BodyMotion) and s.motion.valid.any()]
    if bodies:
        found = render_maps(replace(scene, subjects=tuple(bodies)), maps="parts").part_ids
        assert found is not None, "the map that was asked for"
        parts = found.copy()
    for subject, track in zip(scene.subjects, seen.tracks, strict=True):
        if isinstance(subject.motion, ObjectMotion):
            parts[track.masks & track.present[:, None, None]] = PART_IDS["object"]
    return replace(record.scored(speed_m_s=speed_m_s(scene)), part_ids=parts)


def judge_motion(record: Record, least_motion: float, least_outline: float) -> Record:
    """Left out: a clip in which no subject moves evidently, as its caption may not tell. Joints and outline must both do so:
    fitted joints tremble where they are hardly seen, and masks flicker.

    least_motion   of the picture's longer side a second, by the joints or object that move most, without the camera
    least_outline  of the same, by the outlines on average
    """
    scene, seen = record.scene, record.observation
    assert scene is not None
    assert seen is not None
    found = [
        (picture_speed(subject, scene.cameras), outline_speed(track, seen.fps))
        for subject, track in zip(scene.subjects, seen.tracks, strict=True)
    ]
    record = record.scored(motion=max(m for m, _ in found), outline_motion=max(o for _, o in found))
    if any(m >= least_motion and o >= least_outline for m, o in found):
        return record
    told = ", ".join(f"joints {m:.1%} and outline {o:.1%} of the picture a second" for m, o in found)
    return record.filtered("motion", f"{told}; {least_motion:.1%} and {least_outline:.1%} are asked")


def outline_speed(track: Track, fps: float) -> float:
    """Shares of the picture's longer side a second: what comes to a mask and goes from it, by the length of its outline."""
    apart = max(1, round(STEP_S * fps))
    ways = []
    for t in np.flatnonzero(track.present[:-apart] & track.present[apart:]):
        mask = track.masks[t]
        rim = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).sum() / 2
        ways.append((mask ^ track.masks[t + apart]).sum() / max(1, rim))
    return float(np.mean(ways)) / max(track.masks.shape[1:]) / (apart / fps) if ways else 0.0


def picture_speed(subject: Subject, cameras: Cameras) -> float:
    """Shares of the picture's longer side a second: on average of the three joints that move most, or an object's centre; as
    a camera that stands would see it. 0 where it is never valid."""
    motion = subject.motion
    if isinstance(motion, BodyMotion):
        points = joints(motion)[:, : len(KEYPOINTS[motion.category])]
    else:
        points = motion.points_m[:, -1:]
    apart = max(1, round(STEP_S * motion.fps))
    before, after = slice(None, -apart), slice(apart, None)
    both = motion.valid[before] & motion.valid[after]
    if not both.any():
        return 0.0
    standing = Cameras(cameras.K[before], cameras.T_camera_world[before], cameras.image_hw)
    way_px = np.linalg.norm(project(points[after], standing)[0] - project(points[before], standing)[0], axis=-1)
    fastest = np.sort(way_px[both].mean(0))[-FASTEST:]
    return float(fastest.mean()) / max(cameras.image_hw) / (apart / motion.fps)


def speed_m_s(scene: Scene) -> float:
    """Mean speed of the joints or points of the subject that moves most, over frames that are valid one after the other."""
    speeds = [0.0]
    for motion in (s.motion for s in scene.subjects):
        points = joints(motion) if isinstance(motion, BodyMotion) else motion.points_m
        step = np.linalg.norm(np.diff(points, axis=0), axis=-1).mean(-1) * motion.fps
        speeds += [float(step[both].mean())] if (both := motion.valid[1:] & motion.valid[:-1]).any() else []
    return max(speeds)


def drawn_subjects(scene: Scene) -> UInt8[np.ndarray, "T H W"]:
    """0, or 1 + index of the subject that is seen there, where bodies and objects are drawn together."""
    found = render_maps(scene, maps="mask").subject_ids
    assert found is not None, "the map that was asked for"
    return found


def frame_iou(a: Bool[np.ndarray, "T H W"], b: Bool[np.ndarray, "T H W"]) -> Float[np.ndarray, " T"]:
    """Intersection over union of each frame; 0 where both are empty."""
    return (a & b).sum((1, 2)) / np.maximum((a | b).sum((1, 2)), 1)


def joints_on_mask(track: Track) -> Float[np.ndarray, " T"]:
    """Share of the sure joints that lie on the mask, each frame; 1 where no joint is sure: nothing speaks against it."""
    height, width = track.masks.shape[1:]
    reach = max(1, round(REACH_PX * max(height, width) / 128))
    shares = np.ones(len(track.present))
    for t in np.flatnonzero(track.present):
        sure = track.keypoint_confidence[t] >= SURE
        if not sure.any():
            continue
        around = cv2.dilate(track.masks[t].astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        x, y = np.floor(track.keypoints_px[t, sure]).astype(int).T
        shown = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        on = around[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] > 0
        shares[t] = (shown & on).mean()
    return shares


def segment_psnr_db(
    subject: Subject, cameras: Cameras, frames: np.ndarray, track: Track, spans: tuple[tuple[int, int], ...]
) -> list[tuple[float, float]]:
    """PSNR of each segment (Huynh-Thu and Ghanbari 2008): the body in the mean colours that its pieces of `CELL_M` have in
    the segment, against the frames, where it is drawn on its mask; and that of one mean colour. NaN: it is drawn nowhere.

    A pose that slides over the animal mixes its colours with one another and with the background's.
    """
    motion = subject.motion
    assert isinstance(motion, BodyMotion)
    body = load_body(motion.category, detail="low")
    places = np.floor(rest_vertices(body, motion) / CELL_M).astype(int)
    cells = np.unique(places, axis=0, return_inverse=True)[1].ravel()
    found = []
    for first, end in spans:
        cut = slice(first, end)
        vertices = body.vertices(motion[cut]).copy()
        vertices[~motion.valid[cut]] = np.nan
        if not motion.valid[cut].any():
            found.append((float("nan"), float("nan")))
            continue
        mesh = Mesh(vertices, body.faces, body.vertex_parts, 1)
        view = Cameras(cameras.K[cut], cameras.T_camera_world[cut], cameras.image_hw)
        surface = rasterize_surface([mesh], view)
        shown = (surface.face_ids >= 0) & track.masks[cut]
        found.append((_psnr_db(surface, cells, shown, frames[cut]), _psnr_db(surface, 0 * cells, shown, frames[cut])))
    return found


def _psnr_db(surface: Surface, cells: np.ndarray, shown: np.ndarray, frames: np.ndarray) -> float:
    """cells [V]: the piece of the body that each vertex belongs to. A pixel is of its face's nearest corner's."""
    if not shown.any():
        return float("nan")
    extended = np.concatenate([cells, cells[surface.edges[0][:, 0]]])
    corners, nearest = surface.faces[surface.face_ids[shown]], surface.weights[shown].argmax(1)
    cell = extended[corners[np.arange(len(corners)), nearest]]
    colours = frames[shown].astype(float)
    count = np.maximum(np.bincount(cell), 1)
    means = np.stack([np.bincount(cell, colours[:, c]) / count for c in range(3)], -1)
    error = float(np.square(means[cell] - colours).mean())
    return min(MOST_PSNR_DB, 10 * float(np.log10(255**2 / error))) if error > 0 else MOST_PSNR_DB
