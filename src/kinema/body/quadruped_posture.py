"""From a trunk's path and four paws' paths to a whole pose: spine, head, tail, ears, legs.

Input: `Trunk`, `FootPaths`, a `Manner` (how this animal carries itself). Output: local rotations and pelvis positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from kinema.body.footfalls import FootPaths
from kinema.body.quadruped import (
    HEAD,
    LEFT_EAR,
    LEGS,
    MOUTH,
    NECK,
    REST_JOINTS_M,
    RIGHT_EAR,
    SPINE,
    TAIL,
    leg_reach_m,
    lower_joint,
    plant_legs,
    rotation_x,
    rotation_y,
    rotation_z,
    trunk_kinematics,
)

PIVOT_M = np.array([0.0, 0.54, -0.02])
"""Middle of the rest trunk, about which it pitches and rolls."""
STRAIGHTEST = 0.97
"""How much of its full length a standing leg may be stretched to."""


@dataclass(frozen=True)
class Trunk:
    """Path and bending of the trunk over T frames; metres, radians.

    place   (x, z) of the middle of the body on the floor     yaw    heading, positive to the left
    lift    above the rest height     pitch  positive lowers the nose     roll  positive raises the left side
    flex    arching of the spine's ends downwards, in all     bend  bending of the spine to the left, in all
    """

    place: Float[np.ndarray, "T 2"]
    yaw: Float[np.ndarray, " T"]
    lift: Float[np.ndarray, " T"]
    pitch: Float[np.ndarray, " T"]
    roll: Float[np.ndarray, " T"]
    flex: Float[np.ndarray, " T"]
    bend: Float[np.ndarray, " T"]


def resting_trunk(frames: int) -> Trunk:
    """Standing at the origin, facing +z."""
    return Trunk(np.zeros((frames, 2)), *(np.zeros(frames) for _ in range(6)))


@dataclass(frozen=True)
class Manner:
    """How one animal carries head, tail, ears and mouth: radians and Hz, constants over a clip.

    The head looks about by two slow sines; the tail wags with a lag from root to tip.
    """

    neck: float
    head: float
    nod: float
    look: float
    look_hz: tuple[float, float]
    look_phase: tuple[float, float]
    tail: float
    tail_curl: float
    wag: float
    wag_hz: float
    ears: float
    mouth: float
    pant_hz: float


def random_manner(rng: np.random.Generator, vigour: float) -> Manner:
    """vigour 0 (calm) to 1 (flat out): less looking about and wagging, mouth open, neck and ears further down."""
    calm = 1 - vigour
    return Manner(
        neck=rng.normal(0.05 + 0.25 * vigour, 0.2),
        head=rng.normal(0, 0.12),
        nod=rng.uniform(0.01, 0.06),
        look=rng.uniform(0, 0.15 + 0.3 * calm),
        look_hz=(rng.uniform(0.1, 0.35), rng.uniform(0.35, 0.7)),
        look_phase=(rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)),
        tail=rng.uniform(-0.1, 0.9),
        tail_curl=rng.uniform(-0.08, 0.16),
        wag=rng.uniform(0.02, 0.1) if rng.random() < 0.6 else rng.uniform(0.1, 0.15 + 0.25 * calm),
        wag_hz=rng.uniform(0.8, 2.2 + calm),
        ears=rng.normal(0.1 - 0.5 * vigour, 0.15),
        mouth=max(0.0, rng.normal(0.1 + 0.2 * vigour, 0.1)),
        pant_hz=rng.uniform(2, 4),
    )


def _carry(local: np.ndarray, manner: Manner, t_s: np.ndarray, nod_phase: np.ndarray, trunk: Trunk) -> None:
    """Write neck, head, mouth, ears and tail into `local`. The head gives back most of the chest's pitch."""
    chest = trunk.pitch + trunk.flex / 2
    nod = manner.nod * np.sin(nod_phase)
    turns = zip(manner.look_hz, manner.look_phase, (0.7, 0.3), strict=True)
    look = manner.look * sum(w * np.sin(2 * np.pi * hz * t_s + phase) for hz, phase, w in turns)
    tilt = 0.25 * manner.look * np.sin(2 * np.pi * manner.look_hz[0] * t_s + manner.look_phase[1])
    local[:, NECK] = rotation_y(0.4 * look + 0.2 * trunk.bend) @ rotation_x(manner.neck - 0.45 * chest + nod)
    level = manner.head - 0.6 * manner.neck - 0.4 * chest - 0.7 * nod
    local[:, HEAD] = rotation_y(0.6 * look) @ rotation_x(level) @ rotation_z(tilt)
    local[:, MOUTH] = rotation_x(manner.mouth * (1 + 0.3 * np.sin(2 * np.pi * manner.pant_hz * t_s)))
    flap = manner.ears - 0.5 * nod
    local[:, LEFT_EAR] = rotation_z(-0.3 * manner.ears) @ rotation_x(flap)
    local[:, RIGHT_EAR] = rotation_z(0.3 * manner.ears) @ rotation_x(flap)
    kept_off_floor = 2.5 * np.clip(-0.05 - trunk.lift, 0, 0.3) + 0.9 * np.maximum(trunk.flex / 2 - trunk.pitch, 0)
    for k, joint in enumerate(TAIL):
        lift = (
            manner.tail + 0.5 * chest + kept_off_floor
            if k == 0
            else manner.tail_curl + 0.1 * nod + 0.25 * kept_off_floor
        )
        swing = manner.wag * (1.0 if k else 1.3) * np.sin(2 * np.pi * manner.wag_hz * t_s - 0.35 * k)
        local[:, joint] = rotation_y(swing) @ rotation_x(lift)


