"""The verb that turns a video into a scene: `kinema extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from kinema.console import Output, check_output, count_frames, option, say, with_progress, working
from kinema.errors import InputError


def extract(
    video: Annotated[Positional[Path], arg(name="video", metavar="VIDEO")],
    out: Output,
    objects: Annotated[str | None, option("NOUNS", "default: what is seen")] = None,
    masks: Annotated[Path | None, option("MASKS", "default: they are found")] = None,
    prompt: Annotated[str, option("TEXT")] = "",
    overlay: Annotated[Path | None, option("OUT.mp4")] = None,
    perception: Annotated[str, arg(metavar="mini|public")] = "mini",
    camera: Annotated[Literal["static", "pan-zoom", "colmap"], arg(metavar="static|pan-zoom|colmap")] = "pan-zoom",
    regressor: Annotated[Path | None, option("FILE", "default: the shipped lifter")] = None,
    hands: Annotated[Path | None, option("FILE")] = None,
    device: Annotated[str, arg(metavar="cpu|cuda")] = "cpu",
    models: Annotated[Path | None, option("DIR", "default: where kinema fetch puts them")] = None,
    fps: Annotated[float | None, option("F", "default: the video's")] = None,
    seconds: Annotated[float | None, option("S", "default: all of it")] = None,
) -> None:
    """The people, animals and objects of a video, and its camera, in space: a scene (ReVision, section 4.2-S2).

    $ kinema extract clip.mp4 --out scene.npz --overlay seen.mp4
    $ kinema extract clip.mp4 --out scene.npz --objects "a dog, a ball" --perception public
    $ kinema extract clip.mp4 --out scene.npz --masks masks/ --objects "a car"
    $ kinema extract clip.mp4 --out scene.npz --perception public --hands hands.npz --regressor nlf_l_multi.torchscript
    $ kinema extract walk.mp4 --out scene.npz --camera colmap

    Args:
        video: the video
        out: the scene to write, .npz
        objects: what to take, in words, with commas between; with --masks, what the masks are of
        masks: given masks of objects, of any kind that docs/masks.md describes; they need no model at all
        prompt: what happens, in words; --perception public looks for its nouns
        overlay: also draw the scene over the video
        perception: mini, which ships, or public: GroundingDINO, SAM 2, Depth Anything, ViTPose (kinema fetch public)
        camera: static; pan-zoom, which also finds that it stands; or colmap: it moves through space (kinema[sfm])
        regressor: a TorchScript file in NLF's layout from which the fit of people starts. Loading it runs the code in it
        hands: hands as HaMeR gives them, .npz or .json (docs/extract.md), to be put on the bodies
        device: where bodies are fitted
        models: the folder with the four of public
        fps: frames a second of the scene
        seconds: from the first so many seconds of the video
    """
    from dataclasses import replace

    import numpy as np

    from kinema.extract.extractor import extract as run
    from kinema.extract.fitting import FitConfig
    from kinema.extract.hands import load_hands, with_hands
    from kinema.extract.observe import observe
    from kinema.extract.regressor import load_regressor
    from kinema.extract.subjects import of_masks, of_nouns, perception_named
    from kinema.masks.files import read_masks
    from kinema.masks.time import choose
    from kinema.motion_io.scene import save_scene
    from kinema.render.overlay import overlay as drawn_over
    from kinema.types import BodyMotion
    from kinema.video import frame_rate, read_video, write_video

    check_output(out, (".npz",))
    if overlay:
        check_output(overlay, (".mp4",))
    for name, value in (("fps", fps), ("seconds", seconds)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name}", f"is {value}", "a number above 0")
    if masks and perception != "mini":
        raise InputError("--masks", "and --perception are both given", "one of the two")
    config = FitConfig(device=device)
    given_hands = load_hands(hands) if hands else None
    starts = load_regressor(regressor) if regressor else None
    nouns = [noun.strip() for noun in (objects or "").split(",") if noun.strip()]
    own = frame_rate(video)
    rate = fps or own
    given = read_masks(masks, own) if masks else None  # those that state no rate are of the video's frames
    model = None if given is not None else perception_named(perception, models, nouns, prompt)
    clip = read_video(video, fps, None if seconds is None else max(1, round(seconds * rate)))
    if given is not None and (rate != own or seconds is not None):
        shown = (np.arange(len(clip.frames)) * own / rate + 1e-6).astype(int)  # as read_video chooses frames
        given = replace(choose(given, shown[shown < len(given)]), fps=rate)
    with working("looking"):
        seen = observe(clip, model) if given is None else of_masks(clip, given, nouns)
        if nouns and given is None and perception == "mini":
            seen = of_nouns(seen, nouns)
        scene = run(clip, prompt, seen, regressor=starts, config=config, camera=camera)
        if given_hands is not None:
            scene = with_hands(scene, given_hands)
    save_scene(scene, out)
    say(f"{out}: {count_frames(len(clip.frames))} at {clip.fps:g} fps")
    for subject in scene.subjects:
        motion = subject.motion
        kind = motion.category if isinstance(motion, BodyMotion) else "object"
        say(f"  {subject.label} ({kind}), seen in {int(motion.valid.sum())} of {len(motion.valid)}")
    if overlay:
        frames = with_progress(drawn_over(scene, clip), len(clip.frames), "drawing")
        write_video(frames, overlay, clip.fps)
        say(f"{overlay}: the scene over the video")
