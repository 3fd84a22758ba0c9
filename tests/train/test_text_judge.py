"""Training the text judge: captions with one thing changed, the loss, mirrored clips, a run from start to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from clips import ToyWorld

from kinema.evaluate.text_alignment import TextJudge, VideoTextConfig, VideoTextNet, load_text_judge
from kinema.train.loop import LoopConfig
from kinema.train.text_judge import (
    Captioned,
    CaptionedPool,
    TextJudgeTrainConfig,
    captioned,
    changed,
    contrastive_loss,
    score_text_judge,
    train_text_judge,
    twins,
)

SMALL = VideoTextConfig((8, 8, 8), queries=2, text_width=16, layers=1, heads=2, tokens=24, embedding=8)
CAPTIONS = (
    "a man in a red shirt, walks, moving left; on a green meadow",
    "a brown dog, runs; a blue ball, rolls; in the snow",
    "a robot, sits; by the sea",
)


class Telling(ToyWorld):
    """The squares, told by one of a few captions."""

    def sample(self, seed, frames=8, size=(64, 64)):
        clip = super().sample(seed, frames, size)
        return replace(clip, scene=replace(clip.scene, prompt=f"{seed % 12} dogs; {CAPTIONS[seed % 3]}"))


def test_a_twin_differs_in_one_part_or_word():
    rng = np.random.default_rng(0)
    for _ in range(20):
        others, differ = twins(CAPTIONS, rng)
        for caption, other, differs in zip(CAPTIONS, others, differ, strict=True):
            assert differs == (caption != other)
            parts, new = caption.split("; "), other.split("; ")
            assert len(parts) == len(new)
            assert sum(a != b for a, b in zip(parts, new, strict=True)) <= 1
            if new[-1] != parts[-1]:
                words = [(a, b) for a, b in zip(parts[-1].split(), new[-1].split(), strict=False) if a != b]
                assert len(words) == 1 or new[-1] in {c.split("; ")[-1] for c in CAPTIONS}


def test_a_twin_of_words_alone_changes_a_colour_or_a_side():
    found, differ = twins(["a dog moving left"], np.random.default_rng(0))
    assert found == ["a dog moving right"]
    assert differ.all()
    assert not twins(["a dog"], np.random.default_rng(0))[1].any()


def test_the_loss_is_that_of_both_choices():
    eye = torch.eye(2)
    sure = contrastive_loss(eye, torch.cat([eye, -eye]), np.ones(2, bool), torch.tensor(50.0))
    assert sure.item() == pytest.approx(0, abs=1e-6)
    even = contrastive_loss(eye, torch.cat([eye, eye]), np.ones(2, bool), torch.tensor(50.0))
    assert even.item() == pytest.approx(np.log(2) / 2, abs=1e-4)
    left_out = contrastive_loss(eye, torch.cat([eye, eye]), np.zeros(2, bool), torch.tensor(50.0))
    assert left_out.item() == pytest.approx(0, abs=1e-6)


def test_mirrored_clips_have_mirrored_words():
    picture = np.full((5, 64, 64, 4), 60, np.uint8)
    picture[:, :, :32] = 200
    one = Captioned(picture, "moving left")
    for seed in range(20):
        new = changed(one, np.random.default_rng(seed))
        bright_left = new.pictures[:, :, :32].mean() > new.pictures[:, :, 32:].mean()
        assert new.caption == ("moving left" if bright_left else "moving right")
    assert (one.pictures == picture).all()


def test_draws_depend_on_the_step_alone():
    drawn = [
        CaptionedPool(Telling(), 6, 1).draw(2, 4, np.random.default_rng(0)),
        CaptionedPool(Telling(), 6, 1).draw(2, 4, np.random.default_rng(0)),
    ]
    for a, b in zip(*drawn, strict=True):
        assert a.caption == b.caption
        assert (a.pictures == b.pictures).all()


def test_scores_of_what_cannot_be_told_apart_are_chance_at_best():
    torch.manual_seed(0)
    clips = [captioned(Telling(), number) for number in range(12)]
    score = score_text_judge(TextJudge(VideoTextNet(SMALL)), clips)
    assert set(score) == {"one_of_ten", "twin", "cosine", "cosine_other"}
    assert score["one_of_ten"] < 0.4


def test_training_writes_weights_that_load_and_finishes_only_once(tmp_path):
    loop = LoopConfig(steps=2, checkpoint_every=1)
    config = TextJudgeTrainConfig(
        tmp_path / "run", batch=3, pool=4, new_clips=1, validation_clips=12, model=SMALL, loop=loop
    )
    worlds = (Telling(), Telling())
    net = load_text_judge(train_text_judge(config, worlds))
    assert net.config == SMALL
    again = load_text_judge(train_text_judge(config, worlds)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
