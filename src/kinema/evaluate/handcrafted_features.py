"""Features of frames and clips that need no weights: what the metrics of look and of distribution go by at mini scale.

Input: frames uint8 [T,H,W,3] RGB. Output: vectors. They see colours, edges and motion, not what a thing is: numbers on
them order videos of one kind and are not to be put beside those on DINO, CLIP or I3D.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from kinema.extract.optical_flow import optical_flow, to_grey

COLOUR_BINS = 4
BANDS = 3
DIRECTIONS = 8
CELLS = 2
COLOUR_SCALE, GRADIENT_SCALE, FLOW_SCALE, CHANGE_SCALE = 1.0, 80.0, 100.0, 50.0
"""Bring the four groups of `clip_features` to about the same spread over clips of the mini world (docs/evaluate.md)."""
CLIP_FEATURE_COUNT = CELLS**2 * (2 * 3 + 2 * DIRECTIONS + 2)
"""96: of each of 2x2 cells 6 of colour, 8 of edges, 8 of motion, 2 of change."""


def colour_layout(frames: UInt8[np.ndarray, "T H W 3"], pixels: Bool[np.ndarray, "T H W"]) -> Float[np.ndarray, "T D"]:
    """Which colours lie at the top, in the middle and at the bottom of some pixels, a frame: 3 x 64 numbers.

    Square roots of softly binned histograms of 4x4x4 colours over three bands of equal height of the pixels' box, so
    that a cosine between two is the Bhattacharyya coefficient of their colours. Zeros where a frame has no such pixel.
    """
    found = np.zeros((len(frames), BANDS, COLOUR_BINS**3))
    for t, mask in enumerate(pixels):
        y, x = np.nonzero(mask)
        if len(y) == 0:
            continue
        band = (y - y.min()) * BANDS // (y.max() - y.min() + 1)
        found[t] = _soft_histogram(frames[t, y, x], band)
    return np.sqrt(found).reshape(len(frames), -1)


def _soft_histogram(colours: UInt8[np.ndarray, "N 3"], band: np.ndarray) -> Float[np.ndarray, "B C"]:
    """[BANDS, COLOUR_BINS^3], sum 1: each pixel shared among the 8 colour bins around it by trilinear weights."""
    # Pixels of one colour (to 5 bits) and band are counted first: there are far fewer of those than pixels.
    code = (band << 15) | ((colours >> 3).astype(np.int64) @ np.array([1 << 10, 1 << 5, 1]))
    pixels = np.bincount(code)
    code = np.flatnonzero(pixels)
    levels = np.stack([code >> 10, code >> 5, code], 1) & 31
    place = levels / 31 * (COLOUR_BINS - 1)
    low = np.minimum(place.astype(int), COLOUR_BINS - 2)
    part = place - low
    counts = np.zeros(BANDS * COLOUR_BINS**3)
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, part, 1 - part).prod(1) * pixels[code]
        colour = (low + corner) @ [COLOUR_BINS**2, COLOUR_BINS, 1]
        counts += np.bincount((code >> 15) * COLOUR_BINS**3 + colour, weight, len(counts))
    return counts.reshape(BANDS, -1) / len(colours)


def clip_features(frames: UInt8[np.ndarray, "T H W 3"]) -> Float[np.ndarray, " D"]:
    """96 numbers of a clip, "kinema-handcrafted": means over time in 2x2 cells of the picture.

    colour    mean and standard deviation of R, G, B (0-1), over pixels and frames
    edges     strength of the grey gradient in 8 directions (0-180 degrees), as HOG has it, not normalised
    motion    length of the DIS flow in 8 directions, shares of the image height a frame
    change    mean absolute difference from the frame before (0-1), and that of the flow from the flow before
    """
    grey, flow = to_grey(frames).astype(np.float32) / 255, optical_flow(frames) / frames.shape[1]
    dx = np.stack([cv2.Sobel(g, cv2.CV_32F, 1, 0, scale=1 / 8) for g in grey])
    dy = np.stack([cv2.Sobel(g, cv2.CV_32F, 0, 1, scale=1 / 8) for g in grey])
    colour = frames.astype(np.float32) / 255
    change = np.abs(np.diff(grey, axis=0))
    flow_change = np.linalg.norm(np.diff(flow, axis=0), axis=-1) if len(flow) > 1 else np.zeros_like(change)
    groups = [
        COLOUR_SCALE * _cells(colour.mean(0)),
        COLOUR_SCALE * np.sqrt(np.maximum(_cells((colour**2).mean(0)) - _cells(colour.mean(0)) ** 2, 0)),
        GRADIENT_SCALE * _by_direction(dx, dy, half_turn=True),
        FLOW_SCALE * _by_direction(flow[..., 0], flow[..., 1], half_turn=False),
        CHANGE_SCALE * _cells(change.mean(0)),
        FLOW_SCALE * _cells(flow_change.mean(0)),
    ]
    return np.concatenate([group.ravel() for group in groups]).astype(np.float64)


def _cells(picture: Float[np.ndarray, "H W *C"]) -> Float[np.ndarray, "Y X *C"]:
    """Means in 2x2 cells of a picture."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    rows = (picture[:height].mean(0), picture[height:].mean(0))
    return np.stack([np.stack([row[:width].mean(0), row[width:].mean(0)]) for row in rows])


def _by_direction(dx: np.ndarray, dy: np.ndarray, half_turn: bool) -> Float[np.ndarray, "Y X D"]:
    """Mean length of vectors [T,H,W] in each of 8 directions, in 2x2 cells; a vector is shared between the two nearest.

    half_turn  opposite directions are one, as with edges
    """
    length, angle = cv2.cartToPolar(dx.reshape(len(dx), -1), dy.reshape(len(dy), -1))
    place = angle.reshape(dx.shape) * (DIRECTIONS / (np.pi if half_turn else 2 * np.pi))
    low = np.floor(place)
    part, low = place - low, low.astype(int)
    length = length.reshape(dx.shape)
    height, width = dx.shape[1:]
    cell = 2 * (np.arange(height) >= height // 2)[:, None] + (np.arange(width) >= width // 2)
    total = np.zeros(CELLS**2 * DIRECTIONS)
    for offset, weight in ((0, 1 - part), (1, part)):
        index = cell * DIRECTIONS + (low + offset) % DIRECTIONS
        total += np.bincount(index.ravel(), (length * weight).ravel(), len(total))
    size = np.bincount(cell.ravel(), minlength=CELLS**2) * len(dx)
    return (total.reshape(CELLS**2, DIRECTIONS) / size[:, None]).reshape(CELLS, CELLS, DIRECTIONS)
