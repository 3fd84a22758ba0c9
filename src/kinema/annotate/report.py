"""The report of a run as one static page: counts by filter that add up, and clips with their annotations drawn on them.

No script and nothing from outside: pictures lie in the page itself. Equal runs give equal pages.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

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
OPACITY = 0.5
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
    return _table(("", "count"), counts, (1,)) + "<h2>By filter</h2>" + _table(("filter", "left out"), filters, (1,))


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
    """The middle frame above, and below it with its parts (or its masks, where there are none) and boxes."""
    t = len(clip.video.frames) // 2
    frame = clip.video.frames[t]
    over = frame.copy()
    if clip.part_ids.any():
        where = clip.part_ids[t] > 0
        over[where] = (over[where] * (1 - OPACITY) + PART_COLORS[clip.part_ids[t][where]] * OPACITY).astype(np.uint8)
    for n in reversed(range(clip.masks.shape[1])):
        colour = OBJECT_COLOURS[n + 1]
        if not clip.part_ids.any():
            where = clip.masks[t, n]
            over[where] = (over[where] * (1 - OPACITY) + colour * OPACITY).astype(np.uint8)
        if clip.present[t, n]:
            x0, y0, x1, y1 = (int(v) for v in clip.boxes_px[t, n])
            cv2.rectangle(over, (x0, y0), (x1 - 1, y1 - 1), tuple(int(c) for c in colour), 1)
    both = np.concatenate([frame, over], 0 if frame.shape[1] >= frame.shape[0] else 1)
    scale = PICTURE_SIDE_PX / both.shape[1]
    size = (PICTURE_SIDE_PX, max(1, round(both.shape[0] * scale)))
    return cv2.resize(both, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
