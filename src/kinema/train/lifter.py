"""Train the lifter: motion seen by random cameras, as noisy 2D joints in and bodies out (`extract/lifter.py`).

kinema train lifter --capture cmu_train.npz --validation cmu_val.npz --run runs/lifter
Nothing is drawn: joints are projected, so data are cheap. Noise stands in for the joint detector's errors: of single frames,
of a joint through the whole clip, missed joints, left taken for right, and things that pass in front.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.body.model import forward_kinematics
from kinema.body.skeleton import mirror_permutation
from kinema.camera import FIELD_OF_VIEW_RAD
from kinema.errors import InputError
from kinema.extract.lifter import (
    LIFTED_BETAS,
    LIFTED_PARENTS,
    MEAN_EXTENT_M,
    Lift,
    Lifter,
    LifterConfig,
    save_lifter,
)
from kinema.geometry import rot6d_to_rotmat, rotmat_to_rot6d
from kinema.optimize.features import REFERENCE_FPS, pack, unpack
from kinema.precision import quick_dtype
from kinema.train.card import write_card
from kinema.train.loop import LoopConfig, leads, pick_device, rng_for, train
from kinema.train.motion_data import MotionClips, load_capture_clips, sample_windows

log = logging.getLogger(__name__)

HALF_WIDTH = float(np.tan(FIELD_OF_VIEW_RAD / 2))
"""A square picture reaches from - to + this, in rays."""
PIXEL = 2 * HALF_WIDTH / 128
"""A pixel of a 128 x 128 picture, in rays: noise is given in these."""
FRAMES = (16, 16, 12, 8)
FPS = (6.0, 12.0)
COARSE_SHARE, COARSE_FRAMES, COARSE_FPS = 0.4, 8, (3.5, 6.0)
"""How often a batch is like the coarse videos of the first stage: few frames, far apart."""
PITCH_RAD = (0.0, float(np.radians(18)))
"""How far the cameras look down."""
FILL = (0.3, 0.95)
"""A subject's height as a share of the picture's."""
ERROR_PX = (0.4, 5.0)
"""Standard deviation of a keypoint's error, in pixels of 128; small ones as often as large ones."""
LEAST_DEPTH_M = 0.6
BETA_SPREAD = 0.9
"""Standard deviation of the training bodies' betas."""
ROTATION_WEIGHT, REPROJECTION_WEIGHT, STEP_WEIGHT = 0.15, 0.1, 0.3
SHAPE_WEIGHT, PITCH_WEIGHT, DEPTH_WEIGHT = 0.01, 0.3, 0.1


@dataclass(frozen=True)
class LifterTrainConfig:
    """Train the lifter of one category. Run the same command again to go on after a stop."""

    run: Path
    """Folder for checkpoints and the log."""
    capture: Path | None = None
    """Human capture to train on, in the multi-clip npz schema."""
    validation: Path | None = None
    """Human capture for the numbers in the log."""
    quadrupeds: tuple[Path, ...] = ()
    """Animal clips (npz) besides the procedural gaits."""
    out: Path | None = None
    """Where to write the finished weights (safetensors)."""
    start: Path | None = None
    """Weights to start from instead of random ones."""
    batch: int = 128
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    model: LifterConfig = field(default_factory=LifterConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=5000, decay=0.7))


@dataclass(frozen=True)
class Views:
    """Motion as a camera sees it: what the lifter is given, and the truth.

    rays [B,T,J,2] and confidence [B,T,J] with errors; clean [B,T,J,2]; points [B,T,J,3] m, rot6d [B,T,J,6], joint 0 and
    points in the camera's frame; betas [B,N]; pitch_rad [B]; fps [B]
    """

    rays: Tensor
    confidence: Tensor
    clean: Tensor
    points: Tensor
    rot6d: Tensor
    betas: Tensor
    pitch_rad: Tensor
    fps: Tensor


def at_video_rate(clips: MotionClips, batch: int, frames: int, fps: float, rng: np.random.Generator) -> Tensor:
    """Augmented windows [B,T,C] at `fps`."""
    step = REFERENCE_FPS / fps
    at = torch.arange(frames) * step
    source = sample_windows(clips, batch, int(np.ceil(at[-1].item())) + 2, rng).channels
    low = at.floor().long()
    share = (at - low)[:, None]
    return pack(*unpack(source[:, low] * (1 - share) + source[:, low + 1] * share))


