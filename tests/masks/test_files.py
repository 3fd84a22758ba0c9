"""Files of masks: what is written comes back, what others write is read, and what is refused with what words."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_shapes import boxes, one_box
from PIL import Image

from kinema.errors import InputError
from kinema.masks.files import read_masks, write_masks
from kinema.types import MaskSequence


def apart() -> MaskSequence:
    """Two objects that don't overlap; the second is away in one frame."""
    masks = boxes().masks.copy()
    masks[:, 1] &= ~masks[:, 0]
    masks[3, 1] = False
    return MaskSequence(masks, ("runner", "oak tree"), 12.5)


def pngs(folder, frames, mode=None, palette=None):
    folder.mkdir()
    for t, frame in enumerate(frames):
        picture = Image.fromarray(frame)
        if palette is not None:
            picture = picture.convert("L")
            picture.putpalette(palette)
        (picture.convert(mode) if mode else picture).save(folder / f"{t:05d}.png")
    return folder


@pytest.mark.parametrize("name", ["m.npz", "m.json", "m"])
def test_masks_come_back_with_labels_and_rate(name, tmp_path):
    write_masks(apart(), tmp_path / name)
    found = read_masks(tmp_path / name)
    assert np.array_equal(found.masks, apart().masks)
    assert (found.labels, found.fps) == (("runner", "oak tree"), 12.5)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["m.npz", "m.json"])
def test_what_is_hidden_is_kept_by_npz_and_json(name, tmp_path):
    write_masks(boxes(), tmp_path / name)
    assert np.array_equal(read_masks(tmp_path / name).masks, boxes().masks)


def test_in_a_folder_the_front_one_hides_the_other(tmp_path):
    write_masks(boxes(), tmp_path / "m")
    found = read_masks(tmp_path / "m").masks
    assert np.array_equal(found[:, 0], boxes().masks[:, 0])
    assert np.array_equal(found[:, 1], boxes().masks[:, 1] & ~boxes().masks[:, 0])


def test_a_video_comes_back_pixel_by_pixel_as_one_object(tmp_path):
    write_masks(apart(), tmp_path / "m.mp4")
    found = read_masks(tmp_path / "m.mp4")
    assert np.array_equal(found.masks[:, 0], apart().masks.any(1))
    assert found.fps == 12.5


def test_a_lossy_video_is_thresholded(tmp_path):
    from kinema.video import write_video

    shown = (apart().masks.any(1)[..., None] * np.uint8([255, 255, 255])).astype(np.uint8)
    write_video(shown, tmp_path / "m.mp4", 8.0)
    assert (read_masks(tmp_path / "m.mp4").masks[:, 0] != apart().masks.any(1)).mean() < 0.002


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 20), st.integers(1, 20), st.integers(0, 9),
    st.sampled_from([".npz", ".json", ""]),
)  # fmt: skip
def test_any_masks_of_any_size_come_back(tmp_path_factory, frames, count, height, width, seed, suffix):
    owner = np.random.default_rng(seed).integers(0, count + 1, (frames, height, width))
    masks = np.stack([owner == k for k in range(1, count + 1)], 1)
    masks[0, 0, 0, 0] = True  # not empty
    masks[0, 1:, 0, 0] = False
    path = tmp_path_factory.mktemp("any") / f"m{suffix}"
    write_masks(MaskSequence(masks, tuple("abc"[:count]), 8.0), path)
    found = read_masks(path)
    assert np.array_equal(found.masks, masks)
    assert found.labels == tuple("abc"[:count])


# --- what others write ------------------------------------------------------------------------------------------------


def test_davis_pngs_with_a_void_border(tmp_path):
    from kinema.masks.palette import OBJECT_COLOURS

    ids = np.zeros((2, 8, 8), np.uint8)
    ids[:, 2:4, 2:4], ids[:, 5:7, 5:7], ids[:, 0] = 1, 2, 255
    found = read_masks(pngs(tmp_path / "m", ids, palette=OBJECT_COLOURS.tobytes()), fps=24.0)
    assert np.array_equal(found.masks, np.stack([ids == 1, ids == 2], 1))
    assert (found.labels, found.fps) == (("object 1", "object 2"), 24.0)


def test_the_palette_is_that_of_davis():
    from kinema.masks.palette import OBJECT_COLOURS

    first = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128], [128] * 3]
    assert OBJECT_COLOURS[:8].tolist() == first
    assert OBJECT_COLOURS[8].tolist() == [64, 0, 0]


def test_soft_edges_are_cut_in_their_middle(tmp_path):
    hard = boxes().masks[:, 0].astype(np.uint8) * 255
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in hard])
    found = read_masks(pngs(tmp_path / "m", soft))
    assert found.masks.shape[1] == 1
    assert (found.masks[:, 0] != (hard > 0)).sum() <= 4 * len(hard)  # corners are rounded


