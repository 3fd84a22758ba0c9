"""Replayable recipes: a JSON list of operations, a pure function from masks to masks (MVideo, section 4.3).

Input: masks, and [{"op": "shift", "x": 0.1}, {"op": "scale", "by": {"0": 1, "1": 2}, "ease": "ease-in-out"}, ...].
Output: masks. Operations, parameters and their units: `kinema.masks.operations` and `docs/masks.md`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.json_file import read_json
from kinema.masks.draft import Draft, begin
from kinema.masks.operations import OPERATIONS
from kinema.masks.parameters import REQUIRED, check, curve, from_text, nearest
from kinema.types import MaskSequence


@dataclass(frozen=True)
class Step:
    """One operation and what it was told, checked; as JSON has it. Make it with `step`."""

    op: str
    values: dict[str, Any]


Recipe = tuple[Step, ...]


def step(op: str, **values: Any) -> Step:
    """An operation with its parameters, as in step("shift", x=0.1). Raises InputError with the nearest name."""
    return _checked(op, values, f"operation {op!r}")


def apply_recipe(masks: MaskSequence, recipe: Sequence[Step]) -> MaskSequence:
    """The masks that a recipe makes; the given ones stay as they are.

    Moves are gathered and sampled once, so that they cost no quality. Raises InputError where a step does not fit.
    """
    draft = begin(masks)
    for number, done in enumerate(recipe):
        draft = _apply(draft, done, f"step {number} ({done.op})")
    return draft.done()


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe. Raises InputError where it can't be read, or a step or parameter is not known."""
    expected = 'a JSON list of operations, as in [{"op": "shift", "x": 0.1}] (docs/masks.md)'
    content = read_json(path, expected)
    if not isinstance(content, list):
        raise InputError(path, f"holds a {type(content).__name__}", expected)
    steps = []
    for number, given in enumerate(content):
        where = f"{path}, step {number}"
        if not isinstance(given, dict) or not isinstance(given.get("op"), str):
            raise InputError(where, f"is {given!r}", 'an object with an operation, as in {"op": "mirror"}')
        steps.append(_checked(given["op"], {k: v for k, v in given.items() if k != "op"}, where))
    return tuple(steps)


def write_recipe(recipe: Sequence[Step], path: str | Path) -> None:
    """Write a recipe, one step a line, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(as_json(recipe), encoding="utf-8")


def as_json(recipe: Sequence[Step]) -> str:
    """A recipe as `read_recipe` reads it."""
    lines = [json.dumps({"op": done.op, **done.values}, ensure_ascii=False) for done in recipe]
    return "[\n  " + ",\n  ".join(lines) + "\n]\n" if lines else "[]\n"


def parse_step(text: str) -> Step:
    """ "shift x=0:0,1:0.2 ease=ease-in" -> a step. Raises InputError."""
    where = f"--op {text!r}"
    try:
        op, *words = shlex.split(text)
    except ValueError as error:
        raise InputError(where, f"cannot be read ({error})", "an operation and parameters: shift x=0.1") from error
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(where, f"has the word {word!r}", "NAME=VALUE, as in: shift x=0.1 y=0:0,1:0.2")
        known = OPERATIONS[op].parameters.get(name) if op in OPERATIONS else None
        values[name] = from_text(value, known) if known else value
    return _checked(op, values, where)


def as_text(done: Step) -> str:
    """A step as `parse_step` reads it."""
    return " ".join([done.op, *(f"{name}={shlex.quote(_word(value))}" for name, value in done.values.items())])


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{time}:{number:g}" for time, number in value.items())
    if isinstance(value, list | tuple):
        return ("," if not value or not isinstance(value[0], list | tuple) else ";").join(map(_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _checked(op: str, values: dict[str, Any], where: str) -> Step:
    if op not in OPERATIONS:
        raise InputError(where, f"names the operation {op!r}, which there is not", mend=nearest(op, OPERATIONS))
    parameters = OPERATIONS[op].parameters
    for name, value in values.items():
        if name not in parameters:
            known = nearest(name, parameters) if parameters else "it has none"
            raise InputError(where, f"gives {op} the parameter {name!r}, which it has not", mend=known)
        check(value, parameters[name], f"{where}, {name}")
    for name, parameter in parameters.items():
        if parameter.default is REQUIRED and name not in values:
            raise InputError(where, f"does not say {op}'s {name!r}", f"{parameter.meaning}, as in {op} {name}=...")
    if op == "drop" and "only" not in values:
        raise InputError(where, "does not say what to drop", "labels, as in: drop only=horse")
    return Step(op, dict(values))


def _apply(draft: Draft, done: Step, where: str) -> Draft:
    operation = OPERATIONS[done.op]
    found: dict[str, Any] = {}
    for name, parameter in operation.own.items():
        value = parameter.default
        if name in done.values:
            value = check(done.values[name], parameter, f"{where}, {name}")
        if parameter.kind == "curve" and value is not None:
            value = curve(value, len(draft), done.values.get("ease", "linear"), parameter.ratio)
        found[name] = value
    if not operation.whole:
        found["chosen"] = _chosen(draft.source.labels, done.values.get("only"), where)
        if done.op == "drop" and found["chosen"].all():
            raise InputError(where, "leaves no object", f"some of {', '.join(draft.source.labels)}")
    return operation.apply(draft, **found)


def _chosen(labels: tuple[str, ...], only: Any, where: str) -> np.ndarray:
    wanted = labels if only is None else [only] if isinstance(only, str) else only
    for label in wanted:
        if label not in labels:
            raise InputError(
                f"{where}, only", f"names {label!r}, which is not in the masks", mend=nearest(label, labels)
            )
    return np.array([label in wanted for label in labels])
