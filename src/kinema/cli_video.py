"""The verbs for video: generate, evaluate, world sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.console import Console
from tyro.conf import Positional, UseAppendAction, arg

from kinema.console import Output, check_output, count_frames, option, parse_size, say, with_progress
from kinema.evaluate.report import evaluate

if TYPE_CHECKING:
    from kinema.revision import Progress

__all__ = ["evaluate", "generate", "sample"]


def generate(
    image: Annotated[Positional[Path], arg(name="image", metavar="IMAGE")],
    out: Output,
    prompt: Annotated[str | None, option("TEXT")] = None,
    target: Annotated[Path | None, option("SKETCH.json")] = None,
    drag: Annotated[UseAppendAction[tuple[tuple[str, str, str], ...]], option("PART X,Y X,Y", "may be repeated")] = (),
    motion: Annotated[Path | None, option("FILE", "default: from a coarse video")] = None,
    strength: Annotated[float | None, option("S", "default: the preset's")] = None,
    frames: Annotated[int | None, option("N", "default: the preset's clip")] = None,
    seconds: Annotated[float | None, option("S")] = None,
    seed: Annotated[int, arg(metavar="N")] = 42,
    preset: Annotated[str, arg(metavar="NAME")] = "mini-svd",
    start: Annotated[Literal["reposed", "noise"] | None, option("reposed|noise", "default: the preset's")] = None,
    model: Annotated[Path | None, option("FOLDER", "default: the preset's")] = None,
    adapter: Annotated[Path | None, option("FILE", "default: the preset's")] = None,
    control: Annotated[
        Literal["parts", "depth", "openpose", "layout"] | None,
        option("parts|depth|openpose|layout", "default: the preset's"),
    ] = None,
    memory: Annotated[
        Literal["fast", "balanced", "low", "int8"] | None, option("fast|balanced|low|int8", "default: the preset's")
    ] = None,
    size: Annotated[str | None, option("WxH", "default: the preset's")] = None,
    speed: Literal["quality", "balanced", "fast"] = "quality",
    compile: bool = False,
    stages: Annotated[Path | None, option("DIR")] = None,
    from_stage: Annotated[Literal[1, 2, 3], arg(metavar="1|2|3")] = 1,
    watermark: bool = False,
) -> None:
    """Animate a picture: coarse video, its motion in 3D, refined, and the video that follows it (ReVision).

    $ kinema generate photo.jpg --out video.mp4 --prompt "a man waves"
    $ kinema generate photo.jpg --out video.mp4 --drag right_hand 60,70 40,30 --stages stages/
    $ kinema generate photo.jpg --out video.mp4 --motion dance.bvh --seconds 6
    $ kinema generate photo.jpg --out video.mp4 --stages stages/ --from-stage 2
    $ kinema generate photo.jpg --out video.mp4 --preset vace-1.3b --model Wan2.1-VACE-1.3B-diffusers
    $ kinema generate photo.jpg --out video.mp4 --speed balanced
    $ torchrun --nproc-per-node 2 -m kinema generate photo.jpg --out video.mp4 --preset wan

    Args:
        image: the picture that the video begins with
        out: where to write the video, .mp4, or a folder for a PNG a frame. OUT.json records how it was made
        prompt: what happens, in words
        target: a sketch of where parts are to be at the end (docs/control.md)
        drag: the same by dragging: a part (or auto), from where, to where, in pixels of the picture
        motion: what the first person or animal does: .npz (AMASS, SMPL-X), .bvh, .glb, .gltf
        strength: how lively the motion is to be, from 0 (calm) to 1 (lively)
        frames: frames of the video
        seconds: its length instead
        seed: another number gives another video
        preset: which model: mini-svd comes with kinema, the others with --model (docs/backbones.md)
        start: whether stage 3 starts from the reposed picture or from noise
        model: a model folder as diffusers lays it out, safetensors
        adapter: what makes that model see parts, .safetensors
        control: how the model is told the motion
        memory: how much of the model lies on the GPU at a time; less takes longer. See kinema doctor --preset NAME
        size: about how large frames are; their shape is the picture's
        speed: quality is the plain model; the others save work, and change the video (docs/speed.md)
        compile: put the model's blocks through torch.compile: minutes once, then quicker steps
        stages: keep what every stage made; what is unchanged is used again, and a stopped run goes on
        from_stage: go on from the scene (2) or the refined scene (3) in the stages folder, edited or not
        watermark: also put an invisible mark into OUT's frames, which kinema verify finds (docs/provenance.md)
    """
    import json

    from kinema.atomic import atomic_path
    from kinema.motion_io import load_motion
    from kinema.provenance import check_signer, write_generated
    from kinema.reinforce.parallel import is_first
    from kinema.reinforce.speed_levels import speed_of
    from kinema.revision import generate as run
    from kinema.sketch import parse_drag
    from kinema.stages import record_of

    check_output(out, (".mp4", ".png", ""))
    check_signer()
    drags = [parse_drag(words) for words in drag]
    moved = load_motion(motion) if motion else None
    with stage_bars() as progress:
        result = run(
            image, prompt, target, drags, moved, strength, frames, seconds, seed, preset, start, stages, from_stage,
            progress, model, adapter, control, memory, speed_of(preset, speed, compile),
            parse_size(size) if size else None,
        )  # fmt: skip
    if not is_first():
        return
    write_generated(result.video.frames, out, result.video.fps, preset, watermark)
    with atomic_path(Path(f"{out}.json")) as temporary:
        temporary.write_text(json.dumps(record_of(result), indent=2) + "\n")
    took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    say(f"{out}: {count_frames(len(result.video.frames))} at {result.video.fps:g} fps ({took})")
    if stages:
        say(f"{stages / 'sheet.png'}: the stages side by side")


@contextmanager
def stage_bars() -> Iterator[Progress]:
    """A bar a stage, with the time left, on a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, object] = {}

        def report(stage: str, done: int, total: int) -> None:
            for name, task in tasks.items():
                if name != stage:
                    bars.update(task, completed=bars.tasks[task].total)  # type: ignore[arg-type, index]
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield report
        for task in tasks.values():
            bars.update(task, completed=bars.tasks[task].total)  # type: ignore[arg-type, index]


