"""Make the built-in quadruped: `src/kinema/assets/quadruped_body/quadruped.safetensors`.

Needs the `assets` extra (fast-simplification):
    python scripts/make_quadruped.py src/kinema/assets/quadruped_body/quadruped.safetensors
A dog-like animal is modelled as a smooth union of tapered capsules along the skeleton of `kinema.body.quadruped`;
its surface is found on a grid by surface nets (Gibson 1998), then decimated. Skin weights fall off with the distance
to the capsules of a joint; betas stretch the skeleton, the capsules' radii or a part about its joint.
"""

from __future__ import annotations

import logging
import sys
from itertools import product
from pathlib import Path
from typing import NamedTuple

import fast_simplification
import numpy as np

from kinema.body.quadruped import REST_JOINTS_M
from kinema.body.shape import BETA_NAMES
from kinema.body.skeleton import ANIMAL_JOINTS, ANIMAL_PARENTS, JOINT_PARTS
from kinema.body.skinning import SkinnedBody, save_skinned_body
from kinema.types import BETA_COUNT

logger = logging.getLogger("make_quadruped")

CELL_M = 0.008
BLEND_M = 0.010
"""How softly capsules melt into one another."""
FALLOFF_M = 0.022
"""Distance over which a joint's hold on the skin falls to 1/e."""
INFLUENCES = 4
FULL_FACES, LOW_FACES = 5200, 1800

BETAS = BETA_NAMES["animal"]
"""What the first betas do; the other 28 do nothing. Sensible from about -2 to 2."""
BETA_STEP: dict[str, float] = {
    "size": 0.12, "leg length": 0.10, "body length": 0.08, "girth": 0.10, "chest depth": 0.12, "neck length": 0.18,
    "head size": 0.10, "muzzle length": 0.25, "ear size": 0.25, "tail length": 0.22, "leg thickness": 0.15,
    "tail thickness": 0.30, "paw size": 0.15,
}  # fmt: skip
"""What +1 adds, as a share of the rest size."""


class Capsule(NamedTuple):
    """A tapered capsule that the joint moves; `squash` shrinks its cross-section along the world's axes."""

    joint: int
    start: np.ndarray
    end: np.ndarray
    start_radius: float
    end_radius: float
    squash: np.ndarray


def joint(name: str) -> int:
    return ANIMAL_JOINTS.index(name)


def capsule(name: str, start, end, start_radius: float, end_radius: float, squash=(1.0, 1.0, 1.0)) -> Capsule:
    return Capsule(
        joint(name), np.array(start, float), np.array(end, float), start_radius, end_radius, np.array(squash)
    )


def trunk_and_head() -> list[Capsule]:
    deep, head = (0.8, 1, 1), (0.9, 1, 1)
    return [
        capsule("pelvis", (0, 0.488, -0.315), (0, 0.492, -0.25), 0.074, 0.084, (0.95, 1, 1)),
        capsule("pelvis0", (0, 0.492, -0.25), (0, 0.492, -0.18), 0.084, 0.08, (0.95, 1, 1)),
        capsule("spine", (0, 0.492, -0.18), (0, 0.486, -0.10), 0.08, 0.082, (0.9, 1, 1)),
        capsule("spine0", (0, 0.486, -0.10), (0, 0.474, -0.02), 0.082, 0.094, (0.88, 1, 1)),
        capsule("spine1", (0, 0.474, -0.02), (0, 0.462, 0.06), 0.094, 0.108, deep),
        capsule("spine2", (0, 0.462, 0.06), (0, 0.455, 0.13), 0.108, 0.115, deep),
        capsule("spine3", (0, 0.455, 0.13), (0, 0.47, 0.235), 0.115, 0.085, deep),
        capsule("spine3", (0, 0.535, 0.12), (0, 0.54, 0.22), 0.052, 0.055),
        capsule("neck", (0, 0.535, 0.225), (0, 0.70, 0.355), 0.074, 0.052, head),
        capsule("head", (0, 0.735, 0.385), (0, 0.742, 0.415), 0.058, 0.057, (0.95, 1, 1)),
        capsule("head", (0, 0.722, 0.45), (0, 0.700, 0.545), 0.040, 0.026, head),
        capsule("head", (0, 0.712, 0.552), (0, 0.708, 0.562), 0.016, 0.012),
        capsule("mouth", (0, 0.692, 0.44), (0, 0.677, 0.525), 0.027, 0.016, head),
    ]


