"""The public models together: who is followed and under which number, and the whole from folders as the hub has them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from commands import refused, status
from kinema.body.skeleton import BODY_JOINTS, PART_IDS
from kinema.errors import InputError
from kinema.extract.detection import Detection
from kinema.extract.extractor import extract
from kinema.extract.instances import box_of_mask
from kinema.extract.keypoints import Keypoints
from kinema.extract.observe import Perception, observe
from kinema.extract.parts_of_joints import parts_of_joints
from kinema.extract.public_perception import PublicPerception, load_public_perception
from kinema.extract.segmentation import Tracked
from kinema.masks.files import read_masks
from kinema.motion_io.scene import load_scene
from kinema.types import Video
from kinema.video import write_video
from tests.extract import tiny_public

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
KIND = {RED: ("human", "a man"), GREEN: ("animal", "a dog"), BLUE: ("object", "a ball")}


class Colours:
    """A detector that knows each thing by its colour, and counts its looks."""

    def __init__(self):
        self.looks, self.looked_for = 0, {}

    def detect(self, frames):
        self.looks += len(frames)
        out = []
        for frame in frames:
            masks = {c: (frame == c).all(-1) for c in KIND}
            out.append([Detection(*KIND[c], box_of_mask(m), 0.9) for c, m in masks.items() if m.any()])
        self.looked_for = {noun: 0.9 if any(d.label == noun for d in out[0]) else 0.1 for _, noun in KIND.values()}
        return out


class ColourTracks:
    """In the place of SAM 2: what was in the middle of a box is followed by its colour."""

    def track(self):
        self.followed = {}
        return self

    def segment(self, frames, detections):
        raise NotImplementedError

    def step(self, frame, new=None):
        return self.also(frame, new or {})

    def also(self, frame, new):
        for number, (x0, y0, x1, y1) in new.items():
            self.followed[number] = tuple(int(v) for v in frame[int((y0 + y1) / 2), int((x0 + x1) / 2)])
        return {n: Tracked((frame == c).all(-1), 0.5) for n, c in self.followed.items()}


class Middles:
    """Joints in the middle of a box; it sees people alone."""

    def keypoints(self, frames, detections, masks):
        def middle(d):
            return Keypoints(np.tile((d.box_px[:2] + d.box_px[2:]) / 2, (22, 1)), np.ones(22, np.float32))

        return [[middle(d) for d in found] for found in detections]


class Waving(Middles):
    """And their hands, each point of which is at the box's left edge."""

    def keypoints(self, frames, detections, masks):
        def hands(d):
            return np.full((2, 21, 3), (d.box_px[0], 1, 0.8), np.float32)

        found = super().keypoints(frames, detections, masks)
        pairs = [zip(*both, strict=True) for both in zip(found, detections, strict=True)]
        return [[replace(k, hands=hands(d)) for k, d in now] for now in pairs]


class Flat:
    def depth(self, frames):
        return np.full(frames.shape[:3], 3, np.float32)


def paint(*things, frames=12, hw=(40, 60)):
    """Things are (colour, x y of frame 0, dx, the frames in which it is seen); later ones are in front."""
    out = np.zeros((frames, *hw, 3), np.uint8)
    for colour, (x, y), dx, when in things:
        for t in when:
            out[t, y : y + 10, x + dx * t : x + dx * t + 8] = colour
    return out


@pytest.fixture
def perception():
    return PublicPerception(Colours(), ColourTracks(), Flat(), Middles(), look_every=4)


def test_numbers_stay_through_hiding_and_what_comes_later_is_found(perception):
    always, hidden, late = range(12), [0, 1, 2, 3, 8, 9, 10, 11], range(5, 12)
    frames = paint((RED, (2, 5), 1, always), (GREEN, (30, 5), 0, hidden), (BLUE, (20, 25), 1, late))
    detections = perception.detect(frames)
    assert [[d.number for d in now] for now in detections] == [[0, 1]] * 4 + [[0]] * 4 + [[0, 1, 2]] * 4
    assert perception.detector.looks == 3
    assert detections[9][1] == perception.detect(frames)[9][1]  # remembered
    assert perception.detector.looks == 3
    assert detections[0][0].score == pytest.approx(0.45)
    masks = perception.segment(frames, detections)
    np.testing.assert_array_equal(masks[8][2], (frames[8] == BLUE).all(-1))


def test_tracks_are_by_number_even_where_things_jump(perception):
    frames = np.concatenate(
        [paint((RED, (2, 5), 0, range(6)), frames=6), paint((RED, (50, 28), 0, range(6)), frames=6)]
    )
    seen = observe(Video(frames, 8.0), perception)
    assert len(seen.tracks) == 1  # by overlap and distance it would be two
    assert seen.tracks[0].present.all()
    assert isinstance(perception, Perception)


def test_people_have_joints_and_others_are_told_apart(perception):
    frames = paint((RED, (2, 5), 1, range(12)), (GREEN, (30, 5), 0, range(12)), (BLUE, (20, 25), 1, range(12)))
    seen = observe(Video(frames, 8.0), perception)
    assert [(t.category, t.label) for t in seen.tracks] == [
        ("human", "a man"),
        ("animal", "a dog"),
        ("object", "a ball"),
    ]
    assert seen.tracks[0].keypoint_confidence.all()
    assert not seen.tracks[1].keypoint_confidence.any()
    man, dog, ball = (set(np.unique(seen.part_ids[t.masks])) for t in seen.tracks)
    assert max(man) < 32 <= min(dog)
    assert ball == {64}
    assert not seen.part_ids[~np.any([t.masks for t in seen.tracks], 0)].any()


