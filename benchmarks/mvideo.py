"""MVideo's tables at mini scale, on the held-out world: masks, consistency loss, length, real masks, time, other words.

python benchmarks/mvideo.py --capture cmu_test.npz [--photographs photos/] --out results.json [--tables masks,...]
python benchmarks/mvideo.py ... --model FOLDER --adapter FOLDER --adapter-without FOLDER   (default: what ships)
python benchmarks/mvideo.py ... --out half0.json --share 0/2          (and 1/2 beside it, on another core)
python benchmarks/mvideo.py --out half0.json half1.json --clips 0     (the tables of both together)

Numbers: `kinema.evaluate`. S_m (equation 3) is seen by mini-perception and by the two segmenters that are told by boxes,
whose own limits the row "true video" states; "first" follows things from their boxes in the first frame, "every" has a box
a frame, as the paper. The captions are the test world's. A stopped run goes on: clips that are in OUT already are not made
again. Beside OUT.json comes OUT.md.
"""

from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.evaluate.bootstrap import bootstrap_interval
from kinema.evaluate.frechet import frechet_distance
from kinema.evaluate.handcrafted_features import clip_features
from kinema.evaluate.mask_alignment import PerceptionTracker, Tracker, mask_overlaps, masks_of_ids
from kinema.evaluate.naturalness import Naturalness
from kinema.evaluate.seams import INVISIBLE_BELOW, Seam
from kinema.evaluate.text_alignment import chosen_of_ten, shipped_text_judge
from kinema.evaluate.video_metrics import motion_smoothness
from kinema.extract.box_segmenter import shipped_segmenter
from kinema.mvideo import animate, shaped
from kinema.presets import find_clip_preset
from kinema.reinforce.cogvideox import CogVideoX
from kinema.types import MaskSequence
from kinema.video import frame_rate, read_video
from kinema.world.clip import WorldClip
from kinema.world.sampler import World
from kinema.world.wide import HELD_OUT

PRESET = "mini-cogvideox"
FPS = 8.0
CLIP_FRAMES, SHORT_FRAMES, LONG_FRAMES = 17, 33, 129
"""2 s, 4 s and 16 s, with the frame that they end on."""
LENGTHS_S = (4, 8, 12, 16)
REFERENCE, REFERENCE_FROM = 120, 50_000
"""True clips that say what is natural and what other captions there are, and the number of the first."""
Rows = dict[str, dict[str, float]]
REAL = {
    "squats": ("a woman in a pink shirt and black trousers", "a silver robot", "a man in a red suit", "a gold robot"),
    "cars": ("a red car", "a white box", "a yellow ball", "a blue car"),
}  # fmt: skip
"""What recorded masks are told to be, by the file's name; other files take the first line's."""
PLACES = ("on a green meadow", "in the snow", "by the sea", "in a city")
"""Where they are; also the other places of the appearance table."""


@dataclass
class Bench:
    """The models, made when first asked for, the worlds, and what true clips are like."""

    model: Path | None
    adapter: Path | None
    adapter_without: Path | None
    capture: Path | None
    photographs: Path | None
    real: Path | None
    loaded: dict[str, CogVideoX] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return name != "without" or self.adapter_without is not None

    def load(self, name: str) -> CogVideoX:
        """ "base", "with" or "without" the consistency loss."""
        if name not in self.loaded:
            preset = find_clip_preset(PRESET, self.model, self.adapter)
            if name != "with":
                preset = replace(preset, adapter=None if name == "base" else self.adapter_without)
            self.loaded[name] = preset.load()
        return self.loaded[name]

    @cached_property
    def seen(self) -> World:
        return World.load(self.capture, self.photographs, "test", wide=True, without=HELD_OUT)

    @cached_property
    def unseen(self) -> World:
        return World.load(self.capture, self.photographs, "test", wide=True, only=HELD_OUT)

    @cached_property
    def reference(self) -> list[WorldClip]:
        return [self.seen.sample(REFERENCE_FROM + k, CLIP_FRAMES) for k in range(REFERENCE)]

    @cached_property
    def natural(self) -> Naturalness:
        return Naturalness.of([clip.video.frames for clip in self.reference])

    @cached_property
    def other_prompts(self) -> tuple[list[str], torch.Tensor]:
        prompts = sorted({clip.scene.prompt for clip in self.reference})
        return prompts, shipped_text_judge().of_prompts(prompts)

    def make(self, name: str, prompt: str, seed: int, masks: MaskSequence | None, frames: int, anchored: bool = True):
        """-> frames, seams."""
        made = animate(masks, prompt, frames / FPS, seed, backbone=self.load(name), anchored=anchored)
        assert made.video is not None, "no file was asked for"
        return made.video.frames, made.seams


