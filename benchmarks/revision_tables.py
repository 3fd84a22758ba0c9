"""The tables of `benchmarks/revision.py`: one clip of the held-out world -> the rows of a table, each with its numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from kinema import revision
from kinema.body.skeleton import PARTS
from kinema.evaluate.control_metrics import flow_error_px, part_miou, pixel_mse
from kinema.evaluate.handcrafted_features import clip_features
from kinema.evaluate.keypoint_metrics import acceleration_error_px
from kinema.evaluate.morphology import morphology_clip_failure, morphology_failure_rate
from kinema.evaluate.occlusion import crossing_pixels, order_accuracy
from kinema.evaluate.video_metrics import background_consistency, dynamic_degree, psnr_db, ssim, subject_consistency
from kinema.extract.extractor import extract
from kinema.extract.mini_perception import steady_perception
from kinema.extract.observe import observe
from kinema.extract.optical_flow import flow_between, to_grey
from kinema.plan import make_plan
from kinema.presets import Preset, backbone, find_preset
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.part_condition import ConfidenceLevels, scene_condition
from kinema.reinforce.reposed import Carried, carry
from kinema.render.rasterizer import rasterize
from kinema.render.shot import make_shot
from kinema.sketch import Sketch, SketchedPart
from kinema.types import Scene, Video
from kinema.world.clip import WorldClip

SEED = 42
LIMBS = ("left_hand", "right_hand", "left_foot", "right_foot", "left_forearm", "right_forearm", "head",
         "left_front_paw", "right_front_paw", "animal_head", "object")  # fmt: skip
COMPARED_JOINTS = 22
"""Of a body: without the fingers."""
ABLATED_CLIPS = 60
"""What starts from noise, goes without the prior, or doesn't move at all is shown on so many clips."""
LEAST_TARGET_PX = 15
"""A part with fewer pixels in the true last frame is not sketched."""


def quiet(stage: str, done: int, total: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True)
class Job:
    """One clip, its number in the run, and the model."""

    clip: WorldClip
    number: int
    preset: str


def frames_of(clip: WorldClip) -> np.ndarray:
    return clip.video.frames


def parts_in(frames: np.ndarray) -> np.ndarray:
    return steady_perception().parts(frames)