def tail() -> list[Capsule]:
    places = [REST_JOINTS_M[joint(f"tail{k}")] for k in range(1, 8)]
    places = [np.array([0, 0.53, -0.33]), *places[1:], 2 * places[-1] - places[-2]]
    radii = (0.028, 0.024, 0.024, 0.024, 0.023, 0.021, 0.017, 0.009)
    return [capsule(f"tail{k + 1}", places[k], places[k + 1], radii[k], radii[k + 1]) for k in range(7)]


def limbs(side: str) -> list[Capsule]:
    """The legs and the ear of one side."""
    out = 1.0 if side == "left" else -1.0

    def at(name: str, *move: float) -> np.ndarray:
        return REST_JOINTS_M[joint(f"{side}_{name}")] + np.array([out * move[0], *move[1:]] if move else [0, 0, 0])

    def bone(name: str, start, end, *rest) -> Capsule:
        return capsule(f"{side}_{name}", start, end, *rest)

    def paw(name: str) -> list[Capsule]:
        ankle = at(name)
        heel, toe = ankle * [1, 0, 1] + [0, 0.021, -0.002], ankle * [1, 0, 1] + [0, 0.018, 0.045]
        return [bone(name, heel, toe, 0.029, 0.026, (0.95, 0.72, 1)), bone(name, ankle, toe, 0.02, 0.018)]

    flat = (0.75, 1, 1)
    shoulder, elbow, carpus, fore = (at(f"front_{n}") for n in ("leg1", "leg2", "leg3", "foot"))
    hip, stifle, hock, rear = (at(f"hind_{n}") for n in ("leg1", "leg2", "leg3", "foot"))
    ear, tip = at("ear", 0.002, -0.012, 0.0), at("ear", 0.022, 0.068, -0.012)
    return [
        bone("front_leg1", at("front_leg1", -0.015, 0.075, -0.06), shoulder, 0.05, 0.052, flat),
        bone("front_leg1", shoulder, elbow, 0.054, 0.036, flat),
        bone("front_leg2", elbow, carpus, 0.035, 0.021),
        bone("front_leg3", carpus, fore, 0.021, 0.02),
        *paw("front_foot"),
        bone("hind_leg1", hip, stifle, 0.082, 0.052, flat),
        bone("hind_leg2", stifle, hock, 0.047, 0.021, (0.85, 1, 1)),
        bone("hind_leg3", hock, rear, 0.021, 0.02),
        *paw("hind_foot"),
        bone("ear", ear, tip, 0.026, 0.007, (1, 1, 0.55)),
    ]


CAPSULES: list[Capsule] = [*trunk_and_head(), *tail(), *limbs("left"), *limbs("right")]


def axis_points(part: Capsule, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N,3] -> the nearest points on the capsule's axis [N,3], and its radius there [N]."""
    span = part.end - part.start
    share = np.clip((points - part.start) @ span / (span @ span), 0, 1)
    return part.start + share[:, None] * span, part.start_radius + share * (part.end_radius - part.start_radius)


def distances(points: np.ndarray) -> np.ndarray:
    """[N,3] -> [N,C] about how far outside each capsule, metres, negative inside."""
    found = np.empty((len(points), len(CAPSULES)), np.float32)
    for k, part in enumerate(CAPSULES):
        axis, radius = axis_points(part, points)
        squashed = np.linalg.norm((points - axis) / part.squash, axis=-1)
        found[:, k] = (squashed - radius) * part.squash.min()
    return found


def solid(points: np.ndarray) -> np.ndarray:
    """[N,3] -> [N] the smooth union of all capsules, negative inside."""
    apart = distances(points)
    least = apart.min(1)
    return least - BLEND_M * np.log(np.exp(-(apart - least[:, None]) / BLEND_M).sum(1)) + 0.4 * BLEND_M


