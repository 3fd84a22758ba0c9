"""How good a video looks beside the true one, and how steady and lively it is by itself.

Input: videos uint8 [T,H,W,3] RGB. Output: one number a clip. Sources: PSNR, SSIM, LPIPS as human image animation is
judged (ReVision, section 5.2); dynamic degree, motion smoothness, subject and background consistency as VBench (Huang
et al. 2024) has them, with what VBench takes from big networks replaced: RAFT by DIS flow, the interpolation network
by flow, DINO and CLIP by `handcrafted_features.colour_layout`. So the numbers order videos of one kind; they are not to
be put beside VBench's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from kinema.errors import InputError
from kinema.evaluate.control_metrics import check_same_shape, pixel_mse
from kinema.evaluate.handcrafted_features import colour_layout
from kinema.extract.optical_flow import flow_between, optical_flow, to_grey

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Window in px and constants of Wang et al. 2004, section III-C."""
STRONG_SHARE = 0.05
DYNAMIC_PX_AT_256 = 6.0
DYNAMIC_PAIRS_OF_16 = 4
"""VBench's dynamic degree: the top 5 % of the flow, above 6 px a frame at a shorter side of 256, in 4 of 16 frames."""

Features = Callable[[UInt8[np.ndarray, "T H W 3"], Bool[np.ndarray, "T H W"]], Float[np.ndarray, "T D"]]
"""From frames and the pixels that count to one vector a frame; zeros for a frame in which none does."""


def psnr_db(video: UInt8[np.ndarray, "T H W 3"], truth: UInt8[np.ndarray, "T2 H2 W2 3"]) -> float:
    """Peak signal-to-noise ratio, dB, higher is better; infinite for equal videos. At least 30 clips.

    Of the squared error of the whole clip, not the mean of the frames' ratios: one exact frame, as the first of
    image-to-video is, would make that infinite. Source: Hore & Ziou 2010.
    """
    error = pixel_mse(video, truth)
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def ssim(video: UInt8[np.ndarray, "T H W 3"], truth: UInt8[np.ndarray, "T2 H2 W2 3"]) -> float:
    """Structural similarity, at most 1, higher is better; mean over frames. At least 30 clips.

    Grey, Gaussian window of 11x11 px (sigma 1.5), where it lies wholly inside the picture. Source: Wang et al. 2004.
    Raises InputError for pictures under 11 px a side.
    """
    check_same_shape(video, truth)
    if min(video.shape[1:3]) < SSIM_WINDOW:
        raise InputError("video", f"is {video.shape[2]}x{video.shape[1]}", f"at least {SSIM_WINDOW} px a side for SSIM")
    pairs = zip(to_grey(video), to_grey(truth), strict=True)
    return float(np.mean([_ssim_of_pair(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs]))


def _ssim_of_pair(a: Float[np.ndarray, "H W"], b: Float[np.ndarray, "H W"]) -> float:
    def local_mean(picture: np.ndarray) -> np.ndarray:
        edge = SSIM_WINDOW // 2
        return cv2.GaussianBlur(picture, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA)[edge:-edge, edge:-edge]

    mean_a, mean_b = local_mean(a), local_mean(b)
    spread = local_mean(a * a) + local_mean(b * b) - mean_a**2 - mean_b**2
    shared = local_mean(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + SSIM_C1) * (2 * shared + SSIM_C2)
    return float((likeness / ((mean_a**2 + mean_b**2 + SSIM_C1) * (spread + SSIM_C2))).mean())


def lpips_distance(video: UInt8[np.ndarray, "T H W 3"], truth: UInt8[np.ndarray, "T2 H2 W2 3"]) -> float:
    """Learned perceptual distance on AlexNet, lower is better; mean over frames. At least 30 clips.

    Source: Zhang et al. 2018, by their package `lpips` 0.1. It is not among kinema's requirements, and AlexNet's
    weights come by network: raises InputError, saying how to get them, where either is missing; downloads nothing.
    """
    check_same_shape(video, truth)
    model = _lpips_model()
    import torch

    with torch.inference_mode():
        pairs = [torch.from_numpy(v).permute(0, 3, 1, 2).float() / 127.5 - 1 for v in (video, truth)]
        return float(model(*pairs).mean())


@cache
def _lpips_model():
    try:
        import lpips  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError) as error:
        # torchvision, which it imports, raises RuntimeError beside a torch of another build.
        mend = "pip install lpips torchvision, in builds that fit torch"
        raise InputError("lpips", f"the package cannot be imported ({error})", mend=mend) from None
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    weights = Path(home).expanduser() / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    if not weights.is_file():
        mend = "with a network, once: python -c 'import lpips; lpips.LPIPS(net=\"alex\")'"
        raise InputError("lpips", f"AlexNet's weights are not at {weights}", mend=mend)
    return lpips.LPIPS(net="alex", verbose=False).eval()


