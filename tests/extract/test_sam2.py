"""SAM 2: the pictures, masks and boxes by hand; what is forgotten changes nothing; numbers stay with their things."""

import importlib.util

import numpy as np
import pytest
import torch

from kinema.errors import InputError
from kinema.extract.detection import Detection
from kinema.extract.sam2 import MEAN, STD, Sam2, Sam2Track, load_sam2, masks_of, prepare, prepare_mask
from tests.extract import tiny_public

FRAMES = np.random.default_rng(0).integers(0, 256, (24, 40, 56, 3), np.uint8)
BOX = np.array([8, 4, 30, 20], np.float32)
SQUARE = np.zeros((40, 56), bool)
SQUARE[20:34, 30:50] = True


@pytest.fixture(scope="module")
def sam2():
    return Sam2(tiny_public.sam2())


def test_pictures_by_hand():
    frame = np.zeros((2, 4, 3), np.uint8)
    frame[:, 2:] = 255  # left half black, right half white; channels alike
    picture = prepare(frame, 2)
    assert picture.shape == (1, 3, 2, 2)
    black, white = -np.array(MEAN) / STD, (1 - np.array(MEAN)) / STD
    # The triangle filter, four pixels wide, takes 3 + 3 of its own half and 1 of the other's (1 3 | 3 1 at the edge: 3 3 1).
    expected = np.round(255 / 7) / 255
    np.testing.assert_allclose(picture[0, :, 0, 0], black + expected * (white - black), atol=1e-5)
    np.testing.assert_allclose(prepare(np.full((5, 7, 3), 255, np.uint8), 8)[0, :, 3, 3], white, atol=1e-5)


def test_masks_by_hand():
    assert torch.equal(prepare_mask(SQUARE[:40, :40], 40)[0, 0].bool(), torch.from_numpy(SQUARE[:40, :40]))
    small = np.zeros((4, 4), bool)
    small[:2, :2] = True
    assert prepare_mask(small, 2)[0, 0].tolist() == [[1, 0], [0, 0]]
    logits = torch.tensor([[[[2.0, -2.0]]], [[[1.0, 3.0]]]])
    wide = masks_of(logits, (1, 4))  # 2, 1, -1, -2 and 1, 1.5, 2.5, 3
    assert wide.tolist() == [[[True, False, False, False]], [[False, True, True, True]]]
    assert not masks_of(-torch.ones(1, 1, 2, 2), (4, 4)).any()


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="transformers' SAM 2 needs torchvision")
def test_pictures_and_masks_are_those_of_the_library():
    from transformers import Sam2ImageProcessor

    library = Sam2ImageProcessor(size={"height": 64, "width": 64})
    theirs = library(FRAMES[0], return_tensors="pt")["pixel_values"]
    assert (prepare(FRAMES[0], 64) - theirs).abs().max() < 1.5 / 255 / min(STD)
    logits = torch.randn(1, 1, 16, 16)
    assert torch.equal(library.post_process_masks([logits], [[40, 56]])[0][:, 0], masks_of(logits, (40, 56)))


def test_a_box_reaches_the_model_in_its_own_pixels(sam2):
    track = sam2.track()
    track.frame = 0
    track._begin(7, BOX, (40, 56))
    asked = track.session.point_inputs_per_obj[0][0]
    np.testing.assert_allclose(asked["point_coords"][0, 0], [[8 / 56 * 64, 4 / 40 * 64], [30 / 56 * 64, 20 / 40 * 64]])
    assert asked["point_labels"].tolist() == [[[2, 3]]]


def test_boxes_and_masks_reach_the_session_as_the_librarys_processor_puts_them(sam2):
    from transformers import Sam2VideoInferenceSession
    from transformers.models.sam2_video.processing_sam2_video import Sam2VideoProcessor

    library = Sam2VideoProcessor.__new__(Sam2VideoProcessor)  # it is its parts that need torchvision
    library.target_size, library.point_pad_value = 64, -10
    theirs = Sam2VideoInferenceSession(dtype=torch.float32)
    library.add_inputs_to_inference_session(theirs, 0, [3], input_boxes=[[BOX.tolist()]], original_size=(40, 56))
    library.add_inputs_to_inference_session(theirs, 0, [8], input_masks=[SQUARE])
    track = sam2.track()
    track.frame = 0
    track._begin(3, BOX, (40, 56))
    track._begin(8, SQUARE, (40, 56))
    for name, value in theirs.point_inputs_per_obj[0][0].items():
        torch.testing.assert_close(track.session.point_inputs_per_obj[0][0][name], value, rtol=0, atol=1e-4)
    assert torch.equal(track.session.mask_inputs_per_obj[1][0], theirs.mask_inputs_per_obj[1][0])


class Unforgetting(Sam2Track):
    def _forget(self):
        pass


