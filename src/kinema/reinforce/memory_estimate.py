"""How much memory a model will take, on the GPU and on the host, before any of it is fetched or read.

Input: the configurations of a model's parts and what is asked of it. Output: bytes. The very classes run once on torch's
meta device, where tensors have a shape and no numbers, and the bytes that are alive are counted after every operation: of
one step of the network, and of one piece (a chunk of frames, a tile) of the autoencoder's work; what the pieces leave behind
is added. Weights count as `place` puts them. Attention is counted without its matrix, as torch's fused kernels compute it.

What is not in it: what kernels take for themselves while they run, and fragments; `ALLOWANCE` stands for both.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kinema.errors import InputError
from kinema.reinforce.memory import Memory, is_quantised, is_text_encoder, offload
from kinema.reinforce.public_configs import Configs
from kinema.reinforce.svd import CHUNKS

Model = Literal["svd", "vace", "wan", "cogvideox-fun", "cogvideox"]
ALLOWANCE = 1 << 30
"""Bytes for the kernels' workspaces and for fragments on a GPU. A guess: it could not be measured."""
PROGRAM = 1 << 30
"""Bytes of the program itself on the host, with torch, diffusers and the small models that see: mini-svd runs in 0.9 GB."""
PICTURE_TOKENS, TEXT_TOKENS = 257, 512
"""That Wan reads."""
COPIES = 4
"""Of the finished video in float32, at once, while it is turned into bytes: decoded, scaled, clamped, rounded."""
GIVEN = {"svd": 1, "wan": 2, "vace": 5, "cogvideox-fun": 1, "cogvideox": 1}
"""Copies of a clip's pixels while the autoencoder encodes it (VACE: video, mask, both sides of it, and one more)."""


