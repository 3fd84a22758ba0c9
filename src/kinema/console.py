"""What all verbs of the command line share: options, checks before any work is done, and words for the user."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from rich.console import Console
from tyro.conf import Positional, arg

from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.body.model import BodyModel
    from kinema.types import BodyMotion

MOTION_SUFFIXES = (".npz", ".bvh", ".glb", ".gltf")
VIDEO_SUFFIXES = (".mp4", ".png", "")
"""The last two: a folder with a PNG a frame."""
PLOT_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
Thing = TypeVar("Thing")


def option(metavar: str, unset: str = "optional") -> Any:
    """How an option that may be left out shows in the help."""
    return arg(metavar=metavar, help_behavior_hint=f"({unset})")


Input = Annotated[Positional[Path], arg(name="in", metavar="IN")]
Output = Annotated[Path, arg(metavar="OUT")]
BodyFile = Annotated[Path | None, option("FILE", "default: the built-in body")]
"""Which body the betas and `trans` of a file belong to."""


def check_output(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a result that could not be written before any work is done for it."""
    if path.suffix.lower() not in suffixes:
        found = f"has the suffix {path.suffix!r}" if path.suffix else "has no suffix"
        raise InputError(path, found, expected=f"one of {', '.join(s or 'a folder' for s in suffixes)}")
    if path.suffix and path.is_dir():
        raise InputError(path, "is a folder", expected="the name of a file to write")
    if not path.suffix and path.exists():
        raise InputError(path, "exists already", "the name of a folder to make")
    if not path.parent.is_dir():
        raise InputError(path, "its folder does not exist", mend=f"mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(path, "its folder cannot be written to", mend="choose another folder")


def load_licensed(file: Path | None) -> BodyModel | None:
    """The body of `--body`, which its suffix tells: SMAL comes as .pkl, SMPL-X as .npz. None for the built-in one."""
    from kinema.body.model import load_body

    return load_body("animal" if file.suffix.lower() == ".pkl" else "human", file) if file else None


def parse_frames(text: str, frames: int) -> list[int]:
    """'0,5-8,-1' or 'first,last' -> sorted frames in [0, frames); -1 is the last, ranges include both ends."""
    expected = f"frames from 0 to {frames - 1}, such as 0,5-8,-1 or first,last"
    chosen: set[int] = set()
    for piece in re.sub(r"\s", "", text).replace("first", "0").replace("last", "-1").split(","):
        match = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?", piece)
        if not match:
            raise InputError("--hold", f"cannot read {piece!r} in {text!r}", expected)
        ends = [int(end) for end in match.groups() if end is not None]
        first, last = (end + frames if end < 0 else end for end in (ends[0], ends[-1]))
        if not 0 <= first <= last < frames:
            raise InputError("--hold", f"{piece} is not within the {frames} frames of the result", expected)
        chosen.update(range(first, last + 1))
    return sorted(chosen)


def parse_size(text: str) -> tuple[int, int]:
    """'1024x576' -> (width, height)."""
    match = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if not match:
        raise InputError("--size", f"is {text!r}", expected="width x height in pixels, such as 1024x576")
    width, height = (int(number) for number in match.groups())
    if width % 2 or height % 2 or not (16 <= width <= 4096 and 16 <= height <= 4096):
        raise InputError("--size", f"is {text!r}", expected="even numbers from 16 to 4096, which video files need")
    return width, height


def describe(motion: BodyMotion) -> str:
    """'a human, 64 frames, 3.2 s at 20 fps'."""
    seconds = len(motion) / motion.fps
    return f"{motion.category}, {count_frames(len(motion))}, {seconds:.1f} s at {motion.fps:g} fps"


def count_frames(frames: int) -> str:
    """'64 frames', '1 frame'."""
    return f"{frames} frame{'' if frames == 1 else 's'}"


def said_once() -> Callable[[logging.LogRecord], bool]:
    """A filter for a log handler: a warning that comes again, as with every clip of a video, is not said again."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        new = record.getMessage() not in said
        said.add(record.getMessage())
        return new

    return is_new


def hush() -> None:
    """Libraries that speak of torchao's kernels for other machines are silent."""
    for noisy in ("torchao", "torch.utils._pytree", "diffusers.quantizers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def say(message: str, err: bool = False) -> None:
    """A line for the user, never wrapped, so that a path in it can be copied."""
    Console(stderr=err).print(message, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on a terminal while something runs whose length is not known."""
    with Console(stderr=True).status(f"{what} ..."):
        yield


def with_progress(things: Iterable[Thing], total: int, what: str) -> Iterable[Thing]:
    """The same things, with a bar on a terminal."""
    from rich.progress import track

    console = Console(stderr=True)
    return track(things, what, total, console=console, disable=not console.is_terminal)
