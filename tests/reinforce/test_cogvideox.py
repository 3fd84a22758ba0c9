"""CogVideoX with masks, on tiny random weights: equal to diffusers' own before training, and what is new in it."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.embeddings import get_3d_rotary_pos_embed, get_3d_sincos_pos_embed
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler
from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler
from diffusers.utils.peft_utils import get_peft_kwargs
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from kinema.checkpoints import weights_hash
from kinema.errors import InputError
from kinema.reinforce import cogvideox_network as network_file
from kinema.reinforce.cogvideox import ClipSettings, CogVideoX, T5Prompts, TokenPrompts, load_cogvideox, mask_pictures
from kinema.reinforce.cogvideox_lora import LORA_FILE, add_lora, lora_off, save_adapter
from kinema.reinforce.cogvideox_network import Before, MVideoTransformer
from kinema.types import MaskSequence

CHANNELS, TOKENS = 4, 6
CLIP = ClipSettings(frames=9, size=(32, 32), small_size=(16, 16), steps=2)
SCHEDULE = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "clip_sample": False}
POSITIONS = pytest.mark.parametrize("rotary", [False, True], ids=["2b", "5b"])


def tiny_transformer(rotary=False, seed=0, **config):
    torch.manual_seed(seed)
    settings = {
        "num_attention_heads": 2, "attention_head_dim": 16, "in_channels": CHANNELS, "out_channels": CHANNELS,
        "time_embed_dim": 8, "text_embed_dim": 128, "num_layers": 2, "sample_width": 4, "sample_height": 4,
        "sample_frames": 9, "max_text_seq_length": TOKENS, "use_rotary_positional_embeddings": rotary,
    }  # fmt: skip
    return CogVideoXTransformer3DModel(**settings | config).eval()


def tiny_autoencoder(wan=True):
    torch.manual_seed(2)
    if wan:
        return AutoencoderKLWan(
            base_dim=4, z_dim=CHANNELS, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
            latents_mean=[0.1] * CHANNELS, latents_std=[1.5] * CHANNELS,
        ).eval()  # fmt: skip
    return AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=CHANNELS, layers_per_block=1, norm_num_groups=2,
        scaling_factor=0.7,
    ).eval()  # fmt: skip


def tiny_model(rotary=False, wan=True, scheduler=CogVideoXDDIMScheduler):
    network = MVideoTransformer(tiny_transformer(rotary)).eval().requires_grad_(False)
    return CogVideoX(network, tiny_autoencoder(wan), TokenPrompts(TOKENS), scheduler(**SCHEDULE), CLIP, "tiny", "0")


def save_tiny_folder(folder, **config):
    tiny_transformer(**config).save_pretrained(folder / "transformer")
    tiny_autoencoder().save_pretrained(folder / "vae")
    CogVideoXDDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    return folder


def moving_masks(count=9, things=2, size=32):
    masks = np.zeros((count, things, size, size), bool)
    for t in range(count):
        masks[t, 0, 8:16, 2 * t : 2 * t + 12] = True
        masks[t, 1:, 4:20, 6:14] = True
    return MaskSequence(masks, tuple("abcdefghi"[:things]), 8.0)


def random_inputs(frames=3, batch=2):
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    latents, masks = normal(batch, frames, CHANNELS, 4, 4), normal(batch, frames, CHANNELS, 4, 4)
    before = Before(normal(batch, 1, CHANNELS, 4, 4), normal(batch, frames, CHANNELS, 2, 2))
    return latents, normal(batch, TOKENS, 128), torch.tensor([500, 20][:batch]), masks, before


def noise_clip(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (CLIP.frames, 32, 32, 3), np.uint8)


def diffusers_output(base, latents, text, time):
    """What diffusers' pipeline makes of its transformer for these latents."""
    pipeline = CogVideoXPipeline(None, None, tiny_autoencoder(False), base, CogVideoXDDIMScheduler())
    turns = None
    if base.config.use_rotary_positional_embeddings:
        height, width = (8 * side for side in latents.shape[3:])
        turns = pipeline._prepare_rotary_positional_embeddings(height, width, latents.shape[1], torch.device("cpu"))
    return base(latents, text, time, image_rotary_emb=turns).sample


