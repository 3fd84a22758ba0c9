"""Captions: whether one speaks of evident motion (ReVision, appendix B), and one for a clip that has none (MVideo, 4.1).

Input: words, or what was seen in a clip. Both are behind protocols; the defaults are rules and need no weights. The papers
ask language models (Qwen2 for motion, VILA for captions); `LanguageModelJudge` asks a small local one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from kinema.errors import InputError
from kinema.extract.nouns import without_article
from kinema.extract.observation import Observation, Track

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOTION = (
    "act", "arrive", "attack", "backflip", "balance", "bark", "bend", "bike", "blow", "boil", "bounce", "bow", "box",
    "break", "brush", "build", "carry", "cartwheel", "catch", "chase", "chop", "clap", "climb", "comb", "crawl",
    "cross", "cycle", "dance", "dig", "dip", "dive", "dodge", "drag", "dribble", "drink", "drive", "drop", "drum",
    "eat", "enter", "exercise", "fall", "feed", "fight", "flap", "flee", "flip", "flow", "flutter", "fly", "gallop",
    "gesture", "glide", "groom", "hammer", "handspring", "hike", "hit", "hop", "hug", "hunt", "hurl", "jog", "juggle",
    "jump", "kick", "knead", "knock", "lap", "laugh", "leap", "lick", "lift", "limp", "lunge", "march", "move", "mow",
    "nod", "paddle", "pass", "peck", "perform", "pitch", "play", "plow", "pounce", "pound", "pour", "pull", "punch",
    "push", "race", "raise", "rake", "reach", "ride", "rise", "roll", "rotate", "row", "run", "rush", "scoop",
    "scratch", "scrub", "sew", "shake", "shoot", "shovel", "skate", "skateboard", "ski", "skip", "slap", "slice",
    "slide", "slip", "smash", "sneak", "snowboard", "spar", "spin", "splash", "spray", "sprint", "squat", "stagger",
    "step", "stir", "stomp", "stretch", "stride", "strum", "surf", "sway", "sweep", "swim", "swing", "tackle", "throw",
    "tickle", "tip", "topple", "toss", "train", "travel", "trot", "tumble", "turn", "twerk", "twirl", "twist",
    "unscrew", "vault", "wade", "wag", "walk", "waltz", "wander", "wash", "wave", "weave", "whip", "whirl", "whisk",
    "wield", "wiggle", "wipe", "wobble", "wrestle", "zoom",
)  # fmt: skip
IRREGULAR = {
    "ran": "run", "swam": "swim", "threw": "throw", "thrown": "throw", "rode": "ride", "ridden": "ride", "fell": "fall",
    "flew": "fly", "drove": "drive", "caught": "catch", "swung": "swing", "rose": "rise", "fought": "fight", "spun": "spin",
    "lying": "lie", "sat": "sit", "stood": "stand", "driven": "drive", "danced": "dance",
    "ate": "eat", "eaten": "eat", "blew": "blow", "dug": "dig", "drank": "drink", "fled": "flee", "wove": "weave",
}  # fmt: skip
MOTION_NOUNS = (
    "acrobatics", "aerobics", "backflip", "basketball", "boxing", "cartwheel", "charleston", "dribble", "dribbling",
    "football", "gymnastics", "handstand", "karate", "marathon", "parkour", "salsa", "soccer", "somersault", "swordplay",
    "tai chi", "tennis", "workout", "yoga",
)  # fmt: skip
DETERMINERS = ("a", "an", "the", "his", "her", "its", "their", "this", "that", "of")
THINGS = (
    "bag", "board", "boots", "car", "gloves", "hall", "machine", "mat", "pad", "pin", "pole", "pool", "room", "set",
    "shoe", "shoes", "stick", "suit", "table", "track",
)  # fmt: skip
"""Named after what is done with them, as "a walking stick"."""
AFTER_A_NOUN = (
    "", "across", "along", "and", "around", "as", "at", "by", "down", "for", "from", "in", "into", "near", "off", "on",
    "or", "over", "through", "to", "together", "towards", "under", "up", "while", "with",
)  # fmt: skip
"""What follows "a walk", and not "a dance studio" or "the painted wall"; "" is the end."""
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

    version = "rules 2"

    def moves(self, caption: str) -> bool:
        text = " ".join(re.findall(r"[a-z'-]+", caption.lower()))
        if any(sign in text for sign in STILL):
            return False
        words = text.split()
        return (
            any(verb_of(word) is not None and not names_a_thing(words, k) for k, word in enumerate(words))
            or POSTURE.search(text) is not None
            or any(re.search(rf"\b{re.escape(noun)}\b", text) for noun in MOTION_NOUNS)
        )


def names_a_thing(words: Sequence[str], k: int) -> bool:
    """Whether word k stands before a noun to say which: "the train station", "a walking stick"; not "a galloping horse"."""
    after = words[k + 1] if k + 1 < len(words) else ""
    if words[k].endswith("ing"):
        return after in THINGS
    return k > 0 and words[k - 1] in DETERMINERS and after not in AFTER_A_NOUN


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