def sample(
    out: Output,
    n: Annotated[int, arg(name="n", aliases=["-n"], metavar="N")] = 8,
    capture: Annotated[Path | None, option("FILE", "default: a few shipped clips")] = None,
    photographs: Annotated[Path | None, option("DIR", "default: procedural backdrops only")] = None,
    split: Literal["train", "test"] = "train",
    seed: Annotated[int, arg(metavar="N")] = 0,
    wide: bool = False,
) -> None:
    """Make clips of the procedural world with their truth: videos, part masks, scenes, captions, a contact sheet.

    $ kinema world sample --out clips/ -n 8
    $ kinema world sample --out clips/ -n 200 --capture cmu_test.npz --split test

    Args:
        out: folder for NAME.mp4, NAME_parts.mp4, NAME.npz (part_ids, subject_ids, depth_m), NAME_scene.npz, NAME.txt
        n: how many
        capture: motion capture for the people (multi-clip npz)
        photographs: a folder of pictures for backdrops
        split: train or test: their looks, textures and places differ
        seed: of the first clip; the others count on
        wide: more animals, robots, riders and places, in shorter captions
    """
    import cv2
    import numpy as np

    from kinema.atomic import atomic_path
    from kinema.errors import InputError
    from kinema.motion_io.scene import save_scene
    from kinema.render.palette import parts_to_rgb
    from kinema.video import write_video
    from kinema.world.sampler import World

    if n < 1:
        raise InputError("-n", f"is {n}", expected="at least 1")
    if not out.parent.is_dir() or (out.exists() and not out.is_dir()):
        raise InputError(out, "cannot be made", expected="the name of a folder, in a folder that exists")
    out.mkdir(exist_ok=True)
    world = World.load(capture, photographs, split, wide)
    rows = []
    for k in with_progress(range(n), n, "clips"):
        clip, name = world.sample(seed + k), out / f"{seed + k:06d}"
        write_video(clip.video.frames, name.with_suffix(".mp4"), clip.video.fps)
        write_video(parts_to_rgb(clip.part_ids), Path(f"{name}_parts.mp4"), clip.video.fps, lossless=True)
        save_scene(clip.scene, Path(f"{name}_scene.npz"))
        with atomic_path(name.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, part_ids=clip.part_ids, subject_ids=clip.subject_ids, depth_m=clip.depth_m)
        name.with_suffix(".txt").write_text(clip.scene.prompt + "\n")
        if len(rows) < 12:
            moments = [0, 5, 10, 15]
            rows.append(np.concatenate([*clip.video.frames[moments], *parts_to_rgb(clip.part_ids[moments[::3]])], 1))
    with atomic_path(out / "sheet.png") as temporary:
        cv2.imwrite(str(temporary), np.concatenate(rows)[..., ::-1])
    say(f"{out}: {n} clips; {out / 'sheet.png'} shows the first")
