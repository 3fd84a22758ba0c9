"""The public checkpoints' configurations on the meta device: sizes, widened shapes, names of tensors. No weights are read.

The sizes of their files, as the hub lists them (2025), say whether the number of parameters is right.
"""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel

from kinema.presets import PRESETS
from kinema.reinforce import svd, wan
from kinema.reinforce.public_configs import PUBLIC

SVD_UNET, SVD_VAE = (PUBLIC["svd"][part] for part in ("unet", "vae"))
WAN_I2V, WAN_VAE = (PUBLIC["wan"][part] for part in ("transformer", "vae"))
VACE_14B, VACE_1_3B = (PUBLIC[name]["transformer"] for name in ("vace-14b", "vace-1.3b"))
FUN, COGVIDEOX_VAE = (PUBLIC["cogvideox-fun"][part] for part in ("transformer", "vae"))


def on_meta(of_class, config):
    with torch.device("meta"):
        return of_class.from_config(config)


# (class, configuration, bytes a parameter, GB of the file or files on the hub)
FILES = {
    "svd": (UNetSpatioTemporalConditionModel, SVD_UNET, 4, 6.098682464),
    "svd vae": (AutoencoderKLTemporalDecoder, SVD_VAE, 4, 0.391),
    "wan": (WanTransformer3DModel, WAN_I2V, 4, 65.59),
    "wan vae": (AutoencoderKLWan, WAN_VAE, 4, 0.508),
    "vace-14b": (WanVACETransformer3DModel, VACE_14B, 4, 69.4),
    "cogvideox-fun": (CogVideoXTransformer3DModel, FUN, 2, 11.1),
    "cogvideox vae": (AutoencoderKLCogVideoX, COGVIDEOX_VAE, 2, 0.431),
}


@pytest.mark.parametrize("name", list(FILES))
def test_the_parameters_fill_the_public_files(name):
    of_class, config, width, gigabytes = FILES[name]
    count = sum(value.numel() for value in on_meta(of_class, config).state_dict().values())
    digits = 1e-4 if name == "svd" else 5e-3
    assert count * width / 1e9 == pytest.approx(gigabytes, rel=digits)


def test_vace_1_3b_is_wan_1_3b_and_15_blocks_that_follow_the_control():
    model = on_meta(WanVACETransformer3DModel, VACE_1_3B)
    blocks = sum(p.numel() for p in model.vace_blocks.parameters())
    rest = sum(p.numel() for p in model.parameters()) - blocks
    assert len(model.vace_blocks) == 15
    assert rest == pytest.approx(1.42e9, rel=0.01)
    assert model.vace_patch_embedding.weight.shape == (1536, 96, 1, 2, 2)


def test_svd_widened_has_two_more_channels_and_else_the_public_names():
    unet = on_meta(UNetSpatioTemporalConditionModel, SVD_UNET)
    public = unet.state_dict()
    assert public["conv_in.weight"].shape == (320, 8, 3, 3)
    assert public["down_blocks.0.resnets.0.temporal_res_block.conv1.weight"].shape == (320, 320, 3, 1, 1)
    assert public["mid_block.attentions.0.temporal_transformer_blocks.0.attn1.to_q.weight"].shape == (1280, 1280)
    with torch.device("meta"):
        svd.widen(unet)
    own = unet.state_dict()
    assert own["conv_in.added.weight"].shape == (320, 2, 3, 3)
    assert {n.replace("conv_in.base.", "conv_in.") for n in own} - set(public) == {"conv_in.added.weight"}
    trained = sum(v.numel() for n, v in own.items() if svd.is_trained_for_motion(n))
    assert 0.3 < trained / sum(v.numel() for v in own.values()) < 0.6


def test_wan_widened_has_two_more_channels_and_else_the_public_names():
    transformer = on_meta(WanTransformer3DModel, WAN_I2V)
    public = transformer.state_dict()
    assert public["patch_embedding.weight"].shape == (5120, 36, 1, 2, 2)
    assert public["blocks.39.attn2.add_k_proj.weight"].shape == (5120, 5120)
    assert public["condition_embedder.image_embedder.ff.net.0.proj.weight"].shape == (1280, 1280)
    with torch.device("meta"):
        wan.widen(transformer)
    own = transformer.state_dict()
    assert own["patch_embedding.added.weight"].shape == (5120, 2, 1, 2, 2)
    renamed = {n.replace("patch_embedding.base.", "patch_embedding.") for n in own}
    assert renamed - set(public) == {"patch_embedding.added.weight"}
    assert len(renamed) == len(public) + 1


@pytest.mark.parametrize(
    ("preset", "spatial", "temporal", "patch"),
    [("svd", 8, 1, 8), ("wan", 8, 4, 2), ("vace-1.3b", 8, 4, 2), ("vace-14b", 8, 4, 2), ("cogvideox-fun", 8, 8, 2)],
)
def test_what_presets_say_of_pixels_and_frames_follows_from_the_configurations(preset, spatial, temporal, patch):
    model = PRESETS[preset].constraints
    assert model.multiple == spatial * patch
    assert model.frame_step == temporal
