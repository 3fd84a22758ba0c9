"""Train CogVideoX in the paper's order: text to video, then masks and what came before, by LoRA (MVideo, 3.4 and 4.1).

Input: clips of the procedural world, encoded once. Output: a model folder (`train_base`), or an adapter (`train_mvideo`).
Loss of the adapter: L_d + alpha L_c (equation 2). L_d is the diffusion loss, for v; L_c the mean squared distance to what
the frozen base predicts from the same noisy latents and text, with no masks and nothing before. The base is the same
network with its LoRA off, so that no second copy is held. Adam at 2e-4, batches of 64, 10,000 steps.

The paper does not say how often a condition is left out. Here a step sees what came before every other time (the whole
batch of it, since the sequence is longer then); a clip has its masks in 7 of 10 cases, up to some moment in 2, none in 1;
and no prompt in 1 of 10, for the classifier-free guidance. Of several things in 3 of 10 clips one has no mask, so that the
prompt alone can add a rider to a masked horse.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from rich.progress import track
from torch import Tensor

from kinema.atomic import atomic_path
from kinema.checkpoints import weights_hash
from kinema.errors import InputError
from kinema.precision import quick_dtype
from kinema.reinforce.cogvideox import ClipSettings, CogVideoX, load_cogvideox
from kinema.reinforce.cogvideox_lora import add_lora, load_adapter, lora_off, save_adapter
from kinema.reinforce.cogvideox_network import Before, MVideoTransformer
from kinema.train.batches import drawn_ahead
from kinema.train.card import write_card
from kinema.train.frozen import computing_in
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, rng_on, share_out, train
from kinema.train.need import tell_need
from kinema.train.shard_cache import OnBad
from kinema.types import MaskSequence, Video
from kinema.world.actors import FPS as WORLD_FPS
from kinema.world.sampler import World
from kinema.world.wide import HELD_OUT

log = logging.getLogger(__name__)

BEFORE_SHARE, NO_MASKS, SOME_MASKS, NO_PROMPT = 0.5, 0.1, 0.2, 0.1
"""Shares of steps that see what came before, and of clips without masks, with masks up to a moment, without prompt."""
STILLS_A_CLIP = 3
"""As many first frames as take the time of one clip, about."""
ONE_UNMASKED = 0.3
"""Share of the clips of several things in which one of them, in the prompt, has no mask."""
_BLOCK = 64
"""Clips between two notes of how far a build has come."""


@dataclass(frozen=True)
class WorldClips:
    """The clips to train on, from the procedural world."""

    cache: Path
    """Folder of encoded clips; made where it is missing."""
    count: int = 5000
    """Clips of the cache."""
    capture: Path | None = None
    """Human capture to move the world's people (multi-clip npz); default: the few shipped clips."""
    photographs: Path | None = None
    """Folder of pictures to use as backdrops."""
    without: tuple[str, ...] = HELD_OUT
    """Classes that are never shown, to be tested on."""
    cache_workers: int = 0
    """Processes that make the clips of the cache; 0: this one does."""


@dataclass(frozen=True)
class MVideoTrainConfig:
    """Train the adapter on a frozen base. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    base: Path
    """Model folder in diffusers' layout."""
    data: WorldClips
    out: Path | None = None
    """Folder for the finished adapter."""
    clip: ClipSettings = field(default_factory=ClipSettings)
    rank: int = 64
    """Of the LoRA, where there is no start."""
    start: Path | None = None
    """Folder of an adapter to go on from; its base may have been trained on since, in a folder of the same name."""
    alpha: float = 1.0
    """Weight of the consistency loss; at 0 the base is not asked."""
    stills: float = 0.0
    """Share of steps that see first frames alone, three times as many: they teach shapes in less time."""
    shards: tuple[Path, ...] = ()
    """Annotated clips (of `kinema annotate`) to train on instead of the world's: folders or shards."""
    on_bad: OnBad = "stop"
    """What to do about clips of shards that can't be used: stop, or leave them out and count them."""
    batch: int = 64
    """Clips a step; with --at-once of all processes together, else of each."""
    at_once: int = 0
    """Clips that a process computes at once; 0: all of its batch."""
    evaluate_every: int = 0
    """Steps between two videos of the first clip's words and masks; 0: none is made."""
    checkpointing: bool = True
    """On a GPU: half of the memory or less for a third more time, since activations are computed twice."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=10_000, learning_rate=2e-4, weight_decay=0.0))


@dataclass(frozen=True)
class BaseTrainConfig:
    """Train text to video, all weights. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    base: Path
    """Model folder with vae and scheduler, and transformer/config.json; weights beside it are gone on from."""
    data: WorldClips
    out: Path | None = None
    """Folder for the finished model."""
    clip: ClipSettings = field(default_factory=ClipSettings)
    stills: float = 0.0
    """Share of steps that see first frames alone, three times as many: they teach looks and places in less time."""
    batch: int = 8
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=20_000, learning_rate=1e-3, decay=0.85))