def view(channels: Tensor, category: str, bones: tuple[Tensor, Tensor], fps: float, rng: np.random.Generator) -> Views:
    """Windows [B,T,C] in the world, on bodies of random shape, before random cameras."""
    batch, joints = len(channels), len(LIFTED_PARENTS[category])
    local, root = unpack(channels)
    betas = _normal(rng, batch, LIFTED_BETAS[category]).clamp(-2.2, 2.2) * BETA_SPREAD
    offsets = (bones[0] + torch.einsum("jkb,nb->njk", bones[1], betas))[:, None].expand(-1, channels.shape[1], -1, -1)
    azimuth, pitch = _uniform(rng, batch, -np.pi, np.pi), _uniform(rng, batch, *PITCH_RAD)
    turn = camera_rotation(azimuth, pitch)
    local = torch.cat([(turn[:, None] @ local[:, :, 0])[:, :, None], local[:, :, 1:]], 2)
    root = torch.einsum("bij,btj->bti", turn, root - root.mean(1, keepdim=True))
    points, _ = forward_kinematics(local, offsets, root, LIFTED_PARENTS[category])
    points = points + _place(points, pitch, category, rng)[:, None, None]
    behind = (LEAST_DEPTH_M - points[..., 2].amin((1, 2))).clamp_min(0)
    points = points + torch.stack([0 * behind, 0 * behind, behind], -1)[:, None, None]
    clean = points[..., :2] / points[..., 2:]
    rays, confidence = disturb(clean, category, rng)
    rot6d = rotmat_to_rot6d(local)[..., :joints, :]
    return Views(rays, confidence, clean, points, rot6d, betas, pitch, torch.full((batch,), fps))


def camera_rotation(azimuth: Tensor, pitch: Tensor) -> Tensor:
    """World to camera [B,3,3], level; azimuth about +y, 0 at +z; pitch downwards, rad (`kinema.camera`)."""
    s, c, zero = azimuth.sin(), azimuth.cos(), 0 * azimuth
    forward = torch.stack([-pitch.cos() * s, -pitch.sin(), -pitch.cos() * c], -1)
    right = torch.stack([c, zero, -s], -1)
    return torch.stack([right, torch.linalg.cross(forward, right), forward], 1)


def _place(points: Tensor, pitch: Tensor, category: str, rng: np.random.Generator) -> Tensor:
    """Where in front of the camera the motion's middle goes [B,3], so that it mostly fits in the picture."""
    batch = len(points)
    size = points.amax(2) - points.amin(2)
    tall = size[..., :2].amax(-1).mean(1)
    swept = (points.amax((1, 2)) - points.amin((1, 2)))[:, :2].amax(-1)
    fill = _uniform(rng, batch, *FILL)
    depth = torch.maximum(tall / (fill * 2 * HALF_WIDTH), swept / (_uniform(rng, batch, 0.7, 1.3) * 2 * HALF_WIDTH))
    room = (HALF_WIDTH - swept / 2 / depth).clamp_min(0.03)
    across, down = (room * _uniform(rng, batch, -1, 1) for _ in range(2))
    # The camera stands above the floor, at least 0.2 m below the subject's middle.
    down = torch.maximum(down * 0.7, -0.4 / depth - pitch.tan())
    return torch.stack([across * depth, down * depth, depth], -1)


