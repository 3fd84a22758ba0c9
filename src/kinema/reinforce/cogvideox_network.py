"""CogVideoX's transformer, with masks on its channels and earlier frames on its sequence (MVideo, sections 3.2 and 3.3).

Input: noisy latents, text, timestep; where given, mask latents and the latents of what came before. Output: v, of the
video tokens alone. Everything but a second, zero-initialised patch projection (for the masks) and two vectors (which say
what a token on the sequence is) is diffusers' `CogVideoXTransformer3DModel`, and without the two it is that bit for bit.

Attention costs the square of the tokens. At 480x720 and 33 frames: 226 of text, 12,150 of the video, 1,350 of the last
frame and 3,456 of the previous clip at 256x384, so that a step with what came before costs 1.4 times as much in the
linear layers and 1.9 times in attention; the mask costs next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kinema.errors import InputError

LAST_FRAME, PREVIOUS_CLIP = 0, 1
"""Rows of `MVideoTransformer.kinds`."""
Coordinates = tuple[Tensor, Tensor, Tensor]
"""Times [F], rows [H] and columns [W] of a grid of patches; the clip begins at time 0, what came before lies below."""


@dataclass(frozen=True)
class Before:
    """Latents of what came before a clip: its last frame at full size, and the previous clip, smaller."""

    last_frame: Float[Tensor, "B 1 C h w"]
    clip: Float[Tensor, "B F C h2 w2"]


class MVideoTransformer(nn.Module):
    """A `CogVideoXTransformer3DModel` (`base`) that takes masks and what came before.

    mask   projects patches of mask latents; with `base.patch_embed.proj` it is one projection of the concatenated channels
    kinds  [2,D], added to the tokens of the last frame and of the previous clip
    Both are zero at first. Raises InputError for a base that is neither CogVideoX-2b nor 5b, text to video.
    """

    def __init__(self, base: Any):
        super().__init__()
        _check_base(base.config)
        self.base = base
        known = base.patch_embed.proj
        like = {"device": known.weight.device, "dtype": known.weight.dtype}
        self.mask = nn.Conv2d(
            known.in_channels, known.out_channels, known.kernel_size, known.stride, bias=False, **like
        )
        nn.init.zeros_(self.mask.weight)
        self.kinds = nn.Parameter(torch.zeros(2, known.out_channels, **like))

    def forward(
        self,
        latents: Float[Tensor, "B F C h w"],
        text: Float[Tensor, "B L E"],
        timestep: Int[Tensor, " B"],
        masks: Float[Tensor, "B F C h w"] | None = None,
        before: Before | None = None,
    ) -> Float[Tensor, "B F C h w"]:
        """Predict v. A frame of `masks` that is all zero says nothing, as no masks do."""
        base = self.base
        time = base.time_embedding(base.time_proj(timestep).to(latents.dtype))
        joint = base.patch_embed(text, latents)
        written, tokens = joint[:, : text.shape[1]], joint[:, text.shape[1] :]
        if masks is not None:
            tokens = tokens + patches(self.mask, masks)
        places = [clip_coordinates(base.config, latents)]
        count = tokens.shape[1]
        if before is not None:
            for kind, given in ((LAST_FRAME, before.last_frame), (PREVIOUS_CLIP, before.clip)):
                first = -1 if kind == LAST_FRAME else -1 - given.shape[1]
                places.insert(0, earlier_coordinates(base.config, given, places[-1], first))
                tokens = torch.cat([self._earlier(given, kind, places[0]), tokens], 1)
        tokens = self._through_blocks(tokens, written, time, self._rotary(places))
        tokens = base.norm_out(base.norm_final(tokens[:, -count:]), temb=time)
        return unpatchify(base.proj_out(tokens), latents, base.config.patch_size)

    def _earlier(self, latents: Tensor, kind: int, place: Coordinates) -> Tensor:
        """Tokens [B,N,D] of earlier frames."""
        tokens = patches(self.base.patch_embed.proj, latents) + self.kinds[kind]
        if self.base.config.use_rotary_positional_embeddings:
            return tokens
        return tokens + sincos(place, tokens.shape[2]).to(tokens)

    def _rotary(self, places: list[Coordinates]) -> tuple[Tensor, Tensor] | None:
        config = self.base.config
        if not config.use_rotary_positional_embeddings:
            return None
        turns = [rotary(place, config.attention_head_dim) for place in places]
        return torch.cat([cosine for cosine, _ in turns]), torch.cat([sine for _, sine in turns])

    def _through_blocks(
        self, tokens: Tensor, text: Tensor, time: Tensor, turns: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        saving = self.base.gradient_checkpointing and torch.is_grad_enabled()
        text = self.base.embedding_dropout(text)
        tokens = self.base.embedding_dropout(tokens)
        for block in self.base.transformer_blocks:
            if saving:
                tokens, text = self.base._gradient_checkpointing_func(block, tokens, text, time, turns)
            else:
                tokens, text = block(tokens, text, time, turns)
        return tokens


def _check_base(config: Any) -> None:
    expected = "CogVideoX-2b or CogVideoX-5b, text to video"
    if config.patch_size_t is not None:
        raise InputError("transformer", "patches time too (patch_size_t), as CogVideoX 1.5 does", expected)
    if config.use_learned_positional_embeddings or config.ofs_embed_dim or config.in_channels != config.out_channels:
        raise InputError("transformer", f"takes {config.in_channels} channels, as image-to-video models do", expected)


def patches(projection: nn.Conv2d, latents: Float[Tensor, "B F C h w"]) -> Float[Tensor, "B N D"]:
    """Latents to tokens, in CogVideoX's order: frame by frame, row by row."""
    batch = latents.shape[0]
    return projection(latents.flatten(0, 1)).unflatten(0, (batch, -1)).flatten(3).transpose(2, 3).flatten(1, 2)


