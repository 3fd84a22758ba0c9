"""BodyMotion -> glTF 2.0 with the skinned, animated body (opens in Blender, three.js, engines), and back.

One node a joint with its rest translation, a skin with the four strongest influences of a vertex, one animation with
a rotation channel a joint and a translation channel for the root. glTF has our axes and unit: +y up, facing +z,
metres. `.glb` is one binary; `.gltf` is the same as JSON with the binary inside as base64.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from kinema.atomic import atomic_path
from kinema.body.model import Detail, load_body
from kinema.body.skeleton import JOINTS, PARENTS
from kinema.errors import InputError
from kinema.geometry import quat_wxyz_to_rotvec, rotvec_to_quat_wxyz
from kinema.motion_io.content import describe_content, read_bytes
from kinema.types import EXPRESSION_COUNT, BodyMotion

JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
COMPONENT_TYPES = {
    np.dtype(np.uint8): 5121,
    np.dtype(np.uint16): 5123,
    np.dtype(np.uint32): 5125,
    np.dtype(np.float32): 5126,
}
INFLUENCES = 4
"""What every glTF reader supports (JOINTS_0, WEIGHTS_0)."""
DATA_URI = "data:application/octet-stream;base64,"
SKIN_COLOUR = (0.62, 0.66, 0.72, 1.0)


def save_gltf(motion: BodyMotion, path: Path, detail: Detail = "low") -> None:
    """Write the motion on the built-in body of its category and shape. Expression moves no vertex here; it is kept,
    with shape and validity, in the scene's extras for `load_gltf`."""
    document, binary = _describe(motion, detail)
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".gltf":
            document["buffers"][0]["uri"] = DATA_URI + base64.b64encode(binary).decode()
            temporary.write_text(json.dumps(document))
            return
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        length = 12 + 8 + len(text) + 8 + len(binary)
        header = struct.pack("<4sII", b"glTF", 2, length) + struct.pack("<II", len(text), JSON_CHUNK)
        temporary.write_bytes(header + text + struct.pack("<II", len(binary), BINARY_CHUNK) + binary)


def load_gltf(path: Path) -> BodyMotion:
    """Read back what `save_gltf` wrote. Raises InputError for any other glTF, or a damaged one."""
    document, binary = _read_container(path)
    try:
        extras = document["scenes"][0]["extras"]["kinema"]
        category = extras["category"]
        rotvec, root = _read_animation(document, binary, category)
        parts = {
            "betas": np.array(extras["betas"], np.float32).reshape(-1),
            "fps": float(extras["fps"]),
            "expression": np.array(extras["expression"], np.float32).reshape(len(rotvec), EXPRESSION_COUNT),
            "valid": np.array(extras["valid"], bool).reshape(len(rotvec)),
        }
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            path,
            f"does not hold what kinema writes into a glTF ({type(error).__name__}: {error})",
            expected="a file written by kinema.save_motion",
            mend="for another glTF: import it into Blender and export BVH",
        ) from error
    try:
        return BodyMotion(category=category, rotvec=rotvec, root_translation_m=root, **parts)
    except InputError as error:
        raise InputError(f"{path}: {error.where}", error.problem, error.expected, error.mend) from error