@lru_cache(maxsize=1)
def base_video(preset: str, number: int, picture: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The base's video of a picture: several tables compare with it."""
    return sampled(np.frombuffer(picture, np.uint8).reshape(shape), find_preset(preset), None, None)


def generate(job: Job, condition=None, start=None) -> np.ndarray:
    frames = frames_of(job.clip)
    if condition is None and start is None:
        return base_video(job.preset, job.number, frames[0].tobytes(), frames[0].shape)
    return sampled(frames[0], find_preset(job.preset), condition, start)


def sampled(picture: np.ndarray, preset: Preset, condition, start) -> np.ndarray:
    sampling = Sampling(
        preset.frames, (picture.shape[1], picture.shape[0]), preset.steps, SEED, preset.fps,
        start_noise=preset.start_noise, start_steps=preset.start_steps,
    )  # fmt: skip
    frames, known = (None, None) if start is None else (start.frames, start.known)
    return backbone(preset).generate(picture, sampling, condition, frames, known)


def carried_by(job: Job) -> Carried:
    """The first frame moved as the true scene moves."""
    clip, preset = job.clip, find_preset(job.preset)
    filled, samples = preset.start_filled, preset.start_samples
    return carry(frames_of(clip)[0], clip.scene, clip.subject_ids[0], filled=filled, samples=samples)


def warped_by_true_flow(frames: np.ndarray) -> np.ndarray:
    """The first frame, pulled to every frame along the true clip's own flow."""
    grey = to_grey(frames)
    height, width = grey.shape[1:]
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    out = [frames[0]]
    for t in range(1, len(frames)):
        where = here + flow_between(grey[t], grey[0])
        out.append(cv2.remap(frames[0], where[..., 0], where[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE))
    return np.stack(out)


def control(job: Job) -> dict[str, dict[str, float]]:
    """Tables 1 and 4: the true motion as condition, against the base and against warping by the true flow."""
    clip = job.clip
    truth = frames_of(clip)
    condition = scene_condition(clip.scene, truth.shape[1:3])
    carried = carried_by(job)
    made = {
        "true video": truth,
        "base, picture only": generate(job),
        "full masks, reposed": generate(job, condition, carried),
        "first frame, true flow": warped_by_true_flow(truth),
    }
    if job.number < ABLATED_CLIPS:
        made["full masks, from noise"] = generate(job, condition)
        made["reposed picture itself"] = carried.frames
        made["first frame, still"] = np.repeat(truth[:1], len(truth), 0)
    return {name: compare(frames, truth, condition.part_ids) for name, frames in made.items()}


def compare(frames: np.ndarray, truth: np.ndarray, part_ids: np.ndarray) -> dict[str, float]:
    found = {
        "part mIoU": part_miou(part_ids, parts_in(frames)),
        "flow error px": flow_error_px(frames, truth),
        "pixel MSE": pixel_mse(frames, truth),
        "SSIM": ssim(frames, truth),
        "PSNR dB": min(psnr_db(frames, truth), 100.0),
    }
    return found | {f"feature {k}": float(v) for k, v in enumerate(clip_features(frames))}


def target(job: Job) -> dict[str, dict[str, float]]:
    """Table 2: the picture and one sketched part, through three stages; the part's centre in the last frame.

    Of several subjects with such a part the nearest counts: no two people's hands are averaged. What is seen of the part
    outside of all subjects counts as of one more.
    """
    part, centre, sketch = sketched(job)
    if sketch is None:
        return {}
    result = three_stages(job, target=sketch)
    shot = make_shot(result.refined)
    ids = rasterize(shot.meshes(slice(len(shot) - 1, None)), shot.camera_slice(slice(-1, None)), normals=False)
    plan = [ids.subject_ids[0] == k + 1 for k in range(len(shot.subjects))]

    def miss(parts: np.ndarray, masks: list[np.ndarray]) -> float:
        alone = ~np.any([np.zeros(parts.shape, bool), *masks], 0)
        own = [np.argwhere((parts == part) & mask) for mask in (*masks, alone)]
        away = [np.linalg.norm(o.mean(0)[::-1] + 0.5 - centre) / len(parts) for o in own if len(o)]
        return float(min(away, default=1.0))

    def seen(frames: np.ndarray, t: int = -1) -> float:
        found = observe(Video(frames, job.clip.video.fps), steady_perception())
        return miss(found.part_ids[t], [track.masks[t] for track in found.tracks if track.present[t]])

    truth = frames_of(job.clip)
    return {
        "three stages": {"miss": seen(result.video.frames), "of masks": miss(ids.part_ids[0], plan)},
        "base, picture only": {"miss": seen(generate(job))},
        "first frame, still": {"miss": seen(truth, 0)},
        "true video": {"miss": seen(truth)},
    }


def sketched(job: Job) -> tuple[int, np.ndarray, Sketch | None]:
    """A limb that the true last frame shows well, as a circle where it is there."""
    rng = np.random.default_rng(job.number)
    first, last = (job.clip.subject_ids[t].astype(int) * 256 + job.clip.part_ids[t] for t in (0, -1))
    limbs = [k for k, name in PARTS.items() if name in LIMBS]
    each = [256 * s + k for s in range(1, 1 + len(job.clip.scene.subjects)) for k in limbs]
    shown = [pair for pair in each if (last == pair).sum() >= LEAST_TARGET_PX and (first == pair).any()]
    if not shown:
        return 0, np.zeros(2), None
    chosen = int(rng.choice(shown))
    part, own = chosen % 256, np.argwhere(last == chosen)
    centre = own.mean(0)[::-1] + 0.5
    radius = max(3.0, np.sqrt(len(own) / np.pi))
    angle = np.arange(24) / 24 * 2 * np.pi
    polygon = centre + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    return part, centre, Sketch((SketchedPart(part, polygon),), last.shape)


def three_stages(job: Job, prompt: str | None = None, **asked) -> revision.GenerationResult:
    return revision.generate(
        frames_of(job.clip)[0], prompt or job.clip.scene.prompt, seed=SEED, preset=job.preset, **asked
    )


def stages(job: Job) -> dict[str, dict[str, float]]:
    """Table 3, and tables 7 and 8: picture only; one stage, three stages, three without the prior, with a full S1."""
    made = {"one stage (base)": generate(job), "true video": frames_of(job.clip)}
    result = three_stages(job)
    made["three stages, reposed"] = result.video.frames
    if job.number < ABLATED_CLIPS:
        noisy = replace(result.plan, start="noise")
        made["three stages, from noise"] = revision.regenerate(noisy, result.refined, result.condition, quiet).frames
        made["three stages, no prior"] = without_prior(job, result)
    return {name: judge(frames, job.clip) for name, frames in made.items()}


def without_prior(job: Job, result: revision.GenerationResult) -> np.ndarray:
    """What stage 2 saw goes to stage 3 as it is, frames that it did not see filled in evenly."""
    from kinema.optimize.optimizer import fill_invalid
    from kinema.optimize.retime import stretch_scene
    from kinema.types import BodyMotion

    preset = find_preset(job.preset)
    filled = [
        replace(s, motion=fill_invalid(s.motion) if isinstance(s.motion, BodyMotion) else s.motion)
        for s in result.extracted.subjects
    ]
    scene = stretch_scene(replace(result.extracted, subjects=tuple(filled)), preset.frames, preset.fps)
    condition = scene_condition(scene, frames_of(job.clip).shape[1:3])
    return revision.regenerate(result.plan, scene, condition, quiet).frames


def judge(frames: np.ndarray, clip: WorldClip) -> dict[str, float]:
    """How well made a video is, without its truth."""
    seen = observe(Video(frames, clip.video.fps), steady_perception())
    parts = parts_in(frames)
    subject = parts > 0
    first = seen.part_ids[0] > 0
    found = {
        "failing frames": morphology_failure_rate(parts, max(1, len(clip.scene.subjects))) if parts[0].any() else 1.0,
        "failing clips": morphology_clip_failure(parts, max(1, len(clip.scene.subjects))) if parts[0].any() else 1.0,
        "acceleration px": acceleration(seen),
        "dynamic degree": dynamic_degree(frames),
    }
    if first.any() and subject[0].any():
        found["subject consistency"] = subject_consistency(frames, subject)
        found["background consistency"] = background_consistency(frames, subject)
    return found


def acceleration(seen) -> float:
    """Mean acceleration of the joints that are seen, px/frame^2."""
    found = []
    for track in seen.tracks:
        visible = (track.keypoint_confidence > 0.3) & track.present[:, None]
        if track.category != "object" and (visible[2:] & visible[1:-1] & visible[:-2]).any():
            found.append(acceleration_error_px(track.keypoints_px, np.zeros_like(track.keypoints_px), visible))
    return float(np.mean(found)) if found else float("nan")


def levels(job: Job) -> dict[str, dict[str, float]]:
    """Table 9: other confidences for full motion, sketch and nothing."""
    truth = frames_of(job.clip)
    carried = carried_by(job)
    rows = {}
    for triple in ((1.0, 0.5, 0.0), (0.8, 0.5, 0.2), (3.0, 2.0, 1.0)):
        condition = scene_condition(job.clip.scene, truth.shape[1:3], ConfidenceLevels(*triple))
        rows[f"{triple}, reposed"] = compare(generate(job, condition, carried), truth, job.clip.part_ids)
    return rows


def coarse(job: Job) -> dict[str, dict[str, float]]:
    """Table 8: the cheap first stage against one with all frames and steps."""
    preset = find_preset(job.preset)
    full = replace(preset, coarse_frames=preset.frames, coarse_steps=preset.steps)
    rows = {}
    for name, used in (("cheap S1", preset), ("full S1", full)):
        began = time.perf_counter()
        plan = make_plan(
            frames_of(job.clip)[0], used, job.clip.scene.prompt, None, (), None, None, None, None, SEED, None
        )
        video = revision.coarse_video(plan, quiet)
        scene = revision.refine_scene(plan, revision.extract_scene(plan, video))
        condition = scene_condition(scene, video.frames.shape[1:3])
        made = revision.regenerate(plan, scene, condition, quiet).frames
        rows[name] = judge(made, job.clip) | {"seconds": time.perf_counter() - began}
    return rows


def scene_of_true_video(job: Job) -> Scene:
    """What stage 2 makes of the true frames; two tables take it, so the last clip's is remembered."""
    if job.number not in SCENES:
        SCENES.clear()
        SCENES[job.number] = extract(job.clip.video, job.clip.scene.prompt)
    return SCENES[job.number]


SCENES: dict[int, Scene] = {}


def occlusion(job: Job) -> dict[str, dict[str, float]]:
    """Table 6: where subjects cross, who is in front in the masks that stage 2 projects from the true video."""
    clip = job.clip
    shot = make_shot(clip.scene)
    every = slice(0, len(shot))
    alone = np.stack([rasterize([m], shot.cameras, normals=False).subject_ids > 0 for m in shot.meshes(every)])
    crossing = crossing_pixels(alone)
    if crossing.sum() < 50:
        return {}
    scene = scene_of_true_video(job)
    found = make_shot(scene)
    masks = rasterize(found.meshes(every), found.cameras, normals=False)
    matched = match(masks.subject_ids, clip.subject_ids, len(scene.subjects))
    drawn = np.stack([rasterize([m], found.cameras, normals=False).subject_ids > 0 for m in found.meshes(every)])
    both = crossing & crossing_pixels(drawn)
    rows = {"pixels": float(crossing.sum()), "right subject": order_accuracy(matched, clip.subject_ids, crossing)}
    if both.any():
        rows["right order where projected masks cross too"] = order_accuracy(matched, clip.subject_ids, both)
        rows["pixels where they do"] = float(both.sum())
    carried = carried_by(job)
    made = generate(job, scene_condition(clip.scene, frames_of(clip).shape[1:3]), carried)
    within = cv2.dilate(crossing.transpose(1, 2, 0).astype(np.uint8), np.ones((9, 9), np.uint8)).transpose(2, 0, 1) > 0
    rows["video part mIoU there"] = part_miou(clip.part_ids, parts_in(made), within)
    return {"crossing clips": rows}


def match(found: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Subject ids of a found scene renamed to the true ones that they overlap most; 0 stays."""
    names = np.zeros(256, np.uint8)
    for k in range(1, count + 1):
        overlap = np.bincount(truth[found == k], minlength=2)
        names[k] = overlap[1:].argmax() + 1 if overlap[1:].any() else 255
    return names[found]


def prompts(job: Job) -> dict[str, dict[str, float]]:
    """Whether the right words bring the refined motion nearer to the true one than another clip's words."""
    from kinema.body.model import joints
    from kinema.optimize.optimizer import refine
    from kinema.types import BodyMotion

    body = next((s.motion for s in job.clip.scene.subjects if isinstance(s.motion, BodyMotion)), None)
    if body is None:
        return {}
    scene = scene_of_true_video(job)
    seen = next(
        (s.motion for s in scene.subjects if isinstance(s.motion, BodyMotion) and s.motion.category == body.category),
        None,
    )
    if seen is None:
        return {}
    truth = joints(body)[:, :COMPARED_JOINTS]
    truth = truth - truth[:, :1]

    def error(words: str | None) -> float:
        points = joints(refine(seen, words, hold=(0,)))[:, :COMPARED_JOINTS]
        points = points - points[:, :1]
        a, b = points.reshape(-1, 3), truth.reshape(-1, 3)
        u, _, vt = np.linalg.svd(a.T @ b)
        turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
        return float(np.linalg.norm(a @ turn - b, axis=-1).mean() * 1000)

    action = job.clip.scene.prompt.split(";")[0].split(", ", 1)[-1].split("; before")[0]
    wrong = OTHER_WORDS[job.number % len(OTHER_WORDS)]
    return {
        "refined motion": {"right words mm": error(action), "wrong words mm": error(wrong), "no words mm": error(None)}
    }


OTHER_WORDS = ("a person swims", "a person sits down and stands up", "a person climbs a ladder", "a person plays golf")
TABLES: dict[str, Callable[[Job], dict[str, dict[str, float]]]] = {
    "control": control, "target": target, "stages": stages, "levels": levels, "coarse": coarse,
    "occlusion": occlusion, "prompts": prompts,
}  # fmt: skip
COUNTS = {"levels": 50, "coarse": 50}
"""Tables that take fewer clips than asked."""
