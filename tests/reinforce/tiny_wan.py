"""The classes of Wan with a few thousand random weights."""

import torch
from diffusers import UniPCMultistepScheduler, WanImageToVideoPipeline, WanVACEPipeline
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import CLIPVisionConfig, CLIPVisionModel, PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from kinema.reinforce import wan
from kinema.reinforce.adapters import save_adapter

CHANNELS, TEXT = 4, 16
WORDS = ("<pad>", "</s>", "<unk>", "a", "woman", "waves", "static", "ugly", "&")
SHAPE = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "text_dim": TEXT, "freq_dim": 16,
    "ffn_dim": 32, "num_layers": 3, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 32,
}  # fmt: skip


def tiny_tokenizer():
    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def tiny_text_encoder():
    torch.manual_seed(3)
    return UMT5EncoderModel(
        UMT5Config(vocab_size=len(WORDS), d_model=TEXT, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).eval()


def tiny_wan_autoencoder():
    torch.manual_seed(2)
    return AutoencoderKLWan(
        base_dim=4, z_dim=CHANNELS, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.1] * CHANNELS, latents_std=[1.5] * CHANNELS,
    ).eval()  # fmt: skip


def unipc():
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def tiny_vace_pipeline():
    torch.manual_seed(0)
    transformer = WanVACETransformer3DModel(
        **SHAPE, in_channels=CHANNELS, out_channels=CHANNELS, vace_layers=[0, 2], vace_in_channels=2 * CHANNELS + 64
    )
    return WanVACEPipeline(tiny_tokenizer(), tiny_text_encoder(), tiny_wan_autoencoder(), unipc(), transformer.eval())


def tiny_wan_transformer(seed=0):
    torch.manual_seed(seed)
    return WanTransformer3DModel(
        **SHAPE, in_channels=2 * CHANNELS + 4, out_channels=CHANNELS, image_dim=16, added_kv_proj_dim=24
    ).eval()


def tiny_wan_pipeline(seed=0):
    torch.manual_seed(1)
    seen = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=16, intermediate_size=16, projection_dim=16, num_hidden_layers=2, num_attention_heads=2,
            image_size=32, patch_size=16,
        )
    ).eval()  # fmt: skip
    size = {"shortest_edge": 32}
    processor = CLIPImageProcessorPil(size=size, crop_size={"height": 32, "width": 32})
    return WanImageToVideoPipeline(
        tiny_tokenizer(),
        tiny_text_encoder(),
        tiny_wan_autoencoder(),
        unipc(),
        processor,
        seen,
        tiny_wan_transformer(seed),
    )


def save_wan_as_public(folder, seed=0):
    """The hub's index names the image processor by its old name."""
    tiny_wan_pipeline(seed).save_pretrained(folder, max_shard_size="50KB")
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("CLIPImageProcessorPil", "CLIPImageProcessor"))
    return folder


def save_wan_adapter(folder, path, scale=1.0):
    """Random weights in the second convolution, the first block `scale` times what it is; -> path."""
    transformer = tiny_wan_transformer()
    wan.widen(transformer)
    torch.manual_seed(9)
    torch.nn.init.normal_(transformer.patch_embedding.added.weight)
    trained = {n: scale * w for n, w in transformer.state_dict().items() if wan.is_trained_for_motion(n)}
    save_adapter(trained, path, folder, "transformer", "patch embedding, first block")
    return path
