"""OpenPose drawings: the standard's order and colours, and which points are found."""

from dataclasses import replace

import numpy as np
import pytest

from kinema.body.model import joints, load_body
from kinema.body.skeleton import HUMAN_JOINTS
from kinema.camera import fixed_cameras
from kinema.render.openpose import COLORS, HAND_LIMBS, KEYPOINTS, LIMBS, draw_poses, keypoints, seen_keypoints
from kinema.types import BodyMotion

SIZE = (512, 512)


def standing(turn_rad=0.0):
    rotvec = np.zeros((1, 55, 3), np.float32)
    rotvec[:, 0, 1] = turn_rad
    return BodyMotion("human", rotvec, np.array([[0, 0.95, 0]], np.float32), np.zeros(1, np.float32), 20.0)


@pytest.fixture(scope="module")
def body():
    return load_body("human")


def seen(motion, body):
    pose = keypoints(motion, body)
    cameras = fixed_cameras(pose.body_m, SIZE, 0.0, 0.0)
    pixels, found = seen_keypoints(pose, cameras)
    return pose, cameras, pixels[0], dict(zip(KEYPOINTS, found[0], strict=True))


def test_tables_of_the_standard():
    assert len(KEYPOINTS) == len(COLORS) == 18
    assert len(LIMBS) == 17
    assert len(HAND_LIMBS) == 20
    assert HAND_LIMBS[:6] == ((0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6))
    assert KEYPOINTS[LIMBS[0][1]] == "right_shoulder"
    np.testing.assert_array_equal(COLORS[0], (255, 0, 0))


def test_body_keypoints_are_the_joints(body):
    motion = standing()
    points, world = keypoints(motion, body).body_m[0], joints(motion, body)[0]
    for name in ("right_shoulder", "left_wrist", "right_knee", "left_ankle", "left_hip"):
        np.testing.assert_allclose(points[KEYPOINTS.index(name)], world[HUMAN_JOINTS.index(name)], atol=1e-6)


def test_face_points_lie_on_the_built_in_head(body):
    """Nose and ears, which are no joints, lie within 1.5 cm of the skin of the head, also when it is turned."""
    motion = standing(0.7)
    motion.rotvec[0, HUMAN_JOINTS.index("head")] = [0.3, -0.5, 0.2]
    points = keypoints(motion, body).body_m[0]
    skin = body.vertices(motion)[0][body.vertex_parts == 1]
    for name in ("nose", "left_ear", "right_ear"):
        assert np.linalg.norm(skin - points[KEYPOINTS.index(name)], axis=-1).min() < 0.015, name


def test_from_the_front_all_is_found_and_left_is_on_the_right(body):
    _, _, pixels, found = seen(standing(), body)
    assert all(found.values())
    assert pixels[KEYPOINTS.index("left_wrist"), 0] > pixels[KEYPOINTS.index("right_wrist"), 0]


def test_the_face_is_not_found_from_behind_nor_the_far_ear_from_the_side(body):
    _, _, _, behind = seen(standing(np.pi), body)
    assert not any(behind[name] for name in ("nose", "left_eye", "right_eye"))
    assert behind["left_shoulder"]
    _, _, _, side = seen(standing(np.pi / 2), body)  # faces +x: its right is turned to the camera
    assert side["right_ear"]
    assert not side["left_ear"]


def test_drawing_has_the_standards_colours(body):
    pose, cameras, pixels, _ = seen(standing(), body)
    picture = draw_poses([pose], cameras, np.ones((1, 1), bool))[0]
    for k in (2, 4, 7, 10):
        x, y = pixels[k].astype(int)
        np.testing.assert_array_equal(picture[y, x], COLORS[k])
    a, b = pixels[3], pixels[4]
    x, y = ((a + b) / 2).astype(int)
    np.testing.assert_array_equal(picture[y, x], (COLORS[3] * 0.6).astype(int))
    assert not draw_poses([pose], cameras, np.zeros((1, 1), bool)).any()


def test_hands_are_drawn_where_the_motion_moves_its_fingers(body):
    motion = standing()
    assert keypoints(motion, body).hands_m is None
    bent = motion.rotvec.copy()
    bent[:, 25:40, 2] = -0.4
    pose = keypoints(replace(motion, rotvec=bent), body)
    assert pose.hands_m is not None
    wrist, tips = pose.hands_m[0, 0, 0], pose.hands_m[0, 0, [4, 8, 12, 16, 20]]
    lengths = np.linalg.norm(tips - wrist, axis=-1)
    assert ((lengths > 0.06) & (lengths < 0.25)).all()
    assert lengths.argmax() in (1, 2, 3)  # not thumb, not little finger


def test_points_outside_the_picture_are_left_out(body):
    pose, cameras, _, _ = seen(standing(), body)
    near = replace(cameras, K=cameras.K * np.array([[4, 1, 1], [1, 4, 1], [1, 1, 1]], np.float32))
    pixels, found = seen_keypoints(pose, near)
    inside = ((pixels >= 0) & (pixels < 512)).all(-1)
    assert 0 < found.sum() < 18
    assert not (found & ~inside).any()
