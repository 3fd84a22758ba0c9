"""CogVideoX-Fun Control on tiny random weights: the frames of diffusers' own pipeline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import CogVideoXFunControlPipeline
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler
from PIL import Image
from tiny_wan import TEXT, WORDS, tiny_tokenizer
from transformers import T5Config, T5EncoderModel

from kinema.errors import InputError
from kinema.reinforce.backbone import Backbone, Sampling
from kinema.reinforce.cogvideox_fun import load_cogvideox_fun
from kinema.reinforce.part_condition import no_condition

CHANNELS, TOKENS = 4, 6
SAMPLING = Sampling(frames=9, size=(48, 32), steps=2, seed=5, guidance=6.0)
PICTURE, CONTROL = (
    np.random.default_rng(k).integers(0, 255, (*s, 32, 48, 3), np.uint8) for k, s in enumerate([(), (9,)])
)


def tiny_pipeline(in_channels=2 * CHANNELS):
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=in_channels, out_channels=CHANNELS, time_embed_dim=8,
        text_embed_dim=TEXT, num_layers=2, sample_width=6, sample_height=4, sample_frames=9, max_text_seq_length=TOKENS,
        use_rotary_positional_embeddings=True,
    )  # fmt: skip
    autoencoder = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=CHANNELS, layers_per_block=1, norm_num_groups=2,
        scaling_factor=0.7, down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
    )  # fmt: skip
    text = T5EncoderModel(T5Config(d_model=TEXT, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=len(WORDS)))
    scheduler = CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True, clip_sample=False)
    parts = tiny_tokenizer(), text.eval(), autoencoder.eval(), transformer.eval(), scheduler
    return CogVideoXFunControlPipeline(*parts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As the hub has it: the index names the plain pipeline."""
    made = tmp_path_factory.mktemp("fun") / "tiny-fun"
    tiny_pipeline().save_pretrained(made, max_shard_size="50KB")
    index = made / "model_index.json"
    index.write_text(index.read_text().replace("CogVideoXFunControlPipeline", "CogVideoXPipeline"))
    return made


@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_it_is_diffusers_own_bit_for_bit(folder, guidance):
    assert len(list((folder / "transformer").glob("*.safetensors"))) > 1
    model = load_cogvideox_fun(folder, None, torch.float32)
    assert isinstance(model, Backbone)
    sampling = replace(SAMPLING, guidance=guidance)
    pipeline = CogVideoXFunControlPipeline(**model.pipeline.components)
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(
        "a woman", None, [Image.fromarray(frame) for frame in CONTROL], 32, 48, sampling.steps, guidance_scale=guidance,
        generator=torch.Generator().manual_seed(sampling.seed), output_type="np", max_sequence_length=TOKENS,
    ).frames[0]  # fmt: skip
    expected = (frames * 255).round().astype(np.uint8)
    found = model.generate(PICTURE, sampling, CONTROL, prompt="a woman")
    assert np.array_equal(found, expected)
    assert expected.std() > 1
    assert not np.array_equal(found, model.generate(PICTURE, sampling, CONTROL[::-1].copy(), prompt="a woman"))


def test_without_a_control_video_or_from_a_model_without_control_it_is_refused(folder, tmp_path):
    model = load_cogvideox_fun(folder, None, torch.float32)
    for condition in (None, no_condition(9, (32, 48))):
        with pytest.raises(InputError, match="no control video"):
            model.generate(PICTURE, SAMPLING, condition)
    tiny_pipeline(CHANNELS).save_pretrained(tmp_path / "plain")
    with pytest.raises(InputError, match="takes 4 channels"):
        load_cogvideox_fun(tmp_path / "plain", None, torch.float32)
