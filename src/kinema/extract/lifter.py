"""A small temporal network that lifts 2D joints to a body in space: where the fit starts from.

Input: viewing rays of the joints of one subject through the clip, with confidences. Output: joint rotations, the root's
place and the shape, in the camera's frame, and how far the camera looks down.
Lifting from a clip of 2D joints: Martinez et al. 2017 (one frame), Pavllo et al. 2019 (VideoPose3D). Rotations instead of
positions, as HMR (Kanazawa et al. 2018) has them, since the fit goes on from them. `train/lifter.py` trains it.

Rays are points on the plane z = 1 of the camera: (u - c_x) / f, (v - c_y) / f.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.body.model import forward_kinematics, load_body
from kinema.body.skeleton import BODY_JOINT_COUNT, PARENTS, mirror_permutation
from kinema.checkpoints import ASSETS, read_weights, write_weights
from kinema.geometry import rot6d_to_rotmat, rotmat_to_rot6d
from kinema.types import BETA_COUNT, Category

WEIGHTS = {category: ASSETS / "lifter" / f"{category}.safetensors" for category in ("human", "animal")}
LIFTED_PARENTS: dict[str, np.ndarray] = {"human": PARENTS["human"][:BODY_JOINT_COUNT], "animal": PARENTS["animal"]}
"""The joints that are lifted: the human's face and fingers are too small to see."""
LIFTED_BETAS = {"human": 10, "animal": 13}
"""Betas of the built-in bodies that mean something."""
MEAN_EXTENT_M = {"human": 0.55, "animal": 0.45}
"""Root mean square distance of the joints from their middle, about: what depth is measured against."""
_SMALLEST = 1e-3
"""A subject's extent in rays is never taken as smaller."""
CPU = torch.device("cpu")
_KERNEL = 3
"""Frames that the convolution of a block sees."""


@dataclass(frozen=True)
class LifterConfig:
    """Sizes of the network."""

    category: Category = "human"
    width: int = 144
    depth: int = 4
    heads: int = 6


@dataclass(frozen=True)
class Lift:
    """B clips of T frames, camera frame (OpenCV axes, metres).

    rot6d [B,T,J,6], joint 0 relative to the camera; root_m [B,T,3]; betas [B,N]; pitch_rad [B] of the camera, downwards
    """

    rot6d: Tensor
    root_m: Tensor
    betas: Tensor
    pitch_rad: Tensor


