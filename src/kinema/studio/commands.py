"""What was done on the page as lines for a terminal: "repeat this in a terminal".

Input: the settings of a job. Output: command lines that work in the folder of the result, or where its zip is unpacked.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any


def generate_command(settings: dict[str, Any]) -> list[str]:
    """`kinema generate` for the settings of `tasks.animate_picture`."""
    words = ["kinema", "generate", "picture.png", "--out", "again.mp4"]
    words += _options(settings, "prompt", "seconds", "strength", "seed", "preset")
    for part, start, end in settings.get("drags", ()):
        words += ["--drag", part, _point(start), _point(end)]
    if settings.get("shapes"):
        words += ["--target", "sketch.json"]
    if settings.get("motion"):
        words += ["--motion", settings["motion"]]
    if settings.get("from_stage", 1) > 1:
        words += ["--stages", "stages", "--from-stage", str(settings["from_stage"])]
    words += ["--watermark"] if settings.get("watermark") else []
    return [shlex.join(words)]


def animate_command(settings: dict[str, Any]) -> list[str]:
    """`kinema masks edit` and `kinema animate` for the settings of `tasks.animate_masks`."""
    lines, masks = [], settings.get("masks")
    if settings.get("steps"):
        edit = ["kinema", "masks", "edit", masks, "--out", "edited_again.npz"]
        for text in settings["steps"]:
            edit += ["--op", text]
        lines.append(shlex.join(edit))
        masks = "edited_again.npz"
    words = ["kinema", "animate", *([masks] if masks else []), "--out", "again.mp4"]
    words += _options(settings, "prompt", "seconds", "seed", "preset", "fit")
    words += [] if settings.get("anchored", True) else ["--no-anchored"]
    words += ["--watermark"] if settings.get("watermark") else []
    return [*lines, shlex.join(words)]


def clean_command(settings: dict[str, Any]) -> list[str]:
    """`kinema diagnose`, `refine`, `retarget` and `render` for the settings of `tasks.clean_motion`."""
    source, lines = settings["motion"], [shlex.join(["kinema", "diagnose", settings["motion"]])]
    if settings.get("refine"):
        words = ["kinema", "refine", source, "--out", "refined_again.npz"]
        lines.append(shlex.join(words + _options(settings, "prompt", "strength", "length")))
        source = "refined_again.npz"
    if settings.get("betas"):
        lines.append(
            shlex.join(["kinema", "retarget", source, "--out", "shaped_again.npz", "--betas", settings["betas"]])
        )
        source = "shaped_again.npz"
    for kind in settings.get("maps", ()):
        size = settings["size"]
        lines.append(
            shlex.join(["kinema", "render", source, "--out", f"{kind}_again.mp4", "--map", kind, "--size", size])
        )
    return lines


def mask_command(settings: dict[str, Any]) -> list[str]:
    words = ["kinema", "mask", settings["video"], "--out", "masks_again.npz"]
    for noun in settings["nouns"]:
        words += ["--object", noun]
    return [shlex.join(words + _options(settings, "fps"))]


def _options(settings: dict[str, Any], *names: str) -> list[str]:
    found = []
    for name in names:
        value = settings.get(name)
        if value not in (None, ""):
            found += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return found


def _point(xy: Sequence[float]) -> str:
    return f"{xy[0]:g},{xy[1]:g}"
