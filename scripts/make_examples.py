"""Make the sample captures in `examples/`: one real clip of the test subjects, and the same made noisy.

    python scripts/make_examples.py cmu_test.npz

The noise is that of the benchmark (rotations 0.1 rad, root 2 cm, every frame for itself), and ten frames of the middle
change places; hence before and after can be compared with the truth.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from kinema.body.skeleton import BODY_JOINT_COUNT
from kinema.geometry import rotmat_to_rotvec, rotvec_to_rotmat
from kinema.motion_io import save_motion
from kinema.motion_io.capture import load_capture
from kinema.optimize.perturbations import Perturbation, frame_order
from kinema.types import BodyMotion

CLIP, FRAMES = "02_05", slice(40, 136)
NOISE_RAD, NOISE_M, SHUFFLED_FRAMES, SEED = 0.1, 0.02, 10, 0


def made_noisy(motion: BodyMotion) -> BodyMotion:
    rng = np.random.default_rng(SEED)
    order = np.arange(len(motion))
    middle = slice(len(motion) // 3, 2 * len(motion) // 3)
    inner = order[middle]
    order[middle] = inner[frame_order(len(inner), Perturbation(shuffle_frames=SHUFFLED_FRAMES), rng)]
    turn = np.zeros_like(motion.rotvec)
    turn[:, :BODY_JOINT_COUNT] = rng.normal(0, NOISE_RAD, (len(motion), BODY_JOINT_COUNT, 3))
    rotmat = rotvec_to_rotmat(motion.rotvec[order]) @ rotvec_to_rotmat(turn)
    shift = rng.normal(0, NOISE_M, (len(motion), 3)).astype(np.float32)
    root = motion.root_translation_m[order] + shift
    return replace(motion, rotvec=rotmat_to_rotvec(rotmat), root_translation_m=root)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captures", type=Path, help="the test split, an .npz of many clips")
    clips = {name: motion for name, _, motion in load_capture(parser.parse_args().captures)}
    examples = Path(__file__).parents[1] / "examples"
    motion = clips[CLIP][FRAMES]
    save_motion(motion, examples / "punch.npz")
    save_motion(made_noisy(motion), examples / "punch_noisy.npz")
