"""The z-buffer against its slow twin, to the bit, and against pictures known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import camera, cube, sphere, sphere_arrays, triangles

from kinema.errors import InputError
from kinema.render.raster_kernels import is_closed
from kinema.render.rasterizer import Mesh, cut_between_parts, rasterize
from kinema.render.reference import rasterize_slowly

HW = (18, 24)


def assert_same(fast, slow):
    for name in ("part_ids", "subject_ids", "depth_m"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)
    np.testing.assert_allclose(fast.normals, slow.normals, atol=2e-3)


@st.composite
def scenes(draw):
    """Loose triangles of every kind: seen, tiny, flat, off screen, behind the camera, across its plane, not finite."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(
        st.lists(st.sampled_from(["seen", "tiny", "flat", "aside", "behind", "across", "huge", "nan"]), max_size=12)
    )
    points = []
    for kind in kinds:
        center = np.array([*rng.uniform(-1, 1, 2), rng.uniform(1, 6)])
        corners = center + rng.normal(size=(3, 3)) * 0.8
        if kind == "tiny":
            corners = center + rng.normal(size=(3, 3)) * 0.01
        if kind == "flat":
            corners[2] = corners[rng.integers(2)] if rng.random() < 0.5 else corners[:2].mean(0)
        if kind == "aside":
            corners[:, 0] += rng.choice([-30, 30])
        if kind == "behind":
            corners[:, 2] -= 10
        if kind == "across":
            corners[:, 2] = rng.permutation([-1.0, 0.0, 2.0]) + rng.normal(size=3) * 0.1
        if kind == "huge":
            corners = center + rng.normal(size=(3, 3)) * 1e4
        if kind == "nan":
            corners[rng.integers(3), rng.integers(3)] = rng.choice([np.nan, np.inf])
        if draw(st.booleans()):  # corners on pixel centres and borders, where the fill rule decides
            corners[:, 2] = 2.0
            corners[:, :2] = np.rint(corners[:, :2] * 20) / 20
        points.append(corners)
    return triangles(points, rng.integers(1, 4, 3 * len(points))) if points else None


@given(scenes(), scenes())
def test_bits_of_the_slow_twin(one, two):
    meshes = [Mesh(m.vertices, m.faces, m.vertex_parts, k + 1) for k, m in enumerate((one, two)) if m is not None]
    cameras = camera(1, HW, 20.0)
    with np.errstate(invalid="ignore"):
        fast, slow = rasterize(meshes, cameras), rasterize_slowly(meshes, cameras)
        gpu = rasterize(meshes, cameras, device="torch-cpu")
    for name in ("part_ids", "subject_ids", "depth_m"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)
        np.testing.assert_array_equal(getattr(gpu, name), getattr(slow, name), err_msg=f"torch {name}")


def test_solids_in_all_maps_and_on_torch():
    meshes = [sphere([0, 0, 3], 0.8, part=3), cube([0.6, 0.2, 3.2], 0.4)]
    fast = rasterize(meshes, camera())
    assert_same(fast, rasterize_slowly(meshes, camera()))
    assert_same(rasterize(meshes, camera(), device="torch-cpu"), fast)
    assert set(np.unique(fast.part_ids)) == {0, 3, 64}
    assert np.isinf(fast.depth_m[fast.part_ids == 0]).all()


@pytest.mark.parametrize("frames", [1, 3, 9])
def test_bands_and_frames_do_not_change_the_picture(frames):
    centers = np.stack([np.linspace(-0.5, 0.5, frames), np.zeros(frames), np.full(frames, 3)], -1)
    mesh = sphere(centers, 0.7)
    together = rasterize([mesh], camera(frames))
    for t in range(frames):
        alone = rasterize([Mesh(mesh.vertices[t : t + 1], mesh.faces, mesh.vertex_parts, 1)], camera())
        np.testing.assert_array_equal(together.depth_m[t], alone.depth_m[0])
        np.testing.assert_array_equal(together.normals[t], alone.normals[0])


