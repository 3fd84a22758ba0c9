"""kinema extract: objects of given masks, without any weights; what is looked for; what is refused."""

import numpy as np
import pytest

from commands import refused, status
from kinema.body.object_points import object_masks
from kinema.errors import InputError
from kinema.extract.observation import Observation, Track
from kinema.extract.subjects import of_masks, of_nouns, perception_named
from kinema.masks.files import write_masks
from kinema.motion_io.scene import load_scene
from kinema.render.overlay import overlay
from kinema.types import MaskSequence, ObjectMotion, Video
from kinema.video import read_frames, read_video, write_video


def ball(frames=6, hw=(64, 96)):
    """A disc that moves right over a still, textured ground, and its masks."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    masks = np.stack([(x - 20 - 8 * t) ** 2 + (y - 30) ** 2 < 100 for t in range(frames)])
    ground = np.random.default_rng(0).integers(60, 120, (*hw, 3), np.uint8)
    return np.where(masks[..., None], np.uint8(230), ground), masks


@pytest.fixture
def files(tmp_path):
    frames, masks = ball()
    write_video(frames, tmp_path / "ball.mp4", 8.0)
    write_masks(MaskSequence(masks[:, None], ("thing",), 8.0), tmp_path / "masks")
    return tmp_path


def test_given_masks_become_objects_where_they_are(files, capsys):
    out = files / "scene.npz"
    done = status(
        "extract", files / "ball.mp4", "--out", out, "--masks", files / "masks", "--objects", "a ball",
        "--overlay", files / "seen.mp4",
    )  # fmt: skip
    assert done == 0
    assert "ball (object), seen in 6 of 6" in capsys.readouterr().out
    scene = load_scene(out)
    (subject,) = scene.subjects
    assert subject.label == "ball"
    assert isinstance(subject.motion, ObjectMotion)
    drawn, (frames, masks) = object_masks(subject.motion, scene.cameras), ball()
    assert ((drawn & masks).sum() / (drawn | masks).sum()) > 0.93
    shown = read_video(files / "seen.mp4").frames
    assert shown.shape == frames.shape
    changed = np.abs(shown.astype(int) - frames).max(-1) > 40
    assert changed[masks].mean() > 0.5  # a tint within, white dots on the rim
    assert changed[:, 50:].mean() < 0.1


def test_masks_that_state_no_rate_are_of_the_videos_frames(files):
    frames, masks = ball(16)
    write_video(frames, files / "long.mp4", 8.0)
    np.savez(files / "plain.npz", masks=masks)
    out = files / "s.npz"
    assert status("extract", files / "long.mp4", "--out", out, "--masks", files / "plain.npz", "--fps", "4") == 0
    scene = load_scene(out)
    motion = scene.subjects[0].motion
    assert isinstance(motion, ObjectMotion)
    drawn = object_masks(motion, scene.cameras)
    assert len(drawn) == 8
    wanted = masks[::2]
    overlaps = (drawn & wanted).sum((1, 2)) / np.maximum((drawn | wanted).sum((1, 2)), 1)
    assert overlaps[:4].min() > 0.85  # then it leaves the picture
    assert motion.valid.tolist() == wanted.any((1, 2)).tolist()


def test_a_real_clip_with_known_masks_without_any_weights(shared_data, tmp_path):
    """The car of `videos/masks/cars.npz`, which is out of the picture at both ends."""
    known = shared_data / "videos" / "masks" / "cars.npz"
    if not known.is_file():
        pytest.skip("no masks of a real clip")
    truth = np.load(known)
    first, every = int(truth["first_frame"]), 4
    masks = truth["masks"][::every, ::2, ::2] > 0
    wanted = range(first, first + len(truth["masks"]), every)
    whole = (f for t, f in enumerate(read_frames(known.parents[1] / "cars.mp4")) if t in wanted)
    frames = [f[::2, ::2] for f in whole]
    write_video(frames, tmp_path / "car.mp4", 12.5 / every)
    write_masks(MaskSequence(masks[:, None], ("car",), 12.5 / every), tmp_path / "car")
    assert status("extract", tmp_path / "car.mp4", "--out", tmp_path / "s.npz", "--masks", tmp_path / "car") == 0
    scene = load_scene(tmp_path / "s.npz")
    motion = scene.subjects[0].motion
    assert isinstance(motion, ObjectMotion)
    assert motion.valid.tolist() == masks.any((1, 2)).tolist()
    drawn = object_masks(motion, scene.cameras)
    assert ((drawn & masks).sum() / (drawn | masks).sum()) > 0.85
    assert np.abs(scene.cameras.T_camera_world - scene.cameras.T_camera_world[:1]).max() < 1e-6  # it stands


def test_masks_of_another_size_or_length(caplog):
    frames, masks = ball()
    small = MaskSequence(masks[:4, None, ::2, ::2], ("thing",), 8.0)
    seen = of_masks(Video(frames, 8.0), small)
    assert seen.tracks[0].masks.shape == masks.shape
    assert seen.tracks[0].present.tolist() == [True] * 4 + [False] * 2
    assert "4 frames of masks for 6" in caplog.text
    with pytest.raises(InputError, match="of the video's shape"):
        of_masks(Video(frames, 8.0), MaskSequence(masks[:, None, :40], ("thing",), 8.0))
    with pytest.raises(InputError, match="are 2"):
        of_masks(Video(frames, 8.0), small, ("a", "b"))


def seen_with(*tracks):
    nothing = np.zeros((3, 4, 4), np.uint8)
    made = []
    for category, label, present in tracks:
        shown = np.array(present, bool)
        masks = np.zeros((3, 4, 4), bool)
        made.append(
            Track(category, label, shown, np.zeros((3, 4), np.float32), masks,
                  np.zeros((3, 0, 2), np.float32), np.zeros((3, 0), np.float32))
        )  # fmt: skip
    return Observation(tuple(made), nothing, nothing.astype(np.float32), 8.0, {"a dog": 0.2})


def test_nouns_choose_by_label_then_by_kind_the_one_seen_most():
    seen = seen_with(
        ("animal", "an animal", [1, 0, 0]), ("animal", "an animal", [1, 1, 1]), ("object", "a ball", [1] * 3)
    )
    chosen = of_nouns(seen, ["the ball", "a dog"])
    assert [t.label for t in chosen.tracks] == ["ball", "dog"]
    assert chosen.tracks[1].present.all()
    with pytest.raises(
        InputError, match=r"(?s)'a man': was not found.*a dog \(best score 0.20\).*an animal, an animal"
    ):
        of_nouns(seen, ["a man"])


def test_overlay_of_another_video_is_refused(files):
    status("extract", files / "ball.mp4", "--out", files / "s.npz", "--masks", files / "masks")
    with pytest.raises(InputError, match="6 frames of 96x64"):
        next(overlay(load_scene(files / "s.npz"), Video(np.zeros((3, 8, 8, 3), np.uint8), 8.0)))


def test_perceptions_by_name(tmp_path):
    assert perception_named("mini").detect
    with pytest.raises(InputError, match="mini, public"):
        perception_named("maxi")
    with pytest.raises(InputError, match="kinema fetch public"):
        perception_named("public", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("extract", "gone.mp4", "--out", "s.npz"), "gone.mp4"),
        (("extract", "ball.mp4", "--out", "s.json"), ".npz"),
        (("extract", "ball.mp4", "--out", "s.npz", "--masks", "gone"), "gone"),
        (("extract", "ball.mp4", "--out", "s.npz", "--overlay", "o.gif"), ".mp4"),
        (("extract", "ball.mp4", "--out", "s.npz", "--seconds", "0"), "above 0"),
        (("extract", "ball.mp4", "--out", "s.npz", "--masks", "masks", "--perception", "public"), "one of the two"),
        (("extract", "ball.mp4", "--out", "s.npz", "--perception", "public", "--models", "."), "kinema fetch public"),
        (("extract", "ball.mp4", "--out", "s.npz", "--masks", "masks", "--objects", "a, b"), "as there are masks"),
    ],
)
def test_mistakes_end_with_status_2_and_a_word_of_help(arguments, words, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert words in " ".join(refused(capsys, *arguments).split())
    assert not (files / "s.npz").exists()
