"""Make the pictures that the demo and the tests animate: first frames of held-out clips of the procedural world.

python scripts/make_example_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import cv2

from kinema.checkpoints import ASSETS
from kinema.world.sampler import World

OUT = Path(__file__).parents[1] / "examples"
SEEDS = {"dancer.png": 14, "dog.png": 24}
"""File -> seed in the test world, which the shipped models were not trained on."""


def main() -> None:
    world = World.load(ASSETS / "world_motion" / "world_motion_test.npz", split="test")
    for name, seed in SEEDS.items():
        clip = world.sample(seed)
        cv2.imwrite(str(OUT / name), clip.video.frames[0][..., ::-1])
        print(f"{name}: {clip.scene.prompt}")


if __name__ == "__main__":
    main()
