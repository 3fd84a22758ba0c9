"""Every fault that is put into a clean capture is found in its frames and not elsewhere; clean motion has none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from kinema.body.gaits import gait
from kinema.body.joint_limits import beyond_limits, swing_twist
from kinema.body.model import joints, load_body
from kinema.body.skeleton import HUMAN_JOINTS
from kinema.motion_io import load_motion
from kinema.motion_io.capture import load_capture
from kinema.optimize import order_faults
from kinema.optimize.diagnosis import KINDS, diagnose, plot_diagnosis
from kinema.optimize.lengthen import resample
from kinema.optimize.perturbations import Perturbation, frame_order
from kinema.types import BodyMotion

PUNCH = Path(__file__).parents[2] / "examples" / "punch.npz"


@pytest.fixture(scope="module")
def body():
    return load_body("human", detail="low")


@pytest.fixture(scope="module")
def punch() -> BodyMotion:
    return load_motion(PUNCH)


def reordered(motion: BodyMotion, order: np.ndarray) -> BodyMotion:
    return BodyMotion("human", motion.rotvec[order], motion.root_translation_m[order], motion.betas, motion.fps)


def moved(motion: BodyMotion, shift: np.ndarray) -> BodyMotion:
    return replace(motion, root_translation_m=(motion.root_translation_m + shift).astype(np.float32))


def turned(motion: BodyMotion, joint: str, frames: slice, rotvec) -> BodyMotion:
    posed = motion.rotvec.copy()
    posed[frames, HUMAN_JOINTS.index(joint)] = rotvec
    return replace(motion, rotvec=posed)


def kinds(diagnosis) -> set[str]:
    return {finding.kind for finding in diagnosis.findings}


def test_clean_capture_has_no_findings(punch, body):
    assert diagnose(punch, body).clean


@pytest.mark.parametrize("name", ["walk", "trot", "gallop", "sit", "jump"])
def test_procedural_animals_have_no_findings(name):
    motion, _ = gait(name, 3.0, 20.0, seed=1)
    assert diagnose(motion).clean


@pytest.mark.parametrize("fps", [10.0, 30.0, 60.0, 120.0])
def test_clean_at_any_frame_rate(punch, body, fps):
    assert diagnose(resample(punch, fps=fps), body).clean


def test_test_subjects_are_nearly_clean(shared_data, body):
    """Four cut-out pieces of the split really do hang over the floor or below it; nothing else is found in 3,000 frames."""
    clips = load_capture(shared_data / "cmu_mocap" / "cmu_test.npz")
    found = {name: kinds(diagnose(motion, body)) for name, _, motion in clips}
    off = {"08_07", "94_07_b", "94_07_d", "94_07_f"}
    assert {name for name, faults in found.items() if faults} <= off
    assert all("off_floor" in found[name] for name in off)


@pytest.mark.parametrize(("rad", "metres"), [(0.03, 0.005), (0.1, 0.02)])
@pytest.mark.parametrize("fps", [20.0, 60.0])
def test_jitter(punch, body, rad, metres, fps):
    motion = resample(punch, fps=fps)
    begin, end = round(1.5 * fps), round(3 * fps)
    rng = np.random.default_rng(0)
    rotvec, root = motion.rotvec.copy(), motion.root_translation_m.copy()
    noise = Rotation.from_rotvec(rng.normal(0, rad, ((end - begin) * 22, 3)))
    clean = Rotation.from_rotvec(rotvec[begin:end, :22].reshape(-1, 3))
    rotvec[begin:end, :22] = (clean * noise).as_rotvec().reshape(-1, 22, 3)
    root[begin:end] += rng.normal(0, metres, (end - begin, 3))
    found = diagnose(replace(motion, rotvec=rotvec, root_translation_m=root), body).frames_with("jitter")
    margin = round(0.2 * fps)
    assert found[begin + margin : end - margin].all()
    assert not found[: begin - margin].any()
    assert not found[end + margin :].any()


def test_teleport(punch, body):
    shift = np.zeros((len(punch), 3))
    shift[40:, 0] = 0.4
    diagnosis = diagnose(moved(punch, shift), body)
    assert kinds(diagnosis) == {"teleport"}
    assert diagnosis.findings[0].frames == ((39, 41),)
    # 0.4 m in 1/20 s, the clip's own speed besides.
    assert diagnosis.findings[0].severity == pytest.approx(8.0, abs=0.5)


def test_joint_flip(punch, body):
    diagnosis = diagnose(turned(punch, "left_wrist", slice(50, None), [1.9, 0, 0]), body)
    assert diagnosis.frames_with("joint_flip").nonzero()[0].tolist() == [49, 50]
    assert next(f for f in diagnosis.findings if f.kind == "joint_flip").joints == ("left_wrist",)


def test_shuffled_frames(punch, body):
    order = np.arange(len(punch))
    order[[40, 43, 47, 52, 58, 61]] = order[[52, 61, 40, 58, 43, 47]]
    diagnosis = diagnose(reordered(punch, order), body)
    assert kinds(diagnosis) == {"shuffled_frames"}
    assert diagnosis.frames_with("shuffled_frames").nonzero()[0].tolist() == [40, 43, 47, 52, 58, 61]


def test_swapped_segments(punch, body):
    order = np.arange(len(punch))
    order[40:44], order[50:54] = np.arange(50, 54), np.arange(40, 44)
    found = diagnose(reordered(punch, order), body).frames_with("shuffled_frames")
    swapped = np.isin(np.arange(len(punch)), [*range(40, 44), *range(50, 54)])
    # Where both segments pass the same pose it does not matter which is which.
    assert not found[~swapped].any()
    assert found.sum() >= 6


def test_shuffle_is_undone_exactly(punch, body):
    points = joints(punch, body)[32:64, :22].astype(float)
    order = frame_order(32, Perturbation(shuffle_frames=8), np.random.default_rng(3))
    assert (order != np.arange(32)).any()
    assert (order[order_faults.belongs_at(points[order], 20.0)] == np.arange(32)).all()


@pytest.mark.parametrize(
    ("order", "again"),
    [
        ([*range(40), 39, 39, *range(40, 96)], [40, 41]),
        ([*range(50), *range(44, 50), *range(50, 96)], [*range(50, 56)]),
    ],
)
def test_repeated_frames_and_segments(punch, body, order, again):
    diagnosis = diagnose(reordered(punch, np.array(order)), body)
    assert diagnosis.frames_with("repeated_frames").nonzero()[0].tolist() == again
    assert diagnosis.findings[0].severity == len(again)


def test_standing_still_is_no_repetition(punch, body):
    assert diagnose(reordered(punch, np.zeros(40, int)), body).clean


def test_a_loop_is_no_repetition(punch, body):
    """A sway of the whole body with a period of exactly 20 frames shows every pose again, and is sound."""
    phase = 2 * np.pi * np.arange(80) / 20
    rotvec = np.zeros((80, 55, 3), np.float32)
    rotvec[:, HUMAN_JOINTS.index("left_shoulder"), 1] = 0.6 * np.sin(phase)
    rotvec[:, HUMAN_JOINTS.index("spine1"), 0] = 0.4 * np.cos(phase)
    root = np.tile(punch.root_translation_m[:1], (80, 1))
    motion = BodyMotion("human", rotvec, root, np.zeros(10, np.float32), 20.0)
    assert "repeated_frames" not in kinds(diagnose(motion, body))


def test_left_right_swap(body):
    """One foot ahead, arms apart, and in frames 30-35 the legs' rotations change sides."""
    frames = 60
    rotvec = np.zeros((frames, 55, 3), np.float32)
    left, right = HUMAN_JOINTS.index("left_hip"), HUMAN_JOINTS.index("right_hip")
    lean = 0.03 * np.sin(np.arange(frames) / 8)
    rotvec[:, left, 0], rotvec[:, right, 0] = -0.5 + lean, 0.3 + lean
    rotvec[30:36, left], rotvec[30:36, right] = rotvec[30:36, right].copy(), rotvec[30:36, left].copy()
    root = np.tile(np.float32([0, 0.93, 0]), (frames, 1))
    diagnosis = diagnose(BodyMotion("human", rotvec, root, np.zeros(10, np.float32), 20.0), body)
    found = next(f for f in diagnosis.findings if f.kind == "left_right_swap")
    assert found.frames == ((30, 36),)
    assert "left_knee" in found.joints
    assert "left_elbow" not in found.joints
    assert "teleport" not in kinds(diagnosis)


