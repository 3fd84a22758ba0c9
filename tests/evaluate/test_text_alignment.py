"""The text judge: choices among ten, what is seen of a clip, its files, and what the shipped one tells apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from clips import moving

from kinema.checkpoints import PMP_WEIGHTS
from kinema.errors import InputError
from kinema.evaluate.text_alignment import (
    CLIP_FRAMES,
    SEEN_FRAMES,
    SIDE_PX,
    TextJudge,
    VideoTextConfig,
    VideoTextNet,
    chosen_of_ten,
    clips_of,
    load_text_judge,
    network_input,
    save_text_judge,
    seen_of_clip,
    shipped_text_judge,
    text_alignment,
)

SMALL = VideoTextConfig((8, 8, 8), queries=2, text_width=16, layers=1, heads=2, tokens=12, embedding=8)


def test_one_in_ten_is_the_share_of_all_draws():
    others = np.array([0.1, 0.5, 0.2, 0.3, 0.45, 0.0, 0.05, 0.15, 0.25, 0.35, 0.38])
    wins = [max(drawn) < 0.4 for drawn in itertools.combinations(others, 9)]
    assert chosen_of_ten(0.4, others) == pytest.approx(np.mean(wins))
    assert chosen_of_ten(0.6, others) == 1
    with pytest.raises(InputError, match="9 at least"):
        chosen_of_ten(0.4, others[:8])


@pytest.mark.parametrize(
    ("frames", "begins"), [(5, [0]), (17, [0]), (18, [0]), (33, [0, 16]), (129, list(range(0, 128, 16)))]
)
def test_long_videos_are_seen_clip_by_clip(frames, begins):
    video = np.zeros((frames, 4, 4, 3), np.uint8)
    video[:, 0, 0, 0] = np.arange(frames)
    clips = clips_of(video)
    assert [int(clip[0, 0, 0, 0]) for clip in clips] == begins
    assert {len(clip) for clip in clips} == {min(frames, CLIP_FRAMES)}


def test_frames_and_the_change_after_each():
    clip = np.zeros((CLIP_FRAMES, 128, 128, 3), np.uint8)
    clip[:] = 10 * np.arange(CLIP_FRAMES, dtype=np.uint8)[:, None, None, None]
    seen = seen_of_clip(clip)
    assert seen.shape == (SEEN_FRAMES, SIDE_PX, SIDE_PX, 4)
    assert seen[:, 0, 0].tolist() == [[10 * t] * 3 + [10 * t + 10] for t in (0, 4, 8, 11, 15)]
    given = network_input(torch.from_numpy(seen)[None])
    assert given.shape == (1, SEEN_FRAMES, 4, SIDE_PX, SIDE_PX)
    assert given[0, :, 3] == pytest.approx(torch.full((SEEN_FRAMES, SIDE_PX, SIDE_PX), 10 / 32), abs=1e-4)
    with pytest.raises(InputError, match="at least 2"):
        seen_of_clip(clip[:1])


def test_a_prompt_is_the_same_whatever_it_is_asked_with():
    torch.manual_seed(0)
    judge = TextJudge(VideoTextNet(SMALL))
    alone = judge.of_prompts(["a red dog"])[0]
    beside = judge.of_prompts(["a red dog", "a man in a blue shirt", ""])
    assert beside[0] == pytest.approx(alone, abs=1e-5)
    assert beside.norm(dim=1) == pytest.approx(torch.ones(3), abs=1e-5)
    assert judge.of_video(moving((1, 0), frames=17)).norm().item() == pytest.approx(1, abs=1e-5)


def test_weights_go_to_a_file_and_back(tmp_path):
    net = VideoTextNet(SMALL)
    save_text_judge(net, tmp_path / "it.safetensors", {})
    again = load_text_judge(tmp_path / "it.safetensors")
    assert again.config == SMALL
    assert torch.equal(again.text.into.weight, net.text.into.weight.half().float())
    with pytest.raises(InputError, match="holds no text judge"):
        load_text_judge(PMP_WEIGHTS)


def test_an_empty_prompt_is_refused():
    with pytest.raises(InputError, match="prompt"):
        text_alignment(moving((1, 0)), " ", TextJudge(VideoTextNet(SMALL)))


def test_the_shipped_one_knows_places_and_subjects():
    from kinema.world.sampler import World

    world = World.load(split="test", wide=True)
    clips = [world.sample(number, CLIP_FRAMES) for number in range(12)]
    judge = shipped_text_judge()
    videos = torch.stack([judge.of_video(clip.video.frames) for clip in clips])
    cosines = videos @ judge.of_prompts([clip.scene.prompt for clip in clips]).T
    assert (cosines.argmax(1) == torch.arange(12)).float().mean() >= 0.75
    assert text_alignment(clips[0].video.frames, clips[0].scene.prompt) == pytest.approx(100 * float(cosines[0, 0]))
