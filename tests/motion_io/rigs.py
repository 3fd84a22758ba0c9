"""Made-up motions, and rigs of every naming scheme made from a known motion on our own body."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from kinema.body.model import load_body
from kinema.body.skeleton import BODY_JOINTS, HUMAN_JOINTS, PARENTS
from kinema.types import BETA_COUNT, JOINT_COUNT, BodyMotion

J = {name: k for k, name in enumerate(HUMAN_JOINTS)}
T_AXES = np.eye(3)
Z_UP_FACING_MINUS_Y = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Our axes -> Blender's: left stays x, up becomes z, front becomes -y."""

NAMES = {
    "cmu": "Hips LeftUpLeg RightUpLeg LowerBack LeftLeg RightLeg Spine LeftFoot RightFoot Spine1 LeftToeBase "
    "RightToeBase - LeftShoulder RightShoulder Head LeftArm RightArm LeftForeArm RightForeArm LeftFingerBase "
    "RightFingerBase",
    "daz": "hip lThigh rThigh abdomen lShin rShin - lFoot rFoot chest - - neck lCollar rCollar head lShldr rShldr "
    "lForeArm rForeArm lHand rHand",
    "mixamo": "mixamorig:Hips mixamorig:LeftUpLeg mixamorig:RightUpLeg mixamorig:Spine mixamorig:LeftLeg "
    "mixamorig:RightLeg mixamorig:Spine1 mixamorig:LeftFoot mixamorig:RightFoot mixamorig:Spine2 "
    "mixamorig:LeftToeBase mixamorig:RightToeBase mixamorig:Neck mixamorig:LeftShoulder mixamorig:RightShoulder "
    "mixamorig:Head mixamorig:LeftArm mixamorig:RightArm mixamorig:LeftForeArm mixamorig:RightForeArm "
    "mixamorig:LeftHand mixamorig:RightHand",
    "lafan": "Hips LeftUpLeg RightUpLeg Spine LeftLeg RightLeg Spine1 LeftFoot RightFoot Spine2 LeftToe RightToe Neck "
    "LeftShoulder RightShoulder Head LeftArm RightArm LeftForeArm RightForeArm LeftHand RightHand",
    "blender": "spine thigh.L thigh.R spine.001 shin.L shin.R spine.002 foot.L foot.R spine.003 toe.L toe.R spine.004 "
    "shoulder.L shoulder.R spine.006 upper_arm.L upper_arm.R forearm.L forearm.R hand.L hand.R",
    "smpl": "Pelvis L_Hip R_Hip Spine1 L_Knee R_Knee Spine2 L_Ankle R_Ankle Spine3 L_Foot R_Foot Neck L_Collar "
    "R_Collar Head L_Shoulder R_Shoulder L_Elbow R_Elbow L_Wrist R_Wrist",
    "unknown": "root huefteL hueftR ruecken1 knieL knieR ruecken2 fussL fussR ruecken3 zehL zehR nacken schluesselL "
    "schluesselR kopf oberarmL oberarmR unterarmL unterarmR handL handR",
}
"""Names of the 22 body joints, in order; - where the rig has none."""


def body_motion(frames: int = 12, seed: int = 0, category: str = "human", fps: float = 20.0) -> BodyMotion:
    """A smooth made-up motion that exercises every joint, somebody standing."""
    rng = np.random.default_rng(seed)
    joints = JOINT_COUNT[category]
    phase, speed = rng.uniform(0, 2 * np.pi, (2, 1, joints, 3))
    rotvec = 0.4 * rng.uniform(0.2, 1, (1, joints, 3)) * np.sin(phase + speed * np.arange(frames)[:, None, None] / 6)
    rotvec[:, 0] *= 0.3
    root = np.array([0.3, 0.9, -2]) + 0.2 * np.sin(np.arange(frames)[:, None] / (5.0, 9, 7))
    return BodyMotion(
        category=category,
        rotvec=rotvec.astype(np.float32),
        root_translation_m=root.astype(np.float32),
        betas=rng.uniform(-1, 1, BETA_COUNT[category]).astype(np.float32),
        fps=fps,
    )


def global_rotations(motion: BodyMotion) -> np.ndarray:
    """[T,J,3,3] in the world, by scipy."""
    frames, joints = motion.rotvec.shape[:2]
    glob = Rotation.from_rotvec(motion.rotvec.reshape(-1, 3).astype(float)).as_matrix().reshape(frames, joints, 3, 3)
    for joint, parent in enumerate(PARENTS[motion.category]):
        if parent >= 0:
            glob[:, joint] = glob[:, parent] @ glob[:, joint]
    return glob


def angles_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[...,3,3] x 2 -> [...] angle between rotations."""
    turn = np.swapaxes(a, -1, -2) @ b
    return np.degrees(Rotation.from_matrix(turn.reshape(-1, 3, 3)).magnitude()).reshape(turn.shape[:-2])


def least_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation from direction a to direction b."""
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    return Rotation.from_rotvec(axis / max(sine, 1e-12) * np.arctan2(sine, a @ b)).as_matrix()