def disturb(clean: Tensor, category: str, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """True rays [B,T,J,2] -> rays and confidences as a detector might give them."""
    batch, frames, joints = clean.shape[:3]
    size = _uniform(rng, batch, *np.log(ERROR_PX)).exp()[:, None, None]
    hidden = _passing(clean, rng) | (clean.abs() > HALF_WIDTH).any(-1)
    hard = 1 + 3 * hidden.float() + 3 * _often(rng, (batch, frames, joints), 0.03)
    error = _normal(rng, batch, frames, joints, 2) * (size * hard)[..., None]
    lasting = _normal(rng, batch, 1, joints, 2) * (size * _uniform(rng, batch, 0, 0.8)[:, None, None])[..., None]
    error = error + lasting * (1 + hidden[..., None])
    confidence = torch.exp(-error.norm(dim=-1) / 8) * (1 - 0.6 * hidden.float()) + 0.1 * _normal(rng, *hidden.shape)
    missed = _often(rng, hidden.shape, 0.02) | (_often(rng, (batch, 1, joints), 0.02))
    missed = missed | (hidden & _often(rng, (batch, 1, 1), 0.6)) | _gaps(rng, batch, frames, joints)
    confidence = torch.where(missed, 0.0, confidence.clamp(0.05, 1))
    rays = _swapped(clean, category, rng) + PIXEL * error
    return torch.where(missed[..., None], 0.0, rays), confidence


def _passing(rays: Tensor, rng: np.random.Generator) -> Tensor:
    """[B,T,J] bool: joints behind a box that passes through a third of the clips."""
    batch, frames = rays.shape[:2]
    time = torch.linspace(-1, 1, frames)[None, :, None]
    middle = rays.mean((1, 2))[:, None] + 0.15 * _normal(rng, batch, 1, 2) + 0.15 * _normal(rng, batch, 1, 2) * time
    half = torch.stack([_uniform(rng, batch, 0.02, 0.12), _uniform(rng, batch, 0.03, 0.3)], -1)[:, None, None]
    inside = ((rays - middle[:, :, None]).abs() < half).all(-1)
    return inside & _often(rng, (batch, 1, 1), 0.33)


def _gaps(rng: np.random.Generator, batch: int, frames: int, joints: int) -> Tensor:
    """[B,T,J] bool: runs of frames in which nothing, or half of the joints, is seen, in a tenth of the clips."""
    begin, length = _uniform(rng, batch, 0, 1) * frames, _uniform(rng, batch, 0, 0.4) * frames
    time = torch.arange(frames)
    run = (time >= begin[:, None]) & (time < (begin + length)[:, None])
    some = _often(rng, (batch, joints), 0.5) | _often(rng, (batch, 1), 0.5)
    return run[..., None] & some[:, None] & _often(rng, (batch, 1, 1), 0.1)


def _swapped(rays: Tensor, category: str, rng: np.random.Generator) -> Tensor:
    """Left taken for right in a fifth of the clips: through a run of frames, or in single ones; in all joints, or in the
    legs alone."""
    batch, frames, joints = rays.shape[:3]
    twin = torch.from_numpy(mirror_permutation(category)[:joints])
    begin, length = _uniform(rng, batch, 0, 1) * frames, _uniform(rng, batch, 0, 0.4) * frames
    time = torch.arange(frames)
    run = (time >= begin[:, None]) & (time < (begin + length)[:, None]) & _often(rng, (batch, 1), 0.1)
    run = run | (_often(rng, (batch, frames), 0.2) & _often(rng, (batch, 1), 0.1))
    legs = torch.zeros(joints, dtype=torch.bool)
    legs[[1, 2, 4, 5, 7, 8, 10, 11] if category == "human" else list(range(17, 25))] = True
    which = legs | _often(rng, (batch, 1), 0.5)
    return torch.where((run[..., None] & which[:, None])[..., None], rays[:, :, twin], rays)


def _uniform(rng: np.random.Generator, batch: int, low: float, high: float) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, batch).astype(np.float32))


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, np.float32))


