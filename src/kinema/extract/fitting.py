"""Keypoints, masks, depth -> bodies in the world, over the whole clip (ReVision, section 4.2-S2).

Input: an observation and cameras. Output: a `BodyMotion` for every person and animal, and the cameras, whose height and
pitch are found along with the bodies where they are not known: feet stand on the floor y = 0.
The lifter (`lifter.py`) says where to start; all frames and all bodies are then fitted together (`fit_terms.py`) by L-BFGS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kinema.body.skeleton import BODY_JOINT_COUNT
from kinema.errors import InputError
from kinema.extract.camera_motion import HEIGHT_M
from kinema.extract.depth_order import Hidden, find_hidden
from kinema.extract.fit_terms import (
    BETA_SIGMA,
    PITCH_SIGMA_RAD,
    POSE_SIGMA_RAD,
    ROOT_SIGMA_RAD,
    Evidence,
    Moves,
    Posed,
    depth_energy,
    floor_energy,
    held,
    limb_middles,
    limb_points,
    limit_energy,
    measured,
    minimise,
    on_device,
    order_energy,
    outline_energy,
    posed,
    skin_in_cameras,
    subject_energy,
)
from kinema.extract.lifter import LIFTED_BETAS, LIFTED_PARENTS, Lift, lift_twice, shipped_lifter
from kinema.extract.observation import Track
from kinema.extract.outline import Outline, find_outline, others_of
from kinema.geometry import rot6d_to_rotmat, rotmat_to_rotvec, rotvec_to_rotmat
from kinema.types import JOINT_COUNT, BodyMotion, Cameras, Category

LARGEST_PITCH_RAD = float(np.radians(50))
LARGEST_TURN_RAD = float(np.radians(40))
"""Up to here a camera's turns are taken out before lifting; beyond, each frame is lifted as its own camera sees it."""
HEIGHT_SIGMA = 0.3
"""Of the logarithm of the camera's height over the floor; weak, the bodies' size says more."""

LEAST_PART_SHARE = 10 / 128**2
"""Parts of fewer pixels, as a share of the longer side squared, have no middle to go by."""
PART_CONFIDENCE = 0.5
"""Of a part's middle, as of a keypoint: something may hide half of the part."""


@dataclass(frozen=True)
class FitConfig:
    """steps: L-BFGS iterations; outline_rounds: how often the outline is looked at anew, with half as many each;
    device: where bodies are fitted, the CPU or a GPU of torch's."""

    steps: int = 40
    history: int = 20
    outline_rounds: int = 3
    device: str = "cpu"

    def __post_init__(self):
        try:
            torch.zeros(1, device=self.device).cpu()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            why = str(error).split("\n")[0]
            raise InputError(
                "device", f"is {self.device!r} ({why})", "cpu, or a GPU of torch's, such as cuda"
            ) from error


THOROUGH = FitConfig()
QUICK = FitConfig(steps=15, outline_rounds=0)
"""Without outlines, which coarse videos have none to trust; with 3 px of noise, 40 steps are not nearer in space than 15."""


def fit_bodies(
    tracks: Sequence[Track],
    cameras: Cameras,
    fps: float,
    depth_m: Float[np.ndarray, "T H W"] | None = None,
    part_ids: UInt8[np.ndarray, "T H W"] | None = None,
    cameras_known: bool = False,
    hold_first: Sequence[BodyMotion | None] | None = None,
    config: FitConfig = THOROUGH,
    lifts: Mapping[int, Lift] = {},
) -> tuple[tuple[BodyMotion, ...], Cameras]:
    """Tracks of people and animals -> their motions, in order, and the cameras in the same world.

    depth_m        estimated, up to a scale; says who is in front
    part_ids       where parts are seen; the middles of the limbs' are fitted besides the keypoints
    cameras_known  the cameras stand where they say; otherwise only how they move is taken from them, and the first one is
                   level, its height and pitch are found, and the middle of all subjects is at x = z = 0
    hold_first     for each track, a motion whose first frame and shape are right; where the cameras are known its place is
                   too
    lifts          by the number of a track, where its fit starts instead of from the lifter: each frame in its own camera
    Frames in which a track is absent are bridged and not valid. Raises InputError for an object's track.
    """
    for track in tracks:
        if track.category == "object":
            raise InputError("fit_bodies", f"{track.label!r} has no joints", "people or animals", "use object_motion")
    if not tracks:
        return (), cameras
    evidence, pitches = zip(
        *(_look(track, cameras, fps, depth_m, part_ids, lifts.get(k)) for k, track in enumerate(tracks)), strict=True
    )
    evidence = list(evidence)
    masks = [t.masks & t.present[:, None, None] for t in tracks]
    views = _Views(masks, [_foreign(masks, k, part_ids) for k in range(len(masks))], cameras)
    first = cameras.T_camera_world[0].astype(np.float64)
    for i, motion in enumerate(hold_first or ()):
        if motion is not None:
            evidence[i] = _hold(evidence[i], motion, first if cameras_known else None)
    if cameras_known:
        up = torch.from_numpy(first[:3, 1].astype(np.float32))
        height = float(-(first[:3, :3].T @ first[:3, 3])[1])
        bodies, _, _ = _solve(evidence, views, lambda pitch: up.to(pitch.device), 0.0, height, config)
        T_world_first = np.linalg.inv(first)
    else:
        sure = np.array([float(e.confidence.sum()) for e in evidence]) + 1e-6
        pitch = float(np.average(np.array(pitches), weights=sure))
        bodies, pitch, height = _solve(evidence, views, _up, pitch, None, config)
        cameras, T_world_first = _placed(cameras, bodies, pitch, height)
    motions = [_motion(t, e, b, T_world_first, fps) for t, e, b in zip(tracks, evidence, bodies, strict=True)]
    return tuple(motions), cameras