TRACKERS: dict[str, Callable[[], Tracker]] = {
    "mini": PerceptionTracker,
    "colour": partial(shipped_segmenter, "colour"),
    "grey": partial(shipped_segmenter, "grey"),
}


def truth_masks(clip: WorldClip) -> MaskSequence:
    return masks_of_ids(clip.subject_ids, [subject.label for subject in clip.scene.subjects], clip.video.fps)


def s_m(video: np.ndarray, masks: MaskSequence, both: bool = False) -> dict[str, float]:
    """By all segmenters; of "first" alone, or of "every" too."""
    found = {}
    for name, tracker in TRACKERS.items():
        for boxes in ("first", "every") if both else ("first",):
            overlaps = mask_overlaps(video, masks, tracker(), boxes)
            if np.isfinite(overlaps).any():
                found[f"S_m {name}, {boxes}"] = float(np.nanmean(overlaps))
    return found


def looks(bench: Bench, video: np.ndarray, prompt: str) -> dict[str, float]:
    """Text alignment, naturalness, smoothness, and features for the Frechet distance."""
    judge = shipped_text_judge()
    seen = judge.of_video(video)
    own = float(seen @ judge.of_prompts([prompt])[0])
    prompts, vectors = bench.other_prompts
    others = (vectors @ seen).numpy()[[other != prompt for other in prompts]]
    return {
        "text": 100 * own,
        "one of ten": chosen_of_ten(own, others),
        "unnatural": bench.natural.distance(video),
        "smoothness": motion_smoothness(video),
        **{f"feature {k:02}": float(value) for k, value in enumerate(clip_features(video[:CLIP_FRAMES]))},
    }


def masks(bench: Bench, number: int) -> Rows:
    """Table 3 of the paper: masks of classes that the training saw (even numbers) and of others (odd)."""
    group, world = (("seen", bench.seen), ("held out", bench.unseen))[number % 2]
    clip = world.sample(number, SHORT_FRAMES)
    given, prompt = truth_masks(clip), clip.scene.prompt
    asked = given if world is bench.seen else MaskSequence(given.masks[:, :1], given.labels[:1], given.fps)
    found = {}
    for row, name, told in (("masks", "with", given), ("no masks, base", "base", None)):
        video, _ = bench.make(name, prompt, number, told, SHORT_FRAMES)
        found[f"{group}: {row}"] = s_m(video, asked, both=True)
    found[f"{group}: true video"] = s_m(clip.video.frames, asked, both=True)
    return found


def consistency(bench: Bench, number: int) -> Rows:
    """Table 4 of the paper, which has prompts alone; and the same with masks."""
    clip = bench.seen.sample(number, CLIP_FRAMES)
    given, prompt, truth = truth_masks(clip), clip.scene.prompt, clip.video.frames
    found = {"true video": looks(bench, truth, prompt) | s_m(truth, given)}
    for row, name, told in (
        ("base, prompt alone", "base", None),
        ("without L_c, prompt alone", "without", None),
        ("with L_c, prompt alone", "with", None),
        ("without L_c, masks", "without", given),
        ("with L_c, masks", "with", given),
    ):
        if bench.has(name):
            video, _ = bench.make(name, prompt, number, told, CLIP_FRAMES)
            found[row] = looks(bench, video, prompt) | s_m(video, given)
    return found


def length(bench: Bench, number: int) -> Rows:
    """Table 5 of the paper: each length is the beginning of the same 16 s. Masks play there and back."""
    clip = bench.seen.sample(number, SHORT_FRAMES)
    prompt, there_and_back = clip.scene.prompt, _there_and_back(SHORT_FRAMES, LONG_FRAMES)
    given = truth_masks(clip)
    given = replace(given, masks=given.masks[there_and_back])
    found = _by_length(bench, "true video", clip.video.frames[there_and_back], prompt, given, ())
    for told, word in ((None, "prompt alone"), (given, "masks")):
        for anchored in (False, True):
            video, seams = bench.make("with", prompt, number, told, LONG_FRAMES, anchored)
            row = f"{word}, {'anchored' if anchored else 'plain'}"
            found |= _by_length(bench, row, video, prompt, told, seams)
    return found


def _there_and_back(count: int, wanted: int) -> np.ndarray:
    turn = np.arange(wanted) % (2 * (count - 1))
    return np.minimum(turn, 2 * (count - 1) - turn)


