"""The two recipes: which stages a video and its clips go through, in order, with their thresholds.

`Revision`: ReVision, appendix B. `MVideo`: MVideo, section 4.1. Neither paper states its thresholds but the ten sampled
frames, the five people, the segments of ten frames, the 8 s and the 80 nouns; ours are named below, and docs/annotate.md
shows what they do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kinema.annotate import cuts, looking
from kinema.annotate.captions import Captioner, MotionJudge, RuleJudge, SeenCaptioner, load_judge
from kinema.annotate.inputs import check_rate
from kinema.annotate.record import SCHEMA, Record
from kinema.errors import InputError
from kinema.extract.observe import Perception

RecipeName = Literal["revision", "mvideo"]


@dataclass(frozen=True)
class Common:
    """What both recipes are told.

    perception  mini (ships) or public (kinema fetch public); models: the folder of the latter
    judge       folder of a small language model that reads captions; None: rules
    fps         frames a second of the clips; None: the video's own
    side_px     longer side of the clips; larger videos are made smaller
    cut_threshold  of PySceneDetect's content detector
    longest_s   longer shots are divided into equal clips
    """

    perception: str = "mini"
    models: Path | None = None
    judge: Path | None = None
    fps: float | None = None
    side_px: int = 512
    cut_threshold: float = cuts.CUT_THRESHOLD
    longest_s: float = 20.0


@dataclass(frozen=True)
class Revision:
    """ReVision, appendix B.

    least_s        shorter shots are left out; 16 frames at stride 4 of 30 a second take 2 s
    least_share    of the picture for the subjects, mean over 10 frames
    most_people    in each of them
    least_motion   of the picture a second, by the joints that move most; the caption may tell of more than the clip shows
    least_outline  the same by the outline of a mask, on average
    least_iou      of a person's drawn body with its mask, least_joints: share of the joints on it, in each frame
    least_animal_iou  of an animal's, in a segment of 10 frames
    least_psnr_db  of an animal in its own colours, in a segment of 10 frames; a coat with contrasts may have less
    least_frames   share of a subject's frames that must pass
    most_camera_px, least_track  of clips with animals: reprojection error (px of 128) and length of tracks (frames)
    """

    common: Common = Common()
    least_s: float = 2.0
    least_share: float = 0.02
    most_people: int = 5
    least_motion: float = 0.1
    least_outline: float = 0.015
    least_iou: float = 0.75
    least_joints: float = 0.8
    least_animal_iou: float = 0.5
    least_psnr_db: float = 18.0
    least_frames: float = 0.5
    most_camera_px: float = 1.5
    least_track: float = 5.0


@dataclass(frozen=True)
class MVideo:
    """MVideo, section 4.1.

    least_s        "clips longer than 8 seconds"
    most_subjects  of one clip, the surest
    """

    common: Common = Common()
    least_s: float = 8.0
    most_subjects: int = 8


Recipe = Revision | MVideo


@dataclass(frozen=True)
class Stage:
    """A pure function record -> record under a name and a version, which changes whenever its results do.

    gpu  runs on one where there is one
    """

    name: str
    version: str
    run: Callable[[Record], Record]
    gpu: bool = False


class Models:
    """What stages need to be loaded once: read when first asked for, by the process that asks."""

    def __init__(self, common: Common, judge: MotionJudge | None = None, captioner: Captioner | None = None):
        self.common = common
        self._judge, self.captioner = judge, captioner or SeenCaptioner()
        self._perception: Perception | None = None

    def perception(self) -> Perception:
        if self._perception is None:
            from kinema.extract.subjects import perception_named

            self._perception = perception_named(self.common.perception, self.common.models, ("a person", "an animal"))
        return self._perception

    def judge(self) -> MotionJudge:
        if self._judge is None:
            self._judge = load_judge(self.common.judge)
        return self._judge


def name_of(recipe: Recipe) -> RecipeName:
    return "revision" if isinstance(recipe, Revision) else "mvideo"


def make_recipe(name: str, common: Common = Common()) -> Recipe:
    """The recipe of a name. Raises InputError for another, and for numbers that cannot be."""
    kinds: dict[str, type] = {"revision": Revision, "mvideo": MVideo}
    if name not in kinds:
        raise InputError("--recipe", f"is {name!r}", "one of " + ", ".join(kinds))
    if common.side_px < 32:
        raise InputError("--side", f"is {common.side_px}", "pixels, at least 32")
    if common.fps is not None and not 0 < common.fps <= 1000:
        raise InputError("--fps", f"is {common.fps}", "frames a second, above 0, at most 1000")
    return kinds[name](common)


def caption_stage(recipe: Recipe, models: Models) -> Stage:
    """Before a video is opened: its caption must speak of evident motion; one that has none is not judged."""

    def run(record: Record) -> Record:
        if isinstance(recipe, MVideo) or not record.caption or models.judge().moves(record.caption):
            return record
        return record.filtered("caption", "does not speak of evident motion")

    version = "language model" if recipe.common.judge else RuleJudge.version
    return Stage("caption", "none" if isinstance(recipe, MVideo) else version, run)


def cut_stage(recipe: Recipe) -> Stage:
    """Scene cuts; shots that are too short, too long."""
    common = recipe.common

    def run(record: Record) -> Record:
        if record.source.stated_fps:
            check_rate(record.source.stated_fps, cuts.steady_rate(record.path, None)[0], record.source.origin)
        fps, ask = cuts.steady_rate(record.path, common.fps)
        frames = cuts.scaled_frames(record.path, ask, min(cuts.LOOK_SIDE_PX, common.side_px))
        shots = cuts.find_shots(frames, fps, common.cut_threshold)
        return replace(record, fps=fps, shots=tuple(cuts.divided(shots, max(1, round(common.longest_s * fps)))))

    return Stage("cuts", "content 1", run)


def length_stage(recipe: Recipe) -> Stage:
    """Too short clips; judged by frames, so before any are in memory."""

    def run(record: Record) -> Record:
        seconds = (record.end_frame - record.first_frame) / record.fps
        if seconds + 1e-6 >= recipe.least_s:
            return record
        return record.filtered("length", f"is {seconds:.1f} s long, at least {recipe.least_s:g} s is asked")

    return Stage("length", "1", run)


def clip_stages(recipe: Recipe, models: Models) -> tuple[Stage, ...]:
    """What a clip goes through once its frames are in memory."""
    who = recipe.common.perception
    see = models.perception
    name = Stage("captioner", models.captioner.version, lambda r: captioned(r, models.captioner))
    if isinstance(recipe, MVideo):
        follow = Stage("masks", f"{who} 1", lambda r: looking.follow_first(r, see(), recipe.most_subjects), gpu=True)
        return follow, name
    from kinema.annotate import agreement, fits

    r = recipe
    limits = (r.least_iou, r.least_joints, r.least_animal_iou, r.least_psnr_db, r.least_frames)
    return (
        Stage("sample", f"{who} 1", lambda c: looking.sample(c, see(), r.least_share, r.most_people), gpu=True),
        Stage("see", f"{who} 1", lambda c: looking.see(c, see()), gpu=True),
        Stage("place", "1" if who == "mini" else "2", fits.place),  # mini-perception sees no hands, which 2 fits
        Stage("motion", "1", lambda c: agreement.judge_motion(c, r.least_motion, r.least_outline)),
        Stage("camera", "2", lambda c: fits.judge_camera(c, r.most_camera_px, r.least_track)),
        Stage("animals", "1", fits.fit_animals),
        Stage("agree", "2", lambda c: agreement.agree(c, *limits)),
        Stage("parts", "1", agreement.draw_parts),
        name,
    )


def captioned(record: Record, captioner: Captioner) -> Record:
    """A caption for a clip that has none."""
    if record.caption or record.observation is None:
        return record
    return replace(record, caption=captioner.caption(record.observation), made_caption=True)


def versions(recipe: Recipe) -> Mapping[str, str]:
    """The version of every stage, by its name, in order."""
    models = Models(recipe.common)
    stages = (caption_stage(recipe, models), cut_stage(recipe), length_stage(recipe), *clip_stages(recipe, models))
    return {stage.name: stage.version for stage in stages}


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """All that a result depends on beside its source: recipe, thresholds, versions, weights, schema."""
    plain = json.loads(json.dumps(asdict(recipe), default=str))
    where = ("models", "judge")  # folders: what lies in them counts, not where they are
    common = {k: v for k, v in plain["common"].items() if k not in where}
    return {
        "schema": SCHEMA, "recipe": name_of(recipe), **plain, "common": common, "stages": dict(versions(recipe)),
        "weights": weights_of(recipe),
    }  # fmt: skip


def weights_of(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of the weights by their names."""
    from kinema.checkpoints import sha256, weights_hash

    found: dict[str, str] = {}
    common = recipe.common
    if common.judge is not None:
        found["judge"] = weights_hash(common.judge)
    if common.perception == "mini":
        from kinema.extract.mini_perception import PERCEPTION_WEIGHTS

        found["perception"] = sha256(PERCEPTION_WEIGHTS)
    else:
        from kinema.extract.public_perception import FOLDERS
        from kinema.hub import weights_folder

        folder = common.models or weights_folder()
        found |= {name: weights_hash(folder / name) for name in FOLDERS if (folder / name).is_dir()}
    if isinstance(recipe, Revision):
        from kinema.extract.lifter import WEIGHTS

        found |= {f"lifter {category}": sha256(path) for category, path in WEIGHTS.items()}
    return found


def fingerprint(recipe: Recipe) -> str:
    """One word for `settings_of`: what changes any result changes it."""
    return hashlib.sha256(json.dumps(settings_of(recipe), sort_keys=True).encode()).hexdigest()[:16]