def test_hands_follow_their_person():
    perception = PublicPerception(Colours(), ColourTracks(), Flat(), Waving(), look_every=4)
    always, hidden = range(12), [0, 1, 2, 3, 8, 9, 10, 11]
    frames = paint((RED, (2, 5), 1, hidden), (GREEN, (30, 5), 0, always))
    man, dog = observe(Video(frames, 8.0), perception).tracks
    assert man.hands is not None
    assert man.hands[:, 1, 7].tolist() == [[2 + t, 1, np.float32(0.8)] if t in hidden else [0, 0, 0] for t in always]
    assert man.face is None
    assert dog.hands is None


def test_of_a_crowd_the_first_are_followed(perception, monkeypatch, caplog):
    monkeypatch.setattr("kinema.extract.public_perception.MOST_SUBJECTS", 1)
    frames = paint((RED, (2, 5), 1, range(12)), (GREEN, (30, 5), 0, range(12)))
    assert {d.number for now in perception.detect(frames) for d in now} == {0}
    assert "more than 1" in caplog.text


def test_nothing_found_says_what_was_looked_for_and_how_near_it_was(perception):
    frames = paint()
    seen = observe(Video(frames, 8.0), perception)
    assert seen.tracks == ()
    with pytest.raises(InputError, match=r"looked for: a man \(best score 0.10\), a dog \(0.10\), a ball \(0.10\)"):
        extract(Video(frames, 8.0), observation=seen)


def test_mini_perception_says_it_too():
    with pytest.raises(InputError, match=r"looked for: an? \w+ \(best score 0\.\d\d\), an? \w+ \(0"):
        extract(Video(np.full((2, 64, 64, 3), 128, np.uint8), 8.0))


def test_pixels_go_to_the_nearest_bone():
    xy, confidence = np.zeros((22, 2), np.float32), np.zeros(22, np.float32)
    for joint, point in {"left_shoulder": (10, 10), "left_elbow": (30, 10), "left_wrist": (50, 10)}.items():
        xy[BODY_JOINTS.index(joint)], confidence[BODY_JOINTS.index(joint)] = point, 0.9
    mask = np.zeros((20, 60), bool)
    mask[6:14, 5:55] = True
    parts = parts_of_joints(mask, Keypoints(xy, confidence), "human")
    assert (parts[6:14, 5:29] == PART_IDS["left_upper_arm"]).all()
    assert (parts[6:14, 32:55] == PART_IDS["left_forearm"]).all()
    assert not parts[~mask].any()


def test_the_spine_is_on_the_line_between_neck_and_pelvis():
    xy, confidence = np.zeros((22, 2), np.float32), np.zeros(22, np.float32)
    for joint, point in {"neck": (10, 4), "pelvis": (10, 44)}.items():
        xy[BODY_JOINTS.index(joint)], confidence[BODY_JOINTS.index(joint)] = point, 0.9
    parts = parts_of_joints(np.ones((50, 20), bool), Keypoints(xy, confidence), "human")
    column = [int(p) for p in parts[::2, 10]]
    assert [p for k, p in enumerate(column) if k == 0 or column[k - 1] != p] == [
        PART_IDS["chest"], PART_IDS["abdomen"], PART_IDS["hips"],
    ]  # fmt: skip
    nothing = parts_of_joints(np.ones((4, 4), bool), Keypoints(xy, 0 * confidence), "human")
    assert (nothing == PART_IDS["chest"]).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    tiny_public.save_grounding_dino(folder / "grounding-dino")
    tiny_public.sam2().save_pretrained(folder / "sam2")
    for name, model, pictures in (
        ("depth-anything", tiny_public.depth_anything(), tiny_public.depth_anything_pictures()),
        ("vitpose", tiny_public.vitpose(), tiny_public.vitpose_pictures()),
    ):
        model.save_pretrained(folder / name)
        pictures.save_pretrained(folder / name)
    return folder


def test_the_whole_from_folders(folder):
    perception = load_public_perception(folder, ("a dog", "a red ball"), "cpu")
    perception.detector.least_score = 0.0
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    seen = observe(Video(frames, 8.0), perception)
    assert seen.tracks
    assert set(seen.looked_for) == {"a dog", "a red ball"}
    assert seen.depth_m.shape == seen.part_ids.shape == (3, 48, 64)
    assert (np.sum([t.masks for t in seen.tracks], 0) <= 1).all()


def test_the_whole_from_the_command_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("kinema.extract.grounding_dino.LEAST_SCORE", 0.0)
    monkeypatch.setenv("KINEMA_WEIGHTS", str(folder))
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    write_video(frames, tmp_path / "a.mp4", 8.0)
    nouns = ("--objects", "a red ball", "--perception", "public")
    assert status("extract", tmp_path / "a.mp4", "--out", tmp_path / "s.npz", *nouns) == 0
    scene = load_scene(tmp_path / "s.npz")
    assert {s.label for s in scene.subjects} == {"a red ball"}
    done = status(
        "mask", tmp_path / "a.mp4", "--out", tmp_path / "m.npz", "--object", "a dog", "--perception", "public"
    )
    assert done == 0
    assert read_masks(tmp_path / "m.npz").masks.any()
    capsys.readouterr()
    monkeypatch.setattr("kinema.extract.grounding_dino.LEAST_SCORE", 2.0)
    said = refused(capsys, "extract", tmp_path / "a.mp4", "--out", tmp_path / "n.npz", *nouns)
    assert "looked for: a red ball (best score " in said


def test_what_is_missing_is_named_with_the_command(folder, tmp_path):
    shutil.copytree(folder / "sam2", tmp_path / "sam2")
    with pytest.raises(InputError, match=r"(?s)lacks grounding-dino, depth-anything, vitpose.*kinema fetch public"):
        load_public_perception(tmp_path)
