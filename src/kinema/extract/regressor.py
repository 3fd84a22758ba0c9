"""Bodies from a regressor that the user has, where the fit starts from, instead of the shipped lifter.

Input: a TorchScript file in the layout of NLF (Sárándi and Pons-Moll 2024), the frames, and the boxes of a person. Output: a
`Lift`, as the lifter gives it. Loading such a file runs what is in it: only what the user names is loaded.

What is asked of the file is NLF's own method: estimate_smpl_batched(images [T,3,H,W] uint8, boxes (a list of [N,4]: x, y,
width, height), intrinsic_matrix [T,3,3], ..., model_name="smplx") -> {"pose": a list of [N,165] rotation vectors, joint 0
relative to the camera; "joints3d": a list of [N,>=22,3] in mm before the camera; ...}.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from kinema.body.skeleton import BODY_JOINT_COUNT
from kinema.errors import InputError
from kinema.extract.lifter import LIFTED_PARENTS, Lift, shipped_lifter
from kinema.extract.observation import Track
from kinema.geometry import rotmat_to_rot6d, rotvec_to_rotmat
from kinema.types import Cameras

METHOD = "estimate_smpl_batched"
PASS_FRAMES = 16
BETA_RIDGE_M2 = 2e-4
"""What a unit of a beta costs against squared errors of bone lengths: lengths alone tell height and limbs, no weight."""


class Regressor:
    """A loaded file. `lift` has the answer for one track."""

    def __init__(self, model: Any, name: str):
        if not hasattr(model, METHOD):
            raise InputError(name, f"has no method {METHOD}", "a TorchScript file in the layout of NLF (nlf_*_multi)")
        self.model, self.name = model, name

    @torch.inference_mode()
    def lift(self, frames: UInt8[np.ndarray, "T H W 3"], track: Track, cameras: Cameras) -> Lift | None:
        """The person of a track in every frame, in that frame's camera; frames without it take the nearest one's. None
        where it was never seen. Such files don't know the camera's pitch; it is 0 here."""
        there = np.flatnonzero(track.present)
        if not len(there):
            return None
        pose, points = [], []
        for begin in range(0, len(there), PASS_FRAMES):
            now = there[begin : begin + PASS_FRAMES]
            found = self._ask(frames[now], track.boxes_px[now], cameras.K[now])
            pose += [p[0] for p in found["pose"]]
            points += [p[0] for p in found["joints3d"]]
        rotvec = torch.stack([p.reshape(-1, 3)[:BODY_JOINT_COUNT] for p in pose]).float()
        joints_m = torch.stack([p[:BODY_JOINT_COUNT] for p in points]).float() / 1000
        if not (rotvec.isfinite().all() and joints_m.isfinite().all() and (joints_m[:, 0, 2] > 0).all()):
            raise InputError(self.name, "answers what is no body before the camera", "finite poses, joints3d in mm")
        nearest = np.abs(np.arange(len(frames))[:, None] - there).argmin(1)
        return Lift(
            rotmat_to_rot6d(rotvec_to_rotmat(rotvec[nearest]))[None], joints_m[nearest, 0][None],
            betas_of_lengths(joints_m)[None], torch.zeros(1),
        )  # fmt: skip

    def _ask(self, frames: np.ndarray, boxes_px: np.ndarray, K: np.ndarray) -> dict[str, list[Tensor]]:
        images = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        corners = torch.from_numpy(boxes_px.astype(np.float32))
        boxes = [torch.cat([c[:2], c[2:] - c[:2]])[None] for c in corners]
        lens = torch.from_numpy(K.astype(np.float32))
        try:
            found = getattr(self.model, METHOD)(images, boxes, intrinsic_matrix=lens, model_name="smplx")
        except (RuntimeError, torch.jit.Error) as error:  # type: ignore[attr-defined]
            why = str(error).strip().splitlines()[-1]
            raise InputError(self.name, f"stopped with {why!r}", f"NLF's {METHOD} with model_name 'smplx'") from error
        for name in ("pose", "joints3d"):
            if name not in found or len(found[name]) != len(frames):
                raise InputError(
                    self.name, f"answers without {name} of every frame", "pose and joints3d, as NLF has them"
                )
            for value in found[name]:
                if len(value) != 1 or value[0].numel() < 3 * BODY_JOINT_COUNT:
                    raise InputError(self.name, f"has {name} of shape {tuple(value.shape)}", "one body of SMPL-X a box")
        return found


def load_regressor(path: str | Path) -> Regressor:
    """Load what the user named. Raises InputError where it is no TorchScript file."""
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "does not exist", "a TorchScript file in the layout of NLF")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.export reads no such files
            model = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        mend = "import torchvision first; NLF's files use its operators" if "torchvision" in str(error) else ""
        raise InputError(path, f"can't be loaded as TorchScript ({why})", "a file of torch.jit.save", mend) from error
    return Regressor(model, path.name)


def betas_of_lengths(joints_m: Tensor) -> Tensor:
    """Joints [T,22,3] -> betas [N] of the built-in body whose bones are as long in the median frame, by ridge regression."""
    parents = torch.from_numpy(LIFTED_PARENTS["human"][1:].astype(np.int64))
    lengths = (joints_m[:, 1:] - joints_m[:, parents]).norm(dim=-1).median(0).values
    lifter = shipped_lifter("human")
    bones, dirs = (lifter.get_buffer(name)[1:] for name in ("bones", "bone_dirs"))
    rest = bones.norm(dim=-1)
    slopes = torch.einsum("jk,jkb->jb", bones / rest[:, None], dirs)
    normal = slopes.mT @ slopes + BETA_RIDGE_M2 * torch.eye(dirs.shape[-1])
    return torch.linalg.solve(normal, slopes.mT @ (lengths - rest))
