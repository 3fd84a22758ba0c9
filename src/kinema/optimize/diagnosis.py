"""What is wrong with a motion, in numbers: `diagnose(motion)` -> findings with frames, joints, severity and a mend.

The faults are looked for in an order in which one does not hide or feign another: repeated frames are set aside, frames
in the wrong order are put right, exchanged sides and jumps are marked, and only what lies between jumps is measured for
jitter and sliding feet. Thresholds, each with its source, are beside their measures in `order_faults`,
`continuity_faults`, `contacts` and `body.joint_limits`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from kinema.body.joint_limits import beyond_limits
from kinema.body.model import BodyModel, body_for, joints
from kinema.body.skeleton import BODY_JOINT_COUNT, JOINTS
from kinema.optimize import contacts, continuity_faults, order_faults
from kinema.optimize.diagnosis_plot import figure_text, plot_diagnosis
from kinema.types import BodyMotion

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["KINDS", "Diagnosis", "Finding", "diagnose", "plot_diagnosis"]

Kind = Literal[
    "repeated_frames", "shuffled_frames", "left_right_swap", "teleport", "joint_flip", "jitter",
    "foot_slide", "floor_penetration", "floating", "off_floor", "joint_limit",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)
LIMIT_TOLERANCE_DEG = 2.0
"""Joint ranges are round numbers: less than this beyond one is not reported."""


@dataclass(frozen=True)
class Finding:
    """One fault. frames: ranges [first, last + 1); severity, threshold in `unit`; sentence: what, and how to mend."""

    kind: Kind
    joints: tuple[str, ...]
    frames: tuple[tuple[int, int], ...]
    severity: float
    threshold: float
    unit: str
    sentence: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings of a motion of `frame_count` frames at `fps` Hz; none when it is clean."""

    findings: tuple[Finding, ...]
    frame_count: int
    fps: float

    @property
    def clean(self) -> bool:
        return not self.findings

    def frames_with(self, kind: str) -> Bool[np.ndarray, " T"]:
        """[T] mask of the frames in which a kind of fault was found."""
        mask = np.zeros(self.frame_count, bool)
        for finding in self.findings:
            if finding.kind == kind:
                for begin, end in finding.frames:
                    mask[begin:end] = True
        return mask

    def to_json(self) -> str:
        """One object: frame_count, fps, clean, findings."""
        return json.dumps({**asdict(self), "clean": self.clean}, indent=2)

    def to_table(self) -> Table:
        """A table for the terminal, one row a finding."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        seconds = self.frame_count / self.fps
        title = f"{self.frame_count} frames, {seconds:.1f} s at {self.fps:g} fps"
        table = Table(title=title, box=SIMPLE_HEAD, show_lines=True, padding=(0, 1, 0, 0), title_justify="left")
        table.add_column("fault", max_width=11)
        table.add_column("frames", max_width=13)
        table.add_column("worst", justify="right")
        table.add_column("limit", justify="right")
        table.add_column("what it is and how to mend it", ratio=1)
        for finding in self.findings:
            table.add_row(
                finding.kind.replace("_", " "),
                _words(finding.frames),
                f"{figure_text(finding.severity)} {finding.unit}",
                figure_text(finding.threshold),
                finding.sentence,
            )
        if self.clean:
            table.add_row("none", "", "", "", "Nothing was found.")
        return table


def diagnose(motion: BodyMotion, body: BodyModel | None = None) -> Diagnosis:
    """Look for every kind of fault. `body` defaults to the built-in one of the motion's category.

    Frames that the motion marks as not valid are not reported.
    """
    body = body_for(motion.category, body)
    known = BODY_JOINT_COUNT if motion.category == "human" else len(JOINTS[motion.category])
    points = joints(motion, body)[:, :known].astype(np.float64)
    heights = contacts.standing_heights(body, motion.betas)[:known]
    report = _Report(motion)
    sequence = _put_in_order(points, report)
    pieces = _continuous_pieces(motion, points, sequence, report)
    _judge_jitter(points, pieces, report)
    _judge_floor(points, heights, pieces, report)
    _judge_limits(report)
    findings = sorted(report.findings, key=lambda f: KINDS.index(f.kind))
    return Diagnosis(tuple(findings), len(motion), motion.fps)


class _Report:
    """Collects findings of one motion: masks become frame ranges, invalid frames are left out."""

    def __init__(self, motion: BodyMotion):
        self.motion, self.findings = motion, []

    def add(self, kind: Kind, mask: np.ndarray, joints: Sequence[int] | np.ndarray, severity: float | np.number,
            threshold: float, unit: str, sentence: str) -> None:  # fmt: skip
        """`mask` [T]; nothing is added where it is empty. `joints`: indices."""
        mask = mask & self.motion.valid
        if mask.any():
            names = tuple(JOINTS[self.motion.category][j] for j in joints)
            ranges = _ranges(mask)
            finding = Finding(kind, names, ranges, float(severity), float(threshold), unit, sentence)
            self.findings.append(finding)


def _put_in_order(points: Float[np.ndarray, "T J 3"], report: _Report) -> np.ndarray:
    """[N] indices of the frames that are not repeated, in the order in which they belong."""
    fps, frames = report.motion.fps, np.arange(len(points))
    source = order_faults.repeated_frames(points, fps)
    again = source >= 0
    report.add("repeated_frames", again, (), again.sum(), 0, "frames",
               f"{again.sum()} frames show an earlier pose once more, so that the motion stops or jumps back: "
               "`kinema refine` fills them in.")  # fmt: skip
    kept = frames[~again]
    order = order_faults.belongs_at(points[kept], fps)
    moved = np.abs(order - np.arange(len(order)))
    misplaced = np.zeros(len(points), bool)
    misplaced[kept[moved > 0]] = True
    report.add("shuffled_frames", misplaced, (), moved.max(initial=0), 0, "frames",
               f"{misplaced.sum()} frames are in the wrong order, up to {moved.max(initial=0)} places off: "
               "`kinema refine` mends it, or sort them if the source has time stamps.")  # fmt: skip
    return kept[order]


def _continuous_pieces(motion: BodyMotion, points, sequence: np.ndarray, report: _Report) -> list[np.ndarray]:
    """Report exchanged sides, jumps and flips; return the runs of frame indices that lie between them."""
    fps, frames = motion.fps, len(motion)
    path = points[sequence]
    gained = continuity_faults.exchanged_sides(path, motion.category, fps)
    for k, limb in enumerate(continuity_faults.LIMBS[motion.category]):
        mask = np.zeros(frames, bool)
        mask[sequence] = gained[:, k] > 0
        involved = [j for j, name in enumerate(JOINTS[motion.category]) if name.partition("_")[2] in limb]
        report.add("left_right_swap", mask, involved, gained[:, k].max(), continuity_faults.SWAP_STEP_M, "m",
                   "Left and right are exchanged: exchange the joints of both sides in these frames, "
                   "or hold the others and let `kinema refine` fill them in.")  # fmt: skip
    cut = ((gained[1:] > 0) != (gained[:-1] > 0)).any(1)
    if len(path) < 3:
        return [sequence]
    jumps, speed = continuity_faults.teleports(path, fps)
    jumps &= ~cut[:, None]
    worst = max(speed[jumps.any(1)], default=0)
    report.add("teleport", _both_ends(jumps.any(1), sequence, frames), np.flatnonzero(jumps.any(0)), worst,
               continuity_faults.BODY_JUMP_M_PER_S, "m/s",
               f"The pose jumps within one frame, at {worst:.1f} m/s more than the steps around it explain: cut the "
               "clip there, or let `kinema refine` bridge it.")  # fmt: skip
    from kinema.geometry import rotvec_to_rotmat

    known = points.shape[1]
    rotmat = rotvec_to_rotmat(motion.rotvec[sequence, :known]).astype(float)
    turned, angle = continuity_faults.flips(rotmat, fps, motion.category)
    turned &= ~(cut | jumps.any(1))[:, None]
    worst = np.rad2deg(max(angle[turned], default=0))
    report.add("joint_flip", _both_ends(turned.any(1), sequence, frames), np.flatnonzero(turned.any(0)), worst * fps,
               np.rad2deg(continuity_faults.FLIP_RAD_PER_S[motion.category]), "deg/s",
               f"A joint turns by {worst:.0f} degrees in one frame: `kinema refine` mends it; "
               "if it turns for good, the rotations were exported with wrapped angles.")  # fmt: skip
    cut |= jumps.any(1)
    return np.split(sequence, np.flatnonzero(cut) + 1)


def _judge_jitter(points, pieces: list[np.ndarray], report: _Report) -> None:
    shaky, size = np.zeros(points.shape[:2], bool), np.zeros(points.shape[:2])
    for piece in pieces:
        shaky[piece], size[piece] = continuity_faults.jitter(points[piece], report.motion.fps)
    worst = 1e3 * size[shaky].max(initial=0)
    report.add("jitter", np.any(shaky, axis=1), np.flatnonzero(shaky.any(0)), worst,
               1e3 * continuity_faults.JITTER_FLOOR_M, "mm",
               f"Joints shake from frame to frame by up to {worst:.0f} mm: `kinema refine` calms it.")  # fmt: skip


def _judge_floor(points, heights, pieces: list[np.ndarray], report: _Report) -> None:
    """Level of the whole clip first; what is below, above and along the floor is measured from there."""
    fps, category = report.motion.fps, report.motion.category
    legs = contacts.LEGS[category]
    level = contacts.floor_level(points, heights, legs)
    everywhere = np.ones(len(points), bool)
    if abs(level) > contacts.LEVEL_M:
        where = "above" if level > 0 else "below"
        report.add("off_floor", everywhere, legs[:, 3], abs(level), contacts.LEVEL_M, "m",
                   f"The feet stand {100 * abs(level):.0f} cm {where} the floor throughout: move the root by "
                   f"{-level:+.2f} m, unless the body climbs or stands on something.")  # fmt: skip
        points = points - np.array([0, level, 0])
    depth = contacts.sunk_depth(points, heights, legs)
    sunk = depth > contacts.SUNK_M
    report.add("floor_penetration", np.any(sunk, axis=1), np.flatnonzero(sunk.any(0)), depth.max(),
               contacts.SUNK_M, "m",
               f"The body is up to {100 * depth.max():.0f} cm deep in the floor: `kinema refine`, or raise the root "
               "in these frames.")  # fmt: skip
    air = contacts.airborne(points, fps)
    lowest = points[..., 1].min(1)
    report.add("floating", air, (), lowest[air].max(initial=0), contacts.AIRBORNE_M, "m",
               "Nothing is near the floor for longer than a jump: lower the root, unless the body climbs.")  # fmt: skip
    slide = np.zeros((len(points), len(legs)))
    for piece in pieces:
        down = contacts.feet_down(points[piece], heights, legs)
        slide[piece] = contacts.slide_speed(points[piece], down, legs, fps)
    for k, foot in enumerate(legs[:, 3].tolist()):
        speed = slide[:, k]
        report.add("foot_slide", speed > contacts.SLIDE_M_PER_S, [foot], speed.max(), contacts.SLIDE_M_PER_S, "m/s",
                   f"The {JOINTS[category][foot].replace('_', ' ')} slides along the floor at up to "
                   f"{speed.max():.2f} m/s while it stands: `kinema refine`, or scale the root's path.")  # fmt: skip


def _judge_limits(report: _Report) -> None:
    motion = report.motion
    beyond = np.rad2deg(beyond_limits(motion.rotvec, motion.category))
    for j in np.flatnonzero(beyond.max(0) > LIMIT_TOLERANCE_DEG).tolist():
        name = JOINTS[motion.category][j].replace("_", " ")
        report.add("joint_limit", beyond[:, j] > LIMIT_TOLERANCE_DEG, [j], beyond[:, j].max(),
                   LIMIT_TOLERANCE_DEG, "deg",
                   f"The {name} bends {beyond[:, j].max():.0f} degrees further than a {motion.category}'s does: "
                   "`kinema refine`, or check the joint's mapping and its axes.")  # fmt: skip


def _both_ends(steps: Bool[np.ndarray, " S"], sequence: np.ndarray, frames: int) -> Bool[np.ndarray, " T"]:
    """[T] the frames before and after the steps of a sequence of frame indices."""
    mask = np.zeros(frames, bool)
    mask[sequence[:-1][steps]] = True
    mask[sequence[1:][steps]] = True
    return mask


def _ranges(mask: Bool[np.ndarray, " T"]) -> tuple[tuple[int, int], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int))).reshape(-1, 2)
    return tuple((int(a), int(b)) for a, b in edges)


def _words(ranges: tuple[tuple[int, int], ...], most: int = 6) -> str:
    """'3-7, 12' with the last frame of a range included; the rest is counted."""
    words = [f"{a}-{b - 1}" if b > a + 1 else f"{a}" for a, b in ranges[:most]]
    return ", ".join(words) + (f" and {len(ranges) - most} more" if len(ranges) > most else "")
