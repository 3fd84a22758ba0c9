"""ViTPose: crops and peaks by hand, layouts to our joints, the real class with and without experts."""

import numpy as np
import pytest
import torch
from transformers.models.vitpose.modeling_vitpose import VitPoseEstimatorOutput

from kinema.body.skeleton import ANIMAL_JOINTS, BODY_JOINTS, HUMAN_JOINTS
from kinema.errors import InputError
from kinema.extract.detection import Detection
from kinema.extract.vitpose import (
    AP10K,
    COCO,
    LAYOUTS,
    SOURCES,
    WHOLE_BODY,
    VitPose,
    layout_of,
    load_vitpose,
    to_skeleton,
)
from tests.extract import tiny_public

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 80, 90, 3), np.uint8)
BOX = np.array([20, 10, 50, 50], np.float32)  # 30 x 40; with its margin 37.5 x 50 around (35, 30)


@pytest.fixture(scope="module")
def people():
    return VitPose(tiny_public.vitpose(), tiny_public.vitpose_pictures(), LAYOUTS["coco"])


class Stub(torch.nn.Module):
    """A model whose heatmaps have one Gaussian each, at a cell u v with a height."""

    def __init__(self, model, peaks):
        super().__init__()
        self.config, self.device, self.dtype, self.peaks, self.pixels = (
            model.config,
            model.device,
            model.dtype,
            peaks,
            None,
        )

    def forward(self, pixels, dataset_index=None):
        self.pixels = pixels
        y, x = torch.meshgrid(torch.arange(16.0), torch.arange(12.0), indexing="ij")
        maps = [h * torch.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 1.5**2)) for u, v, h in self.peaks]
        return VitPoseEstimatorOutput(heatmaps=torch.stack(maps).expand(len(pixels), -1, -1, -1))


def test_peaks_by_hand(people):
    peaks = [(4.0, 5.0, 0.9), (6.3, 8.6, 0.6), (11.0, 15.0, 0.4)] + [(2.0, 2.0, -1.0)] * 14
    xy, scores = VitPose(Stub(people.model, peaks), people.pictures, LAYOUTS["coco"]).points([FRAMES[0]], [BOX])
    # 12 x 16 cells from edge to edge of the crop: 37.5 / 11 and 50 / 15 pixels apart.
    np.testing.assert_allclose(xy[0, 0], [35 - 18.75 + 4 * 37.5 / 11, 30 - 25 + 5 * 50 / 15], atol=0.05)
    np.testing.assert_allclose(xy[0, 1], [35 - 18.75 + 6.3 * 37.5 / 11, 30 - 25 + 8.6 * 50 / 15], atol=0.3)
    np.testing.assert_allclose(scores[0, :3], [0.9, 0.6, 0.4], atol=0.04)
    assert not scores[0, 3:].any()


def test_what_is_in_a_crop_comes_back_to_its_pixel(people):
    frame = np.zeros((80, 90, 3), np.uint8)
    frame[28:31, 40:43] = 255  # around the pixel whose middle is (41.5, 29.5)
    stub = Stub(people.model, [(0, 0, 1)] * 17)
    VitPose(stub, people.pictures, LAYOUTS["coco"]).points([frame], [BOX])
    light = stub.pixels[0, 0] - stub.pixels[0, 0].min()
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    middle = np.array([float((light * x).sum() / light.sum()), float((light * y).sum() / light.sum())])
    back = middle * (37.5 / 47, 50 / 63) + (35 - 18.75, 30 - 25)
    np.testing.assert_allclose(back, [41.5, 29.5], atol=0.05)


def test_layouts_have_their_sizes_and_every_source_is_somewhere():
    assert (len(COCO), len(WHOLE_BODY), len(AP10K)) == (17, 133, 17)
    assert set(SOURCES["human"]) <= set(HUMAN_JOINTS)
    assert set(SOURCES["animal"]) <= set(ANIMAL_JOINTS)
    assert {name for sources in SOURCES["human"].values() for name in sources} <= set(WHOLE_BODY)
    assert {name for sources in SOURCES["animal"].values() for name in sources} <= set(AP10K)


def points_of(layout):
    """Every point at (its index, 0) with score 0.8."""
    xy = np.stack([np.arange(len(layout.points)), np.zeros(len(layout.points))], 1).astype(np.float32)
    return xy, np.full(len(layout.points), 0.8, np.float32)


def named(layout, joints):
    found = to_skeleton(*points_of(layout), layout, joints)
    return {
        j: (float(xy[0]), round(float(c), 3)) for j, xy, c in zip(joints, found.xy_px, found.confidence, strict=True)
    }


def test_coco_to_body():
    joints = named(LAYOUTS["coco"], BODY_JOINTS)
    assert joints["left_wrist"] == (9, 0.8)
    assert joints["right_ankle"] == (16, 0.8)
    assert joints["pelvis"] == (11.5, 0.4)
    assert joints["left_foot"] == (0, 0)  # COCO has no toes
    assert joints["spine2"] == (0, 0)


