"""A plan of motion as the control video of a model that follows one: depth, OpenPose, or layout.

Input: a `Scene`. Output: RGB frames. Depth and poses are those of `kinema.render`; a layout is what VACE (Jiang et al.
2025, section 3.1) was trained on: the box of every subject, black lines on white.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

from kinema.reinforce.backbone import Control
from kinema.types import Scene

LINE_PX = 2
"""Of a layout's boxes, as VACE's own annotator draws them."""


def control_video(scene: Scene, control: Control, size: tuple[int, int]) -> UInt8[np.ndarray, "T H W 3"]:
    """The frames of the scene's cameras at (width, height). Raises InputError: OpenPose shows people alone."""
    from kinema.render.control_maps import render_frames, render_maps

    assert control != "parts", "parts are no video"
    if control == "layout":
        ids = render_maps(scene, size=size, maps="mask").subject_ids
        assert ids is not None, "the mask map fills subject_ids"
        return boxes(ids)
    return np.stack(list(render_frames(scene, control, size=size)))


def boxes(subject_ids: UInt8[np.ndarray, "T H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """The box of every subject in every frame, black lines on white; nothing for one that is not seen."""
    drawn = np.full((*subject_ids.shape, 3), 255, np.uint8)
    for t, ids in enumerate(subject_ids):
        for subject in np.unique(ids[ids > 0]):
            rows, columns = np.nonzero(ids == subject)
            first, last = (int(columns.min()), int(rows.min())), (int(columns.max()), int(rows.max()))
            cv2.rectangle(drawn[t], first, last, (0, 0, 0), LINE_PX)
    return drawn
