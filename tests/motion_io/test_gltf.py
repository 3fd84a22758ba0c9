"""glTF: read again by a minimal reader of our own, which poses the nodes and the skin as the standard says."""

from __future__ import annotations

import base64
import json
import struct

import numpy as np
import pytest
from licensed import smplx_file
from rigs import angles_deg, body_motion, global_rotations
from scipy.spatial.transform import Rotation

from kinema.body.model import joints, load_body
from kinema.body.skeleton import JOINTS
from kinema.errors import InputError
from kinema.motion_io import load_motion, save_motion
from kinema.motion_io.gltf import save_gltf, strongest_influences

TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Gltf:
    """A .glb as the standard describes it: chunks, accessors, node transforms at a frame."""

    def __init__(self, data: bytes):
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        assert size % 4 == 0
        self.document = json.loads(data[20 : 20 + size])
        binary_size, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0"
        self.binary = data[28 + size :]
        assert len(self.binary) == binary_size == self.document["buffers"][0]["byteLength"]

    def accessor(self, index: int) -> np.ndarray:
        accessor = self.document["accessors"][index]
        view = self.document["bufferViews"][accessor["bufferView"]]
        kind, width = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteLength"] == accessor["count"] * width * kind.itemsize
        values = np.frombuffer(self.binary, kind, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
        if "min" in accessor:
            np.testing.assert_allclose(accessor["min"], values.min(0))
            np.testing.assert_allclose(accessor["max"], values.max(0))
        return values

    def world(self, frame: int) -> np.ndarray:
        """[N,4,4] node to world."""
        nodes = self.document["nodes"]
        local = np.tile(np.eye(4), (len(nodes), 1, 1))
        for k, node in enumerate(nodes):
            local[k, :3, 3] = node.get("translation", (0, 0, 0))
        animation = self.document["animations"][0]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            value, node = self.accessor(sampler["output"])[frame], channel["target"]["node"]
            if channel["target"]["path"] == "rotation":
                assert abs(np.linalg.norm(value) - 1) < 1e-5
                local[node, :3, :3] = Rotation.from_quat(value).as_matrix()
            else:
                local[node, :3, 3] = value
        world = local.copy()
        waiting = list(self.document["scenes"][0]["nodes"])
        while waiting:
            node = waiting.pop()
            for child in nodes[node].get("children", []):
                world[child] = world[node] @ local[child]
                waiting.append(child)
        return world

    def vertices(self, frame: int) -> np.ndarray:
        """[V,3] the skin posed by the standard's formula."""
        skin, primitive = self.document["skins"][0], self.document["meshes"][0]["primitives"][0]
        bind = np.swapaxes(self.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4), 1, 2)
        matrices = self.world(frame)[skin["joints"]] @ bind
        attributes = {name: self.accessor(index) for name, index in primitive["attributes"].items()}
        blended = (attributes["WEIGHTS_0"][..., None, None] * matrices[attributes["JOINTS_0"]]).sum(1)
        points = np.pad(attributes["POSITION"], ((0, 0), (0, 1)), constant_values=1)
        return (blended @ points[..., None])[:, :3, 0]


@pytest.mark.parametrize("category", ["human", "animal"])
def test_nodes_stand_where_the_joints_are(tmp_path, category):
    motion = body_motion(5, category=category)
    save_motion(motion, tmp_path / "m.glb")
    gltf = Gltf((tmp_path / "m.glb").read_bytes())
    count = len(JOINTS[category])
    assert [node["name"] for node in gltf.document["nodes"][:count]] == list(JOINTS[category])
    expected, turns = joints(motion), global_rotations(motion)
    for frame in range(5):
        world = gltf.world(frame)[:count]
        assert np.abs(world[:, :3, 3] - expected[frame]).max() < 1e-4
        assert angles_deg(world[:, :3, :3], turns[frame]).max() < 0.01


@pytest.mark.parametrize("detail", ["low", "full"])
def test_the_skin_moves_as_the_body_does(tmp_path, detail):
    motion = body_motion(3)
    save_gltf(motion, tmp_path / "m.glb", detail)
    gltf = Gltf((tmp_path / "m.glb").read_bytes())
    body = load_body("human", detail=detail)
    expected = body.vertices(motion)
    distance = np.linalg.norm(gltf.vertices(2) - expected[2], axis=1)
    exact = np.sort(body.weights, 1)[:, :-4].sum(1) < 1e-6
    assert distance[exact].max(initial=0) < 1e-4
    assert np.quantile(distance, 0.99) < 2e-3
    np.testing.assert_array_equal(
        gltf.accessor(gltf.document["meshes"][0]["primitives"][0]["indices"]).reshape(-1, 3), body.faces
    )