class Block(nn.Module):
    """A convolution over neighbouring frames, attention over all (nearer frames count more), feed-forward."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.near = nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.log_slope = nn.Parameter(torch.linspace(-2.0, 3.0, heads))
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, apart_s: Tensor) -> Tensor:
        """x [B,T,D], apart_s [B,1,T,T] seconds between frames."""
        x = x + self.near(self.norms[0](x).mT).mT
        q, k, v = self.qkv(self.norms[1](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = -apart_s * self.log_slope.exp()[:, None, None]
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, bias.to(v.dtype)).transpose(1, 2).flatten(-2))
        return x + self.feed_forward(self.norms[2](x))


class Lifter(nn.Module):
    """2D joints to a body. The built-in body's bones travel with the weights."""

    def __init__(self, config: LifterConfig = LifterConfig()):
        super().__init__()
        self.config = config
        self.joints = len(LIFTED_PARENTS[config.category])
        width, betas = config.width, LIFTED_BETAS[config.category]
        self.embed = nn.Linear(self.joints * 7 + 8, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.frame = nn.Linear(width, self.joints * 6 + 3)
        self.clip = nn.Linear(width, betas + 1)
        with torch.no_grad():
            for layer in (self.frame, self.clip):
                layer.weight.mul_(0.1)
                layer.bias.zero_()
            upright = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(self.joints)
            upright[4] = -1.0  # the camera's y points down
            self.frame.bias[: 6 * self.joints] = upright
        bones, bone_dirs = built_in_bones(config.category)
        self.register_buffer("bones", bones)
        self.register_buffer("bone_dirs", bone_dirs)

    def forward(self, rays: Tensor, confidence: Tensor, fps: Tensor) -> Lift:
        """rays [B,T,J,2], confidence [B,T,J] 0-1 (0: not seen, the ray says nothing), fps [B]."""
        features, centre, extent = observe(rays, confidence, fps)
        frames = torch.arange(rays.shape[1], device=rays.device)
        apart_s = (frames[:, None] - frames).abs() / fps[:, None, None, None]
        x = self.embed(features)
        for block in self.blocks:
            x = block(x, apart_s)
        x = self.norm(x)
        frame, clip = self.frame(x).float(), self.clip(x.mean(1)).float()
        offset, log_depth = frame[..., -3:-1], frame[..., -1:]
        depth = MEAN_EXTENT_M[self.config.category] / extent * log_depth.exp()
        root = torch.cat([(centre + offset * extent) * depth, depth], -1)
        return Lift(frame[..., :-3].unflatten(-1, (-1, 6)), root, clip[:, :-1], clip[:, -1])

    def bones_of(self, betas: Tensor) -> Tensor:
        """Betas [...,N] -> rest offsets from the parent [...,J,3], metres."""
        return self.get_buffer("bones") + torch.einsum("jkb,...b->...jk", self.get_buffer("bone_dirs"), betas)

    def points(self, lift: Lift) -> Tensor:
        """Joints [B,T,J,3] in the camera's frame, metres."""
        bones = self.bones_of(lift.betas)[:, None].expand(-1, lift.root_m.shape[1], -1, -1)
        rotmat = rot6d_to_rotmat(lift.rot6d)
        return forward_kinematics(rotmat, bones, lift.root_m, LIFTED_PARENTS[self.config.category])[0]


def lift_twice(model: Lifter, rays: Tensor, confidence: Tensor, fps: Tensor) -> Lift:
    """The mean of what the lifter says of a clip and of its mirror image; arguments and answer as `Lifter.forward`."""
    twin = torch.from_numpy(mirror_permutation(model.config.category)[: model.joints])
    mirror = rays.new_tensor([-1.0, 1.0])
    one = model(rays, confidence, fps)
    other = model(rays[:, :, twin] * mirror, confidence[:, :, twin], fps)
    # x -> -x on both sides of a matrix: its first two columns are (a, b, c, d, e, f) -> (a, -b, -c, -d, e, f).
    signs = rays.new_tensor([1.0, -1, -1, -1, 1, 1])
    back = rotmat_to_rot6d(rot6d_to_rotmat(other.rot6d[:, :, twin] * signs))
    return Lift(
        (rotmat_to_rot6d(rot6d_to_rotmat(one.rot6d)) + back) / 2,
        (one.root_m + other.root_m * rays.new_tensor([-1.0, 1, 1])) / 2,
        (one.betas + other.betas) / 2,
        (one.pitch_rad + other.pitch_rad) / 2,
    )


def observe(rays: Tensor, confidence: Tensor, fps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a frame token is made of [B,T,F]; the middle of the joints [B,T,2] and their extent [B,1,1] in rays.

    Joints around their middle and how they move in 1/8 s, both in units of the subject's extent in this clip, with the
    confidences; where the middle is and how it moves, the extent, how many joints are seen.
    """
    weight = confidence[..., None]
    seen = weight.sum(2).clamp_min(1e-6)
    centre = (rays * weight).sum(2) / seen
    spread = ((rays - centre[:, :, None]).square() * weight).sum((2, 3)) / seen[..., 0]
    frame_weight = confidence.sum(2)
    extent = ((spread * frame_weight).sum(1) / frame_weight.sum(1).clamp_min(1e-6)).sqrt().clamp_min(_SMALLEST)
    extent = extent[:, None, None]
    local = (rays - centre[:, :, None]) / extent[..., None] * (weight > 0)
    rate = (fps / 8)[:, None, None, None]
    step = (rays[:, 1:] - rays[:, :-1]) / extent[..., None] * torch.minimum(weight[:, 1:], weight[:, :-1]) * rate
    before, after = F.pad(step, (0, 0, 0, 0, 1, 0)), F.pad(step, (0, 0, 0, 0, 0, 1))
    moves = (centre[:, 1:] - centre[:, :-1]) / extent * rate[..., 0]
    scalars = torch.cat(
        [
            centre * 3,
            F.pad(moves, (0, 0, 1, 0)),
            F.pad(moves, (0, 0, 0, 1)),
            (extent.log() + 2).expand(-1, rays.shape[1], 1),
            confidence.mean(2, keepdim=True),
        ],
        -1,
    )
    features = torch.cat([local.flatten(2), confidence, before.flatten(2), after.flatten(2), scalars], -1)
    return features, centre, extent


def built_in_bones(category: Category) -> tuple[Tensor, Tensor]:
    """Rest offsets of the built-in body's joints from their parents [J,3], and what each beta adds to them [J,3,N]."""
    parents = LIFTED_PARENTS[category]
    body = load_body(category, detail="low")
    rest = np.stack([body.rest_joints(row) for row in np.eye(BETA_COUNT[category] + 1, BETA_COUNT[category], -1)])
    bones = torch.from_numpy((rest - rest[:, np.maximum(PARENTS[category], 0)])[:, : len(parents)]).float()
    return bones[0], (bones[1 : LIFTED_BETAS[category] + 1] - bones[0]).permute(1, 2, 0).contiguous()


def save_lifter(model: Lifter, path: str | Path, provenance: dict[str, str]) -> None:
    """Write a lifter; its bones keep their bits."""
    write_weights(model, path, "lifter", provenance, exact=("bone",))


def load_lifter(path: str | Path) -> Lifter:
    """Read a lifter, float32, ready for inference. Raises InputError where the file is not one."""
    config, tensors = read_weights(path, "lifter", "lifter")
    model = Lifter(LifterConfig(**config))
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


@cache
def shipped_lifter(category: Category, device: torch.device = CPU) -> Lifter:
    """The shipped lifter of a category, read once; whoever asks first, its tensors can be fitted through."""
    with torch.inference_mode(False):
        return load_lifter(WEIGHTS[category]).to(device)
