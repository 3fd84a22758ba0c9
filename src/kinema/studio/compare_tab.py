"""Tab 5: two results side by side, in step, with their numbers; and tab 6: all results."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr
import numpy as np

from kinema.errors import InputError
from kinema.studio import canvas, gallery, visits
from kinema.studio.gallery import Result, Studio

ALONE = ("flow_strength", "motion_smoothness", "dynamic_degree")
"""Metrics of `kinema.evaluate` that need a video alone."""
BETWEEN = ("psnr", "ssim", "flow_error")
"""Those of two videos of one size and length."""
MOST_FRAMES = 160
MEASURED = 48
"""Frames from the start that the numbers are of, so that they come within seconds."""


def build(studio: Studio, tab: gr.Tab) -> None:
    """The tab of two results."""
    gr.Markdown(
        "Two results in step: one slider moves both. The numbers say how they differ, your eyes which is better. For the "
        "eyes of others there is a blind vote: `kinema study`.", elem_classes="kn-lead",
    )  # fmt: skip
    with gr.Row():
        left = gr.Dropdown([], label="Left", elem_id="left")
        right = gr.Dropdown([], label="Right", elem_id="right")
    pair = gr.HTML(
        None, html_template='<div class="kn-pair"></div>', js_on_load=(canvas.STATIC / "pair.js").read_text(),
        apply_default_css=False, elem_id="pair",
    )  # fmt: skip
    table = gr.HTML("", elem_id="pair-table", apply_default_css=False)

    def choices(left: str | None, right: str | None, request: gr.Request):
        found = studio.results(visits.visitor_of(studio, request))
        names = [r.name for r in found]
        listed = [(r.line, r.name) for r in found]
        first = left if left in names else names[0] if names else None
        second = right if right in names else names[1] if len(names) > 1 else first
        return gr.update(choices=listed, value=first), gr.update(choices=listed, value=second)

    @visits.told
    def show(left: str | None, right: str | None, request: gr.Request):
        if not left or not right:
            return None, '<p class="kn-hint">Make two videos first; then they are listed here.</p>'
        visitor = visits.visitor_of(studio, request)
        results = [studio.result(visitor, left), studio.result(visitor, right)]
        return side_by_side(results), '<p class="kn-hint">Measuring ...</p>'

    @visits.told
    def measure(left: str | None, right: str | None, request: gr.Request):
        if not left or not right:
            return gr.skip()
        visitor = visits.visitor_of(studio, request)
        return metrics_html([studio.result(visitor, left), studio.result(visitor, right)])

    both = [left, right]
    tab.select(choices, both, both, **visits.PRIVATE).then(show, both, [pair, table], **visits.PRIVATE).then(
        measure, both, table, **visits.PRIVATE
    )
    for chosen in both:
        chosen.input(show, both, [pair, table], **visits.PRIVATE).then(measure, both, table, **visits.PRIVATE)


def build_results(studio: Studio, tab: gr.Tab) -> None:
    """The tab of all results."""
    folder = studio.workspace.folder
    gr.Markdown(f"Everything that was made here, the newest first. It lies in `{folder}`, one folder each.",
                elem_classes="kn-lead")  # fmt: skip
    chosen, order = gr.State(""), gr.State([])
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            posters = gr.Gallery(
                [], label="Results", show_label=False, columns=3, height="auto", object_fit="contain", elem_id="gallery",
                allow_preview=False, interactive=False, buttons=[],
            )  # fmt: skip
            empty = gr.HTML("", elem_id="gallery-empty", apply_default_css=False)
        with gr.Column(scale=3, min_width=320):
            video = gr.Video(label="the result", height=320, elem_id="gallery-video", **visits.PLAYER)
            made = gr.HTML("", elem_id="gallery-panel", apply_default_css=False)
            with gr.Row():
                download = gr.DownloadButton("Download all stages (.zip)", visible=False)
                delete = gr.Button("Delete", visible=False, variant="stop", elem_id="delete")

    def listed(request: gr.Request):
        found = studio.results(visits.visitor_of(studio, request))
        pictures = [(visits.shown(studio, r.file("poster.jpg")), r.line) for r in found]
        nothing = '<p class="kn-hint">Nothing yet. What you make on the other tabs comes here.</p>'
        return (
            [p for p in pictures if p[0]],
            [r.name for r in found if r.file("poster.jpg")],
            "" if pictures else nothing,
        )

    @visits.told
    def choose(order: list[str], request: gr.Request, event: gr.SelectData):
        index = event.index if isinstance(event.index, int) else -1
        name = order[index] if 0 <= index < len(order) else None
        result = studio.result(visits.visitor_of(studio, request), name)
        return (visits.shown(studio, result.file("video.mp4")), gallery.panel(result), visits.zip_button(studio, result),
                gr.update(visible=True), result.name)  # fmt: skip

    @visits.told
    def remove(name: str, request: gr.Request):
        studio.delete(visits.visitor_of(studio, request), name)
        return None, "", gr.update(visible=False), gr.update(visible=False), ""

    tab.select(listed, None, [posters, order, empty], **visits.PRIVATE)
    posters.select(choose, order, [video, made, download, delete, chosen], **visits.PRIVATE)
    delete.click(
        remove, chosen, [video, made, download, delete, chosen], **visits.PRIVATE,
        js="(name) => { if (!confirm('Delete this result for good?')) throw new Error('kept'); return [name]; }",
    ).then(listed, None, [posters, order, empty], **visits.PRIVATE)  # fmt: skip


def frames_of(result: Result) -> tuple[np.ndarray, float]:
    """At most `MOST_FRAMES` frames of a result's video. Raises InputError where it has none."""
    from kinema.video import read_video

    file = result.file("video.mp4")
    if file is None:
        raise InputError(result.title, "has no video", mend="choose another")
    clip = read_video(file, max_frames=MOST_FRAMES)
    return clip.frames, clip.fps


