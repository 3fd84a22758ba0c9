"""ReVision at mini scale, against its own base: control, targets, three stages, human animation, occlusion, time.

python benchmarks/revision.py --capture cmu_test.npz [--photographs photos/] --out results.json [--tables control,...]
python benchmarks/revision.py ... --out half0.json --share 0/2        (and 1/2 beside it, on another core)
python benchmarks/revision.py --out half0.json half1.json --clips 0   (the tables of both together)

All on the held-out world (other people, textures, looks), seed 42, every table in the same run as its base. What is
"re-extracted" is seen by mini-perception, whose own limits the row "true video" states. A stopped run goes on: clips that
are in OUT already are not made again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from revision_tables import COUNTS, TABLES, Job, frames_of, sampled, three_stages

from kinema.errors import InputError
from kinema.evaluate.bootstrap import bootstrap_interval
from kinema.evaluate.frechet import frechet_distance
from kinema.presets import find_preset
from kinema.world.sampler import World

ROUNDS = 15


def timings(world: World, preset: str) -> dict[str, float]:
    """Seconds of one stage and of three, warm, medians of `ROUNDS` in turn, since the speed of a machine varies; peak
    memory of the process, MB; seconds by length."""
    import resource

    job = Job(world.sample(10_000), 0, preset)
    picture, loaded = frames_of(job.clip)[0], find_preset(preset)
    rounds: list[dict[str, float]] = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        sampled(picture, loaded, None, None)
        middle = time.perf_counter()
        result = three_stages(job)
        one, three = middle - began, time.perf_counter() - middle
        stages = {f"{k} s": v for k, v in result.seconds.items()}
        rounds.append({"one stage s": one, "three stages s": three, "three over one": three / one, **stages})
    found = {name: float(np.median([r[name] for r in rounds[1:]])) for name in rounds[0]}
    found["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for frames in (32, 64, 128):
        began = time.perf_counter()
        three_stages(job, frames=frames)
        found[f"{frames} frames s"] = time.perf_counter() - began
        found[f"{frames} frames peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main(
    out: tuple[Path, ...],
    capture: Path | None = None,
    photographs: Path | None = None,
    clips: int = 200,
    tables: Annotated[str, tyro.conf.arg(metavar="NAMES")] = ",".join((*TABLES, "time")),
    share: Annotated[str, tyro.conf.arg(metavar="K/N")] = "0/1",
    preset: str = "mini-svd",
) -> None:
    """Fill in the tables that are asked for and print them."""
    every: dict[str, dict] = {}
    for file in out:
        for name, rows in (json.loads(file.read_text()) if file.exists() else {}).items():
            every.setdefault(name, {}).update(rows)
    wanted = [t for t in tables.split(",") if t in TABLES]
    first, step = (int(x) for x in share.split("/"))
    world = World.load(capture, photographs, "test") if clips or "time" in tables else None
    for number in range(first, clips, step):
        assert world is not None, "there is a world to sample"
        clip = None
        for name in wanted:
            mine = every.setdefault(name, {})
            if str(number) in mine or number >= COUNTS.get(name, clips):
                continue
            clip = clip or world.sample(number)
            try:
                mine[str(number)] = TABLES[name](Job(clip, number, preset))
            except InputError as error:
                mine[str(number)] = {"refused": {str(error).splitlines()[0]: 1.0}}
        if clip is not None:
            out[0].write_text(json.dumps(every))
    if "time" in tables.split(",") and first == 0 and clips:
        assert world is not None, "there is a world to sample"
        every["time"] = timings(world, preset)
        out[0].write_text(json.dumps(every))
    for name, mine in every.items():
        print(json.dumps(mine, indent=1)) if name == "time" else report(name, mine)


def report(name: str, mine: dict[str, dict[str, dict[str, float]]]) -> None:
    """Means over clips with 95 % intervals; medians, and the share within 12 %, for misses; what is pooled over pixels."""
    print(f"\n{name} ({len(mine)} clips)")
    rows = list(dict.fromkeys(row for clip in mine.values() for row in clip))
    features: dict[str, np.ndarray] = {}
    for row in rows:
        having = [clip[row] for clip in mine.values() if row in clip]
        features[row] = np.array([[h[k] for k in h if k.startswith("feature")] for h in having])
        words = []
        for metric in dict.fromkeys(k for h in having for k in h if not k.startswith("feature")):
            values = np.array([h[metric] for h in having if np.isfinite(h.get(metric, np.nan))])
            if len(values):
                found = bootstrap_interval(values, "median" if metric in MISSES else "mean")
                words.append(f"{metric} {found.value:.4g} [{found.low:.4g}, {found.high:.4g}]")
                words += [f"within 12 %: {(values <= 0.12).mean():.2f}"] if metric in MISSES else []
                if metric in POOLED:
                    pixels = [h[POOLED[metric]] for h in having if metric in h]
                    words.append(f"of all pixels: {np.average(values, weights=pixels):.3f}")
        print(f"  {row} ({len(having)}): {'; '.join(words)}")
    truth = features.pop("true video", np.zeros((0, 0)))
    for row, values in features.items():
        if truth.size and len(values) > 1:
            print(f"  Frechet distance on kinema-handcrafted, {row}: {frechet_distance(values, truth):.3f}")


MISSES = ("miss", "of masks")
"""Distances of a part's centre from the sketched one, shares of the picture's height."""
POOLED = {"right subject": "pixels", "right order where projected masks cross too": "pixels where they do"}
"""Shares of pixels of which clips have very different numbers, and what tells how many."""


if __name__ == "__main__":
    tyro.cli(main)