def _read_animation(document: dict[str, Any], binary: bytes, category: str) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vectors [T,J,3] and root positions [T,3] of the first animation."""
    names = [node.get("name") for node in document["nodes"]]
    joint_of = {names.index(name): joint for joint, name in enumerate(JOINTS[category])}
    animation = document["animations"][0]
    tracks = {}
    for channel in animation["channels"]:
        output = animation["samplers"][channel["sampler"]]["output"]
        joint = joint_of[channel["target"]["node"]]
        tracks[joint, channel["target"]["path"]] = _read_accessor(document, binary, output)
    root = tracks[0, "translation"].reshape(-1, 3)
    wxyz = np.stack([tracks[joint, "rotation"].reshape(len(root), 4) for joint in range(len(joint_of))], 1)
    return quat_wxyz_to_rotvec(wxyz[..., [3, 0, 1, 2]].astype(np.float64)).astype(np.float32), root.copy()


class _Buffer:
    """The binary of a glTF as it grows: every array becomes a buffer view and an accessor."""

    def __init__(self):
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: np.ndarray, kind: str, target: int | None = None, bounds: bool = False) -> int:
        """Index of the accessor of an array; `kind` is glTF's element type. Bounds are min and max over elements."""
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view | ({"target": target} if target else {}))
        accessor = {
            "bufferView": len(self.views) - 1,
            "componentType": COMPONENT_TYPES[array.dtype],
            "count": len(array),
            "type": kind,
        }
        if bounds:
            table = array.reshape(len(array), -1)
            accessor |= {"min": table.min(0).tolist(), "max": table.max(0).tolist()}
        self.accessors.append(accessor)
        self.data += np.ascontiguousarray(array).tobytes()
        self.data += b"\0" * (-len(self.data) % 4)
        return len(self.accessors) - 1


