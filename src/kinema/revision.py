"""ReVision's three stages (section 4.2): picture -> coarse video -> 3D motion, refined -> video that follows it.

S1 coarse:      the backbone makes a cheap clip from the picture and, where there is one, a sketch of the end.
S2 extract:     bodies and objects are fitted to it, and the motion prior mends how they move; the sketch is a 3D target.
S3 regenerate:  their part masks guide the backbone, from pure noise (the paper) or from the reposed picture; a backbone
                that follows control videos gets them drawn as one.

Each stage is a pure function of the one before it and a few settings; `Stages` keeps what they made on disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from kinema.enough_memory import check_memory
from kinema.extract.extractor import extract
from kinema.extract.fitting import QUICK
from kinema.extract.observation import Observation
from kinema.extract.observe import observe
from kinema.optimize.motion_by_words import scene_by_words
from kinema.optimize.optimizer import refine, refine_object
from kinema.optimize.perform import Cue, perform
from kinema.optimize.retime import at_frames, lengthen_scene, stretch_scene
from kinema.optimize.target_pose import target_from_sketch
from kinema.picture import checked_picture, load_picture
from kinema.plan import Plan, coarse_fit, hw_of, make_plan
from kinema.presets import backbone, find_preset
from kinema.reinforce.backbone import Condition, Control, Sampling, Start
from kinema.reinforce.control_video import control_video
from kinema.reinforce.memory import Memory
from kinema.reinforce.part_condition import (
    no_condition,
    scene_condition,
    sketch_condition,
)
from kinema.reinforce.reposed import carry
from kinema.reinforce.speed import Level, Speed
from kinema.reinforce.windows import blend_stream, windows
from kinema.sketch import Drag, Sketch
from kinema.stages import Stages
from kinema.types import BodyMotion, PartCondition, Scene, Video

DOUBTFUL = 0.6
"""Of the first frame's mean confidence of joints: below, a coarse frame says nothing of a body."""
log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class GenerationResult:
    """The video and everything on the way to it; what a stage that was left out would have made is None.

    coarse      stage 1's clip
    extracted   what stage 2 saw in it      refined  what the motion prior made of that, at the full length
    condition   the part masks of stage 3
    seconds     that each stage took (about 0 where it was kept from before)
    """

    video: Video
    coarse: Video | None
    extracted: Scene
    refined: Scene
    condition: PartCondition
    plan: Plan
    seconds: dict[str, float] = field(default_factory=dict)


