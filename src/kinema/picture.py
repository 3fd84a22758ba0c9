"""Pictures from files: any kind that Pillow reads, turned upright, on white, and fitted to a model's size.

Input: a file or an array. Output: uint8 [H,W,3] RGB, and the `Fit` that takes its pixels to the model's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from kinema.errors import InputError
from kinema.types import Cameras

SMALLEST_PX, LARGEST_PX = 32, 16_384
"""Sides of a picture that can be animated."""


@dataclass(frozen=True)
class Fit:
    """Where the pixels of a picture go in the model's: x * scale + shift, what lies outside is cropped."""

    scale: float
    shift: tuple[float, float]
    size: tuple[int, int]

    def points(self, points_px: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
        """Pixels of the picture -> pixels of the model."""
        return points_px * self.scale + np.array(self.shift)

    def picture(self, picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The picture at the model's size."""
        height, width = (max(1, round(side * self.scale)) for side in picture.shape[:2])
        method = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        scaled = cv2.resize(picture, (max(width, self.size[0]), max(height, self.size[1])), interpolation=method)
        left, top = (round(-shift) for shift in self.shift)
        return np.ascontiguousarray(scaled[top : top + self.size[1], left : left + self.size[0]])

    def placed(self, frames: UInt8[np.ndarray, "T h w 3"], picture_hw: tuple[int, int]) -> UInt8[np.ndarray, "T H W 3"]:
        """Frames of the model where they lie in the whole picture; its border goes on where they were cropped."""
        if frames.shape[1:3] == picture_hw:
            return frames
        # Pixels of OpenCV have their centre at whole numbers, ours half a pixel on.
        back = [(0.5 - shift) / self.scale - 0.5 for shift in self.shift]
        matrix = np.array([[1 / self.scale, 0, back[0]], [0, 1 / self.scale, back[1]]])
        size = (picture_hw[1], picture_hw[0])
        return np.stack([cv2.warpAffine(f, matrix, size, borderMode=cv2.BORDER_REPLICATE) for f in frames])

    def undone(self, cameras: Cameras, picture_hw: tuple[int, int]) -> Cameras:
        """Cameras of the model's frames -> of the whole picture."""
        if cameras.image_hw == picture_hw:
            return cameras
        K = cameras.K.astype(float).copy()
        K[:, 0, 2] -= self.shift[0]
        K[:, 1, 2] -= self.shift[1]
        K[:, :2] /= self.scale
        return Cameras(K.astype(np.float32), cameras.T_camera_world, picture_hw)


def fit(picture_hw: tuple[int, int], pixels: int, multiple: int) -> Fit:
    """The size of about `pixels` that keeps the picture's shape best, cropped evenly where it must be.

    multiple  the sides of the size are multiples of this
    """
    height, width = picture_hw
    ideal = np.sqrt(pixels * width / height), np.sqrt(pixels * height / width)
    size = tuple(max(multiple, int(side / multiple + 0.5) * multiple) for side in ideal)
    scale = max(size[0] / width, size[1] / height)
    shift = (size[0] - round(width * scale)) / 2, (size[1] - round(height * scale)) / 2
    return Fit(float(scale), (float(np.trunc(shift[0])), float(np.trunc(shift[1]))), (size[0], size[1]))


def load_picture(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Read a picture: turned as its EXIF says, transparent parts on white, grey as RGB. Raises InputError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    expected = "a picture, such as .jpg or .png"
    if not path.is_file():
        raise InputError(path, "does not exist" if not path.exists() else "is no file", expected)
    try:
        with Image.open(path) as opened:
            _check_size(path, *opened.size)
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except UnidentifiedImageError as error:
        raise InputError(path, "is no picture", expected) from error
    except Image.DecompressionBombError as error:
        raise InputError(path, "is too large", f"sides up to {LARGEST_PX} pixels", "scale it down") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(path, f"cannot be read ({error})", expected, "save it anew") from error
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB")).copy()


def _check_size(where: object, width: int, height: int) -> None:
    if min(width, height) < SMALLEST_PX or max(width, height) > LARGEST_PX:
        raise InputError(
            where, f"is {width}x{height}", f"sides from {SMALLEST_PX} to {LARGEST_PX} pixels", "scale the picture"
        )


def checked_picture(picture: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """An array as a picture. Raises InputError where it is none: uint8 [H,W,3], RGB."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError("image", f"is {picture.dtype} of shape {picture.shape}", "uint8 [H,W,3], RGB")
    _check_size("image", picture.shape[1], picture.shape[0])
    return picture
