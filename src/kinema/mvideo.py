"""MVideo (section 3.3): masks and a prompt -> a video of any length, one clip of 4 s after another.

Clip k shows frames S k to S k + S, where S is one less than the model's 4 n + 1 frames: 32 of 33, 4 s at 8 Hz. Its first
frame is the last one of the clip before, which the model has seen at full size; it is made once more and left out, so that
the video has S new frames a clip and no moment twice. The first clip keeps its first frame; the end is cut to what was
asked.

Every clip is a function of the prompt, the seed, its own masks and the clip before. Finished ones lie beside the result
with a key of all that, so a killed run, or a longer video, goes on from them and comes out the same.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.evaluate.seams import Seam, measure_seam
from kinema.reinforce.cogvideox import ClipSettings
from kinema.stages import digest
from kinema.types import MaskSequence, Video
from kinema.video import write_video

LONGEST_S = 3600.0
Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and how much there is."""
log = logging.getLogger(__name__)


@runtime_checkable
class ClipModel(Protocol):
    """What makes a clip; `kinema.reinforce.cogvideox.CogVideoX` is one. `identity` changes with any weight."""

    clip: ClipSettings
    identity: str

    def generate(
        self,
        prompt: str,
        seed: int,
        masks: MaskSequence | None = None,
        before: UInt8[np.ndarray, "T H W 3"] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> UInt8[np.ndarray, "T H W 3"]: ...


@dataclass(frozen=True)
class Animation:
    """The video, in memory or in a file, and how well its clips join."""

    video: Video | None
    path: Path | None
    frames: int
    fps: float
    seams: tuple[Seam, ...]


@dataclass(frozen=True)
class Look:
    """Mean and deviation of the colours of a clip, RGB, 8-bit levels."""

    mean: Float[np.ndarray, " 3"]
    deviation: Float[np.ndarray, " 3"]


def animate(
    masks: MaskSequence | None,
    prompt: str,
    seconds: float = 12.0,
    seed: int = 42,
    *,
    backbone: ClipModel,
    out: Path | None = None,
    anchored: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Animation:
    """Make a video in which things move as the masks do and look as the prompt says.

    masks     at any rate, of the video's shape; where they end, the prompt goes on alone; None: the prompt alone
    out       .mp4, or a folder for PNG files, to which frames go as they are made; its clips stay in NAME.clips beside it.
              None: all of the frames come back in memory
    anchored  give every clip the mean and deviation of the first one's colours: against drift, for scenes that stay
    Raises InputError; finished clips are kept.
    """
    clip = backbone.clip
    count = _checked_count(masks, prompt, seconds, seed, clip.fps)
    if out is not None and not out.parent.is_dir():
        raise InputError(out, "its folder does not exist", mend=f"mkdir -p {out.parent}")
    seams: list[Seam] = []
    with ExitStack() as stack:
        folder = out.with_name(f"{out.stem}.clips") if out else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = clips(masks, prompt, count, seed, backbone, folder, anchored, progress)
        frames = joined(made, count, seams)
        video = None
        if out is None:
            video = Video(np.stack(list(frames)), clip.fps)
        else:
            write_video(frames, out, clip.fps)
            _write_record(folder, prompt, seed, seconds, anchored, backbone, seams)
    return Animation(video, out, count, clip.fps, tuple(seams))


def clips(
    masks: MaskSequence | None,
    prompt: str,
    count: int,
    seed: int,
    backbone: ClipModel,
    folder: Path,
    anchored: bool,
    progress: Progress,
) -> Iterator[UInt8[np.ndarray, "T H W 3"]]:
    """The clips of `count` frames, each as soon as it is there; those that `folder` has already are taken from it."""
    folder.mkdir(exist_ok=True)
    clip = backbone.clip
    total = max(1, math.ceil((count - 1) / (clip.frames - 1)))
    key, before, look = "", None, None
    for number in range(total):

        def report(done: int, steps: int, number: int = number) -> None:
            progress("animate", number * steps + done, total * steps)

        own = masks_of_clip(masks, number, clip)
        arrays = None if own is None else own.masks
        key = digest(key, backbone.identity, clip, prompt, seed, number, arrays, anchored and number > 0)
        path = folder / f"clip_{number:04d}.npz"
        frames = _load_clip(path, key)
        if frames is None:
            frames = backbone.generate(prompt, clip_seed(seed, number), own, before, report)
            if anchored and look is not None:
                frames = matched(frames, look)
            _save_clip(path, key, frames)
        look = look or look_of(frames)
        before = frames
        yield frames


def joined(
    made: Iterator[UInt8[np.ndarray, "T H W 3"]], count: int, seams: list[Seam]
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The first `count` frames of clips that share their end frames, each moment once; measures the seams on the way."""
    given, before = 0, None
    for frames in made:
        new = frames
        if before is not None:
            new = frames[1:]
            seams.append(measure_seam(given, before, new))
        before = frames
        yield from new[: count - given]
        given += len(new)
        if given >= count:
            return


def clip_seed(seed: int, number: int) -> int:
    """The seed of a clip: another one for each, whatever came before."""
    return int(np.random.default_rng([seed, number]).integers(1 << 63))


def masks_of_clip(masks: MaskSequence | None, number: int, clip: ClipSettings) -> MaskSequence | None:
    """The masks of a clip at its rate, up to where they end; None where they ended before it."""
    if masks is None:
        return None
    moments = number * (clip.frames - 1) + np.arange(clip.frames)
    shown = ((moments + 0.5) * masks.fps / clip.fps).astype(int)
    shown = shown[shown < len(masks)]
    return MaskSequence(masks.masks[shown], masks.labels, clip.fps) if len(shown) else None


def look_of(frames: UInt8[np.ndarray, "T H W 3"]) -> Look:
    """Of all pixels of a clip; frame by frame, so that no copy of the clip is made."""
    means = np.mean([frame.mean((0, 1)) for frame in frames], 0)
    squares = np.mean([np.square(frame.astype(np.float32)).mean((0, 1), dtype=np.float64) for frame in frames], 0)
    return Look(means, np.sqrt(np.maximum(squares - means**2, 0)))


def matched(frames: UInt8[np.ndarray, "T H W 3"], look: Look) -> UInt8[np.ndarray, "T H W 3"]:
    """The clip with the mean and deviation of each colour that `look` has; a flat one is only shifted."""
    own = look_of(frames)
    scale = np.where(own.deviation > 0, look.deviation / np.maximum(own.deviation, 1e-9), 1.0)
    new = np.empty_like(frames)
    for target, frame in zip(new, frames, strict=True):
        target[:] = np.clip(np.rint((frame - own.mean) * scale + look.mean), 0, 255)
    return new


def _checked_count(masks: MaskSequence | None, prompt: str, seconds: float, seed: int, fps: float) -> int:
    """How many frames are asked for. Raises InputError where that, or what they should show, cannot be used."""
    if not (math.isfinite(seconds) and 1 / fps <= seconds <= LONGEST_S):
        raise InputError("seconds", f"are {seconds!r}", f"{1 / fps:g} to {LONGEST_S:g}")
    if seed < 0:
        raise InputError("seed", f"is {seed}", "0 or more")
    if masks is None:
        if not prompt.strip():
            raise InputError("prompt", "is empty, and there are no masks", mend="say what the video shows")
        return round(seconds * fps)
    if not masks.masks.any():
        raise InputError("masks", "show nothing in any frame", mend="leave them out, and the prompt goes alone")
    lasts = len(masks) / masks.fps
    if lasts > seconds + 1 / fps:
        log.warning("the masks last %g s; what comes after %g s is not used", lasts, seconds)
    elif lasts < seconds - 1 / fps:
        log.warning("the masks end after %g s; from there on the prompt goes alone", lasts)
    return round(seconds * fps)


def _save_clip(path: Path, key: str, frames: UInt8[np.ndarray, "T H W 3"]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, key=np.array(key), frames=frames)


def _load_clip(path: Path, key: str) -> UInt8[np.ndarray, "T H W 3"] | None:
    """A finished clip, None where there is none of this key."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["frames"] if str(stored["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s) and is made anew", path, error)
        return None


def _write_record(
    folder: Path, prompt: str, seed: int, seconds: float, anchored: bool, backbone: ClipModel, seams: list[Seam]
) -> None:
    """What repeats the video, and its seams."""
    import kinema

    record = {
        "kinema": kinema.__version__,
        "prompt": prompt,
        "seed": seed,
        "seconds": seconds,
        "anchored": anchored,
        "clip": asdict(backbone.clip),
        "weights": backbone.identity,
        "seams": [asdict(seam) for seam in seams],
    }
    with atomic_path(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
