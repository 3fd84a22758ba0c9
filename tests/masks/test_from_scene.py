"""From 3D: a scene's silhouettes, and control videos of `kinema render` that are read as masks."""

from dataclasses import replace

import numpy as np
import pytest

from commands import status, walk
from kinema.camera import make_cameras
from kinema.errors import InputError
from kinema.masks.files import read_masks
from kinema.masks.from_scene import masks_of_scene
from kinema.motion_io import save_motion
from kinema.render.control_maps import render_maps
from kinema.types import Scene, Subject

HW = (48, 64)


@pytest.fixture(scope="module")
def scene():
    """A man behind another."""
    motion = walk(3)
    behind = replace(motion, root_translation_m=motion.root_translation_m - np.array([0.3, 0, 1.5], np.float32))
    subjects = (Subject(0, "a man", "", motion), Subject(1, "a boy", "", behind))
    ends = np.array([[-1, 0, -2], [1, 0, 1], [0, 2, 0]], np.float32)
    cameras = make_cameras("fixed", np.repeat(ends[None], 3, 0), (HW[1], HW[0]), 0.0, 20.0)
    return Scene(subjects, cameras)


def test_every_subject_has_the_pixels_in_which_it_is_seen(scene):
    masks = masks_of_scene(scene)
    drawn = render_maps(scene, maps="mask").subject_ids
    assert masks.labels == ("a man", "a boy")
    assert (masks.masks.shape, masks.fps) == ((3, 2, *HW), 20.0)
    assert masks.masks.any((0, 2, 3)).all()
    assert not masks.masks.all(1).any()
    assert np.array_equal(masks.masks.argmax(1) + masks.masks.any(1), drawn)


def test_another_size(scene):
    assert masks_of_scene(scene, (24, 32)).masks.shape[2:] == (24, 32)


def test_a_scene_of_nothing(scene):
    with pytest.raises(InputError, match="no subjects"):
        masks_of_scene(replace(scene, subjects=()))


@pytest.mark.parametrize("name", ["mask.mp4", "mask"])
def test_what_kinema_render_draws_is_read_as_masks(name, tmp_path):
    save_motion(walk(3), tmp_path / "walk.npz")
    out = tmp_path / name
    assert status("render", tmp_path / "walk.npz", "--out", out, "--map", "mask", "--size", "64x48") == 0
    drawn = render_maps(walk(3), "fixed", (64, 48), "mask").subject_ids
    found = read_masks(out)
    assert found.fps == (20.0 if name == "mask.mp4" else 8.0)
    assert (found.masks[:, 0] != (drawn > 0)).mean() < (0.002 if name == "mask.mp4" else 1e-9)
