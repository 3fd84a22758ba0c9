"""A clip through ReVision's recipe with a perception that sees hands."""

import numpy as np

from kinema.annotate.codec import clip_of, members_of
from kinema.annotate.recipes import Common, Models, Revision, clip_stages, versions
from kinema.annotate.record import AnnotatedClip, Record, Source, annotated
from kinema.body.model import joints
from kinema.body.skeleton import BODY_JOINT_COUNT
from kinema.camera import fixed_cameras, project
from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import Keypoints
from kinema.types import BodyMotion, Video
from painted import paint
from painted import scene as scene_of
from tests.extract.scenes import gesturing, hand_points, walker

FRAMES = 4
LENIENT = Revision(
    Common(), least_share=0.0, least_motion=0.0, least_outline=0.0, least_iou=0.1, least_joints=0.0, least_frames=0.1
)


class Knowing:
    """A perception that knows one person."""

    def __init__(self, masks: np.ndarray, points: np.ndarray, hands: np.ndarray):
        self.masks, self.points, self.hands = masks, points, hands

    def detect(self, frames):
        return [[Detection("human", "a person", box_of_mask(m), 1.0)] for m in self.masks[: len(frames)]]

    def segment(self, frames, detections):
        return list(self.masks[: len(frames), None])

    def keypoints(self, frames, detections, masks):
        sure = np.full(BODY_JOINT_COUNT, 0.9, np.float32)
        return [[Keypoints(self.points[t], sure, self.hands[t])] for t in range(len(frames))]

    def depth(self, frames):
        return np.where(self.masks[: len(frames)], np.float32(3), np.float32(np.inf))

    def parts(self, frames):
        return np.zeros(frames.shape[:3], np.uint8)


def through_the_recipe(video: Video, perception: Knowing) -> AnnotatedClip:
    models = Models(LENIENT.common)
    models._perception = perception
    record = Record(Source("a", "", "0"), "a-000", caption="a man walks", fps=8.0, end_frame=FRAMES, video=video)
    for stage in clip_stages(LENIENT, models):
        record = stage.run(record)
        assert record.verdict is None, record.verdict
    return annotated(record, "revision", {})


def test_hands_reach_the_shard_and_the_fit():
    """Fists that open."""
    curls = np.broadcast_to(np.linspace(1, 0.2, FRAMES)[:, None, None], (FRAMES, 2, 5))
    motion = gesturing(walker(FRAMES), curls)
    cameras = fixed_cameras(joints(motion), (160, 160), 0.6, np.radians(8))
    frames, ids = paint(scene_of([motion], cameras))
    points = project(joints(motion)[:, :BODY_JOINT_COUNT], cameras)[0].astype(np.float32)
    at = project(hand_points(motion).reshape(FRAMES, -1, 3), cameras)[0].reshape(FRAMES, 2, 21, 2)
    hands = np.concatenate([at, np.full((FRAMES, 2, 21, 1), 0.9)], -1).astype(np.float32)
    clip = through_the_recipe(Video(frames, 8.0), Knowing(ids == 1, points, hands))
    back = clip_of(members_of(clip), "s.tar, key 'a'")
    np.testing.assert_array_equal(back.hands[0], hands)
    assert back.scene is not None
    found = back.scene.subjects[0].motion
    assert isinstance(found, BodyMotion)
    assert (found.confidence[:, 25:].mean(0) > 0.4).all()
    bends = [np.linalg.norm(m.rotvec[:, 25:], axis=-1).mean(1) for m in (found, motion)]
    np.testing.assert_allclose(*bends, atol=0.25)
    assert bends[0][0] > bends[0][-1] + 0.3


def test_only_runs_that_may_see_hands_have_another_version():
    mini, public = (versions(Revision(Common(perception=name)))["place"] for name in ("mini", "public"))
    assert (mini, public) == ("1", "2")
