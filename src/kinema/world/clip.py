"""One clip of the procedural world with its full truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from kinema.types import Scene, Video


@dataclass(frozen=True)
class WorldClip:
    """What a camera saw, and all that is true of it. T frames; tuples run over the scene's subjects.

    scene           true motions and cameras; the prompt is the caption
    part_ids        the fixed part table, 0 background
    subject_ids     0 background, else 1 + index of the subject
    depth_m         along the camera's axis, inf on the background
    joints_m        [T,J,3] world metres: the 22 body joints of a human, the 35 of an animal; None for an object
    joints_px       the same as the camera sees them
    joints_visible  inside the picture and not behind another subject
    """

    video: Video
    scene: Scene
    part_ids: UInt8[np.ndarray, "T H W"]
    subject_ids: UInt8[np.ndarray, "T H W"]
    depth_m: Float32[np.ndarray, "T H W"]
    joints_m: tuple[np.ndarray | None, ...]
    joints_px: tuple[np.ndarray | None, ...]
    joints_visible: tuple[np.ndarray | None, ...]
