"""The wide world's cast: more kinds of animals, robots and riders, in looks that a short caption tells whole.

Input: a random generator and captured clips. Output: `Actor`s, as `kinema.world.actors` makes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from kinema.body.gaits import GAITS, gait
from kinema.body.shape import BETA_NAMES
from kinema.body.skeleton import BODY_JOINTS, PART_IDS
from kinema.errors import InputError
from kinema.types import BETA_COUNT, BodyMotion
from kinema.world import paint_kernels as paint
from kinema.world.actors import (
    ANIMAL_ACTS,
    FPS,
    OBJECT_KINDS,
    Actor,
    embodied,
    grounded,
    held_solid,
    human,
    load_low_body,
    solid,
)
from kinema.world.looks import COLORS, FOREARMS, HAIRLINE_M, HANDS, PATTERNS, SHINS, SHIRT, SKIN, THIGHS, Look
from kinema.world.looks import FEET as HUMAN_FEET
from kinema.world.looks import HAIR as HAIR_COLORS

HELD_OUT = ("a zebra", "a cow", "a car", "a can")
"""Classes that a training may leave out (`World.load(without=HELD_OUT)`), for tests on classes never trained on."""
ROBOT_SHARE = 0.15
"""Of people and of animals."""
RIDER_SHARE = 0.5
"""Of the horses in the lead; about 5 % of all clips."""
METALS = {"silver": (176, 184, 194), "blue": (86, 120, 172), "grey": (112, 118, 126), "gold": (208, 168, 70)}
SEAM, GLOW = (34, 38, 46), (90, 236, 250)
FARTHEST_LENGTHS = 1.6
"""Longest path of an animal over a clip, in metres for one as large as a dog; longer ones are slowed down, feet
sliding, so that the camera need not stand far away."""
MOST_PHRASES = 2
"""Of a captured action's words ("playground - climb, hang, swing, drop") the caption keeps so many."""
MOST_DRAWS = 500
RIDES = "rides"
_ANIMAL = "^an? (dog|quadruped|animal|four-legged animal) "

ANIMAL_PARTS = [name for name, part in PART_IDS.items() if 32 <= part <= 51]
LEGS = [name for name in ANIMAL_PARTS if "leg" in name]
PAWS = [name for name in ANIMAL_PARTS if name.endswith("paw")]
EARS, TAIL = ["left_ear", "right_ear"], ["tail"]


@dataclass(frozen=True)
class Species:
    """A kind of quadruped.

    share   of the animals           size   times the built-in dog
    betas   by name, before `size`   coats  words and colours; two colours are the coat's and the pattern's
    """

    share: float
    size: float
    betas: dict[str, float]
    coats: dict[str, tuple[int, int, int]]
    second: tuple[int, int, int] | None = None
    pattern: int = paint.PLAIN
    acts: tuple[str, ...] = ANIMAL_ACTS


HOOFED = (*GAITS, "stand", "lie", "jump")
WHITE, DARK = (236, 234, 228), (36, 32, 32)
HORSE = {"leg length": 1.5, "body length": 0.8, "girth": 1.6, "neck length": 1.2, "muzzle length": 1.2,
         "ear size": -1.6, "tail thickness": 2.5, "tail length": -0.6, "chest depth": 0.8, "leg thickness": 0.6}  # fmt: skip
SPECIES: dict[str, Species] = {
    "dog": Species(0.28, 1.0, {}, {"brown": (124, 80, 48), "black": DARK, "white": WHITE, "tan": (208, 164, 104)}),
    "horse": Species(
        0.34, 2.1, HORSE, {"brown": (118, 70, 40), "black": DARK, "white": WHITE, "grey": (142, 142, 146)}, acts=HOOFED
    ),
    "zebra": Species(0.12, 1.9, HORSE | {"leg length": 0.8}, {"": WHITE}, DARK, paint.BANDS, HOOFED),
    "tiger": Species(
        0.14, 1.6,
        {"leg length": -1.0, "body length": 1.0, "head size": 1.5, "muzzle length": -1.6, "ear size": -2.0,
         "leg thickness": 2.0, "tail length": 1.5, "girth": 1.0},
        {"": (232, 126, 32)}, DARK, paint.BANDS,
    ),
    "cow": Species(
        0.12, 2.0,
        {"girth": 2.5, "chest depth": 2.0, "leg length": -0.4, "neck length": -0.8, "head size": 1.6,
         "muzzle length": 0.8, "tail length": 0.6, "ear size": -0.6},
        {"black and white": WHITE, "brown and white": WHITE}, DARK, paint.PATCHES, HOOFED,
    ),
}  # fmt: skip


