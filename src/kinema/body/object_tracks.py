"""Simulated objects for the prior's training: what 21 points do when things fall, bounce, roll, slide, are carried.

Input: a kind, a length, a seed. Output: an `ObjectMotion` as one still camera would have lifted it from masks and
depth (`kinema.body.object_points`), in a world with the floor at y = 0, and a caption. Objects are convex solids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from kinema.body.object_points import contour_vertices
from kinema.errors import InputError
from kinema.types import ObjectMotion

GRAVITY_M_S2 = 9.81


class Track(NamedTuple):
    """A rigid solid's corners [N,3] around its middle, where the middle is [T,3], how it is turned, what it does."""

    corners_m: np.ndarray
    place_m: np.ndarray
    turn: Rotation
    doing: str

    def solid(self, heading: Rotation) -> np.ndarray:
        """[T,N,3] the corners in the world, the whole track turned by `heading`."""
        turned = np.stack([(heading * self.turn).apply(corner) for corner in self.corners_m], 1)
        return turned + heading.apply(self.place_m)[:, None]


Simulate = Callable[[np.random.Generator, np.ndarray], Track]


def object_track(kind: str, seconds: float, fps: float, seed: int) -> tuple[ObjectMotion, str]:
    """One simulated object (`KINDS`) with seeded size, speeds and camera, and its caption.

    Equal seeds give equal tracks. Raises InputError for an unknown kind, or a length or rate that is not above zero.
    """
    rng, t_s = _seeded(kind, seconds, fps, seed)
    track = _SIMULATIONS[kind](rng, t_s)
    heading = Rotation.from_rotvec([0, rng.uniform(0, 2 * np.pi), 0])
    place = heading.apply(track.place_m)
    solid = track.solid(heading)
    rotmat, position = _camera(rng, place)
    frames = (len(t_s), 1, 1)
    points = seen_points(solid, np.tile(rotmat, frames), np.tile(position, frames[:2]))
    return ObjectMotion(points.astype(np.float32), fps, np.ones(len(t_s), bool)), track.doing


def simulate(kind: str, seconds: float, fps: float, seed: int) -> Track:
    """The solid itself and what it does, before any camera. Raises InputError as `object_track` does."""
    rng, t_s = _seeded(kind, seconds, fps, seed)
    return _SIMULATIONS[kind](rng, t_s)


def _seeded(kind: str, seconds: float, fps: float, seed: int) -> tuple[np.random.Generator, np.ndarray]:
    if kind not in KINDS:
        raise InputError("object_track", f"unknown kind {kind!r}", expected=", ".join(KINDS))
    if not (np.isfinite(seconds) and seconds > 0 and np.isfinite(fps) and fps > 0):
        raise InputError("object_track", f"asked for {seconds} s at {fps} Hz", expected="both above zero")
    return np.random.default_rng([seed, KINDS.index(kind)]), np.arange(max(1, round(seconds * fps))) / fps