def surface_nets(field: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A field on a grid [X,Y,Z], negative inside -> vertices [V,3] metres, quads as triangles [F,3] facing out."""
    cells = np.array(field.shape) - 1
    corner = {
        c: field[tuple(slice(o, o + n) for o, n in zip(c, cells, strict=True))] for c in product((0, 1), repeat=3)
    }
    inside = sum((value < 0).astype(int) for value in corner.values())
    active = np.argwhere((inside > 0) & (inside < 8))
    number = np.full(cells, -1)
    number[tuple(active.T)] = np.arange(len(active))
    total, count = np.zeros((len(active), 3)), np.zeros(len(active))
    for low, high in product(corner, corner):
        if sum(high) - sum(low) != 1 or any(a > b for a, b in zip(low, high, strict=True)):
            continue
        a, b = corner[low][tuple(active.T)], corner[high][tuple(active.T)]
        crosses = (a < 0) != (b < 0)
        share = np.where(crosses, a / np.where(crosses, a - b, 1), 0)
        total += np.where(crosses[:, None], np.array(low) + share[:, None] * (np.array(high) - np.array(low)), 0)
        count += crosses
    vertices = origin + CELL_M * (active + total / count[:, None])

    faces = []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3, dtype=int)
        lower, upper = np.swapaxes(field, 0, axis)[:-1], np.swapaxes(field, 0, axis)[1:]
        edges = np.argwhere(np.swapaxes((lower < 0) != (upper < 0), 0, axis))
        edges = edges[(edges[:, [first, second]] > 0).all(1)]
        ring = [
            number[tuple((edges - i * step[first] - j * step[second]).T)] for i, j in ((1, 1), (0, 1), (0, 0), (1, 0))
        ]
        quad = np.stack(ring, -1)
        leaves = field[tuple(edges.T)] < 0
        quad = np.where(leaves[:, None], quad, quad[:, ::-1])
        faces += [quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]
    return vertices, np.concatenate(faces)


def surface() -> tuple[np.ndarray, np.ndarray]:
    low, high = np.array([-0.184, -0.0235, -0.72]), np.array([0.184, 0.92, 0.63])
    axes = [np.arange(a, b + CELL_M, CELL_M) for a, b in zip(low, high, strict=True)]
    shape = tuple(len(a) for a in axes)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    field = np.concatenate([solid(part) for part in np.array_split(grid, 40)]).reshape(shape)
    return surface_nets(field, low)


def skin(vertices: np.ndarray) -> np.ndarray:
    """[V,3] -> [V,35] weights of the joints, at most INFLUENCES above zero."""
    pull = np.exp(-np.maximum(distances(vertices) + 0.01, 0) / FALLOFF_M)
    weights = np.zeros((len(vertices), len(ANIMAL_JOINTS)))
    for k, part in enumerate(CAPSULES):
        weights[:, part.joint] = np.maximum(weights[:, part.joint], pull[:, k])
    weights[weights < np.sort(weights, 1)[:, [-INFLUENCES]]] = 0
    weights[weights < 0.02 * weights.max(1, keepdims=True)] = 0
    return weights / weights.sum(1, keepdims=True)


def family(*names: str) -> np.ndarray:
    """[35] bool: the joints whose name contains one of these."""
    return np.array([any(name in own for name in names) for own in ANIMAL_JOINTS])


def joint_shift(beta: str) -> np.ndarray:
    """[35,3] what +1 of a beta adds to the joints, metres; paws stay on the floor."""
    at, by, shift = REST_JOINTS_M.astype(float), BETA_STEP[beta], np.zeros_like(REST_JOINTS_M, dtype=float)
    front, hind, skull = family("front"), family("hind"), family("head", "mouth", "ear")
    if beta == "size":
        shift = by * at
    elif beta == "leg length":
        paw, top = at[joint("left_hind_foot"), 1], 0.46
        shift[:, 1] = by * top * np.clip((at[:, 1] - paw) / (top - paw), 0, 1)
        shift[~(front | hind), 1] = by * top
    elif beta == "body length":
        shift[:, 2] = by * np.clip(at[:, 2], -0.27, 0.2)
        shift[front, 2], shift[hind, 2] = by * 0.2, -by * 0.27
    elif beta == "neck length":
        shift[skull] = by * (at[joint("head")] - at[joint("neck")])
    elif beta == "head size":
        shift[skull] = by * (at[skull] - at[joint("head")])
    elif beta == "muzzle length":
        shift[joint("mouth"), 2] = 0.3 * by * 0.05
    elif beta == "tail length":
        shift[family("tail")] = by * (at[family("tail")] - at[joint("tail1")])
    return shift


def along_bones(vertices: np.ndarray, weights: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """[V,3] how the skin follows joints that shift: each bone carries what it moves, stretched along it."""
    moved = np.zeros_like(vertices)
    for parent in range(len(ANIMAL_JOINTS)):
        children = np.flatnonzero(parent == ANIMAL_PARENTS)
        share = np.zeros(len(vertices))
        ahead = shift[parent]
        if len(children):
            child = children[0]
            span = REST_JOINTS_M[child] - REST_JOINTS_M[parent]
            share = np.clip((vertices - REST_JOINTS_M[parent]) @ span / (span @ span), 0, 1)
            ahead = shift[child]
        moved += weights[:, [parent]] * (shift[parent] + share[:, None] * (ahead - shift[parent]))
    return moved


def shape_direction(beta: str, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[V,3] what +1 of a beta adds to the skin, metres."""
    by = BETA_STEP[beta]
    if beta == "size":
        return by * vertices
    moved = along_bones(vertices, weights, joint_shift(beta))
    pull = np.exp(-np.maximum(distances(vertices) + 0.01, 0) / FALLOFF_M)
    axis = sum(pull[:, [k]] * axis_points(c, vertices)[0] for k, c in enumerate(CAPSULES)) / pull.sum(1, keepdims=True)
    out = vertices - axis

    def share(*names: str) -> np.ndarray:
        return weights[:, family(*names)].sum(1, keepdims=True)

    if beta == "girth":
        moved += by * share("pelvis", "spine") * out
    elif beta == "chest depth":
        moved += by * share("spine1", "spine2", "spine3") * np.minimum(out, 0) * [0, 1, 0]
    elif beta == "leg thickness":
        moved += by * share("leg") * out
    elif beta == "tail thickness":
        moved += by * share("tail") * out
    elif beta == "muzzle length":
        ahead = np.maximum(vertices - [0, 0, 0.43], 0) * [0, 0, 1]
        moved += by * share("head", "mouth") * ahead
    elif beta in ("head size", "ear size", "paw size"):
        names = {"head size": ("head", "mouth", "ear"), "ear size": ("ear",), "paw size": ("foot",)}[beta]
        centre = np.zeros_like(vertices)
        for k in np.flatnonzero(family(*names)):
            root = REST_JOINTS_M[joint("head") if beta == "head size" else k] * ([1, 0, 1] if beta == "paw size" else 1)
            centre += weights[:, [k]] * (vertices - root)
        moved = by * centre
    return moved


def build(vertices: np.ndarray, faces: np.ndarray) -> SkinnedBody:
    weights = skin(vertices)
    strongest = np.argsort(-weights, 1)[:, :INFLUENCES]
    shape_dirs, joint_dirs = np.zeros((len(vertices), 3, BETA_COUNT["animal"])), np.zeros((35, 3, BETA_COUNT["animal"]))
    for k, beta in enumerate(BETAS):
        shape_dirs[..., k] = shape_direction(beta, vertices, weights)
        joint_dirs[..., k] = joint_shift(beta)
    return SkinnedBody(
        category="animal",
        name="built-in quadruped",
        joint_template=REST_JOINTS_M,
        joint_shape_dirs=joint_dirs.astype(np.float32),
        template=vertices.astype(np.float32),
        shape_dirs=shape_dirs.astype(np.float32),
        expression_dirs=np.zeros((len(vertices), 3, 0), np.float32),
        weights=np.take_along_axis(weights, strongest, 1).astype(np.float32),
        weight_joints=strongest.astype(np.int32),
        faces=faces.astype(np.int32),
        vertex_parts=JOINT_PARTS["animal"][weights.argmax(1)],
    )


def main(path: Path) -> None:
    vertices, faces = surface()
    vertices[:, 1] -= vertices[:, 1].min()
    logger.info("surface: %d vertices, %d faces", len(vertices), len(faces))
    bodies = [
        build(*fast_simplification.simplify(vertices, faces, target_count=count, agg=3))
        for count in (FULL_FACES, LOW_FACES)
    ]
    header = {"source": "made by scripts/make_quadruped.py", "licence": "Apache-2.0", "version": "1",
              "betas": ", ".join(BETAS)}  # fmt: skip
    save_skinned_body(path, *bodies, header)
    for body in bodies:
        logger.info("%d vertices, %d faces", len(body.template), len(body.faces))
    logger.info("%s: %.2f MB", path, path.stat().st_size / 1e6)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(Path(sys.argv[1]))
