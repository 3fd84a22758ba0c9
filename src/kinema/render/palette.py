"""Maps to pictures: part colours, and the encodings of masks, depth and normals that video models were trained on.

Input: fields of `ControlMaps`. Output: RGB uint8 [T,H,W,3].
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from kinema.body.skeleton import PART_IDS

_HEX = {
    "background": "000000",
    "head": "ffd92f", "neck": "b89b00", "chest": "e5007e", "abdomen": "ff7fc4", "hips": "8f1d5d",
    "left_upper_arm": "ff8c1a", "right_upper_arm": "b35400", "left_forearm": "ffc08a", "right_forearm": "d9763a",
    "left_hand": "ff5a47", "right_hand": "b3170a", "left_thigh": "4da3ff", "right_thigh": "0a56b3",
    "left_shin": "5fe0e6", "right_shin": "00878f", "left_foot": "7ee66b", "right_foot": "1f8a2a",
    "animal_head": "fff3a8", "animal_neck": "c2a538", "animal_chest": "c44dff", "animal_belly": "e0aaff",
    "animal_hips": "7a1fa8",
    "left_front_upper_leg": "c6f24d", "right_front_upper_leg": "7a9e00", "left_front_lower_leg": "ecffc4",
    "right_front_lower_leg": "aab85a", "left_front_paw": "ffa094", "right_front_paw": "b8554a",
    "left_hind_upper_leg": "8c7bff", "right_hind_upper_leg": "4a35c9", "left_hind_lower_leg": "bcd0ff",
    "right_hind_lower_leg": "5c85c4", "left_hind_paw": "a8f5c0", "right_hind_paw": "3f9e6a",
    "tail": "f2f2f2", "left_ear": "ffd1dc", "right_ear": "a8576e", "object": "a6a6a6",
}  # fmt: skip


def _colors() -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)
    for name, value in _HEX.items():
        table[PART_IDS[name]] = list(bytes.fromhex(value))
    return table


PART_COLORS: UInt8[np.ndarray, "256 3"] = _colors()
"""Part id -> RGB. Left and right share a hue, the left one is lighter."""

BACKGROUND_DISTANCE = 2.0
"""The background of a depth picture is taken to stand at this many times the farthest depth seen (our choice).

Estimated depth has a background behind the subject; with none, the subject would take all greys down to black.
"""


def parts_to_rgb(part_ids: UInt8[np.ndarray, "T H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Flat colours of `PART_COLORS`."""
    return PART_COLORS[part_ids]


def rgb_to_parts(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
    """The nearest part of every colour: undoes `parts_to_rgb`, through a video codec's loss as well."""
    ids = np.array(sorted(PART_IDS.values()), np.uint8)
    packed = frames.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    seen, where = np.unique(packed, return_inverse=True)
    colors = np.stack([seen >> 16, seen >> 8 & 255, seen & 255], -1)
    nearest = ids[((colors[:, None] - PART_COLORS[ids].astype(int)) ** 2).sum(-1).argmin(1)]
    return nearest[where].reshape(packed.shape)


def mask_to_rgb(subject_ids: UInt8[np.ndarray, "T H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """White on black: all subjects."""
    return np.repeat(np.where(subject_ids > 0, np.uint8(255), np.uint8(0))[..., None], 3, -1)


def depth_range_m(depth_m: Float[np.ndarray, "T H W"]) -> tuple[float, float]:
    """Nearest and farthest depth seen in a clip; (1, 1) where nothing is."""
    seen = depth_m[np.isfinite(depth_m)]
    return (float(seen.min()), float(seen.max())) if seen.size else (1.0, 1.0)


def depth_to_rgb(
    depth_m: Float[np.ndarray, "T H W"], range_m: tuple[float, float] | None = None
) -> UInt8[np.ndarray, "T H W 3"]:
    """Inverse depth, near white, far black, as depth-conditioned models know it.

    Their depth comes from MiDaS (Ranftl et al. 2022) or Depth Anything (Yang et al. 2024), which predict disparity up
    to scale and shift, brought to 0-255 by its least and greatest value; over the whole clip here, so that it does
    not flicker. The least is the background's, `BACKGROUND_DISTANCE`.
    range_m  of the clip, where `depth_m` is only a piece of it
    """
    near, far = range_m or depth_range_m(depth_m)
    least, greatest = 1 / (BACKGROUND_DISTANCE * far), 1 / near
    value = np.clip((1 / depth_m - least) / (greatest - least), 0, 1)
    return np.repeat(np.rint(value * 255).astype(np.uint8)[..., None], 3, -1)


def normals_to_rgb(normals: Float[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Camera-frame normals as ControlNet's normal model knows them: red is left, green is up, blue is front.

    That is NormalBae's encoding (Bae et al. 2021), which the ControlNet 1.1 page gives as "blue is front, red is left,
    green is top". Background as a wall that faces the camera, (128, 128, 255).
    """
    facing = np.where((normals == 0).all(-1, keepdims=True), np.array([0, 0, -1], normals.dtype), normals)
    return np.rint(127.5 - 127.5 * facing).astype(np.uint8)