# the network


@POSITIONS
@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 4, 4), (3, 6, 8)])
@torch.no_grad()
def test_before_training_it_is_cogvideox_bit_for_bit(rotary, shape):
    base = tiny_transformer(rotary)
    frames, height, width = shape
    latents, masks = torch.randn(2, 2, frames, CHANNELS, height, width)
    text, time = torch.randn(2, TOKENS, 128), torch.tensor([7, 999])
    expected = diffusers_output(base, latents, text, time)
    network = MVideoTransformer(copy.deepcopy(base)).eval()
    assert torch.equal(network(latents, text, time), expected)
    assert torch.equal(network(latents, text, time, masks), expected)
    add_lora(network, 4)
    assert torch.equal(network(latents, text, time, masks), expected)


@POSITIONS
@torch.no_grad()
def test_the_mask_projection_is_a_wider_patch_embedding(rotary):
    """With weights in it, the two projections are one of the concatenated channels."""
    network = MVideoTransformer(tiny_transformer(rotary)).eval()
    torch.nn.init.normal_(network.mask.weight)
    latents, text, time, masks, _ = random_inputs()
    found = network(latents, text, time, masks)
    wide = copy.deepcopy(network.base)
    known = network.base.patch_embed.proj
    wide.patch_embed.proj = torch.nn.Conv2d(2 * CHANNELS, known.out_channels, known.kernel_size, known.stride)
    wide.patch_embed.proj.weight.copy_(torch.cat([known.weight, network.mask.weight], 1))
    wide.patch_embed.proj.bias.copy_(known.bias)
    expected = diffusers_output(wide, torch.cat([latents, masks], 2), text, time)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, network(latents, text, time), atol=1e-2)


@POSITIONS
@torch.no_grad()
def test_what_came_before_changes_the_output_and_its_order_matters(rotary):
    network = MVideoTransformer(tiny_transformer(rotary)).eval()
    latents, text, time, _, before = random_inputs()
    without, found = network(latents, text, time), network(latents, text, time, before=before)
    assert found.shape == without.shape
    assert not torch.allclose(found, without, atol=1e-4)
    turned = Before(before.last_frame, before.clip.flip(1))
    assert not torch.allclose(found, network(latents, text, time, before=turned), atol=1e-5)
    network.kinds.normal_()
    assert not torch.allclose(found, network(latents, text, time, before=before), atol=1e-4)


@POSITIONS
def test_no_two_tokens_share_a_place(rotary):
    config = tiny_transformer(rotary).config
    clip, last, small = torch.zeros(1, 3, 4, 8, 12), torch.zeros(1, 1, 4, 8, 12), torch.zeros(1, 3, 4, 4, 6)
    here = network_file.clip_coordinates(config, clip)
    places = [
        here,
        network_file.earlier_coordinates(config, last, here, -1),
        network_file.earlier_coordinates(config, small, here, -4),
    ]
    assert [place[0].tolist() for place in places] == [[0, 1, 2], [-1], [-4, -3, -2]]
    triples = [tuple(t) for place in places for t in torch.cartesian_prod(*place).tolist()]
    assert len(set(triples)) == len(triples) == 3 * 24 + 24 + 3 * 6
    assert torch.allclose(places[1][1], here[1], atol=1e-6)


def test_positions_are_those_of_diffusers():
    place = torch.arange(3.0), torch.arange(4.0), torch.arange(6.0)
    expected = get_3d_sincos_pos_embed(32, (6, 4), 3).flatten(0, 1)
    assert torch.equal(network_file.sincos(place, 32), expected)
    cosine, sine = get_3d_rotary_pos_embed(16, ((0, 0), (4, 6)), (4, 6), 3)
    found = network_file.rotary(place, 16)
    assert torch.equal(found[0], cosine)
    assert torch.equal(found[1], sine)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.1, 5))
