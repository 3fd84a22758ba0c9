"""Clips of shards, encoded once: what is used and what is not, in which order, by whom."""

import json

import numpy as np
import pytest
import torch
from clips_to_train import clip, tall, wordless, write

from kinema.errors import InputError
from kinema.train.loop import LoopConfig, batch_numbers
from kinema.train.shard_cache import BatchOrder, WindowSettings, bucket_size, build_shard_cache, windows_of

SETTINGS = WindowSettings(frames=4, pixels=64 * 128, multiple=32, stride=2)
ASKED = []


def encode(window):
    ASKED.append(window.key)
    small = torch.from_numpy(window.frames[:, ::8, ::8, 0].copy()).half()
    return {"latents": small[:, None], "parts": torch.from_numpy(window.part_ids)}


def build(shards, folder, on_bad="stop", settings=SETTINGS):
    ASKED.clear()
    return build_shard_cache(shards, folder, settings, encode, "an encoder", on_bad)


def test_a_clip_is_cut_into_windows_at_the_model_s_size():
    made = list(windows_of(clip("a", frames=17), SETTINGS))
    assert [len(w.frames) for w in made] == [4, 4]
    assert made[0].fps == 8
    assert made[0].frames.shape == (4, 64, 128, 3) == (*made[0].part_ids.shape, 3)
    whole = clip("a", frames=17)
    assert np.array_equal(made[1].frames, whole.video.frames[8:16:2])
    assert np.array_equal(made[1].part_ids, whole.part_ids[8:16:2])
    assert np.array_equal(made[1].masks.masks, whole.masks[8:16:2])


def test_masks_stay_where_the_picture_is_when_it_is_scaled_and_cropped():
    settings = WindowSettings(frames=4, pixels=96 * 96, multiple=32, stride=1)
    one = next(windows_of(clip("a", hw=(60, 200)), settings))
    red = one.frames[..., 0].astype(int) > 160
    assert (red == one.masks.masks[:, 0]).mean() > 0.97
    assert one.masks.masks.any()


def test_windows_at_a_rate_take_the_nearest_frames():
    settings = WindowSettings(frames=4, pixels=64 * 128, multiple=32, fps=8.0)
    whole = clip("a", frames=13, fps=24.0)
    assert np.array_equal(next(windows_of(whole, settings)).frames, whole.video.frames[0:12:3])
    with pytest.raises(InputError, match="too few frames"):
        next(windows_of(clip("a", fps=4.0), settings))
    with pytest.raises(InputError, match="too short"):
        next(windows_of(clip("a", frames=9, fps=24.0), settings))


@pytest.mark.parametrize(
    ("hw", "size"), [((576, 1024), (1024, 576)), ((1920, 1080), (576, 1024)), ((500, 500), (768, 768))]
)
def test_sizes_are_of_a_few_shapes(hw, size):
    assert bucket_size(hw, WindowSettings(16, 1024 * 576, 64)) == size


def test_a_stopped_build_goes_on_at_its_shard(tmp_path, monkeypatch):
    shards = [write(tmp_path / f"clips-{k}.tar", clip(f"a{k}"), clip(f"b{k}")) for k in range(3)]
    whole = build(shards, tmp_path / "whole")

    def dies(window):
        if window.key == "b1":
            raise KeyboardInterrupt
        return encode(window)

    with pytest.raises(KeyboardInterrupt):
        build_shard_cache(shards, tmp_path / "cache", SETTINGS, dies, "an encoder")
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 1
    again = build(shards, tmp_path / "cache")
    assert ASKED == ["a1", "b1", "a2", "b2"]
    assert again.counts == whole.counts == {"clips": 6, "used": 6}
    for index in range(6):
        ours, theirs = again.read(index), whole.read(index)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert build(shards, tmp_path / "cache").examples == again.examples
    assert ASKED == []
    with pytest.raises(InputError, match="a cache of other shards"):
        build(shards[:2], tmp_path / "cache")
    with pytest.raises(InputError, match="a cache of other windows"):
        build(shards, tmp_path / "cache", settings=WindowSettings(3, 64 * 128, 32, stride=2))


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def empty(path):
    path.write_bytes(b"")
    return path


def of_another_schema(path):
    import kinema.annotate.codec as codec

    kept, codec.SCHEMA = codec.SCHEMA, 99
    try:
        return write(path, clip("old"))
    finally:
        codec.SCHEMA = kept


WORDS = WindowSettings(frames=4, pixels=64 * 128, multiple=32, stride=2, captions=True)
BAD = {
    "cut": (
        lambda p: cut_in_half(write(p, clip("c0"), clip("c1"))),
        SETTINGS,
        "key 'c[01]': is where the shard is cut",
    ),
    "empty": (empty, SETTINGS, "is empty"),
    "schema": (of_another_schema, SETTINGS, "key 'old': is of schema 99"),
    "caption": (lambda p: write(p, wordless("quiet")), WORDS, "key 'quiet': is without caption"),
    "short": (lambda p: write(p, clip("brief", frames=3)), SETTINGS, "key 'brief': is too short"),
    "twice": (lambda p: write(p, clip("good")), SETTINGS, "key 'good': is in 00000-clips-0 too"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_bad_stops_with_shard_and_key_or_is_counted(kind, tmp_path):
    make, settings, words = BAD[kind]
    shards = [write(tmp_path / "clips-0.tar", clip("good"), clip("fine")), make(tmp_path / "clips-1.tar")]
    with pytest.raises(InputError, match=words) as stopped:
        build(shards, tmp_path / "stops", settings=settings)
    assert "clips-1" in str(stopped.value)
    cache = build(shards, tmp_path / "skips", "skip", settings)
    counts = dict(cache.counts)
    clips = counts.pop("clips")
    assert clips == sum(counts.values())
    assert clips > counts["used"] >= 2
    assert len({e.about["key"] for e in cache.examples}) == len(cache)


def test_nothing_to_train_on_is_said(tmp_path):
    with pytest.raises(InputError, match="no clip that can be used"):
        build([write(tmp_path / "clips-0.tar", clip("a", frames=2))], tmp_path / "cache", "skip")


# order


def test_an_epoch_holds_each_example_once_and_a_batch_one_size(tmp_path):
    clips = [clip(f"wide{k}") for k in range(5)] + [tall(f"tall{k}") for k in range(3)]
    cache = build([write(tmp_path / "clips-0.tar", *clips)], tmp_path / "cache")
    order = cache.order(2, seed=1)
    assert order.batches == 5
    for epoch in range(3):
        chosen = [order.of(epoch * 5 + k) for k in range(5)]
        assert sorted(np.concatenate(chosen)) == list(range(8))
        for batch in chosen:
            assert len({json.dumps(cache.examples[k].about["bucket"]) for k in batch}) == 1
    first, second = (np.concatenate([order.of(e * 5 + k) for k in range(5)]) for e in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(order.of(7), BatchOrder(order.buckets, 2, 1).of(7))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_an_epoch_out_without_repeats(processes):
    order = BatchOrder(("a",) * 12 + ("b",) * 12, 2, seed=0)
    config = LoopConfig(steps=order.batches // processes)
    shares = [
        {int(k) for n in batch_numbers(config, 0, processes, rank) for k in order.of(n)} for rank in range(processes)
    ]
    assert sum(len(share) for share in shares) == len(set().union(*shares)) == 24
