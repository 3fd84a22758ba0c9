"""The z-buffer against Open3D's RaycastingScene: the same 27 k-face body, the same frames, the same camera.

    python benchmarks/render.py [--frames 32] [--repeats 8] [--out docs/results_render.json]

Open3D is asked for in the same environment (`pip install open3d`); without it only our rows are printed. For each frame
Open3D builds its scene and casts one ray a pixel; both start from the posed vertices and a rasterised frame ends as
arrays in memory. Best of the repeats, which take turns. Wall time depends on what else the machine does; CPU time,
summed over threads, does so much less. The last lines say how far the two pictures agree.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from kinema.body.model import load_body
from kinema.body.skeleton import HUMAN_JOINTS
from kinema.camera import fixed_cameras
from kinema.render.control_maps import render_frames
from kinema.render.rasterizer import Mesh, rasterize
from kinema.types import BodyMotion, Cameras

SIZE = (1024, 576)


def waving(frames: int) -> BodyMotion:
    """A person who swings arms and legs on the spot."""
    rotvec = np.zeros((frames, 55, 3), np.float32)
    swing = np.sin(np.arange(frames) / frames * 4 * np.pi)
    for name, axis, angle in (
        ("left_hip", 0, 0.6), ("right_hip", 0, -0.6), ("left_shoulder", 2, -0.9), ("right_shoulder", 2, 0.9),
        ("left_elbow", 1, -0.7), ("right_elbow", 1, 0.7),
    ):  # fmt: skip
        rotvec[:, HUMAN_JOINTS.index(name), axis] = angle * swing
    root = np.tile(np.array([0, 0.95, 0], np.float32), (frames, 1))
    return BodyMotion("human", rotvec, root, np.zeros(10, np.float32), 20.0)


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU time of one call."""
    usage, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    run()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return wall, after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime


def open3d_frames(mesh: Mesh, cameras: Cameras) -> Callable[[], tuple[np.ndarray, np.ndarray]] | None:
    """A function that casts all frames and returns geometry ids and depth of the last one; None without Open3D."""
    try:
        import open3d as o3d
    except ImportError as error:
        Console(stderr=True).print(f"Open3D is not here ({error})")
        return None
    tensor = o3d.core.Tensor
    faces = tensor(mesh.faces.astype(np.uint32))
    width, height = SIZE

    def cast_all() -> tuple[np.ndarray, np.ndarray]:
        result = {}
        for t in range(len(mesh.vertices)):
            scene = o3d.t.geometry.RaycastingScene()
            scene.add_triangles(tensor(mesh.vertices[t]), faces)
            K, T = (tensor(m[t].astype(np.float64)) for m in (cameras.K, cameras.T_camera_world))
            result = scene.cast_rays(scene.create_rays_pinhole(K, T, width, height))
        # Rays are one long along the camera's axis, so that a hit's parameter is its depth.
        return result["geometry_ids"].numpy() == 0, result["t_hit"].numpy()

    return cast_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    motion, body = waving(options.frames), load_body("human")
    vertices = body.vertices(motion)
    cameras = fixed_cameras(vertices, SIZE, 0.5)
    mesh = Mesh(vertices, body.faces, body.vertex_parts, 1)
    theirs = open3d_frames(mesh, cameras)
    tasks: dict[str, Callable[[], object]] = {
        "kinema: parts, subjects, depth": lambda: rasterize([mesh], cameras, normals=False),
        "kinema: and smooth normals": lambda: rasterize([mesh], cameras),
    }
    if theirs:
        tasks["Open3D: build + cast"] = theirs
    best = dict.fromkeys(tasks, (np.inf, np.inf))
    for run in tasks.values():
        run()
    for _ in range(options.repeats):
        for name, run in tasks.items():
            best[name] = tuple(np.minimum(best[name], seconds(run)))
    cameras_of_first = Cameras(cameras.K[:1], cameras.T_camera_world[:1], cameras.image_hw)
    for name in ("depth", "openpose", "shaded"):  # from motion to RGB frames, skinning and framing included
        list(render_frames(motion[:1], name, cameras_of_first))
        best[f"kinema: {name} frames from the motion"] = seconds(lambda n=name: list(render_frames(motion, n, cameras)))

    table = Table(
        title=f"{len(body.faces)} faces, {SIZE[0]}x{SIZE[1]}, {options.frames} frames, {os.cpu_count()} cores"
    )
    for column in ("", "ms a frame", "CPU ms a frame", "Open3D is slower by (wall, CPU)"):
        table.add_column(column, justify="right" if column else "left")
    peer = best.get("Open3D: build + cast")
    rows = {}
    for name, times in best.items():
        wall, cpu = (1e3 * s / options.frames for s in times)
        ratio = f"{peer[0] / times[0]:.1f}x, {peer[1] / times[1]:.1f}x" if peer and name in list(tasks)[:2] else ""
        table.add_row(name, f"{wall:.2f}", f"{cpu:.2f}", ratio)
        rows[name] = {"ms": wall, "cpu_ms": cpu}
    console = Console(width=120)
    console.print(table)
    if theirs:
        ours = rasterize([mesh], cameras, normals=False)
        hit, depth = theirs()
        both = hit & (ours.part_ids[-1] > 0)
        gap = np.abs(depth[both] - ours.depth_m[-1][both])
        rows["agreement"] = {
            "silhouette_iou": float(both.sum() / (hit | (ours.part_ids[-1] > 0)).sum()),
            "median_depth_gap_mm": float(1e3 * np.median(gap)),
            "share_within_5_mm": float((gap < 5e-3).mean()),
        }
        console.print(rows["agreement"])
    if options.out:
        machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "faces": len(body.faces)}
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