def generate(
    image: str | Path | UInt8[np.ndarray, "H W 3"],
    prompt: str | None = None,
    target: str | Path | Sketch | None = None,
    drags: Sequence[Drag] = (),
    motion: BodyMotion | Sequence[Cue] | None = None,
    strength: float | None = None,
    frames: int | None = None,
    seconds: float | None = None,
    seed: int = 42,
    preset: str = "mini-svd",
    start: Start | None = None,
    stages: Path | None = None,
    from_stage: int = 1,
    progress: Progress = lambda stage, done, total: None,
    model: Path | None = None,
    adapter: Path | None = None,
    control: Control | None = None,
    memory: Memory | None = None,
    speed: Level | Speed | None = None,
    size: tuple[int, int] | None = None,
) -> GenerationResult:
    """Animate a picture by the three stages.

    image       a file or uint8 RGB      prompt  what happens, in words
    target      a sketch of where parts end: a file, or a `Sketch` in the picture's pixels
    drags       the same said by dragging parts
    motion      moves the first person or animal instead of stage 1; or several motions, each with who is to do it
    strength    0-1, how lively, 0.5 being usual; None leaves it to the preset
    frames      or seconds: how long; by default the preset's clip, or as long as the motion
    start       of stage 3: "reposed" or "noise"; by default the preset's
    stages      a folder to keep every stage in; what is unchanged is used again
    from_stage  2 or 3: take the scene, or the refined scene, from `stages` as it lies there, edited or not
    model       folder of the preset's model, where it comes without weights; adapter  file of its motion adapter
    control     how the model is told the motion; by default the preset's usual way
    memory      how much of the model lies on the GPU at a time: "fast", "balanced", "low", or in which numbers: "int8"
    speed       "quality", the plain model, "balanced" or "fast" (docs/speed.md), or what is to be saved
    size        (width, height): frames have about so many pixels, in the picture's shape; by default the preset's
    Raises InputError for what cannot be used; finished stages are kept.
    """
    chosen = find_preset(preset, model, adapter, memory, speed, size)
    picture = load_picture(image) if isinstance(image, str | Path) else checked_picture(image)
    plan = make_plan(picture, chosen, prompt, target, drags, motion, strength, frames, seconds, seed, start, control)
    for note in plan.notes:
        log.warning("%s: %s", chosen.name, note)
    check_memory(
        chosen, (plan.picture.shape[1], plan.picture.shape[0]), plan.frames, coarse=motion is None and from_stage == 1
    )
    kept = Stages(stages, from_stage)
    clock: dict[str, float] = {}
    asked = (plan.picture, plan.sketch, plan.seed, plan.preset, plan.levels)

    with timed(clock, "coarse"):
        coarse = None
        if motion is None and from_stage == 1:
            coarse = kept.video("coarse", asked, lambda: coarse_video(plan, progress))
    with timed(clock, "extract"):
        progress("extract", 0, 1)
        settings = (plan.picture, plan.prompt, plan.motion, None if coarse is None else coarse.frames)
        extracted = kept.scene("scene", settings, lambda: extract_scene(plan, coarse))
    with timed(clock, "refine"):
        progress("refine", 0, 1)
        settings = (extracted, plan.prompt, plan.strength, plan.sketch, plan.frames)
        own = kept.edited("scene", extracted)
        refined = kept.scene("refined", settings, lambda: refine_scene(plan, extracted, own))
    with timed(clock, "regenerate"):
        condition = scene_condition(refined, hw_of(plan), plan.levels)
        settings = (*asked, refined, plan.start, plan.control)
        video = kept.video("final", settings, lambda: regenerate(plan, refined, condition, progress))
    result = GenerationResult(video, coarse, extracted, refined, condition, plan, clock)
    kept.finish(result)
    return result


def coarse_video(plan: Plan, progress: Progress) -> Video:
    """S1: few frames, few steps, few pixels; the sketch in the last frame where the model sees parts, or nothing."""
    preset, fitted = plan.preset, coarse_fit(plan)
    sampling = Sampling(
        preset.coarse_frames, fitted.size, preset.coarse_steps, plan.seed, preset.coarse_fps, guidance=preset.guidance,
        speed=preset.speed,
    )  # fmt: skip
    condition, hw = None, (fitted.size[1], fitted.size[0])
    if _sees_parts(plan) and plan.sketch is None:
        condition = no_condition(sampling.frames, hw, plan.levels)
    elif _sees_parts(plan) and plan.sketch is not None:
        shapes = [replace(s, polygon_px=fitted.points(s.polygon_px)) for s in plan.sketch.shapes]
        condition = sketch_condition(Sketch(tuple(shapes), hw), sampling.frames, hw, plan.levels)
    frames = backbone(preset).generate(
        fitted.picture(plan.picture), sampling, condition, prompt=plan.prompt,
        progress=lambda done, total: progress("coarse", done, total),
    )  # fmt: skip
    return Video(frames, preset.coarse_fps)


def _sees_parts(plan: Plan) -> bool:
    return plan.control == "parts" and plan.preset.adapter is not None


def extract_scene(plan: Plan, coarse: Video | None) -> Scene:
    """S2, first half: the subjects of the coarse video in the world; or of the picture, moved as the given motion."""
    if coarse is not None:
        from kinema.extract.mini_perception import coarse_perception

        seen = of_the_picture(observe(coarse, coarse_perception()))
        scene = without_doubtful_frames(extract(coarse, plan.prompt, seen, config=QUICK))
        return replace(scene, cameras=coarse_fit(plan).undone(scene.cameras, hw_of(plan)))
    assert plan.motion is not None, "without a coarse video there is a motion"
    still = extract(Video(plan.picture[None], plan.preset.fps), plan.prompt)
    return perform(still, plan.motion, plan.preset.fps)


