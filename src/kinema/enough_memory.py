"""Whether a preset's model fits into the memory of this machine, known before anything is fetched or read.

Input: a preset and the clip that is asked of it. Output: what it needs under each memory preset, and what of it fits here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, get_args

from kinema.errors import InputError
from kinema.picture import fit
from kinema.presets import CLIP_PRESETS, PRESETS, ClipPreset, Preset
from kinema.reinforce.memory import Memory

if TYPE_CHECKING:
    from kinema.reinforce.memory_estimate import Job, Need

GIB = 1 << 30
UNCHECKED = "KINEMA_ANY_MEMORY"
"""Set in the environment, nothing is refused for its memory: the estimate may be wrong."""
NEGLIGIBLE = 0.01
"""Of the free memory: a model with fewer bytes of weights is not looked at, so that the mini models start at once."""
FROM_LARGE_TO_SMALL = (
    "wan", "vace-14b", "cogvideox-5b", "cogvideox-fun", "vace-1.3b", "cogvideox-2b", "svd", "mini-svd", "mini-cogvideox",
)  # fmt: skip
"""Presets that are proposed instead."""
USUAL_SHAPE_HW = (9, 16)
"""Of a picture whose shape is not known."""


@dataclass(frozen=True)
class Free:
    """Free bytes of this machine; gpu None: it has none that torch can use."""

    gpu: int | None
    host: int

    @property
    def least(self) -> int:
        """Of the memories that there are."""
        return self.host if self.gpu is None else min(self.host, self.gpu)

    def holds(self, need: Need) -> bool:
        return need.host <= self.host and (self.gpu is None or need.gpu <= self.gpu)


def free_memory() -> Free:
    """What is free, and what this process holds already: that is a model read before, or room that it left."""
    import psutil
    import torch

    gpu = None
    if torch.cuda.is_available():
        gpu = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    return Free(gpu, psutil.virtual_memory().available + psutil.Process().memory_info().rss)


def find(name: str) -> Preset | ClipPreset:
    """A preset of either kind, with or without weights. Raises InputError for an unknown name."""
    known: dict[str, Preset | ClipPreset] = {**PRESETS, **CLIP_PRESETS}
    if name not in known:
        raise InputError("preset", f"is {name!r}", expected="one of " + ", ".join(known))
    return known[name]


def job_of(
    preset: Preset | ClipPreset, size: tuple[int, int] | None, frames: int | None, on_gpu: bool, coarse: bool = True
) -> Job:
    """The largest clip that is made on the way to a video.

    size    (width, height) of a picture's frames, about; None: the preset's
    frames  of the video; longer ones come in clips; None: one whole clip
    coarse  whether there is a coarse video first
    """
    import torch

    from kinema.precision import quick_dtype
    from kinema.reinforce.memory_estimate import Job
    from kinema.reinforce.public_configs import PUBLIC, configs_in

    configs = PUBLIC[preset.name] if preset.folder is None else configs_in(preset.folder)
    dtype = getattr(torch, preset.on_gpu) if on_gpu else quick_dtype("cpu")
    if isinstance(preset, ClipPreset):
        clip = preset.clip
        if size is not None and size != clip.size:
            width, height = clip.size
            raise InputError("size", f"is {size[0]}x{size[1]}", f"{width}x{height}, which {preset.name} makes")
        guided = clip.guidance > 1 and not clip.guide_all
        return Job("cogvideox", configs, clip.size, clip.frames, dtype, guided, small_size=clip.small_size)
    hw, pixels = (USUAL_SHAPE_HW, preset.pixels) if size is None else ((size[1], size[0]), size[0] * size[1])
    limits = preset.constraints
    clips = [(fit(hw, pixels, limits.multiple).size, min(frames or preset.frames, preset.frames))]
    if coarse and limits.sees_picture:
        small = fit(hw, round(pixels * preset.coarse_share), limits.multiple).size
        clips.append((small, preset.coarse_frames))
    size, count = max(clips, key=lambda clip: clip[0][0] * clip[0][1] * clip[1])
    return Job(
        preset.model, configs, size, limits.clip_frames(count), dtype, preset.guidance > 1, preset.adapter is not None
    )


def needs(job: Job, on_gpu: bool) -> dict[Memory, Need]:
    """By memory preset; without a GPU there is but one."""
    from kinema.reinforce.memory_estimate import expected

    return {memory: expected(job, memory, on_gpu) for memory in (get_args(Memory) if on_gpu else ("fast",))}


def check_memory(
    preset: Preset | ClipPreset, size: tuple[int, int] | None = None, frames: int | None = None, coarse: bool = True
) -> None:
    """Raises InputError where the clip does not fit into the memory that is free, with what would. See `job_of`."""
    assert preset.folder is not None, "there is something to be read"
    free = free_memory()
    on_gpu = free.gpu is not None
    weights = sum(path.stat().st_size for path in preset.folder.rglob("*.safetensors"))
    if os.environ.get(UNCHECKED) or weights < NEGLIGIBLE * free.least:
        return
    job, need = _asked(preset, size, frames, coarse, on_gpu)
    if free.holds(need):
        return
    fitting = what_fits(preset, job, free)
    asked = f"clips of {job.frames} frames at {job.size[0]}x{job.size[1]}"
    raise InputError(
        f"preset {preset.name}", f"is expected to take {in_words(need)} for {asked}, most of it for {need.peak_at}",
        f"at most what is free: {_in_words_free(free)}",
        ("; or ".join(fitting) or "nothing that was tried fits: see kinema doctor --preset NAME")
        + f"; or {UNCHECKED}=1 in the environment, to try all the same",
    )  # fmt: skip


@cache
def _asked(
    preset: Preset | ClipPreset, size: tuple[int, int] | None, frames: int | None, coarse: bool, on_gpu: bool
) -> tuple[Job, Need]:
    from kinema.reinforce.memory_estimate import expected

    job = job_of(preset, size, frames, on_gpu, coarse)
    return job, expected(job, preset.memory, on_gpu)


def what_fits(preset: Preset | ClipPreset, job: Job, free: Free) -> list[str]:
    """Other ways to ask that fit, the nearest to what was asked first."""
    from kinema.reinforce.memory_estimate import expected

    on_gpu = free.gpu is not None
    quantised: tuple[Memory, ...] = ("int8",) if find_spec("torchao") else ()
    memories: tuple[Memory, ...] = ("balanced", *quantised, "low") if on_gpu else ("fast",)  # from quick to slow
    for memory in memories:
        if memory != preset.memory and free.holds(expected(job, memory, on_gpu)):
            return [f"--memory {memory}"]
    least, found = memories[-1], []
    spared = f" --memory {least}" if on_gpu else ""
    if isinstance(preset, Preset):
        half = preset.constraints.clip_frames(job.frames // 2)
        if free.holds(expected(replace(job, frames=half), least, on_gpu)):
            found.append(f"--frames {half}{spared}")
        small = fit((job.size[1], job.size[0]), job.size[0] * job.size[1] // 4, preset.constraints.multiple).size
        if free.holds(expected(replace(job, size=small), least, on_gpu)):
            found.append(f"--size {small[0]}x{small[1]}{spared}")
    others = PRESETS if isinstance(preset, Preset) else CLIP_PRESETS
    for name in FROM_LARGE_TO_SMALL:
        if name in others and name != preset.name:
            other = find(name)
            if free.holds(expected(job_of(other, None, None, on_gpu), least, on_gpu)):
                found.append(f"--preset {name}" + ("" if other.folder else spared))
                break
    return found


def in_words(need: Need) -> str:
    """ "12.3 GiB of GPU memory and 8.9 GiB of host memory"."""
    on_host = f"{need.host / GIB:.1f} GiB of host memory"
    return f"{need.gpu / GIB:.1f} GiB of GPU memory and {on_host}" if need.gpu else on_host


def _in_words_free(free: Free) -> str:
    on_gpu = "there is no GPU" if free.gpu is None else f"{free.gpu / GIB:.1f} GiB of the GPU's are free"
    return f"{on_gpu}, {free.host / GIB:.1f} GiB of the host's are free"
