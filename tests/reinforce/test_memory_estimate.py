"""The estimate of memory against the allocator's own account of real runs on a CPU, by torch's profiler."""

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import WanVACEPipeline
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from tiny_svd import temporal_autoencoder, tiny_unet
from tiny_wan import SHAPE, tiny_text_encoder, tiny_tokenizer, tiny_wan_autoencoder, unipc
from torch.profiler import ProfilerActivity, profile

from kinema.reinforce import memory_estimate
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.memory import place
from kinema.reinforce.memory_estimate import ALLOWANCE, PROGRAM, Job, expected, peak_bytes, pinned_bytes
from kinema.reinforce.public_configs import PUBLIC, configs_in
from kinema.reinforce.vace import load_vace


def measured(work):
    """Bytes that torch's allocator had given out at most, by its own events."""
    gc.collect()  # what an earlier profile saw being taken would count where it is freed in this one
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as made:
        work()
    events = [e for e in made.profiler.kineto_results.events() if e.name() == "[memory]"]
    return int(np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max())


# torch's convolutions over time for a CPU unfold what is small: sides and widths are such that most of it is not.
def wan_autoencoder():
    torch.manual_seed(0)
    return AutoencoderKLWan(
        base_dim=64, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    ).eval()  # fmt: skip


def cogvideox_autoencoder():
    torch.manual_seed(0)
    return AutoencoderKLCogVideoX(
        block_out_channels=(32,) * 4, layers_per_block=1, norm_num_groups=8, latent_channels=4, sample_height=128,
        sample_width=128, down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
    ).eval()  # fmt: skip


def wan_transformer():
    wider = {**SHAPE, "num_attention_heads": 4, "attention_head_dim": 24, "ffn_dim": 384}
    torch.manual_seed(0)
    return WanTransformer3DModel(**wider, in_channels=12, out_channels=4, image_dim=16, added_kv_proj_dim=96).eval()


def cogvideox_transformer():
    torch.manual_seed(0)
    return CogVideoXTransformer3DModel(
        num_attention_heads=4, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=16, num_layers=2,
        text_embed_dim=16, max_text_seq_length=16, use_rotary_positional_embeddings=True,
    ).eval()  # fmt: skip


new = torch.zeros
RUNS = {
    "wan": (wan_transformer, lambda n: n(new(1, 12, 5, 24, 32), new(1), new(1, 64, 16), new(1, 257, 16)), 0.98),
    "cogvideox": (
        cogvideox_transformer,
        lambda n: n(new(2, 5, 4, 32, 32), new(2, 16, 16), new(2).long(), image_rotary_emb=(new(1280, 16),) * 2),
        0.98,
    ),
    "svd": (tiny_unet, lambda n: n(new(2, 4, 8, 16, 16), new(1), new(2, 1, 16), new(2, 3)), 0.85),
    "wan decoder": (wan_autoencoder, lambda v: v.decode(new(1, 4, 3, 16, 4)), 0.8),
    "wan encoder": (wan_autoencoder, lambda v: v.encode(new(1, 3, 9, 128, 32)), 0.8),
    "cogvideox decoder": (cogvideox_autoencoder, lambda v: v.decode(new(1, 4, 5, 16, 16)), 0.98),
    "svd decoder": (temporal_autoencoder, lambda v: v.decode(new(4, 4, 12, 16), num_frames=4), 0.85),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RUNS))
def test_bytes_counted_on_the_meta_device_are_those_that_a_run_takes(name):
    """To 2 % where the kernels take nothing for themselves, and at most a fifth too little where they do."""
    make, work, least = RUNS[name]
    part = make()
    with torch.inference_mode():
        taken = measured(lambda: work(part))
    part.to("meta")
    assert least < peak_bytes(lambda: work(part))[0] / taken < 1.02


@pytest.fixture(scope="module")
def vace_folder(tmp_path_factory):
    torch.manual_seed(0)
    transformer = WanVACETransformer3DModel(
        **SHAPE, in_channels=4, out_channels=4, vace_layers=[0, 2], vace_in_channels=72
    ).eval()
    folder = tmp_path_factory.mktemp("vace")
    WanVACEPipeline(tiny_tokenizer(), tiny_text_encoder(), wan_autoencoder(), unipc(), transformer).save_pretrained(
        folder
    )
    return folder


