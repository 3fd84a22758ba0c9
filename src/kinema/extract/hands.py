"""Hands from elsewhere on the bodies of a scene (ReVision, appendix B: HaMeR's MANO hands are fitted into SMPL-X).

Input: a file of hand results as HaMeR (Pavlakos et al. 2024) gives them, and a scene. Output: the scene, its people's
wrists and fingers turned as the hands are, each as far as it agrees with the body in the picture: where its wrist is, and
where its fingers come to lie. MANO's 15 joints are SMPL-X's, in the same order and with the same axes.

The file, .npz or .json (nothing pickled), N hands:
  frame [N]                       of the video, from 0
  is_right [N]                    or `right`: 1 right, 0 left
  hand_pose [N,15,3,3]            rotations of the fingers, or rotation vectors [N,15,3]; relative to the flat hand
  global_orient [N,3,3]           the hand in the camera's frame, or a rotation vector [N,3]
  keypoints_2d [N,21,2]           pixels: the wrist, then thumb to little finger, four points each (OpenPose's order); or
  pred_keypoints_2d, box_center, box_size   as HaMeR has them: in units of its box, around that one's middle
  mirrored                        1 (default): left hands are given as right ones seen in a mirror, as HaMeR does
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation, Slerp

from kinema.body.model import joints
from kinema.body.skeleton import HUMAN_JOINTS, HUMAN_PARENTS
from kinema.camera import project
from kinema.errors import InputError
from kinema.json_file import read_json
from kinema.motion_io.npz import read_arrays
from kinema.types import BodyMotion, Cameras, Scene

FINGER_JOINTS = 15
WRIST = {False: HUMAN_JOINTS.index("left_wrist"), True: HUMAN_JOINTS.index("right_wrist")}
FIRST_FINGER = {False: HUMAN_JOINTS.index("left_index1"), True: HUMAN_JOINTS.index("right_index1")}
KNUCKLES = (5, 9, 17, 13, 1)
"""OpenPose's number of the first joint of index, middle, pinky, ring and thumb: SMPL-X's order of fingers."""
WRIST_SIGMA, FINGER_SIGMA = 0.5, 0.25
"""How far a hand's wrist, and its fingers about the wrist, may lie from the body's, in lengths of the hand."""
LEAST_WEIGHT = 0.1
"""What agrees less is another person's hand, or none."""


@dataclass(frozen=True)
class Hands:
    """N hands. frames [N]; right [N]; fingers [N,15,3,3] relative to the flat hand; wrist [N,3,3] in the camera's frame;
    keypoints_px [N,21,2] in OpenPose's order."""

    frames: np.ndarray
    right: Bool[np.ndarray, " N"]
    fingers: Float[np.ndarray, "N 15 3 3"]
    wrist: Float[np.ndarray, "N 3 3"]
    keypoints_px: Float[np.ndarray, "N 21 2"]


def load_hands(path: str | Path) -> Hands:
    """Read such a file. Raises InputError for what is missing or does not fit."""
    path = Path(path)
    if path.suffix.lower() == ".json":
        content = read_json(path, "a JSON object of lists: " + ", ".join(_NEEDED))
        if not isinstance(content, dict):
            raise InputError(path, "is no table of hands", "a JSON object of lists: " + ", ".join(_NEEDED))
        try:
            arrays = {key: np.asarray(value, float) for key, value in content.items()}
        except (ValueError, TypeError) as error:
            raise InputError(path, f"holds what are no numbers ({error})", "lists of one length") from error
    elif path.suffix.lower() == ".npz":
        arrays = read_arrays(path, _NEEDED)
    else:
        raise InputError(path, "is no file of hands by its name", "an .npz or .json (docs/extract.md)")
    try:
        return hands_of(arrays)
    except InputError as error:
        raise InputError(path, str(error), mend="docs/extract.md describes the file") from error


_NEEDED = ("frame", "is_right", "hand_pose", "global_orient", "keypoints_2d")


