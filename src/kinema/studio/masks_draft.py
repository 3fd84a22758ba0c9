"""The masks that a visitor works on (tab 3): taken in, edited, composed with others, with the command lines of all that.

Input: an upload, a result, or a shipped clip. Output: a `MaskDraft`: files that are there, and how they came to be.
"""

from __future__ import annotations

import shlex
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinema.errors import InputError
from kinema.masks.compose import compose
from kinema.masks.files import read_masks, write_masks
from kinema.masks.recipe import apply_recipe, as_text, parse_step, step
from kinema.studio.limits import LIMITS, Limits, check_archive
from kinema.types import MaskSequence

if TYPE_CHECKING:
    from kinema.masks.recipe import Step

LARGEST_PX = 720
MOST_FRAMES = 600
SHIPPED_SIZE = (128, 128)
SHIPPED_FPS = 8.0


@dataclass(frozen=True)
class MaskDraft:
    """folder: where the files lie; base: the masks as they are before the edits; files: all that made them; lines: how."""

    folder: Path | None = None
    base: str = ""
    files: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    counts: int = field(default=0)

    def masks(self) -> MaskSequence:
        if self.folder is None or not self.base:
            raise InputError("masks", "are not there yet", mend="find some in a video, upload some, or take ours")
        return read_masks(self.folder / self.base)


def begin(masks: MaskSequence, folder: Path) -> MaskDraft:
    """A draft of masks that were just read."""
    height, width = masks.masks.shape[2:]
    if len(masks) > MOST_FRAMES:
        raise InputError("masks", f"are {len(masks)} frames", f"at most {MOST_FRAMES}", "cut them")
    if max(height, width) > LARGEST_PX:
        from kinema.masks.compose import fit

        scale = LARGEST_PX / max(height, width)
        masks = fit(masks, (max(2, round(height * scale)), max(2, round(width * scale))))
    write_masks(masks, folder / "masks.npz")
    return MaskDraft(folder, "masks.npz", ("masks.npz",))


def read_upload(path: Path, limits: Limits = LIMITS) -> MaskSequence:
    """Masks of an upload that was checked; a .zip is unpacked for as long as it is read. Raises InputError."""
    if path.suffix.lower() != ".zip":
        return read_masks(path)
    check_archive(path, limits)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        (home := Path(folder) / path.stem).mkdir()
        pictures = [e for e in archive.infolist() if e.filename.lower().endswith((".png", ".json"))]
        if not any(e.filename.lower().endswith(".png") for e in pictures):
            raise InputError(path.name, "holds no PNGs", "one PNG a frame")
        for entry in pictures:
            if not Path(entry.filename).name.startswith("."):
                try:
                    (home / Path(entry.filename).name).write_bytes(archive.read(entry))
                except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
                    raise InputError(path.name, "is damaged", "a .zip that is whole", "pack it anew") from error
        return read_masks(home)


def shipped_masks(motion, prompt: str = "a man") -> MaskSequence:
    """Silhouettes of a shipped capture, as `kinema render --map mask` draws them."""
    from kinema.optimize.lengthen import resample
    from kinema.render.control_maps import render_maps

    maps = render_maps(resample(motion, fps=SHIPPED_FPS), "fixed", SHIPPED_SIZE, "mask")
    assert maps.subject_ids is not None, "the map that was asked for"
    return MaskSequence((maps.subject_ids > 0)[:, None], (prompt.removeprefix("a "),), SHIPPED_FPS)


def steps_of(
    size: float, right: float, down: float, degrees: float, speed: float, mirrored: bool, more: str
) -> tuple[Step, ...]:
    """What the sliders say, then the lines of the text box, as a recipe. Raises InputError."""
    steps: list[Step] = []
    steps += [step("mirror")] if mirrored else []
    steps += [step("scale", by=float(size))] if size != 1 else []
    steps += [step("slope", degrees=float(degrees))] if degrees else []
    steps += [step("shift", x=float(right), y=float(down))] if right or down else []
    steps += [step("time-warp", speed=float(speed))] if speed != 1 else []
    for line in (more or "").splitlines():
        if line.strip():
            steps.append(parse_step(line.strip()))
    if len(steps) > 40:
        raise InputError("recipe", f"has {len(steps)} steps", "at most 40")
    return tuple(steps)


def edited(draft: MaskDraft, steps: Sequence[Step]) -> MaskSequence:
    """The masks after the recipe. Raises InputError where a step does not fit, or they get too long."""
    masks = apply_recipe(draft.masks(), steps)
    if len(masks) > 4 * MOST_FRAMES:
        raise InputError("recipe", f"makes {len(masks)} frames", f"at most {4 * MOST_FRAMES}")
    return masks


def composed(draft: MaskDraft, steps: Sequence[Step], other: MaskSequence, offset_s: float) -> MaskDraft:
    """The edited masks in front of others that begin `offset_s` later; the result is what is edited next."""
    assert draft.folder is not None
    front, number = edited(draft, steps), draft.counts + 1
    names = {"edited": f"edited_{number}.npz", "other": f"other_{number}.npz", "whole": f"composed_{number}.npz"}
    lines, first = list(draft.lines), draft.base
    if steps:
        write_masks(front, draft.folder / names["edited"])
        words = ["kinema", "masks", "edit", draft.base, "--out", names["edited"]]
        for done in steps:
            words += ["--op", as_text(done)]
        lines.append(shlex.join(words))
        first = names["edited"]
    write_masks(other, draft.folder / names["other"])
    whole = compose([front, other], [0.0, float(offset_s)])
    write_masks(whole, draft.folder / names["whole"])
    lines.append(
        shlex.join(
            ["kinema", "masks", "compose", first, names["other"], "--out", names["whole"], "--offset", "0", "--offset",
             f"{offset_s:g}"]
        )
    )  # fmt: skip
    files = (*draft.files, *([first] if steps else []), names["other"], names["whole"])
    return replace(draft, base=names["whole"], files=files, lines=tuple(lines), counts=number)


def write_preview(masks: MaskSequence, path: Path, behind: np.ndarray | None = None) -> None:
    """The masks in colours as a small video, at least 256 pixels wide so that a player shows it sharp."""
    from kinema.masks.preview import preview
    from kinema.types import Video
    from kinema.video import write_video

    over = None
    if behind is not None and behind.shape[:3] == (len(masks), *masks.masks.shape[2:]):
        over = Video(behind, masks.fps)
    frames = preview(masks, over)
    times = max(1, -(-256 // max(frames.shape[1:3])))
    write_video((f.repeat(times, 0).repeat(times, 1) for f in frames), path, masks.fps)
