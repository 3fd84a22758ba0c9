"""The public checkpoints' configurations on the meta device: sizes, widened shapes, names of tensors. No weights are read.

The values are those of config.json in the hub's repositories; the sizes of their files, as the hub lists them (2025), say
whether the number of parameters is right.
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

# stabilityai/stable-video-diffusion-img2vid-xt-1-1, unet/config.json and vae/config.json
SVD_UNET = {
    "addition_time_embed_dim": 256, "block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 1024,
    "down_block_types": ["CrossAttnDownBlockSpatioTemporal"] * 3 + ["DownBlockSpatioTemporal"], "in_channels": 8,
    "layers_per_block": 2, "num_attention_heads": [5, 10, 20, 20], "num_frames": 25, "out_channels": 4,
    "projection_class_embeddings_input_dim": 768, "sample_size": 96, "transformer_layers_per_block": 1,
    "up_block_types": ["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 3,
}  # fmt: skip
SVD_VAE = {
    "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True,
    "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "out_channels": 3, "sample_size": 768,
    "scaling_factor": 0.18215,
}  # fmt: skip
# Wan-AI/Wan2.1-*-diffusers, transformer/config.json; also in diffusers' scripts/convert_wan_to_diffusers.py
_WAN = {
    "attention_head_dim": 128, "cross_attn_norm": True, "eps": 1e-6, "freq_dim": 256, "out_channels": 16,
    "patch_size": [1, 2, 2], "qk_norm": "rms_norm_across_heads", "text_dim": 4096, "rope_max_seq_len": 1024,
}  # fmt: skip
_14B = {"ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}
WAN_I2V = {**_WAN, **_14B, "in_channels": 36, "added_kv_proj_dim": 5120, "image_dim": 1280}
VACE_14B = {**_WAN, **_14B, "in_channels": 16, "vace_in_channels": 96, "vace_layers": list(range(0, 40, 5))}
VACE_1_3B = {
    **_WAN, "ffn_dim": 8960, "num_attention_heads": 12, "num_layers": 30, "in_channels": 16, "vace_in_channels": 96,
    "vace_layers": list(range(0, 30, 2)),
}  # fmt: skip
WAN_VAE = {"base_dim": 96, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "z_dim": 16}
# alibaba-pai/CogVideoX-Fun-V1.1-5b-Pose: CogVideoX-5b's, with twice the channels for the control
FUN = {
    "attention_head_dim": 64, "in_channels": 32, "out_channels": 16, "max_text_seq_length": 226,
    "num_attention_heads": 48, "num_layers": 42, "patch_size": 2, "sample_frames": 49, "sample_height": 60,
    "sample_width": 90, "text_embed_dim": 4096, "time_embed_dim": 512, "use_rotary_positional_embeddings": True,
}  # fmt: skip
COGVIDEOX_VAE = {
    "block_out_channels": [128, 256, 256, 512], "latent_channels": 16, "layers_per_block": 3, "norm_num_groups": 32,
    "scaling_factor": 0.7, "down_block_types": ["CogVideoXDownBlock3D"] * 4, "up_block_types": ["CogVideoXUpBlock3D"] * 4,
}  # fmt: skip


def on_meta(of_class, config):
    with torch.device("meta"):
        return of_class.from_config(config)


# (class, configuration, bytes a parameter, GB of the file or files on the hub)
PUBLIC = {
    "svd": (UNetSpatioTemporalConditionModel, SVD_UNET, 4, 6.098682464),
    "svd vae": (AutoencoderKLTemporalDecoder, SVD_VAE, 4, 0.391),
    "wan": (WanTransformer3DModel, WAN_I2V, 4, 65.59),
    "wan vae": (AutoencoderKLWan, WAN_VAE, 4, 0.508),
    "vace-14b": (WanVACETransformer3DModel, VACE_14B, 4, 69.4),
    "cogvideox-fun": (CogVideoXTransformer3DModel, FUN, 2, 11.1),
    "cogvideox vae": (AutoencoderKLCogVideoX, COGVIDEOX_VAE, 2, 0.431),
}


@pytest.mark.parametrize("name", list(PUBLIC))
def test_the_parameters_fill_the_public_files(name):
    of_class, config, width, gigabytes = PUBLIC[name]
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
