"""Uploads that mean harm, or are only too large: told from headers, refused with a sentence."""

import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from bad_files import picture, png_of_size, zip_bomb, zip_of

from kinema.errors import InputError
from kinema.studio import limits
from kinema.studio.limits import LIMITS
from kinema.studio.masks_draft import read_upload
from kinema.video import write_video


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.bmp", "BMP")])
def test_good_pictures_pass(tmp_path, name, kind):
    limits.check_picture(picture(tmp_path / name, kind))


def test_a_picture_of_thirty_thousand_pixels_is_refused_without_decoding_it(tmp_path):
    with pytest.raises(InputError, match="far too many pixels"):
        limits.check_picture(png_of_size(tmp_path / "huge.png", 30_000, 30_000))
    with pytest.raises(InputError, match="30000x10 pixels"):
        limits.check_picture(png_of_size(tmp_path / "wide.png", 30_000, 10))


def test_text_under_a_pictures_name_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(InputError, match="is no picture"):
        limits.check_picture(tmp_path / "a.png")


def test_polyglots_are_refused(tmp_path):
    page = picture(tmp_path / "page.png")
    page.write_bytes(page.read_bytes() + b"<SCRIPT>alert(1)</SCRIPT>")
    archive = picture(tmp_path / "archive.jpg", "JPEG")
    archive.write_bytes(archive.read_bytes() + zip_of(**{"evil.class": b"x"}))
    for path in (page, archive):
        with pytest.raises(InputError, match="beside the picture"):
            limits.check_picture(path)


def test_an_empty_file_and_one_that_is_too_large_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        limits.check_picture(tmp_path / "a.png")
    with pytest.raises(InputError, match="at most 0 MB"):
        limits.check_picture(picture(tmp_path / "b.png"), replace(LIMITS, upload_bytes=10))


def test_a_video_of_ten_minutes_is_refused_and_a_short_one_passes(tmp_path):
    still = np.zeros((32, 32, 3), np.uint8)
    write_video([still] * 4, tmp_path / "short.mp4", 2.0)
    limits.check_video(tmp_path / "short.mp4")
    write_video([still] * 10, tmp_path / "long.mp4", 1 / 60)
    with pytest.raises(InputError, match="lasts 600 s"):
        limits.check_video(tmp_path / "long.mp4")
    with pytest.raises(InputError, match="frames of 32x32"):
        limits.check_video(tmp_path / "short.mp4", replace(LIMITS, video_px=100))


def test_a_playlist_that_would_make_the_decoder_read_other_files_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    with pytest.raises(InputError, match="is no video"):
        limits.check_video(tmp_path / "a.mp4")


def test_a_video_whose_masks_would_fill_the_memory_is_refused(tmp_path):
    write_video([np.zeros((64, 64, 3), np.uint8)] * 8, tmp_path / "masks.mp4", 8.0)
    limits.check_masks(tmp_path / "masks.mp4")
    with pytest.raises(InputError, match="too many pixels"):
        limits.check_masks(tmp_path / "masks.mp4", replace(LIMITS, unpacked_bytes=7 * 64 * 64))


def test_small_pictures_that_state_millions_of_pixels_are_refused_in_a_zip(tmp_path):
    content = png_of_size(tmp_path / "a.png", 8_000, 8_000).read_bytes()
    (tmp_path / "a.zip").write_bytes(zip_of(**{f"{k}.png": content for k in range(5)}))
    with pytest.raises(InputError, match="too many pixels"):
        limits.check_masks(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(zip_of(**{"0.png": b"GIF89a"}))
    with pytest.raises(InputError, match="is no PNG"):
        limits.check_masks(tmp_path / "b.zip")


def test_a_zip_that_holds_more_than_it_states_is_refused_and_leaves_nothing(tmp_path):
    content = png_of_size(tmp_path / "a.png", 8, 8).read_bytes() + bytes(1 << 16)
    lying = zip_of(**{"0.png": content}).replace(struct.pack("<I", len(content)), struct.pack("<I", 60))
    (tmp_path / "a.zip").write_bytes(lying)
    with pytest.raises(InputError, match=r"cannot be unpacked|is damaged"):
        read_upload(tmp_path / "a.zip")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.zip"}


def test_a_motion_of_too_many_frames_is_refused_before_it_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", poses=np.zeros((40_000, 3), np.float32))
    (tmp_path / "a.bvh").write_text("HIERARCHY\nMOTION\nFrames: 1000000000\n")
    for name in ("a.npz", "a.bvh"):
        with pytest.raises(InputError, match="at most 30000"):
            limits.check_motion(tmp_path / name)


def test_a_zip_bomb_is_refused_by_what_it_states(tmp_path):
    (tmp_path / "stated.zip").write_bytes(zip_bomb())
    with pytest.raises(InputError, match="unpacks to 600 MB"):
        limits.check_masks(tmp_path / "stated.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file, file.open("0.png", "w") as entry:
        for _ in range(4):
            entry.write(bytes(1 << 20))
    with pytest.raises(InputError, match="unpacks to 4 MB"):
        limits.check_masks(tmp_path / "bomb.zip", replace(LIMITS, unpacked_bytes=1 << 20))


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "..\\evil.png", "C:\\evil.png"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(InputError, match="leads out of its folder"):
        limits.check_masks(tmp_path / "a.zip")


def test_an_array_that_states_more_than_it_holds_is_refused(tmp_path):
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("poses.npy", header.getvalue())
    with pytest.raises(InputError, match="states an array"):
        limits.check_motion(tmp_path / "a.npz")


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", masks=np.array([{"a": 1}], object))
    with pytest.raises(InputError, match="pickled"):
        limits.check_masks(tmp_path / "a.npz")


def test_run_lengths_of_a_few_bytes_that_unpack_to_gigabytes_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('[{"segmentations": [{"size": [100000, 100000], "counts": "0"}]}]')
    with pytest.raises(InputError, match="too many pixels"):
        limits.check_masks(tmp_path / "a.json")


def test_a_motion_of_another_kind_than_its_name_says_is_refused(tmp_path):
    for name, content in (("a.bvh", b"MZ"), ("a.glb", b"xxxx"), ("a.fbx", b"x")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            limits.check_motion(tmp_path / name)


def test_a_prompt_comes_back_on_one_line_and_not_endless():
    assert limits.check_prompt("  a man\n waves ") == "a man waves"
    assert limits.check_prompt(None) == ""
    with pytest.raises(InputError, match="1001 letters"):
        limits.check_prompt("a" * 1001)
    with pytest.raises(InputError, match="control"):
        limits.check_prompt("a\x00b")