def of_the_picture(seen: Observation) -> Observation:
    """What was seen, without the subjects that the picture does not show: a coarse video may invent some."""
    return replace(seen, tracks=tuple(track for track in seen.tracks if track.present[0]))


def without_doubtful_frames(scene: Scene) -> Scene:
    """The scene, its bodies not valid in frames where they are seen much worse than in the picture (`DOUBTFUL`).

    A coarse video may dissolve what moves; the motion prior fills such frames in from the others.
    """
    subjects = []
    for subject in scene.subjects:
        motion = subject.motion
        if isinstance(motion, BodyMotion):
            sure = motion.confidence.mean(1)
            motion = replace(motion, valid=motion.valid & (sure >= DOUBTFUL * sure[0]))
        subjects.append(replace(subject, motion=motion))
    return replace(scene, subjects=tuple(subjects))


def refine_scene(plan: Plan, scene: Scene, edited: bool = False) -> Scene:
    """S2, second half: the motion prior with prompt, strength and target; then the full number of frames.

    The first frame is the picture's and stays. What the user edited is believed, however little of it was seen.
    """
    targets = {} if plan.sketch is None else target_from_sketch(scene, _for_scene(plan.sketch, owners(plan, scene)[0]))
    strength, subjects = strength_of(plan, scene), []
    for index, subject in enumerate(scene.subjects):
        motion, target = subject.motion, targets.get(index)
        if isinstance(motion, BodyMotion):
            assert target is None or isinstance(target, BodyMotion)
            mended = refine(motion, plan.prompt or None, strength, hold=(0,), target=target)
        else:
            assert not isinstance(target, BodyMotion)
            mended = refine_object(motion, plan.prompt or None, hold=(0,), target=target)
        subjects.append(replace(subject, motion=mended))
    mended = replace(scene, subjects=tuple(subjects), prompt=plan.prompt, motion_strength=strength)
    if _is_coarse(plan, scene):
        mended = stretch_scene(mended, plan.preset.frames, plan.preset.fps)
        least = 0.0 if edited else plan.preset.least_seen
        mended, doing = scene_by_words(scene, mended, least, plan.strength, targets)
        for index, what in doing.items():
            log.warning("the coarse video hardly shows subject %d: it moves as in '%s'", index + 1, what)
    return mended if plan.frames is None else lengthen_scene(mended, plan.frames)


def strength_of(plan: Plan, scene: Scene) -> float | None:
    """How lively the motion is to be: as was asked for; else that of the coarse video or, where the preset has one, its own.

    With a target, how lively it is follows from how far the target is.
    """
    if plan.strength is None and plan.sketch is None and _is_coarse(plan, scene):
        return plan.preset.strength
    return plan.strength


def _is_coarse(plan: Plan, scene: Scene) -> bool:
    """Whether the scene is that of a coarse video, still of few frames."""
    preset = plan.preset
    return len(scene.cameras.K) == preset.coarse_frames and all(
        s.motion.fps == preset.coarse_fps for s in scene.subjects
    )


def regenerate(plan: Plan, scene: Scene, condition: PartCondition, progress: Progress) -> Video:
    """S3: the video that follows the refined motion."""
    return Video(np.stack(list(regenerated_frames(plan, scene, condition, progress))), plan.preset.fps)


def regenerated_frames(plan: Plan, scene: Scene, condition: PartCondition, progress: Progress) -> Iterator[np.ndarray]:
    """S3, frame by frame: one window at a time, blended where they overlap; memory does not grow with the length."""
    preset, (height, width) = plan.preset, hw_of(plan)
    model = backbone(preset)
    parts = windows(len(scene.cameras.K), preset.frames)
    ids = owners(plan, scene)[1]
    guide = guidance_of(plan, scene, condition)

    def clips() -> Iterator[tuple[slice, np.ndarray]]:
        picture = plan.picture
        for number, window in enumerate(parts):
            sampling = Sampling(
                preset.constraints.clip_frames(window.stop - window.start), (width, height), preset.steps, plan.seed,
                preset.fps, start_noise=preset.start_noise, start_steps=preset.start_steps, guidance=preset.guidance,
                speed=preset.speed,
            )  # fmt: skip
            own = None if guide is None else cut(guide, window, sampling.frames)
            start, known = reposed(plan, scene, ids, window) if plan.start == "reposed" else (None, None)
            if start is not None and known is not None:
                start, known = (lengthened(whole, sampling.frames) for whole in (start, known))

            def report(done: int, total: int, number: int = number) -> None:
                progress("regenerate", number * total + done, total * len(parts))

            clip = model.generate(picture, sampling, own, start, known, report, plan.prompt)
            yield window, clip[: window.stop - window.start]
            if preset.goes_on and plan.start == "noise" and number + 1 < len(parts):
                picture = clip[parts[number + 1].start - window.start]

    for number, frame in enumerate(blend_stream(clips())):
        yield plan.picture if number == 0 and preset.constraints.sees_picture else frame


