"""The operations of recipes: the name of each, what it does, and what it can be told.

The functions are in `moves`, `time` and `outlines`; the table of `docs/masks.md` is this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kinema.masks import moves, outlines, time
from kinema.masks.draft import Draft
from kinema.masks.parameters import EASE, ONLY, REQUIRED, Parameter


@dataclass(frozen=True)
class Operation:
    """A function from a draft, the chosen objects (unless `whole`), and the parameters by name.

    whole  it is done to the clip as a whole, and can't be limited to some objects
    """

    apply: Callable[..., Draft]
    says: str
    own: dict[str, Parameter]
    whole: bool = False

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Its own, and those that it shares with others: `ease` where there is a curve, `only`."""
        shared = {"ease": EASE} if any(p.kind == "curve" for p in self.own.values()) else {}
        return self.own | shared | ({} if self.whole else {"only": ONLY})


def _curve(meaning: str, default: object = 0.0, low: float = -10.0, high: float = 10.0) -> Parameter:
    return Parameter("curve", meaning, default, low, high)


def _share(meaning: str, default: object) -> Parameter:
    return Parameter("number", meaning, default, 0.0, 1.0)


_ABOUT = Parameter("place", "what stays where it is", "picture")
SPECK_SHARE, HOLE_SHARE = 0.01, 0.002
"""Of their object: smaller than a hand, smaller than what is between an arm and the body."""
_DEGREES = _curve("degrees, clockwise", REQUIRED, -1000, 1000)
_SECONDS = Parameter("number", "seconds of the result", None, 0.0, 10_000)

OPERATIONS: dict[str, Operation] = {
    "scale": Operation(
        moves.scale,
        "larger or smaller: zoom in, zoom out",
        {"by": Parameter("curve", "ratio", REQUIRED, 0.01, 100, ratio=True), "about": _ABOUT},
    ),
    "shift": Operation(
        moves.shift,
        "to another place",
        {"x": _curve("share of the width, to the right"), "y": _curve("share of the height, down")},
    ),
    "path": Operation(
        moves.path,
        "the centre goes along a smooth curve through points",
        {
            "through": Parameter("points", "shares of width and height", REQUIRED, -10, 10),
            "way": _curve("share of the curve that is behind", {0.0: 0.0, 1.0: 1.0}, 0, 1),
            "own": Parameter("word", "the objects' own movement", "drop", choices=("drop", "keep")),
        },
    ),
    "slope": Operation(
        moves.slope,
        "uphill to the right, downhill where negative",
        {
            "degrees": _curve("steepness", REQUIRED, -80, 80),
            "lean": _curve("share of it that the object turns by", 1.0, 0, 1),
        },
    ),
    "rotate": Operation(moves.rotate, "turned", {"degrees": _DEGREES, "about": _ABOUT}),
    "mirror": Operation(
        moves.mirror,
        "its mirror image in the picture",
        {"axis": Parameter("word", "x: left becomes right, y: top bottom", "x", choices=("x", "y"))},
    ),
    "crop": Operation(
        moves.crop,
        "the picture cut to a part of it",
        {
            "left": _share("edge", 0.0),
            "top": _share("edge", 0.0),
            "right": _share("edge", 1.0),
            "bottom": _share("edge", 1.0),
        },
        whole=True,
    ),
    "time-warp": Operation(
        time.warp,
        "faster or slower",
        {
            "speed": Parameter("number", "2: twice as fast, half as long", None, 0.01, 100),
            "seconds": _SECONDS,
            "to": _curve("share of the clip that is shown, over time", None, 0, 1),
            "between": Parameter("word", "frames in between", "nearest", choices=("nearest", "blend")),
        },
        whole=True,
    ),
    "reverse": Operation(time.reverse, "backwards", {}, whole=True),
    "loop": Operation(
        time.loop,
        "over and over",
        {
            "seconds": _SECONDS,
            "times": Parameter("number", "how often", None, 0.01, 1000),
            "how": Parameter("word", "from the start, or back", "there-and-back", choices=("again", "there-and-back")),
        },
        whole=True,
    ),
    "hold": Operation(
        time.hold,
        "a frame stands still",
        {"at": _share("its time", 1.0), "seconds": Parameter("number", "how much longer", REQUIRED, 0.0, 10_000)},
        whole=True,
    ),
    "cut": Operation(
        time.cut, "a piece of the clip", {"start": _share("its time", 0.0), "end": _share("its time", 1.0)}, whole=True
    ),
    "length": Operation(
        time.length,
        "cut at the end, or the last frame held",
        {"seconds": _SECONDS, "frames": Parameter("number", "of the result", None, 1, time.MOST_FRAMES)},
        whole=True,
    ),
    "rate": Operation(
        time.rate,
        "other frames a second, the same speed",
        {"fps": Parameter("number", "frames a second", REQUIRED, 0.1, 1000)},
        whole=True,
    ),
    "smooth": Operation(
        outlines.smooth,
        "calmer outlines, a calmer way",
        {
            "radius": _curve("of what goes in outlines, share of the longer side", 0.0, 0, 0.5),
            "seconds": Parameter("number", "of what goes in the centre's way", 0.0, 0, 1000),
        },
    ),
    "dilate": Operation(
        outlines.dilate,
        "outlines go out, or in where negative",
        {"by": _curve("share of the longer side", REQUIRED, -1, 1)},
    ),
    "clean": Operation(
        outlines.clean,
        "without specks and holes",
        {
            "specks": _share("loose pieces smaller than this share of their object go", SPECK_SHARE),
            "holes": _share("holes smaller than this", HOLE_SHARE),
        },
    ),
    "fill": Operation(
        outlines.fill,
        "missing frames from those around them",
        {"at": Parameter("times", "of more frames to be made anew", (), 0, 1)},
    ),
    "invert": Operation(outlines.invert, "background and object exchanged", {}),
    "drop": Operation(outlines.drop, "without some objects (say which with only)", {}),
}
