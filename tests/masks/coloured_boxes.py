"""A fake perception that sees coloured boxes, and clips of such boxes: what extraction is tested on."""

from __future__ import annotations

import numpy as np

from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask
from kinema.types import Video

RED, GREEN, BLUE, WHITE = (200, 0, 0), (0, 200, 0), (0, 0, 200), (220, 220, 220)


class Fake:
    """Sees a box of each colour as a subject of a category: what the protocols ask for, and nothing else."""

    def __init__(self, **known):
        self.known = known  # name -> (colour, category, label, score)

    def detect(self, frames):
        found = []
        for frame in frames:
            masks = [((frame == colour).all(-1), *more) for colour, *more in self.known.values()]
            found.append([
                Detection(category, label, box_of_mask(mask), score)
                for mask, category, label, score in masks if mask.any()
            ])  # fmt: skip
        return found

    def segment(self, frames, detections):
        colours = {label: colour for colour, _, label, _ in self.known.values()}
        return [
            np.array([(frame == colours[d.label]).all(-1) for d in row], bool).reshape(-1, *frame.shape[:2])
            for frame, row in zip(frames, detections, strict=True)
        ]


def clip(*moving, frames=6, hw=(40, 60)):
    """(colour, first x, pixels a frame, from frame) of boxes of 10 x 8 pixels, one below the other."""
    shown = np.zeros((frames, *hw, 3), np.uint8)
    for row, (colour, x, step, start) in enumerate(moving):
        for t in range(start, frames):
            shown[t, 12 * row + 2 : 12 * row + 12, x + step * t : x + step * t + 8] = colour
    return Video(shown, 8.0)


PERCEPTION = Fake(
    man=(RED, "human", "a person", 0.7),
    dog=(GREEN, "animal", "an animal", 0.6),
    ball=(BLUE, "object", "an object", 0.9),
)
SCENE = clip((RED, 2, 3, 0), (GREEN, 40, -4, 0), (BLUE, 20, 1, 0))