@dataclass(frozen=True)
class Job:
    """A clip, and what makes it.

    size, frames  of the clip; size is (width, height) in pixels
    dtype         that the network runs in
    guided        whether it runs with guidance
    adapter       whether there is a motion adapter
    small_size    of the clip before, where the model sees one (MVideo)
    """

    model: Model
    configs: Configs
    size: tuple[int, int]
    frames: int
    dtype: torch.dtype
    guided: bool = True
    adapter: bool = False
    small_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Need:
    """Bytes at the peak, and what is being done when the GPU (or, without one, the host) is at it."""

    gpu: int
    host: int
    peak_at: str


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that come up within and are alive: `now`, and at the `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor):
                self.known.add(value.untyped_storage()._cdata)  # a weight: it was there before
        if func is torch.ops.aten.is_nonzero.default:
            return False  # a number is looked at where there is none: whether a text fills all of its tokens
        if func is torch.ops.aten.scaled_dot_product_attention.default:
            query, value = args[0], args[2]
            found = query.new_empty(*query.shape[:-1], value.shape[-1])
        else:
            found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return found

    def _count(self, storage: Any) -> None:
        if storage._cdata in self.known:
            return
        self.known.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, address: int, nbytes: int) -> None:
        self.known.discard(address)
        self.now -= nbytes


def peak_bytes(work: Callable[[], Any]) -> tuple[int, int]:
    """Bytes alive at most while `work` runs on the meta device, and those of what it gives back."""
    with torch.inference_mode(), torch.device("meta"), LiveBytes() as live:
        made = work()
    return live.peak, sum(v.nbytes for v in tree_leaves(made) if isinstance(v, Tensor))


def expected(job: Job, memory: Memory, on_gpu: bool = True) -> Need:
    """What a job takes under a memory preset; without a GPU everything is on the host, and nothing is offloaded."""
    memory = memory if on_gpu else "fast"
    parts = {name: built(name, job.configs, job.dtype, job.model) for name in job.configs}
    network = next(parts[name] for name in ("unet", "transformer") if name in parts)
    copies = 2 if job.model == "svd" and job.adapter else 1  # the base, and one with the adapter
    weights = {name: nbytes(part) * (copies if part is network else 1) for name, part in parts.items()}
    work = {
        "reading the prompt": ("text_encoder", _reading(parts.get("text_encoder"))),
        "encoding": ("vae", _encoding(parts["vae"], job, memory)),
        "the network": ("network", peak_bytes(lambda: _step(network, job, parts["vae"]))[0]),
        "decoding": ("vae", _decoding(parts["vae"], job, memory)),
    }
    whole_layer = in_int8(network) if memory == "int8" else 0
    if memory == "fast":
        resident, moved = sum(weights.values()), {}
    else:
        moved = {"network": largest_groups(network, "leaf" if memory == "low" else "block")}
        if memory == "int8":
            moved["network"] += whole_layer  # which is there as `dtype` too while it computes
        stays = [name for name, part in parts.items() if part is not network and not is_text_encoder(part)]
        resident = sum(weights[name] for name in stays)
        if "text_encoder" in parts:
            moved["text_encoder"] = largest_groups(parts["text_encoder"], "leaf")
    peaks = {what: resident + moved.get(part, 0) + bytes_ for what, (part, bytes_) in work.items()}
    peak_at = max(peaks, key=lambda what: peaks[what])
    if not on_gpu:
        return Need(0, peaks[peak_at] + PROGRAM, peak_at)
    host = sum(weights.values()) + PROGRAM
    if memory in ("balanced", "int8"):
        # diffusers pins a copy of every block before it lets go of the first one; pinned memory comes in powers of two.
        host += copies * pinned_bytes(network)
    return Need(peaks[peak_at] + ALLOWANCE, host, peak_at)


def in_int8(network: nn.Module) -> int:
    """Give what `to_int8` quantises one byte a number; -> the bytes that the largest such layer had."""
    most = 0
    for name, module in network.named_modules():
        if is_quantised(name, module):
            weight: Any = module.weight
            most = max(most, weight.nbytes)
            weight.requires_grad_(False).data = weight.to(torch.int8)
    return most


def nbytes(part: nn.Module) -> int:
    return sum(value.nbytes for value in _tensors(part))


def pinned_bytes(part: nn.Module) -> int:
    """Of its tensors in pinned memory, which torch rounds up to powers of two each."""
    return sum(1 << (value.nbytes - 1).bit_length() for value in _tensors(part) if value.nbytes)


def largest_groups(part: Any, level: Literal["block", "leaf"]) -> int:
    """Of what group offload has on a GPU at once: what belongs to no block, the largest block or layer, and the next one."""
    offload(part, level, "cpu")
    groups = {}
    for module in part.modules():
        hook = module._diffusers_hook.get_hook("group_offloading") if hasattr(module, "_diffusers_hook") else None
        if hook is not None:
            groups[id(hook.group)] = hook.group
    sizes, whole, counted = [], 0, set()
    for group in groups.values():
        values = [*group.parameters, *group.buffers, *(v for module in group.modules for v in _tensors(module))]
        size = sum(value.nbytes for value in values if id(value) not in counted)
        counted |= {id(value) for value in values}  # T5's table of words belongs to two modules
        if group.onload_leader is part:
            whole += size
        else:
            sizes.append(size)
    return whole + sum(sorted(sizes)[-2:])


def _tensors(part: nn.Module) -> Iterator[Tensor]:
    yield from part.parameters()
    yield from part.buffers()


def built(name: str, configs: Configs, dtype: torch.dtype, model: Model) -> Any:
    """A part on the meta device, in the numbers that it runs in."""
    from kinema.reinforce.cogvideox_network import MVideoTransformer

    in_full = model in ("wan", "vace") and name in ("vae", "image_encoder")
    part = _on_meta(configs[name]).to("meta")
    exact = set(getattr(part, "_keep_in_fp32_modules", None) or ())
    if hasattr(part, "tie_weights") and dtype != torch.float16:
        exact = set()  # transformers heeds it in float16 alone
    for path, value in (*part.named_parameters(), *part.named_buffers()):
        if value.is_floating_point() and not in_full and not exact & set(path.split(".")):
            value.data = value.data.to(dtype)
    if model == "cogvideox" and name == "transformer":
        with torch.device("meta"):
            part = MVideoTransformer(part)
    return part.eval().requires_grad_(False)


def _on_meta(config: dict[str, Any]) -> Any:
    import diffusers
    import transformers

    from kinema.reinforce.video_autoencoder import FourFrameAutoencoder

    name = config["_class_name"]
    values = {key: value for key, value in config.items() if not key.startswith("_")}
    with torch.device("meta"):
        if name == FourFrameAutoencoder.__name__:
            return FourFrameAutoencoder.from_config(values)
        if hasattr(diffusers, name):
            return getattr(diffusers, name).from_config(values)
        of_class = getattr(transformers, name, None)
        if of_class is None:
            raise InputError("model", f"has a part of the class {name}", "classes of diffusers and transformers")
        part = of_class(of_class.config_class(**values))
        part.tie_weights()
        return part


def _latent_grid(job: Job, vae: Any, size: tuple[int, int], frames: int) -> tuple[int, int, int]:
    """Latent frames, rows and columns of a clip."""
    config = vae.config
    spatial = config.get("scale_factor_spatial") or 8
    temporal = 1 if job.model == "svd" else config.get("scale_factor_temporal") or 4
    return (frames - 1) // temporal + 1, size[1] // spatial, size[0] // spatial


def _reading(encoder: Any) -> int:
    if encoder is None:
        return 0
    ids = torch.zeros(1, TEXT_TOKENS, dtype=torch.long, device="meta")
    return peak_bytes(lambda: encoder(ids, ids).last_hidden_state)[0]


def _step(network: Any, job: Job, vae: Any) -> Any:
    """One step of the network, as its pipeline calls it, inputs and all. For guidance Wan runs twice, the others on two."""
    batch = 2 if job.guided and job.model not in ("wan", "vace") else 1
    frames, height, width = _latent_grid(job, vae, job.size, job.frames)
    config = (network.base if job.model == "cogvideox" else network).config

    def new(*shape: int, dtype: torch.dtype = job.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    time = new(batch, dtype=torch.long)
    if job.model == "svd":
        tokens = PICTURE_TOKENS if type(vae).__name__ == "AutoencoderTiny" else 1
        given = new(batch, frames, config.in_channels, height, width)
        return network(given, new(1), new(batch, tokens, config.cross_attention_dim), new(batch, 3), return_dict=False)
    if job.model in ("wan", "vace"):
        text = new(1, TEXT_TOKENS, config.text_dim)
        if job.model == "wan":
            given, seen = new(1, config.in_channels, frames, height, width), new(1, PICTURE_TOKENS, config.image_dim)
            return network(given, time, text, seen, return_dict=False)
        grid = (frames + 1, height, width)  # the picture is one more, as reference
        control, strength = new(1, config.vace_in_channels, *grid), new(len(config.vace_layers))
        given = new(1, config.in_channels, *grid)
        return network(given, time, text, None, control, strength, return_dict=False)
    text = new(batch, config.max_text_seq_length, config.text_embed_dim)
    given = new(batch, frames, config.in_channels, height, width)
    if job.model == "cogvideox-fun":
        tokens = frames * (height // config.patch_size) * (width // config.patch_size)
        turns = (new(tokens, config.attention_head_dim, dtype=torch.float32),) * 2
        rotary = turns if config.use_rotary_positional_embeddings else None
        return network(given, text, time, image_rotary_emb=rotary, return_dict=False)
    from kinema.reinforce.cogvideox_network import Before

    assert job.small_size is not None, "MVideo's clips see the one before"
    count, h, w = _latent_grid(job, vae, job.small_size, job.frames)
    before = Before(given.new_empty(batch, 1, *given.shape[2:]), given.new_empty(batch, count, given.shape[2], h, w))
    return network(given, text, time, torch.empty_like(given), before)


@dataclass(frozen=True)
class _Piece:
    """What an autoencoder works on at once.

    frames, size  of pixels    share  of a video's bytes that all pieces have: more than 1, where tiles overlap
    tiled         whether there are tiles
    """

    frames: int
    size: tuple[int, int]
    share: float = 1.0
    tiled: bool = False


def _piece(vae: Any, job: Job, memory: Memory) -> _Piece:
    """Frames: as many as show the working set when it no longer grows; whole clips of those that take them at once."""
    name = type(vae).__name__
    most = {"AutoencoderKLWan": 9, "AutoencoderKLCogVideoX": 17, "AutoencoderKLTemporalDecoder": CHUNKS[memory]}
    piece = _Piece(min(job.frames, most.get(name, job.frames)), job.size)
    if memory == "fast" or not hasattr(vae, "use_tiling") or name not in most:
        return piece
    tile = vae.tile_sample_min_width, vae.tile_sample_min_height
    if all(side <= of_tile for side, of_tile in zip(job.size, tile, strict=True)):
        return piece
    if name == "AutoencoderKLWan":
        strides = vae.tile_sample_stride_width, vae.tile_sample_stride_height
    else:
        overlap = vae.tile_overlap_factor_width, vae.tile_overlap_factor_height
        strides = tuple(int(side * (1 - o)) for side, o in zip(tile, overlap, strict=True))
    share = 1.0
    for side, of_tile, stride in zip(job.size, tile, strides, strict=True):
        share *= sum(min(of_tile, side - at) for at in range(0, side, stride)) / side
    size = min(job.size[0], tile[0]), min(job.size[1], tile[1])
    return replace(piece, size=size, share=share, tiled=True)


def _decoding(vae: Any, job: Job, memory: Memory) -> int:
    piece, weight = _piece(vae, job, memory), next(vae.parameters())
    frames, height, width = _latent_grid(job, vae, piece.size, piece.frames)
    channels = vae.config.get("z_dim") or vae.config.latent_channels
    more: dict[str, Any] = {}
    shape: tuple[int, ...] = (1, channels, frames, height, width)
    if job.model == "svd":
        shape = (frames, channels, height, width)
        more = {"num_frames": frames} if type(vae).__name__ == "AutoencoderKLTemporalDecoder" else {}
    peak, made = peak_bytes(lambda: vae.decode(torch.empty(shape, dtype=weight.dtype), **more).sample)
    pixels = 3 * job.frames * job.size[0] * job.size[1]
    whole = pixels * weight.element_size()
    kept = int(piece.share * whole)
    return max(peak - made + kept, kept + whole * (3 if piece.tiled else 1), COPIES * 4 * pixels)


def _encoding(vae: Any, job: Job, memory: Memory) -> int:
    piece, dtype = _piece(vae, job, memory), next(vae.parameters()).dtype
    upcast = vae.config.get("force_upcast") and dtype == torch.float16  # as `Svd` encodes
    shape: tuple[int, ...] = (1, 3, piece.frames, *piece.size[::-1])
    if job.model == "svd":
        shape = (piece.frames, 3, *piece.size[::-1])

    def encode() -> Any:
        found = vae.encode(torch.empty(shape, dtype=torch.float32 if upcast else dtype))
        return found.latents if hasattr(found, "latents") else found.latent_dist.mode()

    if upcast:
        vae.float()
    peak, _ = peak_bytes(encode)
    if upcast:
        vae.half()
    pixels = 3 * job.size[0] * job.size[1]
    given = pixels * job.frames * dtype.itemsize * GIVEN[job.model]
    return peak - 3 * piece.frames * piece.size[0] * piece.size[1] * dtype.itemsize + given
