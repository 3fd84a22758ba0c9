"""Other times for the frames of masks: another rate, another length, backwards, in a loop, held, warped.

Input: a sequence or a `Draft`. Output: the same with other frames; none are mixed, but for in-between frames of `warp`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from kinema.errors import InputError
from kinema.types import MaskSequence

if TYPE_CHECKING:
    from kinema.masks.draft import Draft

MOST_FRAMES = 20_000
"""Longer is a slip in a recipe (over 40 minutes at 8 frames a second)."""


def choose(masks: MaskSequence, frames: Int[np.ndarray, " M"]) -> MaskSequence:
    """The given frames, in their order."""
    return replace(masks, masks=masks.masks[frames])


def resampled_frames(count: int, fps: float, to: float) -> Int[np.ndarray, " M"]:
    """The frames of a clip that are on at the middle of each frame of another rate, as `kinema.video.resample`."""
    wanted = max(1, round(count * to / fps))
    return np.minimum(((np.arange(wanted) + 0.5) * fps / to).astype(int), count - 1)


def resample(masks: MaskSequence, fps: float) -> MaskSequence:
    """The same masks at another rate, nearest in time."""
    if fps == masks.fps:
        return masks
    return replace(choose(masks, resampled_frames(len(masks), masks.fps, fps)), fps=float(fps))


def clip_frames(seconds: float, fps: float) -> int:
    """Frames of a clip of so many seconds, 4n + 1 as video autoencoders want it: 33 for 4 s at 8 a second."""
    count = 4 * round(seconds * fps / 4) + 1
    if not 0 < count <= MOST_FRAMES:
        raise InputError(
            "seconds", f"are {seconds:g}, {count} frames at {fps:g} a second", f"up to {MOST_FRAMES} frames"
        )
    return count


def rate(draft: Draft, fps: float) -> Draft:
    """Another frame rate, the same seconds."""
    chosen = draft.at(resampled_frames(len(draft), draft.source.fps, fps))
    return replace(chosen, source=replace(chosen.source, fps=fps))


def reverse(draft: Draft) -> Draft:
    """Backwards."""
    return draft.at(np.arange(len(draft))[::-1])


def cut(draft: Draft, start: float, end: float) -> Draft:
    """A piece of the clip, both ends with it."""
    last = len(draft) - 1
    first, final = round(start * last), round(end * last)
    if final < first:
        raise InputError("cut", f"starts at {start:g} and ends at {end:g}", "a start before the end")
    return draft.at(np.arange(first, final + 1))


def length(draft: Draft, seconds: float | None, frames: float | None) -> Draft:
    """Longer by holding the last frame, or cut at the end."""
    return draft.at(np.minimum(np.arange(_wanted(draft, "length", seconds, frames)), len(draft) - 1))


def loop(draft: Draft, seconds: float | None, times: float | None, how: str) -> Draft:
    """Over and over: from the start again, or there and back, which has no jump."""
    own = np.arange(len(draft))
    period = np.concatenate([own, own[-2:0:-1]]) if how == "there-and-back" else own
    wanted = None if times is None else max(1, round(times * len(period)))
    return draft.at(period[np.arange(_wanted(draft, "loop", seconds, wanted)) % len(period)])


def hold(draft: Draft, at: float, seconds: float) -> Draft:
    """One frame stands still for so many seconds more."""
    still, more = round(at * (len(draft) - 1)), round(seconds * draft.source.fps)
    _check_count("hold", len(draft) + more)
    own = np.arange(len(draft))
    return draft.at(np.concatenate([own[: still + 1], np.full(more, still), own[still + 1 :]]))


def warp(
    draft: Draft, speed: float | None, seconds: float | None, to: Float[np.ndarray, " T"] | None, between: str
) -> Draft:
    """Faster or slower: by a factor, into so many seconds, or along a curve of shares of the clip.

    between  "nearest" frame in time, or "blend": the outline goes over from one frame to the next
    """
    from kinema.masks.outlines import in_between

    if sum(v is not None for v in (speed, seconds, to)) != 1:
        raise InputError("time-warp", "says not once how fast", "one of speed, seconds, to")
    last = len(draft) - 1
    if speed is not None:
        _check_count("time-warp", int(last / speed) + 1)
        times = np.arange(int(last / speed + 1e-9) + 1) * speed
    else:
        times = np.linspace(0, last, clip_frames(seconds, draft.source.fps)) if seconds is not None else to * last  # type: ignore[operator]
    if between == "nearest":
        return draft.at(np.floor(times + 0.5 - 1e-9).astype(int).clip(0, last))
    return in_between(draft, times)


def _wanted(draft: Draft, where: str, seconds: float | None, frames: float | None) -> int:
    if (seconds is None) == (frames is None):
        raise InputError(where, "says not once how long", "seconds or a number, one of them")
    count = clip_frames(seconds, draft.source.fps) if seconds is not None else round(frames)  # type: ignore[arg-type]
    _check_count(where, count)
    return count


def _check_count(where: str, count: int) -> None:
    if not 1 <= count <= MOST_FRAMES:
        raise InputError(where, f"makes {count} frames", f"1 to {MOST_FRAMES}")
