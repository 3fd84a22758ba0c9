"""A picture of a diagnosis: when which fault occurs, over the speed of the joints and the height of the feet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kinema.body.model import BodyModel
    from kinema.optimize.diagnosis import Diagnosis
    from kinema.types import BodyMotion

ROWS = {
    "repeated_frames": ("repeated frames", "#4e79a7"),
    "shuffled_frames": ("wrong order", "#76b7b2"),
    "left_right_swap": ("left / right", "#b07aa1"),
    "teleport": ("teleport", "#e15759"),
    "joint_flip": ("joint flip", "#ff9da7"),
    "jitter": ("jitter", "#f28e2b"),
    "foot_slide": ("foot slide", "#59a14f"),
    "floor_penetration": ("in the floor", "#9c755f"),
    "floating": ("floating", "#86bcb6"),
    "off_floor": ("off the floor", "#bab0ac"),
    "joint_limit": ("joint limit", "#edc948"),
}
"""Kind -> label and colour (Tableau 10, which stays apart for most colour-blind eyes)."""
INK, FAINT = "#333333", "#e6e6e6"


def plot_diagnosis(motion: BodyMotion, diagnosis: Diagnosis, path: str | Path, body: BodyModel | None = None) -> None:
    """Write a PNG (or what the suffix of `path` says): a row for every kind of fault above two curves over time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from kinema.atomic import atomic_path

    figure = Figure(figsize=(11, 6.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    faults, speed, feet = figure.subplots(3, 1, sharex=True, height_ratios=(3.4, 1.6, 1.6))
    _draw_faults(faults, diagnosis)
    _draw_curves(speed, feet, motion, body)
    for axes in (faults, speed, feet):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0, colors=INK, labelsize=9)
        axes.set_xlim(-0.5, max(len(motion) - 0.5, 0.5))
    feet.set_xlabel(f"frame   ({motion.fps:g} frames a second)", color=INK)
    found = len({finding.kind for finding in diagnosis.findings})
    seconds = len(motion) / motion.fps
    verdict = "nothing found" if diagnosis.clean else f"{found} kind{'s' if found > 1 else ''} of fault"
    faults.set_title(f"{verdict} in {len(motion)} frames ({seconds:.1f} s)", loc="left", color=INK, fontsize=12)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _draw_faults(axes: Axes, diagnosis: Diagnosis) -> None:
    for row, (kind, (_, colour)) in enumerate(ROWS.items()):
        ranges = [(a - 0.5, b - a) for f in diagnosis.findings if f.kind == kind for a, b in f.frames]
        axes.axhspan(row - 0.34, row + 0.34, color="#f6f6f6", zorder=0)
        axes.broken_barh(ranges, (row - 0.34, 0.68), facecolors=colour, zorder=2)
        worst = max((f for f in diagnosis.findings if f.kind == kind), key=lambda f: f.severity, default=None)
        if worst is not None:
            axes.text(1.005, row, f"{figure_text(worst.severity)} {worst.unit}", transform=axes.get_yaxis_transform(),
                      va="center", fontsize=9, color=INK)  # fmt: skip
    axes.set_yticks(range(len(ROWS)), [label for label, _ in ROWS.values()])
    axes.set_ylim(len(ROWS) - 0.5, -0.5)
    axes.tick_params(labelbottom=False)


def _draw_curves(speed: Axes, feet: Axes, motion: BodyMotion, body: BodyModel | None) -> None:
    from kinema.body.model import joints
    from kinema.body.skeleton import BODY_JOINT_COUNT
    from kinema.optimize.contacts import LEGS

    points = joints(motion, body)
    known = points[:, :BODY_JOINT_COUNT] if motion.category == "human" else points
    per_joint = np.linalg.norm(np.diff(known, axis=0), axis=-1) * motion.fps
    between = np.arange(len(per_joint)) + 0.5
    if len(per_joint):
        speed.fill_between(between, per_joint.max(1), color="#4e79a7", alpha=0.18, lw=0, label="fastest joint")
        speed.plot(between, per_joint.max(1), color="#4e79a7", lw=1)
        speed.plot(between, per_joint.mean(1), color=INK, lw=1.2, label="mean of joints")
        speed.legend(loc="upper right", frameon=False, ncols=2, fontsize=8)
    speed.set_ylabel("speed, m/s", color=INK)
    speed.set_ylim(bottom=0)
    legs = LEGS[motion.category]
    for leg, colour, line in zip(legs, ("#4e79a7", "#e15759") * 2, ("-", "-", ":", ":"), strict=False):
        side = "left" if colour == "#4e79a7" else "right"
        which = side if len(legs) == 2 else f"{side} {'front' if line == '-' else 'hind'}"
        feet.plot(points[:, leg[3], 1], color=colour, ls=line, lw=1.2, label=which)
    feet.axhline(0, color=INK, lw=0.8)
    feet.set_ylabel("feet over floor, m", color=INK)
    feet.legend(loc="upper right", frameon=False, ncols=4, fontsize=8)
    for axes in (speed, feet):
        axes.grid(axis="y", color=FAINT, lw=0.8)
        axes.set_axisbelow(True)


def figure_text(number: float) -> str:
    """Three figures, and no powers of ten: 0.0123, 81.6, 2489."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