def _by_length(
    bench: Bench, row: str, video: np.ndarray, prompt: str, given: MaskSequence | None, seams: tuple[Seam, ...]
) -> Rows:
    overlaps = {}
    if given is not None:
        for name, tracker in TRACKERS.items():
            overlaps[f"S_m {name}, every"] = mask_overlaps(video, given, tracker(), "every")
    found = {}
    parts = {f"{row}, {s} s": slice(0, int(s * FPS) + 1) for s in LENGTHS_S}
    for name, part in (parts | {f"{row}, last 4 s": slice(len(video) - SHORT_FRAMES, len(video))}).items():
        found[name] = looks(bench, video[part], prompt)
        found[name] |= {key: float(np.nanmean(v[part])) for key, v in overlaps.items() if np.isfinite(v[part]).any()}
        within = [seam for seam in seams if part.start < seam.frame < part.stop]
        if within:
            ratios = np.array([seam.difference_ratio for seam in within])
            first, last = (video[part][k].mean((0, 1, 2)) for k in (slice(CLIP_FRAMES), slice(-CLIP_FRAMES, None)))
            found[name] |= {
                "seam ratio": float(np.median(ratios)),
                f"seams < {INVISIBLE_BELOW}": float((ratios < INVISIBLE_BELOW).mean()),
                "colour drift a seam": float(np.mean([seam.colour_drift for seam in within])),
                "colour drift, first to last 2 s": float(np.linalg.norm(last - first)),
            }
    return found


def real(bench: Bench, number: int) -> Rows:
    """Masks of recorded clips, told to be several things in several places; beside the recording's own score."""
    found: Rows = {}
    assert bench.real is not None, "the table is left out without recordings"
    for path in sorted((bench.real / "masks").glob("*.npz")):
        video_path = path.parents[1] / f"{path.stem}.mp4"
        with np.load(path) as stored:
            shown, first = stored["masks"].astype(bool), int(stored.get("first_frame", 0))
        rate, size = frame_rate(video_path), bench.load("with").clip.size
        taken = (np.arange(int(len(shown) * FPS / rate)) * rate / FPS).astype(int)
        things = REAL.get(path.stem, REAL["squats"])
        given = shaped(MaskSequence(shown[taken][:, None], (path.stem,), FPS), size, "pad")
        prompt = f"{things[number % len(things)]}; {PLACES[number // len(things) % len(PLACES)]}"
        made, _ = bench.make("with", prompt, number, given, len(given))
        found[f"{path.stem}: masks"] = s_m(made, given, both=True) | looks(bench, made, prompt)
        if number == 0:
            recorded = padded(read_video(video_path).frames[first:][taken], size)
            found[f"{path.stem}: recording"] = s_m(recorded, given, both=True)
    return found