def test_a_smaller_grid_is_stretched_over_the_same_picture(count, other, step):
    line = step * torch.arange(count, dtype=torch.float64)
    found = network_file.stretched(line, other)
    if count == 1:
        assert torch.equal(found, torch.zeros(other, dtype=torch.float64))
        return
    cell = step * count / other
    assert found.mean().item() == pytest.approx(line.mean().item())
    assert found[0].item() - cell / 2 == pytest.approx(-step / 2, abs=1e-9)
    assert found[-1].item() + cell / 2 == pytest.approx(line[-1].item() + step / 2, abs=1e-9)


@pytest.mark.parametrize(
    ("config", "said"),
    [({"patch_size_t": 2, "sample_frames": 5}, "patch_size_t"), ({"in_channels": 2 * CHANNELS}, "image-to-video")],
)
def test_other_cogvideox_models_are_refused(config, said):
    with pytest.raises(InputError, match=said):
        MVideoTransformer(tiny_transformer(**config))


# sampling


@POSITIONS
@pytest.mark.parametrize("scheduler", [CogVideoXDDIMScheduler, CogVideoXDPMScheduler])
def test_without_masks_a_clip_is_the_one_of_diffusers_pipeline(rotary, scheduler):
    model = tiny_model(rotary, wan=False, scheduler=scheduler)
    pipeline = CogVideoXPipeline(None, None, model.autoencoder, model.network.base, scheduler(**SCHEDULE))
    pipeline.set_progress_bar_config(disable=True)
    empty, text = model.text_encoder.encode(["", "a dog"]).split(1)
    asked = {
        "prompt_embeds": text, "negative_prompt_embeds": empty, "num_frames": 9, "num_inference_steps": 2,
        "guidance_scale": 6.0, "height": 32, "width": 32,
    }  # fmt: skip
    expected = pipeline(**asked, generator=torch.Generator().manual_seed(3), output_type="latent").frames
    assert torch.equal(model.sample("a dog", 3), expected[0])
    pixels = pipeline(**asked, generator=torch.Generator().manual_seed(3), output_type="np").frames[0]
    found = model.generate("a dog", 3)
    assert np.array_equal(found, np.rint(pixels * 255).astype(np.uint8))
    assert np.array_equal(found, model.generate("a dog", 3, moving_masks()))
    assert not np.array_equal(found, model.generate("a dog", 4))


def test_without_guidance_the_network_runs_once_a_step():
    model = tiny_model()
    model.clip = ClipSettings(9, (32, 32), (16, 16), steps=2, guidance=1.0)
    sizes, calls = [], []
    model.network.register_forward_hook(lambda module, given, found: sizes.append(len(found)))
    model.generate("a dog", 0, progress=lambda done, total: calls.append((done, total)))
    assert sizes == [1, 1]
    assert calls == [(1, 2), (2, 2)]


def test_guidance_is_against_nothing_at_all_where_asked():
    model, seen = tiny_model(), []
    model.network.register_forward_pre_hook(lambda module, given: seen.append([len(given[0]), *given[3:]]))
    model.clip = ClipSettings(9, (32, 32), (16, 16), steps=1)
    model.generate("a dog", 0, moving_masks(), noise_clip())
    ((size, masks, before),) = seen
    assert size == len(masks) == len(before.clip) == 2
    model.clip = replace(model.clip, guide_all=True)
    model.generate("a dog", 0, moving_masks(), noise_clip())
    (size, led, earlier), free = seen[1:]
    assert (size, len(led), len(earlier.clip)) == (1, 1, 1)
    assert torch.equal(led[0], masks[1])
    assert free == [1, None, None]


