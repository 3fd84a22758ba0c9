"""What is saved, on tiny random weights: fewer forwards, frames that stay near, the plain model afterwards, bit for bit."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler
from test_cogvideox import moving_masks, tiny_model
from test_cogvideox_fun import CONTROL, PICTURE, tiny_pipeline
from test_cogvideox_fun import SAMPLING as FUN
from test_vace import SAMPLING as VACE
from tiny_svd import tiny_svd_pipeline, tiny_unet
from tiny_wan import tiny_vace_pipeline, tiny_wan_pipeline

from kinema.cli import main
from kinema.errors import InputError
from kinema.presets import CLIP_PRESETS, PRESETS, find_preset, in_parts
from kinema.reinforce import svd, vace, wan
from kinema.reinforce.backbone import Sampling
from kinema.reinforce.cogvideox_fun import CogVideoXFun
from kinema.reinforce.speed import (
    QUALITY,
    Deep,
    FirstBlock,
    Magnitude,
    Speed,
    Taylor,
    check_compiler,
    noise_of,
)
from kinema.reinforce.speed_levels import SPEEDS, speed_of
from kinema.reinforce.svd_cache import deep_cache

ALWAYS = 1e9
"""A threshold that everything is below."""


@contextmanager
def counted(*modules):
    """How often each module runs."""
    counts = [0] * len(modules)

    def count(index):
        def hook(module, given, named):
            counts[index] += 1

        return hook

    handles = [m.register_forward_pre_hook(count(k), with_kwargs=True) for k, m in enumerate(modules)]
    yield counts
    for handle in handles:
        handle.remove()


def apart(first, second):
    """Mean difference of two clips, levels of 255."""
    return np.abs(first.astype(int) - second).mean()


@pytest.fixture(scope="module")
def svd_model():
    pipeline = tiny_svd_pipeline()
    parts = pipeline.unet, pipeline.vae, pipeline.image_encoder, pipeline.scheduler
    return svd.Svd(*parts, mini=False, constraints=svd.CONSTRAINTS)


SVD = Sampling(frames=4, size=(64, 64), steps=6, seed=5, fps=7.0, guidance=3.0)
SQUARE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


def svd_frames(model, **speed):
    return model.generate(SQUARE, replace(SVD, speed=Speed(**speed)))


def test_the_deep_cache_runs_the_deep_blocks_in_every_other_step_and_stays_near(svd_model):
    plain, unet = svd_frames(svd_model), svd_model.unet
    with counted(unet.down_blocks[0], unet.mid_block, unet.up_blocks[-1]) as counts:
        found = svd_frames(svd_model, cache=Deep(2))
    assert counts == [6, 6, 6]
    with counted(unet.mid_block.resnets[0], unet.down_blocks[1].resnets[0], unet.up_blocks[0].resnets[0]) as counts:
        svd_frames(svd_model, cache=Deep(2))
    assert counts == [3, 3, 3]
    other = svd_model.generate(SQUARE, replace(SVD, seed=6))
    assert 0 < apart(found, plain) < apart(other, plain) / 2
    assert np.array_equal(svd_frames(svd_model, cache=Deep(1)), plain)
    assert np.array_equal(svd_frames(svd_model), plain)


def test_the_deep_cache_begins_anew_with_every_run_batch_and_size():
    unet = tiny_unet()
    x, context, ids = torch.randn(2, 4, 8, 8, 8), torch.randn(2, 1, 16), torch.rand(2, 3)
    with torch.inference_mode():
        expected = [unet(x[:n], 0.3, context[:n], ids[:n]).sample for n in (2, 1)]
        with deep_cache(unet, 2):
            assert torch.equal(unet(x, 0.3, context, ids).sample, expected[0])
            assert torch.equal(unet(x[:1], 0.3, context[:1], ids[:1]).sample, expected[1])
            shallow = unet(x[:1], 0.9, context[:1], ids[:1]).sample
            assert not torch.equal(shallow, unet(x[:1], 0.9, context[:1], ids[:1]).sample)
        with deep_cache(unet, 2):
            assert torch.equal(unet(x[:1], 0.3, context[:1], ids[:1]).sample, expected[1])
    assert "forward" not in unet.mid_block.__dict__


def test_a_run_that_fails_leaves_the_unet_as_it_was(svd_model):
    plain = svd_frames(svd_model)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        svd_model.generate(SQUARE, replace(SVD, speed=Speed(cache=Deep(2))), progress=stop)
    assert np.array_equal(svd_frames(svd_model), plain)


def test_svd_is_guided_only_within_the_interval(svd_model):
    plain, first = svd_frames(svd_model), svd_model.unet.conv_in
    batches = []
    handle = first.register_forward_pre_hook(lambda module, given: batches.append(len(given[0]) // SVD.frames))
    svd_frames(svd_model, guided=(1.0, 50.0))
    handle.remove()
    svd_model.scheduler.set_timesteps(SVD.steps)
    sigmas = svd_model.scheduler.sigmas[:-1]
    assert batches == [2 if 1 <= s <= 50 else 1 for s in sigmas]
    assert {1, 2} == set(batches)
    assert np.array_equal(svd_frames(svd_model, guided=(0.0, 1e9)), plain)
    alone = svd_model.generate(SQUARE, replace(SVD, guidance=1.0))
    assert apart(svd_frames(svd_model, guided=(1e8, 1e9)), alone) < 0.01


def test_dpm_takes_svds_own_noise_and_comes_to_the_same_end(svd_model):
    """Many steps of either lead to much the same; few of DPM++ nearer to it than few of Euler."""
    most = replace(SVD, steps=30, guidance=1.0)
    far = svd_model.generate(SQUARE, most)
    few = {
        name: svd_model.generate(SQUARE, replace(most, steps=6, speed=Speed(sampler=name))) for name in (None, "dpm++")
    }
    assert apart(few["dpm++"], far) < apart(few[None], far)
    clip = np.random.default_rng(3).integers(0, 255, (4, 64, 64, 3), np.uint8)
    still = replace(SVD, start_noise=0.0201, start_steps=1)
    starts = [
        svd_model.generate(SQUARE, replace(still, speed=s), start=clip) for s in (QUALITY, Speed(sampler="dpm++"))
    ]
    assert apart(*starts) < 1


@pytest.fixture(scope="module")
def models():
    """Each with its sampling and what it is given besides the picture."""
    moving = np.random.default_rng(1).integers(0, 255, (9, 32, 48, 3), np.uint8)
    made = {
        "wan": (wan.Wan(tiny_wan_pipeline()), VACE, None),
        "vace": (vace.Vace(tiny_vace_pipeline()), VACE, moving),
        "fun": (CogVideoXFun(tiny_pipeline()), FUN, CONTROL),
    }
    for model, _, _ in made.values():
        model.pipeline.set_progress_bar_config(disable=True)
    return made


def frames_of(models, name, steps=6, **speed):
    model, sampling, condition = models[name]
    sampling = replace(sampling, steps=steps, speed=Speed(**speed))
    return model.generate(PICTURE, sampling, condition, prompt="a woman waves")


def blocks(models, name):
    network = models[name][0].pipeline.transformer
    return network.transformer_blocks if name == "fun" else network.blocks


CACHES = {
    "wan": (FirstBlock(ALWAYS), Magnitude((1.0,) * 6, ALWAYS), Taylor(2)),
    "vace": (Taylor(2),),
    "fun": (FirstBlock(ALWAYS), Magnitude((1.0,) * 6, ALWAYS), Taylor(2)),
}


@pytest.mark.parametrize(("name", "cache"), [(name, cache) for name, all_ in CACHES.items() for cache in all_])
def test_caches_of_diffusers_save_blocks_and_leave_nothing_behind(models, name, cache):
    plain = frames_of(models, name)
    last = blocks(models, name)[-1]
    inner = last.norm1
    with counted(inner) as whole:
        frames_of(models, name)
    with counted(inner) as counts:
        found = frames_of(models, name, cache=cache)
    assert counts[0] < whole[0]
    other = models[name][0].generate(
        PICTURE, replace(models[name][1], steps=6, seed=6), models[name][2], prompt="a woman waves"
    )
    assert apart(found, plain) < apart(other, plain)
    assert np.array_equal(frames_of(models, name, cache=cache), found)
    assert np.array_equal(frames_of(models, name), plain)


@pytest.mark.parametrize(
    ("name", "cache"), [("wan", FirstBlock(0.0)), ("fun", Magnitude((0.9,) * 6, 0.0)), ("vace", Taylor(1))]
)
def test_a_cache_that_may_skip_nothing_changes_nothing(models, name, cache):
    assert np.array_equal(frames_of(models, name, cache=cache), frames_of(models, name))


@pytest.mark.parametrize("name", ["wan", "vace", "fun"])
def test_guidance_outside_the_interval_costs_no_forward(models, name):
    model, sampling, condition = models[name]
    network = model.pipeline.transformer
    plain = frames_of(models, name)
    first = blocks(models, name)[0]
    seen = []
    handle = first.norm1.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    frames_of(models, name, guided=(0.3, 5.0))
    handle.remove()
    model.pipeline.scheduler.set_timesteps(6)
    inside = [0.3 <= noise_of(model.pipeline.scheduler, t) <= 5.0 for t in model.pipeline.scheduler.timesteps]
    assert 0 < sum(inside) < 6
    assert sum(seen) == sum(2 if one else 1 for one in inside)
    assert np.array_equal(frames_of(models, name, guided=(0.0, 1e12)), plain)
    without = model.generate(PICTURE, replace(sampling, steps=6, guidance=1.0), condition, prompt="a woman waves")
    assert apart(frames_of(models, name, guided=(1e13, 1e14)), without) < 0.01
    assert network._diffusers_hook.hooks == {}


def test_an_interval_and_a_cache_go_together(models):
    """The batch of both prompts and the one of the prompt alone have a cache each."""
    found = frames_of(models, "fun", guided=(0.3, 5.0), cache=FirstBlock(0.0))
    assert np.array_equal(found, frames_of(models, "fun", guided=(0.3, 5.0)))


@pytest.mark.parametrize(("name", "sampler"), [("wan", "dpm++"), ("vace", "dpm++"), ("fun", "unipc"), ("fun", "dpm++")])
def test_another_sampler_comes_nearer_in_few_steps_and_goes_again(models, name, sampler):
    own = models[name][0].pipeline.scheduler
    far = frames_of(models, name, steps=30)
    found = frames_of(models, name, steps=10, sampler=sampler)
    assert not np.array_equal(found, frames_of(models, name, steps=10))
    assert apart(found, far) < 10
    assert models[name][0].pipeline.scheduler is own


def test_what_cannot_be_is_refused(models, svd_model):
    with pytest.raises(InputError, match="no transformer"):
        svd_frames(svd_model, cache=FirstBlock(0.1))
    with pytest.raises(InputError, match="dpm"):
        svd_frames(svd_model, sampler="unipc")
    with pytest.raises(InputError, match="no UNet"):
        frames_of(models, "wan", cache=Deep(2))
    with pytest.raises(InputError, match="twice"):
        frames_of(models, "vace", cache=FirstBlock(0.1))
    for wrong in ({"steps": 0.0}, {"steps": 1.5}, {"guided": (5.0, 1.0)}, {"cache": Deep(0)}):
        with pytest.raises(InputError, match="speed"):
            Speed(**wrong)


def test_the_control_of_vace_would_count_twice(models):
    """Why FirstBlock is refused: with hints of 0 it is right, with others it is not."""
    from diffusers.hooks import FirstBlockCacheConfig

    network = models["vace"][0].pipeline.transformer
    states = [torch.randn(1, 4, 2, 4, 6), torch.randn(1, 72, 2, 4, 6), torch.randn(1, 5, 16)]

    def twice():
        given = {"hidden_states": states[0], "control_hidden_states": states[1], "encoder_hidden_states": states[2]}
        with network.cache_context("cond"):
            return [network(timestep=torch.tensor([500]), **given).sample for _ in range(2)]

    with torch.inference_mode():
        network.enable_cache(FirstBlockCacheConfig(threshold=ALWAYS))
        first, second = twice()
        network.disable_cache()
    assert not torch.allclose(first, second, atol=1e-3)


def test_every_preset_has_its_levels_and_quality_is_the_plain_model():
    assert set(SPEEDS) == {*PRESETS, *CLIP_PRESETS}
    for name, levels in SPEEDS.items():
        assert speed_of(name, "quality") == QUALITY
        assert set(levels) == {"balanced", "fast"}
        assert QUALITY not in levels.values()
    assert find_preset("mini-svd", speed="quality") == find_preset("mini-svd") == PRESETS["mini-svd"]


def test_a_level_takes_its_share_of_every_stages_steps(caplog):
    preset = find_preset("mini-svd", speed=Speed(steps=0.5, guided=(0.1, 1.0)))
    assert (preset.coarse_steps, preset.steps, preset.start_steps) == (2, 6, 2)
    assert "without guidance" in caplog.text


def test_a_model_in_parts_has_no_cache(caplog):
    preset = find_preset("mini-svd", memory="low", speed=Speed(steps=0.5, cache=Deep(2)))
    assert preset.speed == Speed(steps=0.5)
    assert "nothing is cached" in caplog.text
    assert in_parts(Speed(compiled=True, cache=Taylor(2)), "balanced") == QUALITY
    assert in_parts(Speed(cache=Taylor(2)), "fast") == Speed(cache=Taylor(2))


def test_processes_that_share_a_clip_never_decide_apart(monkeypatch, caplog):
    """Each sees its own tokens: one would leave blocks out while another waits for it in them."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert find_preset("mini-svd", speed=Speed(cache=FirstBlock(0.1))).speed == QUALITY
    assert "may not agree" in caplog.text
    assert find_preset("mini-svd", speed=Speed(cache=Taylor(2))).speed.cache == Taylor(2)


