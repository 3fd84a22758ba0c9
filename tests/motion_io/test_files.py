"""All formats alike: names, wrong contents, damage of any kind, and disks that are full."""

from __future__ import annotations

import io
import resource

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import body_motion, rig_motion, write_rig

from kinema.errors import InputError
from kinema.motion_io import load_motion, save_motion
from kinema.types import BodyMotion

SUFFIXES = (".npz", ".bvh", ".glb", ".gltf")


@pytest.mark.parametrize("name", ["m.fbx", "m", "m.txt"])
def test_an_unknown_suffix_lists_the_known_ones(tmp_path, name):
    for attempt in (lambda: load_motion(tmp_path / name), lambda: save_motion(body_motion(2), tmp_path / name)):
        with pytest.raises(InputError, match=r"\.npz, \.bvh"):
            attempt()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_files_and_folders(tmp_path, suffix):
    with pytest.raises(InputError, match="does not exist"):
        load_motion(tmp_path / f"m{suffix}")
    (tmp_path / f"m{suffix}").mkdir()
    with pytest.raises(InputError, match="folder"):
        load_motion(tmp_path / f"m{suffix}")
    with pytest.raises(InputError, match="folder"):
        save_motion(body_motion(2), tmp_path / "missing" / f"m{suffix}")


def test_a_missing_file_names_its_neighbour(tmp_path):
    save_motion(body_motion(2), tmp_path / "walk.npz")
    with pytest.raises(InputError, match=r"walk\.npz"):
        load_motion(tmp_path / "walk.bvh")


@pytest.mark.parametrize("written", SUFFIXES)
@pytest.mark.parametrize("named", SUFFIXES)
def test_a_wrong_name_says_what_the_file_is(tmp_path, written, named):
    if written == named:
        return
    save_motion(body_motion(2), tmp_path / f"a{written}")
    (tmp_path / f"a{written}").rename(tmp_path / f"b{named}")
    kind = {".npz": "zip", ".bvh": "BVH", ".glb": "glTF", ".gltf": "JSON"}[written]
    with pytest.raises(InputError, match=kind):
        load_motion(tmp_path / f"b{named}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_what_was_there(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_text("the old file")
    motion = body_motion(30)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(InputError, match="could not be written"):
            save_motion(motion, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "the old file"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    """A small valid file of every format, the BVH a foreign one; the .npz stored so that damage reaches the arrays."""
    folder = tmp_path_factory.mktemp("valid")
    for suffix in (".npz", ".glb", ".gltf"):
        save_motion(body_motion(2), folder / f"m{suffix}")
    write_rig(folder / "m.bvh", rig_motion("mixamo")[:2], "mixamo")
    with np.load(folder / "m.npz") as archive:
        plain = io.BytesIO()
        np.savez(plain, **{key: archive[key] for key in archive.files})
    return {s: plain.getvalue() if s == ".npz" else (folder / f"m{s}").read_bytes() for s in SUFFIXES}


def check_damaged(tmp_path_factory, suffix: str, data: bytes) -> None:
    """Damage may go unnoticed or be refused, and nothing else."""
    path = tmp_path_factory.mktemp("damaged") / f"m{suffix}"
    path.write_bytes(data)
    try:
        assert isinstance(load_motion(path), BodyMotion)
    except InputError as error:
        if path.name not in error.where:
            raise


@settings(max_examples=60)
@given(st.sampled_from(SUFFIXES), st.data())
def test_damaged_bytes_raise_nothing_but_input_errors(originals, tmp_path_factory, suffix, data):
    content = bytearray(originals[suffix])
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    end = data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))
    check_damaged(tmp_path_factory, suffix, bytes(content[:end]))


WORDS = [
    "0",
    "-1",
    "1e9",
    "nan",
    "{",
    "}",
    "MOTION",
    "JOINT",
    "End Site",
    "OFFSET",
    "CHANNELS 0",
    "Frames: 3",
    "\x00",
    "",
]


@settings(max_examples=60)
@given(st.data())
def test_damaged_bvh_words_raise_nothing_but_input_errors(originals, tmp_path_factory, data):
    words = originals[".bvh"].decode().split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at] = data.draw(st.sampled_from(WORDS))
    check_damaged(tmp_path_factory, ".bvh", " ".join(words).encode())


@settings(max_examples=60)
@given(st.data())
def test_damaged_bvh_lines_raise_nothing_but_input_errors(originals, tmp_path_factory, data):
    lines = originals[".bvh"].decode().splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at, to = data.draw(st.integers(0, len(lines) - 1)), data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "swap", "zero"])):
            case "drop":
                del lines[at]
            case "double":
                lines.insert(to, lines[at])
            case "swap":
                lines[at], lines[to] = lines[to], lines[at]
            case "zero":
                lines[at] = " ".join(
                    "0" if word.replace(".", "").replace("-", "").isdigit() else word for word in lines[at].split()
                )
    check_damaged(tmp_path_factory, ".bvh", "\n".join(lines).encode())
