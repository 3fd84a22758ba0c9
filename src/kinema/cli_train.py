"""The verbs that train what kinema ships: `kinema train NAME`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

from tyro.conf import arg

from kinema.console import say
from kinema.errors import InputError


def train_pmp() -> None:
    """Train the motion prior; the same command again goes on after a stop.

    $ kinema train pmp --capture cmu_train.npz --validation cmu_val.npz --run runs/pmp
    """


def train_autoencoder() -> None:
    """Make mini-svd's autoencoder; the same command again goes on after a stop.

    $ kinema train autoencoder --capture cmu_train.npz --run runs/autoencoder --out mini_svd/vae
    """


def train_world_video() -> None:
    """Train mini-svd, image to video, on the procedural world; the same command again goes on after a stop.

    $ kinema train world-video --capture cmu_train.npz --cache cache --run runs/base --out mini_svd
    """


def train_revision() -> None:
    """Train a motion adapter; the same command again goes on after a stop. Without --preset: that of mini-svd.

    $ kinema train revision --capture cmu_train.npz --cache cache --run runs/revision --out adapter.safetensors
    $ kinema train revision --preset svd --model DIR --shards shards/ --cache cache --run runs/svd --out svd.safetensors
    $ accelerate launch --config_file configs/accelerate/fsdp2.yaml -m kinema train revision --preset wan --model DIR
        --shards shards/ --cache cache --run runs/wan --out wan.safetensors
    $ kinema train revision --preset svd --help                 (presets: svd, svd-tiktok, wan)
    """


def train_perception() -> None:
    """Train mini-perception on the procedural world; the same command again goes on after a stop.

    $ kinema train perception --capture cmu_train.npz --run runs/perception --out perception.safetensors
    """


def train_lifter() -> None:
    """Train the lifter of 2D joints to 3D pose; the same command again goes on after a stop.

    $ kinema train lifter --capture cmu_train.npz --run runs/lifter --out human.safetensors
    """


def train_video_autoencoder() -> None:
    """Make mini-cogvideox's autoencoder; the same command again goes on after a stop.

    $ kinema train video-autoencoder --capture cmu_train.npz --run runs/vae --out mini_cogvideox/vae
    """


def train_mvideo_base() -> None:
    """Train a CogVideoX, text to video, on the procedural world; the same command again goes on after a stop.

    $ kinema train mvideo-base --base mini_cogvideox --data.capture cmu_train.npz --data.cache cache --run runs/base
        --clip.frames 17 --clip.size 128 128 --clip.small-size 64 64 --out mini_cogvideox
    """


def train_mvideo() -> None:
    """Train the adapter for masks and the clip before of any CogVideoX; the same command again goes on after a stop.

    $ kinema train mvideo --base CogVideoX-5b --shards shards/ --data.cache cache --run runs/5b --at-once 1 --out adapter
    $ kinema train mvideo --base mini_cogvideox --data.capture cmu_train.npz --data.cache cache --run runs/adapter
        --clip.frames 17 --clip.size 128 128 --clip.small-size 64 64 --out mini_cogvideox/adapter
    """


def train_segmenter() -> None:
    """Train a segmenter that judges videos, told by boxes; the same command again goes on after a stop.

    $ kinema train segmenter --model.sees grey --capture cmu_train.npz --run runs/segmenter --out segmenter.safetensors
    """


def train_text_judge() -> None:
    """Train the judge of videos against their prompts; the same command again goes on after a stop.

    $ kinema train text-judge --capture cmu_train.npz --run runs/text --out text.safetensors
    """


def _preset(argv: Sequence[str]) -> str | None:
    """What follows --preset."""
    for flag, value in zip(argv, (*argv[1:], ""), strict=True):
        if flag == "--preset":
            return value
        if flag.startswith("--preset="):
            return flag.partition("=")[2]
    return None


TRAINABLE: dict[str, Callable[[], None]] = {
    "pmp": train_pmp,
    "autoencoder": train_autoencoder,
    "world-video": train_world_video,
    "revision": train_revision,
    "perception": train_perception,
    "lifter": train_lifter,
    "video-autoencoder": train_video_autoencoder,
    "mvideo-base": train_mvideo_base,
    "mvideo": train_mvideo,
    "segmenter": train_segmenter,
    "text-judge": train_text_judge,
}
"""Name -> its help."""
_CODE = {
    "pmp": ("kinema.train.pmp", "PmpTrainConfig", "train_pmp"),
    "autoencoder": ("kinema.train.autoencoder", "AutoencoderTrainConfig", "train_autoencoder"),
    "world-video": ("kinema.train.world_video", "VideoTrainConfig", "train_world_video"),
    "revision": ("kinema.train.world_video", "VideoTrainConfig", "train_revision"),
    "perception": ("kinema.train.perception", "PerceptionTrainConfig", "train_perception"),
    "lifter": ("kinema.train.lifter", "LifterTrainConfig", "train_lifter"),
    "video-autoencoder": ("kinema.train.video_autoencoder", "VideoAutoencoderTrainConfig", "train_video_autoencoder"),
    "mvideo-base": ("kinema.train.mvideo", "BaseTrainConfig", "train_base"),
    "mvideo": ("kinema.train.mvideo", "MVideoTrainConfig", "train_mvideo"),
    "segmenter": ("kinema.train.segmenter", "SegmenterTrainConfig", "train_segmenter"),
    "text-judge": ("kinema.train.text_judge", "TextJudgeTrainConfig", "train_text_judge"),
}


def train_command(name: str, argv: Sequence[str] = ()) -> Callable[..., None]:
    """The real verb: its flags come from a configuration that lies beside torch, hence only when asked for.

    `--preset` among `argv` says which configuration that is.
    """
    preset = _preset(argv) if name == "revision" else None
    if preset is None:
        module, configuration, function = _CODE[name]
        config_type, train = (getattr(import_module(module), item) for item in (configuration, function))
    else:
        full = import_module("kinema.train.revision")
        if preset not in full.PRESETS:
            raise InputError("--preset", f"is {preset!r}", f"one of {', '.join(full.PRESETS)}; none for mini-svd")
        config_type, train = full.PRESETS[preset], full.train_full_revision

    def command(config) -> None:
        logging.getLogger("kinema").setLevel(logging.INFO)
        say(f"{train(config)}: trained")

    command.__doc__ = TRAINABLE[name].__doc__
    command.__annotations__["config"] = Annotated[config_type, arg(name="")]
    return command
