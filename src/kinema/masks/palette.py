"""The colours of objects in indexed PNGs and previews: those of PASCAL VOC and DAVIS, whose first is black."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from kinema.types import MaskSequence


def _colours() -> np.ndarray:
    """Bits 0, 1, 2 of an index go to the highest bits of red, green, blue, bits 3, 4, 5 to the next (VOC's devkit)."""
    index = np.arange(256)
    table = np.zeros((256, 3), np.uint8)
    for channel in range(3):
        for k in range(3):
            table[:, channel] |= ((index >> (3 * k + channel) & 1) << (7 - k)).astype(np.uint8)
    return table


OBJECT_COLOURS: UInt8[np.ndarray, "256 3"] = _colours()
"""0 is the background; object k of a sequence has the colour k + 1."""


def object_ids(masks: MaskSequence) -> UInt8[np.ndarray, "T H W"]:
    """0 background, else 1 + the index of the object in front; at most 254 objects."""
    ids = np.zeros((len(masks), *masks.masks.shape[2:]), np.uint8)
    for k in reversed(range(len(masks.labels))):
        ids[masks.masks[:, k]] = k + 1
    return ids
