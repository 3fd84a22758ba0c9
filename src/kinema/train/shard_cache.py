"""Annotated clips out of shards, encoded once: what the full models train on, and in which order.

Input: shards of `kinema annotate`. Output: a folder with one .safetensors file a shard, whole or not at all, so that a
stopped build goes on at the shard where it was; several processes share the shards out and each is encoded by one of them.
A clip is cut into windows, one after another; each is an example. A window that is too short is none. What is left out is
counted by its reason, and the counts add up: clips = used + left out.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Int, UInt8
from rich.progress import track
from torch import Tensor

from kinema.annotate.record import AnnotatedClip
from kinema.annotate.shards import read_clips, shard_paths
from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.picture import fit
from kinema.types import MaskSequence

log = logging.getLogger(__name__)
OnBad = Literal["stop", "skip"]
Counts = dict[str, int]
CLIPS, USED, DAMAGED = "clips", "used", "damaged"
SHORT, WORDLESS, SLOW, TWICE = "too short", "without caption", "of too few frames a second", "of a key that was there"
SHAPES = (16 / 9, 4 / 3, 1.0, 3 / 4, 9 / 16)
"""Width over height of the sizes that clips are brought to, each to the nearest: the buckets."""
WAIT_S = 2.0
"""Between two looks whether the other processes have encoded their shards."""


@dataclass(frozen=True)
class WindowSettings:
    """How clips are cut.

    frames    of a window
    pixels    of a frame, about; its sides are multiples of `multiple`
    stride    every so-manyth frame is taken; None: at `fps`, which a clip must have at least
    captions  whether the model reads them, so that a clip needs one
    size      (width, height) of all of them; None: of the bucket nearest to a clip's shape
    """

    frames: int
    pixels: int
    multiple: int
    stride: int | None = None
    fps: float = 0.0
    captions: bool = False
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Window:
    """Part of an annotated clip, at the model's size; fps as the frames now follow each other."""

    key: str
    frames: UInt8[np.ndarray, "T H W 3"]
    part_ids: UInt8[np.ndarray, "T H W"]
    masks: MaskSequence
    caption: str
    fps: float


def windows_of(clip: AnnotatedClip, settings: WindowSettings) -> Iterator[Window]:
    """All of a clip that are whole. Raises InputError (its problem is one of the reasons above) where there is none."""
    if settings.captions and not clip.caption.strip():
        raise InputError(f"key {clip.key!r}", WORDLESS, "a caption, which this model reads")
    times = np.arange(0, len(clip.video.frames), settings.stride or 1)
    fps = clip.video.fps / (settings.stride or 1)
    if settings.stride is None:
        if clip.video.fps < 0.9 * settings.fps:
            raise InputError(f"key {clip.key!r}", SLOW, f"at least {settings.fps:g} a second, not {clip.video.fps:g}")
        fps = settings.fps
        count = int((len(times) - 1) / clip.video.fps * fps + 1e-6) + 1
        times = np.round(np.arange(count) * clip.video.fps / fps).astype(int)
    if len(times) < settings.frames:
        expected = f"{settings.frames} frames at {fps:g} a second, not {len(times)}"
        raise InputError(f"key {clip.key!r}", SHORT, expected)
    size = settings.size or bucket_size(clip.video.frames.shape[1:3], settings)
    for first in range(0, len(times) - settings.frames + 1, settings.frames):
        yield _cut(clip, times[first : first + settings.frames], size, fps)


def bucket_size(hw: Sequence[int], settings: WindowSettings) -> tuple[int, int]:
    """(width, height) of the bucket that is nearest to a clip's shape."""
    shape = min(SHAPES, key=lambda s: abs(np.log(hw[1] / hw[0] / s)))
    return fit((1000, round(1000 * shape)), settings.pixels, settings.multiple).size


