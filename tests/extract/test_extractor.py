"""Video -> scene with a given observation: bodies, objects, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from kinema.body.object_points import object_masks
from kinema.errors import InputError
from kinema.extract.extractor import extract
from kinema.extract.fitting import QUICK, THOROUGH
from kinema.extract.observation import Observation, Track
from kinema.types import BodyMotion, ObjectMotion, Video
from tests.extract.scenes import cameras_for, seen, walker

FRAMES = 8


def ball(depth_scale: float = 1.0) -> tuple[Track, np.ndarray]:
    """A disc that goes to the right beside everybody, 3 m away, and the depth map [T,128,128] that shows it."""
    y, x = np.indices((128, 128))
    masks = np.stack([(x - 12 - 2 * t) ** 2 + (y - 100) ** 2 < 81 for t in range(FRAMES)])
    nothing = np.zeros((FRAMES, 0, 2), np.float32)
    boxes = np.stack([[4 + 2 * t, 92, 21 + 2 * t, 109] for t in range(FRAMES)]).astype(np.float32)
    track = Track("object", "a ball", np.ones(FRAMES, bool), boxes, masks, nothing, nothing[..., 0])
    return track, np.where(masks, 3.0 * depth_scale, np.inf).astype(np.float32)


def blank() -> Video:
    return Video(np.full((FRAMES, 128, 128, 3), 128, np.uint8), 8.0)


def test_a_person_and_a_ball_are_in_one_world_whatever_the_scale_of_the_depth():
    truth = walker(FRAMES)
    cameras = cameras_for([truth])
    observation = seen([truth], cameras)
    track, depth = ball()
    factor = 0.5
    both = replace(
        observation,
        tracks=(track, *observation.tracks),
        depth_m=factor * np.minimum(observation.depth_m, depth),
    )
    scene = extract(blank(), "a person and a ball", both)
    assert [s.label for s in scene.subjects] == ["a ball", "a person"]
    assert [s.id for s in scene.subjects] == [0, 1]
    assert scene.prompt == "a person and a ball"
    thing, person = (s.motion for s in scene.subjects)
    assert isinstance(thing, ObjectMotion)
    assert isinstance(person, BodyMotion)
    T = scene.cameras.T_camera_world
    depth_of_ball = thing.points_m[:, 20] @ T[0, 2, :3] + T[0, 2, 3]
    depth_of_person = person.root_translation_m @ T[0, 2, :3] + T[0, 2, 3]
    true_depth = truth.root_translation_m @ cameras.T_camera_world[0, 2, :3] + cameras.T_camera_world[0, 2, 3]
    assert np.abs(np.log(depth_of_ball / 3 / (depth_of_person / true_depth))).max() < 0.1


@pytest.mark.parametrize(("config", "kept"), [(THOROUGH, False), (QUICK, True)])
def test_fingers_are_taken_off_a_thing_but_not_by_the_colours_of_a_coarse_video(config, kept):
    truth = walker(FRAMES)
    observation = seen([truth], cameras_for([truth]))
    (person,) = observation.tracks
    y, x = np.indices((128, 128))
    left, middle = person.boxes_px[:, 0] - 10, person.boxes_px[:, 1::2].mean(1)
    whole = np.stack([(x - left[t]) ** 2 + (y - middle[t]) ** 2 < 81 for t in range(FRAMES)])
    fingers = whole & (x > left[:, None, None] + 3)
    pictures = blank().frames.copy()
    pictures[whole & ~fingers], pictures[person.masks | fingers] = (200, 30, 30), (30, 30, 200)
    depth = np.minimum(observation.depth_m, np.where(whole, np.float32(3), np.float32(np.inf)))
    both = replace(observation, tracks=(person, replace(ball()[0], masks=whole)), depth_m=depth)
    scene = extract(Video(pictures, 8.0), observation=both, config=config)
    thing = scene.subjects[1].motion
    assert isinstance(thing, ObjectMotion)
    drawn = object_masks(thing, scene.cameras)
    expected = whole if kept else whole & ~fingers
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.85


def test_a_ball_alone_lies_on_the_floor_under_its_own_mask():
    track, depth = ball()
    scene = extract(blank(), observation=Observation((track,), np.zeros(depth.shape, np.uint8), depth, 8.0))
    motion = scene.subjects[0].motion
    assert isinstance(motion, ObjectMotion)
    assert abs(float(motion.points_m[..., 1].min())) < 1e-4
    drawn = object_masks(motion, scene.cameras)
    assert ((drawn & track.masks).sum() / (drawn | track.masks).sum()) > 0.9


def test_nobody_in_the_video_is_the_users_to_mend():
    empty = Observation(
        (), np.zeros((FRAMES, 128, 128), np.uint8), np.full((FRAMES, 128, 128), np.inf, np.float32), 8.0
    )
    with pytest.raises(InputError) as caught:
        extract(blank(), observation=empty)
    assert caught.value.mend


def test_what_belongs_to_another_video_is_refused():
    track, depth = ball()
    short = Video(blank().frames[:3], 8.0)
    observation = Observation((track,), np.zeros(depth.shape, np.uint8), depth, 8.0)
    with pytest.raises(InputError, match="observation"):
        extract(short, observation=observation)
    with pytest.raises(InputError, match="cameras"):
        extract(blank(), observation=observation, cameras=cameras_for([walker(3)]))