def steps(track, frames=FRAMES):
    """One thing from the start, another from frame 2, a third from frame 12, after that was looked at."""
    seen = [track.step(frame, {0: {3: BOX}, 2: {8: SQUARE}}.get(t)) for t, frame in enumerate(frames[:13])]
    if len(frames) > 12:
        seen[12] = track.also(frames[12], {5: BOX + 4})
    return seen + [track.step(frame) for frame in frames[13:]]


def held(track):
    """Bytes of all tensors that a track keeps."""
    todo, seen = [vars(track.session), track.session.cache._vision_features], 0
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list | tuple):
            todo += value
        elif isinstance(value, torch.Tensor):
            seen += value.numel() * value.element_size()
    return seen


def test_what_is_forgotten_changes_nothing(sam2):
    short, whole = sam2.track(), Unforgetting(sam2.model)
    ours, theirs = steps(short), steps(whole)
    assert [list(now) for now in ours] == [[3]] * 2 + [[3, 8]] * 10 + [[3, 8, 5]] * 12
    for now, then in zip(ours, theirs, strict=True):
        for number in now:
            np.testing.assert_array_equal(now[number].mask, then[number].mask)
            assert now[number].score == then[number].score
    assert any(now[3].mask.any() for now in ours[1:])
    kept = short.session.output_dict_per_obj[0]
    assert len(kept["cond_frame_outputs"]) == 1
    assert len(kept["non_cond_frame_outputs"]) == 6


def test_a_long_video_takes_no_more_room_than_a_short_one(sam2):
    track = sam2.track()
    steps(track, FRAMES[:12])
    room = held(track)
    for frame in FRAMES:
        track.step(frame)
    assert held(track) == room


def test_looking_at_a_frame_again_changes_nothing_for_what_was_followed(sam2):
    track = sam2.track()
    seen = steps(track, FRAMES[:8])[-1]
    again = track.also(FRAMES[7], {1: BOX})
    assert list(again) == [3, 8, 1]
    assert again[3].score == pytest.approx(seen[3].score, abs=1e-6)
    assert not (again[3].mask & ~seen[3].mask).any()  # what the new thing takes it may lose


def test_a_given_mask_is_what_comes_out_in_its_frame(sam2):
    seen = sam2.track().step(FRAMES[0], {5: SQUARE})
    overlap = (seen[5].mask & SQUARE).sum() / (seen[5].mask | SQUARE).sum()
    assert overlap > 0.85  # through a quarter of the model's 64 pixels and back
    assert seen[5].score > 0.99


def test_one_thing_is_followed_alike_alone_and_beside_another(sam2):
    alone, beside = sam2.track(), sam2.track()
    one = [alone.step(f, {3: SQUARE} if t == 0 else None) for t, f in enumerate(FRAMES[:6])]
    both = [beside.step(f, {9: ~SQUARE, 3: SQUARE} if t == 0 else None) for t, f in enumerate(FRAMES[:6])]
    for a, b in zip(one, both, strict=True):
        assert list(b) == [9, 3]
        assert a[3].score == pytest.approx(b[3].score, abs=1e-5)
        assert not (b[3].mask & b[9].mask).any()


def test_single_frames_by_boxes(sam2):
    detections = [[Detection("object", "ball", BOX, 1.0)], []]
    masks = sam2.segment(FRAMES[:2], detections)
    assert [m.shape for m in masks] == [(1, 40, 56), (0, 40, 56)]
    np.testing.assert_array_equal(masks[0][0], sam2.track().step(FRAMES[0], {0: BOX})[0].mask)


def test_nothing_to_follow_costs_nothing(sam2):
    track = sam2.track()
    assert track.step(FRAMES[0]) == {}
    assert track.session.num_frames is None
    assert list(track.step(FRAMES[1], {1: BOX})) == [1]


def test_what_cannot_be_followed(sam2, tmp_path):
    track = sam2.track()
    with pytest.raises(InputError, match="within 56x40"):
        track.step(FRAMES[0], {1: np.array([60, 0, 70, 5], np.float32)})
    with pytest.raises(InputError, match="is empty"):
        track.step(FRAMES[0], {2: np.zeros((40, 56), bool)})
    with pytest.raises(InputError, match="is 4x3"):
        track.step(FRAMES[0], {2: np.ones((3, 4), bool)})
    track.step(FRAMES[0], {1: BOX})
    with pytest.raises(InputError, match="followed already"):
        track.step(FRAMES[0], {1: BOX})
    with pytest.raises(InputError, match="kinema fetch sam2"):
        load_sam2(tmp_path)


def test_a_folder_as_the_hub_has_it(sam2, tmp_path):
    sam2.model.save_pretrained(tmp_path / "sam2")
    loaded = load_sam2(tmp_path / "sam2")
    np.testing.assert_array_equal(
        loaded.track().step(FRAMES[0], {0: BOX})[0].mask, sam2.track().step(FRAMES[0], {0: BOX})[0].mask
    )