def cast(
    rng: np.random.Generator,
    clips: list[tuple[str, BodyMotion]],
    frames: int,
    without: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
) -> list[Actor]:
    """1 to 3 subjects, the first in the middle, the others beside, before or behind it; a rider follows its horse.

    without  names that no subject bears ("a zebra")      only  names of which the first subject bears one
    """
    person = partial(_person, rng, clips, frames)
    make = (person, partial(_animal, rng, frames), partial(_thing, rng, frames))

    def allowed(kinds: tuple[float, float, float]) -> Actor:
        while True:
            made = make[rng.choice(3, p=kinds)]()
            if not named(made, without):
                return made

    lead = _one_of(rng, frames, only) if only else allowed((0.46, 0.44, 0.10))
    actors = [lead]
    if named(lead, ("horse",)) and not only and rng.random() < RIDER_SHARE:
        lead = _animal(rng, frames, "horse", (*GAITS, "stand"))
        actors = [lead, rider(rng, lead)]
    for _ in range(rng.choice(3, p=(0.62, 0.34, 0.04)) if len(actors) == 1 else 0):
        if lead.label == "a person" and len(actors) == 1 and rng.random() < 0.25:
            held = held_solid(rng, lead, thing_look)
            actors += [] if named(held, without) else [held]
            continue
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.5) + _length_m(lead) / 2
        other = allowed((0.4, 0.3, 0.3))
        away += _length_m(other) / 2
        actors.append(other.moved(away * np.array([np.sin(angle), 0, np.cos(angle)])))
    return actors


def named(actor: Actor, names: tuple[str, ...]) -> bool:
    """Whether its words have one of these names; "a car" names "a red toy car", not "a red cart"."""
    return any(re.search(rf"\b{_bare(name)}\b", actor.look.words) for name in names)


def _bare(name: str) -> str:
    return re.sub("^an? ", "", name)


