"""Windows and their seams: everything is covered, once; constants stay; memory stays."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.reinforce.windows import blend_stream, ramp_weights, usual_overlap, windows

layouts = st.integers(1, 24).flatmap(
    lambda length: st.tuples(st.integers(1, 90), st.just(length), st.integers(0, length - 1))
)


def test_the_papers_windows_and_the_same_at_another_length():
    assert windows(80, 32) == [slice(0, 32), slice(24, 56), slice(48, 80)]
    assert usual_overlap(16) == 4
    assert windows(32, 16) == [slice(0, 16), slice(12, 28), slice(16, 32)]
    assert windows(16, 16) == windows(16, 32) == [slice(0, 16)]


@given(layouts)
def test_windows_are_whole_and_cover_everything(layout):
    total, length, overlap = layout
    cut = windows(total, length, overlap)
    assert {w.stop - w.start for w in cut} == {min(length, total)}
    assert sorted({t for w in cut for t in range(w.start, w.stop)}) == list(range(total))
    assert all(a.stop - b.start >= overlap for a, b in pairwise(cut))
    assert all(a.start < b.start for a, b in pairwise(cut))


@given(layouts, st.integers(0, 255))
def test_a_constant_stays_and_no_frame_is_lost_or_doubled(layout, value):
    cut = windows(*layout)
    clips = ((w, np.full((w.stop - w.start, 2, 3, 3), value, np.uint8)) for w in cut)
    frames = list(blend_stream(clips))
    assert len(frames) == layout[0]
    assert all(frame.dtype == np.uint8 and (frame == value).all() for frame in frames)


@given(layouts)
def test_frames_that_agree_come_out_in_order(layout):
    total = layout[0]
    truth = np.arange(total, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 3), np.float32)
    frames = list(blend_stream((w, truth[w]) for w in windows(*layout)))
    np.testing.assert_allclose(frames, truth, atol=1e-3)


def test_the_new_clip_takes_over_linearly():
    clips = [(w, np.full((8, 1, 1, 3), float(k), np.float32)) for k, w in enumerate(windows(12, 8, 4))]
    levels = [float(frame[0, 0, 0]) for frame in blend_stream(clips)]
    np.testing.assert_allclose(levels, [0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1], atol=1e-6)
    falling = ramp_weights(4)[::-1]
    np.testing.assert_allclose(ramp_weights(4) + falling, 1)


def test_frames_come_as_soon_as_they_are_final():
    asked = []

    def clips():
        for window in windows(28, 16, 4):
            asked.append(window.start)
            yield window, np.zeros((16, 1, 1, 3), np.uint8)

    stream = blend_stream(clips())
    for _ in range(12):
        next(stream)
    assert asked == [0, 12]


def test_memory_does_not_grow_with_the_video():
    def peak(total):
        clips = ((w, np.zeros((16, 64, 64, 3), np.uint8)) for w in windows(total, 16))
        tracemalloc.start()
        count = sum(1 for _ in blend_stream(clips))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == total
        return most

    assert peak(400) < 1.2 * peak(40)


def test_a_gap_between_windows_is_our_own_mistake():
    clips = [(slice(0, 2), np.zeros((2, 1, 1, 3))), (slice(3, 5), np.zeros((2, 1, 1, 3)))]
    with pytest.raises(AssertionError, match="gap"):
        list(blend_stream(clips))
