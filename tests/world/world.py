"""One small world for all tests of it."""

from functools import cache

from kinema.world.sampler import World


@cache
def shipped_world(split="train"):
    return World.load(split=split)


@cache
def some_clips(count=6):
    return [shipped_world().sample(seed) for seed in range(count)]
