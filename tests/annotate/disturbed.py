"""A run of kinema annotate to be killed: `python disturbed.py SRC OUT here|ray|ray-gpu [SECONDS A CLIP]`.

The models are replaced by one that sees red discs, at once or after some time, and fails where the picture is blue.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from kinema.annotate.recipes import Common, Models, MVideo
from kinema.annotate.run import annotate, here
from kinema.extract.detection import Detection
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import Keypoints
from kinema.video import write_video

RECIPE = MVideo(Common(), least_s=1.0)


class Discs:
    """Sees what is red; a `Perception`."""

    def __init__(self, seconds: float = 0.0):
        self.seconds = seconds

    def detect(self, frames):
        time.sleep(self.seconds / 2)
        if frames[..., 2].mean() > 200:
            raise ZeroDivisionError("too blue")
        masks = [m for (m,) in self.segment(frames, [])]
        return [[Detection("object", "a sports ball", box_of_mask(m), 0.9)] if m.any() else [] for m in masks]

    def segment(self, frames, detections):
        red = (frames[..., 0] > 150) & (frames[..., 1] < 100)
        return (
            list(red[:, None]) if not detections else [m[None][: len(d)] for m, d in zip(red, detections, strict=True)]
        )

    def keypoints(self, frames, detections, masks):
        nothing = Keypoints(np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
        return [[nothing] * len(found) for found in detections]

    def depth(self, frames):
        return np.full(frames.shape[:3], 4, np.float32)

    def parts(self, frames):
        return np.zeros(frames.shape[:3], np.uint8)


class DiscModels(Models):
    def __init__(self, seconds: float = 0.0):
        super().__init__(RECIPE.common)
        self._perception = Discs(seconds)  # type: ignore[assignment]


def write_videos(folder: Path, count: int = 6) -> Path:
    """Discs that move, every third video with a cut; one file that is no video, and one at which the model fails."""
    folder.mkdir()
    y, x = np.mgrid[:48, :64]
    for k in range(count):
        frames = []
        for t in range(20 if k % 3 == 0 else 12):
            ground = np.full((48, 64, 3), (200, 255, 200) if t >= 10 and k % 3 == 0 else (20, 40, 30), np.uint8)
            ground[(x - 10 - 2 * t) ** 2 + (y - 12 - 3 * k) ** 2 < 60] = (250, 20, 20)
            frames.append(ground)
        write_video(frames, folder / f"v{k}.mp4", 8.0)
        (folder / f"v{k}.txt").write_text(f"ball number {k} rolls")
    (folder / "broken.mp4").write_bytes(b"nothing that can be decoded" * 40)
    write_video([np.full((48, 64, 3), (0, 0, 255), np.uint8)] * 12, folder / "poison.mp4", 8.0)
    return folder


def results(out: Path) -> dict[str, bytes]:
    """All that a run leaves behind for others, by name."""
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.is_file()}


def main(src: str, out: str, how: str, seconds: float) -> None:
    if how.startswith("ray"):
        from kinema.annotate.graph import on_ray

        gpus = 1 if how == "ray-gpu" else 0  # Ray only counts it; three operators instead of one
        executor = on_ray(num_cpus=2, num_gpus=gpus, object_store_bytes=80 << 20, models=lambda _: DiscModels(seconds))
    else:

        def executor(sources, recipe, to):
            return here(sources, recipe, to, DiscModels(seconds))

    totals = annotate(src, out, RECIPE, executor, group_size=3, on_progress=lambda done, *_: print(done, flush=True))
    print("all done", totals.clips, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4], float(sys.argv[4]) if len(sys.argv) > 4 else 0.0)  # type: ignore[call-arg]
