"""Make the video autoencoder of `mini-cogvideox`: its encoder set, its decoder trained on from mini-svd's.

kinema train video-autoencoder --capture cmu_train.npz --photographs photos/ --run runs/video_ae --out mini_cogvideox/vae/

The encoder is the first principal components of blocks of pixels, so the latents are known before anything is trained, and
a transformer can be trained on them while the decoder still is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kinema.checkpoints import MINI_SVD
from kinema.errors import InputError
from kinema.precision import pick_precision
from kinema.reinforce.video_autoencoder import BLOCK, FourFrameAutoencoder
from kinema.train.card import of_world, write_card
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, train
from kinema.world.sampler import World

COMPONENT_CLIPS, EVALUATION_CLIPS = 200, 24
EVALUATION_NOISE = 0.3
SIDE = 128
"""Pixels of a side of the world's pictures."""


@dataclass(frozen=True)
class VideoAutoencoderTrainConfig:
    """Train the video autoencoder of mini-cogvideox. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    capture: Path | None = None
    """Human capture to move the world's people (multi-clip npz); default: the few shipped clips."""
    photographs: Path | None = None
    """Folder of pictures to use as backdrops."""
    out: Path | None = None
    """Folder for the finished weights, in diffusers' layout."""
    start: Path | None = None
    """Folder with weights to go on from; its encoder stays as it is."""
    blocks: int = 0
    """Of the convolutions that mend latents; more than the start has begin as nothing. 0: as many as it has."""
    pictures: Path = MINI_SVD / "vae"
    """Folder of the autoencoder for pictures to begin with, where there is no start."""
    wide: bool = True
    """Learn on the wide world. The shipped encoder has the components of the other one's clips."""
    clips: int = 1
    """Clips a step; more make a step slower and its direction surer."""
    frames: int = 17
    """Of each clip: 4 n + 1."""
    side: int = 64
    """Pixels of a side of what is kept of a clip, at a random place: a multiple of 8, up to 128."""
    noise: float = 0.4
    """Most noise on the latents, which are of about unit size: what a transformer makes of a video is off by as much, each
    latent frame in its own way, and a decoder that knows only true ones shows every such error as a jump."""
    difference_weight: float = 8.0
    """Of what is wrong in the change from frame to frame, squared: absolute errors are least where nothing moves but now
    and then."""
    texture_weight: float = 2.0
    """Of what is wrong in how much fine detail there is around a pixel, wherever exactly it is: the least error of each
    pixel is a blur."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    device: str = "auto"
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=6000, learning_rate=5e-4, decay=0.85, weight_decay=0)
    )


def make_video_autoencoder(
    pictures: Path, clips: Float[Tensor, "B 3 T H W"], channels: int = 16
) -> FourFrameAutoencoder:
    """With the principal components of `clips`, and the decoder of a trained autoencoder for pictures."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    tiny = AutoencoderTiny.from_pretrained(pictures, torch_dtype=torch.float32)
    config: Any = tiny.config
    model = FourFrameAutoencoder(
        channels,
        picture_channels=config.latent_channels,
        picture_width=config.decoder_block_out_channels[0],
        picture_blocks=config.num_decoder_blocks,
    )
    model.decoder.load_state_dict(tiny.decoder.state_dict())
    _set_components(model, clips)
    _set_unfolding(model, tiny, clips)
    return model


def grown(model: FourFrameAutoencoder, blocks: int) -> FourFrameAutoencoder:
    """With so many blocks that mend, or as many as it has; new ones do nothing yet."""
    config: Any = dict(model.config)
    new = max(0, blocks - config["blocks"])
    if not new:
        return model
    settings: dict[str, Any] = {k: v for k, v in config.items() if not k.startswith("_")}
    settings["blocks"] = blocks
    larger = FourFrameAutoencoder(**settings)
    first, *old, relu, last = model.mend
    added = list(larger.mend)[1 : 1 + new]
    for block in added:
        for name, value in block.named_parameters():
            if name.startswith("layers.3."):  # the last one
                nn.init.zeros_(value)
    larger.mend = nn.Sequential(first, *old, *added, relu, last)
    larger.encoder, larger.unfold, larger.decoder = model.encoder, model.unfold, model.decoder
    return larger


