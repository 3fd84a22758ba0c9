"""Which frames of a video show a body that is not whole: missing, extra or torn parts, by a rule on part masks.

Input: part ids uint8 [T,H,W] extracted from a video, and how many subjects there are, or which pixel is whose. Output:
three flags a frame. Source: issue 3, aim 3; the paper names such failures (ReVision, section 1) and gives no rule. Ours:

missing  a chain of parts (an arm, a leg, the head, the trunk, the tail; an object) that the first frame shows clearly
         keeps less than a tenth of its share of the subject, while nothing can hide it: the subject does not touch the
         picture's edge, nor another subject that is large enough. The subject's own trunk does hide an arm now and then;
         so single parts are not asked for, and the true masks fail in a few frames too (docs/evaluate.md).
extra    a part has two sizeable pieces, too far from each other to be one part with something before its middle.
torn     a sizeable part hangs on nothing: background all around it, or background on the shortest way to the part that
         it hangs on (the shin for a foot), where that is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from kinema.body.skeleton import PART_IDS
from kinema.errors import InputError

SHOWN_SHARE = 0.03
"""A chain is clear in the first frame from this share of the subject's pixels on."""
GONE_SHARE = 0.1
"""It is missing below this part of that share; so is a subject below this part of its first area."""
SIZEABLE_SHARE = 0.02
LEAST_PX = 8
"""A piece counts from this share of the subject's pixels and this many pixels on: below it is the noise of edges."""
SECOND_SHARE = 0.3
"""A second piece counts from this share of the first one's area on."""
REACH = 1.5
"""Pieces are of one part while the box around both is at most this many times as long as the part ever is in one piece."""
GAP_SHARE = 0.03
"""Background this wide, as a share of the diagonal of the subject's box, is still no tear: thin limbs lose pixels."""
TEAR_SHARE = 0.06
LEAST_TEAR_PX = 2.0
"""A part is torn off where more background than this share of the diagonal, and these pixels, lies before its holder."""
TRUNK_REACH = 0.5
"""Pieces of the trunk may always be this share of the diagonal apart: the subject's own limbs cut it up."""
CLIP_FAILS_ABOVE = 0.2
"""A clip fails as a whole when more than this share of its frames do."""

CHAINS: dict[str, dict[str, tuple[str, ...]]] = {
    "human": {
        "head": ("head",),
        "trunk": ("chest", "abdomen", "hips"),
        **{f"{s}_arm": (f"{s}_upper_arm", f"{s}_forearm", f"{s}_hand") for s in ("left", "right")},
        **{f"{s}_leg": (f"{s}_thigh", f"{s}_shin", f"{s}_foot") for s in ("left", "right")},
    },
    "animal": {
        "head": ("animal_head", "left_ear", "right_ear"),
        "trunk": ("animal_chest", "animal_belly", "animal_hips"),
        "tail": ("tail",),
        **{
            f"{s}_{e}_leg": (f"{s}_{e}_upper_leg", f"{s}_{e}_lower_leg", f"{s}_{e}_paw")
            for s in ("left", "right")
            for e in ("front", "hind")
        },
    },
    "object": {"object": ("object",)},
}
_HUMAN_BONES = (
    ("head", "neck"), ("head", "chest"), ("neck", "chest"), ("chest", "abdomen"), ("abdomen", "hips"),
    *((f"{s}_{a}", b if b in ("chest", "hips") else f"{s}_{b}") for s in ("left", "right") for a, b in (
        ("upper_arm", "chest"), ("forearm", "upper_arm"), ("hand", "forearm"),
        ("thigh", "hips"), ("shin", "thigh"), ("foot", "shin"))),
)  # fmt: skip
_ANIMAL_BONES = (
    ("animal_head", "animal_neck"), ("animal_head", "animal_chest"), ("animal_neck", "animal_chest"),
    ("animal_chest", "animal_belly"), ("animal_belly", "animal_hips"), ("tail", "animal_hips"),
    ("left_ear", "animal_head"), ("right_ear", "animal_head"),
    *((f"{s}_{e}_{a}", b if b.startswith("animal") else f"{s}_{e}_{b}") for s in ("left", "right")
      for e, trunk in (("front", "animal_chest"), ("hind", "animal_hips"))
      for a, b in (("upper_leg", trunk), ("lower_leg", "upper_leg"), ("paw", "lower_leg"))),
)  # fmt: skip