def test_without_a_compiler_it_is_said_before_anything_runs(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="no-such-compiler"):
        check_compiler()
    with pytest.raises(InputError, match="compiler"):
        find_preset("mini-svd", speed=Speed(compiled=True))


# CogVideoX with masks


def clip_latents(model, **speed):
    model = replace(model, clip=replace(model.clip, **{"steps": 6, **speed.pop("clip", {})}, speed=Speed(**speed)))
    return model.sample("a dog", 3, model.encode_masks(moving_masks())[None])


@pytest.mark.parametrize("guide_all", [False, True])
def test_a_clip_from_masks_is_guided_only_within_the_interval(guide_all):
    model, clip = tiny_model(rotary=True), {"guide_all": guide_all, "guidance": 5.0}
    plain, batches = clip_latents(model, clip=clip), []
    first = model.network.base.transformer_blocks[0]
    handle = first.register_forward_pre_hook(lambda module, given: batches.append(len(given[0])))
    clip_latents(model, clip=clip, guided=(0.5, 5.0))
    handle.remove()
    model.scheduler.set_timesteps(6)
    inside = sum(0.5 <= noise_of(model.scheduler, t) <= 5.0 for t in model.scheduler.timesteps)
    assert 0 < inside < 6
    assert sum(batches) == 6 + inside
    assert torch.equal(clip_latents(model, clip=clip, guided=(0.0, 1e12)), plain)
    alone = clip_latents(model, clip={"guidance": 1.0})
    assert torch.equal(clip_latents(model, clip=clip, guided=(1e13, 1e14)), alone)