def with_article(words: str) -> str:
    """ "a red ball", "an orange ball"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _length_m(actor: Actor) -> float:
    """What a large animal takes more than a dog, metres."""
    return max(float(np.ptp(actor.rest[:, 2])) - 1.2, 0.0) if actor.label == "a dog" else 0.0


def _one_of(rng: np.random.Generator, frames: int, names: tuple[str, ...]) -> Actor:
    """An animal or a thing that bears one of the names, each as often. Raises InputError where none does."""
    name = _bare(names[rng.integers(len(names))])
    if name in SPECIES:
        return _animal(rng, frames, name)
    kinds = tuple(kind for kind in OBJECT_KINDS if name in kind.split()) or OBJECT_KINDS
    for _ in range(MOST_DRAWS):
        made = _thing(rng, frames, kinds)
        if named(made, (name,)):
            return made
    raise InputError(
        "only", f"has {name!r}, which no animal or thing is called", f"{', '.join(SPECIES)}, ball, box, ..."
    )


def _person(rng: np.random.Generator, clips: list[tuple[str, BodyMotion]], frames: int) -> Actor:
    actor = human(rng, clips, frames, person_look)
    return replace(actor, doing=", ".join(actor.doing.split(", ")[:MOST_PHRASES]))


def _thing(rng: np.random.Generator, frames: int, kinds: tuple[str, ...] = OBJECT_KINDS) -> Actor:
    return solid(rng, frames, thing_look, kinds, _parted)


def _parted(sentence: str) -> tuple[str, str]:
    """'a tennis ball is thrown' -> 'a tennis ball', 'is thrown'."""
    name, verb, rest = re.split(r" (falls|rolls|is|slides|topples|swings|drives|spins)\b", sentence, maxsplit=1)
    return name, verb + rest


def _animal(
    rng: np.random.Generator, frames: int, name: str | None = None, acts: tuple[str, ...] | None = None
) -> Actor:
    """A quadruped. Larger ones move as animals of the same build do: farther by their size, slower by its root."""
    name = name or str(rng.choice(list(SPECIES), p=[s.share for s in SPECIES.values()]))
    species = SPECIES[name]
    acts = acts or species.acts
    size = species.size * rng.uniform(0.9, 1.1)
    motion, doing = gait(
        acts[rng.integers(len(acts))],
        (frames + 1) / FPS / np.sqrt(size),
        FPS * np.sqrt(size),
        int(rng.integers(1 << 30)),
    )
    betas = rng.normal(0, 0.4, BETA_COUNT["animal"]) * (np.arange(BETA_COUNT["animal"]) < len(BETA_NAMES["animal"]))
    for beta, value in species.betas.items():
        betas[BETA_NAMES["animal"].index(beta)] += value
    betas *= size
    betas[0] = (size - 1) / 0.12
    place = size * motion.root_translation_m[:frames]
    path = float(np.linalg.norm(np.ptp(place[:, [0, 2]], axis=0)))
    place[:, [0, 2]] *= min(1.0, FARTHEST_LENGTHS * size / max(path, 1e-6))
    motion = replace(
        motion[:frames], fps=FPS, betas=betas.astype(np.float32), root_translation_m=place.astype(np.float32)
    )
    _, y, z = load_low_body("animal").rest_joints(motion.betas)[15]
    mane = float(y - 1.27 * z) + 0.06 * size
    return grounded(motion, "a dog", coat(rng, name, size, mane), re.sub(_ANIMAL, "", doing), rng)


def rider(rng: np.random.Generator, horse: Actor) -> Actor:
    """A person astride a horse: sits on its back, faces where it does, rises and falls with its stride."""
    assert horse.motion is not None
    assert horse.joints_m is not None
    frames = len(horse.vertices)
    trunk = horse.rest[
        (horse.vertex_parts >= PART_IDS["animal_chest"]) & (horse.vertex_parts <= PART_IDS["animal_hips"])
    ]
    back = 0.45 * trunk[:, 2].max() + 0.55 * trunk[:, 2].min()
    near = np.flatnonzero((np.abs(horse.rest[:, 2] - back) < 0.12) & (horse.vertex_parts == PART_IDS["animal_belly"]))
    top = near[np.argsort(horse.rest[near, 1])[-6:]]
    ahead = horse.joints_m[:, 6] - horse.joints_m[:, 0]
    heading = np.arctan2(ahead[:, 0], ahead[:, 2])
    pitch = -0.4 * np.arctan2(ahead[:, 1], np.linalg.norm(ahead[:, [0, 2]], axis=1))
    facing = Rotation.from_rotvec([[0, h, 0] for h in heading]) * Rotation.from_rotvec([[p, 0, 0] for p in pitch])
    betas = np.clip(rng.normal(0, 0.6, 10), -1.4, 1.4).astype(np.float32)
    rotvec = np.zeros((frames, 55, 3), np.float32)
    reins, lean = rng.uniform(0.2, 0.5), rng.uniform(0, 0.15)
    for joint, turn in _SEAT.items():
        rotvec[:, BODY_JOINTS.index(joint)] = turn
    rotvec[:, BODY_JOINTS.index("spine1"), 0] = lean + 0.5 * (
        horse.vertices[:, top, 1].mean(1) - horse.vertices[:, top, 1].mean()
    )
    rotvec[:, [18, 19], 1] += np.array([-reins, reins])
    rotvec[:, 0] = facing.as_rotvec()
    seat = horse.vertices[:, top].mean(1) + facing.apply([0, 0.09, 0])
    motion = BodyMotion("human", rotvec, seat.astype(np.float32), betas=betas, fps=FPS)
    return embodied(motion, "a person", person_look(rng, betas), RIDES)


_SEAT: dict[str, tuple[float, float, float]] = {
    "left_hip": (-1.15, 0.15, 0.55), "right_hip": (-1.15, -0.15, -0.55),
    "left_knee": (1.15, 0, 0), "right_knee": (1.15, 0, 0),
    "left_shoulder": (0.0, -0.45, -1.15), "right_shoulder": (0.0, 0.45, 1.15),
    "left_elbow": (0.0, -0.9, 0.0), "right_elbow": (0.0, 0.9, 0.0),
}  # fmt: skip
"""Local rotations of the seated pose, rad."""


def _pick(rng: np.random.Generator, table: dict[str, tuple[int, int, int]]) -> tuple[str, np.ndarray]:
    """A colour's name, and a shade so near to it that the name tells it."""
    name = list(table)[rng.integers(len(table))]
    return name, np.clip(np.array(table[name]) + rng.normal(0, 5, 3), 8, 250)


