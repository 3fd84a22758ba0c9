"""GroundingDINO: words to tokens, boxes and scores by hand, the real class with random weights, and its folder."""

import numpy as np
import pytest
import torch
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoObjectDetectionOutput

from kinema.errors import InputError
from kinema.extract.detection import box_iou
from kinema.extract.grounding_dino import GroundingDino, boxes_px, load_grounding_dino, noun_scores, text_of
from tests.extract import tiny_public

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_public.bert_tokenizer(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def detector(tokenizer):
    return GroundingDino(
        tiny_public.grounding_dino(), tokenizer, tiny_public.grounding_dino_pictures(), ("a dog", "a red ball"), 0.0
    )


def test_nouns_become_the_text_that_the_model_was_trained_on(detector):
    assert text_of(["A dog", "the red ball"]) == ("dog. red ball.", [(0, 3), (5, 13)])
    assert detector.tokens == [[1], [3, 4]]  # [CLS] dog . red ball . [SEP]


def test_a_noun_of_several_tokens_has_them_all(detector, tokenizer):
    more = GroundingDino(detector.model, tokenizer, detector.pictures, ("dogs",))
    assert more.tokens == [[1, 2]]  # dog ##s


def test_scores_and_boxes_by_hand():
    logits = torch.full((2, 8), -torch.inf)
    logits[0, 1], logits[0, 2] = 1.0, 5.0  # the full stop at 2 is no word
    logits[1, 3], logits[1, 4] = -1.0, 0.0
    expected = [[1 / (1 + np.e**-1), 0], [0, 0.5]]
    np.testing.assert_allclose(noun_scores(logits, [[1], [3, 4]]), expected, atol=1e-6)
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.25], [0.0, 1.0, 0.5, 0.5]])
    np.testing.assert_allclose(boxes_px(boxes, (100, 200)), [[50, 37.5, 150, 62.5], [0, 75, 50, 100]])


class Stub(torch.nn.Module):
    """A model that has always found the same."""

    def __init__(self, model, logits, boxes):
        super().__init__()
        self.model, self.config, self.device, self.dtype = model, model.config, model.device, model.dtype
        self.logits, self.boxes = logits, boxes

    def forward(self, pixel_values, **text):
        count = len(pixel_values)
        return GroundingDinoObjectDetectionOutput(
            logits=self.logits.expand(count, -1, -1), pred_boxes=self.boxes.expand(count, -1, -1)
        )


def test_the_surest_first_and_one_thing_once(detector, tokenizer):
    logits = torch.full((5, 32), -torch.inf)
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5]] * 5)
    logits[0, 1] = 0.0  # a dog, 0.5
    logits[1, 4] = 2.0  # the same box, more surely a ball
    logits[2, 3], boxes[2, 0] = 1.0, 0.2  # another ball
    logits[3, 1] = -1.0  # below the threshold
    logits[4, 1], boxes[4, 2] = 3.0, 0.0  # no width
    found = GroundingDino(Stub(detector.model, logits, boxes), tokenizer, detector.pictures, detector.nouns, 0.35)
    detections = found.detect(FRAMES)
    assert len(detections) == 5
    assert [(d.label, d.category) for d in detections[4]] == [("a red ball", "object"), ("a red ball", "object")]
    np.testing.assert_allclose([d.score for d in detections[0]], torch.tensor([2.0, 1.0]).sigmoid())
    np.testing.assert_allclose(detections[0][1].box_px, [0, 12, 28.8, 36], atol=1e-5)
    assert found.looked_for["a dog"] == pytest.approx(torch.tensor(3.0).sigmoid())


def test_the_real_class_runs_and_agrees_with_the_librarys_scores(detector, tokenizer):
    detections = detector.detect(FRAMES)
    assert len(detections) == 5
    assert detections[0]
    inputs = detector.pictures([FRAMES[0]], return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 64, 85)
    with torch.no_grad():
        output = detector.model(**inputs, **tokenizer([detector.text], return_tensors="pt"))
    words = output.logits[0, :, [1, 3, 4]].sigmoid()
    assert detections[0][0].score == pytest.approx(float(words.max()), abs=1e-5)
    assert max(detector.looked_for.values()) >= detections[0][0].score
    for d in detections[0]:
        assert 0 <= d.box_px[0] < d.box_px[2] <= 64
        assert 0 <= d.box_px[1] < d.box_px[3] <= 48


def test_a_folder_as_the_hub_has_it(tmp_path, detector):
    loaded = load_grounding_dino(tiny_public.save_grounding_dino(tmp_path / "dino"), ("a dog", "a red ball"))
    loaded.least_score = 0.0
    one, two = loaded.detect(FRAMES[:1])[0], detector.detect(FRAMES[:1])[0]
    assert [d.label for d in one] == [d.label for d in two]
    np.testing.assert_array_equal([d.box_px for d in one], [d.box_px for d in two])


def test_what_cannot_be_asked(detector, tmp_path):
    with pytest.raises(InputError, match="nouns"):
        detector.ask(())
    with pytest.raises(InputError, match="at most 32"):
        detector.ask(["red ball"] * 20)
    with pytest.raises(InputError, match="kinema fetch grounding-dino"):
        load_grounding_dino(tmp_path / "none")


def test_overlap_of_boxes():
    a, b = np.array([0, 0, 2, 2.0]), np.array([1, 0, 3, 2.0])
    assert box_iou(a, b) == pytest.approx(1 / 3)
    assert box_iou(a, a + 5) == 0
    assert box_iou(a * 0, a * 0) == 0
