"""What lies behind the subjects: procedural walls and grounds, and pieces of photographs.

Input: a random generator, photographs. Output: a square picture, uint8, and the words for it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from kinema.errors import InputError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
LARGEST_PHOTO_PX = 512


def load_photographs(folder: Path) -> list[tuple[str, np.ndarray]]:
    """All pictures of a folder, by name, RGB, made no larger than needed. Raises InputError where there is none."""
    found = []
    for path in sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in PHOTO_SUFFIXES):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise InputError(path, "cannot be read as a picture", expected=", ".join(PHOTO_SUFFIXES))
        scale = LARGEST_PHOTO_PX / max(picture.shape[:2])
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found.append((path.stem.replace("_", " "), picture[..., ::-1]))
    if not found:
        raise InputError(folder, "holds no pictures", expected=", ".join(PHOTO_SUFFIXES))
    return found


def backdrop(rng: np.random.Generator, side: int, photographs: list) -> tuple[np.ndarray, str]:
    """A picture [side,side,3] and what it is ("a brick wall")."""
    if photographs and rng.random() < 0.35:
        name, photo = photographs[rng.integers(len(photographs))]
        return tint(rng, piece(rng, photo, side), 0.12), name
    wall, wall_words = _texture(rng, side)
    if rng.random() < 0.75:
        ground, ground_words = _texture(rng, side)
        horizon = int(side * rng.uniform(0.45, 0.72))
        wall[horizon:] = ground[horizon:] * np.float32(rng.uniform(0.7, 1.0))
        wall_words = f"{wall_words} over {ground_words}"
    shade = 1 + rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, side)[:, None, None]
    return np.clip(wall * shade, 0, 255).astype(np.uint8), wall_words


def piece(rng: np.random.Generator, photo: np.ndarray, side: int) -> np.ndarray:
    """A random square of a photograph, [side,side,3]."""
    height, width = photo.shape[:2]
    size = int(min(height, width) * rng.uniform(0.5, 1.0))
    top, left = rng.integers(0, height - size + 1), rng.integers(0, width - size + 1)
    piece = cv2.resize(photo[top : top + size, left : left + size], (side, side), interpolation=cv2.INTER_AREA)
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def tint(rng: np.random.Generator, picture: np.ndarray, size: float) -> np.ndarray:
    """The picture with each channel scaled by up to `size`."""
    return np.clip(picture * (1 + rng.uniform(-size, size, 3)), 0, 255).astype(np.uint8)


def _colors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two muted colours that go together."""
    first = rng.uniform(40, 225) + rng.normal(0, 26, 3)
    return np.clip(first, 10, 245), np.clip(
        first + rng.uniform(15, 60) * rng.choice([-1, 1]) + rng.normal(0, 14, 3), 10, 245
    )


def noise(rng: np.random.Generator, side: int, octaves: tuple[int, ...]) -> np.ndarray:
    """[side,side] 0-1, a sum of smooth random fields (value noise)."""
    total = np.zeros((side, side), np.float32)
    for k, cells in enumerate(octaves):
        field = rng.random((cells + 1, cells + 1), np.float32)
        total += cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC) * 0.6**k
    low, high = total.min(), total.max()
    return (total - low) / (high - low)


def _texture(rng: np.random.Generator, side: int) -> tuple[np.ndarray, str]:
    first, second = _colors(rng)
    y, x = np.indices((side, side), np.float32) / side
    kind = rng.integers(6)
    grain = noise(rng, side, (8, 24, 64))
    if kind == 0:
        mix, words = noise(rng, side, (3, 6, 12, 24)), "a mottled wall"
    elif kind == 1:
        rows = int(rng.integers(8, 18))
        shifted = x * rows / 2 + 0.5 * (np.floor(y * rows) % 2)
        joint = ((y * rows) % 1 < 0.12) | (shifted % 1 < 0.06)
        mix, words = np.where(joint, 1.0, 0.35 * noise(rng, side, (rows,))), "a brick wall"
    elif kind == 2:
        planks = int(rng.integers(6, 16))
        along = np.floor(x * planks)
        mix = np.where((x * planks) % 1 < 0.06, 1.0, 0.5 * rng.random(planks + 1)[along.astype(int)])
        mix, words = mix + 0.25 * noise(rng, side, (4, 48)), "wooden planks"
    elif kind == 3:
        mix, words = noise(rng, side, (2, 3)), "a hazy sky"
    elif kind == 4:
        tiles = int(rng.integers(5, 12))
        mix, words = (np.floor(x * tiles) + np.floor(y * tiles)) % 2 * 0.6, "tiles"
    else:
        mix, words = noise(rng, side, (12, 32, 80)), "a leafy hedge"
    mix = np.clip(mix + 0.2 * (grain - 0.5), 0, 1)[..., None].astype(np.float32)
    return first.astype(np.float32) * (1 - mix) + second.astype(np.float32) * mix, words
