"""Stages that look: sampled frames, the filters of size and count, what is followed from frame one."""

import numpy as np
import pytest
from disturbed import Discs

from kinema.annotate.looking import COCO_NOUNS, first_boxes, follow_first, sample, sampled, see
from kinema.annotate.record import Record, Source
from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask
from kinema.extract.segmentation import Tracked
from kinema.types import Video


def record(frames, caption="a ball rolls"):
    return Record(Source("a", "", "0"), "a-000", caption=caption, fps=8.0, video=Video(frames, 8.0))


def discs(radius=8, frames=12, step=2, begin=0):
    y, x = np.mgrid[:48, :64]
    made = np.full((frames, 48, 64, 3), 40, np.uint8)
    for t in range(begin, frames):
        made[t, (x - 10 - step * t) ** 2 + (y - 24) ** 2 < radius**2] = (250, 20, 20)
    return made


class People(Discs):
    """Every column of red is a person."""

    def detect(self, frames):
        found = []
        for mask in (m for (m,) in self.segment(frames, [])):
            columns = np.flatnonzero(mask.any(0))
            pieces = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []
            found.append([
                Detection("human", "a person", box_of_mask(mask & np.isin(np.arange(mask.shape[1]), p)), 0.9)
                for p in pieces
            ])  # fmt: skip
        return found


def test_ten_frames_are_sampled_evenly_with_both_ends():
    assert sampled(100).tolist() == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert sampled(4).tolist() == [0, 1, 2, 3]
    assert sampled(1).tolist() == [0]


@pytest.mark.parametrize(("radius", "kept"), [(8, True), (3, False)])
def test_small_subjects_are_left_out(radius, kept):
    after = sample(record(discs(radius)), Discs(), 0.02, 5)
    assert after.quality["subject_share"] == pytest.approx(np.pi * radius**2 / (48 * 64), rel=0.15)
    assert (after.verdict is None) is kept
    if after.verdict:
        assert after.verdict.stage == "size"


def test_too_many_people_in_one_frame():
    frames = np.full((12, 48, 64, 3), 40, np.uint8)
    frames[:, 5:40, 2:60:10] = (250, 20, 20)
    assert sample(record(frames), People(), 0.02, 6).verdict is None
    after = sample(record(frames), People(), 0.02, 5)
    assert after.verdict is not None
    assert (after.verdict.stage, after.quality["most_people"]) == ("count", 6)


def test_nothing_that_can_be_followed():
    after = see(record(np.full((6, 48, 64, 3), 40, np.uint8)), Discs())
    assert after.verdict is not None
    assert after.verdict.stage == "seen"
    seen = see(record(discs()), Discs()).observation
    assert seen is not None
    assert seen.tracks[0].present.all()


def test_only_what_is_in_frame_one_is_followed():
    tracks = follow_first(record(discs()), Discs(), 8).observation
    assert tracks is not None
    (track,) = tracks.tracks
    assert track.label == "sports ball"
    np.testing.assert_array_equal(track.masks, discs()[..., 0] > 150)
    after = follow_first(record(discs(begin=3)), Discs(), 8)
    assert after.verdict is not None
    assert "first frame" in after.verdict.reason


class Asked(Discs):
    """A detector that is asked in words, and a segmenter that follows; both see the red disc."""

    def __init__(self):
        super().__init__()
        self.asked, self.detector, self.segmenter = [], self, self

    def ask(self, nouns):
        self.asked.append(nouns)

    def detect(self, frames):
        found = super().detect(frames)
        return found if "sports ball" in self.asked[-1] else [[]]

    def track(self):
        return self

    def step(self, frame, new=None):
        if new:
            self.numbers = list(new)
        (mask,) = Discs().segment(frame[None], [])
        return {n: Tracked(mask[0], 1.0) for n in self.numbers}


def test_all_80_nouns_are_asked_for_and_the_box_is_tracked():
    assert len(set(COCO_NOUNS)) == 80
    models = Asked()
    assert len(first_boxes(record(discs()), models)) == 1  # type: ignore[arg-type]
    assert sorted(noun for nouns in models.asked for noun in nouns) == sorted(COCO_NOUNS)
    after = follow_first(record(discs()), models, 8)  # type: ignore[arg-type]
    assert after.observation is not None
    np.testing.assert_array_equal(after.observation.tracks[0].masks, discs()[..., 0] > 150)