def hands_of(arrays: Mapping[str, np.ndarray]) -> Hands:
    """Hands of such arrays. Raises InputError as `load_hands`."""
    given = dict(arrays)
    given.setdefault("is_right", given.get("right", np.zeros(0)))
    for name in ("frame", "is_right", "hand_pose", "global_orient"):
        if name not in given or not len(np.atleast_1d(given[name])):
            raise InputError("hands", f"have no {name}", ", ".join(_NEEDED))
    count = len(given["frame"])
    right = np.asarray(given["is_right"]).reshape(-1) > 0.5
    fingers = _rotations(given["hand_pose"], count, FINGER_JOINTS, "hand_pose")
    wrist = _rotations(given["global_orient"], count, 1, "global_orient")[:, 0]
    if len(right) != count:
        raise InputError("is_right", f"has {len(right)} entries", f"{count}, one a hand")
    if float(np.ravel(given.get("mirrored", 1))[0]):
        flip = np.array([-1.0, 1.0, 1.0])
        mirror = flip[:, None] * flip
        fingers[~right] *= mirror
        wrist[~right] *= mirror
    frames = np.asarray(given["frame"]).reshape(-1).astype(int)
    return Hands(frames, right, fingers, wrist, _keypoints(given, count, right))


def _rotations(value: np.ndarray, count: int, joints_a_hand: int, name: str) -> np.ndarray:
    """[N,J,3,3] from matrices or rotation vectors, in whatever grouping."""
    numbers = np.asarray(value, float)
    if not np.isfinite(numbers).all():
        raise InputError(name, "holds what are no finite numbers")
    if numbers.size == count * joints_a_hand * 9:
        matrices = numbers.reshape(-1, 3, 3)
        if np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(initial=0) > 0.05:
            raise InputError(name, "holds matrices that are no rotations")
    elif numbers.size == count * joints_a_hand * 3:
        matrices = Rotation.from_rotvec(numbers.reshape(-1, 3)).as_matrix()
    else:
        raise InputError(name, f"has shape {numbers.shape}", f"{count} hands of {joints_a_hand} x 3 x 3, or x 3")
    return matrices.reshape(count, joints_a_hand, 3, 3).copy()


def _keypoints(given: Mapping[str, np.ndarray], count: int, right: np.ndarray) -> np.ndarray:
    if "keypoints_2d" in given:
        points = np.asarray(given["keypoints_2d"], float)
    elif {"pred_keypoints_2d", "box_center", "box_size"} <= set(given):
        points = np.asarray(given["pred_keypoints_2d"], float).copy()
        points[~right, ..., 0] *= -1  # a left hand is looked at in a mirror
        size = np.asarray(given["box_size"], float).reshape(-1, 1, 1)
        points = points * size + np.asarray(given["box_center"], float).reshape(-1, 1, 2)
    else:
        raise InputError("hands", "have no keypoints_2d", "those, or pred_keypoints_2d with box_center and box_size")
    if points.shape != (count, 21, 2) or not np.isfinite(points).all():
        raise InputError("keypoints_2d", f"has shape {points.shape}", f"({count}, 21, 2), finite numbers")
    return points


def with_hands(scene: Scene, hands: Hands) -> Scene:
    """The scene, its people with these hands; each goes to the person whose wrist is where its own is.

    A finger's confidence is how well its hand agrees; in frames without a hand the fingers are between those of the
    frames beside, with confidence 0. Raises InputError where a hand is of a frame that the scene doesn't have.
    """
    frames = len(scene.cameras.K)
    if len(hands.frames) and (hands.frames.min() < 0 or hands.frames.max() >= frames):
        raise InputError("hands", f"are of frames {hands.frames.min()} to {hands.frames.max()}", f"0 to {frames - 1}")
    people = [
        k for k, s in enumerate(scene.subjects) if isinstance(s.motion, BodyMotion) and s.motion.category == "human"
    ]
    motions = {k: scene.subjects[k].motion for k in people}
    for right in (False, True):
        best: dict[tuple[int, int], tuple[float, int]] = {}
        for n in np.flatnonzero(hands.right == right):
            t = int(hands.frames[n])
            weights = {k: _agreement(motions[k], scene.cameras, hands, int(n)) for k in people if motions[k].valid[t]}  # type: ignore[arg-type, union-attr]
            for k, weight in weights.items():
                if (
                    weight == max(weights.values())
                    and weight >= LEAST_WEIGHT
                    and weight > best.get((k, t), (0.0, 0))[0]
                ):
                    best[k, t] = weight, int(n)
        for k in people:
            own = {t: found for (person, t), found in best.items() if person == k}
            if own:
                motion = motions[k]
                assert isinstance(motion, BodyMotion)
                motions[k] = _merged(motion, scene.cameras, hands, own, right)
    subjects = tuple(replace(s, motion=motions.get(k, s.motion)) for k, s in enumerate(scene.subjects))
    return replace(scene, subjects=subjects)


