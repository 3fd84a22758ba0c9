"""Long videos: how clips join, what they are made from, that a stopped run goes on, and that memory stays flat."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cogvideox import moving_masks, tiny_model

from kinema.errors import InputError
from kinema.mvideo import animate, background_of, clip_seed, gone_on_from, joined, look_of, masks_of_clip, matched
from kinema.reinforce.cogvideox import ClipSettings
from kinema.types import MaskSequence
from kinema.video import read_video

FPS, STEP = 8.0, 8


class Counting:
    """A model whose frames say which moment they show; clips go on from the one before. It can be told to die."""

    def __init__(self, size=(16, 16), dies_at=None):
        self.clip = ClipSettings(STEP + 1, size, size, FPS, steps=2)
        self.identity, self.dies_at, self.calls = "counting", dies_at, []

    def generate(self, prompt, seed, masks=None, before=None, progress=None):
        if len(self.calls) == self.dies_at:
            raise KeyboardInterrupt
        self.calls.append((prompt, seed, masks, None if before is None else before.copy()))
        if progress:
            progress(1, 2)
            progress(2, 2)
        first = 0 if before is None else int(before[-1, 0, 0, 0])
        width, height = self.clip.size
        return np.stack([np.full((height, width, 3), first + t, np.uint8) for t in range(STEP + 1)])


def sequence(count, fps=FPS):
    return MaskSequence(np.ones((count, 1, 16, 16), bool), ("it",), fps)


# how clips join


@pytest.mark.parametrize("seconds", [0.125, 1.0, 1.125, 1.25, 2.0, 3.3])
def test_every_moment_is_there_once_whatever_the_length(seconds):
    model = Counting()
    found = animate(None, "a dog", seconds, backbone=model, anchored=False)
    count = round(seconds * FPS)
    assert found.frames == count
    assert found.video.frames[:, 0, 0, 0].tolist() == list(range(count))
    assert len(model.calls) == max(1, -(-(count - 1) // STEP))
    assert len(found.seams) == len(model.calls) - 1


def test_each_clip_sees_the_one_before_and_has_its_own_seed():
    model = Counting()
    animate(None, "a dog", 3.0, seed=7, backbone=model, anchored=False)
    assert model.calls[0][3] is None
    assert [call[3][:, 0, 0, 0].tolist() for call in model.calls[1:]] == [list(range(9)), list(range(8, 17))]
    assert [call[1] for call in model.calls] == [clip_seed(7, k) for k in range(3)]
    assert len({clip_seed(s, k) for s in range(20) for k in range(20)}) == 400


def test_seams_are_where_clips_join():
    found = animate(None, "a dog", 3.0, backbone=Counting(), anchored=False)
    assert [seam.frame for seam in found.seams] == [9, 17]
    assert [seam.difference_ratio for seam in found.seams] == [1, 1]


def test_what_the_first_frame_lacks_fades():
    frames = np.full((6, 2, 2, 3), 100, np.uint8)
    shown = np.full((2, 2, 3), 140, np.uint8)
    assert gone_on_from(shown, frames, 3)[:, 0, 0, 0].tolist() == [140, 130, 120, 110, 100, 100]
    assert gone_on_from(np.full_like(shown, 255), frames + 155, 3).max() == 255


@pytest.mark.parametrize("anchored", [False, True])
def test_clips_go_on_from_the_frame_that_was_shown_where_asked(anchored):
    class Jumping(Counting):
        def generate(self, *given, **more):
            return super().generate(*given, **more) + np.uint8(60 * (len(self.calls) - 1))

    plain, faded = Jumping(), Jumping()
    faded.clip = ClipSettings(STEP + 1, (16, 16), (16, 16), FPS, steps=2, fade=4)
    jump = animate(None, "a dog", 3.0, backbone=plain, anchored=False).seams
    smooth = animate(None, "a dog", 3.0, backbone=faded, anchored=anchored)
    assert jump[0].difference_ratio > 50
    before, after = smooth.video.frames[8:10, 0, 0, 0].astype(int)
    assert abs(after - before) <= 60 / 5 + 1
    assert all(np.array_equal(call[3][0], smooth.video.frames[8]) for call in faded.calls[2:])


@given(st.integers(1, 12), st.integers(2, 7))
def test_joined_frames_are_a_prefix(count, length):
    moments = np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    made = (moments[k : k + length] for k in range(0, 13, length - 1))
    assert [int(frame[0, 0, 0]) for frame in joined(made, count, [])] == list(range(count))


# masks


def test_masks_go_to_the_clips_they_belong_to():
    model = Counting()
    animate(sequence(12), "a dog", 3.0, backbone=model)
    assert [None if call[2] is None else len(call[2]) for call in model.calls] == [9, 4, None]


def test_masks_of_another_rate_are_taken_at_the_same_moments():
    masks = np.zeros((20, 1, 4, 4), bool)
    masks[np.arange(20), 0, np.arange(20) % 4, 0] = True
    clip = ClipSettings(9, fps=8.0)
    whole = masks_of_clip(MaskSequence(masks, ("it",), 8.0), 1, clip)
    assert np.array_equal(whole.masks, masks[8:17])
    double = masks_of_clip(MaskSequence(masks.repeat(2, 0), ("it",), 16.0), 1, clip)
    assert np.array_equal(double.masks, whole.masks)
    assert double.fps == 8.0


def test_masks_that_end_early_or_late_are_said(caplog):
    animate(sequence(8), "a dog", 2.0, backbone=Counting())
    assert "end after 1 s" in caplog.text
    animate(sequence(80), "a dog", 2.0, backbone=Counting())
    assert "last 10 s" in caplog.text


# going on


class Recording:
    """A model that counts how often it is asked."""

    def __init__(self, model):
        self.model, self.clip, self.identity, self.calls = model, model.clip, model.identity, 0

    def generate(self, *args):
        self.calls += 1
        return self.model.generate(*args)


def test_a_killed_run_goes_on_and_comes_out_the_same(tmp_path):
    masks = moving_masks(20, size=32)
    whole = animate(masks, "a red dog", 3.0, backbone=tiny_model(), out=tmp_path / "whole.mp4")
    first, calls = tiny_model(), []

    def killed(what, done, total):
        calls.append(done)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(masks, "a red dog", 3.0, backbone=first, out=tmp_path / "x.mp4", progress=killed)
    assert not (tmp_path / "x.mp4").exists()
    assert [p.name for p in (tmp_path / "x.clips").iterdir()] == ["clip_0000.npz"]
    second = Recording(tiny_model())
    again = animate(masks, "a red dog", 3.0, backbone=second, out=tmp_path / "x.mp4")
    assert second.calls == 2
    assert again.seams == whole.seams
    assert np.array_equal(read_video(tmp_path / "x.mp4").frames, read_video(tmp_path / "whole.mp4").frames)
    for name in ("clip_0000.npz", "clip_0001.npz", "clip_0002.npz"):
        a, b = np.load(tmp_path / "x.clips" / name), np.load(tmp_path / "whole.clips" / name)
        assert np.array_equal(a["frames"], b["frames"])
    in_memory = animate(masks, "a red dog", 3.0, backbone=tiny_model())
    assert np.array_equal(in_memory.video.frames[:9], np.load(tmp_path / "x.clips" / "clip_0000.npz")["frames"])


def test_a_longer_video_keeps_what_is_there_and_another_prompt_does_not(tmp_path):
    def asked(prompt, seconds, seed=1, count=16):
        model = Counting()
        animate(sequence(count), prompt, seconds, seed, backbone=model, out=tmp_path / "x.mp4")
        return len(model.calls)

    assert asked("a dog", 2.0) == 2
    assert asked("a dog", 4.0) == 2
    assert asked("a dog", 4.0, count=12) == 3
    assert asked("a cat", 4.0) == 4
    assert asked("a cat", 4.0, seed=2) == 4
    assert asked("a cat", 4.0, seed=2) == 0


def test_a_damaged_clip_is_made_anew(tmp_path, caplog):
    animate(None, "a dog", 2.0, backbone=Counting(), out=tmp_path / "x.mp4")
    (tmp_path / "x.clips" / "clip_0001.npz").write_bytes(b"PK nothing")
    model = Counting()
    animate(None, "a dog", 2.0, backbone=model, out=tmp_path / "x.mp4")
    assert len(model.calls) == 1
    assert "damaged" in caplog.text


def test_a_full_disk_keeps_the_finished_clips(tmp_path, monkeypatch):
    written = []

    def until_full(file, **arrays):
        if written:
            raise OSError(28, "No space left on device")
        written.append(arrays)
        save(file, **arrays)

    save = np.savez_compressed
    monkeypatch.setattr(np, "savez_compressed", until_full)
    with pytest.raises(InputError, match="No space left"):
        animate(None, "a dog", 2.0, backbone=Counting(), out=tmp_path / "x.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["x.clips"]
    assert [path.name for path in (tmp_path / "x.clips").iterdir()] == ["clip_0000.npz"]


def test_files_and_their_record(tmp_path):
    out = tmp_path / "x.mp4"
    found = animate(None, "a dog", 2.0, seed=3, backbone=Counting(), out=out)
    assert found.video is None
    assert found.path == out
    assert len(read_video(out).frames) == 16
    record = json.loads((tmp_path / "x.clips" / "result.json").read_text())
    assert (record["seed"], record["prompt"], record["weights"]) == (3, "a dog", "counting")
    assert len(record["seams"]) == 1


class Forgetful(Counting):
    def generate(self, *args):
        self.calls.clear()
        return super().generate(*args)


def test_memory_does_not_grow_with_the_length(tmp_path):
    def peak(seconds, name):
        tracemalloc.start()
        animate(None, "a dog", seconds, backbone=Forgetful((96, 96)), out=tmp_path / name)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1.0, "first.mp4")  # what is only loaded once is loaded
    short, long = peak(3.0, "short.mp4"), peak(20.0, "long.mp4")
    assert 2 * short < 160 * 96 * 96 * 3
    assert long < 1.1 * short


def test_progress_runs_to_the_end_once():
    calls = []
    animate(None, "a dog", 2.0, backbone=Counting(), progress=lambda *call: calls.append(call))
    assert calls == [("animate", k, 4) for k in range(1, 5)]


# anchoring


@given(st.integers(0, 99))
def test_matching_gives_the_look_and_is_nothing_for_its_own(seed):
    rng = np.random.default_rng(seed)
    clip = rng.integers(80, 170, (3, 6, 6, 3), np.uint8)
    other = rng.integers(100, 150, (2, 6, 6, 3), np.uint8)
    everywhere, own = np.ones((2, 6, 6), bool), look_of(clip, np.ones((3, 6, 6), bool))
    assert np.array_equal(matched(clip, own, np.ones((3, 6, 6), bool)), clip)
    found = look_of(matched(other, own, everywhere), everywhere)
    assert found.mean == pytest.approx(own.mean, abs=0.5)
    assert found.deviation == pytest.approx(own.deviation, rel=0.15)


def test_the_look_is_that_of_the_background():
    masks = np.zeros((2, 2, 8, 8), bool)
    masks[0, 0, :, :2], masks[1, 1, :, :5] = True, True
    given = MaskSequence(masks, ("a", "b"), 8.0)
    clip = np.full((3, 16, 16, 3), 90, np.uint8)
    clip[0, :, :4], clip[1, :, :10] = 255, 0
    free = background_of(given, clip)
    assert free.sum((1, 2)).tolist() == [16 * 12, 16 * 6, 16 * 16]
    look = look_of(clip, free)
    assert look.mean.tolist() == [90] * 3
    assert look.deviation.tolist() == [0] * 3
    assert background_of(None, clip).all()
    assert background_of(MaskSequence(np.ones((3, 1, 8, 8), bool), ("a",), 8.0), clip).all()


def test_what_grows_does_not_tint_the_place():
    class Growing(Counting):
        def generate(self, prompt, seed, masks=None, before=None, progress=None):
            frames = np.random.default_rng(seed).integers(80, 100, (STEP + 1, 16, 16, 3)).astype(np.uint8)
            frames[masks.masks[:, 0]] = 250
            return frames

    grows = np.zeros((2 * STEP + 1, 1, 16, 16), bool)
    for t, mask in enumerate(grows[:, 0]):
        mask[:, :t] = True
    made = animate(MaskSequence(grows, ("it",), FPS), "a dog", (2 * STEP + 1) / FPS, backbone=Growing()).video.frames
    assert abs(float(made[12][:, 12:].mean()) - 90) < 2


class Fading(Counting):
    """Each clip is 20 levels brighter than it should be."""

    def generate(self, prompt, seed, masks=None, before=None, progress=None):
        level = 60 if before is None else int(before[-1].mean()) + 20
        noise = np.random.default_rng(seed).integers(-9, 10, (STEP + 1, 16, 16, 3))
        return (level + noise).astype(np.uint8)


def test_anchoring_stops_drift_and_leaves_the_first_clip():
    free = animate(None, "a dog", 4.0, backbone=Fading(), anchored=False)
    held = animate(None, "a dog", 4.0, backbone=Fading())
    assert np.array_equal(free.video.frames[:9], held.video.frames[:9])
    assert free.video.frames[-4:].mean() > 110
    assert abs(held.video.frames[-4:].mean() - 60) < 1
    assert max(s.colour_drift for s in held.seams) < 1 < min(s.colour_drift for s in free.seams)


# mistakes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"seconds": 1e9}, "2400"),
        ({"seed": -1}, "0 or more"),
        ({"prompt": " "}, "say what"),
        ({"masks": MaskSequence(np.zeros((3, 1, 4, 4), bool), ("it",), 8.0)}, "show nothing"),
    ],
)
def test_mistakes_are_said(given, said):
    asked = {"masks": None, "prompt": "a dog", "backbone": Counting()} | given
    with pytest.raises(InputError, match=said):
        animate(**asked)


def test_a_missing_folder_is_said_before_anything_is_made(tmp_path):
    model = Counting()
    with pytest.raises(InputError, match="mkdir"):
        animate(None, "a dog", backbone=model, out=tmp_path / "no" / "x.mp4")
    assert not model.calls
