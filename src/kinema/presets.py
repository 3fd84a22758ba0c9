"""Named, complete configurations: which weights, what size, and how each stage samples."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinema.checkpoints import MINI_COGVIDEOX, MINI_SVD
from kinema.errors import InputError
from kinema.hub import fetched, how_to_fetch
from kinema.reinforce import cogvideox_fun, svd, vace, wan
from kinema.reinforce.backbone import Constraints, Start
from kinema.reinforce.cogvideox import ClipSettings
from kinema.reinforce.memory import Memory, check_library
from kinema.reinforce.parallel import check_shareable, own_gpu, processes
from kinema.reinforce.speed import QUALITY, FirstBlock, Level, Speed, check_compiler
from kinema.reinforce.speed_levels import speed_of

if TYPE_CHECKING:
    from kinema.reinforce.backbone import Backbone
    from kinema.reinforce.cogvideox import CogVideoX

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preset:
    """A backbone and how the three stages use it.

    ReVision, section 4.2: S1 at a quarter of the pixels, with half the frames and 32 of 50 steps.

    model           which backbone; constraints  what it can be asked for
    folder          in diffusers' layout; None: the user's own, which the hub has as `source`
    adapter         what makes it see parts; None: it has none
    pixels          of a frame, about; the shape is the picture's
    frames, fps     of stage 3's clips; longer videos come in windows of that length
    coarse_frames, coarse_steps  of stage 1, which covers the same time
    coarse_share    of the pixels that stage 1 has
    steps           of stage 3 from pure noise
    start_noise, start_steps     of stage 3 from the reposed picture
    start_filled    0-1, how much of the background that it had to fill in is to stay as it was filled
    start_samples   of a pixel of the reposed picture, along each side; 1: hard edges, as its training clips have
    strength        of motion where none is asked for; None: that of the coarse video
    least_seen      share of the coarse frames in which a subject must be seen well; else it moves as the words say
    guidance        scale of the classifier-free guidance; 1: none
    goes_on         from noise, later windows begin with a frame of the one before them; else with the picture
    on_gpu          in which numbers it runs there: those that it was trained in
    memory          how much of it lies there at a time
    speed           what is saved of the plain model's work; the steps above are what is left
    """

    name: str
    model: Literal["svd", "vace", "wan", "cogvideox-fun"]
    constraints: Constraints
    folder: Path | None
    adapter: Path | None
    pixels: int
    frames: int
    fps: float
    coarse_frames: int
    coarse_steps: int
    steps: int
    start_noise: float
    start_steps: int
    start: Start = "reposed"
    start_filled: float = 0.0
    start_samples: int = 2
    strength: float | None = None
    least_seen: float = 0.0
    guidance: float = 1.0
    coarse_share: float = 1.0
    goes_on: bool = True
    on_gpu: Literal["float16", "bfloat16"] = "float16"
    memory: Memory = "fast"
    speed: Speed = QUALITY
    source: str = ""

    @property
    def coarse_fps(self) -> float:
        """Hz, so that the coarse clip lasts as long."""
        return self.fps * self.coarse_frames / self.frames

    def load(self) -> Backbone:
        """Read the weights: on a CPU bfloat16 where that is quick, else float32. Raises InputError."""
        import torch

        from kinema.precision import quick_dtype

        assert self.folder is not None, "find_preset gives it one"
        on_gpu = torch.cuda.is_available()
        check_shareable(self.model)
        dtype, device = (getattr(torch, self.on_gpu), own_gpu()) if on_gpu else (quick_dtype("cpu"), "cpu")
        return _loader(self.model)(self.folder, self.adapter, dtype, device, heeded(self.memory, on_gpu))


def heeded(memory: Memory, on_gpu: bool) -> Memory:
    """Without a GPU there is no memory to save, and a warning."""
    check_library(memory)
    if memory != "fast" and not on_gpu:
        log.warning("without a GPU there is no memory to save: %s is not heeded", memory)
    return memory if on_gpu else "fast"


_WAN: dict[str, Any] = {
    "frames": 81, "fps": 16.0, "coarse_frames": 41, "coarse_steps": 32, "coarse_share": 0.25, "steps": 50,
    "start_noise": 1.0, "start_steps": 50, "start": "noise", "guidance": 5.0, "on_gpu": "bfloat16",
}  # fmt: skip
"""What every Wan 2.1 is asked for: its own frames, rate, steps and guidance; stage 1 as ReVision has it."""
PRESETS: dict[str, Preset] = {
    "mini-svd": Preset(
        name="mini-svd",
        model="svd",
        constraints=svd.MINI_CONSTRAINTS,
        folder=MINI_SVD,
        adapter=MINI_SVD / "adapter.safetensors",
        pixels=128 * 128,
        frames=16,
        fps=8.0,
        coarse_frames=8,
        coarse_steps=5,
        steps=12,
        start_noise=0.15,
        start_steps=3,
        start_filled=1.0,
        start_samples=1,
        strength=0.5,
        least_seen=0.75,
        goes_on=False,
    ),
    "svd": Preset(
        name="svd",
        model="svd",
        constraints=svd.CONSTRAINTS,
        folder=None,
        adapter=None,
        pixels=1024 * 576,
        frames=25,
        fps=7.0,
        coarse_frames=13,
        coarse_steps=32,
        coarse_share=0.25,
        steps=50,
        start_noise=0.6,
        start_steps=8,
        guidance=3.0,
        source="stabilityai/stable-video-diffusion-img2vid-xt-1-1",
    ),
    "vace-1.3b": Preset(
        name="vace-1.3b",
        model="vace",
        constraints=vace.CONSTRAINTS,
        folder=None,
        adapter=None,
        pixels=832 * 480,
        source="Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        **_WAN,
    ),
    "vace-14b": Preset(
        name="vace-14b",
        model="vace",
        constraints=vace.CONSTRAINTS,
        folder=None,
        adapter=None,
        pixels=1280 * 720,
        source="Wan-AI/Wan2.1-VACE-14B-diffusers",
        **_WAN,
    ),
    "wan": Preset(
        name="wan",
        model="wan",
        constraints=wan.CONSTRAINTS,
        folder=None,
        adapter=None,
        pixels=1280 * 720,
        source="Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
        **_WAN,
    ),
    "cogvideox-fun": Preset(
        name="cogvideox-fun",
        model="cogvideox-fun",
        constraints=cogvideox_fun.CONSTRAINTS,
        folder=None,
        adapter=None,
        pixels=720 * 480,
        frames=49,
        fps=8.0,
        coarse_frames=25,
        coarse_steps=32,
        coarse_share=0.25,
        steps=50,
        start_noise=1.0,
        start_steps=50,
        start="noise",
        guidance=6.0,
        on_gpu="bfloat16",
        source="alibaba-pai/CogVideoX-Fun-V1.1-5b-Pose",
    ),
}


def _loader(model: str) -> Callable[..., Backbone]:
    """What reads a backbone's folder: (folder, adapter, dtype, device, memory) -> the model."""
    readers: dict[str, Callable[..., Backbone]] = {
        "svd": svd.load_svd,
        "vace": vace.load_vace,
        "wan": wan.load_wan,
        "cogvideox-fun": cogvideox_fun.load_cogvideox_fun,
    }
    return readers[model]


