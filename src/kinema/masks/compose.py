"""Several mask sequences in one: depth order, time offsets, a common size and rate (MVideo, section 4.3, figure 9).

Input: sequences, the front one first. Output: one `MaskSequence` with all of their objects.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kinema.errors import InputError
from kinema.masks.draft import begin
from kinema.masks.time import MOST_FRAMES, resample
from kinema.types import MaskSequence


def compose(
    sequences: Sequence[MaskSequence],
    offsets_s: Sequence[float] | None = None,
    hw: tuple[int, int] | None = None,
    fps: float | None = None,
) -> MaskSequence:
    """Put sequences into one picture, the first in front of the second, and so on.

    offsets_s  when each begins, seconds from the start, 0 or more; before and after it its objects are away
    hw         size of the result, None: the first one's; others are scaled to fit, in the middle, not distorted
    fps        of the result, None: the first one's; others are brought to it, nearest in time
    Labels that several have are numbered. Raises InputError where there is nothing, or an offset is below 0.
    """
    if not sequences:
        raise InputError("compose", "has nothing to compose", "at least one mask sequence")
    offsets = [0.0] * len(sequences) if offsets_s is None else list(offsets_s)
    if len(offsets) != len(sequences):
        raise InputError("offsets", f"are {len(offsets)}", f"{len(sequences)}, one a sequence")
    rate, size = fps or sequences[0].fps, hw or sequences[0].masks.shape[2:]
    starts = [_start(offset, rate) for offset in offsets]
    fitted = [fit(resample(one, rate), (int(size[0]), int(size[1]))) for one in sequences]
    frames = max(start + len(one) for start, one in zip(starts, fitted, strict=True))
    layers = []
    for start, one in zip(starts, fitted, strict=True):
        layer = np.zeros((frames, *one.masks.shape[1:]), bool)
        layer[start : start + len(one)] = one.masks
        layers.append(layer)
    labels = tuple(label for one in fitted for label in one.labels)
    return MaskSequence(np.concatenate(layers, 1), _told_apart(labels), rate)


def fit(masks: MaskSequence, hw: tuple[int, int], cover: bool = False) -> MaskSequence:
    """The same masks in a picture of another size, in the middle, not distorted.

    cover  as small as they cover it, what is beyond its edges being cut; else as large as they fit into it
    """
    height, width = masks.masks.shape[2:]
    if (height, width) == hw:
        return masks
    ratio = (max if cover else min)(hw[0] / height, hw[1] / width)
    matrix = np.diag([ratio, ratio, 1.0])
    matrix[:2, 2] = (hw[1] - ratio * width) / 2, (hw[0] - ratio * height) / 2
    everything = np.ones(len(masks.labels), bool)
    return replace(begin(masks).moved(np.repeat(matrix[None], len(masks), 0), everything), hw=hw).done()


def _start(offset_s: float, fps: float) -> int:
    start = round(offset_s * fps) if 0 <= offset_s <= MOST_FRAMES / fps else -1
    if start < 0:
        raise InputError("offset", f"is {offset_s:g} s", f"0 to {MOST_FRAMES / fps:g} s from the start")
    return start


def _told_apart(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The second "tiger" is "tiger 2", the second "object 1" the first number that is free."""
    found: list[str] = []
    for label in labels:
        name, number = label, 1
        while name in found or (name in labels and name != label):
            number += 1
            name = f"{re.sub(r' [0-9]+$', '', label)} {number}"
        found.append(name)
    return tuple(found)
