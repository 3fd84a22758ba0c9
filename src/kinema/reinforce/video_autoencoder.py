"""The video autoencoder of `mini-cogvideox`: a linear encoder, and mini-svd's decoder behind convolutions over time.

Video 3x(4n+1)xHxW <-> latents 16x(n+1)xH/8xW/8, the layout of CogVideoX's own autoencoder: the first frame has latents of
its own, after it four frames share them. The encoder is the first principal components of blocks of 4x8x8 pixels: it needs
no training, takes next to no time, and keeps what a linear code can keep at most. There are no norms: they learn flat
colours badly (`docs/mini_svd.md`). It loads and saves as diffusers' own do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DecoderTiny, IdentityDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

BLOCK = (4, 8, 8)
"""Frames, rows and columns of pixels behind one latent."""
AROUND_PX = 17
"""Side of the square in which a change is compared with those before and after it."""
JUMPS_FROM, JUMPS = 2.0, 3.0
"""The picture jumps where it changes so many times as much as before and after: a little from the first on, wholly from the
second."""
LEAST_CHANGE, GREATEST_CHANGE = 0.01, 2.0
"""Pixels in -1..1. The first is added to what it changes before and after: below it is noise."""


class FourFrameAutoencoder(ModelMixin, ConfigMixin):
    """Encoder, a mending of latents over space and time, and the decoder of an `AutoencoderTiny` for every frame.

    picture_channels, picture_width, picture_blocks  of that decoder: its latents, its width, its blocks at each size
    width, blocks   of the convolutions that mend
    most_joint_step  of `deblocked`; 0: nothing is deblocked
    scaling_factor  as in diffusers: latents times it are of unit size
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        width: int = 96,
        blocks: int = 2,
        picture_channels: int = 12,
        picture_width: int = 48,
        picture_blocks: Sequence[int] = (5, 3, 1, 0),
        scaling_factor: float = 1.0,
        scale_factor_spatial: int = BLOCK[1],
        scale_factor_temporal: int = BLOCK[0],
        most_joint_step: float = 0.0,
    ):
        super().__init__()
        pictures = BLOCK[0] * picture_channels
        self.encoder = nn.Conv3d(3, latent_channels, BLOCK, BLOCK)
        self.unfold = nn.Conv3d(latent_channels, pictures, 1)
        last = nn.Conv3d(width, pictures, 1)
        nn.init.zeros_(last.weight)
        self.mend = nn.Sequential(
            nn.Conv3d(latent_channels, width, 3, padding=1), *(_Residual(width) for _ in range(blocks)), nn.ReLU(), last
        )
        widths = (picture_width,) * len(picture_blocks)
        self.decoder = DecoderTiny(picture_channels, 3, tuple(picture_blocks), widths, 2, "relu", "nearest")

    def encode(self, video: Float[Tensor, "B 3 T H W"]) -> AutoencoderKLOutput:
        """Pixels in -1..1; T is 4n+1. What comes out is certain: the distribution is of one value."""
        first = video[:, :, :1].expand(-1, -1, BLOCK[0] - 1, -1, -1)
        latents = self.encoder(torch.cat([first, video], 2))
        return AutoencoderKLOutput(latent_dist=IdentityDistribution(latents))  # type: ignore[arg-type]

    def decode(self, latents: Float[Tensor, "B C F h w"]) -> DecoderOutput:
        """Pixels, not clamped."""
        stacked = self.unfold(latents) + self.mend(latents)
        pictures = stacked.transpose(1, 2).unflatten(2, (BLOCK[0], -1)).flatten(1, 2)[:, BLOCK[0] - 1 :]
        # Channels last: the order in which convolutions on a CPU are fastest; a third of the time in bfloat16.
        pictures = pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        frames = self.decoder(pictures).unflatten(0, (len(latents), -1))
        config: Any = self.config
        return DecoderOutput(deblocked(frames.transpose(1, 2), config.most_joint_step))


def deblocked(frames: Float[Tensor, "B 3 T H W"], most: float) -> Float[Tensor, "B 3 T H W"]:
    """Frames without steps from one latent frame to the next: the deblocking filter of video codecs, over time.

    Latents that were made don't quite agree with their neighbours, so that the picture jumps every fourth frame. A step is
    the change there less the mean of the changes beside it, and is spread over the two frames on either side. In any
    pixel it is at most `most` (pixels in -1..1), what is more being taken for a thing that moves, but where all around jumps
    (`JUMPS`): what moves does so before and after too. T is 4n+1.
    """
    if not most or frames.shape[2] == 1:
        return frames
    changes = frames.diff(dim=2)
    at, after = changes[:, :, :: BLOCK[0]], changes[:, :, 1 :: BLOCK[0]]
    before = torch.cat([after[:, :, :1], changes[:, :, BLOCK[0] - 1 : -1 : BLOCK[0]]], 2)
    usual = torch.maximum(_around(before), _around(after)) + LEAST_CHANGE
    jumps = ((_around(at) / usual - JUMPS_FROM) / (JUMPS - JUMPS_FROM)).clamp(0, 1)
    limit = (most + (GREATEST_CHANGE - most) * jumps)[:, None]
    steps = (at - (before + after) / 2).clamp(-limit, limit)
    falling = torch.tensor([3 / 8, 1 / 8, 0, 0]).to(frames)[:, None, None]
    first = frames[:, :, :1] + falling[0] * steps[:, :, :1]
    blocks = frames[:, :, 1:].unflatten(2, (-1, BLOCK[0])) - falling * steps.unsqueeze(3)
    ends = torch.cat([steps[:, :, 1:], torch.zeros_like(steps[:, :, :1])], 2)
    blocks = blocks + falling.flip(0) * ends.unsqueeze(3)
    return torch.cat([first, blocks.flatten(2, 3)], 2)


def _around(changes: Float[Tensor, "B 3 K H W"]) -> Float[Tensor, "B K H W"]:
    """How much the picture changes around each pixel."""
    return F.avg_pool2d(changes.abs().mean(1), AROUND_PX, 1, AROUND_PX // 2, count_include_pad=False)


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1)),
            nn.ReLU(), nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
