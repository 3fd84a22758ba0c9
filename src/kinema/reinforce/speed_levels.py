"""Named, complete configurations of `Speed`, by preset: what each level saves."""

from __future__ import annotations

from dataclasses import replace

from kinema.errors import InputError
from kinema.reinforce.speed import QUALITY, Deep, FirstBlock, Level, Speed, Taylor

_WAN_SPEEDS: dict[Level, Speed] = {
    "balanced": Speed(cache=FirstBlock(0.1), guided=(0.3, 1e9)),
    "fast": Speed(steps=0.6, cache=FirstBlock(0.1), guided=(0.3, 5.0)),
}
_VACE_SPEEDS: dict[Level, Speed] = {
    "balanced": Speed(cache=Taylor(2), guided=(0.3, 1e9)),
    "fast": Speed(steps=0.6, cache=Taylor(2), guided=(0.3, 5.0)),
}
_COGVIDEOX_SPEEDS: dict[Level, Speed] = {
    "balanced": Speed(cache=FirstBlock(0.1)),
    "fast": Speed(steps=0.6, cache=FirstBlock(0.1), guided=(0.3, 5.0)),
}
SPEEDS: dict[str, dict[Level, Speed]] = {
    "mini-svd": {
        "balanced": Speed(cache=Deep(3)),
        "fast": Speed(steps=0.5, cache=Deep(4)),
    },
    "svd": {
        "balanced": Speed(cache=Deep(2), guided=(0.3, 1e9)),
        "fast": Speed(steps=0.6, cache=Deep(3), guided=(0.3, 5.0), sampler="dpm++"),
    },
    "wan": _WAN_SPEEDS,
    "vace-1.3b": _VACE_SPEEDS,
    "vace-14b": _VACE_SPEEDS,
    "cogvideox-fun": _COGVIDEOX_SPEEDS,
    "mini-cogvideox": {
        "balanced": Speed(steps=0.67),
        "fast": Speed(steps=0.5),
    },
    "cogvideox-2b": _COGVIDEOX_SPEEDS,
    "cogvideox-5b": _COGVIDEOX_SPEEDS,
}
"""What the levels above "quality" save. Of the mini models they are measured (docs/speed.md); of the others they are near to
what was found on other checkpoints by those who made the caches and the interval, and have never been run."""


def speed_of(name: str, level: Level, compiled: bool = False) -> Speed:
    """A preset's level, its blocks compiled or not. Raises InputError."""
    if name not in SPEEDS:
        raise InputError("preset", f"is {name!r}", expected="one of " + ", ".join(SPEEDS))
    known = {"quality": QUALITY, **SPEEDS[name]}
    if level not in known:
        raise InputError("speed", f"is {level!r}", "one of " + ", ".join(known))
    return replace(known[level], compiled=compiled)
