"""Control videos of a plan of motion."""

import numpy as np
import pytest

from kinema.reinforce.control_video import boxes, control_video
from kinema.render.control_maps import render_frames


def test_a_layout_is_a_black_box_around_every_subject_on_white():
    ids = np.zeros((2, 40, 60), np.uint8)
    ids[0, 10:20, 15:30] = 1
    ids[0, 25:35, 40:50] = 2
    drawn = boxes(ids)
    assert (drawn[1] == 255).all()
    assert (drawn[0, 10, 15:30] == 0).all()
    assert (drawn[0, 34, 40:50] == 0).all()
    assert (drawn[0, 13:17, 20:25] == 255).all()
    assert (drawn[0, :7] == 255).all()


@pytest.mark.parametrize("control", ["depth", "openpose", "layout"])
def test_every_control_is_drawn_at_the_size_that_is_asked(control):
    from commands import walk
    from kinema.camera import make_cameras
    from kinema.types import Scene, Subject

    motion = walk()[slice(0, 3)]
    points = motion.root_translation_m[:, None] + np.array([[0, 0.8, 0], [0, -0.8, 0]], np.float32)
    cameras = make_cameras("fixed", points, (64, 48), 0.0, motion.fps)
    scene = Scene((Subject(0, "person", "", motion),), cameras, "", 0.5)
    drawn = control_video(scene, control, (96, 64))
    assert drawn.shape == (3, 64, 96, 3)
    assert drawn.min() < 60
    assert drawn.max() > 120
    if control != "layout":
        assert np.array_equal(drawn, np.stack(list(render_frames(scene, control, size=(96, 64)))))
