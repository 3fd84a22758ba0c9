"""The shipped mini-cogvideox: its size, and that words and masks say what is seen."""

import numpy as np
import pytest

from kinema.checkpoints import MINI_COGVIDEOX
from kinema.mvideo import animate
from kinema.presets import clip_model, find_clip_preset
from kinema.threads import one_thread
from kinema.types import MaskSequence

SECONDS = 17 / 8


@pytest.fixture(scope="module", autouse=True)
def in_one_thread():
    with one_thread():
        yield


def standing(columns: slice) -> MaskSequence:
    """One thing, a third of the picture high, that stays where it is."""
    masks = np.zeros((17, 1, 128, 128), bool)
    masks[:, 0, 44:92, columns] = True
    return MaskSequence(masks, ("a person",), 8.0)


def made(prompt: str, masks: MaskSequence | None = None, seed: int = 1) -> np.ndarray:
    video = animate(masks, prompt, SECONDS, seed).video
    assert video is not None
    return video.frames.astype(float)


def test_it_is_under_40_mb_and_has_what_it_needs():
    assert sum(path.stat().st_size for path in MINI_COGVIDEOX.rglob("*")) < 40e6
    model = clip_model(find_clip_preset("mini-cogvideox"))
    assert model.clip.frames == 17
    assert model.network.mask.weight.abs().max() > 0


def test_the_prompt_says_where_it_is():
    snow, night = made("a man, walking; in the snow"), made("a man, walking; under a night sky with stars")
    assert snow.mean() > night.mean() + 60
    red = made("a white horse, stands still; before a red wall over a red floor")
    assert red[..., 0].mean() > red[..., 1].mean() + 40


def test_masks_say_where_things_are():
    """Where the mask is, the picture differs more from the same one with the mask elsewhere than anywhere else."""
    left, right = standing(slice(24, 44)), standing(slice(84, 104))
    prompt = "a man in a black suit; in the snow"
    difference = (made(prompt, right) - made(prompt, left)).mean((0, 3))
    within = difference[44:92, 84:104].mean() - difference[44:92, 24:44].mean()
    assert within < -20, "black where the mask is, white where it is not"
    assert abs(difference[:30].mean()) < 10
