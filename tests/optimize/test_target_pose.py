"""Targets from sketches: parts are seen where they were drawn, feet stay, objects move across the view."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinema.body.joint_limits import beyond_limits
from kinema.body.model import joints, load_body
from kinema.body.skeleton import PART_IDS
from kinema.camera import fixed_cameras, project
from kinema.errors import InputError
from kinema.motion_io import load_motion
from kinema.optimize import pose_solver
from kinema.optimize.part_rig import Lens, make_rig, part_centres, seen_shares
from kinema.optimize.target_pose import target_from_sketch
from kinema.sketch import Sketch, SketchedPart
from kinema.types import BodyMotion, Cameras, ObjectMotion, Scene, Subject

SIZE = (128, 128)
FEET = [7, 8, 10, 11]


def camera(azimuth_rad=0.3, frames=1):
    points = np.tile([[-1.1, 0, -1.1], [1.1, 2.2, 1.1]], (frames, 1, 1)).astype(np.float32)
    return fixed_cameras(points, SIZE, azimuth_rad)


@pytest.fixture(scope="module")
def punch():
    motion = load_motion(Path(__file__).parents[2] / "examples" / "punch.npz")
    assert isinstance(motion, BodyMotion)
    middle = motion.root_translation_m.mean(0) * [1, 0, 1]
    return replace(motion, root_translation_m=(motion.root_translation_m - middle).astype(np.float32))


def dog():
    root = load_body("animal", detail="low").rest_joints(np.zeros(41, np.float32))[:1]
    return BodyMotion("animal", np.zeros((1, 35, 3)), root, np.zeros(41), 8.0)


def disc(at=(0.0, 1.0, 0.0)):
    angle = np.arange(16) / 16 * 2 * np.pi
    contour = np.stack([0.3 * np.cos(angle), 0.3 * np.sin(angle), 0 * angle], -1) + at
    points = np.concatenate([contour, contour[:4], contour.mean(0, keepdims=True)]).astype(np.float32)
    return ObjectMotion(points[None], 8.0, np.ones(1, bool))


def scene_of(*motions, azimuth_rad=0.3):
    frames = len(motions[0].valid)
    subjects = tuple(Subject(10 + k, f"subject {k}", "", motion) for k, motion in enumerate(motions))
    return Scene(subjects, camera(azimuth_rad, frames))


def surface_centre(motion, part):
    """World [3]: the mean over the triangles of a part, of the posed body, straight from its vertices."""
    body = load_body(motion.category, detail="low")
    vertices = body.vertices(motion)[0].astype(float)
    own = body.faces[(body.vertex_parts[body.faces] == part).all(1)]
    corners = vertices[own]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return (corners.mean(1) * area[:, None]).sum(0) / area.sum()


def seen(motion, part, scene):
    last = Cameras(scene.cameras.K[-1:], scene.cameras.T_camera_world[-1:], scene.cameras.image_hw)
    return project(part_centres(motion, [part])[:1].astype(np.float32), last)[0][0, 0]


def square(at, part, half=6.0, subject=None):
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    return SketchedPart(PART_IDS[part], corners + at, subject)


def dragged(motion, drags, azimuth_rad=0.3):
    """Pixels by which parts are dragged -> the scene, the target, and how far each part is off in pixels."""
    scene = scene_of(motion, azimuth_rad=azimuth_rad)
    wanted = {part: seen(motion, PART_IDS[part], scene) + by for part, by in drags.items()}
    target = target_from_sketch(scene, Sketch(tuple(square(at, part) for part, at in wanted.items()), SIZE))[0]
    return target, [float(np.linalg.norm(seen(target, PART_IDS[p], scene) - at)) for p, at in wanted.items()]


def test_a_parts_centre_is_the_middle_of_its_surface(punch):
    for motion, parts in ((punch[40:41], ("right_hand", "head", "left_thigh")), (dog(), ("tail", "left_front_paw"))):
        for part in parts:
            found = part_centres(motion, [PART_IDS[part]])[0, 0]
            # The rig weighs whole vertices, this the triangles that lie within the part, in the posed body.
            np.testing.assert_allclose(found, surface_centre(motion, PART_IDS[part]), atol=0.012)


def test_derivatives_of_the_rig(punch):
    from scipy.spatial.transform import Rotation

    rig = make_rig(punch[40:41], [PART_IDS["right_hand"], PART_IDS["chest"]])
    local = Rotation.from_rotvec(punch.rotvec[40].astype(float)).as_matrix()
    root = punch.root_translation_m[40].astype(float)
    points, slope = rig.points(local, root)
    for joint, axis in ((0, 1), (3, 0), (17, 2), (19, 1), (4, 0)):
        turned = local.copy()
        turned[joint] = local[joint] @ Rotation.from_rotvec(1e-6 * np.eye(3)[axis]).as_matrix()
        np.testing.assert_allclose(
            (rig.points(turned, root)[0] - points) / 1e-6, slope[:, :, 3 * joint + axis], atol=1e-5
        )
    moved = rig.points(local, root + np.array([0, 1e-6, 0]))[0]
    np.testing.assert_allclose((moved - points) / 1e-6, slope[:, :, -2], atol=1e-6)


def test_poses_of_a_capture_are_reached_and_feet_stay(punch):
    """The targets are where the parts are in another frame of the same motion, so that they can be reached."""
    scene = scene_of(punch[:1])
    rng = np.random.default_rng(0)
    for _ in range(4):
        first, last = rng.integers(len(punch), size=2)
        parts = rng.choice(["head", "left_hand", "right_hand", "right_forearm", "chest"], 2, replace=False)
        start = punch[first : first + 1]
        shapes = [square(seen(punch[last : last + 1], PART_IDS[p], scene), p) for p in parts]
        target = target_from_sketch(scene_of(start), Sketch(tuple(shapes), SIZE))[0]
        for shape in shapes:
            assert np.linalg.norm(seen(target, shape.part_id, scene) - shape.centre_px) < 1
        slid = np.linalg.norm((joints(target) - joints(start))[0, FEET], axis=-1)
        assert slid.max() < 0.02
        assert beyond_limits(target.rotvec, "human").max() < beyond_limits(start.rotvec, "human").max() + 0.02


def test_a_target_takes_little_time(punch):
    scene = scene_of(punch[:1])
    sketch = Sketch((square(seen(punch[50:51], PART_IDS["right_hand"], scene), "right_hand"),), SIZE)
    times = []
    for _ in range(3):
        start = time.process_time()
        target_from_sketch(scene, sketch)
        times.append(time.process_time() - start)
    assert min(times) < 0.5


def test_a_part_that_is_where_it_was_drawn_leaves_the_pose_alone(punch):
    target, misses = dragged(punch[40:41], {"right_hand": (0, 0)})
    assert misses[0] < 0.05
    np.testing.assert_allclose(joints(target), joints(punch[40:41]), atol=2e-3)
    np.testing.assert_array_equal(target.rotvec[0, 22:], punch.rotvec[40, 22:])  # fingers and face


def test_a_straight_arm_bends_when_its_hand_is_drawn_at_the_shoulder():
    root = load_body("human", detail="low").rest_joints(np.zeros(10, np.float32))[:1]
    root[:, 1] = 0.93
    still = BodyMotion("human", np.zeros((1, 55, 3)), root, np.zeros(10), 8.0)
    target, misses = dragged(still, {"left_hand": (-18, 0)}, azimuth_rad=0.0)
    assert misses[0] < 1
    assert np.linalg.norm(target.rotvec[0, 18]) > 0.3  # the elbow
    assert np.linalg.norm((joints(target) - joints(still))[0, FEET], axis=-1).max() < 0.02


def test_a_sketched_foot_leaves_the_floor_and_the_other_stays(punch):
    target, misses = dragged(punch[0:1], {"right_foot": (-10, -20)})
    assert misses[0] < 1
    moved = np.linalg.norm((joints(target) - joints(punch[0:1]))[0, FEET], axis=-1)
    assert moved[[1, 3]].min() > 0.3
    assert moved[[0, 2]].max() < 0.02


def test_out_of_reach_of_standing_feet_the_body_goes_there(punch):
    target, misses = dragged(punch[0:1], {"head": (40, 0)})
    assert misses[0] < 1
    assert np.linalg.norm(target.root_translation_m - punch.root_translation_m[:1]) > 0.3


def test_who_has_far_to_go_walks_there_upright(punch):
    """With the feet in place the back would lean by 25 degrees."""
    target, misses = dragged(punch[0:1], {"head": (40, 0)})
    assert misses[0] < 1
    pelvis, neck = joints(target)[0, [0, 12]]
    assert (neck - pelvis)[1] > np.cos(np.radians(5)) * np.linalg.norm(neck - pelvis)
    assert np.linalg.norm((joints(target) - joints(punch[0:1]))[0, FEET], axis=-1).min() > 0.3


def test_a_foot_drawn_on_the_floor_farther_away_is_walked_to_instead_of_kicked_at(punch):
    scene, away = scene_of(punch[:1]), np.array([0.9, 0, -1.5])
    there = replace(punch[:1], root_translation_m=(punch.root_translation_m[:1] + away).astype(np.float32))
    wanted = seen(there, PART_IDS["left_foot"], scene) - seen(punch[:1], PART_IDS["left_foot"], scene)
    assert wanted[1] < -40  # pixels up, as if it were raised
    target, misses = dragged(punch[:1], {"left_foot": wanted})
    assert misses[0] < 1
    pelvis, ankle, sole = joints(target)[0, [0, 7, 10]]
    assert max(ankle[1], sole[1]) < 0.3
    assert (pelvis - joints(punch[:1])[0, 0]) @ away > 0.6 * away @ away


def test_a_part_goes_where_its_own_body_does_not_hide_it(punch, monkeypatch):
    scene = scene_of(punch[:1])
    lens = Lens(scene.cameras.K[-1], scene.cameras.T_camera_world[-1], scene.cameras.image_hw)
    target, misses = dragged(punch[0:1], {"right_hand": (30, 0)})
    assert misses[0] < 1
    assert seen_shares(target, [PART_IDS["right_hand"]], lens)[0] > 0.5
    monkeypatch.setattr(pose_solver, "HIDDEN_COST", 0.0)
    careless, misses = dragged(punch[0:1], {"right_hand": (30, 0)})
    assert misses[0] < 1
    assert seen_shares(careless, [PART_IDS["right_hand"]], lens)[0] < 0.1


def test_what_is_seen_of_a_part():
    """A hand held before the belly is hidden from a camera that looks at the back."""
    from scipy.spatial.transform import Rotation

    root = load_body("human", detail="low").rest_joints(np.zeros(10, np.float32))[:1] + np.float32([0, 0.93, 0])
    rotvec = np.zeros((1, 55, 3))
    rotvec[0, 17] = (Rotation.from_euler("y", 1.0) * Rotation.from_euler("z", 1.0)).as_rotvec()  # the right shoulder
    rotvec[0, 19] = (0, 1.7, 0)  # the elbow
    holding = BodyMotion("human", rotvec, root, np.zeros(10), 8.0)
    for azimuth, expected in ((0.0, 1), (np.pi, 0)):
        cameras = camera(azimuth)
        lens = Lens(cameras.K[0], cameras.T_camera_world[0], cameras.image_hw)
        hand, chest = seen_shares(holding, [PART_IDS["right_hand"], PART_IDS["chest"]], lens)
        assert hand == pytest.approx(expected, abs=0.05)
        assert chest > 0.5


def test_two_targets_that_exclude_each_other_are_met_as_nearly_as_can_be(punch, caplog):
    _, misses = dragged(punch[0:1], {"right_hand": (-30, 0), "right_forearm": (40, 0)})
    assert "out of reach" in caplog.text
    assert 5 < max(misses) < 60


def test_a_dogs_head_goes_down_to_eat():
    target, misses = dragged(dog(), {"animal_head": (-4, 14)}, azimuth_rad=1.4)
    assert misses[0] < 1
    assert np.linalg.norm((joints(target) - joints(dog()))[0, [10, 14, 20, 24]], axis=-1).max() < 0.02


@pytest.mark.parametrize(("half", "grows"), [(13.0, 1.0), (25.0, None)])
def test_an_object_moves_across_the_view_and_takes_a_size_that_differs_much(half, grows):
    scene = scene_of(disc())
    shape = square((40.0, 50.0), "object", half)
    target = target_from_sketch(scene, Sketch((shape,), SIZE))[0]
    before, depth = project(disc().points_m, scene.cameras)
    after, depth_after = project(target.points_m, scene.cameras)
    np.testing.assert_allclose(SketchedPart(64, after[0, :16].astype(float)).centre_px, (40, 50), atol=0.01)
    np.testing.assert_allclose(depth_after, depth, atol=1e-4)
    own = np.sqrt(SketchedPart(64, before[0, :16].astype(float)).area_px)
    expected = 2 * half / own if grows is None else grows
    assert np.ptp(after[0], 0) / np.ptp(before[0], 0) == pytest.approx(expected, rel=0.02)


def test_the_picture_of_the_sketch_may_have_another_size(punch):
    scene = scene_of(punch[:1])
    at = seen(punch[:1], PART_IDS["right_hand"], scene) + np.array([5, -5])
    target = target_from_sketch(scene, Sketch((square(4 * at, "right_hand", 20.0),), (512, 512)))[0]
    assert np.linalg.norm(seen(target, PART_IDS["right_hand"], scene) - at) < 1


def test_shapes_go_to_the_subject_that_is_named_or_else_near(punch):
    left = replace(punch[:1], root_translation_m=punch.root_translation_m[:1] + np.float32([-0.6, 0, 0]))
    right = replace(punch[:1], root_translation_m=punch.root_translation_m[:1] + np.float32([0.6, 0, 0]))
    scene = scene_of(left, right, disc(), azimuth_rad=0.0)
    near_right = seen(right, PART_IDS["head"], scene) + np.array([2, 3])
    found = target_from_sketch(scene, Sketch((square(near_right, "head"),), SIZE))
    assert set(found) == {1}
    found = target_from_sketch(scene, Sketch((square(near_right, "head", subject=0),), SIZE))
    assert set(found) == {0}
    both = (square(near_right, "head"), square(near_right + np.array([6, 0]), "head"), square((20.0, 20.0), "object"))
    assert set(target_from_sketch(scene, Sketch(both, SIZE))) == {0, 1, 2}


def test_the_last_valid_frame_is_what_changes(punch):
    clip = replace(punch[:3], valid=np.array([True, True, False]))
    scene = scene_of(clip)
    sketch = Sketch((square(seen(punch[1:2], PART_IDS["head"], scene), "head"),), SIZE)
    target = target_from_sketch(scene, sketch)[0]
    assert len(target) == 1
    np.testing.assert_allclose(joints(target), joints(punch[1:2]), atol=3e-3)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ([square((9.0, 9.0), "tail")], "belongs to no subject"),
        ([square((9.0, 9.0), "head", subject=1)], "is of subject 1"),
        ([square((9.0, 9.0), "object", subject=0)], "a moving human"),
        ([square((9.0, 9.0), "head"), square((30.0, 9.0), "head")], "more often than"),
    ],
)
def test_what_is_refused(punch, shapes, says):
    with pytest.raises(InputError, match=says):
        target_from_sketch(scene_of(punch[:1]), Sketch(tuple(shapes), SIZE))