@dataclass(frozen=True)
class Example:
    """A clip and the one before it: 2 S + 1 frames and their masks, where S is one less than a clip's frames."""

    frames: UInt8[np.ndarray, "T H W 3"]
    masks: MaskSequence
    caption: str


@dataclass(frozen=True)
class ClipCache:
    """N clips, float16, of unit size: their latents and their masks' [N,F,C,h,w], what came before each, and captions."""

    latents: np.ndarray
    masks: np.ndarray
    last_frames: np.ndarray
    previous: np.ndarray
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.latents)


@dataclass(frozen=True)
class Batch:
    """What one step sees. A frame of `masks` that is 0 says nothing."""

    latents: Float[Tensor, "B F C h w"]
    masks: Float[Tensor, "B F C h w"]
    before: Before | None
    captions: tuple[str, ...]


Drawn = tuple[Batch, np.random.Generator]
"""A batch, and what its noise is drawn from."""
Read = tuple[Float[Tensor, "B L E"], Batch, np.random.Generator]
"""Its captions' vectors before it."""


@dataclass(frozen=True)
class Losses:
    diffusion: Float[Tensor, ""]
    consistency: Float[Tensor, ""]


def world_example(world: World, clip: ClipSettings, number: int) -> Example:
    """Clip `number` of the procedural world."""
    made = world.sample(number, 2 * (clip.frames - 1) + 1, clip.size)
    subjects, rng = made.scene.subjects, np.random.default_rng(number)
    things = list(range(len(subjects)))
    if len(things) > 1 and rng.random() < ONE_UNMASKED:
        things.pop(int(rng.integers(len(things))))
    masks = made.subject_ids[:, None] == np.array(things, np.uint8)[:, None, None] + 1
    labels = tuple(subjects[k].label for k in things)
    return Example(made.video.frames, MaskSequence(masks, labels, made.video.fps), made.scene.prompt)