def test_masks_may_be_guided_by_a_scale_of_their_own():
    model = tiny_model()
    torch.nn.init.normal_(model.network.mask.weight)
    latents, text, time = torch.randn(1, 3, CHANNELS, 4, 4), model.text_encoder.encode(["", "a dog"]), torch.tensor(500)
    masks = torch.randn(1, 3, CHANNELS, 4, 4)

    def predicted(masks, **settings):
        model.clip = ClipSettings(9, (32, 32), (16, 16), guidance=4.0, guide_all=True, **settings)
        return model._predict(latents, text, time, masks, None, True)

    free, plain, asked = (
        model.network(latents, words, time[None], shown)
        for words, shown in ((text[:1], None), (text[1:], None), (text[1:], masks))
    )
    found = predicted(masks, guide_masks=9.0)
    assert torch.allclose(found, free + 4 * (plain - free) + 9 * (asked - plain), atol=1e-4)
    assert torch.allclose(predicted(masks, guide_masks=4.0), predicted(masks), atol=1e-4)
    assert not torch.allclose(found, predicted(masks), atol=1e-2)
    assert torch.equal(predicted(None, guide_masks=9.0), predicted(None))


def test_away_from_masks_their_guidance_may_be_weaker():
    model = tiny_model()
    torch.nn.init.normal_(model.network.mask.weight)
    model.clip = ClipSettings(13, (64, 64), (16, 16), guidance=4.0, guide_all=True, guide_masks=9.0, guide_away=0.25)
    masks = np.zeros((9, 2, 64, 64), bool)
    masks[0, 0, 20:22, 10:12] = masks[3, 1, 60:, 60:] = True
    strength = model.masks_guide(MaskSequence(masks, ("a dog", "a cat"), 8.0))
    assert strength.shape == (4, 1, 8, 8)
    expected = torch.full((4, 8, 8), 0.25)
    expected[0, 1:4, :3] = expected[1, 6:, 6:] = 1  # within 8 px
    expected[3] = 1  # where the masks have ended
    assert torch.equal(strength[:, 0], expected)

    latents, text, time = torch.randn(1, 4, CHANNELS, 8, 8), model.text_encoder.encode(["", "a dog"]), torch.tensor(500)
    seen = torch.randn(1, 4, CHANNELS, 8, 8)
    whole = model._predict(latents, text, time, seen, None, True)
    found = model._predict(latents, text, time, seen, None, True, strength[None])
    near = (strength == 1).expand(-1, CHANNELS, -1, -1)[None]
    assert torch.equal(found[near], whole[near])
    assert not torch.isclose(found[~near], whole[~near], atol=1e-5).any()


@pytest.mark.parametrize("guide_all", [False, True])
def test_strong_guidance_is_brought_back_to_the_deviation_of_what_was_predicted(guide_all):
    model = tiny_model()
    latents, text, time = torch.randn(1, 3, CHANNELS, 4, 4), model.text_encoder.encode(["", "a dog"]), torch.tensor(500)

    def deviation(guidance, rescale):
        model.clip = ClipSettings(
            9, (32, 32), (16, 16), guidance=guidance, guide_all=guide_all, guidance_rescale=rescale
        )
        return float(model._predict(latents, text, time, None, None, True).std())

    with torch.no_grad():
        plain, strong = deviation(1.0, 0.0), deviation(40.0, 0.0)
        assert strong > 1.01 * plain
        assert deviation(40.0, 1.0) == pytest.approx(plain, rel=1e-4)
        assert deviation(40.0, 0.5) == pytest.approx((plain + strong) / 2, rel=1e-4)