def in_parts(speed: Speed, memory: Memory) -> Speed:
    """Where a model comes to the GPU in parts, block after block, nothing that leaves blocks out or compiles them."""
    if memory not in ("balanced", "low") or not (speed.cache or speed.compiled):
        return speed
    log.warning("with memory %s the model comes in parts, and nothing is cached or compiled", memory)
    return replace(speed, cache=None, compiled=False)


def with_speed(preset: Preset, speed: Level | Speed) -> Preset:
    """The preset with so many steps fewer; where the model is moved to the GPU in parts, without what needs it whole."""
    speed = speed if isinstance(speed, Speed) else speed_of(preset.name, speed)
    speed = in_parts(speed, preset.memory)
    if processes() > 1 and isinstance(speed.cache, FirstBlock):
        log.warning("several processes may not agree on what hardly changed, and nothing is cached")
        speed = replace(speed, cache=None)
    if speed.guided is not None and preset.guidance <= 1:
        log.warning("%s is sampled without guidance: an interval for it saves nothing", preset.name)
    if speed.compiled:
        check_compiler()
    steps = {name: speed.count(getattr(preset, name)) for name in ("coarse_steps", "steps", "start_steps")}
    return replace(preset, speed=speed, **steps)


def find_preset(
    name: str,
    folder: Path | None = None,
    adapter: Path | None = None,
    memory: Memory | None = None,
    speed: Level | Speed | None = None,
    size: tuple[int, int] | None = None,
) -> Preset:
    """A preset; with a folder, an adapter, a memory, a speed or a size of the user's instead of its own, where given.

    Of the size, (width, height), frames have about the pixels; their shape is the picture's.

    A model folder comes with no adapter but the given one. Without one, what `kinema fetch` brought is taken. Raises
    InputError for an unknown name, and where there is no folder.
    """
    if name not in PRESETS:
        raise InputError("preset", f"is {name!r}", expected="one of " + ", ".join(PRESETS))
    preset = PRESETS[name]
    if folder is not None:
        _check_folder(folder, preset.source)
        preset = replace(preset, folder=folder, adapter=adapter)
    elif adapter is not None:
        preset = replace(preset, adapter=adapter)
    if memory is not None:
        preset = replace(preset, memory=memory)
    if speed is not None:
        preset = with_speed(preset, speed)
    if size is not None:
        preset = replace(preset, pixels=size[0] * size[1])
    if preset.folder is None:
        preset = replace(preset, folder=fetched(name))
    if preset.folder is None:
        raise _without_weights(name, preset.source)
    if preset.adapter is not None and not preset.adapter.is_file():
        raise InputError(preset.adapter, "does not exist", "a motion adapter, .safetensors")
    return preset


