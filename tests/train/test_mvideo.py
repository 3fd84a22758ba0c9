"""Training on CogVideoX: what a step sees, what a gradient reaches, that it learns, and that a stopped run goes on."""

import copy
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from clips_to_train import clip, write
from test_cogvideox import CLIP, moving_masks, random_inputs, save_tiny_folder, tiny_model, tiny_transformer

from kinema.errors import InputError
from kinema.reinforce.cogvideox import ClipSettings, load_cogvideox
from kinema.reinforce.cogvideox_lora import LORA_FILE, MVIDEO_FILE, add_lora, lora_off
from kinema.reinforce.cogvideox_network import MVideoTransformer
from kinema.train.loop import LoopConfig, rng_for, train
from kinema.train.mvideo import (
    STILLS_A_CLIP,
    BaseTrainConfig,
    Batch,
    Example,
    MVideoTrainConfig,
    WorldClips,
    build_cache,
    draw,
    mvideo_losses,
    noised,
    plain,
    train_base,
    train_mvideo,
    world_example,
)
from kinema.types import MaskSequence
from kinema.world.sampler import World

POSITIONS = pytest.mark.parametrize("rotary", [False, True], ids=["2b", "5b"])
LENGTH = 2 * (CLIP.frames - 1) + 1


def example(number):
    frames = np.random.default_rng(number).integers(0, 255, (LENGTH, 32, 32, 3), np.uint8)
    return Example(frames, moving_masks(LENGTH), ("a dog", "a red ball")[number % 2])


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def cache(model, tmp_path_factory):
    return build_cache(example, model, tmp_path_factory.mktemp("cache"), 3)


def adapted(rotary=False, rank=4):
    network = MVideoTransformer(tiny_transformer(rotary)).train()
    torch.manual_seed(1)
    return network, add_lora(network, rank)


def fixed_batch(with_before=True):
    latents, text, _, masks, before = random_inputs()
    return Batch(latents, masks, before if with_before else None, ("", "")), text


# data


def test_the_cache_holds_what_the_model_will_see(cache, model):
    one, step = example(1), CLIP.frames - 1
    assert np.allclose(cache.latents[1], model.encode(one.frames[step:]), atol=2e-3)
    before = model.encode_before(one.frames[: step + 1])
    assert np.allclose(cache.previous[1], before.clip[0], atol=2e-3)
    assert np.allclose(cache.last_frames[1], model.encode(one.frames[step : step + 1]), atol=2e-3)
    masks = MaskSequence(one.masks.masks[step:], one.masks.labels, 8.0)
    assert np.allclose(cache.masks[1], model.encode_masks(masks), atol=2e-3)
    assert cache.captions == ("a dog", "a red ball", "a dog")


def test_a_cache_is_built_once_and_refuses_other_settings(model, tmp_path):
    asked = []

    def counted(number):
        asked.append(number)
        return example(number)

    build_cache(counted, model, tmp_path, 2)
    again = build_cache(counted, model, tmp_path, 2)
    assert asked == [0, 1]
    assert again.captions == ("a dog", "a red ball")
    with pytest.raises(InputError, match="another folder"):
        build_cache(counted, model, tmp_path, 3)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
def test_a_cache_whose_clips_other_processes_make_is_the_same(cache, model, tmp_path):
    made = build_cache(example, model, tmp_path, 3, workers=2)
    assert made.captions == cache.captions
    assert all(
        np.array_equal(getattr(made, n), getattr(cache, n)) for n in ("latents", "masks", "last_frames", "previous")
    )


def test_a_clip_of_the_world_has_masks_of_what_is_seen():
    clip = ClipSettings(5, (32, 32), (16, 16))
    made = world_example(World.load(), clip, 1)
    assert made.frames.shape == (9, 32, 32, 3)
    assert made.masks.masks.shape[0] == 9
    assert made.masks.masks.any()
    assert (made.masks.masks.sum(1) <= 1).all()
    assert made.caption


