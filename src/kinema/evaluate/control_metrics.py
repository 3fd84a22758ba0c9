"""How well a video does what it was told: against the condition's part masks, the true clip, the sketched target.

Input: videos uint8 [T,H,W,3] RGB, part ids uint8 [T,H,W] of `kinema.body.skeleton.PARTS`. Output: one number a clip.
Source: ReVision, section 5.1, table 2 (mIoU, flow error, pixel MSE; it takes them from Go-with-the-Flow, Burgert et
al. 2025), on part masks and with the flow of `kinema.extract.optical_flow`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8

from kinema.errors import InputError
from kinema.extract.optical_flow import optical_flow

TINY_SHARE = 1 / 2000
"""A part with fewer pixels than this share of the picture (8 of 128x128), on average where it is seen, is too small to
be judged: one pixel of its edge would decide."""
HIT_SHARE = 0.12
"""A target counts as hit within this share of the image height (issue 3 of the project, aim 2)."""


def part_miou(
    condition: UInt8[np.ndarray, "T H W"],
    found: UInt8[np.ndarray, "T2 H2 W2"],
    within: Bool[np.ndarray, "T H W"] | None = None,
) -> float:
    """Mean intersection over union of the parts, 0-1, higher is better. At least 30 clips for a mean over clips.

    condition  part ids that the video was told to show
    found      part ids that were extracted from it
    within     count these pixels only, such as those where subjects cross; default all
    The IoU of a part is pooled over the frames. The mean is over the parts that the condition shows, without the
    background and without tiny ones (`TINY_SHARE`). A part that is found but not in the condition counts where it takes
    another's pixels. Source: Jaccard index as in PASCAL VOC (Everingham et al. 2010). Raises InputError where the
    condition shows no part.
    """
    check_same_shape(condition, found)
    chosen = np.ones(condition.shape, bool) if within is None else within
    pairs = condition[chosen].astype(np.int64) * 256 + found[chosen]
    both = np.bincount(pairs, minlength=65536).reshape(256, 256)
    area, frames_seen = _area_where_seen(condition, chosen)
    parts = np.flatnonzero(area >= TINY_SHARE * condition[0].size * frames_seen)
    parts = parts[(parts > 0) & (frames_seen[parts] > 0)]
    if len(parts) == 0:
        raise InputError("condition", "shows no part that is large enough to be judged", expected="part ids above 0")
    overlap = both.diagonal()[parts]
    union = both.sum(1)[parts] + both.sum(0)[parts] - overlap
    return float((overlap / union).mean())


def flow_error_px(video: UInt8[np.ndarray, "T H W 3"], truth: UInt8[np.ndarray, "T2 H2 W2 3"]) -> float:
    """Mean end-point difference of the two videos' optical flow, px a frame, lower is better. At least 30 clips.

    It grows with the size of the picture: compare at equal sizes. Source: end-point error (Baker et al. 2011,
    Middlebury) between DIS flows. Raises InputError for fewer than two frames.
    """
    check_same_shape(video, truth)
    return float(np.linalg.norm(optical_flow(video) - optical_flow(truth), axis=-1).mean())


def pixel_mse(video: UInt8[np.ndarray, "T H W 3"], truth: UInt8[np.ndarray, "T2 H2 W2 3"]) -> float:
    """Mean squared difference of RGB values on a scale of 0-1, lower is better. At least 30 clips."""
    check_same_shape(video, truth)
    return float(np.square(video.astype(np.float32) - truth).mean(dtype=np.float64)) / 255**2


def target_error(
    part_ids: UInt8[np.ndarray, "H W"], target_part: int, target_px: Float[np.ndarray, " 2"] | tuple[float, float]
) -> float:
    """Distance of a part's centre from where it was sketched, as a share of the image height, lower is better.

    part_ids     of the last frame, extracted from the video
    target_part  id of the part that was sketched
    target_px    (x, y) of the sketch's centre; the first pixel's centre is at (0.5, 0.5)
    The centre is the mean of the part's pixels; infinite where the part is missing, so take the median over clips. At
    least 30 clips. Source: percentage of correct keypoints (Andriluka et al. 2014), before its threshold.
    """
    y, x = np.nonzero(part_ids == target_part)
    if len(x) == 0:
        return float("inf")
    centre = np.array([x.mean() + 0.5, y.mean() + 0.5])
    return float(np.linalg.norm(centre - np.asarray(target_px, float))) / part_ids.shape[0]


def target_hit(
    part_ids: UInt8[np.ndarray, "H W"], target_part: int, target_px: Float[np.ndarray, " 2"] | tuple[float, float]
) -> float:
    """1 where `target_error` is at most 0.12, else 0; its mean over clips is the hit rate, higher is better.

    At least 100 clips, for a standard error under 5 points. Source: PCK (Andriluka et al. 2014).
    """
    return float(target_error(part_ids, target_part, target_px) <= HIT_SHARE)


def target_hit_rate(errors: Float[np.ndarray, " N"], within: float = HIT_SHARE) -> float:
    """Share of target errors of at most `within`, 0-1, higher is better. At least 100 clips."""
    return float((np.asarray(errors) <= within).mean())


def _area_where_seen(part_ids: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[256] pixels of every part in the clip, [256] number of frames that show it."""
    frame = np.broadcast_to(np.arange(len(part_ids))[:, None, None], part_ids.shape)
    table = np.bincount((frame * 256 + part_ids)[chosen], minlength=256 * len(part_ids)).reshape(-1, 256)
    return table.sum(0), (table > 0).sum(0)


def check_same_shape(a: np.ndarray, b: np.ndarray) -> None:
    """Raises InputError where two clips differ in length or size."""
    if a.shape != b.shape:
        (t, h, w), (t2, h2, w2) = a.shape[:3], b.shape[:3]
        raise InputError(
            "videos",
            f"one has {t} frames of {w}x{h}, the other {t2} of {w2}x{h2}",
            expected="two videos of the same length and size",
            mend="cut or scale one to the other",
        )
