"""MVideo's adapter on annotated clips (section 4.1): twice a clip's time out of shards, encoded once; what it takes.

Input: shards of `kinema annotate --recipe mvideo`. Output: batches for `kinema.train.mvideo`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kinema.checkpoints import weights_hash
from kinema.reinforce.cogvideox import CogVideoX
from kinema.reinforce.cogvideox_lora import add_lora
from kinema.reinforce.cogvideox_network import MVideoTransformer
from kinema.train.loop import rng_for
from kinema.train.mvideo import ClipCache, Drawn, Example, MVideoTrainConfig, draw, encoded, mvideo_losses
from kinema.train.need import STATE_BYTES, TrainingNeed, step_bytes
from kinema.train.shard_cache import ShardCache, Window, WindowSettings, build_shard_cache


def shard_clips(config: MVideoTrainConfig, model: CogVideoX) -> ShardCache:
    """Clips of twice a clip's time, as many as the model sees at once, out of annotated shards."""
    clip = config.clip
    settings = WindowSettings(
        2 * (clip.frames - 1) + 1, clip.size[0] * clip.size[1], 1, fps=clip.fps, captions=True, size=clip.size
    )

    def encode(window: Window) -> dict[str, Tensor]:
        made = encoded(Example(window.frames, window.masks, window.caption), model)
        return {name: value.half() for name, value in made.items()}

    identity = f"{weights_hash(config.base / 'vae')} {clip.small_size}"
    return build_shard_cache(config.shards, config.data.cache, settings, encode, identity, config.on_bad)


def draw_in_order(clips: ShardCache, count: int, seed: int) -> Callable[[int], Drawn]:
    """Number -> batch: each clip once an epoch."""
    order = clips.order(count, seed)

    def batch_of(number: int) -> Drawn:
        rng, chosen = rng_for(seed, number), order.of(number)
        return draw(gathered(clips, chosen), rng, len(chosen), chosen=np.arange(len(chosen))), rng

    return batch_of


def gathered(clips: ShardCache, chosen: np.ndarray) -> ClipCache:
    """Some clips of shards, read into memory."""
    kept = [clips.read(int(k)) for k in chosen]
    arrays = {n: np.stack([k[n].numpy() for k in kept]) for n in ("latents", "masks", "last_frames", "previous")}
    return ClipCache(**arrays, captions=tuple(clips.examples[int(k)].about["caption"] for k in chosen))


def need_of(model: CogVideoX, drawn: Drawn, config: MVideoTrainConfig, held: torch.dtype) -> TrainingNeed:
    """The memory of a training on such batches, counted in float32: in half precision a step leaves half as much behind."""
    base = model.network.base
    with torch.device("meta"):
        twin = MVideoTransformer(type(base).from_config(base.config))
    twin.to("meta")
    trained = sum(weight.numel() for weight in add_lora(twin, config.rank).parameters())
    frozen = sum(weight.numel() for weight in twin.parameters() if not weight.requires_grad)
    if held != torch.float32 and config.checkpointing:
        twin.base.enable_gradient_checkpointing()
    text = model.text_encoder.encode(drawn[0].captions).to("meta", torch.float32)

    def loss() -> Tensor:
        losses = mvideo_losses(twin.train(), model.scheduler, text, *drawn, config.alpha > 0)
        return losses.diffusion + config.alpha * losses.consistency

    step = step_bytes(loss) * held.itemsize // 4 + trained * (4 - held.itemsize)
    return TrainingNeed(frozen * held.itemsize, trained * (4 + STATE_BYTES), step)