def test_a_batch_is_a_function_of_the_step_alone(cache):
    def same(a, b):
        return torch.equal(a.latents, b.latents) and torch.equal(a.masks, b.masks) and a.captions == b.captions

    assert same(draw(cache, rng_for(0, 7), 4), draw(cache, rng_for(0, 7), 4))
    assert not same(draw(cache, rng_for(0, 7), 4), draw(cache, rng_for(0, 8), 4))


def test_conditions_are_left_out_as_often_as_they_should(cache):
    batches = [draw(cache, rng_for(0, step), 8) for step in range(100)]
    known = torch.cat([b.masks.abs().amax((2, 3, 4)) > 0 for b in batches])
    assert (~known.any(1)).float().mean().item() == pytest.approx(0.1, abs=0.04)
    assert known.all(1).float().mean().item() == pytest.approx(0.7 + 0.2 / 3, abs=0.06)
    assert (known[:, 0] >= known[:, -1]).all()
    assert np.mean([b.before is not None for b in batches]) == pytest.approx(0.5, abs=0.15)
    assert np.mean([c == "" for b in batches for c in b.captions]) == pytest.approx(0.1, abs=0.04)


def test_stills_are_first_frames_and_more_of_them(cache):
    batches = [draw(cache, rng_for(0, step), 2, stills=0.5) for step in range(40)]
    stills = [b for b in batches if b.latents.shape[1] == 1]
    assert len(stills) / len(batches) == pytest.approx(0.5, abs=0.25)
    for batch in stills:
        assert len(batch.latents) == len(batch.captions) == 2 * STILLS_A_CLIP
        assert batch.before is None
        assert any(torch.equal(batch.latents[0, 0], torch.from_numpy(v[0]).float()) for v in cache.latents)
    assert any(b.before is not None for b in batches)


# the loss


def test_the_target_is_v_and_leads_back_to_the_latents(model):
    latents = torch.randn(2, 3, 4, 4, 4)
    noisy, v, times = noised(model.scheduler, latents, rng_for(0, 0))
    alpha = model.scheduler.alphas_cumprod[times].float()[:, None, None, None, None]
    assert torch.allclose(alpha.sqrt() * noisy - (1 - alpha).sqrt() * v, latents, atol=1e-5)


@POSITIONS
def test_consistency_is_exactly_zero_before_training_and_not_after(rotary, model):
    network, adapter = adapted(rotary)
    batch, text = fixed_batch(with_before=False)
    before = mvideo_losses(network, model.scheduler, text, batch, rng_for(0, 0), True)
    assert before.consistency.item() == 0
    assert before.diffusion.item() > 0
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    after = mvideo_losses(network, model.scheduler, text, batch, rng_for(0, 0), True)
    assert after.consistency.item() > 0
    assert mvideo_losses(network, model.scheduler, text, batch, rng_for(0, 0), False).consistency.item() == 0


@POSITIONS
def test_the_teacher_is_the_frozen_base(rotary, model):
    """The consistency loss is the distance to a copy of the base that was never touched."""
    network, adapter = adapted(rotary)
    untouched = MVideoTransformer(tiny_transformer(rotary)).train()
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    batch, text = fixed_batch()
    found = mvideo_losses(network, model.scheduler, text, batch, rng_for(0, 0), True)
    noisy, _, times = noised(model.scheduler, batch.latents, rng_for(0, 0))
    distance = network(noisy, text, times, batch.masks, batch.before) - untouched(noisy, text, times)
    assert found.consistency.item() == pytest.approx(distance.square().mean().item(), rel=1e-5)


@POSITIONS
def test_a_gradient_reaches_only_what_is_to_be_trained(rotary, model):
    network, _ = adapted(rotary)
    batch, text = fixed_batch()
    losses = mvideo_losses(network, model.scheduler, text, batch, rng_for(0, 0), True)
    (losses.diffusion + losses.consistency).backward()
    reached = {name for name, weight in network.named_parameters() if weight.grad is not None}
    assert reached == {
        name for name, _ in network.named_parameters() if ".lora_" in name or name in ("mask.weight", "kinds")
    }
    moved = {name for name in reached if network.get_parameter(name).grad.abs().max() > 0}
    assert moved == {name for name in reached if ".lora_A." not in name}  # while B is zero, A is not felt


