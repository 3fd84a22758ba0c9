"""The verb that looks at this machine: `kinema doctor`."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import arg

from kinema.console import option, parse_size, say, working


def doctor(
    preset: Annotated[str | None, option("NAME")] = None,
    size: Annotated[str | None, option("WxH", "default: the preset's")] = None,
    frames: Annotated[int | None, option("N", "default: one whole clip")] = None,
    model: Annotated[Path | None, option("FOLDER", "default: the public one")] = None,
    json: Annotated[bool, arg(help_behavior_hint="")] = False,
) -> None:
    """Say whether this installation can do its work, or how much memory a preset takes. Status 1 where it can't do it.

    $ kinema doctor
    $ kinema doctor --preset vace-1.3b
    $ kinema doctor --preset wan --size 832x480 --frames 49

    Without --preset: what is missing here, and what to do. With one: what it is expected to take at the peak under every
    --memory, computed from the model's configuration before anything is fetched (docs/backbones.md), and what of that fits.

    Args:
        preset: a model of kinema generate or kinema animate
        size: width and height of its frames, about
        frames: of the video; long ones come in clips
        model: a model folder whose configurations are taken
        json: for programs
    """
    from kinema.doctor import as_table, checks, memory_table, memory_values

    if preset is not None:
        with working("counting"):
            values = memory_values(preset, parse_size(size) if size else None, frames, model)
        if json:
            print(json_format.dumps(values, indent=2))
        else:
            Console().print(memory_table(values))
        return
    with working("looking"):
        rows = list(checks(Path.cwd()))
    if json:
        print(json_format.dumps([vars(row) for row in rows], indent=2))
    else:
        Console().print(as_table(rows))
    bad = [row.name for row in rows if row.state == "bad"]
    if not json:
        say(f"Not ready: {', '.join(bad)}" if bad else "Ready.")
    if bad:
        raise SystemExit(1)
