"""COCO's run-length code of masks: counts of background and mask pixels in turn, down the columns.

Input and output: a mask bool [H,W]; its counts, as a list or compressed to a string, byte for byte what pycocotools
writes (`rleToString` and `rleFrString` of COCO's maskApi). Source: Lin et al. 2014 (Microsoft COCO).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from kinema.errors import InputError

FIRST_CHARACTER = 48
"""The character of 0 ("0"); each holds 5 bits of a number, the lowest first, and a bit that says whether more follow."""


def encode(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """Mask -> counts: background pixels first (0 where the first pixel is in the mask), columns from left to right."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]]))
    return [0, *counts.tolist()] if flat[0] else counts.tolist()


def decode(counts: Sequence[int], hw: tuple[int, int], where: object = "RLE") -> Bool[np.ndarray, "H W"]:
    """Counts -> a mask of size (height, width). Raises InputError where they don't fill it exactly."""
    numbers = np.asarray(counts, np.int64).reshape(-1)
    if (numbers < 0).any() or numbers.sum() != hw[0] * hw[1]:
        raise InputError(where, f"its counts add up to {numbers.sum()}", f"{hw[0] * hw[1]}, for {hw[1]}x{hw[0]} pixels")
    flat = np.repeat(np.arange(len(numbers)) % 2 == 1, numbers)
    return np.ascontiguousarray(flat.reshape(hw, order="F"))


def compress(counts: Sequence[int]) -> str:
    """Counts -> the string that pycocotools makes of them: from the fourth on, the difference to the one before last."""
    characters = []
    for k, count in enumerate(counts):
        left = count - counts[k - 2] if k > 2 else count
        more = True
        while more:
            bits, left = left & 31, left >> 5
            more = left != -1 if bits & 16 else left != 0
            characters.append(chr(FIRST_CHARACTER + bits + 32 * more))
    return "".join(characters)


def decompress(text: str, where: object = "RLE") -> list[int]:
    """The string of pycocotools -> counts. Raises InputError where it is none."""
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - FIRST_CHARACTER
        if not 0 <= bits < 64:
            raise InputError(where, f"has the character {character!r} in its counts", "COCO's compressed counts")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (bits & 16) << (shift - 4)  # the sign
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number = shift = 0
    if shift:
        raise InputError(where, "its counts end within a number", "COCO's compressed counts, whole")
    return counts
