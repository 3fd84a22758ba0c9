"""Bodies against what was seen: frames and segments that disagree go, the others stay; part masks; cameras."""

from dataclasses import replace

import numpy as np
import pytest

from kinema.annotate import agreement, fits
from kinema.annotate.record import Record, Source
from kinema.body.gaits import gait
from kinema.body.model import joints
from kinema.body.skeleton import PART_IDS
from kinema.camera import fixed_cameras, project
from kinema.extract.instances import box_of_mask
from kinema.extract.observation import Observation, Track
from kinema.types import Cameras, Video
from painted import backdrop, camera, paint, standing
from painted import scene as scene_of

FRAMES = 12


def seen_scene(category="human", also=None):
    """A body that glides, painted, and perception without error."""
    root = np.stack([np.linspace(-0.4, 0.4, FRAMES), np.full(FRAMES, 0.1), np.zeros(FRAMES)], 1)
    scene = scene_of([standing(root, category)], camera(FRAMES, hw=(96, 96)))
    frames, ids = paint(scene)
    masks = ids == 1
    boxes = np.stack([box_of_mask(m) for m in masks]).astype(np.float32)
    joints = np.zeros((FRAMES, 1, 2), np.float32)
    for t in range(FRAMES):
        joints[t, 0] = np.argwhere(masks[t]).mean(0)[::-1] + 0.5
    sure = np.full((FRAMES, 1), 0.9, np.float32)
    track = Track(category, "it", np.ones(FRAMES, bool), boxes, masks, joints, sure)
    seen = Observation((track,), np.zeros(ids.shape, np.uint8), np.full(ids.shape, 3, np.float32), 8.0)
    return Record(
        Source("a", "", "0"), "a-000", fps=8.0, video=Video(frames, 8.0), observation=seen, scene=scene,
        segments=(((0, 6), (6, 12)),),
    )  # fmt: skip


def moved(record, metres, frames=slice(None)):
    """The same with the body elsewhere in some frames."""
    (subject,) = record.scene.subjects
    root = subject.motion.root_translation_m.copy()
    root[frames, 0] += metres
    subject = replace(subject, motion=replace(subject.motion, root_translation_m=root))
    return replace(record, scene=replace(record.scene, subjects=(subject,)))


def valid(record):
    return record.scene.subjects[0].motion.valid


def test_a_person_that_agrees_stays_and_is_drawn():
    record = agreement.draw_parts(agreement.agree(seen_scene(), 0.5, 0.8, 0.5, 18.0, 0.5))
    assert record.verdict is None
    assert valid(record).all()
    assert record.quality["iou"] > 0.75
    masks = record.observation.tracks[0].masks
    assert ((record.part_ids > 0) & masks).sum() > 0.9 * masks.sum()
    assert PART_IDS["head"] in record.part_ids
    assert record.quality["speed_m_s"] == pytest.approx(0.8 / (FRAMES - 1) * 8, rel=0.02)


def test_frames_of_a_person_that_disagree_go():
    record = agreement.agree(moved(seen_scene(), 1.5, slice(0, 3)), 0.5, 0.8, 0.5, 18.0, 0.5)
    assert valid(record).tolist() == [False] * 3 + [True] * 9
    parts = agreement.draw_parts(record).part_ids
    assert not parts[:3].any()
    assert parts[3:].any((1, 2)).all()


def test_joints_off_the_mask_and_too_few_good_frames():
    record = seen_scene()
    (track,) = record.observation.tracks
    off = replace(
        track, keypoints_px=np.where(np.arange(FRAMES)[:, None, None] < 7, 1.0, track.keypoints_px).astype("f4")
    )
    record = replace(record, observation=replace(record.observation, tracks=(off,)))
    few = agreement.agree(record, 0.5, 0.8, 0.5, 18.0, 0.3)
    assert valid(few).tolist() == [False] * 7 + [True] * 5
    none = agreement.agree(record, 0.5, 0.8, 0.5, 18.0, 0.5)
    assert not valid(none).any()
    assert none.verdict is not None
    assert none.verdict.stage == "fit"


def test_animals_go_segment_by_segment(monkeypatch):
    record = agreement.agree(moved(seen_scene("animal"), 0.8, slice(6, 10)), 0.5, 0.8, 0.5, 10.0, 0.3)
    assert valid(record).tolist() == [True] * 6 + [False] * 6
    monkeypatch.setattr(agreement, "CONTRAST_DB", 50.0)
    bad = agreement.agree(seen_scene("animal"), 0.5, 0.8, 0.5, 59.9, 0.3)
    assert not valid(bad).any()
    assert "PSNR" in bad.verdict.reason


def test_psnr_falls_where_the_pose_slides_over_the_animal():
    record = seen_scene("animal")
    (track,), (subject,) = record.observation.tracks, record.scene.subjects
    there = agreement.segment_psnr_db(subject, record.scene.cameras, record.video.frames, track, ((0, 12),))
    wobbling = moved(record, np.where(np.arange(FRAMES) % 2, 0.15, -0.15)).scene.subjects[0]
    off = agreement.segment_psnr_db(wobbling, record.scene.cameras, record.video.frames, track, ((0, 12),))
    assert there[0][0] > 22
    assert off[0][0] < there[0][0] - 1.5
    assert there[0][0] > there[0][1] + 3, "its pieces tell more than one colour"


