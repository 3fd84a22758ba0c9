"""The wide world's backdrops: textures and places whose looks a few words tell whole.

Input: a random generator, photographs. Output: a square picture, uint8, and the words for where that is.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from kinema.world.backdrops import noise, piece, tint
from kinema.world.looks import COLORS

PHOTO_SHARE, PLACE_SHARE = 0.15, 0.4
"""Photographs, where there are any, and places; the rest are walls and grounds."""
Color = tuple[int, int, int]


def wide_backdrop(rng: np.random.Generator, side: int, photographs: list) -> tuple[np.ndarray, str]:
    """A picture [side,side,3] and where it is ("before a red brick wall over green tiles", "in the snow")."""
    kind = rng.random()
    if photographs and kind < PHOTO_SHARE:
        name, photo = photographs[rng.integers(len(photographs))]
        return tint(rng, piece(rng, photo, side), 0.12), f"before {name}"
    if kind > 1 - PLACE_SHARE:
        words = list(PLACES)[rng.integers(len(PLACES))]
        picture = PLACES[words](rng, side)
    else:
        (picture, wall), (ground, floor) = _wall(rng, side), _ground(rng, side)
        words = f"before {wall}"
        if rng.random() < 0.8:
            horizon = _horizon(rng, side)
            picture[horizon:] = ground[horizon:]
            words = f"{words} over {floor}"
    return np.clip(picture, 0, 255).astype(np.uint8), words


def _horizon(rng: np.random.Generator, side: int) -> int:
    """A row; a camera that stands still sees the middle half of the rows."""
    return int(side * rng.uniform(0.45, 0.62))


def _color(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    name = list(COLORS)[rng.integers(len(COLORS))]
    return name, np.clip(np.array(COLORS[name]) + rng.normal(0, 6, 3), 5, 250).astype(np.float32)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _blend(first, second, share: np.ndarray) -> np.ndarray:
    """Two colours [3] mixed by `share` [H,W]."""
    share = share[..., None].astype(np.float32)
    return np.asarray(first, np.float32) * (1 - share) + np.asarray(second, np.float32) * share


def _wall(rng: np.random.Generator, side: int) -> tuple[np.ndarray, str]:
    name, color = _color(rng)
    y, x = np.indices((side, side), np.float32) / side
    kind = rng.integers(6)
    grain = 0.12 * (noise(rng, side, (8, 24, 64)) - 0.5)
    if kind == 0:
        return _blend(color, 0.75 * color, noise(rng, side, (3, 6, 12)) + grain), _article(f"{name} wall")
    if kind == 1:
        rows = int(rng.integers(10, 20))
        shifted = x * rows / 2 + 0.5 * (np.floor(y * rows) % 2)
        joint = ((y * rows) % 1 < 0.14) | (shifted % 1 < 0.07)
        bricks = _blend(color, 0.7 * color, noise(rng, side, (rows,)) + grain)
        return np.where(joint[..., None], 0.4 * color + 110, bricks), _article(f"{name} brick wall")
    if kind == 2:
        planks = int(rng.integers(8, 18))
        share = 0.6 * rng.random(planks + 1)[np.floor(x * planks).astype(int)] + grain
        share[(x * planks) % 1 < 0.08] = 1
        return _blend(color, 0.55 * color, share), f"{name} planks"
    if kind == 3:
        return _blend(color, 0.5 * color + 120, noise(rng, side, (2, 4, 8)) ** 1.5), _article(f"{name} cloudy sky")
    if kind == 4:
        folds = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(10, 20) * (x + 0.01 * np.sin(9 * y)))
        return _blend(color, 0.5 * color, folds + grain), _article(f"{name} curtain")
    other, second = _color(rng)
    stripes = (x * rng.integers(8, 16)) % 1 < 0.5
    return _blend(color, second, stripes.astype(np.float32)), f"{name} and {other} stripes"


def _ground(rng: np.random.Generator, side: int) -> tuple[np.ndarray, str]:
    name, color = _color(rng)
    y, x = np.indices((side, side), np.float32) / side
    kind = rng.integers(4)
    if kind == 0:
        other, second = _color(rng)
        tiles = int(rng.integers(8, 16))
        checks = (np.floor(x * tiles) + np.floor(y * 2 * tiles)) % 2
        words = f"{name} and {other} tiles" if other != name else f"{name} tiles"
        return _blend(color, second if other != name else 0.75 * color, checks), words
    if kind == 1:
        return _blend(color, 0.7 * color, noise(rng, side, (16, 48, 96))), _article(f"{name} carpet")
    if kind == 2:
        boards = int(rng.integers(16, 30))
        share = 0.5 * rng.random(boards + 1)[np.floor(y * boards).astype(int)]
        share[(y * boards) % 1 < 0.12] = 1
        return _blend(color, 0.6 * color, share), f"{name} boards"
    return _blend(color, 0.85 * color, noise(rng, side, (2, 4))), _article(f"{name} floor")


def _sky(rng: np.random.Generator, side: int, top: Color, low: Color, clouds: float = 0.0) -> np.ndarray:
    """Top colour at the highest row seen, `low` at the middle."""
    y = np.linspace(-0.5, 1, side, dtype=np.float32)[:, None].repeat(side, 1) * 1.33
    sky = _blend(top, low, np.clip(y, 0, 1))
    if clouds:
        cover = np.clip((noise(rng, side, (3, 6, 12, 24)) - 0.55) * 5, 0, 1) * clouds
        sky = sky * (1 - cover[..., None]) + 248 * cover[..., None]
    return sky


def _ridge(rng: np.random.Generator, side: int, base: float, height: float) -> np.ndarray:
    """[side,side] True below a hilly line about row `base`."""
    x = np.arange(side, dtype=np.float32) / side
    line = base - height * sum(np.sin(2 * np.pi * (f * x + rng.random())) / f for f in (1.3, 2.7, 5.1)) / 2
    return np.arange(side)[:, None] >= line


def _specks(rng: np.random.Generator, picture: np.ndarray, rows: slice, count: int, color, size: int = 2) -> None:
    """Little squares of a colour, in place."""
    first, last, _ = rows.indices(len(picture))
    for y, x in zip(rng.integers(first, last - size, count), rng.integers(0, len(picture) - size, count), strict=True):
        picture[y : y + size, x : x + size] = color


def _snow(rng: np.random.Generator, side: int) -> np.ndarray:
    picture, h = _sky(rng, side, (158, 178, 204), (214, 222, 234)), _horizon(rng, side)
    hills = _ridge(rng, side, h - 0.05 * side, 0.05 * side)
    picture[hills] = (188, 202, 224)
    ground = _blend((250, 251, 255), (206, 218, 238), noise(rng, side, (3, 8, 20)) ** 2)
    picture[h:] = ground[h:]
    for _ in range(rng.integers(4, 9)):
        x, foot = int(rng.integers(0, side)), h + int(rng.integers(0, 1 + side // 24))
        _fir(picture, x, foot, rng.uniform(0.08, 0.16) * side, (58, 84, 84))
    _specks(rng, picture, slice(0, side), side // 2, (255, 255, 255))
    return picture


def _fir(picture: np.ndarray, x: int, foot: int, height: float, color: Color) -> None:
    tip, wide = (x, int(foot - height)), int(0.28 * height)
    cv2.fillPoly(picture, [np.array([tip, (x - wide, foot), (x + wide, foot)], np.int32)], color)


def _desert(rng: np.random.Generator, side: int) -> np.ndarray:
    picture, h = _sky(rng, side, (70, 140, 220), (176, 212, 236)), _horizon(rng, side)
    for k, color in enumerate([(222, 176, 110), (230, 188, 120), (238, 200, 134)]):
        dune = _ridge(rng, side, h + 0.06 * side * (k - 0.5), 0.04 * side)
        ripples = np.sin(np.arange(side)[:, None] * 0.9 + 6 * noise(rng, side, (3, 6)))
        picture[dune] = (np.array(color, np.float32) + 8 * ripples[..., None])[dune]
    return picture


def _meadow(rng: np.random.Generator, side: int) -> np.ndarray:
    picture, h = _sky(rng, side, (84, 156, 232), (190, 222, 246), 0.9), _horizon(rng, side)
    picture[_ridge(rng, side, h - 0.03 * side, 0.03 * side)] = (84, 142, 84)
    picture[h:] = _blend((96, 178, 62), (52, 122, 40), noise(rng, side, (12, 40, 100)))[h:]
    for color in ((246, 216, 60), (246, 246, 240), (224, 72, 92)):
        _specks(rng, picture, slice(h + 6, side), side // 8, color)
    return picture


def _sea(rng: np.random.Generator, side: int) -> np.ndarray:
    picture, h = _sky(rng, side, (96, 172, 236), (206, 230, 246), 0.6), _horizon(rng, side)
    y = np.arange(side, dtype=np.float32)[:, None]
    waves = 0.5 + 0.5 * np.sin(900 / (np.maximum(y - h, 0) + 12) + 3 * noise(rng, side, (4, 10)))
    picture[h:] = _blend((22, 92, 152), (70, 160, 200), waves)[h:]
    beach = _ridge(rng, side, h + rng.uniform(0.14, 0.2) * side, 0.015 * side)
    picture[np.roll(beach, -3, 0)] = (244, 248, 250)
    picture[beach] = _blend((236, 212, 160), (216, 188, 134), noise(rng, side, (24, 80)))[beach]
    return picture


def _night(rng: np.random.Generator, side: int) -> np.ndarray:
    picture, h = _sky(rng, side, (8, 10, 34), (34, 40, 92)), _horizon(rng, side) + side // 20
    _specks(rng, picture, slice(side // 8, h), side // 2, (250, 246, 220), 2)
    center = (int(side * rng.uniform(0.28, 0.72)), int(side * rng.uniform(0.29, 0.36)))
    cv2.circle(picture, center, int(side * rng.uniform(0.025, 0.045)), (248, 242, 206), -1, cv2.LINE_AA)
    ground = _ridge(rng, side, h, 0.012 * side)
    picture[ground] = _blend((34, 46, 58), (18, 26, 40), noise(rng, side, (6, 20, 60)))[ground]
    return picture


def _forest(rng: np.random.Generator, side: int) -> np.ndarray:
    picture, h = _blend((36, 84, 44), (96, 150, 74), noise(rng, side, (6, 14, 40))), _horizon(rng, side) + side // 16
    picture[h:] = _blend((112, 88, 52), (70, 96, 44), noise(rng, side, (6, 20, 60)))[h:]
    for depth in np.sort(rng.uniform(0, 1, 16)):
        x, wide = int(rng.uniform(0, side)), int(side * (0.008 + 0.022 * depth))
        foot, shade = h + int(0.08 * side * depth), 0.7 + 0.4 * depth
        picture[:foot, max(x - wide, 0) : x + wide] = np.array((92, 64, 42)) * shade
        picture[:foot, max(x - wide, 0) : max(x - wide // 2, 0)] = np.array((60, 42, 30)) * shade
    return picture


def _city(rng: np.random.Generator, side: int) -> np.ndarray:
    picture, h = _sky(rng, side, (130, 164, 204), (206, 216, 226)), _horizon(rng, side) + side // 20
    x = 0
    while x < side:
        wide, top = int(side * rng.uniform(0.06, 0.14)), h - int(side * rng.uniform(0.12, 0.34))
        wall = rng.uniform(60, 150) + rng.normal(0, 12, 3)
        picture[top:h, x : x + wide] = wall
        lit = wall * 0.45 if rng.random() < 0.6 else (250, 224, 140)
        for y in range(top + 4, h - 6, 9):
            for left in range(x + 3, x + wide - 5, 8):
                picture[y : y + 5, left : left + 4] = lit
        x += wide
    picture[h:] = _blend((104, 106, 112), (86, 88, 94), noise(rng, side, (20, 80)))[h:]
    lane = h + int(0.1 * side)
    picture[h : h + side // 40] = (170, 168, 164)
    for left in range(0, side, side // 8):
        picture[lane : lane + side // 60, left : left + side // 14] = (240, 238, 226)
    return picture


def _sunset(rng: np.random.Generator, side: int) -> np.ndarray:
    picture, h = _sky(rng, side, (92, 50, 130), (255, 150, 60)), _horizon(rng, side)
    sun = (int(side * rng.uniform(0.3, 0.7)), h - int(0.03 * side))
    cv2.circle(picture, sun, int(side * rng.uniform(0.05, 0.08)), (255, 226, 120), -1, cv2.LINE_AA)
    ground = _ridge(rng, side, h, 0.03 * side)
    picture[ground] = _blend((72, 38, 56), (48, 26, 44), noise(rng, side, (5, 20, 60)))[ground]
    return picture


PLACES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "in the snow": _snow,
    "in a sandy desert": _desert,
    "on a green meadow": _meadow,
    "by the sea": _sea,
    "under a night sky with stars": _night,
    "in a forest": _forest,
    "in a city": _city,
    "at sunset": _sunset,
}
