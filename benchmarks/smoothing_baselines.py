"""What people use to clean motion today: Gaussian, Savitzky-Golay, One-Euro, SmoothNet, all on channels [N,T,C].

Rotations are smoothed as rot6d and made proper again. The first three are tuned by joint error on validation windows that
are perturbed as the test windows are; SmoothNet is trained on the prior's own windows and perturbations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from scipy.ndimage import gaussian_filter1d
from scipy.signal import savgol_filter
from torch import Tensor, nn

from kinema.atomic import atomic_path
from kinema.optimize.features import canonical_frame, pack, positions, unpack
from kinema.train.loop import rng_for
from kinema.train.motion_data import MotionClips, sample_windows
from kinema.train.pmp import perturb_batch, pick_precision

Smoother = Callable[[Tensor], Tensor]
FPS = 20.0


def _along_time(smooth: Callable[[np.ndarray], np.ndarray]) -> Smoother:
    def apply(channels: Tensor) -> Tensor:
        return pack(*unpack(torch.from_numpy(np.ascontiguousarray(smooth(channels.numpy()))).float()))

    return apply


def gaussian(sigma: float) -> Smoother:
    return _along_time(lambda x: gaussian_filter1d(x, sigma, axis=1, mode="nearest"))


def savitzky_golay(window: int, order: int) -> Smoother:
    return _along_time(lambda x: savgol_filter(x, window, order, axis=1, mode="interp"))


def one_euro(min_cutoff_hz: float, beta: float, derivative_cutoff_hz: float = 1.0) -> Smoother:
    """Casiez et al. 2012, algorithm 1, on each channel for itself."""

    def share(cutoff):
        rate = 2 * np.pi * cutoff / FPS
        return rate / (rate + 1)

    def smooth(x: np.ndarray) -> np.ndarray:
        out = x.copy()
        slope = np.zeros_like(x[:, 0])
        for t in range(1, x.shape[1]):
            step = (x[:, t] - x[:, t - 1]) * FPS
            slope = slope + share(derivative_cutoff_hz) * (step - slope)
            out[:, t] = out[:, t - 1] + share(min_cutoff_hz + beta * np.abs(slope)) * (x[:, t] - out[:, t - 1])
        return out

    return _along_time(smooth)


GRIDS: dict[str, tuple[Callable[..., Smoother], list[tuple]]] = {
    "Gaussian": (gaussian, [(s,) for s in (0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)]),
    "Savitzky-Golay": (savitzky_golay, [(w, o) for w in (5, 7, 9, 11, 13, 15) for o in (1, 2, 3) if o < w]),
    "One-Euro": (one_euro, list(itertools.product((0.3, 0.7, 1.5, 3.0, 6.0, 20.0), (0.0, 0.3, 1.0, 3.0, 10.0)))),
}


def tuned(given: Tensor, clean: Tensor, bones: Tensor) -> dict[str, Smoother]:
    """The best of each grid on validation windows, by global joint error."""
    truth = positions(clean, bones, "human")
    best = {}
    for name, (make, grid) in GRIDS.items():
        errors = [(positions(make(*p)(given), bones, "human") - truth).norm(dim=-1).mean().item() for p in grid]
        parameters = grid[int(np.argmin(errors))]
        best[f"{name} {parameters}"] = make(*parameters)
    return best


class ResidualBlock(nn.Module):
    def __init__(self, hidden: int, inner: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(hidden, inner), nn.Dropout(0.5), nn.LeakyReLU(0.2), nn.Linear(inner, hidden), nn.Dropout(0.5),
            nn.LeakyReLU(0.2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class SmoothNet(nn.Module):
    """Zeng et al. 2022, section 4: fully connected along time, shared by all channels; the sizes of its 32-frame model."""

    def __init__(self, frames: int = 32, hidden: int = 512, inner: int = 256, blocks: int = 3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(frames, hidden),
            nn.LeakyReLU(0.1),
            *(ResidualBlock(hidden, inner) for _ in range(blocks)),
            nn.Linear(hidden, frames),
        )

    def forward(self, channels: Tensor) -> Tensor:
        return self.layers(channels.mT).mT


def train_smoothnet(clips: MotionClips, steps: int, file: Path, batch: int = 16, seed: int = 0) -> Smoother:
    """With its paper's loss (L1 of values and of accelerations), Adam, learning rate falling from 1e-3; kept in `file`.

    A step sees `batch` windows of 135 channels, each a sample to it: 2,160, twice the batch of its paper.
    """
    torch.manual_seed(seed)
    model = SmoothNet()
    if file.exists():
        model.load_state_dict(load_file(file))
    else:
        _fit(model, clips, steps, batch, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            save_file(model.state_dict(), temporary, {"steps": str(steps), "batch": str(batch)})
    model.eval()

    @torch.inference_mode()
    def apply(channels: Tensor) -> Tensor:
        frame = canonical_frame(channels, "human")
        return pack(*unpack(frame.undo(model(frame.apply(channels, "human")), "human")))

    return apply


def _fit(model: SmoothNet, clips: MotionClips, steps: int, batch: int, seed: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    precision = pick_precision("auto", torch.device("cpu"))
    for step in track(range(steps), description="train SmoothNet"):
        rng = rng_for(seed, step)
        clean = sample_windows(clips, batch, 32, rng).channels
        given, _, _ = perturb_batch(clean, "human", rng)
        frame = canonical_frame(given, "human")
        given, clean = frame.apply(given, "human"), frame.apply(clean, "human")
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            found = model(given).float()
        loss = (found - clean).abs().mean() + (found.diff(n=2, dim=1) - clean.diff(n=2, dim=1)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