@pytest.mark.parametrize("cache", [FirstBlock(ALWAYS), Magnitude((1.0,) * 6, ALWAYS), Taylor(2)])
@pytest.mark.parametrize("guide_masks", [None, 9.0])
def test_a_clip_from_masks_takes_the_same_caches(cache, guide_masks):
    model, clip = tiny_model(rotary=True), {"guide_all": True, "guidance": 5.0, "guide_masks": guide_masks}
    plain, inner = clip_latents(model, clip=clip), model.network.base.transformer_blocks[-1].ff
    with counted(inner) as counts:
        found = clip_latents(model, clip=clip, cache=cache)
    assert counts[0] < (12 if guide_masks is None else 18)
    other = replace(model, clip=replace(model.clip, steps=6, **clip)).sample("a dog", 4)
    assert (found - plain).abs().mean() < (other - plain).abs().mean()
    assert torch.equal(clip_latents(model, clip=clip), plain)
    assert torch.equal(clip_latents(model, clip=clip, cache=FirstBlock(0.0)), plain)


def test_a_clip_may_be_sampled_by_dpm():
    model, own = tiny_model(), tiny_model(scheduler=CogVideoXDPMScheduler)
    own.scheduler.register_to_config(timestep_spacing="trailing")
    found = clip_latents(model, sampler="dpm++")
    assert torch.equal(found, clip_latents(own))
    assert not torch.equal(found, clip_latents(model))
    with pytest.raises(InputError, match="dpm"):
        clip_latents(model, sampler="unipc")


