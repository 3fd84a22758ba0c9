"""Pictures from files: upright, on white, fitted; and what is refused."""

import numpy as np
import pytest
from PIL import Image

from kinema.camera import project
from kinema.errors import InputError
from kinema.picture import checked_picture, fit, load_picture
from kinema.types import Cameras


def save(path, mode, size=(64, 48), color=None, **options):
    Image.new(mode, size, color).save(path, **options)
    return path


def test_grey_comes_as_rgb(tmp_path):
    picture = load_picture(save(tmp_path / "grey.png", "L", color=77))
    assert picture.shape == (48, 64, 3)
    assert (picture == 77).all()


def test_transparent_parts_are_white(tmp_path):
    picture = load_picture(save(tmp_path / "alpha.png", "RGBA", color=(255, 0, 0, 0)))
    assert (picture == 255).all()


def test_sixteen_bit_and_palette_pictures_load(tmp_path):
    assert load_picture(save(tmp_path / "palette.gif", "P", color=3)).dtype == np.uint8


def test_exif_turns_the_picture_upright(tmp_path):
    image = Image.new("RGB", (64, 48), "black")
    image.paste((255, 255, 255), (0, 0, 64, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    picture = load_picture(tmp_path / "turned.jpg")
    assert picture.shape == (64, 48, 3)
    assert picture[:, -5:].mean() > 240
    assert picture[:, :5].mean() < 15


@pytest.mark.parametrize("size", [(1, 1), (20, 400), (17_000, 40)])
def test_too_small_or_large_is_refused_with_its_size(tmp_path, size):
    with pytest.raises(InputError, match=f"{size[0]}x{size[1]}"):
        load_picture(save(tmp_path / "size.png", "L", size))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    with pytest.raises(InputError):
        load_picture(save(tmp_path / "bomb.png", "1", (20_000, 20_000)))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError):
        load_picture(tmp_path / "x.png")


def test_a_cut_off_picture_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:20_000])
    with pytest.raises(InputError):
        load_picture(tmp_path / "half.png")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_picture(tmp_path / "gone.png")
    with pytest.raises(InputError, match="is no file"):
        load_picture(tmp_path)


@pytest.mark.parametrize(("hw", "size"), [((128, 128), (128, 128)), ((720, 1280), (160, 96)), ((1280, 720), (96, 160))])
def test_sizes_keep_the_shape_in_multiples(hw, size):
    assert fit(hw, 128 * 128, 32).size == size


def test_points_go_where_the_pixels_go():
    picture = np.zeros((300, 500, 3), np.uint8)
    picture[140:160, 240:260] = 255
    fitted = fit((300, 500), 128 * 128, 32)
    small = fitted.picture(picture)
    assert small.shape == (fitted.size[1], fitted.size[0], 3)
    bright = np.argwhere(small[..., 0] > 128).mean(0)[::-1] + 0.5
    assert np.abs(fitted.points(np.array([[250.0, 150.0]]))[0] - bright).max() < 1.0


def test_arrays_of_another_kind_are_refused():
    with pytest.raises(InputError):
        checked_picture(np.zeros((64, 64, 3), np.float32))
    with pytest.raises(InputError):
        checked_picture(np.zeros((64, 64), np.uint8))


def test_cameras_of_the_models_frames_become_those_of_the_whole_picture():
    """A point is seen where the pixel of the model's frame lies in the picture."""
    fitted = fit((576, 1024), 512 * 288, 64)
    assert fitted.size == (512, 320)
    K = np.array([[[400.0, 0, 256], [0, 400, 160], [0, 0, 1]]], np.float32)
    cameras = Cameras(K, np.eye(4, dtype=np.float32)[None], (320, 512))
    point = np.array([[[0.3, -0.2, 2.0]]], np.float32)
    small, _ = project(point, cameras)
    whole, _ = project(point, fitted.undone(cameras, (576, 1024)))
    assert np.allclose(fitted.points(whole[0].astype(float)), small[0], atol=1e-3)
    assert fitted.undone(cameras, (576, 1024)).image_hw == (576, 1024)


def test_frames_of_the_model_are_placed_where_they_lie_in_the_picture():
    smooth = np.stack(np.meshgrid(np.arange(256), np.arange(144)), -1)
    picture = np.concatenate([smooth, smooth[..., :1] // 2], -1).astype(np.uint8)
    fitted = fit((144, 256), 128 * 72, 32)
    assert fitted.size == (128, 64)
    back = fitted.placed(fitted.picture(picture)[None], (144, 256))[0]
    inside = (slice(16, -16), slice(8, -8))
    assert np.abs(back[inside].astype(int) - picture[inside]).max() <= 2
    assert np.array_equal(fit((144, 256), 144 * 256, 16).placed(picture[None], (144, 256))[0], picture)
