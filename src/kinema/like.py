"""The motion of one video, the looks of one picture: extract -> retarget -> generate (ReVision, section 5.2).

Input: a video and a picture, each with people or animals. Output: the picture's subjects, moving as the video's do, each on
its own body. Nothing here is new: what moves in the video is found by Extract, and the three stages do the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.extract.extractor import extract
from kinema.extract.observe import observe
from kinema.extract.subjects import perception_named
from kinema.motion_io.scene import load_scene, save_scene
from kinema.optimize.perform import Cue, across, from_left
from kinema.revision import GenerationResult, generate
from kinema.stages import digest
from kinema.types import BodyMotion, Scene, Video
from kinema.video import read_video

SOURCE = "source.npz"
"""In the folder of stages: the video's scene."""


def animate_like(
    video: str | Path | Video,
    image: str | Path | UInt8[np.ndarray, "H W 3"],
    prompt: str | None = None,
    pairs: Sequence[tuple[int, int]] = (),
    perception: str = "mini",
    models: Path | None = None,
    stages: Path | None = None,
    **settings: Any,
) -> GenerationResult:
    """Animate a picture's subjects as a video's move, people as people and animals as animals.

    video       a file, or frames      image  a file, or uint8 RGB
    pairs       (subject of the video, subject of the picture), both counted from the left from 1; by default those of one
                kind that stand in like places. Who is in no pair keeps still
    perception  what looks at the video: "mini", or "public" with the four models in `models`
    stages      a folder to keep every stage in, with the video's scene as `source.npz`, which is used again
    settings    the others of `kinema.generate`: frames, seconds, seed, preset, start, model, ...
    Raises InputError where the video shows no person or animal, or no pair can be made.
    """
    clip = video if isinstance(video, Video) else read_video(video)
    source = _kept(stages, clip, prompt, perception, models)
    return generate(image, prompt, motion=cues_of(source, pairs), stages=stages, **settings)


def cues_of(source: Scene, pairs: Sequence[tuple[int, int]] = ()) -> tuple[Cue, ...]:
    """What the people and animals of a scene do, as cues for those of a picture. Raises InputError as `animate_like`."""
    performers = from_left(source)
    if not performers:
        raise InputError("video", "shows no person or animal", "at least one, well visible")
    cues = []
    for number, subject in pairs or [(k + 1, None) for k in range(len(performers))]:
        if not 1 <= number <= len(performers):
            raise InputError("pair", f"names subject {number} of the video", f"1 to {len(performers)}, from the left")
        index = performers[number - 1]
        motion = source.subjects[index].motion
        assert isinstance(motion, BodyMotion)
        cues.append(Cue(_while_seen(motion), across(source, index), None if subject is None else subject - 1))
    return tuple(cues)


def _while_seen(motion: BodyMotion) -> BodyMotion:
    """The motion from the first to the last frame in which its body was seen; those between are bridged by the fit."""
    seen = np.flatnonzero(motion.valid)
    if not len(seen):
        raise InputError("video", "shows a subject in no frame", "one that is seen")
    return motion[slice(int(seen[0]), int(seen[-1]) + 1)]


def _kept(stages: Path | None, clip: Video, prompt: str | None, perception: str, models: Path | None) -> Scene:
    """What moves in the video; that of an earlier run where it was of the same."""

    def look() -> Scene:
        return extract(clip, prompt or "", observe(clip, perception_named(perception, models, (), prompt or "")))

    if stages is None:
        return look()
    stages.mkdir(parents=True, exist_ok=True)
    path, said = stages / SOURCE, stages / "source.key"
    key = digest(clip, prompt, perception)
    if path.exists() and said.exists() and said.read_text() == key:
        return load_scene(path)
    scene = look()
    save_scene(scene, path)
    with atomic_path(said) as temporary:
        temporary.write_text(key)
    return scene
