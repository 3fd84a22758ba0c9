"""The Parameterized Motion Prior (PMP): a transformer that corrects a window of motion (ReVision, 4.2-S2, appendix A).

Input: channels [B,T,C] of a perturbed motion in the canonical frame (`features.py`), the held frames, a text embedding
and a motion strength. Output: the corrected channels, directly (`train/pmp.py` has the loss).

One trunk serves all categories; projections in and out, and an embedding, belong to a category. Each block is
self-attention over frames, cross-attention to text and strength, and a feed-forward network. Four things are ours:

* Attention over frames is biased by how far two frames are from each other, in time and in pose.
* The output is read through pointers: attention maps over the *input's own frames*, mixed for every joint, plus a
  learned residual. A pointer can copy a frame (clean motion stays exact), put frames back in order, fill a gap from
  its ends and smooth, so the network has only to find out which of these is called for. The same pointers carry
  channels that were never trained on, fingers and face.
* What is read is joint positions as well as rotations: a foot that stands is known from all the frames in which it
  stands, and that steadies the legs and the root (`inverse_kinematics.py`).
* The motion is refined in passes: what half of the blocks found is looked at anew, as positions and differences in
  which contacts and swings stand out from the noise, before the other half corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.optimize.features import (
    CATEGORIES,
    PRIOR_PARENTS,
    by_group,
    channel_count,
    channel_groups,
    joint_count,
    joint_frames,
    observe,
    observed_count,
    pair_distances,
    positions,
)
from kinema.optimize.frame_order import belongs
from kinema.optimize.inverse_kinematics import step_towards
from kinema.optimize.motion_strength import STRENGTH_QUANTILES

HEAD_LOG_SIGMAS = (-0.3, 3.3)
"""Widths in frames that attention heads start from, as logarithms: 0.7 to 27."""
GAIN_SCALE = 5.0
"""rad/m^2: with joints 0.5 m away, a gain of this size takes up a position error nearly whole."""
TEXT_WIDTH = 128
"""Numbers in a text embedding (`text_encoder.py`)."""


@dataclass(frozen=True)
class PmpConfig:
    """Sizes of the network."""

    width: int = 256
    depth: int = 6
    heads: int = 8
    pointers: int = 8
    passes: int = 2
    """How often the motion is read out; each pass has depth / passes blocks."""
    max_frames: int = 64
    """Longest distance in time, in frames, that attention tells apart."""


class FrameAttention(nn.Module):
    """Self-attention over frames with a given bias [B,heads,T,T].

    Heads start as a bank of Gaussians in time, from narrow to nearly flat: the even ones around the frame's own place, the
    odd ones around where it belongs; apart [B,2,T,T] holds the squared distances of both.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.log_sigma = nn.Parameter(torch.linspace(*HEAD_LOG_SIGMAS, heads // 2).repeat_interleave(2))

    def forward(self, x: Tensor, bias: Tensor, apart: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        near = apart.repeat(1, self.heads // 2, 1, 1) * torch.exp(-2 * self.log_sigma)[:, None, None] / 2
        return self.out(F.scaled_dot_product_attention(q, k, v, (bias - near).to(v.dtype)).transpose(1, 2).flatten(-2))


class ConditionAttention(nn.Module):
    """Cross-attention from frames [B,T,D] to condition tokens [B,N,D]."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(condition).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Self-attention over frames, cross-attention to the conditions, feed-forward; pre-norm residuals."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.frames = FrameAttention(width, heads)
        self.conditions = ConditionAttention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, bias: Tensor, apart: Tensor, condition: Tensor) -> Tensor:
        x = x + self.frames(self.norms[0](x), bias, apart)
        x = x + self.conditions(self.norms[1](x), condition)
        return x + self.feed_forward(self.norms[2](x))


class PairBias(nn.Module):
    """Attention biases [layers][B,heads,T,T] from how far two frames are apart.

    distances [B,T,T,2] in pose; order [B,T] where in time the frames seem to belong.
    """

    def __init__(self, layers: int, heads: int, max_frames: int, width: int = 16):
        super().__init__()
        self.layers, self.max_frames = layers, max_frames
        self.apart = nn.Embedding(2 * max_frames + 1, width)
        self.distance = nn.Linear(3, width)
        self.out = nn.Linear(width, layers * heads)

    def forward(self, distances: Tensor, order: Tensor) -> list[Tensor]:
        frames = torch.arange(distances.shape[1], device=distances.device)
        apart = (frames[None] - frames[:, None]).clamp(-self.max_frames, self.max_frames) + self.max_frames
        between = (order[:, None, :] - order[:, :, None])[..., None] / 8
        bias = self.out(F.gelu(self.distance(torch.cat([distances, between], -1)) + self.apart(apart)))
        return list(bias.permute(0, 3, 1, 2).chunk(self.layers, 1))


def shares(logits: Tensor, sharpen: Tensor, pointers: int) -> Tensor:
    """[B,T,groups*K] twice -> [B,T,groups,K], how much of each pointer is read; the sum is 1.

    Means alone would flatten every peak: what `sharpen` adds may be negative, so that a narrow mean less a wide one is
    read, as filters with negative lobes do.
    """
    mean, added = (v.float().unflatten(-1, (-1, pointers)) for v in (logits, sharpen))
    return mean.softmax(-1) + added - added.mean(-1, keepdim=True)


class Pointers(nn.Module):
    """The read-out: K attention maps over the input's frames, mixed for each group of channels, plus a residual.

    Every input frame says at what time it belongs (`moment`); a pointer looks for the frames that belong near its own.
    """

    def __init__(self, width: int, pointers: int, groups: int, channels: int):
        super().__init__()
        self.pointers = pointers
        self.qk = nn.Linear(width, 2 * width)
        self.moment = nn.Linear(width, 1)
        self.mix = nn.Linear(width, groups * pointers)
        self.sharpen = nn.Linear(width, groups * pointers)
        self.residual = nn.Linear(width, channels)
        for layer in (self.residual, self.moment, self.sharpen):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        # Banks of Gaussian filters to start from, from the frame itself to a wide mean: the even pointers around the
        # frame's own place, the odd ones around its moment. The sharpest leads.
        self.log_sigma = nn.Parameter(torch.linspace(-1.2, 2.0, pointers // 2).repeat_interleave(2))
        with torch.no_grad():
            self.mix.weight.mul_(0.1)
            self.mix.bias.copy_(torch.tensor([2.0] + [0.0] * (pointers - 1)).repeat(groups))

    def forward(self, x: Tensor, bias: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> maps [B,K,T,T], mix [B,T,groups,K], residual [B,T,C], moments [B,T] in frames."""
        q, k = self.qk(x).unflatten(-1, (2, self.pointers, -1)).permute(2, 0, 3, 1, 4)
        logits = (q @ k.mT).float() * q.shape[-1] ** -0.5 + bias.float()
        frames = torch.arange(x.shape[1], device=x.device)
        moments = order + 8 * self.moment(x)[..., 0].float()
        # Moments learn from the true order alone: through sharp pointers their gradient would be noise.
        places = torch.stack([frames.expand(len(x), -1), moments.detach()], 1).repeat(1, self.pointers // 2, 1)
        apart = (places[:, :, None, :] - frames[:, None]).square() / 2
        logits = logits - apart * torch.exp(-2 * self.log_sigma)[:, None, None]
        mix = shares(self.mix(x), self.sharpen(x), self.pointers)
        return logits.softmax(-1), mix, self.residual(x).float(), moments


class Placement(nn.Module):
    """Moves a body that was read from rotations towards joint positions that are read through the same pointers."""

    def __init__(self, width: int, pointers: int, joints: int):
        super().__init__()
        self.mix = nn.Linear(width, joints * pointers)
        self.sharpen = nn.Linear(width, joints * pointers)
        self.offset = nn.Linear(width, joints * 3)
        self.weight = nn.Linear(width, joints)
        self.gain = nn.Linear(width, joints + 1)
        with torch.no_grad():
            self.mix.weight.mul_(0.1)
        for layer in (self.offset, self.gain, self.sharpen):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, maps: Tensor, given: Tensor, channels: Tensor, bones: Tensor, category: str) -> Tensor:
        """x [B,T,D], pointers [B,K,T,S], given positions [B,S,J,3], channels [B,T,C] as read -> channels [B,T,C]."""
        mix = shares(self.mix(x), self.sharpen(x), maps.shape[1])
        offset, weight, gain = (layer(x).float() for layer in (self.offset, self.weight, self.gain))
        with torch.autocast(x.device.type, enabled=False):
            reads = (maps.flatten(1, 2) @ given.flatten(2)).unflatten(1, maps.shape[1:3]).unflatten(-1, (-1, 3))
            goal = torch.einsum("bktjc,btjk->btjc", reads, mix)
            points, turned = joint_frames(channels, bones, category)
            error = (goal + offset.unflatten(-1, (-1, 3)) - points) * weight.sigmoid()[..., None]
            return step_towards(channels, points, turned, error, GAIN_SCALE * gain, category)


@dataclass(frozen=True)
class Correction:
    """What the prior found.

    channels [B,T,C] corrected; maps [B,K,T,T] pointers and mix [B,T,groups,K], with which other channels can be read the
    same way; moments [B,T] the frame number at which each input frame belongs.
    """

    channels: Tensor
    maps: Tensor
    mix: Tensor
    moments: Tensor


class MotionPrior(nn.Module):
    """The PMP. `bones` and `speeds` are what the weights were trained with, and travel with them."""

    def __init__(self, config: PmpConfig = PmpConfig()):
        super().__init__()
        self.config = config
        width = config.width
        if config.depth % config.passes:
            raise InputError("PmpConfig", f"{config.depth} blocks don't make {config.passes} equal passes")
        self.embed = nn.ModuleDict({c: nn.Linear(observed_count(c), width) for c in CATEGORIES})
        self.again = nn.ModuleList(
            nn.ModuleDict({c: nn.Linear(observed_count(c) + channel_count(c), width) for c in CATEGORIES})
            for _ in range(config.passes - 1)
        )
        self.category = nn.ParameterDict({c: nn.Parameter(torch.randn(width) * 0.02) for c in CATEGORIES})
        self.text = nn.Linear(TEXT_WIDTH, width)
        self.no_text = nn.Parameter(torch.randn(width) * 0.02)
        self.strength = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))
        self.no_strength = nn.Parameter(torch.randn(width) * 0.02)
        self.pair_bias = PairBias(config.depth, config.heads, config.max_frames)
        self.pointer_bias = PairBias(1, config.pointers, config.max_frames)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.passes))
        self.read_outs = nn.ModuleList(
            nn.ModuleDict(
                {
                    c: Pointers(width, config.pointers, int(channel_groups(c).max()) + 1, channel_count(c))
                    for c in CATEGORIES
                }
            )
            for _ in range(config.passes)
        )
        self.placements = nn.ModuleList(
            nn.ModuleDict({c: Placement(width, config.pointers, joint_count(c)) for c in PRIOR_PARENTS})
            for _ in range(config.passes)
        )
        for c in CATEGORIES:
            self.register_buffer(f"bones_{c}", torch.zeros(joint_count(c), 3))
            self.register_buffer(f"speeds_{c}", torch.linspace(0, 1, len(STRENGTH_QUANTILES)))

    def bones(self, category: str) -> Tensor:
        """[J,3] metres, the rest skeleton that features and losses are measured on."""
        return self.get_buffer(f"bones_{category}")

    def speeds(self, category: str) -> Tensor:
        """Speeds of the training set at `STRENGTH_QUANTILES`."""
        return self.get_buffer(f"speeds_{category}")

    def condition(self, batch: int, text: Tensor | None, strength: Tensor | None) -> Tensor:
        """[B,2,D] tokens. text [B,TEXT_WIDTH] and strength [B]: None, or NaN in a row, mean not given."""
        tokens = []
        for given, network, missing in (
            (text, self.text, self.no_text),
            (None if strength is None else strength[:, None], self.strength, self.no_strength),
        ):
            token = missing.expand(batch, -1)
            if given is not None:
                known = given[:, :1].isfinite()
                token = torch.where(known, network(given.nan_to_num()), token)
            tokens.append(token)
        return torch.stack(tokens, 1)

    def passes(
        self,
        channels: Tensor,
        category: str,
        held: Tensor | None = None,
        text: Tensor | None = None,
        strength: Tensor | None = None,
        order: Tensor | None = None,
        precision: torch.dtype = torch.float32,
    ) -> list[Correction]:
        """What every pass found, the last being the answer.

        channels [B,T,C] canonical, held [B,T] bool (frames known to be right), text [B,E], strength [B] 0-1, order [B,T]
        where each frame seems to belong (`frame_order.belongs`, which finds it where it is not given), precision of the
        matrix products between features and read-out (bfloat16 serves in training; what is read stays float32).
        """
        if held is None:
            held = channels.new_zeros(channels.shape[:2], dtype=torch.bool)
        points = positions(channels, self.bones(category), category)
        if order is None:
            order = belongs(points)
        distances = pair_distances(channels, points)
        features = observe(channels, points, held, order)
        places = torch.stack([torch.arange(channels.shape[1]).to(order).expand_as(order), order], 1)
        apart = (places[..., None, :] - places[..., None]).square()
        found: list[Correction] = []
        with torch.autocast(channels.device.type, precision, enabled=precision != torch.float32):
            biases = self.pair_bias(distances, order)
            pointer_bias = self.pointer_bias(distances, order)[0]
            condition = self.condition(len(channels), text, strength)
            x = self.embed[category](features) + self.category[category]
            each = self.config.depth // self.config.passes
            for k in range(self.config.passes):
                if k:
                    seen = self._look_again(found[-1].channels, channels, category, held, order)
                    x = x + _of(self.again[k - 1], category)(seen)
                for b in range(k * each, (k + 1) * each):
                    x = self.blocks[b](x, biases[b], apart, condition)
                y = self.norms[k](x)
                pointers = _of(self.read_outs[k], category)(y, pointer_bias, order)
                read = _read(pointers, channels, category)
                if category in PRIOR_PARENTS:
                    placed = _of(self.placements[k], category)(
                        y, read.maps, points, read.channels, self.bones(category), category
                    )
                    read = replace(read, channels=placed)
                found.append(read)
        return found

    def _look_again(self, found: Tensor, given: Tensor, category: str, held: Tensor, order: Tensor) -> Tensor:
        points = positions(found, self.bones(category), category)
        return torch.cat([observe(found, points, held, order), found - given], -1)

    def forward(self, *given, **conditions) -> Correction:
        """The answer: the last of `passes`, whose arguments these are."""
        return self.passes(*given, **conditions)[-1]


def _of(modules: nn.Module, category: str) -> nn.Module:
    assert isinstance(modules, nn.ModuleDict)
    return modules[category]


def _read(pointers: tuple[Tensor, Tensor, Tensor, Tensor], given: Tensor, category: str) -> Correction:
    """The given channels [B,T,C], read through what `Pointers` returns."""
    maps, mix, residual, moments = pointers
    with torch.autocast(given.device.type, enabled=False):
        reads = (maps.flatten(1, 2) @ given).unflatten(1, maps.shape[1:3])
        start, mixed = 0, []
        for part in by_group(reads, category):
            groups = part.shape[-2]
            mixed.append(torch.einsum("bktgc,btgk->btgc", part, mix[:, :, start : start + groups]).flatten(-2))
            start += groups
        return Correction(torch.cat(mixed, -1) + residual, maps, mix, moments)


def point(maps: Tensor, mix: Tensor, channels: Tensor) -> Tensor:
    """Read channels [B,S,C] through pointers [B,K,T,S], mixed by [B,T,C,K] -> [B,T,C]."""
    read = maps.flatten(1, 2) @ channels
    return torch.einsum("bktc,btck->btc", read.unflatten(1, maps.shape[1:3]), mix)
