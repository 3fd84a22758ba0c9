"""The grey segmenter: what it sees has no colour and no light of its own; its files; what the shipped one finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from clips import moving, texture

from kinema.checkpoints import PMP_WEIGHTS
from kinema.errors import InputError
from kinema.evaluate.grey_segmenter import (
    SIDE_PX,
    GreySegmenter,
    SegmenterConfig,
    SegmenterNet,
    even_contrast,
    filled_boxes,
    load_segmenter,
    save_segmenter,
    shipped_segmenter,
)
from kinema.evaluate.mask_alignment import Tracker, mask_iou
from kinema.extract.optical_flow import to_grey

SMALL = SegmenterConfig((8, 8, 8, 8))


def test_neither_colour_nor_light_is_seen():
    video = moving((1, 0), size=128)
    even = even_contrast(video)
    assert even.shape == (8, SIDE_PX, SIDE_PX)
    grey = to_grey(video)[..., None].repeat(3, -1)
    assert even_contrast(grey) == pytest.approx(even, abs=1e-5)
    darker = (video // 2 + 20).astype(np.uint8)
    assert np.abs(even_contrast(darker) - even).mean() < 0.1 * np.abs(even).mean()
    assert np.abs(even_contrast(np.full((1, 64, 64, 3), 80, np.uint8))).max() < 1e-4


def test_boxes_of_a_picture_of_another_size():
    filled = filled_boxes(np.array([[0, 10, 20, 20], [-5, 0, 1, 1]], np.float32), (40, 80))
    assert filled[0].sum() == (20 * SIDE_PX / 80) * (10 * SIDE_PX / 40)
    assert filled[0, 32, 0] == 1
    assert filled[1].any()


def test_every_thing_goes_its_own_way_and_sizes_are_the_videos():
    torch.manual_seed(0)
    tracker = GreySegmenter(SegmenterNet(SMALL))
    assert isinstance(tracker, Tracker)
    video = moving((1, 0), frames=3, size=48)
    boxes = np.array([[4, 4, 20, 30], [10, 10, 40, 40]], np.float32)
    both = tracker.track(video, boxes)
    assert both.shape == (3, 2, 48, 48)
    assert (tracker.track(video, boxes[1:])[:, 0] == both[:, 1]).all()


def test_weights_go_to_a_file_and_back(tmp_path):
    torch.manual_seed(0)
    net = SegmenterNet(SMALL)
    save_segmenter(net, tmp_path / "it.safetensors", {})
    again = load_segmenter(tmp_path / "it.safetensors")
    assert again.config == SMALL
    assert torch.equal(again.stem.weight, net.stem.weight.half().float())
    with pytest.raises(InputError, match="holds no segmenter"):
        load_segmenter(PMP_WEIGHTS)


def test_the_shipped_one_follows_a_disc_over_a_texture():
    """Of the same mean grey as what is behind it: told apart by its texture alone."""
    behind, on_it = texture(128, 1), 255 - cv2.resize(texture(128, 2), (256, 256))[:128, :128]
    video, truth = [], []
    for t in range(9):
        disc = np.zeros((128, 128), np.uint8)
        cv2.circle(disc, (40 + 5 * t, 64), 24, 1, -1)
        video.append(np.where(disc[..., None] > 0, on_it // 3, behind).astype(np.uint8))
        truth.append(disc > 0)
    found = shipped_segmenter().track(np.stack(video), np.array([[16, 40, 65, 89]], np.float32))[:, 0]
    assert np.mean([mask_iou(a, b) for a, b in zip(found, truth, strict=True)]) > 0.8
