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
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.evaluate.seams import Seam, measure_seam
from kinema.masks.compose import fit as fit_masks
from kinema.masks.files import read_masks
from kinema.presets import clip_model, find_clip_preset
from kinema.provenance import write_generated
from kinema.reinforce.cogvideox import SHAPE_TOLERANCE, ClipSettings
from kinema.reinforce.speed import Level, Speed
from kinema.stages import digest
from kinema.types import MaskSequence, Video

LONGEST_S = 2400.0
Fit = Literal["crop", "pad"]
LEAST_BACKGROUND = 0.1
"""A share of a clip's pixels."""
MOST_WORDS = 8
"""Of a prompt, that are listed in a warning."""
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
    """Mean and deviation of the colours of a clip's background, RGB, 8-bit levels."""

    mean: Float[np.ndarray, " 3"]
    deviation: Float[np.ndarray, " 3"]


def animate(
    masks: MaskSequence | str | Path | None,
    prompt: str,
    seconds: float = 12.0,
    seed: int = 42,
    preset: str = "mini-cogvideox",
    *,
    speed: Level | Speed | None = None,
    backbone: ClipModel | None = None,
    out: str | Path | None = None,
    anchored: bool = True,
    fit: Fit | None = None,
    watermark: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Animation:
    """Make a video in which things move as the masks do and look as the prompt says.

    masks     or a file or folder of them, at any rate; where they end, the prompt goes on alone; None: the prompt alone
    preset    which model; it is read once for each speed
    speed     "quality", the plain model, "balanced" or "fast" (docs/speed.md), or what is to be saved
    backbone  a loaded one of that preset instead
    out       .mp4, or a folder for PNG files, to which frames go as they are made; its clips stay in NAME.clips beside it.
              None: all of the frames come back in memory
    anchored  give every clip the mean and deviation that the background's colours have in the first one, against drift;
              False for scenes that change
    fit       what to do with masks that have not the video's shape: "crop" or "pad" them; None: refuse them
    watermark  also mark the frames of `out`, invisibly; an .mp4 has a manifest in any case (`kinema.provenance`)
    Raises InputError; finished clips are kept.
    """
    clip = find_clip_preset(preset, speed=speed).clip if backbone is None else backbone.clip
    count = frame_count(seconds, clip.fps)
    masks = read_masks(masks) if isinstance(masks, str | Path) else masks
    masks = None if masks is None else shaped(masks, clip.size, fit)
    _check(masks, prompt, seed)
    _say_what_is_left_out(masks, prompt, seconds, clip.fps)
    out = None if out is None else Path(out)
    if out is not None and not out.parent.is_dir():
        raise InputError(out, "its folder does not exist", mend=f"mkdir -p {out.parent}")
    model = clip_model(find_clip_preset(preset, speed=speed)) if backbone is None else backbone
    seams: list[Seam] = []
    with ExitStack() as stack:
        folder = clips_folder(out) if out else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = clips(masks, prompt, count, seed, model, folder, anchored, progress)
        frames = joined(made, count, seams)
        video = None
        if out is None:
            video = Video(np.stack(list(frames)), clip.fps)
        else:
            write_generated(frames, out, clip.fps, preset, watermark)
            _write_record(folder, masks, prompt, seed, seconds, anchored, model, seams)
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
                frames = matched(frames, look, background_of(own, frames))
            if before is not None and clip.fade:
                frames = gone_on_from(before[-1], frames, clip.fade)
            _save_clip(path, key, frames)
        if anchored and look is None:
            look = look_of(frames, background_of(own, frames))
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


def clips_folder(out: Path) -> Path:
    """Where the finished clips of a video lie."""
    return out.with_name(f"{out.stem}.clips")


def frame_count(seconds: float, fps: float) -> int:
    """Frames of a video of so many seconds. Raises InputError."""
    if not (math.isfinite(seconds) and 1 / fps <= seconds <= LONGEST_S):
        raise InputError("seconds", f"are {seconds!r}", f"{1 / fps:g} to {LONGEST_S:g}")
    return round(seconds * fps)


def shaped(masks: MaskSequence, size: tuple[int, int], fit: Fit | None) -> MaskSequence:
    """Masks of the shape of (width, height), in the middle; such as have it already are as they came.

    fit  "crop" cuts what is too wide or too high, "pad" puts nothing beside it; None raises InputError
    """
    height, width = masks.masks.shape[2:]
    ratio = (width / height) / (size[0] / size[1])
    if abs(ratio - 1) <= SHAPE_TOLERANCE:
        return masks
    if fit is None:
        raise InputError(
            "masks", f"are {width}x{height}, the video is {size[0]}x{size[1]}", "the same shape",
            "--fit crop cuts what is too wide or too high, --fit pad leaves room beside it",
        )  # fmt: skip
    sides, left_out = ("width", 1 - 1 / ratio) if ratio > 1 else ("height", 1 - ratio)
    done = f"cut, {left_out:.0%} of the {sides}" if fit == "crop" else "made smaller, with room beside them"
    log.warning("the masks are %dx%d, the video %dx%d: they are %s", width, height, *size, done)
    return fit_masks(masks, (size[1], size[0]), cover=fit == "crop")


def is_foreign(word: str) -> bool:
    """Whether it has letters or signs that are not English, accents aside: the text encoders were made for English."""
    plain = unicodedata.normalize("NFKD", word)
    return any(not c.isascii() and unicodedata.category(c)[0] in "LS" for c in plain)


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


def background_of(masks: MaskSequence | None, frames: UInt8[np.ndarray, "T H W 3"]) -> Bool[np.ndarray, "T H W"]:
    """Where in a clip no mask is: what comes and goes is not what the place looks like. Everywhere where masks leave less
    than `LEAST_BACKGROUND`."""
    everywhere = np.ones(frames.shape[:3], bool)
    if masks is None:
        return everywhere
    free = everywhere.copy()
    free[: len(masks)] = ~fit_masks(masks, frames.shape[1:3], cover=True).masks.any(1)
    return free if free.mean() >= LEAST_BACKGROUND else everywhere


def look_of(frames: UInt8[np.ndarray, "T H W 3"], where: Bool[np.ndarray, "T H W"]) -> Look:
    """Of these pixels of a clip; frame by frame, so that no copy of the clip is made."""
    count = where.sum()
    mean = sum(frame[there].sum(0, dtype=float) for frame, there in zip(frames, where, strict=True)) / count
    off = sum(np.square(frame[there] - mean).sum(0) for frame, there in zip(frames, where, strict=True)) / count
    return Look(mean, np.sqrt(off))


def matched(
    frames: UInt8[np.ndarray, "T H W 3"], look: Look, where: Bool[np.ndarray, "T H W"]
) -> UInt8[np.ndarray, "T H W 3"]:
    """The clip, whose colours have there the mean and deviation that `look` has; a flat colour is only shifted."""
    own = look_of(frames, where)
    scale = np.where(own.deviation > 0, look.deviation / np.maximum(own.deviation, 1e-9), 1.0)
    new = np.empty_like(frames)
    for target, frame in zip(new, frames, strict=True):
        target[:] = np.clip(np.rint((frame - own.mean) * scale + look.mean), 0, 255)
    return new


def gone_on_from(
    shown: UInt8[np.ndarray, "H W 3"], frames: UInt8[np.ndarray, "T H W 3"], fade: int
) -> UInt8[np.ndarray, "T H W 3"]:
    """A clip that begins with the frame that was shown: what its own first frame lacks of it fades over so many more."""
    lacks = shown.astype(np.float32) - frames[0]
    left = np.clip(1 - np.arange(len(frames)) / (fade + 1), 0, None)[:, None, None, None]
    return np.clip(np.rint(frames + left * lacks), 0, 255).astype(np.uint8)


def _check(masks: MaskSequence | None, prompt: str, seed: int) -> None:
    """Raises InputError where nothing says what the video should show."""
    if seed < 0:
        raise InputError("seed", f"is {seed}", "0 or more")
    if masks is None and not prompt.strip():
        raise InputError("prompt", "is empty, and there are no masks", mend="say what the video shows")
    if masks is not None and not masks.masks.any():
        raise InputError("masks", "show nothing in any frame", mend="leave them out, and the prompt goes alone")


def _say_what_is_left_out(masks: MaskSequence | None, prompt: str, seconds: float, fps: float) -> None:
    foreign = [word for word in prompt.split() if is_foreign(word)]
    if foreign:
        found = ", ".join(foreign[:MOST_WORDS]) + (", ..." if len(foreign) > MOST_WORDS else "")
        log.warning("the prompt has words that the model does not know, which reads English: %s", found)
    if masks is None:
        return
    lasts = len(masks) / masks.fps
    if lasts > seconds + 1 / fps:
        log.warning("the masks last %.3g s; what comes after %g s is not used", lasts, seconds)
    elif lasts < seconds - 1 / fps:
        log.warning(
            "the masks end after %.3g s; from there on the prompt goes alone (kinema masks edit: loop seconds=%g)",
            lasts, seconds,
        )  # fmt: skip


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
    folder: Path,
    masks: MaskSequence | None,
    prompt: str,
    seed: int,
    seconds: float,
    anchored: bool,
    backbone: ClipModel,
    seams: list[Seam],
) -> None:
    """What repeats the video, and its seams."""
    import kinema

    record = {
        "kinema": kinema.__version__,
        "masks": None if masks is None else {"labels": masks.labels, "fps": masks.fps, "digest": digest(masks.masks)},
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
