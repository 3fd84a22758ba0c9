"""Captions: whether one speaks of evident motion (ReVision, appendix B), and one for a clip that has none (MVideo, 4.1).

Input: words, or what was seen in a clip. Both are behind protocols; the defaults are rules and need no weights. The papers
ask language models (Qwen2 for motion, VILA for captions); `LanguageModelJudge` asks a small local one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from kinema.errors import InputError
from kinema.extract.nouns import without_article
from kinema.extract.observation import Observation, Track

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOTION = (
    "act", "attack", "balance", "bend", "bike", "boil", "bounce", "bow", "box", "break", "carry", "cartwheel", "catch",
    "chase", "clap", "climb", "crawl", "cross", "cycle", "dance", "dip", "dive", "drag", "dribble", "drive", "drop",
    "exercise", "fall", "fight", "flap", "flip", "fly", "gallop", "glide", "hike", "hit", "hop", "jog", "juggle",
    "jump", "kick", "lap", "leap", "lift", "limp", "lunge", "march", "move", "nod", "paddle", "pass", "perform",
    "pitch", "play", "pour", "pull", "punch", "push", "race", "raise", "reach", "ride", "rise", "roll", "row", "run",
    "rush", "scratch", "shake", "shoot", "skate", "ski", "skip", "slide", "slip", "sneak", "spin", "splash", "sprint",
    "squat", "stagger", "step", "stretch", "stride", "surf", "sweep", "swim", "swing", "tackle", "throw", "tip",
    "topple", "toss", "train", "travel", "trot", "tumble", "turn", "twirl", "twist", "wag", "walk", "wander", "waltz",
    "wash", "wave", "wiggle", "wrestle",
)  # fmt: skip
IRREGULAR = {
    "ran": "run", "swam": "swim", "threw": "throw", "thrown": "throw", "rode": "ride", "ridden": "ride", "fell": "fall",
    "flew": "fly", "drove": "drive", "caught": "catch", "swung": "swing", "rose": "rise", "fought": "fight", "spun": "spin",
    "lying": "lie", "sat": "sit", "stood": "stand", "driven": "drive", "danced": "dance",
}  # fmt: skip
MOTION_NOUNS = (
    "acrobatics", "aerobics", "basketball", "boxing", "cartwheel", "charleston", "dribble", "dribbling", "football",
    "gymnastics", "handstand", "karate", "marathon", "parkour", "salsa", "soccer", "somersault", "tai chi", "tennis",
    "workout", "yoga",
)  # fmt: skip
POSTURE = re.compile(
    r"\b(sits?|sitting|sat|lies?|lying|lays?|stands?|standing|stood|gets?|getting|got) (down|up|over|off)\b"
)
"""Changes of posture, which the verb alone doesn't tell."""
STILL = (
    "aerial view of", "close up of a face", "close-up of a face", "diagram", "headshot", "illustration of",
    "is displayed", "is shown on", "logo", "map of", "motionless", "photo of", "photograph of", "picture of", "poster",
    "product shot", "screenshot", "slide show", "slideshow", "still image", "stands still", "standing still", "static",
    "talking head", "text on", "title card", "without moving", "does not move", "thumbnail",
)  # fmt: skip
"""Signs of a clip in which nothing moves, whatever else is said."""


@runtime_checkable
class MotionJudge(Protocol):
    version: str

    def moves(self, caption: str) -> bool:
        """Whether a caption speaks of evident motion."""
        ...


class RuleJudge:
    """A caption with a verb of motion and without a sign of stillness."""

    version = "rules 1"

    def moves(self, caption: str) -> bool:
        text = " ".join(re.findall(r"[a-z'-]+", caption.lower()))
        if any(sign in text for sign in STILL):
            return False
        words = text.split()
        return (
            any(verb_of(word) is not None for word in words)
            or POSTURE.search(text) is not None
            or any(re.search(rf"\b{re.escape(noun)}\b", text) for noun in MOTION_NOUNS)
        )


def verb_of(word: str) -> str | None:
    """ "running" -> "run"; None where it is no verb of motion."""
    word = IRREGULAR.get(word, word)
    for ending in ("", "s", "es", "ing", "ed", "d"):
        if not word.endswith(ending):
            continue
        stem = word.removesuffix(ending) if ending else word
        for form in (stem, stem + "e", stem[:-1] if stem[-2:-1] == stem[-1:] else stem):
            if form in MOTION:
                return form
    if word.endswith(("ies", "ied")) and word[:-3] + "y" in MOTION:
        return word[:-3] + "y"
    return None


QUESTION = (
    "Caption of a video: {caption}\n"
    "Does a person, an animal or an object clearly move in this video? Answer yes or no.\nAnswer:"
)


class LanguageModelJudge:
    """A causal language model: whether it finds "yes" likelier than "no" after `QUESTION`. Qwen2 in the paper."""

    def __init__(self, model: PreTrainedModel, tokenizer: Any, version: str):
        self.model, self.tokenizer, self.version = model.eval(), tokenizer, version
        self.answers = [[tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in pair]
                        for pair in ((" yes", " Yes", "yes"), (" no", " No", "no"))]  # fmt: skip

    def moves(self, caption: str) -> bool:
        import torch

        asked = self.tokenizer(QUESTION.format(caption=caption), return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            scores = self.model(**asked).logits[0, -1].float()
        yes, no = (float(scores[tokens].logsumexp(0)) for tokens in self.answers)
        return yes > no


def load_judge(folder: str | Path | None) -> MotionJudge:
    """The rules, or a language model in transformers' folder layout. Raises InputError where there is none."""
    if folder is None:
        return RuleJudge()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from kinema.checkpoints import weights_hash
    from kinema.hub import model_folder

    path = model_folder(folder, "a causal language model")
    try:
        model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(path, f"cannot be read ({error})", "a causal language model with its tokenizer") from error
    return LanguageModelJudge(model, tokenizer, f"language model {weights_hash(path)[:12]}")


@runtime_checkable
class Captioner(Protocol):
    version: str

    def caption(self, seen: Observation) -> str:
        """Words for what was seen in a clip."""
        ...


MOVED_SHARE = 0.1
"""Of the picture's width: a subject that goes further than this is said to move."""


class SeenCaptioner:
    """ "a person, moving left, and a dog": what is there and which way it goes."""

    version = "seen 1"

    def caption(self, seen: Observation) -> str:
        told = [_told(track, seen.part_ids.shape[2]) for track in seen.tracks]
        return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told) or "nothing that is known"


def _told(track: Track, width: int) -> str:
    at = np.flatnonzero(track.present)
    middles = track.boxes_px[at][:, [0, 2]].mean(1)
    across = float(middles[-1] - middles[0]) / width if len(at) else 0.0
    way = f" moving {'right' if across > 0 else 'left'}" if abs(across) > MOVED_SHARE else ""
    name = without_article(track.label)
    return ("an " if name[:1].lower() in "aeiou" else "a ") + name + way