def _often(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> Tensor:
    return torch.from_numpy(rng.random(shape, np.float32) < share)


def lifting_loss(model: Lifter, views: Views) -> Tensor:
    """How far off a lift is: joints around the root and their steps (m), rotations, picture, shape, pitch and depth."""
    with torch.autocast("cpu", torch.bfloat16, enabled=views.rays.is_cpu and quick_dtype("cpu") == torch.bfloat16):
        lift = model(views.rays, views.confidence, views.fps)
    points = model.points(lift)
    error = (points - points[:, :, :1]) - (views.points - views.points[:, :, :1])
    joint = _distance(error) + STEP_WEIGHT * _distance(error.diff(dim=1))
    rotation = (rot6d_to_rotmat(lift.rot6d) - rot6d_to_rotmat(views.rot6d)).abs().mean()
    depth = points[..., 2:].clamp_min(0.2)
    extent_m = MEAN_EXTENT_M[model.config.category]
    inside = (views.clean.abs() < HALF_WIDTH).all(-1)
    away = (points[..., :2] / depth - views.clean).norm(dim=-1) * views.points[..., :1, 2] / extent_m
    reprojection = F.smooth_l1_loss(away[inside], torch.zeros_like(away[inside]), beta=0.05)
    far = F.smooth_l1_loss(lift.root_m[..., 2].log(), views.points[..., 0, 2].log(), beta=0.05)
    shape = F.mse_loss(lift.betas, views.betas)
    pitch = F.smooth_l1_loss(lift.pitch_rad, views.pitch_rad, beta=0.05)
    return (
        joint
        + ROTATION_WEIGHT * rotation
        + REPROJECTION_WEIGHT * reprojection
        + SHAPE_WEIGHT * shape
        + PITCH_WEIGHT * pitch
        + DEPTH_WEIGHT * far
    )


def _distance(error: Tensor) -> Tensor:
    return (error.square().sum(-1) + 1e-6).sqrt().mean()


def draw(clips: MotionClips, bones: tuple[Tensor, Tensor], batch: int, rng: np.random.Generator) -> Views:
    """A batch of views for training."""
    frames, fps = FRAMES[rng.integers(len(FRAMES))], float(rng.uniform(*FPS))
    if rng.random() < COARSE_SHARE:
        frames, fps = COARSE_FRAMES, float(rng.uniform(*COARSE_FPS))
    return view(at_video_rate(clips, batch, frames, fps, rng), clips.category, bones, fps, rng)


@torch.no_grad()
def validation_numbers(model: Lifter, clips: MotionClips, windows: int = 256) -> dict[str, float]:
    """Errors on fixed views of 16 frames at 8 fps: joints around the root and after Procrustes, mm; pitch, degrees."""
    import roma

    rng = rng_for(1, 0)
    bones = model.get_buffer("bones"), model.get_buffer("bone_dirs")
    views = view(at_video_rate(clips, windows, 16, 8.0, rng), clips.category, bones, 8.0, rng)
    lift: Lift = model(views.rays, views.confidence, views.fps)
    points = model.points(lift)
    a, b = points - points.mean(2, keepdim=True), views.points - views.points.mean(2, keepdim=True)
    rotation = roma.rigid_vectors_registration(a.flatten(0, 1), b.flatten(0, 1))
    assert isinstance(rotation, Tensor)
    turned = a.flatten(0, 1) @ rotation.mT
    scale = (turned * b.flatten(0, 1)).sum((1, 2)) / turned.square().sum((1, 2))
    moved = scale[:, None, None] * turned
    rooted = (points - points[:, :, :1]) - (views.points - views.points[:, :, :1])
    return {
        "pa_mpjpe_mm": round(1000 * (moved - b.flatten(0, 1)).norm(dim=-1).mean().item(), 2),
        "root_aligned_mm": round(1000 * rooted.norm(dim=-1).mean().item(), 2),
        "depth_share": round((lift.root_m[..., 2] / views.points[..., 0, 2]).log().abs().mean().item(), 4),
        "pitch_deg": round(float(np.degrees((lift.pitch_rad - views.pitch_rad).abs().mean().item())), 2),
    }


def train_lifter(config: LifterTrainConfig) -> Path:
    """Train, resume or finish; -> the path of the weights."""
    from kinema.extract.lifter import load_lifter
    from kinema.train.procedural_motion import animal_clips

    pick_device("cpu", config.threads)
    for path in (config.capture, config.validation, *config.quadrupeds, config.start):
        if path is not None and not path.exists():
            raise InputError(path, "does not exist", expected="a file")
    seed = config.loop.seed
    if config.model.category == "human":
        if config.capture is None:
            raise InputError("capture", "is not given", "motion capture of people", "give --capture FILE.npz")
        clips = load_capture_clips(config.capture)
        validation = load_capture_clips(config.validation) if config.validation else None
    else:
        clips, validation = animal_clips(config.quadrupeds, seed), animal_clips((), seed + 1)
    torch.manual_seed(seed)
    model = Lifter(config.model)
    if config.start:
        model.load_state_dict(load_lifter(config.start).state_dict())
    bones = model.get_buffer("bones"), model.get_buffer("bone_dirs")
    train(
        model,
        lambda batch: lifting_loss(model, batch),
        config,
        config.run,
        (lambda _: validation_numbers(model, validation)) if validation else None,
        draw=lambda step: draw(clips, bones, config.batch, rng_for(seed, step)),
    )
    out = config.out or config.run / f"{config.model.category}.safetensors"
    if leads():
        save_lifter(model, out, {"loop": json.dumps(asdict(config.loop)), "batch": str(config.batch)})
        data = {"clips": len(clips.captions), "capture": config.capture and config.capture.name}
        write_card(out, config.run, "lifter", config, data)
    return out
