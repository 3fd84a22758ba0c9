"""Scene cuts and shots."""

import numpy as np
import pytest

from kinema.annotate.cuts import divided, find_shots, scaled, scaled_frames, shot_videos, steady_rate
from kinema.errors import InputError
from kinema.video import write_video


def flat(*runs, hw=(32, 48)):
    """Frames of one colour each: (colour, how many)."""
    return [np.full((*hw, 3), colour, np.uint8) for colour, count in runs for _ in range(count)]


def test_hard_cuts_are_found_where_they_are():
    frames = flat(((200, 30, 30), 12), ((20, 60, 220), 9), ((30, 200, 40), 14))
    assert find_shots(frames, 8.0) == [(0, 12), (12, 21), (21, 35)]


def test_without_a_cut_there_is_one_shot_and_a_flash_is_none():
    assert find_shots(flat(((90, 90, 90), 20)), 8.0) == [(0, 20)]
    assert find_shots(flat(((90, 90, 90), 20)), 8.0, threshold=1.0) == [(0, 20)]
    shots = find_shots(flat(((200, 30, 30), 12), ((255, 255, 255), 1), ((200, 30, 30), 12)), 8.0)
    assert len(shots) <= 2
    with pytest.raises(InputError, match="no frames"):
        find_shots([], 8.0)


def test_long_shots_are_divided_evenly_and_nothing_is_lost():
    assert divided([(0, 5), (5, 30)], 10) == [(0, 5), (5, 13), (13, 21), (21, 30)]


def test_each_shot_has_its_own_frames():
    frames = [np.full((2, 2, 3), t, np.uint8) for t in range(20)]
    videos = dict(shot_videos(frames, [(2, 5), (9, 10)], 8.0))
    assert videos[0].frames[:, 0, 0, 0].tolist() == [2, 3, 4]
    assert videos[1].frames[:, 0, 0, 0].tolist() == [9]


def test_frames_are_made_smaller_but_never_larger(tmp_path):
    write_video(flat(((50, 60, 70), 4), hw=(40, 80)), tmp_path / "a.mp4", 8.0)
    assert [f.shape for f in scaled_frames(tmp_path / "a.mp4", None, 40)] == [(20, 40, 3)] * 4
    assert scaled(np.zeros((10, 20, 3), np.uint8), 40).shape == (10, 20, 3)
    assert steady_rate(tmp_path / "a.mp4", None) == (8.0, None)
    assert steady_rate(tmp_path / "a.mp4", 4.0) == (4.0, 4.0)
