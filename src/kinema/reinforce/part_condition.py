"""What the backbone is told of the motion: part masks and how far to trust them (ReVision, section 4.1).

Input: a scene, a sketch, or in training the true part masks. Output: a `PartCondition`, and its two channels on the
latent grid. Where nothing is known both channels are 0, so that a convolution without bias adds nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from kinema.body.skeleton import PART_IDS
from kinema.sketch import Sketch
from kinema.types import PartCondition, Scene


@dataclass(frozen=True)
class ConfidenceLevels:
    """Confidence where a part is known from full motion, where it is sketched, and elsewhere (ReVision, table 9)."""

    full: float = 1.0
    sketch: float = 0.5
    none: float = 0.0


CONFIDENCE = ConfidenceLevels()
TRAINING_SHARES = (0.4, 0.3, 0.3)
"""Full part masks, polygons of random parts in the last frame, nothing (ReVision, section 4.1)."""
LEAST_COVERED = 0.25
"""A latent cell shows a part from this coverage on: with a majority of pixels, hands would vanish between cells."""
MOST_SKETCHED = 4
"""Parts that a made-up sketch has at most."""
_SMALLEST_PX = 12
"""Parts with fewer pixels than this are not sketched."""

# From the middle outwards; parts on one line differ by little, the sides of the body by their sign.
_NEGATIVE = (
    ("abdomen", "animal_belly"), ("hips", "animal_hips"), ("", "tail"), ("", "left_ear"),
    ("left_upper_arm", "left_front_upper_leg"), ("left_forearm", "left_front_lower_leg"),
    ("left_hand", "left_front_paw"), ("left_foot", "left_hind_paw"), ("left_shin", "left_hind_lower_leg"),
    ("left_thigh", "left_hind_upper_leg"),
)  # fmt: skip
_POSITIVE = (
    ("chest", "animal_chest"), ("neck", "animal_neck"), ("head", "animal_head"),
    *((human.replace("left", "right"), animal.replace("left", "right")) for human, animal in _NEGATIVE[3:]),
)  # fmt: skip


def _part_values() -> np.ndarray:
    values = np.zeros(256, np.float32)
    for sign, pairs in ((-1, _NEGATIVE), (1, _POSITIVE)):
        for place, (human, animal) in enumerate(pairs):
            value = 0.1 + 0.09 * place
            values[PART_IDS[animal]] = sign * (value + 0.045)
            if human:
                values[PART_IDS[human]] = sign * value
    values[PART_IDS["object"]] = 1.0
    return values


PART_VALUES = _part_values()
"""[256] part id -> the number in -1..1 that stands for it; background 0. Trained models depend on it.

