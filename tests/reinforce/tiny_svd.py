"""The classes of SVD with a few thousand random weights."""

import torch
from diffusers import StableVideoDiffusionPipeline
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

CHANNELS = 4


def tiny_unet(seed=0):
    torch.manual_seed(seed)
    return UNetSpatioTemporalConditionModel(
        sample_size=8,
        in_channels=2 * CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        block_out_channels=(32, 32),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=16,
        num_attention_heads=2,
        num_frames=4,
    ).eval()


def tiny_encoder(image_size=32, patch_size=16):
    torch.manual_seed(1)
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=16, intermediate_size=16, projection_dim=16, num_hidden_layers=1, num_attention_heads=2,
            image_size=image_size, patch_size=patch_size,
        )
    ).eval()  # fmt: skip


def tiny_autoencoder():
    torch.manual_seed(2)
    return AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=(1, 0, 0, 0),
        latent_channels=CHANNELS,
    ).eval()


def euler(sigma_max=20.0):
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        timestep_spacing="leading", timestep_type="continuous", use_karras_sigmas=True, sigma_min=0.02,
        sigma_max=sigma_max,
    )  # fmt: skip


def save_tiny_folder(folder):
    tiny_unet().save_pretrained(folder / "unet")
    tiny_encoder().save_pretrained(folder / "image_encoder")
    tiny_autoencoder().save_pretrained(folder / "vae")
    euler().save_pretrained(folder / "scheduler")
    return folder


def temporal_autoencoder():
    torch.manual_seed(2)
    return AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4, block_out_channels=(32, 32, 32, 32), layers_per_block=1,
        latent_channels=CHANNELS, sample_size=64,
    ).eval()  # fmt: skip


def tiny_svd_pipeline():
    """With SVD's own autoencoder."""
    return StableVideoDiffusionPipeline(
        temporal_autoencoder(), tiny_encoder(image_size=224, patch_size=112), tiny_unet(), euler(700.0),
        CLIPImageProcessorPil(),
    )  # fmt: skip