def _hangs_on() -> dict[int, tuple[int, ...]]:
    bones = [(PART_IDS[a], PART_IDS[b]) for a, b in (*_HUMAN_BONES, *_ANIMAL_BONES)]
    return {part: tuple(b for a, b in bones if a == part) for part, _ in bones}


HANGS_ON = _hangs_on()
"""Part id -> the part towards the trunk that it hangs on, and, where that is small, the next one."""
TRUNK = frozenset(PART_IDS[name] for category in ("human", "animal") for name in CHAINS[category]["trunk"])


@dataclass(frozen=True)
class Morphology:
    """Which frames show which failure, over all subjects."""

    missing: Bool[np.ndarray, " T"]
    extra: Bool[np.ndarray, " T"]
    torn: Bool[np.ndarray, " T"]

    @property
    def failing(self) -> Bool[np.ndarray, " T"]:
        return self.missing | self.extra | self.torn


@dataclass(frozen=True)
class _Group:
    """Subjects that can't be told apart: their part ids (0 elsewhere), what is of others, how many they are."""

    category: str
    parts: UInt8[np.ndarray, "T H W"]
    others: Bool[np.ndarray, "T H W"]
    count: int


@dataclass(frozen=True)
class _Pieces:
    """Connected pieces of one part in all frames, largest first. box: left, top, right, bottom (exclusive).

    labels  int32, the part's box in every frame (its top left corner at `corner`): `label` of the piece a pixel is in
    """

    frame: np.ndarray
    area: np.ndarray
    box: np.ndarray
    blob: np.ndarray
    label: np.ndarray
    labels: np.ndarray
    corner: tuple[int, int]

    def of(self, frame: int) -> np.ndarray:
        return np.arange(np.searchsorted(self.frame, frame), np.searchsorted(self.frame, frame, "right"))

    def mask(self, piece: int, window: tuple[slice, slice]) -> np.ndarray:
        """uint8 picture of one piece in a window around its box."""
        left, top, right, bottom = self.box[piece]
        y, x = self.corner
        found = np.zeros((window[0].stop - window[0].start, window[1].stop - window[1].start), np.uint8)
        inner = self.labels[self.frame[piece], top - y : bottom - y, left - x : right - x] == self.label[piece]
        found[top - window[0].start : bottom - window[0].start, left - window[1].start : right - window[1].start] = (
            inner
        )
        return found


def morphology(
    part_ids: UInt8[np.ndarray, "T H W"],
    subject_count: int = 1,
    subject_ids: UInt8[np.ndarray, "T H W"] | None = None,
) -> Morphology:
    """Look for missing, extra and torn parts in every frame.

    subject_count  how many subjects there are, where nobody knows whose a pixel is: all categories that the first frame
                   shows have one each, and any of them may have the rest
    subject_ids    0 background, else 1 + index of the subject: the stricter way; `subject_count` is then not used. A
                   part that is nobody's (a piece that the subject's mask leaves out) is the only subject's of its kind
    Raises InputError where the first frame shows no subject.
    """
    if not part_ids[0].any():
        raise InputError("part ids", "show no subject in the first frame", expected="at least one")
    failures = np.zeros((3, len(part_ids)), bool)
    for group in _groups(part_ids, subject_count, subject_ids):
        failures |= _failures(group)
    return Morphology(*failures)


