"""The verb that gives a picture the motion of a video: `kinema animate-like`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from kinema.cli_video import stage_bars
from kinema.console import Output, check_output, count_frames, option, say, working
from kinema.errors import InputError


def animate_like(
    video: Annotated[Positional[Path], arg(name="video", metavar="VIDEO")],
    image: Annotated[Positional[Path], arg(name="image", metavar="IMAGE")],
    out: Output,
    pair: Annotated[UseAppendAction[tuple[str, ...]], option("A:B", "default: by kind and place")] = (),
    prompt: Annotated[str | None, option("TEXT")] = None,
    frames: Annotated[int | None, option("N", "default: as long as the video")] = None,
    seconds: Annotated[float | None, option("S")] = None,
    seed: Annotated[int, arg(metavar="N")] = 42,
    preset: Annotated[str, arg(metavar="NAME")] = "mini-svd",
    model: Annotated[Path | None, option("FOLDER", "default: the preset's")] = None,
    adapter: Annotated[Path | None, option("FILE", "default: the preset's")] = None,
    memory: Annotated[
        Literal["fast", "balanced", "low", "int8"] | None, option("fast|balanced|low|int8", "default: the preset's")
    ] = None,
    perception: Annotated[str, arg(metavar="mini|public")] = "mini",
    models: Annotated[Path | None, option("DIR", "default: where kinema fetch puts them")] = None,
    stages: Annotated[Path | None, option("DIR")] = None,
    watermark: bool = False,
) -> None:
    """The motion of a video on the looks of a picture: people move as people do in it, animals as animals.

    $ kinema animate-like dance.mp4 photo.jpg --out video.mp4
    $ kinema animate-like duet.mp4 friends.jpg --out video.mp4 --pair 1:2 --pair 2:1
    $ kinema animate-like dance.mp4 photo.jpg --out video.mp4 --stages stages/ --perception public

    Args:
        video: whose motion it is to be
        image: the picture that the video begins with; its subjects keep their own proportions
        out: where to write the video, .mp4, or a folder for a PNG a frame. OUT.json records how it was made
        pair: subject A of the video moves subject B of the picture, both counted from the left, from 1. Without,
            those of one kind that stand in like places; who has no partner keeps still
        prompt: what happens, in words
        frames: frames of the video
        seconds: its length instead
        seed: another number gives another video
        preset: which model: mini-svd comes with kinema, the others with --model (docs/backbones.md)
        model: a model folder as diffusers lays it out, safetensors
        adapter: what makes that model see parts, .safetensors
        memory: how much of the model lies on the GPU at a time; less takes longer
        perception: what looks at VIDEO: mini, which ships, or public (kinema fetch public)
        models: the folder with the four models of public
        stages: keep what every stage made, and the scene of VIDEO as source.npz; what is unchanged is used again
        watermark: also put an invisible mark into OUT's frames, which kinema verify finds (docs/provenance.md)
    """
    import json

    from kinema.atomic import atomic_path
    from kinema.checkpoints import sha256
    from kinema.like import animate_like as run
    from kinema.provenance import check_signer, write_generated
    from kinema.stages import record_of
    from kinema.video import frame_rate, read_video

    check_output(out, (".mp4", ".png", ""))
    check_signer()
    pairs = [_pair(text) for text in pair]
    with working("reading the video"):
        clip = read_video(video, None, None if seconds is None else max(1, round(seconds * frame_rate(video))))
    with stage_bars() as progress:
        progress("look", 0, 1)
        result = run(
            clip, image, prompt, pairs, perception, models, stages, frames=frames, seconds=seconds, seed=seed,
            preset=preset, model=model, adapter=adapter, memory=memory, progress=progress,
        )  # fmt: skip
    write_generated(result.video.frames, out, result.video.fps, preset, watermark)
    made = {
        "command": "animate-like",
        "video": str(video),
        "image": str(image),
        "pairs": pairs,
        "perception": perception,
    }
    given = {"video": sha256(video), "image": sha256(image)}
    with atomic_path(Path(f"{out}.json")) as temporary:
        temporary.write_text(json.dumps({**made, "sha256_given": given, **record_of(result)}, indent=2) + "\n")
    took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    say(f"{out}: {count_frames(len(result.video.frames))} at {result.video.fps:g} fps ({took})")
    if stages:
        say(f"{stages / 'sheet.png'}: the stages side by side")


def _pair(text: str) -> tuple[int, int]:
    """'1:2' -> (1, 2)."""
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    if not match:
        raise InputError("--pair", f"is {text!r}", "two numbers, such as 1:2, each counted from the left")
    return int(match[1]), int(match[2])
