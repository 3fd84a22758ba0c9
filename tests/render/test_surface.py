"""Which surface point a pixel shows: the same pixels as `rasterize`, and vertex values seen where they are."""

import numpy as np

from kinema.camera import project
from kinema.motion_io import load_motion
from kinema.render.rasterizer import rasterize, rasterize_surface
from kinema.render.shot import make_shot


def punch_shot():
    motion = load_motion("examples/punch.npz")[:3]
    shot = make_shot(motion, "fixed", (128, 128))
    return shot.meshes(slice(0, 3)), shot.cameras


def test_the_same_pixels_parts_and_depth_as_the_rasterizer():
    meshes, cameras = punch_shot()
    raster, surface = rasterize(meshes, cameras, normals=False), rasterize_surface(meshes, cameras)
    assert np.array_equal(surface.of_pixels(surface.face_parts), raster.part_ids)
    assert np.array_equal(surface.of_pixels(surface.face_subjects), raster.subject_ids)
    assert np.array_equal(surface.depth_m, raster.depth_m)


def test_interpolated_positions_project_onto_their_own_pixels():
    meshes, cameras = punch_shot()
    surface = rasterize_surface(meshes, cameras)
    places = surface.interpolate([m.vertices for m in meshes])
    seen = surface.face_ids >= 0
    assert seen.sum() > 1000
    rows, columns = np.indices(seen.shape[1:])
    for t in range(3):
        pixels, depth = project(places[t][seen[t]][None], _camera(cameras, t))
        expected = np.stack([columns[seen[t]] + 0.5, rows[seen[t]] + 0.5], -1)
        assert np.abs(pixels[0] - expected).max() < 0.2
        assert np.allclose(depth[0], surface.depth_m[t][seen[t]], rtol=2e-3)


def test_weights_sum_to_one_and_the_background_shows_nothing():
    meshes, cameras = punch_shot()
    surface = rasterize_surface(meshes, cameras)
    seen = surface.face_ids >= 0
    assert np.allclose(surface.weights[seen].sum(-1), 1, atol=1e-5)
    assert (surface.interpolate([np.ones((m.vertices.shape[1], 2), np.float32) for m in meshes])[~seen] == 0).all()


def _camera(cameras, t):
    from kinema.types import Cameras

    return Cameras(cameras.K[t : t + 1], cameras.T_camera_world[t : t + 1], cameras.image_hw)