def test_silhouette_depth_and_normals_of_a_sphere():
    cameras = camera(hw=(240, 320), focal=300.0)
    raster = rasterize([sphere([0, 0, 4], 1.0, rings=120, segments=240)], cameras)
    y, x = np.mgrid[:240, :320] + 0.5
    rays = np.stack([(x - 160) / 300, (y - 120) / 300, np.ones_like(x)], -1)
    along, square = 4 * rays[..., 2], (rays**2).sum(-1)
    inside = along**2 - square * 15 > 0
    assert (inside != (raster.part_ids[0] > 0)).mean() < 2e-3
    both = inside & (raster.part_ids[0] > 0)
    hit = (along - np.sqrt(np.maximum(along**2 - 15 * square, 0))) / square
    core = both & (along**2 - square * 15 > 0.05 * square)
    np.testing.assert_allclose(raster.depth_m[0][core], hit[core], atol=3e-3)
    outward = hit[..., None] * rays - [0, 0, 4]
    assert np.einsum("nc,nc->n", raster.normals[0][core], outward[core]).min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(raster.normals[0][both], axis=-1), 1, atol=1e-5)
    assert (raster.normals[0][~(raster.part_ids[0] > 0)] == 0).all()


def test_a_closed_mesh_has_no_holes_and_no_pixel_is_drawn_twice():
    """Two triangles that share an edge cover each pixel of their square exactly once."""
    corners = np.array([[-0.9, -0.7, 2], [0.8, -0.6, 2], [0.7, 0.65, 2], [-0.75, 0.8, 2]])
    halves = [rasterize([triangles([corners[list(f)]])], camera()).part_ids for f in ((0, 1, 2), (0, 2, 3))]
    whole = rasterize([triangles([corners[[0, 1, 3]], corners[[1, 2, 3]]])], camera()).part_ids
    np.testing.assert_array_equal(halves[0] + halves[1], whole)


def test_sphere_behind_a_cube_is_hidden_and_before_it_is_seen():
    box, cameras = cube([0, 0, 4], 0.5), camera()
    behind = rasterize([sphere([0, 0, 6], 0.5), box], cameras)
    assert (behind.subject_ids != 1).all()
    before = rasterize([sphere([0, 0, 2.5], 0.2), box], cameras)
    assert before.subject_ids[0, 24, 32] == 1
    assert {1, 2} <= set(np.unique(before.subject_ids))
    np.testing.assert_allclose(before.depth_m[0, 24, 32], 2.3, atol=0.02)


def test_two_crossing_bodies_change_order():
    """Two spheres swap depth over the clip; in the middle of the picture the nearer one is seen."""
    depth = np.linspace(3, 6, 4)
    one = sphere(np.stack([np.zeros(4), np.zeros(4), depth], -1), 0.5, 1)
    two = sphere(np.stack([np.full(4, 0.05), np.zeros(4), depth[::-1]], -1), 0.5, 2)
    seen = rasterize([one, two], camera(4)).subject_ids[:, 24, 32]
    np.testing.assert_array_equal(seen, [1, 1, 2, 2])


def test_interpenetrating_solids_share_the_pixels_by_depth():
    raster = rasterize([sphere([0, 0, 4], 1.0), cube([0, 0, 4], 0.7)], camera(hw=(120, 160), focal=150.0))
    assert raster.subject_ids[0, 60, 80] == 1  # the sphere bulges out of the cube's face ...
    assert raster.subject_ids[0, 60 - 30, 80 + 30] == 2  # ... and the cube's corner out of the sphere


def test_camera_inside_a_sphere_sees_it_from_within():
    raster = rasterize([sphere([0, 0, 0], 2.0)], camera())
    assert (raster.part_ids == 1).all()
    assert (raster.normals[..., 2] < 0).mean() > 0.99  # towards the camera


