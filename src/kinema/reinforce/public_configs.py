"""What the parts of the public checkpoints are: class and configuration of each, so that their size is known unfetched.

The values are those of config.json in the hub's repositories; what is a class's default is left out. The sizes of the files
that the hub lists say whether they are right (tests/reinforce/test_full_configs.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinema.errors import InputError

Configs = dict[str, dict[str, Any]]
"""Part (as its subfolder is called) -> its configuration, with the class's name at "_class_name"."""

# stabilityai/stable-video-diffusion-img2vid-xt-1-1
_SVD_UNET = {
    "_class_name": "UNetSpatioTemporalConditionModel", "addition_time_embed_dim": 256,
    "block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 1024,
    "down_block_types": ["CrossAttnDownBlockSpatioTemporal"] * 3 + ["DownBlockSpatioTemporal"], "in_channels": 8,
    "layers_per_block": 2, "num_attention_heads": [5, 10, 20, 20], "num_frames": 25, "out_channels": 4,
    "projection_class_embeddings_input_dim": 768, "sample_size": 96, "transformer_layers_per_block": 1,
    "up_block_types": ["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 3,
}  # fmt: skip
_SVD_VAE = {
    "_class_name": "AutoencoderKLTemporalDecoder", "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True, "in_channels": 3, "latent_channels": 4,
    "layers_per_block": 2, "out_channels": 3, "sample_size": 768, "scaling_factor": 0.18215,
}  # fmt: skip
# CLIP ViT-H/14 (laion/CLIP-ViT-H-14-laion2B-s32B-b79K), whose picture half SVD and Wan share
_VIT_H = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14, "projection_dim": 1024,
}  # fmt: skip
# Wan-AI/Wan2.1-*-diffusers; also in diffusers' scripts/convert_wan_to_diffusers.py
_WAN = {
    "attention_head_dim": 128, "cross_attn_norm": True, "eps": 1e-6, "freq_dim": 256, "out_channels": 16,
    "patch_size": [1, 2, 2], "qk_norm": "rms_norm_across_heads", "text_dim": 4096, "rope_max_seq_len": 1024,
}  # fmt: skip
_14B = {"ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}
_I2V_14B = {
    "_class_name": "WanTransformer3DModel", **_WAN, **_14B, "in_channels": 36, "added_kv_proj_dim": 5120,
    "image_dim": 1280,
}  # fmt: skip
_VACE_14B = {
    "_class_name": "WanVACETransformer3DModel", **_WAN, **_14B, "in_channels": 16, "vace_in_channels": 96,
    "vace_layers": list(range(0, 40, 5)),
}  # fmt: skip
_VACE_1_3B = {
    "_class_name": "WanVACETransformer3DModel", **_WAN, "ffn_dim": 8960, "num_attention_heads": 12, "num_layers": 30,
    "in_channels": 16, "vace_in_channels": 96, "vace_layers": list(range(0, 30, 2)),
}  # fmt: skip
_WAN_VAE = {
    "_class_name": "AutoencoderKLWan",
    "base_dim": 96,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "z_dim": 16,
}
# google/umt5-xxl and google/t5-v1_1-xxl, their encoders
_T5 = {
    "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": False, "use_cache": False,
}  # fmt: skip
_UMT5_XXL = {"_class_name": "UMT5EncoderModel", **_T5, "vocab_size": 256384}
_T5_XXL = {"_class_name": "T5EncoderModel", **_T5, "vocab_size": 32128}
# zai-org/CogVideoX-2b and 5b; alibaba-pai/CogVideoX-Fun-V1.1-5b-*: 5b, with twice the channels for the control
_COGVIDEOX = {
    "_class_name": "CogVideoXTransformer3DModel", "attention_head_dim": 64, "in_channels": 16, "out_channels": 16,
    "max_text_seq_length": 226, "patch_size": 2, "sample_frames": 49, "sample_height": 60, "sample_width": 90,
    "text_embed_dim": 4096, "time_embed_dim": 512,
}  # fmt: skip
_2B = {**_COGVIDEOX, "num_attention_heads": 30, "num_layers": 30, "use_rotary_positional_embeddings": False}
_5B = {**_COGVIDEOX, "num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}
_COGVIDEOX_VAE = {
    "_class_name": "AutoencoderKLCogVideoX", "block_out_channels": [128, 256, 256, 512], "latent_channels": 16,
    "layers_per_block": 3, "norm_num_groups": 32, "scaling_factor": 0.7,
    "down_block_types": ["CogVideoXDownBlock3D"] * 4, "up_block_types": ["CogVideoXUpBlock3D"] * 4,
}  # fmt: skip

_VACE_REST = {"vae": _WAN_VAE, "text_encoder": _UMT5_XXL}
_COGVIDEOX_REST = {"vae": _COGVIDEOX_VAE, "text_encoder": _T5_XXL}
PUBLIC: dict[str, Configs] = {
    "svd": {
        "unet": _SVD_UNET, "vae": _SVD_VAE, "image_encoder": {"_class_name": "CLIPVisionModelWithProjection", **_VIT_H},
    },
    "wan": {
        "transformer": _I2V_14B, "vae": _WAN_VAE, "text_encoder": _UMT5_XXL,
        "image_encoder": {"_class_name": "CLIPVisionModel", **_VIT_H},
    },
    "vace-1.3b": {"transformer": _VACE_1_3B, **_VACE_REST},
    "vace-14b": {"transformer": _VACE_14B, **_VACE_REST},
    "cogvideox-fun": {"transformer": {**_5B, "in_channels": 32}, **_COGVIDEOX_REST},
    "cogvideox-2b": {"transformer": _2B, **_COGVIDEOX_REST},
    "cogvideox-5b": {"transformer": _5B, **_COGVIDEOX_REST},
}  # fmt: skip
"""By the preset that uses them."""


def configs_in(folder: Path) -> Configs:
    """The same of a model folder in diffusers' layout. Raises InputError where a configuration cannot be read."""
    found: Configs = {}
    for part in ("unet", "transformer", "vae", "text_encoder", "image_encoder"):
        path = folder / part / "config.json"
        if not path.is_file():
            continue
        try:
            config = json.loads(path.read_text())
            name = config.get("_class_name") or config["architectures"][0]
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            raise InputError(path, f"is no configuration ({error})", "one as diffusers writes it") from error
        found[part] = {**config, "_class_name": name}
    if "vae" not in found or not {"unet", "transformer"} & set(found):
        raise InputError(
            folder, "has no configuration of its autoencoder or its network", "a model as diffusers lays it out"
        )
    return found
