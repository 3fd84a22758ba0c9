"""Many short clips in one .npz: the compact schema that the training and test splits come in -> BodyMotions.

C clips of N frames together, 22 body joints; clip k is `[start[k]:start[k + 1]]`. `trans` is the pelvis position in
the world (y up, metres), unlike AMASS's. Face and fingers are at rest with confidence 0.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from kinema.body.skeleton import BODY_JOINT_COUNT, mirror_permutation
from kinema.errors import InputError
from kinema.geometry import rot6d_to_rotmat, rotmat_to_rotvec
from kinema.motion_io.npz import read_arrays
from kinema.types import JOINT_COUNT, BodyMotion

KEYS = ("rot6d", "trans", "start", "fps", "name", "caption")


def load_capture(path: str | Path) -> list[tuple[str, str, BodyMotion]]:
    """All clips of a file as (name, caption, motion). Raises InputError where a key is missing or does not fit."""
    path = Path(path)
    arrays = read_arrays(path, KEYS)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise InputError(f"{path}: {missing[0]}", "is missing", expected=f"the keys {', '.join(KEYS)}")
    start, rot6d, trans = arrays["start"], arrays["rot6d"], arrays["trans"]
    clips = len(start) - 1
    expected = {
        "rot6d": (len(trans), BODY_JOINT_COUNT, 6),
        "trans": (len(rot6d), 3),
        "name": (clips,),
        "caption": (clips,),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise InputError(f"{path}: {key}", f"has shape {arrays[key].shape}", expected=f"{shape}")
    if clips < 1 or start[0] != 0 or start[-1] != len(trans) or (np.diff(start) <= 0).any():
        raise InputError(f"{path}: start", "does not cut the frames into clips", expected="0 < ... < frames, rising")
    rotvec = np.zeros((len(trans), JOINT_COUNT["human"], 3), np.float32)
    rotvec[:, :BODY_JOINT_COUNT] = rotmat_to_rotvec(rot6d_to_rotmat(rot6d.astype(np.float64)))
    seen = np.arange(JOINT_COUNT["human"]) < BODY_JOINT_COUNT
    return [
        (
            str(arrays["name"][k]),
            str(arrays["caption"][k]),
            BodyMotion(
                category="human",
                rotvec=rotvec[a:b],
                root_translation_m=trans[a:b],
                betas=np.zeros(0, np.float32),
                fps=float(arrays["fps"]),
                confidence=np.tile(seen.astype(np.float32), (b - a, 1)),
            ),
        )
        for k, (a, b) in enumerate(pairwise(start))
    ]


def mirrored_caption(text: str) -> str:
    """The caption of the mirrored motion: left and right change places."""
    swap = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda m: swap[m.group()], text)


def mirrored_motion(motion: BodyMotion) -> BodyMotion:
    """The motion seen in a mirror (x -> -x), left and right joints exchanged; shape, valid and confidence stay."""
    twin, flip = mirror_permutation(motion.category), np.array([1, -1, -1], np.float32)
    return replace(
        motion, rotvec=motion.rotvec[:, twin] * flip, root_translation_m=motion.root_translation_m * [-1, 1, 1]
    )