def test_whole_body_to_feet_and_fingers():
    joints = named(LAYOUTS["whole-body"], HUMAN_JOINTS)
    assert joints["left_foot"] == (17.5, 0.4)
    assert joints["right_foot"] == (20.5, 0.4)
    assert joints["left_thumb1"] == (92, 0.8)  # 17 + 6 + 68 = 91 is the left hand's wrist
    assert joints["right_pinky3"] == (112 + 19, 0.8)
    assert joints["left_eye_smplhf"] == (1, 0.8)


def test_whole_body_heads_give_hands_and_a_face_others_none(people):
    man, dog = Detection("human", "a man", BOX, 0.9), Detection("animal", "a dog", BOX, 0.9)
    whole = VitPose(tiny_public.vitpose(133), tiny_public.vitpose_pictures(), LAYOUTS["whole-body"])
    masks = [np.ones((2, 80, 90), bool)]
    ((other, found),) = whole.keypoints(FRAMES[:1], [[dog, man]], masks)
    xy, scores = whole.points([FRAMES[0]], [BOX])
    seen = np.concatenate([xy[0], scores[0, :, None]], 1)
    np.testing.assert_array_equal(found.face, seen[23:91])
    np.testing.assert_array_equal(found.hands[0], seen[91:112])
    np.testing.assert_array_equal(found.hands[1], seen[112:])
    assert scores[0, 91:].any()
    assert other.hands is None
    ((_, plain),) = people.keypoints(FRAMES[:1], [[dog, man]], masks)
    assert plain.hands is None
    assert plain.face is None


def test_ap10k_to_animals():
    joints = named(LAYOUTS["ap-10k"], ANIMAL_JOINTS)
    assert joints["left_front_foot"] == (7, 0.8)
    assert joints["right_hind_leg2"] == (15, 0.8)
    assert joints["tail1"] == (4, 0.8)
    assert joints["head"] == (0.5, 0.4)
    assert joints["left_ear"] == (0, 0)


def test_a_derived_joint_is_as_sure_as_the_less_sure_of_its_points():
    xy, scores = points_of(LAYOUTS["coco"])
    scores[COCO.index("left_hip")] = 0.2
    assert to_skeleton(xy, scores, LAYOUTS["coco"], ("pelvis",)).confidence[0] == pytest.approx(0.1)


def test_subjects_in_their_order_and_those_of_another_kind_unseen(people):
    man, dog = Detection("human", "a man", BOX, 0.9), Detection("animal", "a dog", BOX, 0.9)
    masks = [np.ones((2, 80, 90), bool), np.ones((0, 80, 90), bool), np.ones((1, 80, 90), bool)]
    found = people.keypoints(FRAMES, [[dog, man], [], [man]], masks)
    assert [len(f) for f in found] == [2, 0, 1]
    assert found[0][0].xy_px.shape == (35, 2)
    assert not found[0][0].confidence.any()
    alone = people.points([FRAMES[2]], [BOX])
    np.testing.assert_allclose(found[2][0].xy_px[20], alone[0][0, 9], atol=1e-3)
    assert (np.abs(found[2][0].xy_px[20] - (35, 30)) <= 50).all()


def test_experts_are_asked_by_their_number():
    model, pictures = tiny_public.vitpose(experts=6), tiny_public.vitpose_pictures()
    people, animals = VitPose(model, pictures, LAYOUTS["coco"]), VitPose(model, pictures, LAYOUTS["ap-10k"])
    one, other = people.points([FRAMES[0]], [BOX]), animals.points([FRAMES[0]], [BOX])
    assert np.abs(one[1] - other[1]).max() > 1e-4


def test_which_layout_a_checkpoint_has(people):
    assert layout_of(people.model.config).name == "coco"
    animals = tiny_public.vitpose().config
    animals.id2label = dict(enumerate(["L_Eye", "R_Eye", "Nose", "Neck", "Root of tail", "L_F_Paw"]))
    animals.id2label |= dict.fromkeys(range(6, 17), "x")
    assert layout_of(animals).name == "ap-10k"
    with pytest.raises(InputError, match="21 points"):
        layout_of(tiny_public.vitpose(21).config)
    with pytest.raises(InputError, match="17 points"):
        VitPose(people.model, people.pictures, LAYOUTS["whole-body"])


def test_a_folder_as_the_hub_has_it(people, tmp_path):
    people.model.save_pretrained(tmp_path / "pose")
    people.pictures.save_pretrained(tmp_path / "pose")
    loaded = load_vitpose(tmp_path / "pose")
    for one, other in zip(loaded.points([FRAMES[1]], [BOX]), people.points([FRAMES[1]], [BOX]), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="kinema fetch vitpose"):
        load_vitpose(tmp_path)