def test_foot_slide(punch, body):
    """A drift of 0.6 m/s carries the standing feet along."""
    drift = np.outer(np.clip(np.arange(len(punch)) - 40, 0, 20), [0.03, 0, 0])
    diagnosis = diagnose(moved(punch, drift), body)
    assert kinds(diagnosis) == {"foot_slide"}
    found = diagnosis.frames_with("foot_slide")
    assert found[42:58].any()
    assert not found[:38].any()
    assert not found[63:].any()
    assert max(f.severity for f in diagnosis.findings) == pytest.approx(0.6, abs=0.15)


def test_floor_penetration(punch, body):
    dip = np.zeros((len(punch), 3))
    dip[40:48, 1] = -0.12 * np.sin(np.linspace(0, np.pi, 8))
    diagnosis = diagnose(moved(punch, dip), body)
    found = next(f for f in diagnosis.findings if f.kind == "floor_penetration")
    assert all(a >= 40 and b <= 48 for a, b in found.frames)
    assert found.severity == pytest.approx(0.12, abs=0.03)


@pytest.mark.parametrize("height", [0.2, -0.1])
def test_off_floor(punch, body, height):
    diagnosis = diagnose(moved(punch, np.array([0, height, 0])), body)
    assert kinds(diagnosis) == {"off_floor"}
    assert diagnosis.findings[0].severity == pytest.approx(abs(height), abs=0.02)
    assert f"{-height:+.1f}"[:3] in diagnosis.findings[0].sentence


