"""What makes sampling cheaper, and how it is put round one run of a transformer.

Input: a loaded model and a `Speed`. While `sped_up` lasts, steps reuse what earlier ones computed (diffusers' own caches, by
their configurations), guidance is left out where the noise is not within an interval (Kynkaanniemi et al. 2024), another
scheduler samples, and blocks are compiled. Afterwards the model is as it was: nothing is kept from one run to the next.
SVD's UNet, of which diffusers caches nothing, has `kinema.reinforce.svd_cache`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from kinema.errors import InputError

Level = Literal["quality", "balanced", "fast"]
Sampler = Literal["dpm++", "unipc"]


@dataclass(frozen=True)
class FirstBlock:
    """Of transformers: all blocks but the first add what they added before, while what the first one adds is much the same.

    threshold  relative mean change of what it adds, up to which it is; 0: always all blocks
    """

    threshold: float


@dataclass(frozen=True)
class Magnitude:
    """Of transformers, MagCache (Ma et al. 2025): the same, while measured magnitudes say that the error stays small.

    ratios     of what all blocks together add, from step to step; of the very checkpoint
    threshold  error up to which steps are left out; 0: none
    """

    ratios: tuple[float, ...]
    threshold: float = 0.06


@dataclass(frozen=True)
class Taylor:
    """Of transformers, TaylorSeer (Liu et al. 2025): a step in `every` is computed, the output of the others extrapolated.

    warm_up  steps at the start that are all computed
    """

    every: int
    warm_up: int = 3


@dataclass(frozen=True)
class Deep:
    """Of SVD's UNet, DeepCache (Ma et al. 2024): a step in `every` computes the deep blocks, the others the outer ones."""

    every: int


Cache = FirstBlock | Magnitude | Taylor | Deep


@dataclass(frozen=True)
class Speed:
    """What is saved. As it is by default nothing is, and every bit is that of the plain model.

    steps     share of the preset's steps that are taken, in every stage
    cache     what one step takes over from another
    guided    least and most noise between which there is guidance, as a share of the latents' own deviation
    sampler   instead of the model's own
    compiled  blocks through torch.compile, which takes minutes before the first run
    """

    steps: float = 1.0
    cache: Cache | None = None
    guided: tuple[float, float] | None = None
    sampler: Sampler | None = None
    compiled: bool = False

    def __post_init__(self):
        if not 0 < self.steps <= 1:
            raise InputError("speed", f"takes {self.steps:g} of the steps", "more than 0 and at most 1")
        if self.guided is not None and not 0 <= self.guided[0] < self.guided[1]:
            raise InputError("speed", f"has guidance for noise of {self.guided}", "(least, most), 0 or more, rising")
        every = getattr(self.cache, "every", 1)
        if every < 1:
            raise InputError("speed", f"computes one step in {every}", "one in 1 or more")

    def count(self, steps: int) -> int:
        """Steps that are taken of so many."""
        return max(1, round(self.steps * steps))

    def guides_at(self, noise: float) -> bool:
        return self.guided is None or self.guided[0] <= noise <= self.guided[1]


QUALITY = Speed()


def noise_of(scheduler: Any, timestep: Tensor | float) -> float:
    """How much noise there is at a timestep, as a share of the latents' own deviation (EDM's sigma)."""
    config = scheduler.config
    if config.prediction_type == "flow_prediction":
        share = float(timestep) / config.num_train_timesteps
        return share / max(1e-9, 1 - share)
    kept = float(scheduler.alphas_cumprod[int(timestep)])
    return ((1 - kept) / max(1e-12, kept)) ** 0.5


@contextmanager
def sped_up(pipeline: Any, speed: Speed, steps: int, guidance: float) -> Iterator[None]:
    """One of diffusers' pipelines with a transformer, as `speed` says, while this lasts. Raises InputError."""
    if speed == QUALITY:
        yield
        return
    network, own = pipeline.transformer, pipeline.scheduler
    with ExitStack() as stack:
        if speed.compiled:
            stack.enter_context(compiled(blocks_of(network)))
        if speed.sampler is not None:
            pipeline.scheduler = multistep(speed.sampler, own.config)
            stack.callback(setattr, pipeline, "scheduler", own)
        stack.enter_context(cached(network, speed.cache, steps))
        if speed.guided is not None and guidance > 1:
            stack.enter_context(guided_within(network, speed, lambda time: noise_of(pipeline.scheduler, time)))
        yield


