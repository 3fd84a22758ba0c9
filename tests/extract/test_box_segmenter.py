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
    filled_boxes,
    load_segmenter,
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


def test_boxes_of_a_picture_of_another_size():
    filled = filled_boxes(np.array([[0, 10, 20, 20], [-5, 0, 1, 1]], np.float32), (40, 80))
    assert filled[0].sum() == (20 * SIDE_PX / 80) * (10 * SIDE_PX / 40)
    assert filled[0, 32, 0] == 1
    assert filled[1].any()


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