def _check_folder(folder: Path, source: str) -> None:
    if not (folder / "model_index.json").is_file() and not (folder / "vae").is_dir():
        raise InputError(folder, "is no model folder", f"one as diffusers lays it out, such as {source or 'mini-svd'}")


def _without_weights(name: str, source: str) -> InputError:
    return InputError(
        f"preset {name}", "comes without weights", f"the folder of {source}, in safetensors",
        f"{how_to_fetch(name)}; or --model DIR where you have it",
    )  # fmt: skip


def backbone(preset: Preset) -> Backbone:
    """The preset's model, read once, however fast it is sampled."""
    return _read(replace(preset, pixels=0, speed=QUALITY, coarse_steps=0, steps=0, start_steps=0))


@cache
def _read(preset: Preset) -> Backbone:
    return preset.load()


@dataclass(frozen=True)
class ClipPreset:
    """A model that makes long videos clip by clip (MVideo), and how it is sampled.

    folder   in diffusers' layout; None: the user's own, which the hub has as `source`
    adapter  what makes it see masks and the clip before
    sampler  None: the folder's own
    on_gpu   in which numbers it runs there: those that it was trained in
    memory   how much of it lies there at a time
    """

    name: str
    folder: Path | None
    adapter: Path | None
    clip: ClipSettings
    sampler: Literal["ddim", "dpm"] | None = None
    on_gpu: Literal["float16", "bfloat16", "float32"] = "float32"
    memory: Memory = "fast"
    source: str = ""

    def load(self) -> CogVideoX:
        """Read the weights: on a CPU bfloat16 where that is quick, else float32. Raises InputError."""
        import torch

        from kinema.enough_memory import check_memory
        from kinema.precision import quick_dtype
        from kinema.reinforce.cogvideox import load_cogvideox

        assert self.folder is not None, "find_clip_preset gives it one"
        if not (self.folder / "transformer").is_dir():
            raise InputError(self.folder, "is no model folder", "one that holds transformer, vae and scheduler")
        if self.adapter is None:
            log.warning("%s has no adapter: it sees the prompt alone, neither masks nor the clip before", self.name)
        on_gpu = torch.cuda.is_available()
        check_shareable("cogvideox")
        dtype, device = (getattr(torch, self.on_gpu), "cuda") if on_gpu else (quick_dtype("cpu"), "cpu")
        memory = heeded(self.memory, on_gpu)
        check_memory(self)
        clip = replace(self.clip, speed=in_parts(self.clip.speed, memory))
        return load_cogvideox(self.folder, self.adapter, dtype, device, clip, self.sampler, memory=memory)


CLIP_PRESETS: dict[str, ClipPreset] = {
    "mini-cogvideox": ClipPreset(
        name="mini-cogvideox",
        folder=MINI_COGVIDEOX,
        adapter=MINI_COGVIDEOX / "adapter",
        clip=ClipSettings(
            17,
            (128, 128),
            (64, 64),
            steps=8,
            guidance=8.0,
            guide_all=True,
            guide_masks=20.0,
            guide_away=0.4,
            guidance_rescale=0.85,
            context=3,
            fade=16,
        ),
    ),
    "cogvideox-2b": ClipPreset(
        name="cogvideox-2b",
        folder=None,
        adapter=None,
        clip=ClipSettings(),
        sampler="ddim",
        on_gpu="float16",
        source="zai-org/CogVideoX-2b",
    ),
    "cogvideox-5b": ClipPreset(
        name="cogvideox-5b",
        folder=None,
        adapter=None,
        clip=ClipSettings(),
        sampler="dpm",
        on_gpu="bfloat16",
        source="zai-org/CogVideoX-5b",
    ),
}


def find_clip_preset(
    name: str, folder: Path | None = None, adapter: Path | None = None, speed: Level | Speed | None = None
) -> ClipPreset:
    """A preset; with a folder, an adapter or a speed of the user's instead of its own, where given.

    A model folder comes with no adapter but the given one. Without one, what `kinema fetch` brought is taken. Raises
    InputError for an unknown name, and where there is no folder.
    """
    if name not in CLIP_PRESETS:
        raise InputError("preset", f"is {name!r}", expected="one of " + ", ".join(CLIP_PRESETS))
    preset = CLIP_PRESETS[name]
    if speed is not None:
        speed = speed if isinstance(speed, Speed) else speed_of(name, speed)
        if speed.compiled:
            check_compiler()
        preset = replace(preset, clip=replace(preset.clip, steps=speed.count(preset.clip.steps), speed=speed))
    if folder is not None:
        return replace(preset, folder=folder, adapter=adapter)
    if preset.folder is None:
        preset = replace(preset, folder=fetched(name))
    if preset.folder is None:
        raise _without_weights(name, preset.source)
    return preset if adapter is None else replace(preset, adapter=adapter)


@cache
def clip_model(preset: ClipPreset) -> CogVideoX:
    """The preset's model, read once."""
    return preset.load()
