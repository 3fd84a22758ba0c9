"""Frames -> cameras: how the camera pans, tilts and zooms, from what doesn't move (ReVision, section 4.2-S2).

Input: a video, and where the moving subjects are. Output: a level camera a frame with the field of view that is assumed
everywhere here, standing at (0, `HEIGHT_M`, 0) and looking along -z, down by `pitch_rad`; where it really stands and how
far it looks down is found when the bodies are fitted. Each frame's background is laid over that of a
reference frame, coarse to fine, by Gauss-Newton steps on the grey levels in two angles and a zoom (Lucas and Kanade
1981), in which large differences count less. Changes below `STILL_PX` are none: a standing camera comes out as exactly
that.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import savgol_filter

from kinema.camera import FIELD_OF_VIEW_RAD
from kinema.errors import InputError
from kinema.extract.camera_kernels import normal_equations
from kinema.types import Cameras, Video

PITCH_RAD = float(np.radians(8.0))
"""How far a camera looks down where nothing tells: a hand-held one does so by some degrees."""
HEIGHT_M = 1.4
STILL_PX = 0.75
"""The least motion of the picture over a clip, at 128 pixels, that counts as the camera's."""
STILL_SHARE = STILL_PX / 128
STILL_GAIN = 0.9
"""The camera moves only where that brings the mean difference of the backgrounds at least down to this share."""
SMOOTHED_FRAMES, SMOOTHED_DEGREE = 5, 2
"""Angles and zooms are smoothed by local polynomials (Savitzky and Golay 1964)."""
LEVELS = (4, 2, 1)
"""How much smaller the pictures are that are laid over each other, one after the other."""
ITERATIONS = 8
LEAST_SHARE = 0.15
"""Of the picture must be background that both frames show."""
NOISE_GREY = 4.0
"""Grey levels: differences beyond it count less (Huber 1964)."""


def camera_motion(
    video: Video, subject_masks: Bool[np.ndarray, "T H W"] | None = None, pitch_rad: float = PITCH_RAD
) -> Cameras:
    """A camera a frame; where the background shows nothing to hold on to, the camera is taken to stand.

    subject_masks  what may move by itself. Raises InputError where their size is another than the video's
    """
    frames, height, width = video.frames.shape[:3]
    if subject_masks is not None and subject_masks.shape != (frames, height, width):
        raise InputError(
            "subject_masks", f"have shape {subject_masks.shape}", f"{(frames, height, width)}, as the video"
        )
    focal = max(height, width) / 2 / np.tan(FIELD_OF_VIEW_RAD / 2)
    middle = np.array([width, height]) / 2
    found = _moved(found_motion(video, subject_masks, focal, middle), focal, max(height, width))
    K = np.tile(np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1.0]]), (frames, 1, 1))
    K[:, :2, :2] *= np.exp(found[:, 2])[:, None, None]
    T = np.tile(np.eye(4), (frames, 1, 1))
    T[:, :3, :3] = level_rotation(found[:, 0], pitch_rad + found[:, 1])
    T[:, :3, 3] = -T[:, :3, 1] * HEIGHT_M
    return Cameras(K.astype(np.float32), T.astype(np.float32), (height, width))