def test_a_patched_coat_is_judged_by_its_contrasts():
    """At 60 dB nothing would pass; what counts is how much better the pieces are than one colour for all."""
    seen, good = np.ones(12, bool), np.full(12, 0.9)
    spans = ((0, 6), (6, 12))
    found = agreement._good_segments(good, seen, spans, [(17.0, 14.0), (17.0, 16.5)], 0.5, 18.0)
    assert found.tolist() == [True] * 6 + [False] * 6
    plain = agreement._good_segments(good, seen, spans, [(19.0, 18.8), (float("nan"), float("nan"))], 0.5, 18.0)
    assert plain.tolist() == [True] * 6 + [False] * 6


def test_a_clip_in_which_nothing_moves_goes_though_the_camera_does():
    moves = agreement.judge_motion(seen_scene(), 0.1, 0.02)
    assert moves.verdict is None
    walks = project(np.array([[[-0.4, 0.9, 0.0]], [[0.4, 0.9, 0.0]]]), pair(moves.scene.cameras, 0, -1))[0][:, 0]
    assert moves.quality["motion"] == pytest.approx(np.ptp(walks[:, 0]) / 96 / ((FRAMES - 1) / 8), rel=0.15)
    (subject,) = moves.scene.subjects
    root = np.broadcast_to(subject.motion.root_translation_m[:1], (FRAMES, 3)).copy()
    still = replace(subject, motion=replace(subject.motion, root_translation_m=root))
    panned = replace(moves.scene, subjects=(still,), cameras=camera(FRAMES, pan_rad=np.linspace(0, 0.5, FRAMES)))
    after = agreement.judge_motion(replace(moves, scene=panned), 0.1, 0.02)
    assert after.quality["motion"] < 1e-4
    assert after.verdict is not None
    assert after.verdict.stage == "motion"
    (track,) = moves.observation.tracks
    flickers = replace(track, masks=np.broadcast_to(track.masks[:1], track.masks.shape).copy())
    trembles = replace(moves, observation=replace(moves.observation, tracks=(flickers,)))
    assert agreement.judge_motion(trembles, 0.1, 0.02).verdict is not None


def pair(cameras, *frames):
    return Cameras(cameras.K[[*frames]], cameras.T_camera_world[[*frames]], cameras.image_hw)


def test_segments_of_ten_frames():
    assert list(fits._spans(30)) == [(0, 10), (10, 20), (20, 30)]
    assert list(fits._spans(23)) == [(0, 10), (10, 23)]
    assert list(fits._spans(26)) == [(0, 10), (10, 20), (20, 26)]
    assert list(fits._spans(4)) == [(0, 4)]


def test_cameras_that_explain_the_background_and_those_that_do_not():
    pan = np.linspace(0, 0.12, FRAMES)
    true, still = camera(FRAMES, pan_rad=pan), camera(FRAMES)
    frames = backdrop(true).round().clip(0, 255).astype(np.uint8)
    nothing = np.zeros(frames.shape[:3], bool)
    error, length = fits.track_errors(frames, nothing, true)
    assert error < 0.7
    assert length > 5
    assert fits.track_errors(frames, nothing, still)[0] > 3
    crossed = frames.copy()  # a few corners that ride on something that perception missed
    for t in range(FRAMES):
        crossed[t, 20:28, 8 + 5 * t : 16 + 5 * t] = (150, 140, 80)
    assert fits.track_errors(crossed, nothing, true)[0] < 1.5
    hazy = (100 + 0.5 * np.random.default_rng(0).standard_normal(frames.shape)).astype(np.uint8)
    assert np.isnan(fits.track_errors(hazy, nothing, still)).all(), "noise has no corners"
    flat = np.full_like(frames, 90)
    assert np.isnan(fits.track_errors(flat, nothing, true)).all()
    record = seen_scene("animal")
    wrong = replace(
        record, video=Video(frames, 8.0), scene=replace(record.scene, cameras=still),
        observation=replace(record.observation, tracks=(replace(record.observation.tracks[0], masks=nothing),)),
    )  # fmt: skip
    after = fits.judge_camera(wrong, 1.5, 5.0)
    assert after.verdict is not None
    assert after.verdict.stage == "camera"


def test_an_animal_is_fitted_in_each_segment_apart():
    """From true joints, with the last segment out of sight."""
    motion, _ = gait("walk", 27 / 8, 8.0, 3)
    motion = motion[:26]
    cameras = fixed_cameras(joints(motion), (128, 128), 0.6, np.radians(8))
    pixels = project(joints(motion), cameras)[0].astype(np.float32)
    masks = np.zeros((26, 128, 128), bool)
    for t, points in enumerate(pixels):
        (x0, y0), (x1, y1) = points.min(0).astype(int), points.max(0).astype(int)
        masks[t, y0 : y1 + 1, x0 : x1 + 1] = True
    present = np.arange(26) < 20
    boxes = np.stack([box_of_mask(m) for m in masks]).astype(np.float32)
    track = Track("animal", "a dog", present, boxes, masks, pixels, np.full(pixels.shape[:2], 0.9, np.float32))
    nothing = np.zeros(masks.shape, np.uint8)
    seen = Observation((track,), nothing, np.full(masks.shape, np.inf, np.float32), 8.0)
    scene = scene_of([moved_motion(motion, 3.0)], cameras)
    after = fits.fit_animals(Record(Source("a", "", "0"), "a-000", observation=seen, scene=scene))
    assert after.segments == (((0, 10), (10, 20), (20, 26)),)
    found = after.scene.subjects[0].motion
    np.testing.assert_array_equal(found.valid, present)
    off = np.linalg.norm(joints(found)[present] - joints(motion)[present], axis=-1)
    assert off.mean() < 0.25


def moved_motion(motion, metres):
    return replace(motion, root_translation_m=motion.root_translation_m + np.array([metres, 0, 0], np.float32))
