"""What a step of each training costs, and how much of it is drawing its data: the mini presets, one thread.

python benchmarks/train.py [--capture cmu_train.npz] [--only pmp mvideo] [--steps 8]

CPU seconds, the median of the steps after the first, by the trainings' own code; the data come from the procedural world,
on the core that trains. With a GPU the same trainings run there, and the seconds are those of the clock.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from kinema.checkpoints import MINI_COGVIDEOX, MINI_SVD
from kinema.reinforce.cogvideox import ClipSettings
from kinema.train import autoencoder, lifter, loop, mvideo, perception, pmp, segmenter, text_judge, video_autoencoder
from kinema.train import world_video as world

CLIPS, POOL = 8, 8
"""Of caches and pools, which only take longer to make where they are larger."""
MINI_CLIP = ClipSettings(17, (128, 128), (64, 64))
SHORT_CLIP = replace(MINI_CLIP, frames=13)
"""The shipped captures have no longer ones with one before them."""


@dataclass
class Clock:
    """Stands for `drawn_ahead` of the loop, and takes down when each batch was asked for, and there."""

    asked: list[float]
    drawn: list[float]

    @staticmethod
    def now() -> float:
        return time.perf_counter() if torch.cuda.is_available() else time.process_time()

    def __call__(self, draw: Callable[[int], Any], numbers: Iterable[int], _: int) -> Iterator[tuple[int, Any]]:
        for number in numbers:
            self.asked.append(self.now())
            batch = draw(number)
            self.drawn.append(self.now())
            yield number, batch

    def medians(self) -> tuple[float, float]:
        """Of a step, and of drawing its batch; the first one compiles."""
        steps = [after - before for before, after in zip(self.asked[1:], self.asked[2:], strict=False)]
        draws = [end - begin for begin, end in zip(self.asked[1:], self.drawn[1:], strict=True)]
        return statistics.median(steps), statistics.median(draws)


def trainings(capture: Path | None, folder: Path, steps: int) -> dict[str, Callable[[], Any]]:
    """Each as its command runs it, for a few steps, with nothing saved on the way."""

    def short(config: Any) -> Any:
        run = replace(config.loop, steps=steps, checkpoint_every=steps + 1, tensorboard=False)
        return replace(config, loop=run, threads=1)

    clip = MINI_CLIP if capture else SHORT_CLIP

    def data(name: str) -> mvideo.WorldClips:
        return mvideo.WorldClips(folder / name, CLIPS, capture)

    made: dict[str, Callable[[], Any]] = {
        "autoencoder": lambda: autoencoder.train_autoencoder(
            short(autoencoder.AutoencoderTrainConfig(folder / "ae", capture, start=MINI_SVD / "vae"))
        ),
        "world-video": lambda: world.train_world_video(
            short(world.VideoTrainConfig(folder / "wv", folder / "latents", capture, clips=CLIPS))
        ),
        "revision (mini-svd)": lambda: world.train_revision(
            short(world.VideoTrainConfig(folder / "rv", folder / "latents", capture, clips=CLIPS))
        ),
        "perception": lambda: perception.train_perception(
            short(perception.PerceptionTrainConfig(folder / "pc", capture, validation_clips=1, pool=POOL))
        ),
        "lifter": lambda: lifter.train_lifter(short(lifter.LifterTrainConfig(folder / "lf", capture))),
        "video-autoencoder": lambda: video_autoencoder.train_video_autoencoder(
            short(video_autoencoder.VideoAutoencoderTrainConfig(folder / "va", capture, start=MINI_COGVIDEOX / "vae"))
        ),
        "mvideo-base": lambda: mvideo.train_base(
            short(mvideo.BaseTrainConfig(folder / "mb", MINI_COGVIDEOX, data("clips"), clip=clip))
        ),
        "mvideo (batch 8)": lambda: mvideo.train_mvideo(
            short(mvideo.MVideoTrainConfig(folder / "mv", MINI_COGVIDEOX, data("clips"), clip=clip, batch=8))
        ),
        "segmenter": lambda: segmenter.train_segmenter(
            short(segmenter.SegmenterTrainConfig(folder / "sg", capture, validation_clips=1, pool=POOL))
        ),
        "text-judge": lambda: text_judge.train_text_judge(
            short(text_judge.TextJudgeTrainConfig(folder / "tj", capture, validation_clips=10, pool=POOL))
        ),
    }
    if capture is not None:
        made["pmp"] = lambda: pmp.train_pmp(short(pmp.PmpTrainConfig(capture, folder / "pm")))
    return made


def main(capture: Path | None = None, only: tuple[str, ...] = (), steps: int = 8) -> None:
    """Print the table.

    Args:
        capture: human capture, multi-clip npz; without it there is neither pmp nor lifter
        only: names to time; default: all
        steps: of each, the first of which is not counted
    """
    print("| training | s a step | drawing data |")
    print("| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for name, run in trainings(capture, Path(scratch), steps).items():
            if (only and name.split()[0] not in only) or (capture is None and name == "lifter"):
                continue
            clock = Clock([], [])
            loop.drawn_ahead = clock  # type: ignore[assignment]
            run()
            step, draw = clock.medians()
            print(f"| {name} | {step:.2f} | {draw / step:.1%} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
