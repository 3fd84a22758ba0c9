"""Skinning of the built-in human: 32 frames, forward kinematics and blending, shape applied once a motion.

    python benchmarks/skinning.py

Rows: kinema's full and low body, the naive formula in NumPy, and, where `anny` is installed, Anny's own forward
(float32, `Anny()` as it comes, both its ways of skinning; one shape for all frames, so that neither side computes it
more than once). Times are the best and the median of many calls after a warm-up, since machines are shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from kinema.body.human import load_human
from kinema.body.skeleton import HUMAN_JOINTS, HUMAN_PARENTS
from kinema.body.skinning import SkinnedBody
from kinema.types import BodyMotion

FRAMES = 32
ROUNDS, SECONDS = 100, 15.0


def random_motion() -> BodyMotion:
    rng = np.random.default_rng(0)
    return BodyMotion(
        category="human",
        rotvec=rng.normal(0, 0.3, (FRAMES, len(HUMAN_JOINTS), 3)).astype(np.float32),
        root_translation_m=rng.normal(0, 1, (FRAMES, 3)).astype(np.float32),
        betas=rng.normal(0, 1, 10).astype(np.float32),
        fps=20.0,
    )


def numpy_vertices(body: SkinnedBody, motion: BodyMotion) -> np.ndarray:
    """The same formula with dense arrays: a matrix a frame and vertex."""
    from scipy.spatial.transform import Rotation

    rest = body.rest_joints(motion.betas)
    local = np.tile(np.eye(4, dtype=np.float32), (*motion.rotvec.shape[:2], 1, 1))
    local[..., :3, :3] = Rotation.from_rotvec(motion.rotvec.reshape(-1, 3)).as_matrix().reshape(FRAMES, -1, 3, 3)
    local[:, 1:, :3, 3] = rest[1:] - rest[HUMAN_PARENTS[1:]]
    local[:, 0, :3, 3] = motion.root_translation_m
    world = local.copy()
    for j, parent in enumerate(HUMAN_PARENTS[1:], 1):
        world[:, j] = world[:, parent] @ local[:, j]
    world[..., :3, 3] -= np.einsum("tjab,jb->tja", world[..., :3, :3], rest)
    blended = np.einsum("vk,tvkab->tvab", body.weights, world[:, body.weight_joints, :3])
    shaped = body.rest_vertices(motion.betas)
    return np.einsum("tvab,vb->tva", blended[..., :3], shaped) + blended[..., 3]


def best_and_median_ms(call: Callable) -> tuple[float, float]:
    call()
    call()
    taken: list[float] = []
    while len(taken) < ROUNDS and sum(taken) < SECONDS:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e3 * min(taken), 1e3 * float(np.median(taken))


def anny_calls() -> dict[str, tuple[int, Callable]]:
    """Name -> vertices and forward of Anny, 32 random poses of one shape."""
    import anny
    import roma
    import torch

    calls = {}
    for method in ("warp_lbs", "lbs"):
        model = anny.Anny(skinning_method=method).to(torch.float32)
        generator = torch.Generator().manual_seed(0)
        turn = 0.3 * torch.randn(FRAMES, model.bone_count, 3, generator=generator)
        poses = torch.eye(4).repeat(FRAMES, model.bone_count, 1, 1)
        poses[..., :3, :3] = roma.rotvec_to_rotmat(turn)

        def forward(model=model, poses=poses):
            with torch.inference_mode():
                return model(pose_parameters=poses)["vertices"]

        calls[f"Anny {method}"] = (model.template_vertices.shape[0], forward)
    return calls


def main() -> None:
    motion, full, low = random_motion(), load_human(), load_human(detail="low")
    difference = np.abs(full.vertices(motion) - numpy_vertices(full, motion)).max()
    calls = {
        "kinema full": (len(full.template), lambda: full.vertices(motion)),
        "kinema low": (len(low.template), lambda: low.vertices(motion)),
        "NumPy full": (len(full.template), lambda: numpy_vertices(full, motion)),
    }
    console = Console()
    try:
        calls |= anny_calls()
    except ImportError:
        console.print("Anny is not installed (pip install anny): its rows are left out.")
    times = {name: best_and_median_ms(call) for name, (_, call) in calls.items()}
    table = Table("", "vertices", "best, ms", "median, ms", "of kinema full", title=f"Skinning of {FRAMES} frames")
    for name, (best, median) in times.items():
        ratio = f"{best / times['kinema full'][0]:.1f}x"
        table.add_row(name, f"{calls[name][0]:,}", f"{best:.1f}", f"{median:.1f}", ratio)
    console.print(table)
    console.print(f"Largest difference of kinema from the NumPy formula: {1e6 * difference:.1f} micrometres")


if __name__ == "__main__":
    main()
