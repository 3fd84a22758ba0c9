"""Captions that speak of evident motion, by rules and by a language model; captions of what was seen."""

import numpy as np
import pytest
import torch

from kinema.annotate.captions import QUESTION, LanguageModelJudge, RuleJudge, SeenCaptioner, load_judge, verb_of
from kinema.errors import InputError
from kinema.extract.observation import Observation, Track


@pytest.mark.parametrize(
    ("caption", "moves"),
    [
        ("A man is running through the park", True),
        ("two dogs chased each other", True),
        ("a woman swims", True),
        ("the horse galloped away", True),
        ("a girl plays tennis", True),
        ("a white dog, a four-legged animal sits down", True),
        ("Salsa dance, moving right", True),
        ("a person stands still and waves", False),
        ("a screenshot of a runner", False),
        ("a portrait of an old man", False),
        ("a woman sitting at a desk", False),
        ("a dog digs a hole", True),
        ("a galloping horse", True),
        ("a couple takes a walk on the beach", True),
        ("the train passes a bridge", True),
        ("the train station is empty", False),
        ("a walking stick leans on the wall", False),
        ("a bowl of sliced bread", False),
        ("", False),
    ],
)
def test_rules(caption, moves):
    assert RuleJudge().moves(caption) is moves


def test_verbs_in_all_their_forms():
    assert [verb_of(w) for w in ("runs", "running", "ran", "danced", "waves", "tripped", "carries", "tables")] == [
        "run", "run", "run", "dance", "wave", None, "carry", None,
    ]  # fmt: skip


def words_to_ids(text, return_tensors=None, add_special_tokens=True):
    """A tokenizer of five words; all others are 0."""
    from transformers import BatchEncoding

    known = {"yes": 1, "no": 2, "runs": 3, "Answer:": 4}
    ids = [known.get(word, 0) for word in text.split()]
    return BatchEncoding({"input_ids": [ids] if return_tensors else ids}, tensor_type=return_tensors)


def test_a_language_model_says_yes_where_that_is_likelier():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=5, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    judge = LanguageModelJudge(model, words_to_ids, "tiny")
    head = model.get_output_embeddings().weight
    asked = words_to_ids(QUESTION.format(caption="a man runs"), return_tensors="pt")
    with torch.no_grad():
        for row, answer in ((1, True), (2, False)):
            head.zero_()
            last = model.model(**asked).last_hidden_state[0, -1]
            head[row] = last / last.norm()
            assert judge.moves("a man runs") is answer


def test_no_such_model(tmp_path):
    assert isinstance(load_judge(None), RuleJudge)
    with pytest.raises(InputError, match="holds no model"):
        load_judge(tmp_path)


def test_a_caption_of_what_was_seen():
    def track(label, x_from, x_to):
        boxes = np.zeros((4, 4), np.float32)
        boxes[:, 0] = np.linspace(x_from, x_to, 4)
        boxes[:, 2] = boxes[:, 0] + 10
        nothing = np.zeros((4, 0, 2), np.float32)
        return Track("object", label, np.ones(4, bool), boxes, np.zeros((4, 8, 100), bool), nothing, nothing[..., 0])

    parts = np.zeros((4, 8, 100), np.uint8)
    seen = Observation((track("a man", 5, 50), track("apple", 20, 22)), parts, parts.astype(np.float32), 8.0)
    assert SeenCaptioner().caption(seen) == "a man moving right and an apple"