def morphology_failure_rate(
    part_ids: UInt8[np.ndarray, "T H W"],
    subject_count: int = 1,
    subject_ids: UInt8[np.ndarray, "T H W"] | None = None,
) -> float:
    """Share of frames with a missing, extra or torn part, 0-1, lower is better. At least 100 clips, for a mean over them.

    Arguments and errors: `morphology`.
    """
    return float(morphology(part_ids, subject_count, subject_ids).failing.mean())


def morphology_clip_failure(
    part_ids: UInt8[np.ndarray, "T H W"],
    subject_count: int = 1,
    subject_ids: UInt8[np.ndarray, "T H W"] | None = None,
) -> float:
    """1 where more than a fifth of the frames fail, else 0; its mean over clips is a rate, lower is better.

    At least 100 clips, for a standard error under 5 points. Arguments and errors: `morphology`.
    """
    return float(morphology_failure_rate(part_ids, subject_count, subject_ids) > CLIP_FAILS_ABOVE)


def _groups(part_ids: np.ndarray, subject_count: int, subject_ids: np.ndarray | None) -> list[_Group]:
    category = _category_of(part_ids)
    seen = [c for c in (1, 2, 3) if (category[0] == c).any()]
    names = ("", "human", "animal", "object")
    if subject_ids is None:
        count = max(1, subject_count - len(seen) + 1)
        return [
            _Group(names[c], np.where(category == c, part_ids, 0), (category > 0) & (category != c), count)
            for c in seen
        ]
    subjects = [int(s) for s in np.unique(subject_ids[0][part_ids[0] > 0]) if s > 0]
    kinds = [int(np.bincount(category[0][subject_ids[0] == s], minlength=4)[1:].argmax()) + 1 for s in subjects]
    groups = []
    for subject, c in zip(subjects, kinds, strict=True):
        mine = subject_ids == subject
        if kinds.count(c) == 1:
            mine |= (subject_ids == 0) & (category == c)
        own = mine & (category == c)
        groups.append(_Group(names[c], np.where(own, part_ids, 0), (part_ids > 0) & ~mine, 1))
    return groups


def _category_of(part_ids: np.ndarray) -> np.ndarray:
    """0 background, 1 human, 2 animal, 3 object."""
    table = np.zeros(256, np.uint8)
    for number, category in enumerate(CHAINS, 1):
        for chain in CHAINS[category].values():
            table[[PART_IDS[name] for name in chain]] = number
    table[PART_IDS["neck"]], table[PART_IDS["animal_neck"]] = 1, 2
    return table[part_ids]


def _failures(group: _Group) -> Bool[np.ndarray, "3 T"]:
    own = group.parts > 0
    area, diagonal = own.sum((1, 2)), _diagonals(own)
    radius = max(1, round(GAP_SHARE * diagonal[0] / 2))
    blobs, edge_blobs = _blobs(own | group.others, radius)
    most = np.stack([np.bincount(frame.ravel(), minlength=256) for frame in group.parts]).max(0)
    pieces = {p: _pieces(group.parts, p, blobs) for p in np.flatnonzero(most >= LEAST_PX).tolist() if p > 0}
    sizeable = np.maximum(LEAST_PX, SIZEABLE_SHARE * area)
    homes = _home_blobs(own, blobs, group.count)
    return np.stack(
        [
            _missing(group, own, area, radius),
            _extra(pieces, sizeable, diagonal, group.count),
            _torn(group, pieces, sizeable, np.maximum(LEAST_TEAR_PX, TEAR_SHARE * diagonal), homes, edge_blobs),
        ]
    )