# torch.compile, and the commands


def test_blocks_are_compiled_for_the_run_alone(svd_model, monkeypatch):
    """By something that stands for the compiler, which takes too long for a test."""
    ran = []

    def compile_(forward):
        return lambda *given, **named: ran.append(forward) or forward(*given, **named)

    monkeypatch.setattr(torch, "compile", compile_)
    plain, unet = svd_frames(svd_model), svd_model.unet
    assert np.array_equal(svd_frames(svd_model, compiled=True), plain)
    assert len(ran) == SVD.steps * (len(unet.down_blocks) + 1 + len(unet.up_blocks))
    ran.clear()
    assert np.array_equal(svd_frames(svd_model, compiled=True, cache=Deep(2)), svd_frames(svd_model, cache=Deep(2)))
    assert 0 < len(ran) < SVD.steps * (len(unet.down_blocks) + 1 + len(unet.up_blocks))
    assert "forward" not in unet.mid_block.__dict__


@pytest.mark.parametrize("command", ["generate", "animate"])
def test_the_commands_take_a_level(command, monkeypatch, tmp_path):
    asked = []

    def stop(*given, **named):
        asked.extend(given)
        raise InputError("it", "stops here")

    monkeypatch.setattr("kinema.revision.generate", stop)
    monkeypatch.setattr("kinema.presets.find_clip_preset", stop)
    name, given = ("mini-svd", ["photo.png"]) if command == "generate" else ("mini-cogvideox", ["--prompt", "a dog"])
    with pytest.raises(SystemExit) as left:
        main([command, *given, "--out", str(tmp_path / "video.mp4"), "--speed", "fast", "--compile"])
    assert left.value.code == 2
    assert speed_of(name, "fast", compiled=True) in asked
