"""Motion that is made rather than captured, for the prior's training: animals' gaits, objects that fall, roll and fly.

Output: `MotionClips` of channels at the prior's rate, with captions.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from kinema.optimize.features import REFERENCE_FPS
from kinema.optimize.optimizer import to_sequence
from kinema.train.motion_data import MotionClips

CLIP_SECONDS = 4.0
ANIMAL_CLIPS = 200
OBJECT_CLIPS = 300
HAND_KEYED_REPEATS = 4
"""How often a hand-keyed clip counts beside each procedural one."""


def animal_clips(files: tuple[Path, ...], seed: int) -> MotionClips:
    """Procedural gaits, and hand-keyed clips from `files`."""
    from kinema.body.gaits import NAMES, gait
    from kinema.body.quadruped_clips import load_quadruped_clips

    made = [
        gait(NAMES[k % len(NAMES)], CLIP_SECONDS, REFERENCE_FPS, seed * ANIMAL_CLIPS + k) for k in range(ANIMAL_CLIPS)
    ]
    keyed = [clip for file in files for clip in load_quadruped_clips(file)] * HAND_KEYED_REPEATS
    clips: list[tuple[Tensor, str]] = [(to_sequence(motion).channels, text) for motion, text in made + keyed]
    return MotionClips.join("animal", clips)


def object_clips(seed: int) -> MotionClips:
    """Simulated objects' 21 points."""
    from kinema.body.object_tracks import KINDS, object_track

    clips = []
    for k in range(OBJECT_CLIPS):
        motion, text = object_track(KINDS[k % len(KINDS)], CLIP_SECONDS, REFERENCE_FPS, seed * OBJECT_CLIPS + k)
        clips.append((torch.from_numpy(motion.points_m).flatten(1), text))
    return MotionClips.join("object", clips)
