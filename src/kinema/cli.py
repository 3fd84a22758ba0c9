"""The command line: one function a verb; tyro makes the flags from its signature and the help from its docstring.

The verbs for motion are here, those for video in `cli_video.py`, `cli_mvideo.py` and `cli_extract.py`, for masks in
`cli_masks.py`, those that train in `cli_train.py`. Heavy modules are imported inside the verbs, so that `kinema --help`
answers at once. What a user got wrong is printed without a traceback and ends with status 2; control-C ends with 130.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.logging import RichHandler
from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from kinema.atomic import clean_up_when_told_to_stop
from kinema.cli_annotate import annotate
from kinema.cli_doctor import doctor
from kinema.cli_extract import extract
from kinema.cli_fetch import fetch
from kinema.cli_like import animate_like
from kinema.cli_masks import MASKS_COMMANDS, mask
from kinema.cli_mvideo import animate
from kinema.cli_serve import serve
from kinema.cli_studio import studio
from kinema.cli_study import study
from kinema.cli_train import TRAINABLE, train_command
from kinema.cli_verify import verify
from kinema.cli_video import evaluate, generate, sample
from kinema.console import (
    MOTION_SUFFIXES,
    PLOT_SUFFIXES,
    VIDEO_SUFFIXES,
    BodyFile,
    Input,
    Output,
    check_output,
    count_frames,
    describe,
    hush,
    load_licensed,
    option,
    parse_frames,
    parse_size,
    said_once,
    say,
    with_progress,
    working,
)
from kinema.errors import InputError
from kinema.reinforce.parallel import is_first

MapName = Literal["parts", "mask", "depth", "normals", "openpose", "shaded"]
DESCRIPTION = """Direct the motion in video diffusion: animate a picture or masks, mend motion, draw control videos.
$ kinema generate photo.jpg --out video.mp4 --prompt "a man waves" --drag right_hand 60,70 40,30
$ kinema animate tiger/ --out tiger.mp4 --prompt "a tiger runs through snow" --seconds 12
$ kinema refine capture.bvh --out clean.npz --prompt "a man walks"
$ kinema render clean.npz --out parts.mp4 --map parts
"""


def refine(
    input: Input,
    out: Output,
    prompt: Annotated[str | None, option("TEXT")] = None,
    strength: Annotated[float | None, option("S", "default: that of the motion")] = None,
    hold: Annotated[str | None, option("FRAMES", "default: none")] = None,
    target: Annotated[Path | None, option("FILE")] = None,
    length: Annotated[int | None, option("N", "default: as it came")] = None,
    body: BodyFile = None,
) -> None:
    """Mend a motion: noise, shuffled and repeated frames and gaps go; clean motion stays.

    $ kinema refine noisy.bvh --out clean.npz
    $ kinema refine noisy.npz --out clean.bvh --prompt "a man walks" --hold first,last
    $ kinema refine walk.npz --out long.npz --length 128 --strength 0.7

    Args:
        input: the motion: .npz (AMASS, SMPL-X), .bvh, .glb, .gltf
        out: where to write the result; its suffix is the format. OUT.json records how it was made
        prompt: what the motion is, in words
        strength: how lively it is to be, from 0 (calm) to 1 (lively)
        hold: frames to keep as they are, such as 0,5-8,-1 or first,last
        target: a motion whose last frame the result ends in
        length: frames of the result; it is lengthened first where that is more
        body: the licensed SMPL-X (.npz) or SMAL (.pkl) file whose betas the motion has. Its bones say where the
            pelvis and the feet are; the shape itself stays as it is
    """
    from kinema.motion_io import load_motion, save_motion
    from kinema.optimize import optimizer
    from kinema.record import write_record

    check_output(out, MOTION_SUFFIXES)
    model = load_licensed(body)
    motion = load_motion(input, body=model)
    frames = parse_frames(hold, length or len(motion)) if hold else None
    goal = load_motion(target, body=model) if target else None
    with working("refining"):
        mended = optimizer.refine(motion, prompt, strength, frames, goal, length, body=model)
    save_motion(mended, out, model)
    settings = {"prompt": prompt, "strength": strength, "hold": frames, "target": target, "length": length}
    write_record(Path(f"{out}.json"), "refine", {"in": input, "out": out, "body": body, **settings})
    say(f"{out}: {describe(mended)}, mended from {input}")


def render(
    input: Input,
    out: Output,
    map: Annotated[MapName, arg(help_behavior_hint="(default: shaded)")] = "shaded",
    size: Annotated[str, arg(metavar="WxH")] = "1024x576",
    camera: Annotated[str, arg(metavar="fixed|orbit|follow|FILE")] = "fixed",
    fps: Annotated[float | None, option("F", "default: that of the motion")] = None,
    body: BodyFile = None,
) -> None:
    """Draw a motion as a control video, or as a picture to look at.

    $ kinema render walk.npz --out walk.mp4
    $ kinema render walk.npz --out parts.mp4 --map parts --size 832x480 --camera follow

    Args:
        input: the motion: .npz (AMASS, SMPL-X), .bvh, .glb, .gltf
        out: the video to write, .mp4; or a folder, for a PNG a frame
        map: what to draw
        size: width and height in pixels
        camera: how the camera moves, or a camera file (.npz, .json)
        fps: frames a second of the video; the motion is resampled to it
        body: a licensed SMPL-X (.npz) or SMAL (.pkl) file
    """
    from kinema.motion_io import load_motion
    from kinema.optimize.lengthen import resample
    from kinema.render.control_maps import render_frames
    from kinema.video import write_video

    check_output(out, VIDEO_SUFFIXES)
    pixels = parse_size(size)
    model = load_licensed(body)
    motion = load_motion(input, body=model)
    motion = motion if fps is None else resample(motion, fps=fps)
    with working("getting ready"):
        frames = render_frames(motion, map, camera, pixels, model)
    written = write_video(with_progress(frames, len(motion), f"drawing {map}"), out, motion.fps)
    made = out if out.suffix.lower() == ".mp4" else f"{out.with_suffix('')}/000000.png and on"
    say(f"{made}: {map}, {count_frames(written)} of {size}, {written / motion.fps:.1f} s at {motion.fps:g} fps")


def diagnose(
    input: Input,
    json: bool = False,
    plot: Annotated[Path | None, option("OUT.png")] = None,
    body: BodyFile = None,
) -> None:
    """Say what is wrong with a motion: which fault, in which frames, how bad, how to mend it.

    $ kinema diagnose capture.bvh
    $ kinema diagnose capture.bvh --json --plot faults.png

    Args:
        input: the motion: .npz (AMASS, SMPL-X), .bvh, .glb, .gltf
        json: print JSON instead of a table
        plot: also draw the faults over time
        body: a licensed SMPL-X (.npz) or SMAL (.pkl) file
    """
    from kinema.motion_io import load_motion
    from kinema.optimize.diagnosis import diagnose, plot_diagnosis

    if plot:
        check_output(plot, PLOT_SUFFIXES)
    model = load_licensed(body)
    motion = load_motion(input, body=model)
    with working("diagnosing"):
        found = diagnose(motion, model)
        if plot:
            plot_diagnosis(motion, found, plot, model)
    if json:
        sys.stdout.write(found.to_json() + "\n")
    else:
        Console().print(found.to_table())
    if plot:
        say(f"{plot}: the faults over time", err=json)


def convert(
    input: Input,
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    mapping: Annotated[Path | None, option("FILE")] = None,
    body: BodyFile = None,
) -> None:
    """Turn a motion file into another kind; the suffixes say which.

    $ kinema convert capture.bvh capture.npz
    $ kinema convert rig.bvh rig.glb --mapping joints.json

    Args:
        input: the motion: .npz (AMASS, SMPL-X), .bvh, .glb, .gltf
        out: where to write it: .npz, .bvh, .glb, .gltf
        mapping: JSON with {joint of the BVH: joint of SMPL-X}, for rigs whose names are not known
        body: the licensed SMPL-X (.npz) or SMAL (.pkl) file whose betas an .npz has, or is to have
    """
    from kinema.motion_io import load_motion, save_motion

    check_output(out, MOTION_SUFFIXES)
    model = load_licensed(body)
    motion = load_motion(input, mapping, model)
    save_motion(motion, out, model)
    say(f"{out}: {describe(motion)}, converted from {input}")


def retarget(
    input: Input,
    out: Output,
    betas: Annotated[str, arg(metavar="SHAPE")],
    body: BodyFile = None,
) -> None:
    """Give a motion another body shape, with the feet on the floor.

    $ kinema retarget walk.npz --out tall.npz --betas height=1.5,legs=1
    $ kinema retarget walk.npz --out other.npz --betas 2,0,-1

    Args:
        input: the motion: .npz (AMASS, SMPL-X), .bvh, .glb, .gltf
        out: where to write the result: .npz, .bvh, .glb, .gltf
        betas: the shape: names (height, weight, muscle, age, gender, legs, arms, shoulders, hips, torso; of an animal
            size, leg length and more) or numbers in order; what is left out is 0, the mean
        body: a licensed SMPL-X (.npz) or SMAL (.pkl) file, whose betas are numbers without names
    """
    from kinema.body.shape import parse_betas
    from kinema.motion_io import load_motion, save_motion
    from kinema.optimize import retarget as stage

    check_output(out, MOTION_SUFFIXES)
    model = load_licensed(body)
    motion = load_motion(input, body=model)
    motion = stage.retarget(motion, parse_betas(betas, motion.category, model is not None), model)
    save_motion(motion, out, model)
    say(f"{out}: {describe(motion)}, on the shape {betas}")


COMMANDS = (
    generate, animate, animate_like, extract, annotate, refine, render, diagnose, convert, retarget, evaluate,
    mask, fetch, studio, verify, study, serve, doctor,
)  # fmt: skip


def listed(command: Callable, wanted: bool) -> str | None:
    """The first line of its docstring for a list of commands; None, for all of it, where its own help is wanted."""
    return None if wanted else (command.__doc__ or "").partition("\n")[0]


def commands(argv: Sequence[str]) -> SubcommandApp:
    app, train, world, masks = SubcommandApp(), SubcommandApp(), SubcommandApp(), SubcommandApp()
    asked = list(argv[:2])
    for command in COMMANDS:
        name = command.__name__.replace("_", "-")
        app.command(name=name, help=listed(command, asked[:1] == [name]))(command)
    for name, command in TRAINABLE.items():
        wanted = asked == ["train", name]
        train.command(name=name, help=listed(command, wanted))(train_command(name, argv) if wanted else command)
    world.command(name="sample", help=listed(sample, asked == ["world", "sample"]))(sample)
    for command in MASKS_COMMANDS:
        name = command.__name__
        masks.command(name=name, help=listed(command, asked == ["masks", name]))(command)
    app.command(masks, name="masks", help="Edit, compose, preview and check mask sequences.")
    app.command(train, name="train", help="Train what kinema ships.")
    app.command(world, name="world", help="The procedural world that the mini models are trained on.")
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. Raises SystemExit with the status: 0 done, 1 not ready, 2 a user's mistake, 130 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    handler.addFilter(said_once())
    logging.basicConfig(
        level=logging.WARNING if is_first() else logging.ERROR, format="%(message)s", handlers=[handler]
    )
    hush()
    clean_up_when_told_to_stop()
    try:
        commands(argv).cli(prog="kinema", description=DESCRIPTION, args=argv)
    except InputError as error:
        say(f"error: {error}", err=True)
        raise SystemExit(2) from None
    except BrokenPipeError:
        # The reader of a pipe has gone (`kinema diagnose x | head`): nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        say(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        raise SystemExit(2) from None
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        from kinema.doctor import CACHE_MEND

        say(f"error: numba has nowhere to keep what it compiles\n  to mend:  {CACHE_MEND}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        say("stopped", err=True)
        raise SystemExit(130) from None
