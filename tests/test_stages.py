"""The folder of stages: used again where nothing changed, made anew where something did, taken as it is when asked."""

from dataclasses import replace

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.motion_io.scene import save_scene
from kinema.stages import Stages, digest
from kinema.types import Cameras, ObjectMotion, Scene, Subject, Video

POINTS = np.random.default_rng(0).normal(size=(2, 21, 3)).astype(np.float32)
CAMERAS = Cameras(
    np.tile(np.eye(3, dtype=np.float32), (2, 1, 1)), np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)), (8, 8)
)
SCENE = Scene((Subject(0, "a ball", "", ObjectMotion(POINTS, 4.0, np.array([True, False]))),), CAMERAS, "a ball rolls")


def clip(value):
    return Video(np.full((2, 8, 8, 3), value, np.uint8), 8.0)


class Maker:
    """Counts how often it is called."""

    def __init__(self, value=1):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return clip(self.value)


def test_an_unchanged_stage_is_read_not_made(tmp_path):
    make = Maker()
    first = Stages(tmp_path).video("coarse", (1, "a"), make)
    again = Stages(tmp_path).video("coarse", (1, "a"), make)
    assert make.calls == 1
    assert np.array_equal(first.frames, again.frames)
    assert again.fps == 8.0


@pytest.mark.parametrize("settings", [(2, "a"), (1, "b"), (1, "a", None)])
def test_a_changed_setting_makes_it_anew(tmp_path, settings):
    make = Maker()
    Stages(tmp_path).video("coarse", (1, "a"), make)
    Stages(tmp_path).video("coarse", settings, make)
    assert make.calls == 2


def test_what_was_finished_before_a_failure_is_kept(tmp_path):
    make = Maker()
    stages = Stages(tmp_path)
    stages.video("coarse", (1,), make)

    def fails():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        stages.video("final", (2,), fails)
    Stages(tmp_path).video("coarse", (1,), make)
    assert make.calls == 1
    assert not (tmp_path / "final.npz").exists()


def test_from_a_later_stage_an_edited_file_is_taken_as_it_is(tmp_path):
    Stages(tmp_path).video("scene", (1,), Maker(1))
    np.savez(tmp_path / "scene.npz", frames=clip(9).frames, fps=8.0)
    make = Maker()
    assert (Stages(tmp_path, 2).video("scene", ("other",), make).frames == 9).all()
    assert make.calls == 0


def test_an_edited_scene_is_told_from_one_that_was_made(tmp_path):
    made = Stages(tmp_path).scene("scene", (1,), lambda: SCENE)
    assert not Stages(tmp_path).edited("scene", made), "it is not taken as it lies there"
    kept = Stages(tmp_path, 2)
    assert not kept.edited("scene", kept.scene("scene", (1,), lambda: SCENE))
    save_scene(replace(SCENE, prompt="another"), tmp_path / "scene.npz")
    kept = Stages(tmp_path, 2)
    assert kept.edited("scene", kept.scene("scene", (1,), lambda: SCENE))


def test_from_a_later_stage_without_an_earlier_run_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="run once without"):
        Stages(tmp_path, 2).video("scene", (1,), Maker())
    with pytest.raises(InputError, match="folder"):
        Stages(None, 3)
    with pytest.raises(InputError, match="1, 2 or 3"):
        Stages(tmp_path, 4)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="is a file"):
        Stages(tmp_path / "x")


@pytest.mark.parametrize("content", ["{ not json", "[1, 2]"])
def test_damaged_keys_are_said_and_lose_nothing(tmp_path, content):
    Stages(tmp_path).video("coarse", (1,), Maker())
    (tmp_path / "stages.json").write_text(content)
    with pytest.raises(InputError, match="remove it"):
        Stages(tmp_path)
    assert (tmp_path / "coarse.npz").exists()


def test_digests_tell_arrays_numbers_and_texts_apart():
    a = np.arange(4, dtype=np.float32)
    values = [
        (a,),
        (a + 1,),
        (a.astype(np.float64),),
        (a.reshape(2, 2),),
        (1,),
        (1.0,),
        ("1",),
        (None,),
        ((1, 2),),
        ((1, 2), 3),
    ]
    assert len({digest(*v) for v in values}) == len(values)
    assert digest(a, clip(3)) == digest(a.copy(), clip(3))
