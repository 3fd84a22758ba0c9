"""What may be given to `kinema extract` besides a video, as a user gives it: hands, a regressor, a camera that moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from commands import refused, status
from kinema.body.model import joints
from kinema.geometry import rotmat_to_rotvec, rotvec_to_rotmat
from kinema.motion_io.scene import load_scene
from kinema.types import BodyMotion
from kinema.video import write_video
from kinema.world.sampler import World
from tests.extract.test_hands import as_hamer
from tests.extract.test_regressor import StandIn
from tests.extract.test_sfm_camera import eyes_of, room, texture, travelling

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")
HEAD = 15


def test_hands_and_a_regressor_from_the_command_line(tmp_path, capsys):
    clip = World.load(split="test").sample(8)  # one person
    truth, cameras = clip.scene.subjects[0].motion, clip.scene.cameras
    assert isinstance(truth, BodyMotion)
    told = truth.rotvec.copy()
    told[:, HEAD] = [0, 0.6, 0]  # joints don't tell how a head is turned about its axis
    told[:, 25:] = np.random.default_rng(0).normal(0, 0.25, (1, 30, 3))
    motion = replace(truth, rotvec=told)
    T = cameras.T_camera_world
    points = joints(motion) @ T[:, :3, :3].transpose(0, 2, 1) + T[:, None, :3, 3]
    pose = told.copy()
    pose[:, 0] = rotmat_to_rotvec(T[:, :3, :3] @ rotvec_to_rotmat(told[:, 0]))
    answers = StandIn(torch.from_numpy(pose).reshape(len(pose), 165), torch.from_numpy(points * 1000).float())
    torch.jit.script(answers).save(str(tmp_path / "nlf.torchscript"))
    hands = {name: value[:8] for name, value in as_hamer(motion, cameras).items()}  # two a frame
    np.savez(tmp_path / "hands.npz", **hands)
    write_video(clip.video.frames[:4], tmp_path / "a.mp4", 8.0)
    given = ("--regressor", tmp_path / "nlf.torchscript", "--hands", tmp_path / "hands.npz")
    assert status("extract", tmp_path / "a.mp4", "--out", tmp_path / "s.npz", *given) == 0
    found = load_scene(tmp_path / "s.npz").subjects[0].motion
    assert isinstance(found, BodyMotion)
    assert np.abs(found.rotvec[:, HEAD, 1] - 0.6).max() < 0.3
    agreed = found.confidence[:, 25:] > 0
    assert agreed.any()
    assert np.abs(found.rotvec[:, 25:] - told[:4, 25:])[agreed].max() < 1e-3
    capsys.readouterr()
    wrong = (
        ("--hands", tmp_path / "gone.npz", "does not exist"),
        ("--regressor", tmp_path / "gone.npz", "does not exist"),
    )
    for option, value, words in (*wrong, ("--device", "gpu", "expected: cpu, or a GPU")):
        gone = (option, value)
        assert words in refused(capsys, "extract", tmp_path / "a.mp4", "--out", tmp_path / "n.npz", *gone)


def test_a_camera_that_moves_from_the_command_line(tmp_path):
    pytest.importorskip("pycolmap", reason="pycolmap is optional (kinema[sfm])")
    truth = travelling()
    frames = room(truth)
    masks = np.zeros((len(frames), 1, *frames.shape[1:3]), bool)
    for t in range(len(frames)):
        masks[t, 0, 60:120, 20 + 20 * t : 55 + 20 * t] = True
        frames[t][masks[t, 0]] = texture(9)[:60, :35].reshape(-1, 1)
    write_video(frames, tmp_path / "a.mp4", 8.0)
    np.savez(tmp_path / "masks.npz", masks=masks)
    given = ("--masks", tmp_path / "masks.npz", "--camera", "colmap")
    assert status("extract", tmp_path / "a.mp4", "--out", tmp_path / "s.npz", *given) == 0
    found, true = eyes_of(load_scene(tmp_path / "s.npz").cameras), eyes_of(truth)
    way, true_way = (np.linalg.norm(eyes - eyes[0], axis=-1) for eyes in (found, true))
    assert np.corrcoef(way, true_way)[0, 1] > 0.99
