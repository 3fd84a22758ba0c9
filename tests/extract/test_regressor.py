"""A TorchScript regressor in NLF's layout, by a small stand-in of the same signature."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kinema.body.model import joints
from kinema.errors import InputError
from kinema.extract.extractor import extract
from kinema.extract.fitting import FitConfig
from kinema.extract.lifter import LIFTED_PARENTS, shipped_lifter
from kinema.extract.regressor import betas_of_lengths, load_regressor
from kinema.geometry import rotmat_to_rotvec, rotvec_to_rotmat
from kinema.types import BodyMotion, Video
from tests.extract.scenes import cameras_for, seen, walker

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")


class StandIn(torch.nn.Module):
    """Answers what it was told when it was made, whatever the picture; keeps NLF's signature."""

    def __init__(self, pose: Tensor, joints3d: Tensor):
        super().__init__()
        self.register_buffer("pose", pose)
        self.register_buffer("joints3d", joints3d)

    def forward(self, images: Tensor) -> Tensor:
        return images

    @torch.jit.export
    def estimate_smpl_batched(
        self,
        images: Tensor,
        boxes: list[Tensor],
        intrinsic_matrix: Tensor | None = None,
        distortion_coeffs: Tensor | None = None,
        extrinsic_matrix: Tensor | None = None,
        world_up_vector: Tensor | None = None,
        default_fov_degrees: float = 55.0,
        internal_batch_size: int = 64,
        antialias_factor: int = 1,
        num_aug: int = 1,
        rot_aug_max_degrees: float = 25.0,
        beta_regularizer: float = 10.0,
        beta_regularizer2: float = 0.0,
        model_name: str = "smpl",
    ) -> dict[str, list[Tensor]]:
        assert model_name == "smplx"
        assert images.dtype == torch.uint8
        assert len(boxes) == images.shape[0]
        pose: list[Tensor] = []
        points: list[Tensor] = []
        for k in range(images.shape[0]):
            pose.append(self.pose[k][None])
            points.append(self.joints3d[k][None])
        return {"pose": pose, "joints3d": points}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """(motion, cameras, file that answers with it)."""
    truth = walker(8)
    cameras = cameras_for([truth])
    T = cameras.T_camera_world
    points = joints(truth) @ T[:, :3, :3].transpose(0, 2, 1) + T[:, None, :3, 3]
    pose = truth.rotvec.copy()
    pose[:, 0] = rotmat_to_rotvec(T[:, :3, :3] @ rotvec_to_rotmat(truth.rotvec[:, 0]))
    model = StandIn(torch.from_numpy(pose).reshape(8, 165), torch.from_numpy(points * 1000).float())
    path = tmp_path_factory.mktemp("nlf") / "nlf.torchscript"
    torch.jit.script(model).save(str(path))
    return truth, cameras, path


def test_the_fit_starts_where_the_regressor_says(told):
    truth, cameras, path = told
    observation = seen([truth], cameras)
    video = Video(np.zeros((8, *cameras.image_hw, 3), np.uint8), truth.fps)
    scene = extract(video, "", observation, cameras, None, load_regressor(path), FitConfig(steps=0, outline_rounds=0))
    motion = scene.subjects[0].motion
    assert isinstance(motion, BodyMotion)
    assert np.abs(joints(motion)[:, :22] - joints(truth)[:, :22]).max() < 0.06
    turn = rotvec_to_rotmat(motion.rotvec[:, :22]) @ rotvec_to_rotmat(truth.rotvec[:, :22]).swapaxes(-1, -2)
    assert np.abs(turn - np.eye(3)).max() < 1e-3


def test_the_shape_follows_from_the_lengths_of_bones():
    tall = replace(walker(2), betas=np.array([1.5], np.float32))
    points = torch.from_numpy(joints(tall)[:, :22])
    lifter, parents = shipped_lifter("human"), LIFTED_PARENTS["human"][1:]
    true = (points[0, 1:] - points[0, parents]).norm(dim=-1)
    found, plain = (lifter.bones_of(b)[1:].norm(dim=-1) for b in (betas_of_lengths(points), torch.zeros(10)))
    assert (found - true).abs().max() < 0.01
    assert (plain - true).abs().max() > 0.02
    mean = replace(tall, betas=np.zeros(10, np.float32))
    assert betas_of_lengths(torch.from_numpy(joints(mean)[:, :22])).abs().max() < 0.1


def test_frames_without_the_person_take_the_nearest(told):
    truth, cameras, path = told
    track = seen([truth], cameras).tracks[0]
    present = np.arange(8) > 2
    lift = load_regressor(path).lift(
        np.zeros((8, *cameras.image_hw, 3), np.uint8), replace(track, present=present), cameras
    )
    assert lift is not None
    assert torch.equal(lift.rot6d[0, 0], lift.rot6d[0, 3])
    assert (
        load_regressor(path).lift(np.zeros((8, 4, 4, 3), np.uint8), replace(track, present=present & False), cameras)
        is None
    )


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_regressor(tmp_path / "gone.torchscript")
    (tmp_path / "text.torchscript").write_text("no model")
    with pytest.raises(InputError, match="TorchScript"):
        load_regressor(tmp_path / "text.torchscript")
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "linear.torchscript"))
    with pytest.raises(InputError, match="estimate_smpl_batched"):
        load_regressor(tmp_path / "linear.torchscript")