@torch.no_grad()
def _set_components(model: FourFrameAutoencoder, clips: Float[Tensor, "B 3 T H W"]) -> None:
    """The k-th component is divided by the root of its deviation: half way to white, as in `train.autoencoder`."""
    channels, usable = model.encoder.out_channels, clips[:, :, 1:]
    batch, _, frames, height, width = usable.shape
    f, h, w = BLOCK
    blocks = usable.reshape(batch, 3, frames // f, f, height // h, h, width // w, w).permute(0, 2, 4, 6, 1, 3, 5, 7)
    blocks = blocks.reshape(-1, 3 * f * h * w).double()
    mean = blocks.mean(0)
    variances, components = torch.linalg.eigh((blocks - mean).T @ (blocks - mean) / len(blocks))
    components, deviation = components.flip(1).T[:channels], variances.flip(0)[:channels].sqrt()
    scaled = components / (deviation * deviation.mean()).sqrt()[:, None]  # the latents' mean square is 1
    model.encoder.weight.copy_(scaled.reshape(channels, 3, f, h, w))
    model.encoder.bias.copy_(-(scaled @ mean))  # type: ignore[union-attr]


@torch.no_grad()
def _set_unfolding(model: FourFrameAutoencoder, tiny: Any, clips: Float[Tensor, "B 3 T H W"]) -> None:
    """The linear map, by least squares, from latents to those that the decoder for pictures knows."""
    latents, pictures = [], []
    for clip in clips:
        latents.append(model.encode(clip[None]).latent_dist.mode()[0, :, 1:].flatten(1).T)
        of_frames = tiny.encoder(clip[:, 1:].transpose(0, 1)).unflatten(0, (-1, BLOCK[0]))
        pictures.append(of_frames.flatten(1, 2).transpose(0, 1).flatten(1).T)
    given = torch.cat(latents)
    given = torch.cat([given, torch.ones(len(given), 1)], 1).double()
    found = torch.linalg.lstsq(given, torch.cat(pictures).double()).solution
    model.unfold.weight.copy_(found[:-1].T[..., None, None, None])
    model.unfold.bias.copy_(found[-1])  # type: ignore[union-attr]


def clips_of(world: World, step: int, count: int, seed: int, frames: int = 9) -> Float[Tensor, "B 3 T H W"]:
    """In -1..1, a pure function of the step."""
    rng = rng_for(seed, step)
    videos = np.stack([world.sample(int(rng.integers(1 << 31)), frames).video.frames for _ in range(count)])
    return torch.from_numpy(videos).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def cut_out(clips: Float[Tensor, "B 3 T H W"], side: int, rng: np.random.Generator) -> Float[Tensor, "B 3 T S S"]:
    """One square of whole blocks, so that its latents are those of the picture."""
    top, left = (BLOCK[1] * int(rng.integers((n - side) // BLOCK[1] + 1)) for n in clips.shape[3:])
    return clips[..., top : top + side, left : left + side]


def detail(videos: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "BT 3 h w"]:
    """How far pixels are off the mean of their neighbours, as a mean over blocks of 8 x 8."""
    frames = videos.transpose(1, 2).flatten(0, 1)
    return F.avg_pool2d((frames - F.avg_pool2d(frames, 3, 1, 1)).abs(), BLOCK[1])


def jumps(videos: Float[Tensor, "B 3 T H W"]) -> float:
    """Change of the picture from one latent frame to the next, as a multiple of the change within one; 1 is best."""
    change = videos.diff(dim=2).abs().mean((0, 1, 3, 4))
    between = torch.arange(len(change)) % BLOCK[0] == 0
    return float(change[between].mean() / change[~between].mean())


def train_video_autoencoder(config: VideoAutoencoderTrainConfig) -> Path:
    """-> the folder with the finished weights (or the run, where `out` is not given). Raises InputError."""
    if config.frames < 1 or (config.frames - 1) % BLOCK[0]:
        raise InputError("frames", f"are {config.frames}", f"a multiple of {BLOCK[0]} and 1 more")
    if not BLOCK[1] <= config.side <= SIDE or config.side % BLOCK[1]:
        raise InputError("side", f"is {config.side}", f"a multiple of {BLOCK[1]}, up to {SIDE}")
    device = pick_device(config.device, config.threads)
    precision = pick_precision("auto", device)
    world = World.load(config.capture, config.photographs, wide=config.wide)
    torch.manual_seed(config.loop.seed)
    model: Any
    if config.start:
        model = grown(FourFrameAutoencoder.from_pretrained(config.start, torch_dtype=torch.float32), config.blocks)
    else:
        model = make_video_autoencoder(config.pictures, clips_of(world, 0, COMPONENT_CLIPS, config.loop.seed + 1))
    model.to(device)
    model.requires_grad_(True)
    model.encoder.requires_grad_(False)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        rng = rng_for(config.loop.seed + 1, step)
        clips = cut_out(clips_of(world, step, config.clips, config.loop.seed, config.frames), config.side, rng)
        grid = (1 + (config.frames - 1) // BLOCK[0], config.side // BLOCK[1], config.side // BLOCK[2])
        shape = (config.clips, model.encoder.out_channels, *grid)
        return clips, torch.from_numpy(rng.standard_normal(shape, np.float32) * rng.uniform(0, config.noise))

    def loss(drawn: tuple[Tensor, Tensor]) -> Tensor:
        clips, noise = (v.to(device) for v in drawn)
        with torch.no_grad():
            latents = model.encode(clips).latent_dist.mode() + noise
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            videos = model.decode(latents).sample.float()
        error = videos - clips
        of_frames = error.abs().mean() + 2 * error.square().mean()
        of_changes = config.difference_weight * error.diff(dim=2).square().mean()
        return of_frames + of_changes + config.texture_weight * (detail(videos) - detail(clips)).abs().mean()

    test = World(world.clips, [], "test", config.wide)
    held_out = torch.cat([clips_of(test, k, 1, 0, 17) for k in range(EVALUATION_CLIPS)]).to(device)

    @torch.no_grad()
    def evaluate(model: Any) -> dict[str, float]:
        latents = torch.cat([model.encode(clip[None]).latent_dist.mode() for clip in held_out])
        noise = EVALUATION_NOISE * torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device)
        numbers = {"latent_rms": float(latents.square().mean() ** 0.5)}
        for name, given in (("", latents), ("_of_noisy", latents + noise)):
            videos = torch.cat([model.decode(z[None]).sample for z in given]).clamp(-1, 1)
            mse = F.mse_loss(videos, held_out, reduction="none").mean((1, 3, 4)) / 4
            numbers |= {f"psnr_db{name}": float(-10 * mse.log10().mean()), f"jumps{name}": jumps(videos)}
            numbers[f"detail{name}"] = float(detail(videos).mean() / detail(held_out).mean())
        return numbers

    train(model, loss, config, config.run, evaluate, evaluate_every=config.loop.checkpoint_every, draw=draw)
    if config.out and leads():
        model.register_to_config(_name_or_path="")  # diffusers would write where it was read from
        model.half().save_pretrained(config.out)
        write_card(
            config.out,
            config.run,
            "video-autoencoder",
            config,
            of_world(config.capture),
        )
    return config.out or config.run