def rig_motion(scheme: str) -> BodyMotion:
    """A motion that a rig of the scheme can carry: face, fingers and missing joints follow their neighbours."""
    motion = body_motion()
    rotvec = motion.rotvec.copy()
    rotvec[:, len(BODY_JOINTS) :] = 0
    rotvec[:, [J["left_foot"], J["right_foot"]]] = 0
    if scheme == "daz":
        rotvec[:, [J["spine2"], J["spine3"]]] = 0
    if scheme == "cmu":
        rotvec[:, J["neck"]] = rotvec[:, J["head"]]
    return dataclasses.replace(motion, rotvec=rotvec, betas=np.zeros(10, np.float32))


def standing_turns(rest: np.ndarray, arms: str, straight: bool) -> np.ndarray:
    """[22,3,3] our rest pose -> the rig's: arms level ("T"), 45 degrees down ("A") or hanging ("N"); legs straight."""
    turns = np.tile(np.eye(3), (22, 1, 1))
    down = {"T": 0, "A": 45, "N": 89}[arms]
    for side, sign in (("left", 1), ("right", -1)):
        arm = np.array([sign * np.cos(np.radians(down)), -np.sin(np.radians(down)), 0])
        for joint, child in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "middle1")):
            a, b = J[f"{side}_{joint}"], J[f"{side}_{child}"]
            turns[a] = least_turn(rest[b] - rest[a], arm)
        if straight:
            for joint, child in (("hip", "knee"), ("knee", "ankle")):
                a, b = J[f"{side}_{joint}"], J[f"{side}_{child}"]
                turns[a] = least_turn(rest[b] - rest[a], np.array([0.0, -1, 0]))
    return turns


def write_rig(
    path: Path, motion: BodyMotion, scheme: str, arms: str = "T", axes: np.ndarray = T_AXES, unit: float = 100.0
) -> Path:
    """The motion as a BVH of another rig. `axes` maps ours to the file's; `unit` is file units a metre."""
    rest = load_body("human", detail="low").rest_joints(np.zeros(10, np.float32)).astype(float)
    names = NAMES[scheme].split()
    kept = [k for k, name in enumerate(names) if name != "-"]
    above = {k: int(PARENTS["human"][k]) for k in range(22)}
    parent = {}
    for k in kept:
        parent[k] = above[k]
        while parent[k] >= 0 and parent[k] not in kept:
            parent[k] = above[parent[k]]
    turns = standing_turns(rest, arms, straight=scheme in ("lafan", "cmu"))
    frames_of = np.tile(np.eye(3), (22, 1, 1))
    if scheme == "cmu":
        turns[J["head"]] = Rotation.from_euler("x", -16.2, degrees=True).as_matrix()
    if scheme == "lafan":
        x, y, z = np.eye(3)
        for k, name in enumerate(BODY_JOINTS):
            limb = name.partition("_")[2]
            sign = 1 if name.startswith("left") else -1
            columns = (y, z, x)
            if limb in ("collar", "shoulder", "elbow", "wrist"):
                columns = (sign * x, -z, sign * y)
            elif limb in ("hip", "knee"):
                columns = (-y, z, -x)
            elif limb in ("ankle", "foot"):
                columns = (z, y, -x)
            frames_of[k] = np.stack(columns, 1)
    # Where the joints stand in the rig's zero pose, and the offsets in their parents' frames
    stand, offset = {}, {}
    glob = global_rotations(motion)[:, :22]
    source = np.stack([axes @ glob[:, k] @ turns[k].T @ frames_of[k] @ axes.T for k in range(22)], 1)
    zero = [axes @ frames_of[k] @ axes.T for k in range(22)]
    for k in kept:
        bone, above_k = rest[k] - rest[parent[k]] if parent[k] >= 0 else rest[0], parent[k]
        stand[k] = bone if above_k < 0 else stand[above_k] + turns[above_k] @ bone
        offset[k] = axes @ bone if above_k < 0 else zero[above_k].T @ axes @ turns[above_k] @ bone
    hand = {J[f"{s}_wrist"]: rest_hand(s) for s in ("left", "right")}
    lines, columns = ["HIERARCHY"], []

    def describe(k: int) -> None:
        lines.extend([f"{'ROOT' if parent[k] < 0 else 'JOINT'} {names[k]}", "{"])
        lines.append("OFFSET {:.7f} {:.7f} {:.7f}".format(*offset[k] * unit))
        position = "Xposition Yposition Zposition " if parent[k] < 0 else ""
        lines.append(f"CHANNELS {6 if position else 3} {position}Yrotation Zrotation Xrotation")
        local = source[:, k] if parent[k] < 0 else np.swapaxes(source[:, parent[k]], 1, 2) @ source[:, k]
        if position:
            columns.append(motion.root_translation_m @ axes.T * unit)
        columns.append(Rotation.from_matrix(local).as_euler("YZX", degrees=True))
        for child in (c for c in kept if parent[c] == k):
            describe(child)
        if k in hand:
            end = zero[k].T @ axes @ turns[k] @ hand[k] * unit
            lines.extend(["End Site", "{", "OFFSET {:.7f} {:.7f} {:.7f}".format(*end), "}"])
        lines.append("}")

    describe(0)
    rows = np.concatenate(columns, 1)
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / motion.fps:.6f}"]
    lines += [" ".join(f"{v:.7f}" for v in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def rest_hand(side: str) -> np.ndarray:
    """Wrist to the middle finger's first joint at rest, metres."""
    rest = load_body("human", detail="low").rest_joints(np.zeros(10, np.float32)).astype(float)
    return rest[J[f"{side}_middle1"]] - rest[J[f"{side}_wrist"]]
