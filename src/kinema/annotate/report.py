"""The report of a run as one static page: counts by filter that add up, and clips with their annotations drawn on them.

No script and nothing from outside: pictures lie in the page itself. Equal runs give equal pages.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from kinema.annotate.codec import clip_of
from kinema.annotate.index import rows_of
from kinema.annotate.ledger import Ledger
from kinema.annotate.recipes import Recipe, name_of, versions
from kinema.annotate.record import FILTERED, KEPT, SET_ASIDE, AnnotatedClip, Source
from kinema.annotate.run import CUT, Totals
from kinema.annotate.shards import read_members
from kinema.atomic import atomic_path
from kinema.masks.palette import OBJECT_COLOURS
from kinema.render.palette import PART_COLORS

MOST_CLIPS, MOST_REASONS = 12, 40
PICTURE_SIDE_PX, QUALITY = 320, 80
OPACITY, LETTERS = 0.5, 0.35
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em 1em;border-bottom:1px solid #ddd;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}figure{display:inline-block;margin:0 1em 1em 0;width:20em;
vertical-align:top}img{width:100%}figcaption{font-size:13px;overflow-wrap:anywhere}"""


def write_report(
    ledger: Ledger, plan: list[tuple[int, Source]], totals: Totals, recipe: Recipe, skipped: Sequence[Sequence[str]]
) -> None:
    """Write `report.html`."""
    rows = list(rows_of(ledger, plan))
    pieces = [
        f"<h1>kinema annotate: {name_of(recipe)}</h1>",
        _totals(totals),
        _reasons("Set aside", [(r["key"], f"{r['stage']}: {r['reason']}") for r in rows if r["outcome"] == SET_ASIDE]),
        _reasons("Skipped input", [(str(where), str(why)) for where, why in skipped]),
        "<h2>Kept</h2>",
        *(_figure(clip) for clip in _examples(ledger, [r for r in rows if r["outcome"] == KEPT])),
        _reasons("Left out", [(r["key"], f"{r['stage']}: {r['reason']}") for r in rows if r["outcome"] == FILTERED]),
        _table(("stage", "version"), list(versions(recipe).items()), ()),
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>kinema annotate</title><style>{STYLE}</style>"
    with atomic_path(ledger.out / "report.html") as temporary:
        temporary.write_text(page + "\n".join(pieces) + "</html>\n", encoding="utf-8")


def _totals(totals: Totals) -> str:
    videos, clips = totals.videos, totals.clips
    made = sum(clips.values())
    counts = [
        ("videos read", totals.read), ("= skipped", totals.skipped), ("+ left out before cutting", videos[FILTERED]),
        ("+ set aside", videos[SET_ASIDE]), ("+ cut into clips", videos[CUT]), ("clips", made),
        ("= kept", clips[KEPT]), ("+ left out", clips[FILTERED]), ("+ set aside", clips[SET_ASIDE]),
    ]  # fmt: skip
    filters = sorted(totals.by_filter.items(), key=lambda item: (-item[1], item[0]))
    table = _table(("", "count"), counts, (1,))
    return table + ("<h2>By filter</h2>" + _table(("filter", "left out"), filters, (1,)) if filters else "")


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]], numbers: tuple[int, ...]) -> str:
    def row(cells: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if k in numbers else ''}>{html.escape(str(cell))}</{tag}>"
            for k, cell in enumerate(cells)
        )

    return "<table><tr>" + "</tr><tr>".join([row(heads, "th"), *(row(r, "td") for r in rows)]) + "</tr></table>"


def _reasons(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    shown = rows[:MOST_REASONS]
    more = f"<p>and {len(rows) - len(shown)} more, in index.parquet</p>" if len(rows) > len(shown) else ""
    return f"<h2>{title}</h2>" + _table(("what", "why"), shown, ()) + more


def _examples(ledger: Ledger, kept: list[dict]) -> list[AnnotatedClip]:
    """Clips evenly spread over those that were kept."""
    chosen = [kept[k] for k in np.unique(np.linspace(0, len(kept) - 1, MOST_CLIPS).astype(int))] if kept else []
    found = []
    for shard in dict.fromkeys(row["shard"] for row in chosen):
        wanted = {row["key"] for row in chosen if row["shard"] == shard}
        found += [clip_of(members, key) for key, members in read_members(ledger.out / shard) if key in wanted]
    return found


def _figure(clip: AnnotatedClip) -> str:
    ok, data = cv2.imencode(".jpg", drawn(clip)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert ok, "a picture can be encoded"
    seconds = len(clip.video.frames) / clip.video.fps
    scores = ", ".join(f"{name} {value:.2f}" for name, value in clip.quality.items())
    told = f"<b>{html.escape(clip.key)}</b>, {seconds:.1f} s: {html.escape(clip.caption)}<br>{html.escape(scores)}"
    picture = base64.b64encode(data.tobytes()).decode()
    return f'<figure><img alt="" src="data:image/jpeg;base64,{picture}"><figcaption>{told}</figcaption></figure>'


def drawn(clip: AnnotatedClip) -> UInt8[np.ndarray, "H W 3"]:
    """A frame above (or left), and below it with its parts, the masks of what has none, and named boxes."""
    t = shown_frame(clip.present)
    frame = clip.video.frames[t]
    over = frame.copy()
    parts = clip.part_ids[t] > 0
    for n in reversed(range(clip.masks.shape[1])):
        _tint(over, clip.masks[t, n] & ~parts, bright(n))
    _tint(over, parts, PART_COLORS[clip.part_ids[t][parts]])
    beside = frame.shape[1] < frame.shape[0]
    scale = PICTURE_SIDE_PX / (frame.shape[1] * (2 if beside else 1))
    size = (round(frame.shape[1] * scale), max(1, round(frame.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    frame, over = cv2.resize(frame, size, interpolation=how), cv2.resize(over, size, interpolation=how)
    for n in np.flatnonzero(clip.present[t]).tolist():
        _box(over, clip.boxes_px[t, n] * scale, clip.labels[n], bright(n))
    return np.concatenate([frame, over], 1 if beside else 0)


def shown_frame(present: Bool[np.ndarray, "T N"]) -> int:
    """Of the frames that show most subjects the one nearest to the middle."""
    seen = present.sum(1)
    fullest = np.flatnonzero(seen == seen.max())
    return int(fullest[np.abs(fullest - len(seen) // 2).argmin()])


def bright(n: int) -> UInt8[np.ndarray, " 3"]:
    """The colour of subject n, light enough for a line on a photograph."""
    return np.minimum(OBJECT_COLOURS[n + 1].astype(int) * 2, 255).astype(np.uint8)


def _tint(picture: np.ndarray, where: np.ndarray, colour: np.ndarray) -> None:
    picture[where] = (picture[where] * (1 - OPACITY) + colour * OPACITY).astype(np.uint8)


def _box(picture: np.ndarray, box_px: np.ndarray, label: str, colour: np.ndarray) -> None:
    x0, y0, x1, y1 = (int(v) for v in box_px)
    ink = tuple(int(c) for c in colour)
    cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), ink, 2)
    (width, height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, LETTERS, 1)
    x0, y0 = max(0, min(x0, picture.shape[1] - width)), max(y0, height + 3)
    cv2.rectangle(picture, (x0, y0 - height - 3), (x0 + width, y0), ink, -1)
    letters = (0, 0, 0) if colour @ np.array([0.3, 0.6, 0.1]) > 110 else (255, 255, 255)
    where = x0, y0 - 2
    cv2.putText(picture, label, where, cv2.FONT_HERSHEY_SIMPLEX, LETTERS, letters, 1, cv2.LINE_AA)