def side_by_side(results: list[Result]) -> dict[str, Any]:
    """What `static/pair.js` shows: the frames of both as small pictures, so that they are in step at any speed."""
    clips = []
    for result in results:
        frames, fps = frames_of(result)
        every = max(1, -(-len(frames) // 64))
        clips.append(
            {"title": result.title, "fps": fps / every, "frames": [canvas.as_jpeg_url(f) for f in frames[::every]]}
        )
    return {"clips": clips, "id": "/".join(r.name for r in results)}


def metrics_html(results: list[Result]) -> str:
    """A table: each video's own numbers, and those between the two where they have one size and length."""
    from kinema.evaluate.registry import METRICS

    loaded = [frames_of(result) for result in results]
    rows = [("length", "s", [f"{len(frames) / fps:.2f}" for frames, fps in loaded]),
            ("size", "px", [f"{frames.shape[2]}x{frames.shape[1]}" for frames, _ in loaded])]  # fmt: skip
    for name in ALONE:
        metric = METRICS[name]
        rows.append(
            (_title(name, metric.better), metric.unit, [_number(metric.function, f[:MEASURED]) for f, _ in loaded])
        )
    for r in results:
        seconds = r.about.get("seconds", {}).get("in all")
        rows[0][2][results.index(r)] += f" (made in {seconds:g} s)" if seconds else ""
    head = "".join(f"<th>{escape(r.title)}</th>" for r in results)
    body = ""
    for name, unit, values in rows:
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        body += f"<tr><th scope='row'>{escape(name)}</th><td>{escape(unit)}</td>{cells}</tr>"
    if loaded[0][0].shape == loaded[1][0].shape and results[0].name != results[1].name:
        for name in BETWEEN:
            metric = METRICS[name]
            value = _number(metric.function, loaded[0][0][:MEASURED], loaded[1][0][:MEASURED])
            body += (
                f"<tr><th scope='row'>{escape(_title(name, metric.better))}</th><td>{escape(metric.unit)}</td>"
                f"<td colspan='2'>{value} between the two</td></tr>"
            )
    else:
        body += "<tr><td colspan='4'>Numbers between the two need videos of one size and length.</td></tr>"
    return (
        '<div class="kn-scroll" tabindex="0" role="region" aria-label="numbers of both"><table class="kn-table"><thead>'
        f"<tr><th>number</th><th>unit</th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _title(name: str, better: str) -> str:
    return name.replace("_", " ") + ("" if better == "neither" else f" ({better} is better)")


def _number(function: Any, *clips: np.ndarray) -> str:
    try:
        return f"{function(*clips):.4g}"
    except InputError:
        return "not for this video"
