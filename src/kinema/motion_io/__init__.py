"""Motion files in and out: AMASS / SMPL-X .npz, BVH, and skinned glTF animation (.glb, .gltf).

`load_motion` turns any of them into a `BodyMotion`; `save_motion` writes one; the suffix says which. A broken file
raises `InputError` with its line or key, and nothing is ever half-written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from kinema.body.model import BodyModel, body_for
from kinema.errors import InputError
from kinema.types import BodyMotion

SUFFIXES = (".npz", ".bvh", ".glb", ".gltf")

log = logging.getLogger(__name__)


def load_motion(
    path: str | Path, mapping: Mapping[str, str] | str | Path | None = None, body: BodyModel | None = None
) -> BodyMotion:
    """Read a motion from a file.

    .npz         AMASS and SMPL-X parameters (SMPL, SMPL-H and 22-joint widths too), or SMAL for animals
    .bvh         any rig whose joints follow a known naming scheme; others with `mapping`, {source joint: SMPL-X
                 joint} or the JSON file that holds it
    .glb .gltf   those that kinema wrote

    body         whose betas an .npz has, or onto whose bones a .bvh is put; the built-in one by default
    Raises InputError where the file is broken or not what its name says.
    """
    path = Path(path)
    suffix = _suffix(path)
    if mapping is not None and suffix != ".bvh":
        log.warning("%s: a joint mapping is for BVH files only and was ignored", path)
    if suffix == ".npz":
        from kinema.motion_io.npz import load_npz

        return load_npz(path, body)
    if suffix == ".bvh":
        from kinema.motion_io.bvh import read_bvh
        from kinema.motion_io.retarget import motion_of_bvh

        return motion_of_bvh(read_bvh(path), mapping, body)
    from kinema.motion_io.gltf import load_gltf

    motion = load_gltf(path)
    body_for(motion.category, body)
    return motion


def save_motion(motion: BodyMotion, path: str | Path, body: BodyModel | None = None) -> None:
    """Write a motion in the format of the path's suffix; the file appears whole or not at all.

    Every format keeps joint positions within 1 mm and rotations within 0.1 degree. Only .npz keeps everything:
    a BVH has no place for confidence, expression, or the part of the shape that does not move a joint;
    a glTF none for confidence. Give the body that the motion was loaded with; a glTF shows the built-in one all the
    same, for a licensed mesh may not be passed on.
    """
    path = Path(path)
    suffix = _suffix(path)
    if suffix == ".npz":
        from kinema.motion_io.npz import save_npz

        save_npz(motion, path, body)
    elif suffix == ".bvh":
        from kinema.motion_io.retarget import save_bvh

        save_bvh(motion, path, body)
    else:
        from kinema.motion_io.gltf import save_gltf

        if body is not None:
            log.warning("%s: shows the built-in body: a licensed mesh may not be passed on", path)
        save_gltf(motion, path)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            path,
            f"has the suffix {suffix!r}" if suffix else "has no suffix",
            expected=f"one of {', '.join(SUFFIXES)}",
            mend="FBX: import into Blender and export BVH; Acclaim and C3D: use a BVH release of the data"
            if suffix in (".fbx", ".c3d", ".amc", ".asf")
            else "",
        )
    return suffix