@pytest.mark.parametrize("context", [1, 3])
def test_the_clip_before_is_decoded_along_where_asked(context, monkeypatch):
    model, decoded = tiny_model(), []
    decode = CogVideoX.decode
    monkeypatch.setattr(CogVideoX, "decode", lambda self, latents: decoded.append(latents) or decode(self, latents))
    apart = model.generate("a dog", 0, before=noise_clip())
    model.clip = replace(model.clip, context=context)
    together = model.generate("a dog", 0, before=noise_clip())
    (alone, joined), before = decoded, model.encode(noise_clip())
    assert torch.equal(joined, torch.cat([before[-context:], alone[1:]]))
    assert together.shape == apart.shape
    # Wan's autoencoder only looks back, so that what is seen before changes what comes after.
    assert not np.array_equal(together, apart)
    model.generate("a dog", 0)
    assert len(decoded[-1]) == len(alone)


def test_without_masks_and_before_both_ways_of_guidance_are_one():
    model = tiny_model()
    model.clip = ClipSettings(9, (32, 32), (16, 16), steps=2)
    together = model.generate("a dog", 0)
    model.clip = replace(model.clip, guide_all=True)
    assert np.abs(model.generate("a dog", 0).astype(int) - together).max() <= 1


@POSITIONS
def test_masks_and_what_came_before_are_seen(rotary):
    model = tiny_model(rotary)
    torch.nn.init.normal_(model.network.mask.weight)
    plain, masked = model.generate("a dog", 1), model.generate("a dog", 1, moving_masks())
    assert not np.array_equal(plain, masked)
    later = model.generate("a dog", 1, moving_masks(), noise_clip())
    assert later.shape == (9, 32, 32, 3)
    assert not np.array_equal(masked, later)


@pytest.mark.parametrize("wan", [True, False])
def test_latents_are_scaled_as_their_autoencoder_says(wan):
    model = tiny_model(wan=wan)
    frames = noise_clip()
    latents = model.encode(frames)
    assert latents.shape == (3, CHANNELS, 4, 4)
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.no_grad():
        raw = model.autoencoder.encode(pixels).latent_dist.mode()[0].transpose(0, 1)
    assert torch.allclose(latents, (raw - 0.1) / 1.5 if wan else raw * 0.7, atol=1e-6)
    assert model.decode(latents).shape == frames.shape


def test_sizes_that_do_not_fit_are_refused():
    for clip, wan, said in (
        (ClipSettings(6, (32, 32), (16, 16)), True, "4 and 1 more"),
        (ClipSettings(5, (32, 32), (16, 16)), False, "8 and 1 more"),
        (ClipSettings(9, (32, 32), (16, 16), context=-1), True, "context"),
        (ClipSettings(9, (32, 32), (16, 16), fade=-1), True, "fade"),
        (ClipSettings(9, (32, 32), (16, 16), guidance_rescale=1.5), True, "guidance_rescale"),
        (ClipSettings(9, (32, 32), (16, 16), guide_masks=9.0), True, "guide_masks"),
        (ClipSettings(9, (32, 32), (16, 16), guide_away=0.5), True, "guide_away"),
        (ClipSettings(9, (32, 32), (16, 16), guide_all=True, guide_masks=9.0, guide_away=1.5), True, "0 to 1"),
        (ClipSettings(9, (32, 32), (16, 16), context=2), False, "odd, or 0"),
        (ClipSettings(9, (40, 32), (16, 16)), True, "multiples of 16"),
        (ClipSettings(9, (32, 32), (8, 16)), True, "small size"),
    ):
        model = tiny_model(wan=wan)
        with pytest.raises(InputError, match=said):
            CogVideoX(model.network, model.autoencoder, model.text_encoder, model.scheduler, clip)


def test_an_autoencoder_of_other_latents_is_refused():
    model = tiny_model()
    model.autoencoder.register_to_config(z_dim=16)
    with pytest.raises(InputError, match="16 channels"):
        CogVideoX(model.network, model.autoencoder, model.text_encoder, model.scheduler, CLIP)


# masks


def test_masks_are_drawn_in_their_colours_the_first_in_front():
    masks = np.zeros((1, 2, 4, 4), bool)
    masks[0, 0, :2], masks[0, 1, 1:3] = True, True
    drawn = mask_pictures(masks, (4, 4))[0]
    assert (drawn[:2] == 255).all()
    assert (drawn[2] == (255, 0, 0)).all()
    assert (drawn[3] == 0).all()


