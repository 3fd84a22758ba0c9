"""BVH skeleton -> BodyMotion on the SMPL-X layout, and BodyMotion -> BVH.

A joint's global rotation carries over once the difference between the two standing poses is removed: for limbs,
hands and fingers that is the smallest rotation that takes SMPL-X's rest bone direction to the source's (so A-poses,
T-poses and hanging arms all do, and bone directions agree), for the trunk and feet the identity. The root is scaled
by leg length, so that feet keep their contacts; the middle of the hips coincides, and foot heights are those of the
source. A rig that is our own body gives its shape back too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from kinema.body.model import BodyModel, body_for
from kinema.body.skeleton import BODY_JOINT_COUNT, HUMAN_JOINTS, JOINTS, PARENTS
from kinema.errors import InputError
from kinema.geometry import rotmat_to_rotvec, rotvec_to_rotmat
from kinema.motion_io.bvh import Bvh, global_transforms, write_bvh
from kinema.motion_io.naming import match_joints
from kinema.motion_io.rest_pose import Standing, smallest_rotation, standing_pose, upright_world
from kinema.types import BETA_COUNT, BodyMotion

CM = 0.01
UNITS_M = {
    "metres": 1.0,
    "centimetres": CM,
    "millimetres": 0.001,
    "inches": 0.0254,
    "CMU units": 0.0254 / 0.45,
}
"""The last: lengths of CMU's Acclaim files times 1/0.45 are inches (the database's FAQ)."""
SAME_SKELETON_M = 5e-4
CMU_HEAD_PITCH_DEG = -16.2
"""CMU's head segment looks down by this when the actor looks ahead (its Daz release, where it is level, says so)."""
J = {name: k for k, name in enumerate(HUMAN_JOINTS)}
SPINE = tuple(J[name] for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head"))

log = logging.getLogger(__name__)


def motion_of_bvh(
    bvh: Bvh, mapping: Mapping[str, str] | str | Path | None = None, body: BodyModel | None = None
) -> BodyMotion:
    """The motion of a BVH file on the bones of a body, the built-in one by default. Joints that the rig lacks are at
    rest; face and fingers among them have confidence 0. Raises InputError where the rig is not understood or is
    left-handed."""
    if mapping is None and set(bvh.names) == set(JOINTS["animal"]):
        return _animal_motion(bvh, body_for("animal", body))
    body = body_for("human", body)
    scheme, found = match_joints(bvh.path, bvh.names, mapping)
    pose = standing_pose(bvh, found)
    betas = _betas_of_rig(pose, found, body)
    rest = body.rest_joints(betas).astype(np.float64)
    place, turn = global_transforms(bvh.parents, bvh.rotmat, bvh.positions)
    upright = upright_world(bvh, place @ pose.axes.T, pose, found) @ pose.axes
    place, turn = place @ upright.T, upright @ turn
    glob = _carried_rotations(turn, pose, found, rest, scheme)
    local = glob.copy()
    parents = PARENTS["human"]
    local[:, 1:] = np.swapaxes(glob[:, parents[1:]], -1, -2) @ glob[:, 1:]
    root = _scaled_root(bvh, place, pose, glob, found, rest)
    seen = np.array([name in found or k < BODY_JOINT_COUNT for name, k in J.items()], np.float32)
    log.info("%s: %s joints, %d of %d used", bvh.path, scheme, len(found), len(bvh.names))
    return BodyMotion(
        category="human",
        rotvec=rotmat_to_rotvec(local).astype(np.float32),
        root_translation_m=root.astype(np.float32),
        betas=betas,
        fps=bvh.fps,
        confidence=np.tile(seen, (len(root), 1)),
    )


def save_bvh(motion: BodyMotion, path: Path, body: BodyModel | None = None) -> None:
    """Write joints, bones and rotations in our own names, in centimetres. The shape is kept as far as bones show it;
    expression and confidence are not. Shapes are read back from the bones (`_fit_betas`)."""
    names, parents = JOINTS[motion.category], PARENTS[motion.category]
    rest = body_for(motion.category, body).rest_joints(motion.betas).astype(np.float64)
    offsets = rest - rest[np.maximum(parents, 0)]
    rotmat = rotvec_to_rotmat(motion.rotvec.astype(np.float64))
    positions = np.tile(offsets, (len(motion), 1, 1))
    positions[:, 0] = motion.root_translation_m
    leaves = sorted(set(range(len(names))) - set(parents.tolist()))
    ends = {leaf: 0.5 * offsets[leaf] for leaf in leaves}
    bvh = Bvh(path, names, parents, offsets, ends, rotmat, positions, motion.fps)
    write_bvh(bvh, path, centimetres_per_unit=1 / CM)


def _animal_motion(bvh: Bvh, body: BodyModel) -> BodyMotion:
    """An animal that kinema wrote, whose bones are those of our animal in some shape; others cannot be retargeted."""
    order = [bvh.names.index(name) for name in JOINTS["animal"]]
    bones = bvh.offsets[order] * CM
    bones[0] = 0
    betas, misfit_m = _fit_betas(bones, body)
    if misfit_m > SAME_SKELETON_M or (bvh.parents[order[1:]] != np.array(order)[PARENTS["animal"][1:]]).any():
        raise InputError(
            bvh.path,
            f"its bones differ from the animal body's, by up to {misfit_m * 100:.1f} cm",
            expected="an animal BVH that kinema wrote; others cannot be retargeted",
        )
    return BodyMotion(
        category="animal",
        rotvec=rotmat_to_rotvec(bvh.rotmat[:, order]).astype(np.float32),
        root_translation_m=(bvh.positions[:, order[0]] * CM).astype(np.float32),
        betas=betas,
        fps=bvh.fps,
    )


def _betas_of_rig(pose: Standing, found: dict[str, tuple[int, ...]], body: BodyModel) -> Float[np.ndarray, " B"]:
    """The shape of a rig that is our body in any unit and axes; the mean shape for every other rig."""
    mean = np.zeros(BETA_COUNT["human"], np.float32)
    if len(found) < len(HUMAN_JOINTS):
        return mean
    joints = pose.joints[[found[name][0] for name in HUMAN_JOINTS]]
    bones = joints - joints[np.maximum(PARENTS["human"], 0)]
    betas, misfit_m = min((_fit_betas(bones * unit, body) for unit in UNITS_M.values()), key=lambda fit: fit[1])
    return betas if misfit_m < SAME_SKELETON_M else mean


def _fit_betas(bones: Float[np.ndarray, "J 3"], body: BodyModel) -> tuple[Float[np.ndarray, " B"], float]:
    """The shape whose bones these are (rest joints are linear in betas), and the largest misfit of a joint, metres."""
    count, parents = BETA_COUNT[body.category], PARENTS[body.category]

    def bones_of(betas: np.ndarray) -> np.ndarray:
        rest = body.rest_joints(betas.astype(np.float32)).astype(np.float64)
        return (rest - rest[np.maximum(parents, 0)]).ravel()

    mean = bones_of(np.zeros(count))
    directions = np.stack([bones_of(unit) - mean for unit in np.eye(count)], 1)
    betas = np.linalg.lstsq(directions, bones.ravel() - mean, rcond=1e-5)[0].astype(np.float32)
    return betas, float(np.abs(bones_of(betas) - bones.ravel()).max())


def _carried_rotations(
    turn: Float[np.ndarray, "T S 3 3"],
    pose: Standing,
    found: dict[str, tuple[int, ...]],
    rest: np.ndarray,
    scheme: str,
) -> Float[np.ndarray, "T 55 3 3"]:
    """Global rotations of the SMPL-X joints in our world."""
    aligned = _alignments(pose, found, rest, scheme)
    glob = np.tile(np.eye(3), (len(turn), len(HUMAN_JOINTS), 1, 1))
    for name, k in J.items():
        if name in found:
            moved = [turn[:, s] @ pose.rotmat[s].T @ pose.axes.T for s in found[name]]
            glob[:, k] = (moved[0] if len(moved) == 1 else _half_way(*moved)) @ aligned[name]
    known = [name in found for name in HUMAN_JOINTS]
    for k, parent in enumerate(PARENTS["human"]):
        if known[k] or parent < 0:
            continue
        above = next((s for s in SPINE[SPINE.index(k) :] if known[s]), None) if k in SPINE else None
        glob[:, k] = glob[:, parent] if above is None else _half_way(glob[:, parent], glob[:, above])
    return glob


def _alignments(
    pose: Standing, found: dict[str, tuple[int, ...]], rest: np.ndarray, scheme: str
) -> dict[str, Float[np.ndarray, "3 3"]]:
    """Per mapped joint: our rest pose -> the source's standing pose, in our axes."""
    aligned = {name: np.eye(3) for name in found}
    for side in ("left", "right"):
        for joint, child in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            joint, child = f"{side}_{joint}", f"{side}_{child}"
            aligned[joint] = smallest_rotation(
                rest[J[child]] - rest[J[joint]], pose.joints[found[child][0]] - pose.joints[found[joint][0]]
            )
        wrist, middle = f"{side}_wrist", f"{side}_middle1"
        hand = pose.joints[found[middle][0]] - pose.joints[found[wrist][0]] if middle in found else None
        hand = pose.bone_beyond(found[wrist][0]) if hand is None else hand
        aligned[wrist] = (
            aligned[f"{side}_elbow"] if hand is None else smallest_rotation(rest[J[middle]] - rest[J[wrist]], hand)
        )
        for k in range(J[f"{side}_index1"], J[f"{side}_index1"] + 15):
            name, tip = HUMAN_JOINTS[k], k % 3 == J[f"{side}_index3"] % 3
            if name in found:
                bone = pose.bone_beyond(found[name][0])
                ours = rest[k] - rest[k - 1] if tip else rest[k + 1] - rest[k]
                aligned[name] = aligned[wrist] if bone is None else smallest_rotation(ours, bone)
        if scheme == "CMU":  # its feet lean with the legs, which stand apart in the zero pose
            shin = pose.joints[found[f"{side}_ankle"][0]] - pose.joints[found[f"{side}_knee"][0]]
            lean = smallest_rotation(np.array([0.0, -1.0, 0.0]), shin * (1, 1, 0))
            aligned |= {f"{side}_{joint}": lean for joint in ("ankle", "foot") if f"{side}_{joint}" in found}
    if scheme == "CMU":
        aligned["head"] = rotvec_to_rotmat(np.radians([CMU_HEAD_PITCH_DEG, 0.0, 0.0]))
    return aligned


def _half_way(a: Float[np.ndarray, "T 3 3"], b: Float[np.ndarray, "T 3 3"]) -> Float[np.ndarray, "T 3 3"]:
    return a @ rotvec_to_rotmat(0.5 * rotmat_to_rotvec(np.swapaxes(a, -1, -2) @ b))


def _scaled_root(
    bvh: Bvh,
    place: np.ndarray,
    pose: Standing,
    glob: np.ndarray,
    found: dict[str, tuple[int, ...]],
    rest: np.ndarray,
) -> Float[np.ndarray, "T 3"]:
    """Pelvis positions, metres: hips over hips, scaled by leg length, feet as high as the source's."""

    def leg(joints: np.ndarray, at) -> float:
        chain = [joints[at(f"left_{joint}")] for joint in ("hip", "knee", "ankle")]
        return float(np.linalg.norm(chain[1] - chain[0]) + np.linalg.norm(chain[2] - chain[1]))

    ours, theirs = leg(rest, J.__getitem__), leg(pose.joints, lambda name: found[name][0])
    unit = min(UNITS_M, key=lambda name: abs(np.log(theirs * UNITS_M[name] / ours)))
    log.info("%s: legs of %.4g, read as %s; scaled to %.3f m", bvh.path, theirs, unit, ours)
    hips = 0.5 * (place[:, found["left_hip"][0]] + place[:, found["right_hip"][0]]) * (ours / theirs)
    middle = 0.5 * (rest[J["left_hip"]] + rest[J["right_hip"]]) - rest[0]
    root = hips - glob[:, 0] @ middle
    bones = rest - rest[np.maximum(PARENTS["human"], 0)]
    differences = []
    for side in ("left", "right"):
        chain = [J[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle", "foot")]
        chain = chain if f"{side}_foot" in found else chain[:3]
        drop = sum((glob[:, PARENTS["human"][k]] @ bones[k] for k in chain), np.zeros(3))
        source = place[:, found[HUMAN_JOINTS[chain[-1]]][0]] * (ours / theirs)
        differences.append(source[:, 1] - (root + drop)[:, 1])
    root[:, 1] += np.median(differences)
    return root