@pytest.mark.parametrize("mode", ["1", "RGB", "RGBA", "LA"])
def test_black_and_white_pngs_of_any_mode(mode, tmp_path):
    white = boxes().masks[:, 0].astype(np.uint8) * 255
    assert np.array_equal(read_masks(pngs(tmp_path / "m", white, mode)).masks[:, 0], white > 0)


def test_sixteen_bits(tmp_path):
    white = boxes().masks[:, 0].astype(np.uint16) * 65535
    assert np.array_equal(read_masks(pngs(tmp_path / "m", white)).masks[:, 0], white > 0)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_palette_that_only_saves_space(swapped, tmp_path):
    """What an editor makes of a black-and-white picture: its indices mean nothing, its colours do."""
    white = boxes().masks[:, 0]
    palette = b"\xff\xff\xff\0\0\0" if swapped else b"\0\0\0\xff\xff\xff"
    folder = pngs(tmp_path / "m", (white ^ swapped).astype(np.uint8), palette=palette)
    assert np.array_equal(read_masks(folder).masks, white[:, None])


def test_small_grey_numbers_are_objects(tmp_path):
    ids = np.zeros((2, 8, 8), np.uint8)
    ids[:, 1:3], ids[:, 5:7] = 1, 2
    assert np.array_equal(read_masks(pngs(tmp_path / "m", ids)).masks, np.stack([ids == 1, ids == 2], 1))


def test_flat_colours_are_objects_in_the_order_of_their_sight(tmp_path):
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    frames[1, 1:3] = 200, 30, 10
    frames[:, 5:7] = 0, 0, 90
    found = read_masks(pngs(tmp_path / "m", frames)).masks
    assert np.array_equal(found[:, 0], (frames == [0, 0, 90]).all(-1))
    assert np.array_equal(found[:, 1], (frames == [200, 30, 10]).all(-1))


def test_npz_of_others(tmp_path):
    white = boxes().masks[:, 0]
    for name, array in {"u8": white.astype(np.uint8), "levels": white * np.uint8(255), "soft": white * 0.7}.items():
        np.savez(tmp_path / f"{name}.npz", masks=array)
        assert np.array_equal(read_masks(tmp_path / f"{name}.npz").masks, white[:, None])
    ids = white.astype(np.uint8) + boxes().masks[:, 1]
    np.savez(tmp_path / "ids.npz", subject_ids=ids)
    assert np.array_equal(read_masks(tmp_path / "ids.npz").masks, np.stack([ids == 1, ids == 2], 1))


def test_coco_pictures_with_polygons_and_codes(tmp_path):
    code = {"size": [4, 5], "counts": [4, 4, 12]}
    annotation = {"image_id": 7, "category_id": 3, "segmentation": code, "id": 1}
    polygon = {"image_id": 9, "category_id": 3, "segmentation": [[1, 0, 3, 0, 3, 2, 1, 2]], "id": 2}
    images = [{"id": i, "width": 5, "height": 4, "file_name": f"{i}.png"} for i in (7, 9)]
    content = {"images": images, "annotations": [annotation, polygon], "categories": [{"id": 3, "name": "dog"}]}
    (tmp_path / "m.json").write_text(json.dumps(content))
    found = read_masks(tmp_path / "m.json", fps=5.0)
    expected = np.zeros((2, 1, 4, 5), bool)
    expected[0, 0, :, 1] = expected[1, 0, :2, 1:3] = True
    assert np.array_equal(found.masks, expected)
    assert found.labels == ("dog",)
    content["annotations"].append(annotation | {"id": 3})
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="second of its kind"):
        read_masks(tmp_path / "m.json")


def test_a_bare_list_of_codes(tmp_path):
    code = {"size": [25, 25], "counts": "R45d00000000b;"}
    (tmp_path / "m.json").write_text(json.dumps([code, None, [code, code]]))
    assert read_masks(tmp_path / "m.json").masks.sum((2, 3)).tolist() == [[25, 0], [0, 0], [25, 25]]


# --- rates ------------------------------------------------------------------------------------------------------------


def test_masks_are_brought_to_the_rate_asked_for(tmp_path, caplog):
    write_masks(apart(), tmp_path / "m.npz")
    found = read_masks(tmp_path / "m.npz", fps=25.0)
    assert found.fps == 25.0
    assert np.array_equal(found.masks[::2], apart().masks)
    assert np.array_equal(found.masks[1::2], apart().masks)
    np.savez(tmp_path / "n.npz", masks=apart().masks)
    assert not caplog.text
    assert read_masks(tmp_path / "n.npz").fps == 8.0
    assert "taken for 8" in caplog.text
    assert len(read_masks(tmp_path / "n.npz", fps=25.0)) == 9