def test_a_whole_clip_takes_what_is_expected(vace_folder):
    """Loading aside: weights, and the most that any of encoding, steps and decoding takes; within a fifth."""
    sampling = Sampling(9, (32, 128), 2, guidance=3.0)
    model = load_vace(vace_folder, None, torch.float32)
    weights = sum(p.nbytes for part in (model.pipeline.vae, model.pipeline.transformer) for p in part.parameters())
    picture = np.random.default_rng(0).integers(0, 255, (128, 32, 3), np.uint8)
    control = np.random.default_rng(1).integers(0, 255, (9, 128, 32, 3), np.uint8)
    taken = weights + measured(lambda: model.generate(picture, sampling, control))
    job = Job("vace", configs_in(vace_folder), (32, 128), 9, torch.float32)
    assert 0.8 < (expected(job, "fast", on_gpu=False).host - PROGRAM) / taken < 1.1


@pytest.mark.parametrize("frames", [9, 17])
def test_tiles_and_chunks_add_up(vace_folder, monkeypatch, frames):
    """Decoding in tiles, of which one alone is looked at, against all of them."""
    vae = tiny_wan_autoencoder().to("meta")
    vae.enable_tiling(32, 32, 24, 24)
    monkeypatch.setattr(memory_estimate, "COPIES", 0)
    job = Job("vace", configs_in(vace_folder), (40, 48), frames, torch.float32)
    whole, _ = peak_bytes(lambda: vae.decode(torch.empty(1, 4, (frames - 1) // 4 + 1, 6, 5)))
    assert memory_estimate._decoding(vae, job, "balanced") == pytest.approx(whole, rel=0.1)


def test_a_full_model_takes_less_from_preset_to_preset():
    """Parameters: 2.15 billion of the network, 5.68 of the text encoder (2 bytes each), 0.13 of the autoencoder (4)."""
    job = Job("vace", PUBLIC["vace-1.3b"], (832, 480), 9, torch.bfloat16)
    fast, balanced, low = (expected(job, memory) for memory in ("fast", "balanced", "low"))
    weights = 2 * (2.15e9 + 5.68e9) + 4 * 0.127e9
    assert fast.host == low.host == pytest.approx(weights + PROGRAM, rel=0.01)
    assert weights + PROGRAM + 2 * 2.15e9 < balanced.host < weights + PROGRAM + 4 * 2.15e9
    assert fast.gpu > weights + ALLOWANCE
    assert fast.gpu > balanced.gpu >= low.gpu > ALLOWANCE
    assert expected(replace(job, frames=17), "fast").gpu > fast.gpu


def test_pinned_memory_comes_in_powers_of_two():
    assert pinned_bytes(torch.nn.Linear(3, 5, bias=False)) == 64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize("memory", ["fast", "balanced", "low"])
def test_on_a_gpu_the_peak_is_what_was_expected(vace_folder, memory):
    sampling = Sampling(17, (256, 256), 2, guidance=3.0)
    torch.cuda.reset_peak_memory_stats()
    model = load_vace(vace_folder, None, torch.bfloat16, "cuda", memory)
    model.generate(np.zeros((256, 256, 3), np.uint8), sampling, np.zeros((17, 256, 256, 3), np.uint8))
    job = Job("vace", configs_in(vace_folder), (256, 256), 17, torch.bfloat16)
    need = expected(job, memory).gpu - ALLOWANCE
    assert 0.7 * torch.cuda.max_memory_allocated() < need < 1.3 * torch.cuda.max_memory_allocated() + (64 << 20)


def test_offload_by_layers_is_what_is_counted():
    """The largest two layers at once: one that computes, and the next one."""
    small = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.Linear(8, 16, bias=False))
    network = torch.nn.ModuleDict({"a": small, "b": torch.nn.Linear(2, 2, bias=False)}).to("meta")
    assert memory_estimate.largest_groups(network, "leaf") == 4 * (32 + 128)
    plain = torch.nn.Linear(2, 2)
    place(plain, torch.nn.Linear(1, 1), [], "fast", "cpu", torch.float32)
    assert not hasattr(plain, "_diffusers_hook")