def _camera(rng: np.random.Generator, place_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A still camera that looks at the middle of the path: rotation world to camera [3,3], position [3]."""
    target = (place_m.min(0) + place_m.max(0)) / 2
    away = 1.2 * np.linalg.norm(np.ptp(place_m, axis=0)) + rng.uniform(1.5, 4)
    azimuth, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(0.02, 0.6)
    direction = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    forward = -direction
    right = np.cross(forward, [0, 1, 0]) / np.linalg.norm(np.cross(forward, [0, 1, 0]))
    return np.stack([right, np.cross(forward, right), forward]), target + away * direction


def seen_points(solid_m: np.ndarray, rotmat: np.ndarray, position_m: np.ndarray) -> np.ndarray:
    """Corners of a convex solid [T,N,3] in the world -> its 21 points [T,21,3] in the world, as cameras see it.

    rotmat [T,3,3] world to camera, position_m [T,3] where the cameras are
    """
    points, previous = np.zeros((len(solid_m), 21, 3)), None
    for t, solid in enumerate((solid_m - position_m[:, None]) @ rotmat.transpose(0, 2, 1)):
        flat = solid[:, :2] / solid[:, 2:]
        rim = cv2.convexHull(flat.astype(np.float32), returnPoints=False)[:, 0]
        previous = contour_vertices(flat[rim], previous)
        low, high = flat.min(0), flat.max(0)
        box = [low, (high[0], low[1]), high, (low[0], high[1]), (low + high) / 2]
        depth = np.append(_rim_depth(previous, flat[rim], solid[rim, 2]), np.full(5, np.median(solid[:, 2])))
        at = np.concatenate([previous, box])
        points[t] = np.concatenate([at * depth[:, None], depth[:, None]], -1)
    return points @ rotmat + position_m[:, None]


def _rim_depth(vertices: np.ndarray, rim: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """[16] depth of points on a polygon's edges [N,2] from the depth of its corners [N]; 1/z is linear in a picture."""
    edge = np.roll(rim, -1, 0) - rim
    along = vertices[:, None] - rim
    share = np.clip((along * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-12), 0, 1)
    nearest = np.linalg.norm(along - share[..., None] * edge, axis=-1).argmin(1)
    share = share[np.arange(len(vertices)), nearest]
    return 1 / ((1 - share) / depth[nearest] + share / np.roll(depth, -1)[nearest])


def ball(radius_m: float) -> np.ndarray:
    """64 points spread over a sphere (Fibonacci lattice)."""
    k = np.arange(64) + 0.5
    height, angle = 1 - 2 * k / 64, k * np.pi * (1 + 5**0.5)
    ring = np.sqrt(1 - height**2)
    return radius_m * np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], -1)


def box(size_m: np.ndarray) -> np.ndarray:
    """The 8 corners of a box about its middle."""
    return np.stack(np.meshgrid(*([-0.5, 0.5],) * 3), -1).reshape(8, 3) * size_m