@given(st.integers(1, 4), st.integers(1, 8))
def test_scaling_masks_up_by_whole_numbers_repeats_pixels(scale, things):
    masks = np.random.default_rng(things).random((2, things, 6, 8)) < 0.3
    drawn = mask_pictures(masks, (8, 6))
    assert np.array_equal(
        mask_pictures(masks, (8 * scale, 6 * scale)), drawn.repeat(scale, axis=1).repeat(scale, axis=2)
    )


def test_masks_of_another_shape_or_too_many_are_refused():
    with pytest.raises(InputError, match="same shape"):
        mask_pictures(np.ones((1, 1, 4, 8), bool), (8, 8))
    with pytest.raises(InputError, match="at most 8"):
        mask_pictures(np.ones((1, 9, 4, 4), bool), (4, 4))


@pytest.mark.parametrize(("covered", "known"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (20, 3)])
def test_latent_frames_that_masks_do_not_wholly_cover_say_nothing(covered, known):
    model = tiny_model()
    whole, part = model.encode_masks(moving_masks()), model.encode_masks(moving_masks(covered))
    assert (part[known:] == 0).all()
    assert torch.equal(part[:known], whole[:known])
    assert part[:known].abs().amax((1, 2, 3)).gt(0).all()


# prompts


def test_prompts_are_read_in_order_and_end_in_zeros(caplog):
    encoder = TokenPrompts(TOKENS)
    one, turned, nothing = encoder.encode(["red dog", "dog red", ""])
    assert one.shape == (TOKENS, 128)
    assert (nothing == 0).all()
    assert (one[2:] == 0).all()
    assert not torch.allclose(one[0], turned[1])
    assert not caplog.records
    encoder.encode(["one two three four five six seven"])
    assert "after the first 6" in caplog.text


def tiny_t5():
    """T5 of a few thousand weights and a tokenizer of a few words."""
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "red": 4, "dog": 5}
    split = Tokenizer(WordLevel(words, unk_token="<unk>"))
    split.pre_tokenizer = Whitespace()
    split.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=split, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(4)
    config = T5Config(d_model=64, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=8)
    return tokenizer, T5EncoderModel(config).eval()


def test_t5_reads_prompts_as_in_diffusers_pipeline(tmp_path, caplog):
    folder = save_tiny_folder(tmp_path / "tiny", text_embed_dim=64)
    with pytest.raises(InputError, match="no text_encoder"):
        load_cogvideox(folder, clip=CLIP)
    tokenizer, model = tiny_t5()
    tokenizer.save_pretrained(folder / "tokenizer")
    model.save_pretrained(folder / "text_encoder")
    found = load_cogvideox(folder, clip=CLIP).text_encoder.encode(["", "a red dog"])
    pipeline = CogVideoXPipeline(tokenizer, model, None, tiny_transformer(), CogVideoXDDIMScheduler())
    with torch.no_grad():
        text, empty = pipeline.encode_prompt("a red dog", max_sequence_length=TOKENS)
    assert torch.equal(found, torch.cat([empty, text]))
    T5Prompts(tokenizer, model, TOKENS).encode(["a red red red red red dog"])
    assert "after the first 6" in caplog.text


# files


@pytest.fixture
def adapted(tmp_path):
    folder = save_tiny_folder(tmp_path / "tiny")
    network = MVideoTransformer(tiny_transformer())
    add_lora(network, 4)
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1 if "lora" in name else 0.3)
    save_adapter(network, tmp_path / "adapter", "tiny", weights_hash(folder / "transformer"))
    return folder, tmp_path / "adapter", network


