"""Made-up files in the format of licensed bodies, for the tests of everything that takes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinema.body.human import load_human
from kinema.body.skeleton import HUMAN_JOINTS, HUMAN_PARENTS

RAISED_M = 0.1
"""How much higher the joints of `smplx_file` lie at rest than those of the built-in body."""
BETA_RAISES_M = 0.05
"""What +1 of its first beta adds to that."""


def smplx_arrays(seed: int = 0, vertices: int = 200, directions: int = 400) -> dict[str, np.ndarray]:
    """Random numbers under the keys and shapes of an SMPL-X file."""
    rng = np.random.default_rng(seed)
    weights = rng.random((vertices, 55)) * (rng.random((vertices, 55)) < 0.06)
    weights[np.arange(vertices), rng.integers(0, 55, vertices)] += 0.5
    regressor = rng.random((55, vertices))
    tree = np.stack([HUMAN_PARENTS, np.arange(55)]).astype(np.int64)
    tree[0, 0] = 2**32 - 1
    return {
        "v_template": rng.normal(0, 0.3, (vertices, 3)),
        "f": rng.integers(0, vertices, (60, 3)).astype(np.uint32),
        "weights": weights / weights.sum(1, keepdims=True),
        "shapedirs": rng.normal(0, 0.03, (vertices, 3, directions)),
        "posedirs": rng.normal(0, 0.01, (vertices, 3, 486)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": tree,
        "hands_meanl": rng.normal(0, 0.3, 45),
        "hands_meanr": rng.normal(0, 0.3, 45),
        "joint2num": np.array({name: j for j, name in enumerate(HUMAN_JOINTS)}, object),
        "part2num": np.array({"spine": 0}, object),
    }


def save(path, arrays):
    np.savez(path, allow_pickle=True, **arrays)
    return path


def smplx_file(path: Path) -> Path:
    """An SMPL-X file with the bones of the built-in body, whose joints all lie higher in the model's own frame."""
    arrays = smplx_arrays()
    arrays["v_template"][:55] = load_human(detail="low").rest_joints(np.zeros(10, np.float32))
    arrays["v_template"][:, 1] += RAISED_M
    arrays["J_regressor"] = np.eye(55, len(arrays["v_template"]))
    arrays["shapedirs"][:] = 0
    arrays["shapedirs"][:, 1, 0] = BETA_RAISES_M
    return save(path, arrays)