def _describe(motion: BodyMotion, detail: Detail) -> tuple[dict[str, Any], bytes]:
    """The glTF document and its binary. Nodes 0 .. J-1 are the joints, node J is the mesh."""
    body = load_body(motion.category, detail=detail)
    names, parents = JOINTS[motion.category], PARENTS[motion.category]
    rest = body.rest_joints(motion.betas).astype(np.float32)
    bones = rest - rest[np.maximum(parents, 0)]
    bones[0] = motion.root_translation_m[0]
    buffer = _Buffer()
    nodes: list[dict[str, Any]] = []
    for joint, name in enumerate(names):
        children = np.flatnonzero(parents == joint).tolist()
        nodes.append(
            {"name": name, "translation": bones[joint].tolist()} | ({"children": children} if children else {})
        )
    nodes.append({"name": "body", "mesh": 0, "skin": 0})
    inverse_bind = np.tile(np.eye(4, dtype=np.float32), (len(names), 1, 1))
    inverse_bind[:, :3, 3] = -rest
    column_major = np.swapaxes(inverse_bind, 1, 2)
    skin = {
        "inverseBindMatrices": buffer.add(column_major, "MAT4"),
        "joints": list(range(len(names))),
        "skeleton": 0,
    }
    document = {
        "asset": {"version": "2.0", "generator": "kinema"},
        "scene": 0,
        "scenes": [{"nodes": [0, len(names)], "extras": {"kinema": _extras(motion)}}],
        "nodes": nodes,
        "skins": [skin],
        "meshes": [{"name": body.name, "primitives": [_primitive(buffer, body, motion)]}],
        "materials": [
            {
                "pbrMetallicRoughness": {
                    "baseColorFactor": SKIN_COLOUR,
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.8,
                }
            }
        ],
        "animations": [_animation(buffer, motion)],
    }
    document |= {
        "bufferViews": buffer.views,
        "accessors": buffer.accessors,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    return document, bytes(buffer.data)


def _extras(motion: BodyMotion) -> dict[str, Any]:
    return {
        "category": motion.category,
        "fps": motion.fps,
        "betas": motion.betas.tolist(),
        "expression": motion.expression.tolist(),
        "valid": motion.valid.tolist(),
    }


def _primitive(buffer: _Buffer, body, motion: BodyMotion) -> dict[str, Any]:
    vertices = body.rest_vertices(motion.betas).astype(np.float32)
    weights, joints = strongest_influences(body.weights, body.weight_joints)
    index_type = np.uint16 if len(vertices) < 65536 else np.uint32
    attributes = {
        "POSITION": buffer.add(vertices, "VEC3", ARRAY_BUFFER, bounds=True),
        "NORMAL": buffer.add(vertex_normals(vertices, body.faces), "VEC3", ARRAY_BUFFER),
        "JOINTS_0": buffer.add(joints.astype(np.uint8), "VEC4", ARRAY_BUFFER),
        "WEIGHTS_0": buffer.add(weights, "VEC4", ARRAY_BUFFER),
    }
    indices = buffer.add(body.faces.astype(index_type).reshape(-1), "SCALAR", ELEMENT_ARRAY_BUFFER)
    return {"attributes": attributes, "indices": indices, "material": 0}


def _animation(buffer: _Buffer, motion: BodyMotion) -> dict[str, Any]:
    times = (np.arange(len(motion)) / motion.fps).astype(np.float32)
    clock = buffer.add(times, "SCALAR", bounds=True)
    wxyz = rotvec_to_quat_wxyz(motion.rotvec.astype(np.float64))
    flips = np.cumprod(np.where((wxyz[1:] * wxyz[:-1]).sum(-1) < 0, -1.0, 1.0), 0)
    wxyz[1:] *= flips[..., None]  # q and -q are one rotation, but readers interpolate between neighbours
    tracks = [(joint, "rotation", wxyz[:, joint, [1, 2, 3, 0]], "VEC4") for joint in range(wxyz.shape[1])]
    tracks.append((0, "translation", motion.root_translation_m, "VEC3"))
    samplers, channels = [], []
    for node, what, values, kind in tracks:
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": what}})
        output = buffer.add(values.astype(np.float32), kind)
        samplers.append({"input": clock, "output": output, "interpolation": "LINEAR"})
    return {"name": "motion", "samplers": samplers, "channels": channels}


def strongest_influences(weights: Float[np.ndarray, "V K"], joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The four largest weights of every vertex, normalised, and their joints (joint 0 where the weight is 0)."""
    missing = max(0, INFLUENCES - weights.shape[1])
    weights, joints = (np.pad(a, ((0, 0), (0, missing))) for a in (weights, joints))
    order = np.argsort(-weights, 1, kind="stable")[:, :INFLUENCES]
    weights, joints = np.take_along_axis(weights, order, 1), np.take_along_axis(joints, order, 1)
    weights = weights / weights.sum(1, keepdims=True)
    return weights.astype(np.float32), np.where(weights > 0, joints, 0)


def vertex_normals(vertices: Float[np.ndarray, "V 3"], faces: np.ndarray) -> Float[np.ndarray, "V 3"]:
    """Unit normals, the area-weighted mean of the faces around a vertex; +y where there is none."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    normals = np.zeros(vertices.shape)
    for k in range(3):
        np.add.at(normals, faces[:, k], np.cross(b - a, c - a))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.maximum(length, 1e-30), (0.0, 1.0, 0.0)).astype(np.float32)


def _read_container(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON document and the binary of a .glb or of a .gltf with its buffer inside."""
    data = read_bytes(path)
    binary_form = path.suffix.lower() == ".glb"
    if data[:4] != b"glTF" if binary_form else data.lstrip()[:1] != b"{":
        raise InputError(path, f"is {describe_content(data)}", expected="a glTF file (.glb binary, .gltf JSON)")
    try:
        if not binary_form:
            document = json.loads(data)
            return document, base64.b64decode(document["buffers"][0]["uri"].removeprefix(DATA_URI), validate=True)
        _, version, length = struct.unpack_from("<4sII", data)
        if version != 2 or length != len(data):
            raise ValueError(f"version {version}, {len(data)} of {length} bytes")
        size, kind = struct.unpack_from("<II", data, 12)
        if kind != JSON_CHUNK:
            raise ValueError("the first chunk is not JSON")
        document = json.loads(data[20 : 20 + size])
        binary_size, kind = struct.unpack_from("<II", data, 20 + size)
        if kind != BINARY_CHUNK:
            raise ValueError("the second chunk is not binary")
        return document, data[28 + size : 28 + size + binary_size]
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        struct.error,
        RecursionError,
    ) as error:
        raise InputError(path, f"is damaged ({error})", expected="glTF 2.0", mend="write or copy it again") from error


def _read_accessor(document: dict[str, Any], binary: bytes, index: int) -> Float[np.ndarray, "N C"]:
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    if accessor["componentType"] != COMPONENT_TYPES[np.dtype(np.float32)]:
        raise ValueError(f"accessor {index} is not of floats")
    values = np.frombuffer(binary, "<f4", accessor["count"] * width, view["byteOffset"])
    return values.reshape(-1, width)
