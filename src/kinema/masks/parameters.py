"""What an operation on masks can be told: numbers, curves over time with easing, words, places, points.

Input: values from JSON, or words of the command line. Output: checked values, curves as an array a frame. Lengths are
shares of the picture's width (x) and height (y), times shares of the clip, so that a recipe fits any size and length.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from kinema.errors import InputError

EASES = ("linear", "ease-in", "ease-out", "ease-in-out")
LARGEST = 1000.0
"""No share, ratio or angle is larger."""
FORMS = {
    "number": "a number",
    "curve": 'a number, or keyframes {"0": 0, "0.5": 0.2, "1": 0.1} from shares of the clip to numbers (0:0,0.5:0.2,1:0.1)',
    "word": "a word",
    "place": '"picture" (its middle), "subject" (its centre of area), or [x, y]',
    "points": "[[x, y], ...], two points or more (x,y;x,y)",
    "times": "[t, ...], shares of the clip (t,t)",
    "labels": "[label, ...] (label,label)",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operation.

    default   where it is not given; REQUIRED where it must be
    low, high what a number may be
    choices   of a word
    ratio     a curve goes through its keyframes in equal ratios, as a steady zoom does
    """

    kind: Literal["number", "curve", "word", "place", "points", "times", "labels"]
    meaning: str
    default: Any = None
    low: float = -LARGEST
    high: float = LARGEST
    choices: tuple[str, ...] = ()
    ratio: bool = False


REQUIRED = object()
EASE = Parameter("word", "how a curve goes from keyframe to keyframe", "linear", choices=EASES)
ONLY = Parameter("labels", "the objects that it is done to; all where it is left out")


def nearest(name: object, known: Iterable[str]) -> str:
    """ "did you mean 'x'?", or all that there are."""
    names = list(known)
    near = difflib.get_close_matches(str(name).lower(), names, 2, 0.6)
    return f"did you mean {' or '.join(repr(n) for n in near)}?" if near else "take one of: " + ", ".join(names)


def ease(share: Float[np.ndarray, "*n"], how: str) -> Float[np.ndarray, "*n"]:
    """0-1 -> 0-1: quadratic at one end, or 3t^2 - 2t^3 at both."""
    curves = {"ease-in": share**2, "ease-out": 1 - (1 - share) ** 2, "ease-in-out": share**2 * (3 - 2 * share)}
    return curves.get(how, share)


def curve(value: float | dict[float, float], frames: int, how: str, ratio: bool = False) -> Float[np.ndarray, " T"]:
    """A checked value -> one number a frame; before the first keyframe and after the last it stays."""
    if not isinstance(value, dict):
        return np.full(frames, float(value))
    times, values = np.array(sorted(value)), np.array([value[t] for t in sorted(value)], float)
    values = np.log(values) if ratio else values
    at = np.clip(np.linspace(0, 1, frames) if frames > 1 else np.zeros(1), times[0], times[-1])
    k = np.clip(np.searchsorted(times, at, "right") - 1, 0, max(len(times) - 2, 0))
    after = np.minimum(k + 1, len(times) - 1)
    share = (at - times[k]) / np.maximum(times[after] - times[k], 1e-12)
    found = values[k] + ease(share, how) * (values[after] - values[k])
    return np.exp(found) if ratio else found


def check(value: Any, parameter: Parameter, where: str) -> Any:
    """A value as JSON has it -> as operations take it. Raises InputError."""
    checks = {
        "number": _number, "curve": _curve, "word": _word, "place": _place, "points": _points, "times": _times,
        "labels": _labels,
    }  # fmt: skip
    return checks[parameter.kind](value, parameter, where)


def from_text(text: str, parameter: Parameter) -> Any:
    """A word of the command line -> the value as JSON has it; what can't be read stays as it is, for `check`."""
    try:
        if parameter.kind == "number" or (parameter.kind == "curve" and ":" not in text):
            return float(text)
        if parameter.kind == "curve":
            return {time: float(number) for time, number in (key.split(":") for key in text.split(","))}
        if parameter.kind == "times" or (parameter.kind == "place" and "," in text):
            return [float(number) for number in text.split(",")]
        if parameter.kind == "points":
            return [[float(number) for number in point.split(",")] for point in text.split(";")]
    except ValueError:
        return text
    return text.split(",") if parameter.kind == "labels" else text


def _number(value: Any, parameter: Parameter, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(where, f"is {value!r}", FORMS[parameter.kind])
    if not (math.isfinite(value) and parameter.low <= value <= parameter.high):
        raise InputError(where, f"is {value:g}", f"from {parameter.low:g} to {parameter.high:g}")
    return float(value)


def _curve(value: Any, parameter: Parameter, where: str) -> float | dict[float, float]:
    if not isinstance(value, dict):
        return _number(value, parameter, where)
    keys = {}
    for time, number in value.items():
        try:
            share = float(time)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise InputError(where, f"has the keyframe {time!r}", "times from 0 (the first frame) to 1 (the last)")
        keys[share] = _number(number, parameter, f"{where}, keyframe {time}")
    if not keys:
        raise InputError(where, "has no keyframe", FORMS["curve"])
    return keys


def _word(value: Any, parameter: Parameter, where: str) -> str:
    if value not in parameter.choices:
        mend = nearest(value, parameter.choices)
        raise InputError(where, f"is {value!r}", "one of " + ", ".join(parameter.choices), mend)
    return value


def _place(value: Any, parameter: Parameter, where: str) -> Any:
    if value in ("picture", "subject"):
        return value
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(where, f"is {value!r}", FORMS["place"])
    return tuple(_number(number, parameter, where) for number in value)


def _points(value: Any, parameter: Parameter, where: str) -> Any:
    good = isinstance(value, list) and len(value) >= 2 and all(isinstance(p, list) and len(p) == 2 for p in value)
    if not good:
        raise InputError(where, f"is {value!r}", FORMS["points"])
    return tuple(tuple(_number(number, parameter, where) for number in point) for point in value)


def _times(value: Any, parameter: Parameter, where: str) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(_number(number, parameter, where) for number in values)


def _labels(value: Any, parameter: Parameter, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise InputError(where, f"is {value!r}", FORMS["labels"])
    return tuple(values)
