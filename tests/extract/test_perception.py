"""What mini-perception makes of its network's maps: subjects, joints, and how they are followed through time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.body.skeleton import PART_IDS
from kinema.errors import InputError
from kinema.extract import mini_perception
from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask, find_instances, find_keypoints
from kinema.extract.keypoints import Keypoints
from kinema.extract.mini_perception import (
    SIDE_PX,
    Fit,
    MiniPerception,
    coarse_perception,
    load_perception,
    save_perception,
    shipped_perception,
)
from kinema.extract.observation import KEYPOINTS
from kinema.extract.observe import Sight, follow, observe
from kinema.extract.perception_net import (
    CATEGORIES,
    CLASS_OF_PART,
    COARSE,
    HEATMAPS,
    JOINT_SLICES,
    OFFSET_PX,
    PART_OF_CLASS,
    Neighbours,
    PerceptionConfig,
    PerceptionNet,
    folded,
)
from kinema.train.perception import held_out_videos
from kinema.train.perception_score import score_perception
from kinema.types import Video
from kinema.world.sampler import World

SMALL = PerceptionConfig(widths=(8, 16, 16, 24), out_width=8, attention_layers=1, attention_heads=2)


def maps_of(subjects: dict[str, tuple[str, tuple[slice, slice]]], side: int = 64):
    """Perfect maps of block-shaped subjects: name -> (category, rows and columns); later ones lie before earlier."""
    parts = np.zeros((side, side), np.uint8)
    owner = np.full((side, side), -1)
    for k, (category, block) in enumerate(subjects.values()):
        parts[block] = {"human": PART_IDS["chest"], "animal": PART_IDS["tail"], "object": PART_IDS["object"]}[category]
        owner[block] = k
    centres = np.zeros((3, side // COARSE, side // COARSE), np.float32)
    offsets = np.zeros((2, side, side), np.float32)
    for k, (category, _) in enumerate(subjects.values()):
        rows, columns = np.nonzero(owner == k)
        middle = np.array([columns.mean(), rows.mean()]) + 0.5
        centres[CATEGORIES.index(category), int(middle[1]) // COARSE, int(middle[0]) // COARSE] = 0.9
        offsets[:, rows, columns] = ((middle - np.stack([columns, rows], 1) - 0.5) / OFFSET_PX).T
    return parts, centres, offsets, owner


def test_classes_and_part_ids_are_one_to_one():
    assert (CLASS_OF_PART[PART_OF_CLASS] == np.arange(39)).all()
    assert JOINT_SLICES["human"] == slice(0, 22)
    assert HEATMAPS == 57


@pytest.mark.parametrize("hw", [(16, 32), (48, 16)])
def test_any_multiple_of_16_will_do(hw):
    maps = PerceptionNet(SMALL).eval()(torch.rand(2, 3, *hw))
    assert maps.parts.shape == (2, 39, *hw)
    assert maps.joints.shape == (2, 57, hw[0] // 4, hw[1] // 4)
    assert maps.log_depth.shape == (2, hw[0] // 4, hw[1] // 4)


def test_touching_subjects_of_one_category_are_told_apart():
    parts, centres, offsets, owner = maps_of(
        {
            "left": ("human", (slice(10, 50), slice(10, 25))),
            "right": ("human", (slice(12, 44), slice(25, 40))),
            "ball": ("object", (slice(28, 36), slice(20, 28))),
        }
    )
    found = find_instances(parts, centres, offsets)
    assert [i.category for i in found] == ["human", "human", "object"]
    for k, instance in enumerate(found):
        assert (instance.mask == (owner == k)).all()
        assert instance.score == pytest.approx(0.9)


def test_specks_go_and_near_centres_are_one_subject():
    parts, centres, offsets, owner = maps_of({"dog": ("animal", (slice(10, 40), slice(10, 50)))})
    parts[60:62, 60:62] = PART_IDS["tail"]
    parts[0:2, 0:2] = PART_IDS["object"]
    centres[1, 6, 8] = 0.8
    (found,) = find_instances(parts, centres, offsets)
    assert found.category == "animal"
    assert (found.mask == (owner == 0)).all()


def test_nothing_is_found_in_nothing():
    assert find_instances(*maps_of({})[:3]) == []


@pytest.mark.parametrize("xy", [(20.0, 30.0), (22.7, 28.4), (25.9, 33.3)])
def test_joints_are_found_between_cells_and_only_on_the_subject(xy):
    cells = (np.arange(16) + 0.5) * COARSE
    heat = np.zeros((57, 16, 16), np.float32)
    bump = np.exp(-((cells - xy[0])[None] ** 2 + (cells - xy[1])[:, None] ** 2) / (2 * 3.6**2))
    heat[:22] = 0.6 * bump
    heat[:22, 2, 13] = 0.95
    mask = np.zeros((64, 64), bool)
    mask[24:40, 16:30] = True
    found = find_keypoints(heat, "human", mask)
    assert found.xy_px == pytest.approx(np.tile(xy, (22, 1)), abs=0.05)
    assert found.confidence == pytest.approx(np.full(22, (0.6 * bump).max()), abs=1e-6)
    assert find_keypoints(heat, "object", mask).xy_px.shape == (0, 2)
    assert not find_keypoints(heat, "animal", mask).confidence.any()


def test_boxes_have_their_far_edges_outside():
    mask = np.zeros((9, 9), bool)
    mask[2:5, 3:8] = True
    assert box_of_mask(mask).tolist() == [3, 2, 8, 5]
    assert box_of_mask(np.zeros((9, 9), bool)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("hw", [(128, 128), (256, 192), (100, 300), (1, 1)])
def test_masks_and_points_come_back_from_the_networks_size(hw):
    fit = Fit.of(np.zeros((1, *hw, 3), np.uint8))
    mask = np.zeros(hw, bool)
    mask[hw[0] // 4 : hw[0] // 2 + 1, hw[1] // 3 : hw[1] // 2 + 1] = True
    there = fit.there(mask)
    assert there.shape == (SIDE_PX, SIDE_PX)
    back = fit.back(there)
    assert back.shape == mask.shape
    assert (back & mask).sum() >= 0.9 * (back | mask).sum()
    rows, columns = np.nonzero(there)
    middle = np.array([[columns.mean(), rows.mean()]]) + 0.5
    rows, columns = np.nonzero(mask)
    expected = np.array([columns.mean(), rows.mean()]) + 0.5
    assert fit.points_back(middle)[0] == pytest.approx(expected, abs=max(1, 1.5 * max(hw) / SIDE_PX))


def test_maps_are_shrunk_as_by_a_filter_without_aliasing():
    fit = Fit.of(np.zeros((1, 96, 128, 3), np.uint8))
    logits = torch.randn(2, 5, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0))
    shown = logits[..., fit.top : fit.top + fit.small_hw[0], fit.left : fit.left + fit.small_hw[1]]
    expected = torch.nn.functional.interpolate(shown, (96, 128), mode="bilinear", antialias=True)
    assert fit.small_hw != (96, 128)
    torch.testing.assert_close(fit.shrunk(logits), expected, rtol=1e-4, atol=1e-5)


def sight(frame: int, x: int, colour: float, category: str = "human") -> Sight:
    mask = np.zeros((40, 100), bool)
    mask[10:30, max(0, x - 5) : x + 5] = True
    keypoints = Keypoints(np.zeros((22, 2), np.float32), np.zeros(22, np.float32))
    detection = Detection(category, "it", box_of_mask(mask), 1.0)  # type: ignore[arg-type]
    return Sight(frame, detection, mask, keypoints, np.array([x, 20.0]), np.full(3, colour))


def test_subjects_that_cross_keep_their_names():
    right = [sight(t, 10 + 8 * t, 0.2) for t in range(11)]
    left = [sight(t, 90 - 8 * t, 0.9) for t in range(11)]
    sights = [[a, b] if t % 2 else [b, a] for t, (a, b) in enumerate(zip(right, left, strict=True))]
    chains = follow(sights, 100)
    assert sorted(float(np.ptp([s.colour[0] for s in c])) for c in chains) == [0, 0]
    assert [len(c) for c in chains] == [11, 11]


def test_gaps_are_bridged_and_false_alarms_dropped():
    sights = [[sight(t, 20 + t, 0.5)] for t in range(10)]
    sights[4] = sights[5] = []
    sights[7].append(sight(7, 90, 0.5))
    sights[8].append(sight(8, 22, 0.5, "object"))
    (chain,) = follow(sights, 100)
    assert [s.frame for s in chain] == [0, 1, 2, 3, 6, 7, 8, 9]


class Block:
    """Sees a bright block as a person, whatever the frame."""

    def detect(self, frames):
        self.masks = [(f > 128).all(-1) for f in frames]
        return [[Detection("human", "a person", box_of_mask(m), 1.0)] if m.any() else [] for m in self.masks]

    def segment(self, frames, detections):
        return [np.array([m] if d else []).reshape(-1, *m.shape) for m, d in zip(self.masks, detections, strict=True)]

    def keypoints(self, frames, detections, masks):
        return [
            [Keypoints(np.tile(d.box_px[:2], (22, 1)), np.ones(22, np.float32)) for d in found] for found in detections
        ]

    def parts(self, frames):
        return np.stack(self.masks).astype(np.uint8)

    def depth(self, frames):
        return np.where(np.stack(self.masks), np.float32(3), np.float32(np.inf))


def test_an_observation_is_what_was_seen_in_each_frame():
    frames = np.zeros((6, 20, 30, 3), np.uint8)
    for t in (0, 1, 2, 4, 5):
        frames[t, 5:15, 3 + t : 9 + t] = 200
    seen = observe(Video(frames, 8.0), Block())
    (track,) = seen.tracks
    assert (track.category, track.label) == ("human", "a person")
    assert track.present.tolist() == [True, True, True, False, True, True]
    assert track.boxes_px[:, 0].tolist() == [3, 4, 5, 0, 7, 8]
    assert (track.masks == (frames[..., 0] > 128)).all()
    assert track.keypoints_px[5, 0].tolist() == [8, 5]
    assert track.keypoint_confidence.sum(1).tolist() == [22, 22, 22, 0, 22, 22]
    assert (seen.depth_m[0][track.masks[0]] == 3).all()
    assert observe(Video(0 * frames, 8.0), Block()).tracks == ()


def test_one_network_answers_all_questions_at_any_size():
    torch.manual_seed(0)
    perception = MiniPerception(PerceptionNet(SMALL))
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 90, 3), np.uint8)
    seen = observe(Video(frames, 8.0), perception)
    assert seen.part_ids.shape == seen.depth_m.shape == (3, 40, 90)
    assert (np.isfinite(seen.depth_m) == (seen.part_ids > 0)).all()
    for track in seen.tracks:
        assert track.keypoints_px.shape == (3, len(KEYPOINTS[track.category]), 2)
        assert (track.masks.any((1, 2)) == track.present).all()


def test_norms_folded_into_convolutions_say_the_same():
    torch.manual_seed(0)
    net, pictures = PerceptionNet(SMALL), torch.rand(4, 3, 32, 48)
    for _ in range(3):
        net(pictures, 2)  # so that the norms have something to say
    net.eval().requires_grad_(False)
    expected = net(pictures, 2)
    found = folded(net)(pictures, 2)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_frames_of_one_video_tell_of_each_other_and_other_videos_do_not():
    torch.manual_seed(0)
    net = PerceptionNet(SMALL).eval()
    for module in net.near:
        assert isinstance(module, Neighbours)
        torch.nn.init.normal_(module.later)
    pictures = torch.rand(4, 3, 32, 32)
    together, apart, alone = net(pictures, 4), net(pictures, 2), net(pictures)
    assert not torch.allclose(together.parts, apart.parts, atol=1e-4)
    assert not torch.allclose(apart.parts, alone.parts, atol=1e-4)
    assert torch.allclose(apart.parts[2:], net(pictures[2:], 2).parts, atol=1e-5)
    assert torch.allclose(alone.joints[1:2], net(pictures[1:2]).joints, atol=1e-5)


def test_weights_come_back_and_others_are_refused(tmp_path: Path):
    net = PerceptionNet(SMALL)
    save_perception(net, tmp_path / "net.safetensors", {"steps": "3"})
    again = load_perception(tmp_path / "net.safetensors")
    assert again.config == SMALL
    for name, value in net.state_dict().items():
        assert torch.allclose(again.state_dict()[name].float(), value.float(), atol=1e-3)
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_perception(tmp_path / "no.safetensors")


def test_the_shipped_network_sees_the_held_out_world():
    score = score_perception(shipped_perception(), held_out_videos(World.load(split="test"), clips=5))
    assert score["found"] > 0.85
    assert score["left_right"] > 0.85
    assert score["part_miou"] > 0.4
    assert score["pck_human"] > 0.75
    assert score["depth_error"] < 0.15


def test_edges_of_a_coarse_video_are_mended_in_the_picture_alone(monkeypatch):
    frames = World.load(split="test").sample(0).video.frames[:4]
    mended = shipped_perception().parts(frames)
    coarse = coarse_perception().parts(frames)
    monkeypatch.setattr(mini_perception, "with_mended_edges", lambda picture, parts, instances: (parts, instances))
    raw = MiniPerception(load_perception()).parts(frames)
    assert (mended != raw).any((1, 2)).all()
    np.testing.assert_array_equal(coarse[:1], mended[:1])
    np.testing.assert_array_equal(coarse[1:], raw[1:])


@pytest.mark.parametrize("grey", [0, 32, 64, 96, 128, 192, 255])
def test_a_blank_wall_shows_nothing(grey: int):
    assert shipped_perception().detect(np.full((2, 128, 128, 3), grey, np.uint8)) == [[], []]