def test_closed_meshes_are_told_from_open_and_inverted_ones():
    for mesh in (sphere([5, 1, 2], 0.7), cube([0, 0, -3], 1.0)):
        vertices, faces = mesh.vertices[0], mesh.faces
        assert is_closed(vertices, faces)
        assert not is_closed(vertices, faces[1:])  # a hole
        assert not is_closed(vertices, faces[:, ::-1])  # inside out
        assert not is_closed(vertices, np.concatenate([faces[:1, ::-1], faces[1:]]))  # one face turned round


@pytest.mark.parametrize("z", [3.0, 0.9, 0.1])
def test_drawing_from_outside_only_changes_nothing(z):
    """Before the camera, cut by its near plane, around it: the same picture as from both sides (an open twin)."""
    closed = sphere([0.1, 0, z], 0.8, rings=12, segments=16)
    speck = np.full((1, 3, 3), -100, np.float32) + np.eye(3, dtype=np.float32)
    opened = Mesh(
        np.concatenate([closed.vertices, speck], 1),
        np.concatenate([closed.faces, np.arange(3, dtype=np.int32)[None] + len(closed.vertex_parts)]),
        np.append(closed.vertex_parts, np.full(3, 9, np.uint8)),
        1,
    )
    assert_same(rasterize([opened], camera()), rasterize([closed], camera()))
    assert_same(rasterize([closed], camera()), rasterize_slowly([closed], camera()))
    assert_same(rasterize([closed], camera(), device="torch-cpu"), rasterize([closed], camera()))


@given(st.integers(0, 2**32 - 1))
def test_faces_are_cut_between_parts_without_a_gap(seed):
    vertices, faces = sphere_arrays(8, 12)
    parts = np.random.default_rng(seed).integers(1, 5, len(vertices)).astype(np.uint8)
    cut, labels, edges = cut_between_parts(faces, parts)
    points = np.concatenate([vertices, vertices[edges].mean(1)])
    assert is_closed(points, cut)
    assert (parts[edges[:, 0]] != parts[edges[:, 1]]).all()
    corner = cut < len(vertices)
    np.testing.assert_array_equal(np.broadcast_to(labels[:, None], cut.shape)[corner], parts[cut[corner]])

    def areas(triangles):
        a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
        return np.cross(b - a, c - a) / 2

    np.testing.assert_allclose(areas(points[cut]).sum(0), areas(vertices[faces]).sum(0), atol=1e-5)
    assert np.linalg.norm(areas(points[cut]), axis=1).sum() == pytest.approx(
        np.linalg.norm(areas(vertices[faces]), axis=1).sum(), rel=1e-5
    )


def test_the_border_of_a_part_is_smooth():
    ball = sphere((0, 0, 3), 1.0, rings=12, segments=24)
    rings = np.unique(np.round(ball.vertices[0, :, 1], 4))
    edge = (rings[5] + rings[6]) / 2  # y of a circle half way between two rings
    ball.vertex_parts[:] = np.where(ball.vertices[0, :, 1] < edge, 1, 2)
    cameras = camera(1, (120, 160), 150.0)
    drawn = rasterize([ball], cameras)
    y, x = np.nonzero(drawn.subject_ids[0])
    height = (y + 0.5 - 60) / 150 * drawn.depth_m[0, y, x]
    clear = np.abs(height - edge) > 0.005
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(drawn.part_ids[0, y, x][clear], np.where(height < edge, 1, 2)[clear])


def test_no_meshes_make_an_empty_picture():
    raster = rasterize([], camera(2))
    assert raster.part_ids.shape == (2, 48, 64)
    assert not raster.part_ids.any()


def test_broken_meshes_are_refused():
    vertices, faces = sphere_arrays()
    parts = np.ones(len(vertices), np.uint8)
    with pytest.raises(InputError, match="frames"):
        rasterize([Mesh(vertices[None], faces, parts, 1)], camera(2))
    with pytest.raises(InputError, match="beyond"):
        rasterize([Mesh(vertices[None], faces + 10, parts, 1)], camera())
    with pytest.raises(InputError, match="subject"):
        rasterize([Mesh(vertices[None], faces, parts, 0)], camera())
    with pytest.raises(InputError, match="image size"):
        rasterize([], camera(hw=(10, 20000)))
