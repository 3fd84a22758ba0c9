"""BVH text: what it means by analytic cases, any channel order, and the line of every fault."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from kinema.errors import InputError
from kinema.motion_io.bvh import global_transforms, read_bvh, rotmat_to_euler_deg, write_bvh

TINY = """HIERARCHY
ROOT hips
{
    OFFSET 0 1 0
    CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
    JOINT knee
    {
        OFFSET 2 0 0
        CHANNELS 3 Zrotation Xrotation Yrotation
        End Site
        {
            OFFSET 1 0 0
        }
    }
}
MOTION
Frames: 2
Frame Time: 0.0333333
0 0 0 0 0 0 0 0 0
5 6 7 90 0 0 0 0 90
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "motion.bvh"
    path.write_bytes(text.encode())
    return path


def test_a_quarter_turn_carries_the_child_round(tmp_path):
    bvh = read_bvh(written(tmp_path, TINY))
    place, turn = global_transforms(bvh.parents, bvh.rotmat, bvh.positions)
    assert bvh.names == ("hips", "knee")
    assert bvh.fps == 30
    np.testing.assert_allclose(place[0], [[0, 0, 0], [2, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(place[1], [[5, 6, 7], [5, 8, 7]], atol=1e-12)
    end = place[1, 1] + turn[1, 1] @ bvh.end_offsets[1]
    np.testing.assert_allclose(end, [5, 8, 6], atol=1e-12)


@pytest.mark.parametrize("change", [("\n", "\r\n"), ("    ", "\t"), ("HIERARCHY", "\ufeffHIERARCHY"), ("{", "{\n")])
def test_line_ends_tabs_and_marks_do_not_matter(tmp_path, change):
    ours = read_bvh(written(tmp_path, TINY))
    other = read_bvh(written(tmp_path, TINY.replace(*change)))
    np.testing.assert_array_equal(ours.rotmat, other.rotmat)


@given(
    st.sampled_from(list(itertools.permutations("XYZ"))),
    st.lists(st.floats(-720, 720), min_size=3, max_size=3),
)
def test_any_rotation_order(tmp_path_factory, order, angles):
    channels = " ".join(f"{axis}rotation" for axis in order)
    text = TINY.replace("Zrotation Xrotation Yrotation", channels).replace(
        "5 6 7 90 0 0", "5 6 7 " + " ".join(map(repr, angles))
    )
    bvh = read_bvh(written(tmp_path_factory.mktemp("order"), text))
    expected = Rotation.from_euler("".join(order), angles, degrees=True).as_matrix()
    np.testing.assert_allclose(bvh.rotmat[1, 0], expected, atol=1e-9)


def test_position_channels_replace_the_offset(tmp_path):
    text = TINY.replace("CHANNELS 3 Z", "CHANNELS 4 Yposition Z")
    text = text.replace("0 0 0 0 0 0 0 0 0", "0 0 0 0 0 0 3 0 0 0").replace("5 6 7 90 0 0", "5 6 7 90 0 0 4")
    bvh = read_bvh(written(tmp_path, text))
    np.testing.assert_allclose(bvh.positions[:, 1], [[2, 3, 0], [2, 4, 0]])


@given(st.lists(st.floats(-np.pi, np.pi), min_size=3, max_size=3), st.booleans())
def test_euler_angles_give_the_rotation_back(angles, locked):
    if locked:
        angles[1] = np.copysign(np.pi / 2, angles[1])
    rotmat = Rotation.from_euler("ZXY", angles).as_matrix()
    again = Rotation.from_euler("ZXY", rotmat_to_euler_deg(rotmat), degrees=True).as_matrix()
    np.testing.assert_allclose(again, rotmat, atol=2e-8)


def test_what_is_written_is_read_again(tmp_path):
    bvh = read_bvh(written(tmp_path, TINY))
    write_bvh(bvh, tmp_path / "again.bvh")
    again = read_bvh(tmp_path / "again.bvh")
    assert (again.names, again.fps) == (bvh.names, bvh.fps)
    np.testing.assert_allclose(again.rotmat, bvh.rotmat, atol=1e-7)
    np.testing.assert_allclose(again.positions, bvh.positions, atol=1e-6)
    np.testing.assert_allclose(again.end_offsets[1], bvh.end_offsets[1])


@pytest.mark.parametrize("rate", [23.976, 24.0, 29.97, 59.94, 120.0, 12.5])
def test_frame_rates_survive(tmp_path, rate):
    assert read_bvh(written(tmp_path, TINY.replace("0.0333333", f"{1 / rate:.10f}"))).fps == pytest.approx(rate, 1e-6)


FAULTS = {
    "a number that is none": ("5 6 7 90", "5 six 7 90", 20, "six"),
    "too few channels": ("5 6 7 90 0", "5 6 7 90", 20, "8 numbers\n  expected: 9"),
    "too many channels": ("5 6 7 90 0", "5 6 7 90 0 1 1", 20, "11 numbers"),
    "not a number": ("5 6 7", "5 nan 7", 20, "nan"),
    "an endless number": ("5 6 7", "5 1e400 7", 20, "1e400"),
    "a frame missing": ("\n5 6 7 90 0 0 0 0 90", "", 19, "1 of 2 frames"),
    "a frame too many": ("Frames: 2", "Frames: 1", 20, "after the 1 announced"),
    "no frames": ("Frames: 2", "Frames: 0", 17, "announces 0"),
    "half a frame": ("Frames: 2", "Frames: 2.5", 17, "2.5"),
    "frames unreadable": ("Frames: 2", "Frames: two", 17, "two"),
    "no frame time": ("Frame Time: 0.0333333\n", "", 18, "Frame Time"),
    "frame time unreadable": ("0.0333333", "fast", 18, "fast"),
    "frame time of zero": ("0.0333333", "0", 18, "frame time of 0"),
    "frame time below zero": ("0.0333333", "-0.1", 18, "-0.1"),
    "an offset of two": ("OFFSET 2 0 0", "OFFSET 2 0", 8, "2 numbers"),
    "channels miscounted": ("CHANNELS 3 Z", "CHANNELS 4 Z", 9, "announces 4"),
    "a channel unknown": ("CHANNELS 3 Zrotation", "CHANNELS 3 Wrotation", 9, "Wrotation"),
    "a channel twice": ("CHANNELS 3 Zrotation X", "CHANNELS 3 Xrotation X", 9, "twice"),
    "a joint without a name": ("JOINT knee", "JOINT", 6, "names no joint"),
    "two joints of one name": ("JOINT knee", "JOINT hips", 6, "second joint"),
    "a brace missing": ("    JOINT knee\n    {", "    JOINT knee", 7, "OFFSET 2 0 0"),
    "a brace too many": ("        }\n    }", "        }\n    }\n}", 16, "MOTION"),
    "a brace never closed": ("}\nMOTION", "MOTION", 15, "closing brace of joint 'hips'"),
    "a second root": ("MOTION", "ROOT other\n{\n}\nMOTION", 16, "second root"),
    "a word out of place": ("    JOINT knee", "    BONE knee", 6, "BONE"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_its_line(tmp_path, fault):
    old, new, line, text = FAULTS[fault]
    broken = TINY.replace(old, new, 1)
    assert broken != TINY
    with pytest.raises(InputError) as raised:
        read_bvh(written(tmp_path, broken))
    if fault != "a brace too many":
        assert f"line {line}" in raised.value.where
    assert text in str(raised.value)


@pytest.mark.parametrize("cut", range(0, len(TINY) - 3, 7))
def test_a_file_cut_off_anywhere_is_refused(tmp_path, cut):
    with pytest.raises(InputError):
        read_bvh(written(tmp_path, TINY[:cut]))