def _agreement(motion: BodyMotion, cameras: Cameras, hands: Hands, n: int) -> float:
    """0-1: how well hand `n` lies where this body's hand is, were it turned like that."""
    t, right = int(hands.frames[n]), bool(hands.right[n])
    camera = Cameras(cameras.K[t : t + 1], cameras.T_camera_world[t : t + 1], cameras.image_hw)
    turned = _turned(motion[t : t + 1], camera, hands.wrist[n], hands.fingers[n], right, 1.0)
    first = FIRST_FINGER[right]
    which = [WRIST[right], *range(first, first + FINGER_JOINTS, 3)]
    drawn = project(joints(turned)[:, which], camera)[0][0]
    seen = hands.keypoints_px[n][[0, *KNUCKLES]]
    length = max(float(np.linalg.norm(drawn[1:] - drawn[0], axis=-1).max()), 1e-3)
    wrist = float(np.linalg.norm(seen[0] - drawn[0])) / length
    fingers = (seen[1:] - seen[0]) - (drawn[1:] - drawn[0])
    off = float(np.sqrt((fingers**2).sum(-1).mean())) / length
    return float(np.exp(-((wrist / WRIST_SIGMA) ** 2 + (off / FINGER_SIGMA) ** 2) / 2))


def _merged(
    motion: BodyMotion, cameras: Cameras, hands: Hands, own: dict[int, tuple[float, int]], right: bool
) -> BodyMotion:
    """The motion with one side's hands: {frame: (weight, hand)}."""
    rotvec, confidence = motion.rotvec.copy(), motion.confidence.copy()
    fingers = slice(FIRST_FINGER[right], FIRST_FINGER[right] + FINGER_JOINTS)
    confidence[:, fingers] = 0
    for t, (weight, n) in own.items():
        camera = Cameras(cameras.K[t : t + 1], cameras.T_camera_world[t : t + 1], cameras.image_hw)
        turned = _turned(motion[t : t + 1], camera, hands.wrist[n], hands.fingers[n], right, weight)
        rotvec[t] = turned.rotvec[0]
        confidence[t, fingers] = weight
    known = np.array(sorted(own))
    for joint in range(fingers.start, fingers.stop):
        for axis in range(3):
            rotvec[:, joint, axis] = np.interp(np.arange(len(rotvec)), known, rotvec[known, joint, axis])
    return replace(motion, rotvec=rotvec, confidence=confidence)


def _turned(
    frame: BodyMotion, camera: Cameras, wrist: np.ndarray, fingers: np.ndarray, right: bool, weight: float
) -> BodyMotion:
    """One frame with a hand: the wrist turned towards it by `weight`, the fingers as it has them."""
    joint, first = WRIST[right], FIRST_FINGER[right]
    above = Rotation.identity()
    chain, at = [], int(HUMAN_PARENTS[joint])
    while at >= 0:
        chain.append(at)
        at = int(HUMAN_PARENTS[at])
    for at in reversed(chain):
        above = above * Rotation.from_rotvec(frame.rotvec[0, at])
    world = Rotation.from_matrix(camera.T_camera_world[0, :3, :3].astype(float)).inv() * Rotation.from_matrix(wrist)
    ends = Rotation.concatenate([Rotation.from_rotvec(frame.rotvec[0, joint]), above.inv() * world])
    rotvec = frame.rotvec.copy()
    rotvec[0, joint] = Slerp([0, 1], ends)(weight).as_rotvec()
    rotvec[0, first : first + FINGER_JOINTS] = Rotation.from_matrix(fingers).as_rotvec()
    return replace(frame, rotvec=rotvec)