def level_rotation(pan_rad: Float[np.ndarray, " T"], pitch_rad: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T 3 3"]:
    """World to camera: pan to the right from -z, pitch downwards; rows are right, down, forward."""
    (sp, cp), (s, c) = ((np.sin(a), np.cos(a)) for a in (pan_rad, pitch_rad))
    right = np.stack([cp, 0 * cp, sp], -1)
    forward = np.stack([c * sp, -s, -c * cp], -1)
    down = np.stack([-s * sp, -c, s * cp], -1)
    return np.stack([right, down, forward], 1)


def found_motion(video: Video, masks: np.ndarray | None, focal: float, middle: np.ndarray) -> np.ndarray:
    """[T,3] pan and pitch in rad and the logarithm of the zoom, all against the first frame.

    Frames are laid over a reference frame, not over the one before, so that errors don't add up; a new reference is taken
    when too little of it is left in the picture.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in video.frames]
    reach = max(1, round(max(grey[0].shape) * 3 / 128))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    free = [np.ones(g.shape, np.float32) for g in grey]
    if masks is not None:
        free = [1 - cv2.dilate(mask.astype(np.uint8), kernel).astype(np.float32) for mask in masks]
    found = np.zeros((len(grey), 3))
    reference, before, after = 0, 0.0, 0.0

    def aligned(t: int) -> tuple[np.ndarray, float | None, float]:
        pair = _Pair(grey[reference], grey[t], free[reference], free[t], focal, middle)
        return pair.align(found[t - 1] - found[reference])

    for t in range(1, len(grey)):
        step, cost, still = aligned(t)
        if cost is None and reference < t - 1:
            reference = t - 1
            step, cost, still = aligned(t)
        found[t] = found[t - 1] if cost is None else found[reference] + step
        if cost is not None and reference == 0:
            before, after = before + still, after + cost
    return found * (after < STILL_GAIN * before or reference > 0)


@dataclass(frozen=True)
class _Pair:
    """Two grey pictures, where each shows background (1, else 0), and the first one's lens."""

    first: np.ndarray
    second: np.ndarray
    free_first: np.ndarray
    free_second: np.ndarray
    focal: float
    middle: np.ndarray

    def align(self, motion: np.ndarray) -> tuple[np.ndarray, float | None, float]:
        """-> the camera's motion from the first to the second; the mean difference after it, None where there is too
        little to go by; and that without any motion."""
        for smaller in LEVELS:
            small = self._shrunk(smaller)
            for _ in range(ITERATIONS):
                step = small._step(motion)
                if step is None:
                    return motion, None, 0.0
                motion = motion + step
                if np.abs(step).max() * small.focal < 0.01:
                    break
        cost, still = self._difference(motion), self._difference(np.zeros(3))
        return motion, cost, still if still is not None else np.inf

    def _shrunk(self, smaller: int) -> _Pair:
        if smaller == 1:
            return self
        height, width = self.first.shape
        size = (max(8, width // smaller), max(8, height // smaller))
        a, b, c, d = (
            cv2.resize(v, size, interpolation=cv2.INTER_AREA)
            for v in (self.first, self.second, self.free_first, self.free_second)
        )
        scale = np.array([size[0] / width, size[1] / height])
        return _Pair(
            a, b, np.floor(c + 0.01), np.floor(d + 0.01), self.focal * float(scale.mean()), self.middle * scale
        )

    def _laid_over(self, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The second picture as the first camera sees it, and where both show background."""
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        lens = np.array([[self.focal, 0, self.middle[0]], [0, self.focal, self.middle[1]], [0, 0, 1]])
        zoom = np.diag([np.exp(motion[2]), np.exp(motion[2]), 1])
        turn = level_rotation(np.array([0.0, motion[0]]), np.array([0.0, motion[1]]))
        away = np.linalg.inv(half) @ lens @ zoom @ turn[1] @ turn[0].T @ np.linalg.inv(lens) @ half
        size = self.first.shape[::-1]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpPerspective(self.second, away, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        free = cv2.warpPerspective(self.free_second, away, size, flags=flags)
        return picture, (free > 0.99) & (self.free_first > 0.99)

    def _step(self, motion: np.ndarray) -> np.ndarray | None:
        """[3] a Gauss-Newton step; None where there is too little background."""
        picture, both = self._laid_over(motion)
        if both.mean() < LEAST_SHARE:
            return None
        shift = float(np.median((picture - self.first)[both]))
        x, y = self.middle
        normal, off_along = normal_equations(picture, self.first, both, shift, self.focal, x, y, NOISE_GREY)
        normal += np.eye(3) * (1e-6 * np.trace(normal) + 1e-6)
        return -np.linalg.solve(normal, off_along)

    def _difference(self, motion: np.ndarray) -> float | None:
        picture, both = self._laid_over(motion)
        if both.mean() < LEAST_SHARE:
            return None
        off = (picture - self.first)[both]
        return float(np.minimum(np.abs(off - np.median(off)), 3 * NOISE_GREY).mean())


def _moved(found: np.ndarray, focal: float, side: int) -> np.ndarray:
    """Smoothed, and exactly 0 in each of the three where the picture's motion by it stays below the noise."""
    if len(found) >= SMOOTHED_FRAMES:
        smooth = np.asarray(savgol_filter(found, SMOOTHED_FRAMES, SMOOTHED_DEGREE, axis=0, mode="interp"))
        found = smooth - smooth[:1]
    seen_px = np.abs(found).max(0) * [focal, focal, side / 2]
    return found * (seen_px > STILL_SHARE * side)