def _pose_trunk(trunk: Trunk) -> tuple[np.ndarray, np.ndarray]:
    """-> local rotations [T,35,3,3] with root and spine written, pelvis positions [T,3]."""
    local = np.tile(np.eye(3), (len(trunk.yaw), 35, 1, 1))
    heading, tilt = rotation_y(trunk.yaw), rotation_z(trunk.roll) @ rotation_x(trunk.pitch)
    local[:, 0] = heading @ tilt @ rotation_y(-trunk.bend / 2) @ rotation_x(-trunk.flex / 2)
    for joint in SPINE:
        local[:, joint] = rotation_y(trunk.bend / len(SPINE)) @ rotation_x(trunk.flex / len(SPINE))
    pelvis = PIVOT_M + tilt @ (REST_JOINTS_M[0] - PIVOT_M)
    root_m = (heading @ pelvis[..., None])[..., 0]
    root_m += np.stack([trunk.place[:, 0], trunk.lift, trunk.place[:, 1]], -1)
    return local, root_m


def leg_lean(trunk: Trunk, feet: FootPaths) -> np.ndarray:
    """[T,4] lean of the bones above the paws: with the leg while the paw stands, folded up while it swings, rad."""
    local, root_m = _pose_trunk(trunk)
    _, joints = trunk_kinematics(local, root_m)
    lean = np.zeros(feet.yaw_rad.shape)
    for k, leg in enumerate(LEGS):
        away = feet.places_m[:, k] - joints[:, leg.upper]
        rest = REST_JOINTS_M[leg.foot] - REST_JOINTS_M[leg.upper]
        ahead = np.sin(trunk.yaw) * away[:, 0] + np.cos(trunk.yaw) * away[:, 2]
        angle = np.arctan2(ahead, -away[:, 1]) - np.arctan2(rest[2], -rest[1])
        follow, fold = (0.9, 0.7) if leg.front else (0.6, 0.5)
        lean[:, k] = -follow * np.clip(angle, -0.8, 0.8) + fold * feet.bump[:, k]
    return lean


def crouched(trunk: Trunk, feet: FootPaths, lean_rad: np.ndarray) -> Trunk:
    """The trunk lowered, by one amount for the whole clip, until every standing leg reaches its paw."""
    local, root_m = _pose_trunk(trunk)
    _, joints = trunk_kinematics(local, root_m)
    needed = 0.0
    for k, leg in enumerate(LEGS):
        away = lower_joint(leg, feet.places_m[:, k], feet.yaw_rad[:, k], lean_rad[:, k]) - joints[:, leg.upper]
        flat = away[:, 0] ** 2 + away[:, 2] ** 2
        allowed = np.sqrt(np.maximum((STRAIGHTEST * leg_reach_m(leg)) ** 2 - flat, 0))
        needed = max(needed, np.max(np.where(feet.on_ground[:, k], -away[:, 1] - allowed, 0)))
    return replace(trunk, lift=trunk.lift - needed)


def assemble(
    t_s: np.ndarray,
    trunk: Trunk,
    feet: FootPaths,
    lean_rad: np.ndarray,
    manner: Manner,
    nod_phase: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """-> local rotations [T,35,3,3] and pelvis positions [T,3] of the whole animal."""
    local, root_m = _pose_trunk(trunk)
    _carry(local, manner, t_s, nod_phase, trunk)
    paw = np.array([1.1, 1.1, 0.9, 0.9]) * feet.bump * np.sin(np.pi * feet.swing**0.8)
    return plant_legs(local, root_m, feet.places_m, lean_rad, paw, feet.yaw_rad), root_m