def padded(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames made smaller, in the middle of black ones, where `shaped` has their masks."""
    import cv2

    ratio = min(size[0] / frames.shape[2], size[1] / frames.shape[1])
    width, height = round(ratio * frames.shape[2]), round(ratio * frames.shape[1])
    x, y = (size[0] - width) // 2, (size[1] - height) // 2
    new = np.zeros((len(frames), size[1], size[0], 3), np.uint8)
    for target, frame in zip(new, frames, strict=True):
        target[y : y + height, x : x + width] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return new


def appearance(bench: Bench, number: int) -> Rows:
    """The same masks, other words: another place, another subject of the same kind."""
    clip = bench.seen.sample(number, CLIP_FRAMES)
    given, prompt = truth_masks(clip), clip.scene.prompt
    subject = clip.scene.subjects[0]
    stays, _, place = prompt.rpartition("; ")
    others = [
        other.scene.subjects[0].appearance
        for other in bench.reference
        if other.scene.subjects[0].label == subject.label and other.scene.subjects[0].appearance != subject.appearance
    ]
    prompts = {"same words": prompt}
    prompts["other place"] = f"{stays}; {next(p for p in np.roll(PLACES, number) if p != place)}"
    if others and subject.appearance in prompt:
        prompts["other subject"] = prompt.replace(subject.appearance, others[number % len(others)], 1)
    judge, found = shipped_text_judge(), {}
    for row, words in prompts.items():
        video, _ = bench.make("with", words, number, given, CLIP_FRAMES)
        found[row] = looks(bench, video, words) | s_m(video, given)
        if row != "same words":
            new, old = (judge.of_prompts([words, prompt]) @ judge.of_video(video)).tolist()
            found[row] |= {"text, old words": 100 * old, "new words win": float(new > old)}
    return found


def timings(bench: Bench) -> dict[str, Rows]:
    """Each length in a process of its own: seconds after loading, peak memory; frames go to disk."""
    found = {}
    for seconds in (4, 8, 16, 32):
        call = [sys.executable, __file__, "--measure", str(seconds)]
        for flag, path in (("--model", bench.model), ("--adapter", bench.adapter)):
            call += [flag, str(path)] if path else []
        found[f"{seconds} s"] = json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)
    return {"0": found}


def measure(bench: Bench, seconds: float) -> None:
    """One moving square, so many seconds; prints JSON."""
    model = bench.load("with")
    width, height = model.clip.size
    square = np.zeros((round(seconds * FPS), 1, height, width), bool)
    for t, frame in enumerate(square):
        left = width // 4 + int(width / 6 * np.sin(t / FPS))
        frame[0, height // 3 : 3 * height // 4, left : left + width // 4] = True
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        given = MaskSequence(square, ("a man",), FPS)
        made = animate(given, "a man in a red suit; by the sea", seconds, backbone=model, out=Path(folder) / "it.mp4")
    took, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clips = len(made.seams) + 1
    memory = {"peak MB": peak / 1024, "MB with the model loaded": loaded / 1024}
    print(json.dumps({"seconds": took, "clips": clips, "seconds a clip": took / clips} | memory))


TABLES: dict[str, Callable[[Bench, int], Rows]] = {
    "masks": masks, "consistency": consistency, "length": length, "real": real, "appearance": appearance,
}  # fmt: skip
COUNTS = {"masks": 100, "consistency": 60, "length": 10, "real": 8, "appearance": 40}
"""Clips of each table, where `--clips` does not ask for fewer: 25 minutes of one core in all."""


def main(
    out: tuple[Path, ...] = (),
    model: Path | None = None,
    adapter: Path | None = None,
    adapter_without: Path | None = None,
    capture: Path | None = None,
    photographs: Path | None = None,
    recordings: Path | None = None,
    clips: int | None = None,
    tables: Annotated[str, tyro.conf.arg(metavar="NAMES")] = ",".join((*TABLES, "time")),
    share: Annotated[str, tyro.conf.arg(metavar="K/N")] = "0/1",
    measure_seconds: Annotated[float | None, tyro.conf.arg(name="measure")] = None,
) -> None:
    """Fill in the tables that are asked for, print them, and write them beside each other as OUT.json and OUT.md."""
    logging.getLogger("kinema").setLevel(logging.ERROR)
    bench = Bench(model, adapter, adapter_without, capture, photographs, recordings)
    if measure_seconds is not None:
        measure(bench, measure_seconds)
        return
    if not out:
        raise InputError("out", "is not given", "--out results.json")
    every: dict[str, dict] = {}
    for file in out:
        for name, rows in (json.loads(file.read_text()) if file.exists() else {}).items():
            every.setdefault(name, {}).update(rows)
    wanted = [name for name in tables.split(",") if name != "real" or recordings is not None]
    first, step = (int(x) for x in share.split("/"))
    if "time" in wanted and "time" not in every and first == 0 and clips != 0:
        every["time"] = timings(bench)
    for name in [name for name in wanted if name in TABLES]:
        mine = every.setdefault(name, {})
        for number in range(first, min(COUNTS[name], COUNTS[name] if clips is None else clips), step):
            if str(number) not in mine:
                mine[str(number)] = TABLES[name](bench, number)
                write(out[0], json.dumps(every))
    text = "\n".join(markdown(name, mine) for name, mine in every.items() if mine)
    print(text)
    write(out[0], json.dumps(every))
    write(out[0].with_suffix(".md"), text)


def write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def markdown(name: str, mine: dict[str, Rows]) -> str:
    """One table: means over clips with 95 % intervals, and the Frechet distance to the true clips where there are such."""
    rows = list(dict.fromkeys(row for clip in mine.values() for row in clip))
    having = {row: [clip[row] for clip in mine.values() if row in clip] for row in rows}
    metrics = dict.fromkeys(key for row in rows for one in having[row] for key in one if not key.startswith("feature"))
    distances = frechet_to_truth(having)
    head = ["", "clips", *metrics, *(["Frechet"] if distances else [])]
    lines = [f"\n### {name}\n", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row, str(len(having[row]))]
        for metric in metrics:
            values = np.array([one[metric] for one in having[row] if np.isfinite(one.get(metric, np.nan))])
            found = bootstrap_interval(values) if len(values) else None
            cells.append(f"{found.value:.4g} [{found.low:.3g}, {found.high:.3g}]" if found else "")
        lines.append("| " + " | ".join(cells + ([distances.get(row, "")] if distances else [])) + " |")
    return "\n".join(lines) + "\n"


def frechet_to_truth(having: dict[str, list[dict[str, float]]]) -> dict[str, str]:
    """Of clip features of each row; with so few clips they order rows and no more."""
    vectors = {}
    for row, clips in having.items():
        found = [[one[key] for key in sorted(one) if key.startswith("feature")] for one in clips]
        if len(found) > 1:
            vectors[row] = np.array(found)
    truth = vectors.pop("true video", None)
    if truth is None or not truth.size:
        return {}
    return {row: f"{frechet_distance(values, truth):.2f}" for row, values in vectors.items()}


if __name__ == "__main__":
    tyro.cli(main)
