import pytest
import torch

from kinema.checkpoints import load_prior, save_prior
from kinema.errors import InputError
from kinema.optimize.features import CATEGORIES, channel_groups, joint_count
from kinema.optimize.motion_prior import MotionPrior, PmpConfig, point
from tests.optimize.test_features import windows

TINY = PmpConfig(width=16, depth=2, heads=2, pointers=4)


@pytest.fixture(scope="module")
def prior() -> MotionPrior:
    torch.manual_seed(0)
    model = MotionPrior(TINY)
    for category in ("human", "animal"):
        model.bones(category).copy_(torch.randn(joint_count(category), 3) * 0.2)
    return model.eval()


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("frames", [1, 2, 7, 32, 80])
def test_any_length_of_any_category(prior, category, frames):
    channels = windows(category, 2, frames)
    found = prior(channels, category)
    assert found.channels.shape == channels.shape
    assert found.channels.isfinite().all()
    assert torch.allclose(found.maps.sum(-1), torch.ones(()), atol=1e-5)
    assert torch.allclose(found.mix.sum(-1), torch.ones(()), atol=1e-5)


def test_pointers_copy_permute_and_average():
    channels = windows("human", 1, 4)
    order = torch.tensor([2, 0, 3, 1])
    maps = torch.stack([torch.eye(4)[order], torch.full((4, 4), 0.25)])[None]
    mix = torch.zeros(1, 4, channels.shape[-1], 2)
    mix[..., :100, 0] = 1
    mix[..., 100:, 1] = 1
    read = point(maps, mix, channels)
    assert torch.allclose(read[..., :100], channels[:, order][..., :100])
    assert torch.allclose(read[..., 100:], channels.mean(1, keepdim=True).expand_as(channels)[..., 100:], atol=1e-6)


def test_windows_of_a_batch_do_not_mix(prior):
    channels = windows("human", 4, 12)
    whole = prior(channels, "human").channels
    alone = prior(channels[2:3], "human").channels
    assert torch.allclose(whole[2:3], alone, atol=1e-5)


def test_text_and_strength_are_optional_row_by_row(prior):
    channels = windows("human", 2, 8)
    text, strength = torch.randn(2, 128), torch.tensor([0.2, torch.nan])
    text[1] = torch.nan
    found = prior(channels, "human", text=text, strength=strength).channels
    nothing = prior(channels, "human").channels
    assert torch.allclose(found[1], nothing[1], atol=1e-6)
    assert not torch.allclose(found[0], nothing[0], atol=1e-6)


def test_held_frames_are_seen(prior):
    channels = windows("human", 1, 8)
    held = torch.zeros(1, 8, dtype=torch.bool)
    held[0, 3] = True
    assert not torch.equal(prior(channels, "human", held).channels, prior(channels, "human").channels)


def test_every_group_of_channels_has_a_pointer_mix(prior):
    for category in CATEGORIES:
        found = prior(windows(category, 1, 5), category)
        assert channel_groups(category).max() < found.mix.shape[2]


def test_weights_go_through_a_file(prior, tmp_path):
    path = tmp_path / "pmp.safetensors"
    save_prior(prior, path, {"steps": "0"})
    again = load_prior(path)
    channels = windows("human", 1, 8)
    # Matrices are stored in 16 bits.
    assert torch.allclose(again(channels, "human").channels, prior(channels, "human").channels, atol=5e-3)
    assert again.config == TINY


def test_a_file_that_holds_no_prior_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be read"):
        load_prior(path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="no motion prior"):
        load_prior(path)