def _cut(clip: AnnotatedClip, times: np.ndarray, size: tuple[int, int], fps: float) -> Window:
    height, width = clip.video.frames.shape[1:3]
    scale = max(size[0] / width, size[1] / height)
    shift = ((size[0] - width * scale) / 2, (size[1] - height * scale) / 2)
    matrix = np.array([[scale, 0, shift[0] + 0.5 * scale - 0.5], [0, scale, shift[1] + 0.5 * scale - 0.5]])
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR

    def colours(frame: np.ndarray) -> np.ndarray:
        scaled = cv2.resize(frame, (round(width * scale), round(height * scale)), interpolation=smooth)
        left, top = (scaled.shape[1] - size[0]) // 2, (scaled.shape[0] - size[1]) // 2
        return scaled[top : top + size[1], left : left + size[0]]

    def numbers(plane: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(plane, matrix, size, flags=cv2.INTER_NEAREST)

    frames = np.stack([colours(clip.video.frames[t]) for t in times])
    parts = np.stack([numbers(clip.part_ids[t]) for t in times])
    masks = np.zeros((len(times), clip.masks.shape[1], size[1], size[0]), bool)
    for row, t in enumerate(times):
        for k, mask in enumerate(clip.masks[t]):
            masks[row, k] = numbers(mask.astype(np.uint8)) > 0
    return Window(clip.key, frames, parts, MaskSequence(masks, clip.labels, fps), clip.caption, fps)


@dataclass(frozen=True)
class Example:
    """Where an encoded window lies, and its words and numbers."""

    file: Path
    number: int
    about: dict[str, Any]


@dataclass(frozen=True)
class ShardCache:
    """Encoded windows; `counts`: clips by what became of them."""

    examples: tuple[Example, ...]
    counts: Counts

    def __len__(self) -> int:
        return len(self.examples)

    def read(self, index: int) -> dict[str, Tensor]:
        """What `encode` gave for it."""
        from safetensors import safe_open

        one = self.examples[index]
        start = f"{one.number}."
        with safe_open(one.file, "pt") as opened:
            return {name: opened.get_tensor(start + name) for name in one.about["tensors"]}

    def split(self, held_out: int) -> tuple[ShardCache, ShardCache]:
        """What is trained on, and the first windows, at most a tenth of them, that are not."""
        count = min(held_out, len(self) // 10)
        return ShardCache(self.examples[count:], self.counts), ShardCache(self.examples[:count], {})

    def licences(self) -> dict[str, int]:
        """Windows by licence."""
        return dict(Counter(e.about["licence"] or "unknown" for e in self.examples))

    def order(self, batch: int, seed: int) -> BatchOrder:
        return BatchOrder(tuple(str(e.about["bucket"]) for e in self.examples), batch, seed)


@dataclass(frozen=True)
class BatchOrder:
    """Which examples a batch holds: of one bucket each, all of them once an epoch, in an order of (seed, epoch)."""

    buckets: tuple[str, ...]
    batch: int
    seed: int

    @property
    def batches(self) -> int:
        """Of an epoch; the last one of a bucket may be smaller."""
        return sum(-(-count // self.batch) for count in Counter(self.buckets).values())

    def of(self, number: int) -> Int[np.ndarray, " b"]:
        """The examples of a batch."""
        return _epoch(self, number // self.batches)[number % self.batches]


@lru_cache(maxsize=4)
def _epoch(order: BatchOrder, epoch: int) -> list[np.ndarray]:
    rng = np.random.default_rng([order.seed, epoch])
    shuffled, names = rng.permutation(len(order.buckets)), np.array(order.buckets)
    made = []
    for bucket in dict.fromkeys(order.buckets):
        own = shuffled[names[shuffled] == bucket]
        made += [own[first : first + order.batch] for first in range(0, len(own), order.batch)]
    return [made[k] for k in rng.permutation(len(made))] if len(set(order.buckets)) > 1 else made


def build_shard_cache(
    shards: Sequence[Path],
    folder: Path,
    settings: WindowSettings,
    encode: Callable[[Window], dict[str, Tensor]],
    identity: str,
    on_bad: OnBad = "stop",
) -> ShardCache:
    """Make, finish or open a cache. All processes of a training take part.

    encode    a window's tensors; "latents" [F,C,h,w] says its bucket
    identity  of what encodes, such as the hash of its weights
    on_bad    what to do about a clip that cannot be used: stop, or leave it out and count it
    Raises InputError for a folder that holds another cache, and, with shard and key, for what is bad about a shard.
    """
    from accelerate import PartialState

    paths = shard_paths([Path(p) for p in shards])
    files = [folder / f"{k:05d}-{path.stem}.safetensors" for k, path in enumerate(paths)]
    state = PartialState()
    asked = {
        "shards": [[path.name, path.stat().st_size] for path in paths],
        "windows": repr(settings),
        "encoder": identity,
        "on_bad": on_bad,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with state.main_process_first():
        _check_settings(folder, asked, writes=state.is_main_process)
    mine = list(zip(paths, files, strict=True))[state.process_index :: state.num_processes]
    missing = [(path, file) for path, file in mine if not file.exists()]
    for path, file in track(missing, "encoding shards", disable=not missing or not state.is_main_process):
        _encode_shard(path, file, settings, encode, on_bad)
    while not all(file.exists() for file in files):
        time.sleep(WAIT_S)
    return open_shard_cache(files, on_bad)


def _check_settings(folder: Path, asked: dict[str, Any], writes: bool) -> None:
    path = folder / "cache.json"
    if path.exists():
        found = json.loads(path.read_text())
        changed = [name for name in asked if found.get(name) != asked[name]]
        if changed:
            name = changed[0]
            raise InputError(
                folder, f"holds a cache of other {name}: {found.get(name)}", f"{asked[name]}", "another folder"
            )
    elif writes:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asked, indent=1))


def _encode_shard(path: Path, file: Path, settings: WindowSettings, encode: Callable, on_bad: OnBad) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    examples: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()

    def left_out(error: InputError, reason: str) -> None:
        if on_bad == "stop":
            raise error
        log.warning("left out: %s", error)
        counts[reason] += 1

    for clip in read_clips([path], on_bad=(lambda error: left_out(error, DAMAGED)) if on_bad == "skip" else None):
        try:
            for window in windows_of(clip, settings):
                made = encode(window)
                shape = [made["latents"].shape[0], *made["latents"].shape[2:]]
                about = {"key": clip.key, "caption": clip.caption, "fps": window.fps, "source": clip.source}
                about |= {"licence": clip.licence, "bucket": shape, "tensors": list(made)}
                tensors |= {f"{len(examples)}.{name}": value.cpu().contiguous() for name, value in made.items()}
                examples.append(about)
            counts[USED] += 1
        except InputError as error:
            left_out(InputError(f"{path}, {error.where}", f"is {error.problem}", error.expected), error.problem)
    counts[CLIPS] = sum(counts.values())
    with atomic_path(file) as temporary:
        save_file(tensors, temporary, {"examples": json.dumps(examples), "counts": json.dumps(counts)})


def open_shard_cache(files: Sequence[Path], on_bad: OnBad = "stop") -> ShardCache:
    """Raises InputError where nothing is left to train on, and for a clip that two shards hold."""
    from safetensors import safe_open

    examples: list[Example] = []
    counts: Counter[str] = Counter()
    seen: dict[str, Path] = {}
    again: set[tuple[Path, str]] = set()
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                header = opened.metadata()
        except Exception as error:  # safetensors raises its own kinds
            raise InputError(
                file, f"is damaged ({error})", mend="delete it; the next run encodes its shard anew"
            ) from error
        counts.update(json.loads(header["counts"]))
        for number, about in enumerate(json.loads(header["examples"])):
            key = about["key"]
            if seen.setdefault(key, file) != file:
                if on_bad == "stop":
                    where = f"{file.stem}, key {key!r}"
                    raise InputError(where, f"is in {seen[key].stem} too", "keys of their own", "--on-bad skip")
                again.add((file, key))
            else:
                examples.append(Example(file, number, about))
    if again:
        counts[USED] -= len(again)
        counts[TWICE] += len(again)
    if not examples:
        raise InputError("shards", f"hold no clip that can be used: {dict(counts)}", "annotated clips")
    return ShardCache(tuple(examples), dict(counts))
