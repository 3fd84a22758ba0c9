"""What a first-time visitor can take: pictures, captured clips, masks; and which models this machine can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.sketch import Drag

if TYPE_CHECKING:
    from kinema.studio.gallery import Studio
    from kinema.types import BodyMotion

HERE = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Example:
    """A picture with what is to happen in it."""

    title: str
    picture: Path
    prompt: str
    drags: Sequence[Drag] = ()
    clip: str = ""


PICTURES = (
    Example("Lift a hand", HERE / "dancer.png", "a man lifts his hand", (("left_hand", (33.0, 34.0), (40.0, 14.0)),)),
    Example("A captured clip", HERE / "dancer.png", "a man walks", clip="0"),
    Example("A dog", HERE / "dog.png", "a dog walks"),
)


@cache
def _capture() -> dict[str, tuple[str, BodyMotion]]:
    """The shipped clips by number: caption and motion."""
    from kinema.checkpoints import ASSETS
    from kinema.motion_io.capture import load_capture

    found = load_capture(ASSETS / "world_motion" / "world_motion.npz")
    return {str(k): (caption, motion) for k, (_, caption, motion) in enumerate(found)}


@cache
def clips() -> list[tuple[str, str]]:
    """(name, what a visitor reads) of the captured clips."""
    return [(name, f"{caption} ({len(motion) / motion.fps:.1f} s)") for name, (caption, motion) in _capture().items()]


def clip_file(studio: Studio, name: str) -> Path:
    """A captured clip as a file. Raises InputError for one that there is not."""
    from kinema.errors import InputError
    from kinema.motion_io import save_motion

    if name not in _capture():
        raise InputError("clip", f"{name!r} is none of ours", mend="choose one of the list")
    home = studio.workspace.folder / "cache" / "clips"
    home.mkdir(exist_ok=True)
    path = home / f"clip{name}.npz"
    if not path.exists():
        save_motion(_capture()[name][1], path)
    return path


@cache
def runnable() -> list[tuple[str, str]]:
    """(what a visitor reads, name) of the presets that can run here."""
    from kinema.presets import PRESETS

    return [(_named(name), name) for name in PRESETS if needs(name) == ""]


def _named(name: str) -> str:
    return f"{name} (small, comes with kinema)" if name.startswith("mini") else name


@cache
def needs(name: str) -> str:
    """What a preset lacks on this machine; empty where it can run."""
    import torch

    from kinema.hub import fetched, how_to_fetch
    from kinema.presets import CLIP_PRESETS, PRESETS

    preset = PRESETS.get(name) or CLIP_PRESETS[name]
    if preset.folder is not None:
        return ""
    wanted = [] if torch.cuda.is_available() else ["a GPU"]
    wanted += [] if fetched(name) else [how_to_fetch(name)]
    return "; ".join(wanted)


def not_runnable_html(clip_presets: bool = False) -> str:
    """The presets that cannot run here, and what each needs."""
    from kinema.presets import CLIP_PRESETS, PRESETS

    lacking = [(name, needs(name)) for name in (CLIP_PRESETS if clip_presets else PRESETS) if needs(name)]
    if not lacking:
        return ""
    rows = "".join(
        f'<li><label><input type="radio" disabled> <b>{escape(name)}</b></label> needs {escape(what)}</li>'
        for name, what in lacking
    )
    summary = f"{len(lacking)} larger models cannot run here yet: what they need"
    return f'<details class="kn-more"><summary>{summary}</summary><ul>{rows}</ul></details>'
