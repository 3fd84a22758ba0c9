"""What mini-perception sees of the held-out world, frame by frame, in numbers (`kinema.train.perception_score`).

python benchmarks/perception.py --capture cmu_test.npz [--photographs photos/] [--clips 60] [--weights FILE] [--steady 8]
"""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.progress import track

from kinema.extract.mini_perception import PERCEPTION_WEIGHTS, MiniPerception, load_perception
from kinema.train.perception_data import frames_of_clip
from kinema.train.perception_score import score_perception
from kinema.world.sampler import World


def main(
    capture: Path | None = None,
    photographs: Path | None = None,
    clips: int = 60,
    weights: Path = PERCEPTION_WEIGHTS,
    steady: int = 0,
) -> None:
    """Clips of 16 frames of the test split, each looked at as one video. steady: averaged with so many frames before and
    after each one."""
    world = World.load(capture, photographs, "test")
    videos = [frames_of_clip(world.sample(number)) for number in track(range(clips), "clips")]
    for name, value in score_perception(MiniPerception(load_perception(weights), steady), videos).items():
        print(f"{name:14} {value:.3f}")


if __name__ == "__main__":
    tyro.cli(main)