def _can(radius_m: float, length_m: float) -> np.ndarray:
    """A cylinder along x."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    rim = np.stack([0 * angle, radius_m * np.cos(angle), radius_m * np.sin(angle)], -1)
    end = np.array([length_m / 2, 0, 0])
    return np.concatenate([rim - end, rim + end])


def _hammer(length_m: float) -> np.ndarray:
    """Handle along +y from the hand at the origin, head across it at the top."""
    top = np.array([0, length_m, 0])
    handle, head = box(np.array([0.03, length_m, 0.03])), box(np.array([0.05, 0.06, 0.3 * length_m]))
    return np.concatenate([handle + top / 2, head + top])


def _still(frames: int) -> Rotation:
    return Rotation.from_rotvec(np.zeros((frames, 3)))


def _smooth(u: np.ndarray) -> np.ndarray:
    """0-1 -> 0-1, minimum jerk (Flash and Hogan 1985, equation 3)."""
    u = np.clip(u, 0, 1)
    return u**3 * (10 - 15 * u + 6 * u**2)


def _bounces(t_s: np.ndarray, height_m: float, climb_m_s: float, spring: float) -> tuple[np.ndarray, int]:
    """Height over the floor of something that starts at height_m, and how often it has touched by the end.

    spring  share of its speed that it keeps at every touch
    """
    begin, low, speed, touches = 0.0, height_m, climb_m_s, 0
    height = np.zeros(len(t_s))
    while begin <= t_s[-1] and (touches == 0 or speed > 0.15):
        flight = (speed + np.sqrt(speed**2 + 2 * GRAVITY_M_S2 * low)) / GRAVITY_M_S2
        now = (t_s >= begin) & (t_s < begin + flight)
        u = t_s[now] - begin
        height[now] = low + speed * u - GRAVITY_M_S2 * u**2 / 2
        begin, speed, low, touches = begin + flight, spring * (GRAVITY_M_S2 * flight - speed), 0.0, touches + 1
    return np.maximum(height, 0), touches


def _braked(t_s: np.ndarray, speed_m_s: float, brake_m_s2: float) -> np.ndarray:
    """Path of something that slows down evenly and stops, metres."""
    u = np.minimum(t_s, speed_m_s / brake_m_s2)
    return speed_m_s * u - brake_m_s2 * u**2 / 2


def _name(rng: np.random.Generator, *names: str) -> str:
    return str(rng.choice(names))


def _ball_bounces(rng, t_s) -> Track:
    radius, spring = rng.uniform(0.05, 0.2), rng.uniform(0.5, 0.85)
    height, _ = _bounces(t_s, rng.uniform(0.4, 2), rng.uniform(-1, 2), spring)
    along = rng.uniform(0, 1.2) * t_s
    place = np.stack([0 * t_s, height + radius, along], -1)
    spin = Rotation.from_rotvec(np.stack([along / radius, 0 * t_s, 0 * t_s], -1))
    return Track(ball(radius), place, spin, f"a {_name(rng, 'ball', 'rubber ball', 'basketball')} falls and bounces")


def _ball_rolls(rng, t_s) -> Track:
    radius, speed = rng.uniform(0.04, 0.2), rng.uniform(0.4, 4)
    along = _braked(t_s, speed, rng.uniform(0.2, 1))
    place = np.stack([0 * t_s, 0 * t_s + radius, along], -1)
    spin = Rotation.from_rotvec(np.stack([along / radius, 0 * t_s, 0 * t_s], -1))
    how = "slowly" if speed < 1.2 else "fast" if speed > 2.8 else "along the floor"
    return Track(ball(radius), place, spin, f"a {_name(rng, 'ball', 'soccer ball', 'marble')} rolls {how}")


def _ball_thrown(rng, t_s) -> Track:
    radius, spring = rng.uniform(0.03, 0.15), rng.uniform(0.4, 0.8)
    height, _ = _bounces(t_s, rng.uniform(0.8, 2), rng.uniform(2, 6), spring)
    along = _braked(t_s, rng.uniform(2, 7), rng.uniform(0.05, 0.4))
    spin = Rotation.from_rotvec(np.outer(t_s, rng.normal(0, 5, 3)))
    place = np.stack([0 * t_s, height + radius, along], -1)
    return Track(ball(radius), place, spin, f"a {_name(rng, 'ball', 'tennis ball')} is thrown through the air")


def _can_rolls(rng, t_s) -> Track:
    radius, speed = rng.uniform(0.03, 0.15), rng.uniform(0.4, 2.5)
    along = _braked(t_s, speed, rng.uniform(0.15, 0.8))
    place = np.stack([0 * t_s, 0 * t_s + radius, along], -1)
    spin = Rotation.from_rotvec(np.stack([along / radius, 0 * t_s, 0 * t_s], -1))
    return Track(
        _can(radius, radius * rng.uniform(1.5, 5)), place, spin, f"a {_name(rng, 'can', 'barrel')} rolls along"
    )


def _box_slides(rng, t_s) -> Track:
    size, speed = rng.uniform(0.1, 0.6, 3), rng.uniform(0.5, 4)
    along = _braked(t_s, speed, rng.uniform(0.5, 4))
    turn = Rotation.from_rotvec(np.outer(along / max(along[-1], 1e-3), [0, rng.normal(0, 0.8), 0]))
    place = np.stack([0 * t_s, 0 * t_s + size[1] / 2, along], -1)
    return Track(
        box(size), place, turn, f"a {_name(rng, 'box', 'crate', 'suitcase')} slides across the floor and stops"
    )


def _box_pushed(rng, t_s) -> Track:
    size, end = rng.uniform(0.2, 0.8, 3), max(t_s[-1], 1e-3)
    along = rng.uniform(0.5, 2.5) * _smooth((t_s / end - rng.uniform(0, 0.3)) / rng.uniform(0.4, 0.7))
    turn = Rotation.from_rotvec(np.outer(along, [0, rng.normal(0, 0.15), 0]))
    place = np.stack([0 * t_s, 0 * t_s + size[1] / 2, along], -1)
    return Track(box(size), place, turn, f"a {_name(rng, 'box', 'chair', 'cabinet')} is pushed along the floor")


def _box_drops(rng, t_s) -> Track:
    size = rng.uniform(0.1, 0.5, 3)
    height, _ = _bounces(t_s, rng.uniform(0.3, 2), 0.0, rng.uniform(0.1, 0.35))
    turn = Rotation.from_rotvec(np.tile([0, rng.uniform(0, 2), 0], (len(t_s), 1)))
    place = np.stack([0 * t_s, height + size[1] / 2, 0 * t_s], -1)
    return Track(box(size), place, turn, f"a {_name(rng, 'box', 'book', 'brick')} falls to the floor")


def _box_topples(rng, t_s) -> Track:
    """Falls about its lower front edge like an inverted pendulum: angle'' = 3 g / (4 r) sin(angle - balance)."""
    size = np.array([rng.uniform(0.2, 0.5), rng.uniform(0.6, 1.6), rng.uniform(0.1, 0.3)])
    reach, balance = np.hypot(size[1], size[2]) / 2, np.arctan2(size[2], size[1])
    angle, speed, begin = balance + 0.03, 0.0, rng.uniform(0, 0.3) * t_s[-1]
    path, step = np.zeros(len(t_s)), 1 / 1000
    fine = np.zeros(int(t_s[-1] / step) + 2)
    for k in range(len(fine)):
        fine[k] = angle
        speed += step * 0.75 * GRAVITY_M_S2 / reach * np.sin(angle - balance)
        angle += step * speed
        if angle > np.pi / 2:
            angle, speed = np.pi / 2, -0.2 * speed if speed > 0.3 else 0.0
    later = np.interp(t_s - begin, np.arange(len(fine)) * step, fine)
    path = np.where(t_s < begin, (balance + 0.03) * _smooth(t_s / max(begin, 1e-3)), later)
    turn = Rotation.from_rotvec(np.stack([path, 0 * path, 0 * path], -1))
    place = turn.apply([0, size[1] / 2, -size[2] / 2])
    return Track(box(size), place, turn, f"a tall {_name(rng, 'box', 'plank', 'sign')} topples over")


def _box_carried(rng, t_s) -> Track:
    """Lifted off the floor, carried with the bob of steps, put down again."""
    size, end = rng.uniform(0.15, 0.5, 3), max(t_s[-1], 1e-3)
    u, height, steps_hz = t_s / end, rng.uniform(0.7, 1.2), rng.uniform(1.5, 2.1)
    held = _smooth((u - 0.05) / 0.25) * (1 - _smooth((u - 0.75) / 0.22))
    along = rng.uniform(0.5, 1.3) * end * 0.5 * _smooth((u - 0.2) / 0.6)
    bob = held * 0.025 * np.sin(2 * np.pi * steps_hz * t_s)
    place = np.stack([held * 0.03 * np.sin(np.pi * steps_hz * t_s), size[1] / 2 + held * height + bob, along], -1)
    turn = Rotation.from_rotvec(np.stack([0.08 * bob / 0.025, rng.normal(0, 0.5) * _smooth(u), 0 * u], -1))
    return Track(box(size), place, turn, f"a {_name(rng, 'box', 'parcel', 'basket')} is lifted, carried and put down")


def _tool_swings(rng, t_s) -> Track:
    """Hammering: raised slowly, brought down fast, again and again."""
    beat, phase = rng.uniform(0.6, 1.6), rng.uniform()
    u = (t_s * beat + phase) % 1
    up = np.where(u < 0.7, _smooth(u / 0.7), 1 - np.clip((u - 0.7) / 0.3, 0, 1) ** 2)
    angle = np.pi / 2 - rng.uniform(1, 2.2) * up
    turn = Rotation.from_rotvec(np.stack([angle, 0 * u, 0 * u], -1))
    place = np.stack([0 * u, rng.uniform(0.6, 1.1) + 0.25 * up, -0.1 * up], -1)
    return Track(
        _hammer(rng.uniform(0.25, 0.9)), place, turn, f"a {_name(rng, 'hammer', 'mallet')} is swung up and down"
    )


def _stick_thrown(rng, t_s) -> Track:
    """A thrown stick or bottle tumbles end over end until it lies on the floor."""
    corners = _can(rng.uniform(0.015, 0.05), rng.uniform(0.2, 0.9))
    height, _ = _bounces(t_s, rng.uniform(0.8, 1.8), rng.uniform(2, 5), 0.0)
    landed = np.argmax(height <= 0) if (height <= 0).any() else len(t_s) - 1
    flying = np.minimum(t_s, t_s[landed])
    turns = np.round(rng.uniform(1, 4)) * np.pi * rng.choice([-1, 1]) * flying / max(t_s[landed], 1e-3)
    turn = Rotation.from_rotvec(np.stack([0 * t_s, 0 * t_s, turns], -1))
    along = rng.uniform(1, 5) * flying
    half = np.abs(np.sin(turns)) * corners[:, 0].max()
    place = np.stack([along, np.maximum(height, half) + corners[:, 1].max(), 0 * t_s], -1)
    return Track(corners, place, turn, f"a {_name(rng, 'stick', 'bottle', 'club')} spins through the air and lands")


def _pendulum(rng, t_s) -> Track:
    """Something that hangs swings with the period of its length, slowly dying down."""
    length, swing = rng.uniform(0.4, 2), rng.uniform(0.2, 0.8)
    rate = np.sqrt(GRAVITY_M_S2 / length) * (1 - swing**2 / 16)
    angle = swing * np.exp(-rng.uniform(0, 0.2) * t_s) * np.cos(rate * t_s + rng.uniform(0, 2 * np.pi))
    turn = Rotation.from_rotvec(np.stack([0 * t_s, 0 * t_s, angle], -1))
    place = turn.apply([0, -length, 0]) + np.array([0, length + 0.5, 0])
    corners = ball(rng.uniform(0.05, 0.2)) if rng.random() < 0.5 else box(rng.uniform(0.1, 0.4, 3))
    return Track(corners, place, turn, f"a {_name(rng, 'lamp', 'bell', 'weight on a rope')} swings back and forth")


def _car_drives(rng, t_s) -> Track:
    """Steers smoothly; faces where it goes."""
    size, speed = np.array([0.6, 0.5, 1.4]) * rng.uniform(0.15, 2.5), rng.uniform(0.5, 5)
    bend = rng.normal(0, 0.4)
    heading = bend * t_s + rng.uniform(0, 0.4) * np.sin(2 * np.pi * rng.uniform(0.1, 0.3) * t_s)
    pace = speed * (1 + rng.uniform(0, 0.3) * np.sin(2 * np.pi * 0.15 * t_s + rng.uniform(0, 6)))
    step = pace[:, None] * np.stack([np.sin(heading), 0 * heading, np.cos(heading)], -1)
    gap = np.diff(t_s, prepend=0)[:, None]
    turn = Rotation.from_rotvec(np.stack([0 * heading, heading, 0 * heading], -1))
    where = "straight on" if abs(bend) < 0.1 else "to the left" if bend > 0 else "to the right"
    place = np.cumsum(step * gap, 0) + np.array([0, size[1] / 2, 0])
    return Track(box(size), place, turn, f"a {_name(rng, 'car', 'toy car', 'cart')} drives {where}")


def _stays(rng, t_s) -> Track:
    size = rng.uniform(0.1, 0.8, 3)
    corners, name = (ball(size[1] / 2), "ball") if rng.random() < 0.3 else (box(size), _name(rng, "box", "stone"))
    place = np.tile([0, size[1] / 2, 0], (len(t_s), 1))
    return Track(corners, place, _still(len(t_s)), f"a {name} lies still")


_SIMULATIONS: dict[str, Simulate] = {
    "ball bounces": _ball_bounces,
    "ball rolls": _ball_rolls,
    "ball thrown": _ball_thrown,
    "can rolls": _can_rolls,
    "box slides": _box_slides,
    "box pushed": _box_pushed,
    "box drops": _box_drops,
    "box topples": _box_topples,
    "box carried": _box_carried,
    "tool swings": _tool_swings,
    "stick thrown": _stick_thrown,
    "pendulum": _pendulum,
    "car drives": _car_drives,
    "stays": _stays,
}
KINDS: tuple[str, ...] = tuple(_SIMULATIONS)