def test_frames_are_timed_and_neighbouring_quaternions_are_near(tmp_path):
    motion = body_motion(40, fps=30)
    motion.rotvec[:, 0] = np.linspace([0, -7, 0], [0, 7, 0], 40)
    save_motion(motion, tmp_path / "m.glb")
    gltf = Gltf((tmp_path / "m.glb").read_bytes())
    sampler = gltf.document["animations"][0]["samplers"][0]
    np.testing.assert_allclose(gltf.accessor(sampler["input"])[:, 0], np.arange(40) / 30, atol=1e-6)
    quaternions = gltf.accessor(sampler["output"])
    assert ((quaternions[1:] * quaternions[:-1]).sum(1) > 0).all()


def test_influences_are_the_strongest_four():
    weights = np.array([[0.1, 0.4, 0.2, 0.05, 0.25], [0, 1, 0, 0, 0]], np.float32)
    kept, which = strongest_influences(weights, np.array([[5, 6, 7, 8, 9], [1, 2, 3, 4, 5]]))
    np.testing.assert_array_equal(which, [[6, 9, 7, 5], [2, 0, 0, 0]])
    np.testing.assert_allclose(kept[0], np.array([0.4, 0.25, 0.2, 0.1]) / 0.95, rtol=1e-6)
    two, _ = strongest_influences(np.array([[0.5, 0.5]], np.float32), np.array([[1, 2]]))
    np.testing.assert_array_equal(two, [[0.5, 0.5, 0, 0]])


@pytest.mark.parametrize("suffix", [".glb", ".gltf"])
@pytest.mark.parametrize("category", ["human", "animal"])
def test_what_is_written_is_read_again(tmp_path, category, suffix):
    made = body_motion(6, category=category, fps=29.97)
    save_motion(made, tmp_path / f"m{suffix}")
    again = load_motion(tmp_path / f"m{suffix}")
    assert (again.category, again.fps) == (category, 29.97)
    np.testing.assert_array_equal(again.betas, made.betas)
    assert np.abs(joints(again) - joints(made)).max() < 1e-5
    assert angles_deg(global_rotations(again), global_rotations(made)).max() < 0.01


def _edited(data: bytes, change) -> bytes:
    document, binary = Gltf(data).document, Gltf(data).binary
    change(document)
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["scenes"][0].pop("extras"),
        lambda d: d.pop("animations"),
        lambda d: d["animations"][0]["channels"].clear(),
        lambda d: d["nodes"][3].update(name="x"),
        lambda d: d["scenes"][0]["extras"]["kinema"].update(fps="fast"),
        lambda d: d["scenes"][0]["extras"]["kinema"].update(category="plant"),
        lambda d: d["scenes"][0]["extras"]["kinema"].update(expression=[[1, 2]]),
        lambda d: d["accessors"].clear(),
    ],
)
def test_another_gltf_is_refused(tmp_path, change):
    save_motion(body_motion(2), tmp_path / "m.glb")
    (tmp_path / "m.gltf").write_bytes(_edited((tmp_path / "m.glb").read_bytes(), change))
    with pytest.raises(InputError, match=r"m\.gltf"):
        load_motion(tmp_path / "m.gltf")


@pytest.mark.parametrize("cut", [0, 3, 11, 19, 200, 5000, -1])
def test_a_cut_glb_is_refused(tmp_path, cut):
    save_motion(body_motion(2), tmp_path / "m.glb")
    (tmp_path / "m.glb").write_bytes((tmp_path / "m.glb").read_bytes()[:cut])
    with pytest.raises(InputError, match=r"m\.glb"):
        load_motion(tmp_path / "m.glb")


def test_a_licensed_mesh_is_not_passed_on(tmp_path, caplog):
    save_motion(body_motion(2), tmp_path / "m.glb", load_body("human", smplx_file(tmp_path / "SMPLX_NEUTRAL.npz")))
    assert "shows the built-in body" in caplog.text
    save_motion(body_motion(2), tmp_path / "own.glb")
    assert (tmp_path / "m.glb").read_bytes() == (tmp_path / "own.glb").read_bytes()
