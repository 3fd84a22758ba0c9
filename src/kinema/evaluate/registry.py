"""All metrics by name: the function, its unit, which way is better, its source, its least sample count, its inputs.

`METRICS` is what `kinema.evaluate.report` goes by and what `docs/evaluate.md` shows. An input is a key of what is known
of a clip, in the order of the function's arguments; `truth.` stands before what is known of the true clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from kinema.errors import InputError
from kinema.evaluate import control_metrics, frechet, keypoint_metrics, morphology, occlusion, video_metrics
from kinema.evaluate.bootstrap import Statistic
from kinema.evaluate.seams import measure_seams
from kinema.types import MaskSequence

if TYPE_CHECKING:
    from kinema.evaluate.mask_alignment import Tracker

NOMINAL_FPS = 8.0
"""Of masks whose rate nothing goes by."""
INPUTS: dict[str, str] = {
    "video": "frames uint8 [T,H,W,3] RGB",
    "part_ids": "part ids uint8 [T,H,W] extracted from the video",
    "subject_ids": "subject ids uint8 [T,H,W], 0 background",
    "joints_px": "joints [T,J,2] in pixels",
    "joints_visible": "bool [T,J]: which of them can be seen",
    "crossing": "bool [T,H,W]: pixels in which subjects cross",
    "target_part": "id of the part that was sketched",
    "target_px": "(x, y) of the sketch's centre in pixels",
    "masks": "bool [T,N,H,W]: the masks that drove the video, at any size",
    "prompt": "what the video was told to show",
    "seams": "int: the first frame of every clip of a long video but the first",
}
"""What a clip may bring: its video, and the keys of its .npz file."""


@dataclass(frozen=True)
class Metric:
    """How to measure one thing.

    function  from the inputs, in order, to one number; of a clip, or with over "set" from lists over all clips
    unit      of the number; "" for a pure one
    better    which way; "neither" where it only describes
    source    where it is from
    least     clips under which the number over clips is not to be trusted
    needs     keys of `INPUTS`, with `truth.` before those of the true clip
    summary   what is made of the clips' numbers
    """

    function: Callable[..., float]
    unit: str
    better: Literal["higher", "lower", "neither"]
    source: str
    least: int
    needs: tuple[str, ...]
    summary: Statistic = "mean"
    over: Literal["clip", "set"] = "clip"


def _target_error(part_ids: UInt8[np.ndarray, "T H W"], part: np.ndarray, centre: np.ndarray) -> float:
    return control_metrics.target_error(part_ids[-1], int(part), np.asarray(centre, np.float64))


def _target_hit(part_ids: UInt8[np.ndarray, "T H W"], part: np.ndarray, centre: np.ndarray) -> float:
    return control_metrics.target_hit(part_ids[-1], int(part), np.asarray(centre, np.float64))


def _subject_consistency(video: UInt8[np.ndarray, "T H W 3"], part_ids: UInt8[np.ndarray, "T H W"]) -> float:
    return video_metrics.subject_consistency(video, part_ids > 0)


def _background_consistency(video: UInt8[np.ndarray, "T H W 3"], part_ids: UInt8[np.ndarray, "T H W"]) -> float:
    return video_metrics.background_consistency(video, part_ids > 0)


def _acceleration_error(
    found: Float[np.ndarray, "T J 2"], truth: Float[np.ndarray, "T J 2"], visible: Bool[np.ndarray, "T J"]
) -> float:
    return keypoint_metrics.acceleration_error_px(found, truth, visible)


def _failure_rate(part_ids: UInt8[np.ndarray, "T H W"], subject_ids: UInt8[np.ndarray, "T H W"]) -> float:
    return morphology.morphology_failure_rate(part_ids, subject_ids=subject_ids)


def _clip_failure(part_ids: UInt8[np.ndarray, "T H W"], subject_ids: UInt8[np.ndarray, "T H W"]) -> float:
    return morphology.morphology_clip_failure(part_ids, subject_ids=subject_ids)


def _mask_alignment(video: UInt8[np.ndarray, "T H W 3"], masks: Bool[np.ndarray, "T N H2 W2"]) -> float:
    from kinema.evaluate.mask_alignment import PerceptionTracker

    return _alignment(video, masks, PerceptionTracker())


def _mask_alignment_colour(video: UInt8[np.ndarray, "T H W 3"], masks: Bool[np.ndarray, "T N H2 W2"]) -> float:
    from kinema.extract.box_segmenter import shipped_segmenter

    return _alignment(video, masks, shipped_segmenter("colour"))


def _mask_alignment_grey(video: UInt8[np.ndarray, "T H W 3"], masks: Bool[np.ndarray, "T N H2 W2"]) -> float:
    from kinema.extract.box_segmenter import shipped_segmenter

    return _alignment(video, masks, shipped_segmenter("grey"))


def _alignment(video: np.ndarray, masks: np.ndarray, tracker: Tracker) -> float:
    from kinema.evaluate.mask_alignment import LEAST_AREA, mask_alignment

    found = mask_alignment(video, MaskSequence(masks, ("",) * masks.shape[1], NOMINAL_FPS), tracker)
    if np.isnan(found):
        raise InputError("masks", "show nothing that is large enough", f"{LEAST_AREA:.1%} of the picture in some frame")
    return found


def _text_alignment(video: UInt8[np.ndarray, "T H W 3"], prompt: str) -> float:
    from kinema.evaluate.text_alignment import text_alignment

    return text_alignment(video, prompt)


def _seam_ratio(video: UInt8[np.ndarray, "T H W 3"], frames: np.ndarray) -> float:
    return float(np.median([seam.difference_ratio for seam in measure_seams(video, frames.tolist())]))


def _seam_drift(video: UInt8[np.ndarray, "T H W 3"], frames: np.ndarray) -> float:
    return float(np.mean([seam.colour_drift for seam in measure_seams(video, frames.tolist())]))


_PAIR = ("video", "truth.video")
_TARGET = ("part_ids", "target_part", "target_px")
_LOOKS = ("video", "part_ids")
_WHOSE = ("part_ids", "subject_ids")
_SEAMS = ("video", "seams")
_VBENCH = "VBench (Huang et al. 2024)"

METRICS: dict[str, Metric] = {
    "part_miou": Metric(
        control_metrics.part_miou, "", "higher", "Everingham et al. 2010", 30, ("truth.part_ids", "part_ids")
    ),
    "flow_error": Metric(
        control_metrics.flow_error_px, "px/frame", "lower", "Baker et al. 2011, between DIS flows", 30, _PAIR
    ),
    "pixel_mse": Metric(control_metrics.pixel_mse, "", "lower", "ReVision, table 2", 30, _PAIR),
    "target_error": Metric(
        _target_error,
        "image heights",
        "lower",
        "Andriluka et al. 2014 (PCK), before its threshold",
        30,
        _TARGET,
        "median",
    ),
    "target_hit_rate": Metric(_target_hit, "", "higher", "Andriluka et al. 2014 (PCK at 0.12)", 100, _TARGET),
    "psnr": Metric(video_metrics.psnr_db, "dB", "higher", "Hore & Ziou 2010", 30, _PAIR),
    "ssim": Metric(video_metrics.ssim, "", "higher", "Wang et al. 2004", 30, _PAIR),
    "lpips": Metric(video_metrics.lpips_distance, "", "lower", "Zhang et al. 2018, AlexNet", 30, _PAIR),
    "frechet_video_distance": Metric(
        frechet.frechet_video_distance,
        "feature^2",
        "lower",
        "Unterthiner et al. 2018, on kinema-handcrafted features",
        frechet.LEAST_CLIPS,
        _PAIR,
        over="set",
    ),
    "dynamic_degree": Metric(video_metrics.dynamic_degree, "", "higher", f"{_VBENCH}, DIS for RAFT", 100, ("video",)),
    "flow_strength": Metric(video_metrics.flow_strength_px, "px/frame", "neither", _VBENCH, 30, ("video",)),
    "motion_smoothness": Metric(
        video_metrics.motion_smoothness, "", "higher", f"{_VBENCH}, flow for AMT", 30, ("video",)
    ),
    "subject_consistency": Metric(_subject_consistency, "", "higher", f"{_VBENCH}, colour layout for DINO", 30, _LOOKS),
    "background_consistency": Metric(
        _background_consistency, "", "higher", f"{_VBENCH}, colour layout for CLIP", 30, _LOOKS
    ),
    "morphology_failure_rate": Metric(_failure_rate, "", "lower", "kinema's own rule", 100, _WHOSE),
    "morphology_clip_failures": Metric(_clip_failure, "", "lower", "kinema's own rule, > 20 % of frames", 100, _WHOSE),
    "joint_acceleration_error": Metric(
        _acceleration_error,
        "px/frame^2",
        "lower",
        "Kanazawa et al. 2019, in pixels",
        30,
        ("joints_px", "truth.joints_px", "truth.joints_visible"),
    ),
    "occlusion_order_accuracy": Metric(
        occlusion.order_accuracy,
        "",
        "higher",
        "Bell et al. 2014 (WHDR), unweighted, turned",
        30,
        ("subject_ids", "truth.subject_ids", "truth.crossing"),
    ),
    "mask_alignment": Metric(
        _mask_alignment, "", "higher", "MVideo, equation 3, mini-perception for SAM 2", 30, ("video", "masks")
    ),
    "mask_alignment_colour": Metric(
        _mask_alignment_colour, "", "higher", "MVideo, equation 3, a segmenter told by boxes", 30, ("video", "masks")
    ),
    "mask_alignment_grey": Metric(
        _mask_alignment_grey, "", "higher", "MVideo, equation 3, a segmenter without colour", 30, ("video", "masks")
    ),
    "text_alignment": Metric(
        _text_alignment, "100 cosine", "higher", "Hessel et al. 2021, kinema's judge for CLIP", 30, ("video", "prompt")
    ),
    "seam_difference_ratio": Metric(_seam_ratio, "", "lower", "kinema's own, median over seams", 30, _SEAMS),
    "seam_colour_drift": Metric(_seam_drift, "8-bit levels", "lower", "kinema's own, mean over seams", 30, _SEAMS),
}