def test_gradients_are_the_same_where_they_are_computed_twice_to_save_memory(model):
    network, adapter = adapted()
    batch, text = fixed_batch()
    grads = []
    for saving in (False, True):
        if saving:
            network.base.enable_gradient_checkpointing()
        network.zero_grad()
        mvideo_losses(network, model.scheduler, text, batch, rng_for(0, 0), True).diffusion.backward()
        grads.append([weight.grad.clone() for weight in adapter.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*grads, strict=True))


@POSITIONS
def test_it_learns_one_batch(rotary, model):
    network, adapter = adapted(rotary)
    batch, text = fixed_batch()
    optimizer = torch.optim.Adam(adapter.parameters(), lr=3e-2)
    losses = []
    for _ in range(30):
        loss = mvideo_losses(network, model.scheduler, text, batch, rng_for(1, 0), False).diffusion
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_consistency_loss_keeps_the_adapter_near_the_base(model):
    def distance(alpha):
        network, adapter = adapted()
        batch, text = fixed_batch(with_before=False)
        optimizer = torch.optim.Adam(adapter.parameters(), lr=1e-2)
        for _ in range(20):
            losses = mvideo_losses(network, model.scheduler, text, batch, rng_for(1, 0), True)
            optimizer.zero_grad()
            (losses.diffusion + alpha * losses.consistency).backward()
            optimizer.step()
        return mvideo_losses(network, model.scheduler, text, batch, rng_for(1, 0), True).consistency.item()

    assert distance(10.0) < 0.5 * distance(0.0)


def test_plain_batches_have_no_conditions(model):
    network, _ = adapted()
    torch.nn.init.normal_(network.mask.weight)
    batch, text = fixed_batch()
    with torch.no_grad(), lora_off(network):
        noisy, target, times = noised(model.scheduler, batch.latents, rng_for(0, 0))
        expected = (network(noisy, text, times) - target).square().mean()
        found = mvideo_losses(network, model.scheduler, text, plain(batch), rng_for(0, 0), False).diffusion
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


# runs


def test_a_stopped_run_goes_on_bit_for_bit_and_holds_no_frozen_weight(cache, model, tmp_path):
    def run(folder, stop=None):
        network, adapter = adapted()

        def loss(step):
            if step == stop:
                raise KeyboardInterrupt
            rng = rng_for(0, step)
            batch = draw(cache, rng, 2)
            text = model.text_encoder.encode(batch.captions)
            losses = mvideo_losses(network, model.scheduler, text, batch, rng, True)
            return losses.diffusion + losses.consistency

        train(adapter, loss, LoopConfig(steps=4, checkpoint_every=2, warmup=1, weight_decay=0.0), folder)
        return copy.deepcopy(network.state_dict())

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop=3)
    resumed = run(tmp_path / "stopped")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    fresh = adapted()[0].state_dict()
    changed = {name for name in whole if not torch.equal(whole[name], fresh[name])}
    assert {"mask.weight", "kinds"} < changed
    assert all(".lora_" in name or name in ("mask.weight", "kinds") for name in changed)
    assert (tmp_path / "whole" / "checkpoint.safetensors").stat().st_size < 10 * sum(
        value.numel() * 4 for name, value in whole.items() if name in changed
    )


