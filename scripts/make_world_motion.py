"""Make the few captured clips that the procedural world is moved by where no capture file is given.

python scripts/make_world_motion.py cmu_train.npz cmu_test.npz

Short pieces of training subjects' clips go to assets/world_motion/world_motion.npz; some of test subjects', for the tests
and the benchmark's example, to world_motion_test.npz. Source and terms: assets/world_motion/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).parents[1] / "src" / "kinema" / "assets" / "world_motion"
LONGEST = 80
"""Frames of a piece, 4 s at 20 fps."""
TRAIN_WORDS = ("walk", "run", "jump", "kick", "dance", "wave", "sit", "climb", "throw", "punch", "basketball", "salsa",
               "squat", "drink", "direct traffic", "stretch", "laugh", "boxing")  # fmt: skip
TEST_CLIPS = 6


def pieces(file: Path, chosen: list[int]) -> dict[str, np.ndarray]:
    """Some clips of a multi-clip npz, each cut to its middle `LONGEST` frames, x = z = 0 at its start."""
    data = np.load(file)
    start, rows, lengths = data["start"], [], []
    for k in chosen:
        spare = max(0, int(start[k + 1] - start[k]) - LONGEST) // 2
        rows.append(np.arange(start[k] + spare, min(start[k + 1], start[k] + spare + LONGEST)))
        lengths.append(len(rows[-1]))
    trans = [data["trans"][r] - data["trans"][r[0]] * [1, 0, 1] for r in rows]
    frames = np.concatenate(rows)
    return {
        "rot6d": data["rot6d"][frames],
        "trans": np.concatenate(trans).astype(np.float32),
        "start": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "fps": data["fps"],
        "name": data["name"][chosen],
        "caption": data["caption"][chosen],
    }


def main() -> None:
    train, test = Path(sys.argv[1]), Path(sys.argv[2])
    captions = [str(c) for c in np.load(train)["caption"]]
    chosen: list[int] = []
    for word in TRAIN_WORDS:
        chosen += [k for k, caption in enumerate(captions) if word in caption and k not in chosen][:1]
    OUT.mkdir(exist_ok=True)
    np.savez_compressed(OUT / "world_motion.npz", **pieces(train, chosen))
    every = len(np.load(test)["caption"])
    some = list(np.linspace(0, every - 1, TEST_CLIPS).astype(int))
    np.savez_compressed(OUT / "world_motion_test.npz", **pieces(test, some))


if __name__ == "__main__":
    main()