def _missing(group: _Group, own: np.ndarray, area: np.ndarray, radius: int) -> Bool[np.ndarray, " T"]:
    """A chain, or all of the subject, is gone and nothing can hide it."""
    at_edge = np.any(own[:, [0, -1]], axis=(1, 2)) | np.any(own[:, :, [0, -1]], axis=(1, 2))
    touching = ((_widened(own, radius)[:, : own.shape[1]] > 0) & group.others).any((1, 2))
    hidden_px = np.where(touching, group.others.sum((1, 2)), 0)
    there = area >= GONE_SHARE * area[0]
    last = np.maximum.accumulate(np.where(there, np.arange(len(area)), 0))
    at_edge, hidden_px = at_edge[last], hidden_px[last]
    missing = ~there & ~at_edge & (hidden_px < area[0])
    for names in CHAINS[group.category].values():
        chain = np.isin(group.parts, [PART_IDS[name] for name in names]).sum((1, 2))
        share = chain[0] / area[0]
        if share >= SHOWN_SHARE:
            gone = there & (chain < GONE_SHARE * share * area) & (share * area >= LEAST_PX)
            missing |= gone & ~at_edge & (hidden_px < share * area)
    return missing


def _extra(
    pieces: dict[int, _Pieces], sizeable: np.ndarray, diagonal: np.ndarray, count: int
) -> Bool[np.ndarray, " T"]:
    """A part has more pieces, each too far from the others to be of one part, than there are subjects."""
    extra = np.zeros(len(sizeable), bool)
    for part, found in pieces.items():
        largest = np.unique(found.frame, return_index=True)[1]
        limit = REACH * _length(found.box[largest]).max()
        if part in TRUNK:
            limit = max(limit, TRUNK_REACH * diagonal.max())
        for frame in np.flatnonzero(np.bincount(found.frame, minlength=len(sizeable)) > count).tolist():
            index = found.of(frame)
            enough = np.maximum(sizeable[frame], SECOND_SHARE * found.area[index[0]])
            leaders: list[np.ndarray] = []
            for box in found.box[index[found.area[index] >= enough]]:
                if all(_length(_around(box, other)[None])[0] > limit for other in leaders):
                    leaders.append(box)
            extra[frame] |= len(leaders) > count
    return extra


def _torn(
    group: _Group, pieces: dict[int, _Pieces], sizeable: np.ndarray, tear: np.ndarray, homes: list[set[int]],
    edge_blobs: set[int],
) -> Bool[np.ndarray, " T"]:  # fmt: skip
    """A part's main piece lies in background, off the subject; or background parts it from where it hangs."""
    torn, filled = np.zeros(len(sizeable), bool), (group.parts > 0) | group.others
    for part, found in pieces.items():
        holds = _Holder(group.parts, HANGS_ON.get(part, ()), pieces)
        for frame, main in zip(*(x.tolist() for x in np.unique(found.frame, return_index=True)), strict=True):
            if torn[frame] or found.area[main] < sizeable[frame]:
                continue
            blob, home = int(found.blob[main]), homes[frame]
            over_edge = blob in edge_blobs and bool(home & edge_blobs)
            off = blob not in home and not over_edge
            torn[frame] = off or holds.background_between(found, main, filled) > tear[frame]
    return torn


class _Holder:
    """The parts that a part hangs on, and how much background lies on the shortest way to them."""

    def __init__(self, parts: np.ndarray, names: tuple[int, ...], pieces: dict[int, _Pieces]):
        self.mask = np.isin(parts, names)
        self.pieces = [pieces[name] for name in names if name in pieces]

    def background_between(self, found: _Pieces, main: int, filled: np.ndarray) -> float:
        """Pixels of background between a piece and its holder; 0 where the holder is not seen or may go on outside."""
        frame, (height, width) = int(found.frame[main]), filled.shape[1:]
        boxes = [p.box[k] for p in self.pieces for k in p.of(frame)]
        if not boxes:
            return 0.0
        holder = np.concatenate([np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]])
        box = _around(found.box[main], holder)
        if any(b[0] == 0 or b[1] == 0 or b[2] == width or b[3] == height for b in (found.box[main], holder)):
            return 0.0
        window = (slice(box[1] - 1, box[3] + 1), slice(box[0] - 1, box[2] + 1))
        piece, held = found.mask(main, window), self.mask[frame][window]
        if (cv2.dilate(piece, np.ones((3, 3), np.uint8)).astype(bool) & held).any():
            return 0.0
        start, end = _nearest(piece > 0, held)
        steps = np.linspace(start, end, 2 * int(np.abs(end - start).max()) + 1).round().astype(int)
        on_way = filled[frame][window][steps[:, 0], steps[:, 1]]
        return float((~on_way).mean() * np.linalg.norm(end - start))