Neighbours along the body are 0.09 apart, a human part and its like in an animal 0.045, left and right have opposite
signs, so that a mirrored clip has mirrored numbers (but for the trunk and objects)."""


def no_condition(frames: int, hw: tuple[int, int], levels: ConfidenceLevels = CONFIDENCE) -> PartCondition:
    """Nothing is known."""
    return PartCondition(np.zeros((frames, *hw), np.uint8), np.full((frames, *hw), levels.none, np.float32))


def scene_condition(scene: Scene, hw: tuple[int, int], levels: ConfidenceLevels = CONFIDENCE) -> PartCondition:
    """The full motion of all subjects, seen by the scene's cameras; less where a part's own confidence is less."""
    from kinema.render.control_maps import part_condition

    drawn = part_condition(scene, size=(hw[1], hw[0]))
    share = drawn.confidence.astype(np.float32)
    return PartCondition(drawn.part_ids, np.float32(levels.none) + np.float32(levels.full - levels.none) * share)


def sketch_condition(
    sketch: Sketch, frames: int, hw: tuple[int, int], levels: ConfidenceLevels = CONFIDENCE
) -> PartCondition:
    """A sketch in the last frame, nothing before it; what was drawn later covers what was drawn before."""
    condition = no_condition(frames, hw, levels)
    scale = np.array(hw[::-1]) / np.array(sketch.image_hw[::-1])
    for shape in sketch.shapes:
        _fill(condition.part_ids[-1], shape.polygon_px * scale, shape.part_id)
    condition.confidence[-1][condition.part_ids[-1] > 0] = levels.sketch
    return condition


def training_condition(
    part_ids: UInt8[np.ndarray, "T H W"],
    rng: np.random.Generator,
    shares: tuple[float, float, float] = TRAINING_SHARES,
    levels: ConfidenceLevels = CONFIDENCE,
) -> PartCondition:
    """One of the three kinds of condition that a true clip is trained with, by their shares (which sum to 1)."""
    kind = rng.choice(3, p=shares)
    if kind == 0:
        confidence = np.where(part_ids > 0, np.float32(levels.full), np.float32(levels.none))
        return PartCondition(part_ids, confidence)
    condition = no_condition(len(part_ids), part_ids.shape[1:], levels)
    if kind == 1:
        condition.part_ids[-1] = random_polygons(part_ids[-1], rng)
        condition.confidence[-1][condition.part_ids[-1] > 0] = levels.sketch
    return condition


def random_polygons(part_ids: UInt8[np.ndarray, "H W"], rng: np.random.Generator) -> UInt8[np.ndarray, "H W"]:
    """Some of a frame's parts (1-4) as a user would sketch them: larger, rounder, not quite in their place."""
    import cv2

    drawn = np.zeros_like(part_ids)
    sizes = np.bincount(part_ids.ravel(), minlength=256)
    there = np.flatnonzero(sizes[1:] >= _SMALLEST_PX) + 1
    if not len(there):
        return drawn
    count = min(len(there), 1 + int(rng.integers(MOST_SKETCHED)))
    for part in rng.choice(there, count, replace=False):
        outlines, _ = cv2.findContours((part_ids == part).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        areas = np.array([cv2.contourArea(outline) + len(outline) / 2 for outline in outlines])
        whole = np.flatnonzero(areas >= min(_SMALLEST_PX, areas.max()))
        outline = outlines[rng.choice(whole)][:, 0].astype(np.float32) + 0.5
        _fill(drawn, _as_sketched(outline, rng), int(part))
    return drawn


def _as_sketched(outline: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Outline [N,2] of a part -> an ellipse, a circle or a rough polygon about it."""
    import cv2

    centre = outline.mean(0)
    radius = max(float(np.linalg.norm(outline - centre, axis=1).mean()), 1.0)
    form = rng.random()
    if form < 0.4:
        spread = np.cov(outline.T) if len(outline) > 2 else np.eye(2)
        size, axes = np.linalg.eigh(spread + 0.25 * np.eye(2))
        turn = np.arange(24) / 24 * 2 * np.pi
        shape = np.stack([np.cos(turn), np.sin(turn)], 1) * np.sqrt(2 * size) @ axes.T
    elif form < 0.65:
        turn = np.arange(24) / 24 * 2 * np.pi
        shape = radius * np.stack([np.cos(turn), np.sin(turn)], 1)
    else:
        tolerance = rng.uniform(0.05, 0.3) * radius
        shape = cv2.approxPolyDP(outline[:, None], tolerance, True)[:, 0] - centre
        shape = shape + rng.normal(0, 0.08 * radius, shape.shape)
    return centre + shape * rng.uniform(0.9, 1.4) + rng.normal(0, 0.08 * radius, 2)


def _fill(part_ids: np.ndarray, polygon_px: np.ndarray, part: int) -> None:
    """Draw a polygon; the centre of the first pixel is at (0.5, 0.5)."""
    import cv2

    steps = np.round((np.clip(polygon_px, -1e4, 1e4) - 0.5) * 256).astype(np.int32)
    cv2.fillPoly(part_ids, [steps], part, shift=8)


def encode_condition(condition: PartCondition, latent_hw: tuple[int, int]) -> Float32[np.ndarray, "T 2 h w"]:
    """The two channels: the number (`PART_VALUES`) of the part that covers most of a cell, and the mean confidence.

    `latent_hw` divides the height and width of the condition.
    """
    from kinema.reinforce.majority_kernel import vote

    frames, height, width = condition.part_ids.shape
    assert height % latent_hw[0] == 0, f"{height} rows do not fall into {latent_hw[0]}"
    assert width % latent_hw[1] == 0, f"{width} columns do not fall into {latent_hw[1]}"
    out = np.empty((frames, 2, *latent_hw), np.float32)
    vote(condition.part_ids, condition.confidence, PART_VALUES, LEAST_COVERED, out)
    return out