def test_a_base_then_its_adapter_from_the_command_down(tmp_path):
    start = save_tiny_folder(tmp_path / "start")
    (start / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    data, short = WorldClips(tmp_path / "cache", 2), LoopConfig(steps=2, warmup=1)
    base = train_base(
        BaseTrainConfig(tmp_path / "run1", start, data, tmp_path / "base", CLIP, batch=2, loop=short), example
    )
    adapter = train_mvideo(
        MVideoTrainConfig(tmp_path / "run2", base, data, tmp_path / "adapter", CLIP, 4, batch=2, loop=short), example
    )
    assert {path.name for path in adapter.iterdir()} == {LORA_FILE, MVIDEO_FILE, "card.json", "card.md"}
    assert str(tmp_path) not in (base / "vae" / "config.json").read_text()
    loaded = load_cogvideox(base, adapter, clip=CLIP)
    assert loaded.network.mask.weight.abs().max() > 0
    found = loaded.generate("a dog", 1, moving_masks(), example(0).frames[:9])
    assert found.shape == (9, 32, 32, 3)
    log = [json.loads(line) for line in (tmp_path / "run2" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 2


def test_an_adapter_is_gone_on_from_on_a_base_that_was_trained_on(tmp_path, caplog):
    bases = [save_tiny_folder(tmp_path / name / "tiny") for name in ("first", "second")]
    weights = bases[1] / "transformer" / "diffusion_pytorch_model.safetensors"
    safetensors.torch.save_file(
        {k: v + 1e-3 for k, v in safetensors.torch.load_file(weights).items()}, weights, {"format": "pt"}
    )
    data = WorldClips(tmp_path / "cache", 2)

    def adapter(run, base, rate, start=None, rank=4):
        loop = LoopConfig(steps=2, warmup=1, learning_rate=rate, weight_decay=0.0)
        out = tmp_path / f"{run}_out"
        config = MVideoTrainConfig(tmp_path / run, base, data, out, CLIP, rank, start=start, batch=2, loop=loop)
        return safetensors.torch.load_file(train_mvideo(config, example) / LORA_FILE), out

    first, started = adapter("run1", bases[0], 1e-2)
    kept, _ = adapter("run2", bases[1], 0.0, started, rank=8)
    assert "other weights of tiny" in caplog.text
    assert first.keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in first.items())
    moved, _ = adapter("run3", bases[1], 1e-2, started)
    assert not all(torch.equal(value, moved[name]) for name, value in first.items())


def test_from_annotated_shards_to_an_adapter(tmp_path):
    """Clips of twice a clip's time at the model's rate; one that is too short is counted. A video is made on the way."""
    base, frames = save_tiny_folder(tmp_path / "base"), 2 * (LENGTH - 1) + 1
    shards = tmp_path / "shards"
    shards.mkdir()
    clips = (clip("a", frames, (32, 32)), clip("b", frames, (32, 32), caption="a red ball"), clip("c", 5, (32, 32)))
    write(shards / "clips-0.tar", *clips)
    short = LoopConfig(steps=2, warmup=1, checkpoint_every=1)
    asked = MVideoTrainConfig(
        tmp_path / "run", base, WorldClips(tmp_path / "cache"), tmp_path / "adapter", CLIP, 4, batch=2, at_once=1,
        shards=(shards,), on_bad="skip", evaluate_every=2, loop=short,
    )  # fmt: skip
    adapter = train_mvideo(asked)
    assert load_cogvideox(base, adapter, clip=CLIP).network.mask.weight.abs().max() > 0
    card = json.loads((adapter / "card.json").read_text())
    assert (card["data"]["clips"], card["steps"]) == ({"used": 2, "too short": 1, "clips": 3}, 2)
    assert (tmp_path / "run/samples/sample_000002.mp4").exists()


def test_a_base_without_a_configuration_is_refused(tmp_path):
    config = BaseTrainConfig(tmp_path / "run", tmp_path, WorldClips(tmp_path / "cache"))
    with pytest.raises(InputError, match="no transformer"):
        train_base(config, example)


def test_captures_that_are_too_short_are_refused(tmp_path):
    start = save_tiny_folder(tmp_path / "start")
    long = ClipSettings(33, (32, 32), (16, 16))
    config = MVideoTrainConfig(tmp_path / "run", start, WorldClips(tmp_path / "cache"), clip=long)
    with pytest.raises(InputError, match="at most 32 frames"):
        train_mvideo(config)


def test_the_full_presets_numbers_are_the_papers(tmp_path):
    config = MVideoTrainConfig(tmp_path, tmp_path, WorldClips(tmp_path))
    assert (config.batch, config.alpha, config.loop.learning_rate, config.loop.steps) == (64, 1.0, 2e-4, 10_000)
    assert (config.clip.size, config.clip.small_size, config.clip.fps) == ((720, 480), (384, 256), 8.0)
    assert (config.clip.frames - 1) / config.clip.fps == 4.0
    assert config.loop.weight_decay == 0