def _nearest(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) of the pixel of each of two masks that is nearest to the other."""
    distance, label = cv2.distanceTransformWithLabels(
        (~b).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.argwhere(a)
    start = places[distance[a].argmin()]
    return start, np.argwhere(b & (label == label[tuple(start)]))[0]


def _pieces(parts: np.ndarray, part: int, blobs: np.ndarray) -> _Pieces:
    """Connected pieces of a part: all frames at once, one below the other with an empty row between."""
    mask = parts == part
    rows, columns = np.flatnonzero(mask.any((0, 2))), np.flatnonzero(mask.any((0, 1)))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = y1 - y0 + 1, x1 - x0
    stacked = np.zeros((len(parts), height, width), np.uint8)
    stacked[:, :-1] = mask[:, y0:y1, x0:x1]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(stacked.reshape(-1, width))
    labels = labels.reshape(stacked.shape).astype(np.int32)
    blob = np.zeros(count, int)
    blob[labels[stacked > 0]] = blobs[mask]
    stats, blob = stats[1:], blob[1:]
    frame, top = np.divmod(stats[:, cv2.CC_STAT_TOP], height)
    left, top = stats[:, cv2.CC_STAT_LEFT] + x0, top + y0
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    area = stats[:, cv2.CC_STAT_AREA]
    order = np.lexsort((-area, frame))
    box = np.stack([left, top, right, bottom], 1)[order]
    return _Pieces(frame[order], area[order], box, blob[order], order + 1, labels, (int(y0), int(x0)))


def _widened(mask: np.ndarray, radius: int) -> np.ndarray:
    """uint8 [T,H+2r+1,W]: dilated by a square, every frame by itself; what goes below a frame is in the rows added."""
    frames, height, width = mask.shape
    stacked = np.zeros((frames, height + 2 * radius + 1, width), np.uint8)
    stacked[:, :height] = mask
    return cv2.dilate(stacked.reshape(-1, width), np.ones((2 * radius + 1,) * 2, np.uint8)).reshape(stacked.shape)


def _blobs(filled: np.ndarray, radius: int) -> tuple[np.ndarray, set[int]]:
    """int [T,H,W] which connected piece of all subjects together a pixel is in, gaps bridged; those at the edge."""
    bridged = _widened(filled, radius)
    labels = cv2.connectedComponents(bridged.reshape(-1, filled.shape[2]))[1].reshape(bridged.shape)
    labels = labels[:, : filled.shape[1]] * filled
    edge = np.concatenate([labels[:, [0, -1]].ravel(), labels[:, :, [0, -1]].ravel()])
    return labels, set(np.unique(edge[edge > 0]).tolist())


def _home_blobs(own: np.ndarray, blobs: np.ndarray, count: int) -> list[set[int]]:
    """Of every frame the blobs that hold most of the subjects: one each."""
    homes = []
    for mask, blob in zip(own, blobs, strict=True):
        label, area = np.unique(blob[mask], return_counts=True)
        homes.append(set(label[np.argsort(-area, kind="stable")[:count]].tolist()))
    return homes


def _diagonals(own: np.ndarray) -> np.ndarray:
    """[T] px, the diagonal of the box around a subject; 0 where it is not seen."""
    spans = []
    for seen in (np.any(own, axis=2), np.any(own, axis=1)):
        first, after_last = seen.argmax(1), seen.shape[1] - seen[:, ::-1].argmax(1)
        spans.append(np.where(np.any(seen, axis=1), after_last - first, 0))
    return np.hypot(*spans)


def _length(boxes: np.ndarray) -> np.ndarray:
    """[N] px, diagonals of boxes [N,4]."""
    return np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def _around(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])