def person_look(rng: np.random.Generator, betas: np.ndarray) -> Look:
    """A person in plain clothes, or a robot."""
    if rng.random() < ROBOT_SHARE:
        return robot_look(rng, "robot", [name for name, part in PART_IDS.items() if 1 <= part <= 17], 5)
    look = Look()
    skin = np.clip(np.array(SKIN[rng.integers(len(SKIN))]) + rng.normal(0, 6, 3), 20, 255)
    _, hair = _pick(rng, HAIR_COLORS)
    (upper, shirt), (lower, trousers) = _pick(rng, COLORS), _pick(rng, COLORS)
    suit, short = rng.random() < 0.15, rng.random() < 0.25
    look.dress((*FOREARMS, *HANDS, *SHINS), skin)
    look.dress(("head",), skin, hair, paint.HAIR, HAIRLINE_M[0] + rng.uniform(-0.03, 0.03), HAIRLINE_M[1])
    look.dress(SHIRT + (FOREARMS if suit or rng.random() < 0.5 else ()), shirt)
    look.dress(THIGHS + (() if short and not suit else SHINS), shirt if suit else trousers)
    look.dress(HUMAN_FEET, (44, 40, 40))
    who = ("man", "woman") if betas[3] >= -1.5 else ("boy", "girl")
    legs = f"{lower} {'shorts' if short else 'trousers'}"
    clothes = f"{with_article(upper)} suit" if suit else f"{with_article(upper)} shirt and {legs}"
    look.words = f"a {who[int(betas[4] >= 0)]} in {clothes}"
    return look


def robot_look(rng: np.random.Generator, name: str, parts: list[str], seams: float) -> Look:
    """Metal plates with dark seams; dark hands and feet."""
    look = Look()
    metal, color = _pick(rng, METALS)
    look.dress(parts, color, SEAM, paint.SEAMS, seams, rng.random())
    look.dress([p for p in parts if p.split("_")[-1] in ("neck", "hand", "foot", "paw", "ear")], SEAM)
    head = "head" if "head" in parts else "animal_head"
    look.dress([head], color, GLOW, paint.VISOR, 0.56, 0.03) if head == "head" else look.dress([head], color)
    look.words = f"a {metal} {name}"
    return look


def coat(rng: np.random.Generator, name: str, size: float, mane_m: float) -> Look:
    """The fur of a species, or the plates of its robot; `size` in dogs, `mane_m` where on its neck a mane begins."""
    if rng.random() < ROBOT_SHARE:
        return robot_look(rng, f"robot {name}", ANIMAL_PARTS, 8 / size)
    species, look = SPECIES[name], Look()
    words, first = _pick(rng, species.coats)
    if name == "dog" and rng.random() < 0.4:
        other, second = _pick(rng, {k: v for k, v in species.coats.items() if k != words})
        words, pattern = f"{words} and {other} spotted", paint.PATCHES
    else:
        second, pattern = species.second, species.pattern
        if words == "brown and white":
            second = (112, 66, 38)
    scale = {paint.BANDS: 9, paint.PATCHES: rng.uniform(9, 13)}.get(pattern, 0) / size
    look.dress(ANIMAL_PARTS, first, second, pattern, scale, rng.random())
    if pattern == paint.BANDS:
        look.dress(LEGS, first, second, paint.ROWS, 1.2 * scale, rng.random())
    dark = np.clip(first * 0.6, 8, 250)
    if name == "dog":
        look.dress(EARS, dark)
    if name in ("horse", "zebra"):
        mane = DARK if words in ("brown", "grey", "") else first * 0.85
        look.dress(("animal_neck",), first, mane, paint.MANE, mane_m) if name == "horse" else None
        look.dress(TAIL if name == "horse" else [], mane)
        look.dress(PAWS, DARK if words != "black" else dark)
    look.words = with_article(f"{words} {name}".strip())
    return look


def thing_look(rng: np.random.Generator, thing: str) -> Look:
    """A thing in one colour, or striped, checked or dotted in two; `thing` with its article ("a ball")."""
    look = Look()
    (name, first), (other, second) = _pick(rng, COLORS), _pick(rng, COLORS)
    pattern = "" if rng.random() < 0.6 or other == name else ("striped", "checked", "dotted")[rng.integers(3)]
    look.dress(("object",), first, second, PATTERNS[pattern], rng.uniform(5, 10), rng.random())
    colors = f"{pattern} {name} and {other}" if pattern else name
    look.words = with_article(f"{colors} {_bare(thing)}")
    return look