# --- what is refused --------------------------------------------------------------------------------------------------


def test_masks_of_two_sizes(tmp_path):
    folder = pngs(tmp_path / "m", list(boxes().masks[:, 0].astype(np.uint8) * 255))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "00004.png")
    with pytest.raises(InputError, match=r"00004.png: is 9x9, grey\n.*64x48"):
        read_masks(folder)
    codes = [{"size": [2, 2], "counts": [0, 4]}, {"size": [3, 3], "counts": [0, 9]}]
    (tmp_path / "m.json").write_text(json.dumps(codes))
    with pytest.raises(InputError, match="2x2 and 3x3"):
        read_masks(tmp_path / "m.json")


@pytest.mark.parametrize("suffix", [".npz", ".json", "", ".mp4"])
def test_empty_masks(suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    write_masks(MaskSequence(np.zeros((3, 1, 8, 8), bool), ("dog",), 8.0), path)
    with pytest.raises(InputError, match=r"is empty|every pixel is background|no masks"):
        read_masks(path)


def test_footage_is_no_mask(tmp_path):
    from kinema.video import write_video

    frames = np.random.default_rng(0).integers(60, 200, (3, 32, 32, 3), np.uint8)
    write_video(frames, tmp_path / "clip.mp4", 8.0)
    with pytest.raises(InputError, match="kinema mask VIDEO"):
        read_masks(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="no drawing of masks"):
        read_masks(pngs(tmp_path / "clip", frames))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.json", "{", "is no JSON"),
        ("m.json", "{}", "neither annotations nor polygons"),
        ("m.json", "[]", "no masks"),
        ("m.json", '[{"op": "mirror"}]', "is a recipe"),
        ("m.json", '[{"size": [2, 2]}]', "lacks or misuses 'counts'"),
        ("m.json", '[{"size": [0, 2], "counts": [0]}]', "is 2x0"),
        ("m.json", '{"annotations": []}', "lacks or misuses 'images'"),
        ("m.npz", "no archive", "cannot be read"),
        ("m.mp4", "no video", "is no video"),
        ("m.png", "", "is one picture"),
    ],
)
def test_damaged_files(name, content, says, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=says):
        read_masks(tmp_path / name)


def test_npz_without_masks(tmp_path):
    np.savez(tmp_path / "m.npz", frames=np.zeros(3))
    with pytest.raises(InputError, match="no key 'masks'"):
        read_masks(tmp_path / "m.npz")
    np.savez(tmp_path / "m.npz", masks=np.full((2, 1, 4, 4), np.nan))
    with pytest.raises(InputError, match="no levels"):
        read_masks(tmp_path / "m.npz")
    np.savez(tmp_path / "m.npz", masks=np.ones((2, 1, 4, 4)), labels=["a", "b"])
    with pytest.raises(InputError, match="are 2"):
        read_masks(tmp_path / "m.npz")
    np.savez(tmp_path / "m.npz", masks=np.ones((2, 1, 4, 4)), fps=0)
    with pytest.raises(InputError, match="fps"):
        read_masks(tmp_path / "m.npz")


def test_places_that_can_not_be_written(tmp_path):
    for path, says in ((tmp_path / "m.gif", "suffix"), (tmp_path, "exists"), (tmp_path / "a" / "m", "mkdir")):
        with pytest.raises(InputError, match=says):
            write_masks(one_box(), path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="does not exist"):
        read_masks(tmp_path / "gone")


def test_a_folder_that_could_not_be_finished_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match="No space left"):
        write_masks(one_box(), tmp_path / "m")
    assert not list(tmp_path.iterdir())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats(-2, 9) | st.sampled_from(["0", "dog", "52203", "04"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["size", "counts", "annotations", "images", "videos", "segmentations", "segmentation", "id", "image_id",
             "height", "width", "polygons", "0", "dog", "frames", "fps", "categories"]
        ),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(_JSON, st.sampled_from(["bare", "annotations", "videos", "polygons"]))
def test_any_json_is_read_or_refused(tmp_path_factory, content, kind):
    whole = {
        "bare": content,
        "annotations": {"annotations": content, "images": [{"id": 1, "width": 4, "height": 4}]},
        "videos": {"annotations": content, "videos": [{"width": 4, "height": 4}]},
        "polygons": {"polygons": content, "size": [4, 4]},
    }[kind]
    path = tmp_path_factory.mktemp("any") / "m.json"
    path.write_text(json.dumps(whole))
    try:
        assert read_masks(path).masks.any()
    except InputError:
        return