def flow_strength_px(video: UInt8[np.ndarray, "T H W 3"]) -> float:
    """Mean over frames of the strongest 5 % of the flow, px a frame; no direction is better. At least 30 clips."""
    return float(_strongest_flow(video).mean())


def dynamic_degree(video: UInt8[np.ndarray, "T H W 3"]) -> float:
    """1 where a video moves clearly, else 0; its mean over clips is the dynamic degree, higher is better.

    A pair of frames moves where its strongest 5 % of flow are over 6 px on average, at a shorter side of 256 px (3 px
    at 128); a clip does where a quarter of its frames are such pairs. Frames are taken as they are: give 8 a second, as
    VBench does. At least 100 clips. Source: VBench, with DIS instead of RAFT.
    """
    threshold = DYNAMIC_PX_AT_256 * min(video.shape[1:3]) / 256
    needed = max(1, round(DYNAMIC_PAIRS_OF_16 * len(video) / 16))
    return float((_strongest_flow(video) > threshold).sum() >= needed)


def _strongest_flow(video: UInt8[np.ndarray, "T H W 3"]) -> Float[np.ndarray, " T-1"]:
    speed = np.linalg.norm(optical_flow(video), axis=-1).reshape(len(video) - 1, -1)
    count = max(1, int(STRONG_SHARE * speed.shape[1]))
    return np.partition(speed, -count, axis=1)[:, -count:].mean(1)


def motion_smoothness(video: UInt8[np.ndarray, "T H W 3"]) -> float:
    """1 - mean difference of every second frame from the one interpolated between its neighbours, 0-1, higher is better.

    Both neighbours are warped half-way along the DIS flow between them and averaged. A still video scores 1: read it
    beside `dynamic_degree`. At least 30 clips. Source: VBench, with flow instead of its interpolation network (AMT).
    Raises InputError for fewer than three frames.
    """
    if len(video) < 3:
        raise InputError("video", f"has {len(video)} frames", expected="at least 3, to see whether it moves smoothly")
    grey = to_grey(video)
    errors = [
        np.abs(_halfway(video[t - 1], video[t + 1], grey[t - 1], grey[t + 1]) - video[t]).mean()
        for t in range(1, len(video) - 1, 2)
    ]
    return 1 - float(np.mean(errors)) / 255


def _halfway(a: np.ndarray, b: np.ndarray, grey_a: np.ndarray, grey_b: np.ndarray) -> Float[np.ndarray, "H W 3"]:
    height, width = grey_a.shape
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    pictures = []
    for picture, flow in ((b, flow_between(grey_a, grey_b)), (a, flow_between(grey_b, grey_a))):
        where = here + flow / 2
        pictures.append(
            cv2.remap(
                picture.astype(np.float32), where[..., 0], where[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
            )
        )
    return (pictures[0] + pictures[1]) / 2


def subject_consistency(
    video: UInt8[np.ndarray, "T H W 3"], subject: Bool[np.ndarray, "T H W"], features: Features = colour_layout
) -> float:
    """How much the subject looks the same in all frames, 0-1, higher is better. At least 30 clips.

    subject   its pixels in every frame
    features  of those pixels; VBench has DINO's, the default is `colour_layout`'s histograms
    The mean over frames of the cosine similarity to the frame before and to the first one. A frame without the subject
    counts 0. Source: VBench. Raises InputError where the first frame has no such pixel, or there is but one frame.
    """
    if len(video) < 2:
        raise InputError("video", f"has {len(video)} frame", expected="at least 2, to be consistent")
    if not subject[0].any():
        raise InputError("subject", "has no pixel in the first frame", expected="a subject that is seen there")
    found = features(video, subject)
    unit = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    to_last, to_first = (unit[1:] * unit[:-1]).sum(1), unit[1:] @ unit[0]
    return float((to_last + to_first).mean() / 2)


def background_consistency(
    video: UInt8[np.ndarray, "T H W 3"], subject: Bool[np.ndarray, "T H W"], features: Features = colour_layout
) -> float:
    """How much what is not the subject looks the same in all frames: `subject_consistency` of the other pixels.

    0-1, higher is better, at least 30 clips. VBench has CLIP's features of whole frames. A moving camera lowers it.
    """
    if subject[0].all():
        raise InputError("subject", "fills the first frame", expected="some background in it")
    return subject_consistency(video, ~subject, features)
