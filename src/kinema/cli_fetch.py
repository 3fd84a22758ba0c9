"""The verb that brings public checkpoints from the hub: `kinema fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from kinema.console import option, say


def fetch(
    name: Annotated[Positional[str | None], arg(metavar="NAME", help_behavior_hint="(default: list them)")] = None,
    folder: Annotated[Path | None, option("DIR", "default: $KINEMA_WEIGHTS or ~/.cache/kinema")] = None,
) -> None:
    """Fetch a public checkpoint from the hub, or list those that kinema knows; a stopped fetch goes on.

    $ kinema fetch
    $ kinema fetch public
    $ kinema fetch vace-1.3b --folder /data/weights

    Args:
        name: which one; public: all four that see (grounding-dino, sam2, depth-anything, vitpose)
        folder: where to; each gets a folder of its own name there
    """
    from kinema.hub import CHECKPOINTS, RECORD, checkpoints_of, weights_folder
    from kinema.hub import fetch as bring

    folder = folder or weights_folder()
    if name is None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("name", "what", "from", "licence", "GB", "here"):
            table.add_column(heading, overflow="fold", no_wrap=heading == "name")
        for c in CHECKPOINTS.values():
            size = "?" if c.size_gb is None else f"{c.size_gb:g}"
            here = "yes" if (folder / c.name / RECORD).is_file() else "a part" if (folder / c.name).is_dir() else ""
            table.add_row(c.name, c.what, c.repository, c.licence + (", gated" if c.gated else ""), size, here)
        Console().print(table)
        return
    for checkpoint in checkpoints_of(name):
        size = f", about {checkpoint.size_gb:g} GB" if checkpoint.size_gb else ""
        say(f"{checkpoint.name}: {checkpoint.repository}, {checkpoint.licence}{size}")
        say(f"{bring(checkpoint, folder)}: fetched and checked")