def unpatchify(
    tokens: Float[Tensor, "B N P"], like: Float[Tensor, "B F C h w"], size: int
) -> Float[Tensor, "B F C h w"]:
    """What the last layer says of each patch, put together."""
    batch, frames, _, height, width = like.shape
    grid = tokens.reshape(batch, frames, height // size, width // size, -1, size, size)
    return grid.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)


def clip_coordinates(config: Any, latents: Float[Tensor, "B F C h w"]) -> Coordinates:
    """Where diffusers has the patches of a clip: sincos counts them, scaled; rotary fits them into the trained size."""
    from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid

    size, device = config.patch_size, latents.device
    frames, rows, columns = latents.shape[1], latents.shape[3] // size, latents.shape[4] // size
    times = torch.arange(frames, dtype=torch.float32, device=device)
    if not config.use_rotary_positional_embeddings:
        down = torch.arange(rows, dtype=torch.float32, device=device) / config.spatial_interpolation_scale
        across = torch.arange(columns, dtype=torch.float32, device=device) / config.spatial_interpolation_scale
        return times / config.temporal_interpolation_scale, down, across
    start, stop = get_resize_crop_region_for_grid(
        (rows, columns), config.sample_width // size, config.sample_height // size
    )
    down = torch.linspace(start[0], stop[0] * (rows - 1) / rows, rows, device=device)
    across = torch.linspace(start[1], stop[1] * (columns - 1) / columns, columns, device=device)
    return times, down, across


def earlier_coordinates(config: Any, latents: Float[Tensor, "B F C h w"], clip: Coordinates, first: int) -> Coordinates:
    """Where earlier frames lie: at times `first`, `first` + 1, ... below 0, stretched over the same picture as the clip."""
    size = config.patch_size
    times = torch.arange(first, first + latents.shape[1], dtype=torch.float32, device=latents.device)
    if not config.use_rotary_positional_embeddings:
        times = times / config.temporal_interpolation_scale
    return times, stretched(clip[1], latents.shape[3] // size), stretched(clip[2], latents.shape[4] // size)


def stretched(line: Float[Tensor, " N"], count: int) -> Float[Tensor, " M"]:
    """`count` evenly spaced places whose cells cover what the cells around those of an even `line` cover."""
    here = (torch.arange(count, dtype=line.dtype, device=line.device) + 0.5) * len(line) / count - 0.5
    step = (line[-1] - line[0]) / max(1, len(line) - 1)
    return line[0] + step * here


def sincos(place: Coordinates, width: int) -> Float[Tensor, "N D"]:
    """CogVideoX-2b's positions: a quarter for time, the rest for column and row (`get_3d_sincos_pos_embed`)."""
    from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid

    times, rows, columns = (
        get_1d_sincos_pos_embed_from_grid(share, line)
        for share, line in zip((width // 4, 3 * width // 8, 3 * width // 8), place, strict=True)
    )
    through, down, across = _spread(times, rows, columns)
    return torch.cat([through, across, down], -1).flatten(0, 2)


def rotary(place: Coordinates, width: int) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N D"]]:
    """CogVideoX-5b's positions: cosines and sines of a head's angles (`get_3d_rotary_pos_embed`)."""
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    shares = (width // 4, width // 8 * 3, width // 8 * 3)
    lines: Any = place  # diffusers takes tensors too
    turns = [get_1d_rotary_pos_embed(n, line, use_real=True) for n, line in zip(shares, lines, strict=True)]
    cosines, sines = ([turn[k] for turn in turns] for k in (0, 1))
    return torch.cat(_spread(*cosines), -1).flatten(0, 2), torch.cat(_spread(*sines), -1).flatten(0, 2)


def _spread(times: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers along three lines [F,a], [H,b], [W,c] -> on the grid [F,H,W,.] of the three."""
    shape = (len(times), len(rows), len(columns), -1)
    return times[:, None, None].expand(*shape), rows[None, :, None].expand(*shape), columns[None, None].expand(*shape)