def test_floating(punch, body):
    rise = np.outer(np.clip(np.minimum(np.arange(96) - 30, 75 - np.arange(96)), 0, 8) / 8, [0, 0.5, 0])
    diagnosis = diagnose(moved(punch, rise), body)
    assert kinds(diagnosis) == {"floating"}
    assert diagnosis.findings[0].severity == pytest.approx(0.5, abs=0.05)


def test_a_jump_does_not_float(punch, body):
    """0.45 m high: 0.6 s in the air."""
    t = (np.arange(96) - 46) / 20
    rise = np.outer(np.maximum(0.45 - 9.81 / 2 * t**2, 0), [0, 1, 0])
    assert "floating" not in kinds(diagnose(moved(punch, rise), body))


def test_joint_limit(punch, body):
    diagnosis = diagnose(turned(punch, "right_knee", slice(20, 40), [np.deg2rad(-60), 0, 0]), body)
    found = next(f for f in diagnosis.findings if f.kind == "joint_limit")
    assert found.joints == ("right_knee",)
    assert found.frames == ((20, 40),)
    assert found.severity == pytest.approx(45, abs=0.1)
    assert found.unit == "deg"


def test_limits_are_mirror_images():
    rng = np.random.default_rng(1)
    pose = np.zeros((200, 55, 3))
    left, right = HUMAN_JOINTS.index("left_elbow"), HUMAN_JOINTS.index("right_elbow")
    pose[:, left] = rng.normal(0, 1.2, (200, 3))
    pose[:, right] = pose[:, left] * [1, -1, -1]
    excess = beyond_limits(pose, "human")
    np.testing.assert_allclose(excess[:, left], excess[:, right], atol=1e-9)
    assert (excess[:, left] > 0).any()
    assert (excess[:, left] == 0).any()


@given(st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3), st.integers(0, 2))
def test_swing_twist_puts_together_again(rotvec, axis):
    angles = swing_twist(np.array([rotvec]), np.array([axis]))
    twist, swing = np.zeros((1, 3)), angles.copy()
    twist[:, axis], swing[:, axis] = angles[:, axis], 0
    again = Rotation.from_rotvec(swing) * Rotation.from_rotvec(twist)
    assert (again.inv() * Rotation.from_rotvec([rotvec])).magnitude()[0] < 1e-6


def test_invalid_frames_are_not_reported(punch, body):
    shift = np.zeros((len(punch), 3))
    shift[40:45, 0] = 0.5
    motion = replace(moved(punch, shift), valid=~np.isin(np.arange(96), np.arange(38, 47)))
    assert diagnose(motion, body).clean


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_short_clips(punch, body, frames):
    assert diagnose(punch[:frames], body).clean


def test_json_and_picture(punch, body, tmp_path):
    shift = np.zeros((len(punch), 3))
    shift[40:, 0] = 0.4
    for motion, name in ((moved(punch, shift), "faults.png"), (punch[:1], "clean.png")):
        plot_diagnosis(motion, diagnose(motion, body), tmp_path / name, body)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clean.png", "faults.png"]
    read = json.loads(diagnose(moved(punch, shift), body).to_json())
    assert read["clean"] is False
    assert read["findings"][0]["frames"] == [[39, 41]]
    assert set(read["findings"][0]) == {"kind", "joints", "frames", "severity", "threshold", "unit", "sentence"}


def test_table_shows_every_finding(punch, body):
    from rich.console import Console

    console = Console(width=140)
    with console.capture() as capture:
        console.print(diagnose(moved(punch, np.array([0, 0.3, 0])), body).to_table())
    assert "off floor" in capture.get()
    assert "0-95" in capture.get()


def test_every_kind_has_a_row_in_the_picture():
    from kinema.optimize.diagnosis_plot import ROWS

    assert tuple(ROWS) == KINDS


def test_noise_is_not_taken_for_a_wrong_order(punch, body):
    """Nor does it take long: noise of 0.08 rad at 120 fps, where every frame is suspect."""
    motion = resample(punch, fps=120.0)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.08, motion.rotvec.shape).astype(np.float32)
    shake = rng.normal(0, 0.02, motion.root_translation_m.shape)
    found = diagnose(moved(replace(motion, rotvec=motion.rotvec + noise), shake), body)
    assert "shuffled_frames" not in kinds(found)
    assert found.frames_with("jitter").mean() > 0.8


def test_table_fits_a_narrow_terminal(punch, body):
    from rich.console import Console

    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.08, punch.rotvec.shape).astype(np.float32)
    found = diagnose(replace(punch, rotvec=punch.rotvec + noise), body)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(found.to_table())
    assert len(capture.get().splitlines()) < 8 * len(found.findings)
