"""What every speed-up saves and what it costs: time, dynamic degree, part mIoU; three stages against one.

python benchmarks/speed.py --capture cmu_test.npz [--photographs photos/] --out results.json [--clips 8] [--rows "fast|..."]
python benchmarks/speed.py --preset mini-cogvideox --capture cmu_test.npz [--photographs photos/] --out results.json

Of the mini models, on clips of the held-out world: seconds of CPU (`time.process_time`, so that other work on the machine
counts little; one thread). mini-svd: one stage from noise, three stages, and stage 3 on the true motion, as
benchmarks/revision.py has them. mini-cogvideox: a clip from its true masks, as benchmarks/mvideo.py has it. A stopped run
goes on. What the full models cost: benchmarks/speed_full.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro

from kinema import revision
from kinema.evaluate.bootstrap import bootstrap_interval
from kinema.evaluate.control_metrics import part_miou
from kinema.evaluate.mask_alignment import mask_overlaps, masks_of_ids
from kinema.evaluate.text_alignment import shipped_text_judge
from kinema.evaluate.video_metrics import dynamic_degree, psnr_db
from kinema.extract.box_segmenter import shipped_segmenter
from kinema.extract.mini_perception import steady_perception
from kinema.presets import Preset, backbone, find_clip_preset, find_preset
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.cogvideox import CogVideoX
from kinema.reinforce.part_condition import scene_condition
from kinema.reinforce.reposed import carry
from kinema.reinforce.speed import QUALITY, Deep, FirstBlock, Speed, Taylor
from kinema.reinforce.speed_levels import SPEEDS
from kinema.world.clip import WorldClip
from kinema.world.sampler import World

SEED = 42
CLIP_FRAMES = 17
"""Of mini-cogvideox."""
ROWS: dict[str, dict[str, Speed]] = {
    "mini-svd": {
        "quality": QUALITY,
        "deep cache, 1 of 2": Speed(cache=Deep(2)),
        "half of the steps": Speed(steps=0.5),
        "half, dpm++": Speed(steps=0.5, sampler="dpm++"),
        **SPEEDS["mini-svd"],
    },
    "mini-cogvideox": {
        "quality": QUALITY,
        "guidance, noise under 5": Speed(guided=(0.0, 5.0)),
        "guidance, noise over 0.5": Speed(guided=(0.5, 1e9)),
        "first block, 0.1": Speed(cache=FirstBlock(0.1)),
        "first block, 0.2": Speed(cache=FirstBlock(0.2)),
        "TaylorSeer, 1 of 2": Speed(cache=Taylor(2)),
        "two thirds of the steps": Speed(steps=0.67),
        "two thirds, TaylorSeer": Speed(steps=0.67, cache=Taylor(2)),
        "two thirds, dpm++": Speed(steps=0.67, sampler="dpm++"),
        **SPEEDS["mini-cogvideox"],
    },
}
Measured = tuple[dict[str, float], np.ndarray]
"""The numbers of a row, and the frames that the row "quality" is compared by."""


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    made = make()
    return made, time.process_time() - began


def of_stages(clip: WorldClip, speed: Speed) -> Measured:
    preset, picture = find_preset("mini-svd", speed=speed), clip.video.frames[0]
    condition = scene_condition(clip.scene, picture.shape[:2])
    filled, samples = preset.start_filled, preset.start_samples
    carried = carry(picture, clip.scene, clip.subject_ids[0], filled=filled, samples=samples)
    one, one_s = timed(lambda: sampled(picture, preset, None, None))
    moved, moved_s = timed(lambda: sampled(picture, preset, condition, carried))
    three, three_s = timed(lambda: revision.generate(picture, clip.scene.prompt, seed=SEED, speed=speed))
    return {
        "one stage s": one_s, "stage 3 s": moved_s, "three stages s": three_s,
        "one, dynamic": dynamic_degree(one), "three, dynamic": dynamic_degree(three.video.frames),
        "true, dynamic": dynamic_degree(clip.video.frames),
        "part mIoU": part_miou(condition.part_ids, steady_perception().parts(moved)),
    }, one  # fmt: skip


def sampled(picture: np.ndarray, preset: Preset, condition: Any, start: Any) -> np.ndarray:
    sampling = Sampling(
        preset.frames, (picture.shape[1], picture.shape[0]), preset.steps, SEED, preset.fps,
        start_noise=preset.start_noise, start_steps=preset.start_steps, speed=preset.speed,
    )  # fmt: skip
    frames, known = (None, None) if start is None else (start.frames, start.known)
    return backbone(preset).generate(picture, sampling, condition, frames, known)


@cache
def mini_cogvideox() -> CogVideoX:
    return find_clip_preset("mini-cogvideox").load()


def of_masks(clip: WorldClip, speed: Speed) -> Measured:
    prompt, judge = clip.scene.prompt, shipped_text_judge()
    model = replace(mini_cogvideox(), clip=find_clip_preset("mini-cogvideox", speed=speed).clip)
    masks = masks_of_ids(clip.subject_ids, [subject.label for subject in clip.scene.subjects], clip.video.fps)
    frames, seconds = timed(lambda: model.generate(prompt, SEED, masks))
    return {
        "clip s": seconds,
        "S_m grey": float(np.nanmean(mask_overlaps(frames, masks, shipped_segmenter("grey"), "every"))),
        "text": 100 * float(judge.of_video(frames) @ judge.of_prompts([prompt])[0]),
        "dynamic": dynamic_degree(frames), "true, dynamic": dynamic_degree(clip.video.frames),
    }, frames  # fmt: skip


def main(
    out: Path,
    preset: Literal["mini-svd", "mini-cogvideox"] = "mini-svd",
    capture: Path | None = None,
    photographs: Path | None = None,
    clips: int = 8,
    rows: Annotated[str, tyro.conf.arg(metavar="NAMES")] = "",
) -> None:
    """Fill in the rows that are asked for and print them.

    Args:
        out: the results, .json
        rows: names of rows, with | between them; by default all
    """
    torch.set_num_threads(1)
    every: dict[str, dict[str, dict[str, float]]] = json.loads(out.read_text()) if out.exists() else {}
    wide = preset == "mini-cogvideox"
    world, measure = World.load(capture, photographs, "test", wide=wide), of_masks if wide else of_stages
    wanted = {name: ROWS[preset][name] for name in (rows.split("|") if rows else ROWS[preset])}
    measure(sample(world, 10_000, wide), QUALITY)
    for number in range(clips):
        clip, plain = sample(world, number, wide), None
        for name, speed in wanted.items():
            mine = every.setdefault(name, {})
            if str(number) in mine:
                continue
            mine[str(number)], frames = measure(clip, speed)
            plain = frames if name == "quality" else plain
            if plain is not None:
                mine[str(number)]["PSNR to quality"] = min(psnr_db(frames, plain), 100.0)
        out.write_text(json.dumps(every))
    report(every)


def sample(world: World, number: int, wide: bool) -> WorldClip:
    return world.sample(number, CLIP_FRAMES) if wide else world.sample(number)


def report(every: dict[str, dict[str, dict[str, float]]]) -> None:
    """A table of means over clips with 95 % intervals; times too as a ratio to quality's one stage (or clip)."""
    first = next(iter(every["quality"].values()))
    print("| | " + " | ".join(first) + " |\n" + "|---" * (len(first) + 1) + "|")
    base = np.mean([row[next(iter(first))] for row in every["quality"].values()])
    for name, mine in every.items():
        cells = []
        for metric in first:
            values = np.array([row[metric] for row in mine.values() if np.isfinite(row.get(metric, np.nan))])
            if metric.endswith(" s"):
                cells.append(f"{values.mean():.2f} ({values.mean() / base:.2f})")
            elif len(values):
                found = bootstrap_interval(values, "mean")
                cells.append(f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
        print(f"| {name} ({len(mine)}) | {' | '.join(cells)} |")


if __name__ == "__main__":
    tyro.cli(main)
