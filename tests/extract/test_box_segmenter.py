"""Segmenters that are told by boxes: what each sees; their files; what the shipped ones find."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from clips import moving, texture

from kinema.checkpoints import PMP_WEIGHTS
from kinema.errors import InputError
from kinema.evaluate.mask_alignment import Tracker, mask_iou
from kinema.extract.box_segmenter import (
    SIDE_PX,
    BoxSegmenter,
    SegmenterConfig,
    SegmenterNet,
    load_segmenter,
    part_around,
    save_segmenter,
    shipped_segmenter,
    what_is_seen,
)
from kinema.extract.optical_flow import to_grey

SMALL = {sees: SegmenterConfig(sees, (8, 8, 8, 8)) for sees in ("grey", "colour")}
EACH = pytest.mark.parametrize("sees", ["grey", "colour"])


def test_the_grey_one_sees_neither_colour_nor_light():
    video = moving((1, 0), size=128)
    even = what_is_seen(video, "grey")
    assert even.shape == (8, 1, SIDE_PX, SIDE_PX)
    grey = to_grey(video)[..., None].repeat(3, -1)
    assert what_is_seen(grey, "grey") == pytest.approx(even, abs=1e-5)
    darker = (video // 2 + 20).astype(np.uint8)
    assert np.abs(what_is_seen(darker, "grey") - even).mean() < 0.1 * np.abs(even).mean()
    assert np.abs(what_is_seen(np.full((1, 64, 64, 3), 80, np.uint8), "grey")).max() < 1e-4


def test_the_other_one_sees_colours():
    video = moving((1, 0), size=SIDE_PX)
    seen = what_is_seen(video, "colour")
    assert (seen + 1) * 127.5 == pytest.approx(video.transpose(0, 3, 1, 2), abs=1e-3)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((20, 30, 40, 40), (10, 60), (5, 55)),
        ((0, 0, 10, 20), (0, 50), (0, 50)),
        ((165, 60, 175, 70), (52, 77), (155, 180)),
        ((0, 20, 80, 60), (0, 120), (0, 180)),
    ],
)
def test_what_is_looked_at_is_a_square_around_the_box_within_the_picture(box, rows, columns):
    found = part_around(np.array(box, np.float32), (120, 180))
    assert [(s.start, s.stop) for s in found] == [rows, columns]


def test_more_is_looked_at_where_a_mask_may_have_moved():
    box = np.array([40, 40, 60, 60], np.float32)
    rows, columns = part_around(box, (100, 200), reach=0.3)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (10, 90, 10, 90)


@EACH
def test_a_small_thing_is_seen_as_a_large_one_is(sees):
    """A video is one in the middle of a larger one: the same is looked at, and found."""
    torch.manual_seed(0)
    tracker = BoxSegmenter(SegmenterNet(SMALL[sees]))
    large = np.pad(video := moving((1, 0), frames=2, size=96), ((0, 0), (40, 60), (30, 50), (0, 0)))
    box = np.array([40, 42, 56, 58], np.float32)
    alone, within = tracker.track(video, box[None]), tracker.track(large, box[None] + np.float32([30, 40, 30, 40]))
    assert alone.sum() > 0
    assert (within[0, 0, 40:-60, 30:-50] == alone[0, 0]).all()
    assert within[0].sum() == alone[0].sum()


@EACH
def test_every_thing_goes_its_own_way_and_sizes_are_the_videos(sees):
    torch.manual_seed(0)
    tracker = BoxSegmenter(SegmenterNet(SMALL[sees]))
    assert isinstance(tracker, Tracker)
    video = moving((1, 0), frames=3, size=48)
    boxes = np.array([[4, 4, 20, 30], [10, 10, 40, 40]], np.float32)
    both = tracker.track(video, boxes)
    assert both.shape == (3, 2, 48, 48)
    assert (tracker.track(video, boxes[1:])[:, 0] == both[:, 1]).all()


@EACH
def test_weights_go_to_a_file_and_back(tmp_path, sees):
    torch.manual_seed(0)
    net = SegmenterNet(SMALL[sees])
    save_segmenter(net, tmp_path / "it.safetensors", {})
    again = load_segmenter(tmp_path / "it.safetensors")
    assert again.config == SMALL[sees]
    assert torch.equal(again.stem.weight, net.stem.weight.half().float())
    with pytest.raises(InputError, match="holds no segmenter"):
        load_segmenter(PMP_WEIGHTS)


@EACH
def test_the_shipped_ones_follow_a_disc_over_a_texture(sees):
    """Of the same mean grey as what is behind it: told apart by its texture alone."""
    behind, on_it = texture(128, 1), 255 - cv2.resize(texture(128, 2), (256, 256))[:128, :128]
    video, truth = [], []
    for t in range(9):
        disc = np.zeros((128, 128), np.uint8)
        cv2.circle(disc, (40 + 5 * t, 64), 24, 1, -1)
        video.append(np.where(disc[..., None] > 0, on_it // 3, behind).astype(np.uint8))
        truth.append(disc > 0)
    found = shipped_segmenter(sees).track(np.stack(video), np.array([[16, 40, 65, 89]], np.float32))[:, 0]
    assert np.mean([mask_iou(a, b) for a, b in zip(found, truth, strict=True)]) > 0.8
