"""Cameras: round trips, everything in the picture, and files that are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.camera import (
    best_azimuth,
    fixed_cameras,
    follow_cameras,
    for_frames,
    load_cameras,
    make_cameras,
    orbit_cameras,
    project,
    resize,
    save_cameras,
    unproject,
)
from kinema.errors import InputError
from kinema.types import Cameras

SIZE = (320, 180)


def cloud(seed=0, frames=12, points=40):
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(size=(frames, 1, 3)) * [0.3, 0, 0.3], 0)
    return (path + rng.normal(size=(frames, points, 3)) * [0.3, 0.5, 0.3] + [0, 1, 0]).astype(np.float32)


@given(st.integers(0, 10**6), st.sampled_from(["fixed", "orbit", "follow"]), st.floats(-4, 4))
def test_every_path_sees_all_points(seed, kind, azimuth):
    points = cloud(seed)
    pixels, depth = project(points, make_cameras(kind, points, SIZE, azimuth, 20.0))
    assert (depth > 0).all()
    margin = 0.5 * (1 - 0.87) * np.array(SIZE)
    assert (pixels > margin - 0.1).all()
    assert (pixels < SIZE - margin + 0.1).all()


def test_fixed_framing_is_tight():
    points = cloud(3)
    pixels, _ = project(points, fixed_cameras(points, SIZE))
    used = np.ptp(pixels.reshape(-1, 2), axis=0) / SIZE
    assert used.max() == pytest.approx(0.86, abs=0.01)


@given(st.integers(0, 10**6))
def test_unproject_undoes_project(seed):
    points = cloud(seed)
    cameras = orbit_cameras(points, SIZE)
    np.testing.assert_allclose(unproject(*project(points, cameras), cameras), points, atol=1e-3)


def test_directions_of_view():
    """From +z a body at rest is seen from the front: its left (+x) to the right, up above, and upright always."""
    points = np.array([[[0, 1, 0], [0.5, 1, 0], [0, 1.5, 0]]], np.float32)
    pixels, _ = project(points, fixed_cameras(points, SIZE, 0.0, 0.0))
    assert pixels[0, 1, 0] > pixels[0, 0, 0]
    assert pixels[0, 2, 1] < pixels[0, 0, 1]
    quarter = fixed_cameras(points, SIZE, np.pi / 2, 0.0)
    np.testing.assert_allclose(quarter.T_camera_world[0, 2, :3], [-1, 0, 0], atol=1e-6)  # stands at +x
    R = orbit_cameras(cloud(), SIZE).T_camera_world[:, :3, :3]
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (12, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-5)


def test_a_following_camera_keeps_its_distance_and_height():
    points = cloud(5, frames=60)
    T = follow_cameras(points, SIZE, 0.3, 20.0).T_camera_world
    position = -np.einsum("tji,tj->ti", T[:, :3, :3], T[:, :3, 3])
    assert np.ptp(position[:, 1]) < 1e-4
    assert np.abs(np.diff(position, 2, axis=0)).max() < 0.02


def test_travel_is_seen_from_its_side_and_standing_from_the_front():
    frames = np.linspace(0, 4, 30)
    facing = np.tile([0.0, 0, 1], (30, 1))
    walk = np.stack([np.zeros(30), np.ones(30), frames], -1)
    assert abs(np.sin(best_azimuth(walk, facing))) > 0.9
    still = np.tile([0.0, 1, 0], (30, 1))
    assert best_azimuth(still, facing) == pytest.approx(np.radians(30))
    assert np.isfinite(best_azimuth(still[:1], facing[:1]))


def test_another_size_shows_the_same():
    points = cloud(1)
    cameras = fixed_cameras(points, SIZE)
    wide = project(points, resize(cameras, (640, 640)))[0]
    np.testing.assert_allclose(wide, project(points, cameras)[0] * 2 + [0, 140], atol=1e-2)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_files_round_trip(tmp_path, suffix):
    cameras = orbit_cameras(cloud(), SIZE)
    save_cameras(cameras, tmp_path / f"camera{suffix}")
    again = load_cameras(tmp_path / f"camera{suffix}")
    np.testing.assert_allclose(again.K, cameras.K)
    np.testing.assert_allclose(again.T_camera_world, cameras.T_camera_world)
    assert again.image_hw == cameras.image_hw
    made = make_cameras(str(tmp_path / f"camera{suffix}"), cloud(), (640, 360), 0.0, 20.0)
    np.testing.assert_allclose(made.K[:, 0, 0], cameras.K[:, 0, 0] * 2)


def test_one_camera_serves_all_frames_and_other_numbers_are_refused():
    one = fixed_cameras(cloud()[:1], SIZE)
    assert len(for_frames(one, 7).K) == 7
    with pytest.raises(InputError, match="12 cameras"):
        for_frames(orbit_cameras(cloud(), SIZE), 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": None}, "missing"),
        ({"K": np.zeros((2, 2))}, "shape"),
        ({"K": np.diag([-1.0, 1, 1])}, "pinhole"),
        ({"T_camera_world": np.diag([1.0, 1, -1, 1])}, "left-handed"),
        ({"T_camera_world": np.full((4, 4), np.nan)}, "finite"),
        ({"image_hw": np.array([0, 5])}, "c.npz, key 'image_hw'"),
        ({"image_hw": np.array([np.nan, 5])}, "c.npz, key 'image_hw'"),
    ],
)
def test_broken_files_are_refused(tmp_path, change, message):
    fields = {"K": np.eye(3), "T_camera_world": np.eye(4), "image_hw": np.array([4, 5])} | change
    np.savez(tmp_path / "c.npz", **{k: v for k, v in fields.items() if v is not None})
    with pytest.raises(InputError, match=message):
        load_cameras(tmp_path / "c.npz")


def test_what_is_no_camera_file_is_refused(tmp_path):
    for name, content in [
        ("deep.json", "[" * 99999),
        ("a.json", "{"),
        ("b.json", "[]"),
        ("c.npz", "PK\x03\x04 no"),
        ("d.json", '{"K": "x"}'),
    ]:
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError):
            load_cameras(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        load_cameras(tmp_path / "none.npz")
    with pytest.raises(InputError, match="fixed, orbit, follow"):
        make_cameras("crane", cloud(), SIZE, 0.0, 20.0)
    with pytest.raises(InputError, match="by its name"):
        save_cameras(Cameras(np.eye(3)[None], np.eye(4)[None], (4, 5)), tmp_path / "camera.txt")