def build_cache(
    example: Callable[[int], Example], model: CogVideoX, folder: Path, count: int, workers: int = 0
) -> ClipCache:
    """Make (or finish, or open) a cache. workers: processes that make the examples; `example` is sent to them.

    Raises InputError where the folder holds another kind of cache.
    """
    clip, channels = model.clip, model.network.base.config.out_channels
    frames = (clip.frames - 1) // model.temporal_step + 1
    big, small = ([side // model.spatial_step for side in size[::-1]] for size in (clip.size, clip.small_size))
    shapes = {
        "latents": (count, frames, channels, *big),
        "masks": (count, frames, channels, *big),
        "last_frames": (count, 1, channels, *big),
        "previous": (count, frames, channels, *small),
    }
    settings = {"shapes": {name: list(shape) for name, shape in shapes.items()}, "clip_frames": clip.frames}
    folder.mkdir(parents=True, exist_ok=True)
    state, captions = folder / "state.json", []
    if state.exists():
        found = json.loads(state.read_text())
        captions = found.pop("captions")
        if found != settings:
            raise InputError(folder, f"holds a cache with {found}", f"{settings}", "give another folder")
    done, opened = len(captions), "r+" if captions else "w+"
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", opened, np.float16, shape)
        for name, shape in shapes.items()
    }
    examples = drawn_ahead(example, range(done, count), 0, workers if done < count else 0)
    for k, one in track(examples, "clips", count - done, disable=done == count):
        for name, latents in encoded(one, model).items():
            arrays[name][k] = latents.half().cpu().numpy()
        captions.append(one.caption)
        if (k + 1) % _BLOCK == 0 or k + 1 == count:
            for array in arrays.values():
                array.flush()
            with atomic_path(state) as temporary:
                temporary.write_text(json.dumps(settings | {"captions": captions}))
    return ClipCache(**arrays, captions=tuple(captions))


def encoded(one: Example, model: CogVideoX) -> dict[str, Tensor]:
    step = model.clip.frames - 1
    if len(one.frames) != 2 * step + 1:
        raise InputError("example", f"has {len(one.frames)} frames", f"{2 * step + 1}")
    before = model.encode_before(one.frames[: step + 1])
    masks = MaskSequence(one.masks.masks[step:], one.masks.labels, one.masks.fps)
    return {
        "latents": model.encode(one.frames[step:]),
        "masks": model.encode_masks(masks),
        "last_frames": before.last_frame[0],
        "previous": before.clip[0],
    }


def draw(
    cache: ClipCache, rng: np.random.Generator, batch: int, stills: float = 0.0, chosen: np.ndarray | None = None
) -> Batch:
    """Random clips and what of their conditions is given, by the shares above; or first frames, by the share `stills`.

    chosen  these clips, `batch` of them, and no stills
    """
    still = rng.random() < stills
    seen = slice(1 if still else None)
    batch *= STILLS_A_CLIP if still else 1
    chosen = rng.integers(0, len(cache), batch) if chosen is None else chosen
    latents, masks, last, previous = (
        torch.from_numpy(np.asarray(array[chosen, seen]))
        for array in (cache.latents, cache.masks, cache.last_frames, cache.previous)
    )
    for k, which in enumerate(rng.random(batch)):
        end = 0 if which < NO_MASKS else masks.shape[1]
        if NO_MASKS <= which < NO_MASKS + SOME_MASKS:
            end = int(rng.integers(1, masks.shape[1] + 1))
        masks[k, end:] = 0
    before = Before(last, previous) if not still and rng.random() < BEFORE_SHARE else None
    kept = rng.random(batch) >= NO_PROMPT
    return Batch(
        latents, masks, before, tuple(cache.captions[n] if keep else "" for n, keep in zip(chosen, kept, strict=True))
    )


def mvideo_losses(
    network: MVideoTransformer,
    scheduler: Any,
    text: Float[Tensor, "B L E"],
    batch: Batch,
    rng: np.random.Generator,
    teach: bool,
    precision: torch.dtype = torch.float32,
) -> Losses:
    """Both terms of equation 2, not yet weighted; the second is 0 where the base shall not `teach`.

    At first the masks say nothing and the LoRA is zero, so that the second is exactly 0 where nothing came before.
    """
    device, before = network.kinds.device, batch.before
    # The scheduler's numbers go where the latents are, and can't come back from the meta device.
    latents = batch.latents.to("cpu" if device.type == "meta" else device, torch.float32)
    noisy, target, times = (v.to(device) for v in noised(scheduler, latents, rng))
    text, masks = (v.to(device, torch.float32) for v in (text, batch.masks))
    if before is not None:
        before = Before(before.last_frame.to(device, torch.float32), before.clip.to(device, torch.float32))
    with computing_in(precision, device):
        found = network(noisy, text, times, masks, before).float()
        taught = found.detach()
        if teach:
            with torch.no_grad(), lora_off(network):
                taught = network(noisy, text, times).float()
    return Losses(F.mse_loss(found, target), F.mse_loss(found, taught))


def plain(batch: Batch) -> Batch:
    """Text to video: no masks, nothing before."""
    return Batch(batch.latents, torch.zeros_like(batch.masks), None, batch.captions)


def noised(
    scheduler: Any, latents: Float[Tensor, "B F C h w"], rng: np.random.Generator
) -> tuple[Float[Tensor, "B F C h w"], Float[Tensor, "B F C h w"], Tensor]:
    """Latents with noise of any of the scheduler's levels, the v that undoes it, and the timesteps [B]."""
    times = torch.from_numpy(rng.integers(0, scheduler.config.num_train_timesteps, len(latents))).to(latents.device)
    noise = torch.randn(latents.shape, generator=rng_on(latents.device, rng), device=latents.device)
    return scheduler.add_noise(latents, noise, times), scheduler.get_velocity(latents, noise, times), times


def train_mvideo(config: MVideoTrainConfig, example: Callable[[int], Example] | None = None) -> Path:
    """-> the finished adapter (or the run, where `out` is not given). `example`: other clips than the world's."""
    from accelerate import PartialState

    from kinema.train.mvideo_shards import draw_in_order, gathered, need_of, shard_clips

    device = pick_device(config.device, config.threads)
    # On a GPU memory counts: the frozen base is held in half precision, what is trained never is.
    held, precision = (torch.bfloat16 if device.type == "cuda" else torch.float32), quick_dtype(device)
    model = load_cogvideox(config.base, None, held, str(device), config.clip)
    count = config.at_once or config.batch
    loop = share_out(config.loop, config.batch, count, PartialState().num_processes) if config.at_once else config.loop
    if config.shards:
        clips = shard_clips(config, model)
        batch_of, about = (
            draw_in_order(clips, count, config.loop.seed),
            {"clips": clips.counts, "licences": clips.licences()},
        )
        shown = gathered(clips, np.arange(1))
    else:
        shown = cache = _world_cache(config.data, model, example)
        batch_of, about = draw_at_random(cache, count, config.loop.seed, config.stills), {"clips": len(cache)}
    if config.shards and leads():
        tell_need(need_of(model, batch_of(0), config, held), device)
    torch.manual_seed(config.loop.seed)
    network = model.network
    if config.start:
        adapter = load_adapter(network, config.start, config.base.name, weights_hash(config.base / "transformer"))
    else:
        adapter = add_lora(network, config.rank)
    adapter.to(device=device, dtype=torch.float32)
    if device.type == "cuda" and config.checkpointing:
        network.base.enable_gradient_checkpointing()
    network.train()

    def loss(drawn: Read) -> Tensor:
        losses = mvideo_losses(network, model.scheduler, *drawn, config.alpha > 0, precision)
        return losses.diffusion + config.alpha * losses.consistency

    def evaluate(_: Any) -> dict[str, Any]:
        """What the model makes of the first clip's words and masks."""
        masks = torch.from_numpy(shown.masks[:1].astype(np.float32))
        with computing_in(precision, device):
            made = model.decode(model.sample(shown.captions[0], 0, masks))
        return {"sample": Video(made, config.clip.fps)}

    sampled = evaluate if config.evaluate_every else None
    drawn_at = read_ahead(batch_of, model)
    train(adapter, loss, replace(config, loop=loop), config.run, sampled, config.evaluate_every or 1, drawn_at, network)
    if config.out and leads():
        save_adapter(network, config.out, config.base.name, weights_hash(config.base / "transformer"))
        write_card(config.out, config.run, "mvideo", config, about)
    return config.out or config.run


def draw_at_random(cache: ClipCache, count: int, seed: int, stills: float = 0.0) -> Callable[[int], Drawn]:
    """Number -> batch of any clips."""

    def batch_of(number: int) -> Drawn:
        rng = rng_for(seed, number)
        return draw(cache, rng, count, stills), rng

    return batch_of


def train_base(config: BaseTrainConfig, example: Callable[[int], Example] | None = None) -> Path:
    """-> the finished model folder (or the run, where `out` is not given). `example`: other clips than the world's."""
    device = pick_device(config.device, config.threads)
    transformer = start_transformer(config.base, config.loop.seed)
    model = load_cogvideox(config.base, None, torch.float32, str(device), config.clip, transformer=transformer)
    cache = _world_cache(config.data, model, example)
    network, precision = model.network, quick_dtype(device)
    network.base.requires_grad_(True).train()

    drawn_at = read_ahead(draw_at_random(cache, config.batch, config.loop.seed, config.stills), model)

    def loss(drawn: Read) -> Tensor:
        text, batch, rng = drawn
        return mvideo_losses(network, model.scheduler, text, plain(batch), rng, False, precision).diffusion

    train(network.base, loss, config, config.run, draw=drawn_at)
    if config.out and leads():
        for name, part in (("transformer", network.base), ("vae", model.autoencoder)):
            part.register_to_config(_name_or_path="")  # diffusers would write where it was read from
            part.half().save_pretrained(config.out / name)
        model.scheduler.save_pretrained(config.out / "scheduler")
        write_card(config.out, config.run, "mvideo-base", config, {"clips": len(cache)})
    return config.out or config.run


def start_transformer(folder: Path, seed: int) -> Any:
    """The transformer of a model folder, float32; random where there is only its configuration. Raises InputError."""
    from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel

    own = folder / "transformer"
    try:
        if any(own.glob("*.safetensors")):
            return CogVideoXTransformer3DModel.from_pretrained(own, torch_dtype=torch.float32, use_safetensors=True)
        torch.manual_seed(seed)
        return CogVideoXTransformer3DModel.from_config(json.loads((own / "config.json").read_text()))
    except (OSError, ValueError) as error:
        raise InputError(own, f"holds no transformer ({error})", "config.json of a CogVideoX") from error


def read_ahead(batch_of: Callable[[int], Drawn], model: CogVideoX) -> Callable[[int], Read]:
    """Who draws a batch reads its captions too: of hundreds, that takes as long as a step of a small model on a GPU."""

    def drawn_at(number: int) -> Read:
        batch, rng = batch_of(number)
        return model.text_encoder.encode(batch.captions).to(model.network.base.dtype), batch, rng

    return drawn_at


def _world_cache(data: WorldClips, model: CogVideoX, example: Callable[[int], Example] | None) -> ClipCache:
    """One process makes it, the others open it."""
    from accelerate import PartialState

    with PartialState().main_process_first():
        example = example or _of_world(data, model.clip)
        return build_cache(example, model, data.cache, data.count, data.cache_workers)


def _of_world(data: WorldClips, clip: ClipSettings) -> Callable[[int], Example]:
    """Raises InputError where no captured motion is long enough for two clips; the shipped ones last 4 s."""
    world = World.load(data.capture, data.photographs, wide=True, without=data.without)
    frames = 2 * (clip.frames - 1) + 1
    longest = max(len(motion) // 2 for _, motion in world.clips)  # captures are at twice the world's rate
    if longest < frames:
        raise InputError(
            data.capture or "the shipped captures", f"have at most {longest} frames at {WORLD_FPS:g} Hz",
            f"{frames}, for a clip and the one before it", "--capture with longer clips, or fewer frames a clip",
        )  # fmt: skip
    return partial(world_example, world, clip)
