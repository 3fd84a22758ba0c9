"""The command line: one function a verb; tyro makes the flags from its signature and the help from its docstring.

Heavy modules are imported inside the verbs, so that `kinema --help` answers at once. What a user got wrong is printed
without a traceback and ends with status 2; control-C ends with 130.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.logging import RichHandler
from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from kinema.atomic import clean_up_when_told_to_stop
from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.body.model import BodyModel
    from kinema.types import BodyMotion
    from kinema.video import Frame

MapName = Literal["parts", "mask", "depth", "normals", "openpose", "shaded"]
MOTION_SUFFIXES = (".npz", ".bvh", ".glb", ".gltf")
VIDEO_SUFFIXES = (".mp4", ".png", "")
"""The last two: a folder with a PNG a frame."""
PLOT_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
DESCRIPTION = """Human and animal motion: say what is wrong with it, mend it, draw it into control videos.
$ kinema diagnose capture.bvh
$ kinema refine capture.bvh --out clean.npz --prompt "a man walks"
$ kinema render clean.npz --out parts.mp4 --map parts
"""


def option(metavar: str, unset: str = "optional") -> Any:
    """How an option that may be left out shows in the help."""
    return arg(metavar=metavar, help_behavior_hint=f"({unset})")


Input = Annotated[Positional[Path], arg(name="in", metavar="IN")]
Output = Annotated[Path, arg(metavar="OUT")]
BodyFile = Annotated[Path | None, option("FILE", "default: the built-in body")]
"""Which body the betas and `trans` of a file belong to."""


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


def doctor() -> None:
    """Say whether this installation can do its work, and what to do where it can't. Status 1 where it can't."""
    from kinema.doctor import as_table, checks

    with working("looking"):
        rows = list(checks(Path.cwd()))
    Console().print(as_table(rows))
    bad = [row.name for row in rows if row.state == "bad"]
    say(f"Not ready: {', '.join(bad)}" if bad else "Ready.")
    if bad:
        raise SystemExit(1)


COMMANDS = (refine, render, diagnose, convert, retarget, doctor)


def train_pmp() -> None:
    """Train the motion prior; the same command again goes on after a stop.

    $ kinema train pmp --capture cmu_train.npz --validation cmu_val.npz --run runs/pmp
    """


def _train_pmp_command() -> Callable[..., None]:
    """The real `train pmp`: its flags come from a configuration that lies beside torch, hence only when asked for."""
    from kinema.train.pmp import PmpTrainConfig
    from kinema.train.pmp import train_pmp as train

    def command(config: Annotated[PmpTrainConfig, arg(name="")]) -> None:
        logging.getLogger("kinema").setLevel(logging.INFO)
        say(f"{train(config)}: the trained motion prior")

    command.__doc__ = train_pmp.__doc__
    command.__annotations__["config"] = Annotated[PmpTrainConfig, arg(name="")]
    return command


def check_output(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a result that could not be written before any work is done for it."""
    if path.suffix.lower() not in suffixes:
        found = f"has the suffix {path.suffix!r}" if path.suffix else "has no suffix"
        raise InputError(path, found, expected=f"one of {', '.join(s or 'a folder' for s in suffixes)}")
    if path.suffix and path.is_dir():
        raise InputError(path, "is a folder", expected="the name of a file to write")
    if not path.parent.is_dir():
        raise InputError(path, "its folder does not exist", mend=f"mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(path, "its folder cannot be written to", mend="choose another folder")


def load_licensed(file: Path | None) -> BodyModel | None:
    """The body of `--body`, which its suffix tells: SMAL comes as .pkl, SMPL-X as .npz. None for the built-in one."""
    from kinema.body.model import load_body

    return load_body("animal" if file.suffix.lower() == ".pkl" else "human", file) if file else None


def parse_frames(text: str, frames: int) -> list[int]:
    """'0,5-8,-1' or 'first,last' -> sorted frames in [0, frames); -1 is the last, ranges include both ends."""
    expected = f"frames from 0 to {frames - 1}, such as 0,5-8,-1 or first,last"
    chosen: set[int] = set()
    for piece in re.sub(r"\s", "", text).replace("first", "0").replace("last", "-1").split(","):
        match = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?", piece)
        if not match:
            raise InputError("--hold", f"cannot read {piece!r} in {text!r}", expected)
        ends = [int(end) for end in match.groups() if end is not None]
        first, last = (end + frames if end < 0 else end for end in (ends[0], ends[-1]))
        if not 0 <= first <= last < frames:
            raise InputError("--hold", f"{piece} is not within the {frames} frames of the result", expected)
        chosen.update(range(first, last + 1))
    return sorted(chosen)


def parse_size(text: str) -> tuple[int, int]:
    """'1024x576' -> (width, height)."""
    match = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if not match:
        raise InputError("--size", f"is {text!r}", expected="width x height in pixels, such as 1024x576")
    width, height = (int(number) for number in match.groups())
    if width % 2 or height % 2 or not (16 <= width <= 4096 and 16 <= height <= 4096):
        raise InputError("--size", f"is {text!r}", expected="even numbers from 16 to 4096, which video files need")
    return width, height


def describe(motion: BodyMotion) -> str:
    """'a human, 64 frames, 3.2 s at 20 fps'."""
    seconds = len(motion) / motion.fps
    return f"{motion.category}, {count_frames(len(motion))}, {seconds:.1f} s at {motion.fps:g} fps"


def count_frames(frames: int) -> str:
    """'64 frames', '1 frame'."""
    return f"{frames} frame{'' if frames == 1 else 's'}"


def say(message: str, err: bool = False) -> None:
    """A line for the user, never wrapped, so that a path in it can be copied."""
    Console(stderr=err).print(message, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on a terminal while something runs whose length is not known."""
    with Console(stderr=True).status(f"{what} ..."):
        yield


def listed(command: Callable, asked: Sequence[str]) -> str | None:
    """The first line of its docstring for a list of commands; None, for all of it, for its own help."""
    name = command.__name__.rpartition("_")[2]
    return None if name in asked else (command.__doc__ or "").partition("\n")[0]


def with_progress(frames: Iterable[Frame], total: int, what: str) -> Iterable[Frame]:
    """The same frames, with a bar on a terminal."""
    from rich.progress import track

    console = Console(stderr=True)
    return track(frames, what, total, console=console, disable=not console.is_terminal)


def commands(argv: Sequence[str]) -> SubcommandApp:
    app, train = SubcommandApp(), SubcommandApp()
    for command in COMMANDS:
        app.command(name=command.__name__, help=listed(command, argv[:1]))(command)
    pmp = _train_pmp_command() if list(argv[:2]) == ["train", "pmp"] else train_pmp
    train.command(name="pmp", help=listed(train_pmp, argv[:2]))(pmp)
    app.command(train, name="train", help="Train what kinema ships.")
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. Raises SystemExit with the status: 0 done, 1 not ready, 2 a user's mistake, 130 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
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
