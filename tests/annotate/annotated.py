"""Small annotated clips, made up."""

import numpy as np

from kinema.annotate.record import AnnotatedClip
from kinema.camera import fixed_cameras
from kinema.types import BodyMotion, ObjectMotion, Scene, Subject, Video


def made_clip(key: str = "a-000", seed: int = 0, frames: int = 3, hw: tuple[int, int] = (21, 30)) -> AnnotatedClip:
    """A person and a ball of random masks, with depth and a scene; odd sizes on purpose."""
    rng = np.random.default_rng(seed)
    height, width = hw
    masks = rng.random((frames, 2, height, width)) < 0.3
    masks[1, 1] = False
    present = masks.any((2, 3))
    smooth = np.linspace(40, 200, width).astype(np.uint8)
    pictures = np.broadcast_to(smooth[None, None, :, None], (frames, height, width, 3)).copy()
    depth = np.where(masks.any(1), rng.uniform(1, 20, (frames, height, width)), np.inf).astype(np.float32)
    person = BodyMotion("human", rng.normal(size=(frames, 55, 3)).astype(np.float32), np.zeros((frames, 3), np.float32),
                        np.zeros(10, np.float32), 8.0)  # fmt: skip
    ball = ObjectMotion(rng.normal(size=(frames, 21, 3)).astype(np.float32), 8.0, present[:, 1])
    cameras = fixed_cameras(np.zeros((frames, 1, 3)), (width, height))
    scene = Scene((Subject(0, "a person", "", person), Subject(1, "a ball", "", ball)), cameras, "a man throws")
    return AnnotatedClip(
        key, Video(pictures, 8.0), "a man throws a bâll", ("a person", "a ball"), ("human", "object"), masks, present,
        rng.uniform(0, 20, (frames, 2, 4)).astype(np.float32),
        (rng.uniform(0, 20, (frames, 22, 3)).astype(np.float32), np.zeros((frames, 0, 3), np.float32)),
        (rng.integers(0, 18, (frames, height, width)) * masks.any(1)).astype(np.uint8), depth, scene,
        {"iou": 0.75}, "a.mp4", "CC0-1.0", "0" * 64, (0, frames), "revision", {"cuts": "1"},
    )  # fmt: skip