@dataclass(frozen=True)
class _Views:
    """Of every subject: its mask [T,H,W], and where something else is seen [T,H,W]; and the cameras."""

    masks: list[np.ndarray]
    foreign: list[np.ndarray]
    cameras: Cameras


def _foreign(masks: list[np.ndarray], index: int, part_ids: np.ndarray | None) -> np.ndarray:
    """Where another subject, or a part that is not of this one, is seen."""
    others = others_of(masks, index)
    return others if part_ids is None else others | ((part_ids > 0) & ~masks[index])


def _up(pitch: Tensor) -> Tensor:
    """[3] the world's up in a level camera that looks down by `pitch`."""
    return torch.stack([0 * pitch, -pitch.cos(), -pitch.sin()])


def _look(
    track: Track, cameras: Cameras, fps: float, depth_m: np.ndarray | None, part_ids: np.ndarray | None,
    given: Lift | None,
) -> tuple[Evidence, float]:  # fmt: skip
    """A track as rays, lifted; and the pitch [rad] that the lifter sees."""
    category: Category = "human" if track.category == "human" else "animal"
    rays_t = _rays(track.keypoints_px, cameras)
    middles_px, middle_confidence = _part_middles(track, category, part_ids)
    shown = track.present[:, None] * np.clip(track.keypoint_confidence, 0, 1)
    confidence = torch.from_numpy(shown.astype(np.float32))
    turn, move = (torch.from_numpy(v.astype(np.float32)) for v in _relative(cameras))
    angle = torch.arccos(((turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)).max()
    straight = turn if float(angle) < LARGEST_TURN_RAD else torch.eye(3).expand_as(turn)
    ahead = torch.cat([rays_t, torch.ones_like(rays_t[..., :1])], -1) @ straight
    lifter = shipped_lifter(category)
    with torch.inference_mode():
        level = (ahead[..., :2] / ahead[..., 2:].clamp_min(0.1))[None]
        lift = lift_twice(lifter, level, confidence[None], torch.tensor([fps]))
        pitch = float(lift.pitch_rad[0])
        if given is not None:
            lift, straight = given, torch.eye(3).expand_as(turn)
        back = turn.mT @ straight
        local = rot6d_to_rotmat(lift.rot6d[0])
        local[:, 0] = back @ local[:, 0]
        root = (back @ lift.root_m[0, :, :, None])[..., 0] - (turn.mT @ move[..., None])[..., 0]
    sigma = torch.full((*confidence.shape, 1), POSE_SIGMA_RAD)
    sigma[:, 0] = ROOT_SIGMA_RAD
    focal_share = torch.from_numpy((cameras.K[:, 0, 0] / max(cameras.image_hw)).astype(np.float32))
    seen = torch.from_numpy(_seen_log_depth(track, depth_m).astype(np.float32))
    evidence = Evidence(
        category, rays_t, confidence, _rays(middles_px, cameras), middle_confidence, focal_share, turn, move, seen,
        local.clone(), root.clone(), lift.betas[0].clone(), sigma, BETA_SIGMA, fps,
    )  # fmt: skip
    return evidence, pitch


def _rays(pixels: np.ndarray, cameras: Cameras) -> Tensor:
    """[T,N,2] pixels -> where they lie on the plane z = 1 of each frame's camera."""
    rays = (pixels - cameras.K[:, None, :2, 2]) / cameras.K[:, None, [0, 1], [0, 1]]
    return torch.from_numpy(rays.astype(np.float32))


def _part_middles(track: Track, category: Category, part_ids: np.ndarray | None) -> tuple[np.ndarray, Tensor]:
    """[T,P,2] pixels: the middles of the limbs' parts in a track's mask; [T,P] how far to trust them."""
    parts, _ = limb_middles(category)
    middles = np.zeros((len(track.present), len(parts), 2))
    confidence = torch.zeros(middles.shape[:2])
    if part_ids is None:
        return middles, confidence
    least = LEAST_PART_SHARE * max(part_ids.shape[1:]) ** 2
    for t in np.flatnonzero(track.present):
        rows, columns = np.nonzero(track.masks[t])
        found = part_ids[t, rows, columns]
        count, x, y = (np.bincount(found, weights, 256)[parts] for weights in (None, columns + 0.5, rows + 0.5))
        middles[t] = np.stack([x, y], -1) / np.maximum(count, 1)[:, None]
        confidence[t] = torch.from_numpy(np.where(count >= least, PART_CONFIDENCE, 0.0)).float()
    return middles, confidence


def _relative(cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """The first camera's frame -> each frame's: rotations [T,3,3], translations [T,3]."""
    T = cameras.T_camera_world.astype(np.float64) @ np.linalg.inv(cameras.T_camera_world[0].astype(np.float64))
    return T[:, :3, :3], T[:, :3, 3]


def _seen_log_depth(track: Track, depth_m: np.ndarray | None) -> np.ndarray:
    """[T] median of a track's depth; NaN where there is none."""
    found = np.full(len(track.present), np.nan)
    if depth_m is None:
        return found
    for t in np.flatnonzero(track.present):
        there = depth_m[t][track.masks[t]]
        there = there[np.isfinite(there) & (there > 0)]
        if len(there):
            found[t] = np.log(np.median(there))
    return found


def _hold(evidence: Evidence, motion: BodyMotion, T_camera_world: np.ndarray | None) -> Evidence:
    """`motion`'s first frame as the known start; in the first camera's frame where that is known."""
    if motion.category != evidence.category:
        raise InputError("hold_first", f"holds a motion of {motion.category} layout", f"{evidence.category} layout")
    joints = len(LIFTED_PARENTS[evidence.category])
    local = rotvec_to_rotmat(torch.from_numpy(motion.rotvec[0, :joints]))
    betas = torch.from_numpy(motion.betas[: LIFTED_BETAS[evidence.category]])
    if T_camera_world is None:
        return held(evidence, local, betas, None)
    T = torch.from_numpy(T_camera_world.astype(np.float32))
    local[0] = T[:3, :3] @ local[0]
    return held(evidence, local, betas, T[:3, :3] @ torch.from_numpy(motion.root_translation_m[0]) + T[:3, 3])


def _solve(
    evidence: list[Evidence], views: _Views, up_of, pitch: float, height_m: float | None, config: FitConfig
) -> tuple[list[Posed], float, float]:
    """-> the bodies, and the first camera's pitch and height, which are found where no height is given.

    Once the bodies are where their joints were seen, how good these are is known, who hides whom is found, and outlines
    are compared, a few times over.
    """
    evidence = [on_device(e, config.device) for e in evidence]
    moves = [Moves.none(e) for e in evidence]
    shared = torch.zeros(2, requires_grad=True, device=config.device)
    start_m = _standing_height(evidence, moves, up_of(shared.new_tensor(pitch))) if height_m is None else height_m
    variables = [v for m in moves for v in m.variables()] + ([shared] if height_m is None else [])

    def at() -> tuple[Tensor, Tensor]:
        return pitch + shared[0] * PITCH_SIGMA_RAD, start_m * (shared[1] * HEIGHT_SIGMA).exp()

    def energy(hidden: Sequence[Hidden] = (), outlines: Sequence[Outline] = ()) -> Tensor:
        now_pitch, height = at()
        up = up_of(now_pitch)
        bodies = [posed(e, m) for e, m in zip(evidence, moves, strict=True)]
        total = depth_energy(evidence, bodies) + shared.square().sum() / 2
        for e, m, b in zip(evidence, moves, bodies, strict=True):
            total = total + subject_energy(e, m, b) + floor_energy(e, b, up, height)
            total = total + limit_energy(e.category, b.local)
        if hidden:
            depths = [limb_points(e, b)[..., 2] for e, b in zip(evidence, bodies, strict=True)]
            total = total + order_energy(hidden, depths)
        for e, b, outline in zip(evidence, bodies, outlines, strict=False):  # none in the first round
            total = total + outline_energy(e, b, outline)
        return total

    def now() -> list[Posed]:
        with torch.no_grad():
            return [posed(e, m) for e, m in zip(evidence, moves, strict=True)]

    minimise(energy, variables, config.steps, config.history)
    evidence = [measured(e, b) for e, b in zip(evidence, now(), strict=True)]
    points_px = [
        _pixels(e, limb_points(e, b), m.shape[1:]) for e, b, m in zip(evidence, now(), views.masks, strict=True)
    ]
    hidden = [on_device(h, config.device) for h in find_hidden(points_px, views.masks)]
    for _ in range(max(config.outline_rounds, bool(hidden))):
        outlines = []
        if config.outline_rounds:
            outlines = [
                find_outline(e.category, skin_in_cameras(e, b), mask, foreign, views.cameras)
                for e, b, mask, foreign in zip(evidence, now(), views.masks, views.foreign, strict=True)
            ]
        minimise(lambda found=outlines: energy(hidden, found), variables, config.steps // 2, config.history)
    with torch.no_grad():
        now_pitch, height = (float(v) for v in at())
        return [on_device(b, "cpu") for b in now()], now_pitch, height


def _pixels(evidence: Evidence, points: Tensor, hw: tuple[int, ...]) -> np.ndarray:
    """[T,P,3] in each frame's camera -> [T,P,2] pixels; the principal point is the picture's middle."""
    rays = points[..., :2] / points[..., 2:].clamp_min(0.1)
    focal = evidence.focal_share[:, None, None] * max(hw)
    return (rays * focal).double().cpu().numpy() + np.array([hw[1] / 2, hw[0] / 2])


@torch.no_grad()
def _standing_height(evidence: list[Evidence], moves: list[Moves], up: Tensor) -> float:
    """The first camera's height over the floor by the lifter's bodies: the mean over subjects of the lowest joint's."""
    lowest = [
        -(posed(e, m).points @ up)[e.confidence.sum(1) > 0].amin(1).quantile(0.3)
        for e, m in zip(evidence, moves, strict=True)
        if (e.confidence > 0).any()
    ]
    return max(0.2, float(torch.stack(lowest).mean())) if lowest else HEIGHT_M


def _placed(cameras: Cameras, bodies: list[Posed], pitch: float, height_m: float) -> tuple[Cameras, np.ndarray]:
    """Cameras in the world whose floor was found, the subjects' middle at x = z = 0; and the first one's T_world_camera."""
    c, s = np.cos(pitch), np.sin(pitch)
    turn = np.array([[1, 0, 0], [0, -c, -s], [0, s, -c]])  # camera to world
    middle = np.mean([turn @ b.root_m.double().numpy().mean(0) for b in bodies], 0)
    T_world_first = np.eye(4)
    T_world_first[:3, :3] = turn
    T_world_first[:3, 3] = [-middle[0], height_m, -middle[2]]
    T = cameras.T_camera_world.astype(np.float64) @ np.linalg.inv(cameras.T_camera_world[0].astype(np.float64))
    return replace(cameras, T_camera_world=(T @ np.linalg.inv(T_world_first)).astype(np.float32)), T_world_first


def _motion(track: Track, evidence: Evidence, body: Posed, T_world_first: np.ndarray, fps: float) -> BodyMotion:
    local = body.local.double().numpy().copy()
    local[:, 0] = T_world_first[:3, :3] @ local[:, 0]
    frames, joints = evidence.confidence.shape
    rotvec = np.zeros((frames, JOINT_COUNT[evidence.category], 3), np.float32)
    rotvec[:, :joints] = rotmat_to_rotvec(local)
    confidence = np.zeros(rotvec.shape[:2], np.float32)
    confidence[:, :joints] = evidence.confidence.numpy()
    assert evidence.category == "animal" or joints == BODY_JOINT_COUNT
    return BodyMotion(
        evidence.category,
        rotvec,
        body.root_m.double().numpy() @ T_world_first[:3, :3].T + T_world_first[:3, 3],
        body.betas.numpy(),
        fps,
        valid=track.present.copy(),
        confidence=confidence,
    )
