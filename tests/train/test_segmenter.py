"""Training the segmenters that are told by boxes: windows, spoilt masks, a short overfit, and that a run ends only once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import ToyWorld

from kinema.errors import InputError
from kinema.evaluate.mask_alignment import mask_iou
from kinema.extract.box_segmenter import SIDE_PX, SegmenterConfig, SegmenterNet, load_segmenter
from kinema.extract.instances import box_of_mask
from kinema.train.loop import LoopConfig
from kinema.train.perception_data import ClipPool, frames_of_clip
from kinema.train.segmenter import (
    TRACK_FRAMES,
    SegmenterTrainConfig,
    draw_windows,
    held_out_tracks,
    jittered_box,
    segmenter_loss,
    spoil,
    spoilt_mask,
    train_segmenter,
    windows_of,
)

SMALL = SegmenterConfig("colour", (8, 12, 12, 16))
MASK = np.zeros((SIDE_PX, SIDE_PX), bool)
MASK[30:70, 40:60] = True


def test_boxes_are_near_the_mask():
    rng = np.random.default_rng(0)
    boxes = [box_of_mask(jittered_box(MASK, rng) > 0) for _ in range(30)]
    off = np.abs(np.array(boxes) - box_of_mask(MASK))
    assert off.max() <= 4
    assert (off.max(1) == 0).any()
    assert (off.max(1) > 0).any()


def test_spoilt_masks_are_soft_and_still_of_the_thing():
    rng = np.random.default_rng(0)
    spoilt = [spoilt_mask(MASK, rng) for _ in range(30)]
    overlaps = [mask_iou(mask > 0.5, MASK) for mask in spoilt]
    assert min(overlaps) > 0.3
    assert max(overlaps) < 1
    assert min(mask.min() for mask in spoilt) >= 0
    assert max(mask.max() for mask in spoilt) <= 1 + 1e-5


def test_spoilt_pictures_repeat():
    picture = np.random.default_rng(0).integers(0, 255, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    assert (spoil(picture, 3) == spoil(picture, 3)).all()
    assert any((spoil(picture, 3) != spoil(picture, seed)).any() for seed in (4, 5))


def test_windows_begin_with_a_box_or_the_mask_of_the_frame_before():
    run = frames_of_clip(ToyWorld().sample(0))[:4]
    windows = [window for seed in range(20) for window in windows_of(run, np.random.default_rng(seed), "grey")]
    assert 20 < len(windows) <= 40
    assert {window.boxed for window in windows} == {False, True}
    for window in windows:
        assert window.seen.shape == (4, 1, SIDE_PX, SIDE_PX)
        assert window.masks.shape == (3, SIDE_PX, SIDE_PX)
        if window.boxed:
            assert (window.seen[0] == window.seen[1]).all()
            assert set(np.unique(window.hint)) == {0, 1}


def test_frames_without_a_thing_give_no_window():
    run = [replace(f, subject_ids=0 * f.subject_ids) for f in frames_of_clip(ToyWorld().sample(0))[:4]]
    assert windows_of(run, np.random.default_rng(0), "colour") == []


def test_a_short_training_learns_to_fill_boxes():
    torch.manual_seed(0)
    net = SegmenterNet(SMALL)
    config = SegmenterTrainConfig(Path(), batch=4, window=2, model=SMALL)
    pool = ClipPool(ToyWorld(), 4, 1, frames=8)
    optimizer, losses = torch.optim.AdamW(net.parameters(), lr=5e-3), []
    for step in range(30):
        loss = segmenter_loss(net, draw_windows(pool, config, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_held_out_tracks_have_a_mask_a_thing():
    frames, masks = held_out_tracks(ToyWorld(), 1)[0]
    assert len(frames) == len(masks)
    assert masks.labels == ("a square", "a ball")
    assert masks.masks.any((0, 2, 3)).all()


def test_training_writes_weights_that_load_and_finishes_only_once(tmp_path):
    loop = LoopConfig(steps=2, checkpoint_every=1)
    config = SegmenterTrainConfig(
        tmp_path / "run", batch=2, window=2, pool=2, validation_clips=1, model=SMALL, loop=loop
    )
    worlds = (ToyWorld(), ToyWorld())
    net = load_segmenter(train_segmenter(config, worlds))
    assert net.config == SMALL
    again = load_segmenter(train_segmenter(config, worlds)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2


def test_training_goes_on_from_weights_of_the_same_sizes(tmp_path):
    loop = LoopConfig(steps=1, learning_rate=0.0)
    config = SegmenterTrainConfig(
        tmp_path / "first", batch=2, window=2, pool=2, validation_clips=1, model=SMALL, loop=loop
    )
    worlds = (ToyWorld(), ToyWorld())
    first = train_segmenter(config, worlds)
    other = replace(config.loop, seed=1)
    again = train_segmenter(replace(config, run=tmp_path / "second", start=first, loop=other), worlds)
    before, after = (load_segmenter(path).state_dict() for path in (first, again))
    assert all(torch.allclose(value, after[name], atol=1e-3) for name, value in before.items())
    with pytest.raises(InputError, match="other sizes than --model's"):
        train_segmenter(replace(config, run=tmp_path / "third", start=first, model=SegmenterConfig()), worlds)


def test_the_pool_of_a_training_changes_by_its_new_clips(tmp_path, monkeypatch):
    """Not by a whole pool, as it did where the length of clips was taken for the number of lanes."""
    world = Counting()
    loop = LoopConfig(steps=4, checkpoint_every=4)
    config = SegmenterTrainConfig(
        tmp_path, batch=2, window=2, pool=3, validation_clips=1, made_share=0.0, model=SMALL, loop=loop
    )
    train_segmenter(config, (world, ToyWorld()))
    assert sorted(world.asked) == [(number, TRACK_FRAMES) for number in range(6)]


class Counting(ToyWorld):
    def __init__(self):
        self.asked = []

    def sample(self, seed, frames=16):
        self.asked.append((seed, frames))
        return super().sample(seed, frames)


@pytest.mark.parametrize("count", [1, 2])
def test_windows_of_a_step_depend_on_the_step_alone(count):
    config = SegmenterTrainConfig(Path(), batch=3, window=2, model=SMALL)
    first, second = ([w.seen for w in draw_windows(ClipPool(ToyWorld(), 4, 1, frames=8), config, count)] for _ in "ab")
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
