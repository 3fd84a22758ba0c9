"""Scenes in 3D to masks: motion capture or a refined motion becomes a motion condition for MVideo.

Input: a `Scene`, or anything else that `kinema.render` films. Output: what is seen of each subject, as masks.
"""

from __future__ import annotations

import numpy as np

from kinema.errors import InputError
from kinema.render.control_maps import render_maps
from kinema.types import Cameras, MaskSequence, Scene


def masks_of_scene(
    scene: Scene, hw: tuple[int, int] | None = None, camera: Cameras | str | None = None
) -> MaskSequence:
    """Silhouettes of the subjects, in their order, each without what others hide.

    hw      (height, width) in pixels; None: that of the scene's cameras
    camera  None: the scene's own; or "fixed", "orbit", "follow", a camera file, cameras
    Raises InputError where the scene has no subjects, or none is ever seen.
    """
    if not scene.subjects:
        raise InputError("scene", "has no subjects", "at least one")
    size = hw or scene.cameras.image_hw
    maps = render_maps(scene, camera, (size[1], size[0]), "mask")
    assert maps.subject_ids is not None, "the map that was asked for"
    seen = np.stack([maps.subject_ids == k for k in range(1, len(scene.subjects) + 1)], 1)
    if not seen.any():
        raise InputError("scene", "shows none of its subjects", "a camera that looks at them", 'camera="follow"')
    return MaskSequence(seen, tuple(subject.label for subject in scene.subjects), maps.fps)