@torch.no_grad()
def test_a_folder_and_its_adapter_come_back(adapted):
    folder, adapter, network = adapted
    plain, loaded = load_cogvideox(folder, clip=CLIP), load_cogvideox(folder, adapter, clip=CLIP)
    assert plain.identity != loaded.identity
    latents, text, time, masks, before = random_inputs()
    expected, found = (
        network.eval()(latents, text, time, masks, before),
        loaded.network(latents, text, time, masks, before),
    )
    assert torch.allclose(found, expected, atol=2e-2)
    assert not torch.allclose(found, plain.network(latents, text, time, masks, before), atol=2e-2)
    with lora_off(loaded.network):
        base = loaded.network(latents, text, time)
    assert torch.equal(base, plain.network(latents, text, time))


def test_the_adapter_of_another_base_is_refused(adapted, tmp_path, caplog):
    folder, adapter, _ = adapted
    other = save_tiny_folder(tmp_path / "other", seed=9)
    with pytest.raises(InputError, match="trained on tiny"):
        load_cogvideox(other, adapter, clip=CLIP)
    renamed = folder.rename(tmp_path / "renamed")
    load_cogvideox(renamed, adapter, clip=CLIP)
    other.rename(tmp_path / "tiny")
    load_cogvideox(tmp_path / "tiny", adapter, clip=CLIP)
    assert "other weights" in caplog.text


def test_an_adapter_that_does_not_fit_or_is_damaged_is_refused(adapted, tmp_path):
    _, adapter, _ = adapted
    with pytest.raises(InputError, match="does not fit"):
        load_cogvideox(save_tiny_folder(tmp_path / "more" / "tiny", num_layers=3), adapter, clip=CLIP)
    (adapter / LORA_FILE).write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_cogvideox(tmp_path / "tiny", adapter, clip=CLIP)


def test_folders_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(InputError, match="no model folder"):
        load_cogvideox(tmp_path)
    folder = save_tiny_folder(tmp_path / "tiny")
    CogVideoXDDIMScheduler().save_pretrained(folder / "scheduler")
    with pytest.raises(InputError, match="predicts epsilon"):
        load_cogvideox(folder, clip=CLIP)


def test_the_sampler_can_be_chosen(tmp_path):
    folder = save_tiny_folder(tmp_path / "tiny")
    loaded = load_cogvideox(folder, clip=CLIP, sampler="dpm")
    assert isinstance(loaded.scheduler, CogVideoXDPMScheduler)
    assert loaded.scheduler.config.prediction_type == "v_prediction"


def test_the_lora_file_is_named_as_diffusers_and_peft_name_it(adapted):
    _, adapter, _ = adapted
    found = CogVideoXPipeline.lora_state_dict(adapter)
    expected = {
        f"transformer.transformer_blocks.{block}.attn1.{layer}.lora_{matrix}.weight"
        for block in range(2) for layer in ("to_q", "to_k", "to_v", "to_out.0") for matrix in "AB"
    }  # fmt: skip
    assert set(found) == expected
    named = {name.removeprefix("transformer."): value for name, value in found.items()}
    ranks = {f"^{name}": value.shape[1] for name, value in named.items() if "lora_B" in name}
    taken = get_peft_kwargs(ranks, None, named)  # what diffusers' loader tells peft
    assert (taken["r"], taken["lora_alpha"]) == (4, 4)
    assert set(taken["target_modules"]) == {name.split(".lora_")[0].removeprefix("transformer.") for name in expected}


@torch.no_grad()
def test_the_lora_file_loads_through_diffusers_own_loader(adapted):
    folder, adapter, network = adapted
    base = CogVideoXTransformer3DModel.from_pretrained(folder / "transformer").eval()
    pipeline = CogVideoXPipeline(None, None, tiny_autoencoder(False), base, CogVideoXDDIMScheduler())
    pipeline.load_lora_weights(adapter)
    latents, text, time, *_ = random_inputs()
    assert torch.allclose(base(latents, text, time).sample, network.eval()(latents, text, time), atol=2e-2)