def multistep(name: Sampler, config: Any) -> Any:
    """A scheduler of second order for what a model predicts, by the configuration of its own."""
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    return {"dpm++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}[name].from_config(config)


def only_dpm(sampler: Sampler) -> None:
    """Raises InputError for one that a model without pipeline can't have."""
    if sampler != "dpm++":
        raise InputError("sampler", f"is {sampler!r}", "for this model its own, or dpm++")


@contextmanager
def cached(network: Any, cache: Cache | None, steps: int) -> Iterator[None]:
    """A transformer of diffusers with one of its caches, empty at first, while this lasts. Raises InputError."""
    if cache is None:
        yield
        return
    network.enable_cache(cache_config(network, cache, steps))
    try:
        yield
    finally:
        network.disable_cache()


def cache_config(network: Any, cache: Cache, steps: int) -> Any:
    """diffusers' configuration. Raises InputError for a cache that the model can't have."""
    from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
    from diffusers.hooks.mag_cache import MagCacheConfig
    from diffusers.hooks.taylorseer_cache import TaylorSeerCacheConfig

    name = type(network).__name__
    if isinstance(cache, Deep):
        raise InputError("cache", f"is {cache}, and {name} is no UNet", "FirstBlock, Magnitude or Taylor")
    if isinstance(cache, Taylor):
        return TaylorSeerCacheConfig(
            cache_interval=cache.every, disable_cache_before_step=cache.warm_up, max_order=1,
            taylor_factors_dtype=network.dtype, use_lite_mode=True,
        )  # fmt: skip
    if hasattr(network, "vace_blocks"):
        # diffusers' hooks take over what the blocks and the control between them added, and it adds the control again.
        raise InputError("cache", f"is a {type(cache).__name__}, which counts the control of {name} twice", "Taylor")
    if isinstance(cache, FirstBlock):
        return FirstBlockCacheConfig(threshold=cache.threshold)
    return MagCacheConfig(threshold=cache.threshold, num_inference_steps=steps, mag_ratios=list(cache.ratios))


@contextmanager
def guided_within(network: Any, speed: Speed, noise: Callable[[Tensor], float]) -> Iterator[None]:
    """Outside the interval the transformer runs with the prompt alone, and says the same without: guidance adds nothing."""
    from diffusers.hooks.hooks import HookRegistry

    registry = HookRegistry.check_if_exists_or_initialize(network)
    registry.register_hook(_interval_hook(speed, noise), INTERVAL_HOOK)
    try:
        yield
    finally:
        registry.remove_hook(INTERVAL_HOOK, recurse=False)


INTERVAL_HOOK = "kinema_guidance_interval"


def _interval_hook(speed: Speed, noise: Callable[[Tensor], float]) -> Any:
    from diffusers.hooks.hooks import ModelHook, StateManager

    class GuidanceInterval(ModelHook):
        """By the names that diffusers' pipelines give their calls: "cond" and then "uncond", or both in one batch."""

        _is_stateful = True

        def __init__(self):
            super().__init__()
            self.calls: Any = StateManager(None)  # type: ignore[arg-type]
            self.with_prompt: Any = None

        def new_forward(self, module: Any, *args: Any, **given: Any) -> Any:
            name, forward = self.calls.context.name, cast(Callable[..., Any], self.fn_ref.original_forward)
            if speed.guides_at(noise(given["timestep"].flatten()[0])):
                return forward(*args, **given)
            if name == "uncond":
                return self.with_prompt
            if name == "cond":
                self.with_prompt = forward(*args, **given)
                return self.with_prompt
            batch = len(given["hidden_states"])
            half = {k: v[batch // 2 :] if is_batch(v, batch) else v for k, v in given.items()}
            with module.cache_context("cond"):
                return tuple(torch.cat([v, v]) for v in forward(*args, **half))

        def reset_state(self, module: Any) -> Any:
            return module

    return GuidanceInterval()


def is_batch(value: Any, batch: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == batch


@contextmanager
def compiled(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Modules whose forward goes through torch.compile while this lasts; what is compiled is kept for the next time."""
    check_compiler()
    with replaced([(module, torch.compile(module.forward)) for module in modules]):
        yield


@contextmanager
def replaced(forwards: Iterable[tuple[Any, Callable[..., Any]]]) -> Iterator[None]:
    """Modules with other forwards while this lasts; hooks of diffusers may have put others there before."""
    changed = [(module, forward, module.__dict__.get("forward")) for module, forward in forwards]
    for module, forward, _ in changed:
        module.forward = forward
    try:
        yield
    finally:
        for module, _, before in changed:
            if before is None:
                del module.forward
            else:
                module.forward = before


def check_compiler() -> None:
    """Raises InputError where torch.compile has nothing to compile with."""
    wanted = os.environ.get("CXX") or next((name for name in ("g++", "clang++") if shutil.which(name)), "g++")
    if shutil.which(wanted) is None:
        raise InputError(
            "compile", f"needs a C++ compiler, and {wanted} is not there", "g++ or clang++ on the PATH, or CXX set",
            "apt install g++, or leave --compile out",
        )  # fmt: skip


def blocks_of(network: Any) -> list[torch.nn.Module]:
    """The blocks of a transformer of diffusers, by the names that they have there."""
    names = ("blocks", "vace_blocks", "transformer_blocks")
    return [block for name in names for block in getattr(network, name, ())]