def guidance_of(plan: Plan, scene: Scene, condition: PartCondition) -> Condition | None:
    """The motion of all frames as the model is told it; None for one that is told nothing but by the reposed picture."""
    if plan.control == "parts":
        return condition if _sees_parts(plan) else None
    height, width = hw_of(plan)
    return control_video(scene, plan.control, (width, height))


def cut(guide: PartCondition | UInt8[np.ndarray, "T0 H W 3"], window: slice, frames: int) -> Condition:
    """The frames of a window; the last one is repeated where the model cannot make so few."""
    if isinstance(guide, PartCondition):
        part_ids, confidence = (lengthened(v[window], frames) for v in (guide.part_ids, guide.confidence))
        return PartCondition(part_ids, confidence)
    return lengthened(guide[window], frames)


def lengthened(clip: np.ndarray, frames: int) -> np.ndarray:
    """The clip, its last frame repeated until there are so many."""
    return clip if len(clip) == frames else np.concatenate([clip, np.repeat(clip[-1:], frames - len(clip), 0)])


def reposed(plan: Plan, scene: Scene, subject_ids: np.ndarray, window: slice) -> tuple[np.ndarray, np.ndarray]:
    """The picture carried into the frames of a window, and how well it is known there."""
    before = [] if window.start == 0 else [0]  # the picture's own frame comes first
    frames = np.append(before, np.arange(window.start, window.stop)).astype(int)
    carried = carry(
        plan.picture, at_frames(scene, frames), subject_ids, filled=plan.preset.start_filled,
        samples=plan.preset.start_samples, part_ids=plan.part_ids,
    )  # fmt: skip
    return carried.frames[len(before) :], carried.known[len(before) :]


class timed:
    """Add the seconds spent inside to a table."""

    def __init__(self, table: dict[str, float], name: str):
        self.table, self.name = table, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.table[self.name] = self.table.get(self.name, 0.0) + time.perf_counter() - self.began


def owners(plan: Plan, scene: Scene) -> tuple[dict[int, int], UInt8[np.ndarray, "H W"]]:
    """Which subject of the scene each one seen in the picture is, by overlap in the first frame; and its pixels' ids."""
    from kinema.render.rasterizer import rasterize
    from kinema.render.shot import make_shot

    shot = make_shot(scene, size=(plan.picture.shape[1], plan.picture.shape[0]))
    drawn = rasterize(shot.meshes(slice(0, 1)), shot.camera_slice(slice(0, 1)), normals=False).subject_ids[0]
    same: dict[int, int] = {}
    ids = np.zeros_like(plan.subject_ids)
    for seen in range(int(plan.subject_ids.max(initial=0))):
        counts = np.bincount(drawn[plan.subject_ids == seen + 1], minlength=len(scene.subjects) + 1)[1:]
        for taken in same.values():
            counts[taken] = 0
        if counts.max(initial=0) > 0:
            same[seen] = int(counts.argmax())
            ids[plan.subject_ids == seen + 1] = same[seen] + 1
    return same, ids


def _for_scene(sketch: Sketch, same: dict[int, int]) -> Sketch:
    """The sketch with the scene's numbers for the picture's subjects."""
    shapes = [replace(s, subject=None if s.subject is None else same.get(s.subject)) for s in sketch.shapes]
    return replace(sketch, shapes=tuple(shapes))
