"""Tab 2: see and mend the motion of a result."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from kinema.errors import InputError
from kinema.studio import canvas, commands, gallery, limits, visits
from kinema.studio.animate_tab import read_seed
from kinema.studio.gallery import Result, Studio

TASK = "kinema.studio.mend:mend_and_rerun"
KEPT = ("scene.npz", "refined.npz", "coarse.npz", "coarse.mp4", "stages.json")
"""Of an earlier result's stages."""
DOUBTFUL = 0.5
"""Joints below this confidence are named."""
NOTHING = {"picture": "", "parts": [], "drags": [], "shapes": []}


def build(studio: Studio, tab: gr.Tab) -> dict[str, Any]:
    """The tab; -> the parts of it that other tabs need."""
    job_id = gr.State("")
    gr.Markdown(
        "Look at the motion from all sides, say where a part should have been, and make the video again from there. "
        "What comes before stays as it is.", elem_classes="kn-lead",
    )  # fmt: skip
    chosen = gr.Dropdown(
        [], label="Result", elem_id="mend-result", info="What you made on the first tab, newest first."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("## Extracted and refined")
            motion3d = visits.view3d_html(elem_id="mend-3d")
        with gr.Column(scale=2, min_width=280):
            gr.Markdown("## Video")
            video = gr.Video(label="the result as it is", height=300, **visits.PLAYER)
    faults = gr.HTML("", elem_id="mend-faults", apply_default_css=False)
    gr.Markdown("## Mend it")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            frame = gr.Slider(1, 15, 8, step=1, label="Frame", elem_id="mend-frame",
                              info="The moment at which a part is to be somewhere else.")  # fmt: skip
            parts = visits.canvas_html(
                "mend-parts", "Choose a result above.", "Drag a part to where it should be in this frame.",
                "Nothing is moved yet.", paint=False,
            )  # fmt: skip
        with gr.Column(scale=2, min_width=280):
            prompt = gr.Textbox(label="What happens", lines=2, elem_id="mend-prompt")
            with gr.Row():
                strength = gr.Slider(0, 1, 0.5, step=0.05, label="How lively", info="0 calm, 1 lively")
                auto = gr.Checkbox(True, label="Leave that to the model", min_width=120)
            seed = gr.Number(42, precision=0, label="Seed", elem_id="mend-seed")
            with gr.Row():
                from2 = gr.Button("Rerun from stage 2", variant="primary", elem_id="from2", min_width=150)
                from3 = gr.Button("Rerun from stage 3", elem_id="from3", min_width=150)
                cancel = gr.Button("Cancel", interactive=False, min_width=100)
            gr.HTML(
                '<p class="kn-hint"><b>From stage 2</b>: the motion is refined again, with the words, the liveliness and '
                "the target, which the motion prior may soften. <b>From stage 3</b>: the refined motion is kept but for "
                "the target, which is met exactly, and only the video is made anew.</p>", apply_default_css=False,
            )  # fmt: skip
            status = gr.HTML("", elem_id="mend-status", apply_default_css=False)
    made = gr.HTML("", elem_id="mend-made", apply_default_css=False)
    download = gr.DownloadButton("Download all stages (.zip)", visible=False)
    shown = [status, from2, from3, cancel, job_id]

    def choices(now: str | None, request: gr.Request):
        return visits.choices(studio, request, now, "animate", "mend")

    @visits.told
    def load(name: str | None, request: gr.Request):
        if not name:
            return [None, None, "", gr.skip(), NOTHING, *[gr.skip()] * 4, "", gr.skip()]
        result = studio.result(visits.visitor_of(studio, request), name)
        frames = _frames(result)
        settings = result.about["settings"]
        at = max(1, min(frames - 1, frames // 2))
        return [
            visits.load_view(result.path / "stages", "scene.view.json", "refined.view.json", ("extracted", "refined")),
            visits.shown(studio, result.file("video.mp4")), report(result),
            gr.update(maximum=max(2, frames - 1), value=at), at_frame(result, at), settings.get("prompt", ""),
            settings.get("strength") if settings.get("strength") is not None else 0.5,
            settings.get("strength") is None, settings.get("seed", 42), gallery.panel(result),
            visits.zip_button(studio, result),
        ]  # fmt: skip

    @visits.told
    def at(name: str | None, frame: float, request: gr.Request):
        return at_frame(studio.result(visits.visitor_of(studio, request), name), int(frame)) if name else NOTHING

    loaded = [motion3d, video, faults, frame, parts, prompt, strength, auto, seed, made, download]
    tab.select(choices, chosen, chosen, **visits.PRIVATE).then(load, chosen, loaded, **visits.PRIVATE)
    chosen.input(load, chosen, loaded, **visits.PRIVATE)
    frame.input(at, [chosen, frame], parts, trigger_mode="always_last", **visits.PRIVATE)

    def after(job_id: str, request: gr.Request):
        """A rerun that is done is shown; after any other all that was typed and drawn stays."""
        name = visits.result_of(studio, request, job_id)
        if name is None:
            return [gr.skip()] * (1 + len(loaded))
        return [visits.choices(studio, request, name, "animate", "mend"), *load(name, request)]

    def rerun_from(stage: int):
        async def rerun(name, value, frame, prompt, strength, auto, seed, request: gr.Request):
            def begin():
                visitor = visits.visitor_of(studio, request)
                settings, files, title = ask(
                    studio, studio.result(visitor, name), value, int(frame), prompt, None if auto else strength, seed, stage
                )  # fmt: skip
                lines = commands.generate_command(settings)
                return studio.begin(visitor, "mend", TASK, settings, lines, files, title)

            try:
                job = await asyncio.to_thread(begin)
            except InputError as error:
                yield [gallery.problem(error), *[gr.skip()] * 3, ""]
                return
            async for now in visits.follow(job):
                yield [
                    gallery.status(now, studio.jobs.before(now)), *[gr.update(interactive=now.over)] * 2,
                    gr.update(interactive=not now.over), job.id,
                ]  # fmt: skip

        return rerun

    fields = [chosen, parts, frame, prompt, strength, auto, seed]
    for button, stage in ((from2, 2), (from3, 3)):
        button.click(rerun_from(stage), fields, shown, concurrency_limit=None, **visits.PRIVATE).then(
            after, job_id, [chosen, *loaded], **visits.PRIVATE
        )

    visits.wire_cancel(studio, cancel, job_id)
    return {"chosen": chosen}


def ask(
    studio: Studio, result: Result, value: Any, frame: int, prompt: str | None, strength: float | None,
    seed: float | None, stage: int,
) -> tuple[dict[str, Any], dict[str, Path], str]:  # fmt: skip
    """What was asked for as settings of the task, the files that it needs, and a title. Raises InputError."""
    drags, shapes = canvas.read_drags(value)
    if shapes:
        raise InputError("target", "is painted", "a drag", "clear it, and drag the part instead")
    settings = dict(result.about["settings"])
    settings |= {
        "prompt": limits.check_prompt(prompt, studio.limits), "strength": strength, "seed": read_seed(seed),
        "frame": frame, "targets": [list(d) for d in drags], "from_stage": stage,
    }  # fmt: skip
    files = {"picture.png": result.path / "picture.png"}
    if settings.get("motion"):
        files[settings["motion"]] = result.path / settings["motion"]
    stages = visits.scratch(studio)
    for name in KEPT:
        if (result.path / "stages" / name).is_file():
            (stages / name).write_bytes((result.path / "stages" / name).read_bytes())
    files["stages"] = stages
    what = ", ".join(drag[0].replace("_", " ") for drag in drags)
    title = f"{settings['prompt'] or 'Picture'} · {what + ' moved, ' if what else ''}from stage {stage}"
    return settings, files, title


def _frames(result: Result) -> int:
    from kinema.motion_io.scene import load_scene

    return len(load_scene(result.path / "stages" / "refined.npz").cameras.K)


def at_frame(result: Result, frame: int) -> dict[str, Any]:
    """The final video's frame with its parts, for the canvas."""
    from kinema.motion_io.scene import load_scene
    from kinema.studio.mend import parts_at

    scene = load_scene(result.path / "stages" / "refined.npz")
    with np.load(result.path / "stages" / "final.npz") as kept:
        frames = kept["frames"]
    frame = min(max(frame, 0), len(frames) - 1)
    picture = frames[frame]
    return canvas.canvas_value(picture, *parts_at(scene, frame), picture.shape[0] * picture.shape[1], 1)


def report(result: Result) -> str:
    """HTML: what the diagnosis found, and which joints were hardly seen."""
    import json

    path = result.file("faults.json")
    found = json.loads(Path(path).read_text()) if path else {}
    rows = fault_rows(found)
    return (
        f'<section class="kn-panel"><h3>Diagnosis of the refined motion</h3>{rows}'
        f'<p class="kn-label">Joints that stage 2 hardly saw</p><p class="kn-hint">{escape(doubtful(result))}</p></section>'
    )


def fault_rows(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A table of findings by subject."""
    rows = [
        f"<tr><td>{escape(label)}</td><td>{escape(f['kind'].replace('_', ' '))}</td><td>{escape(_ranges(f['frames']))}</td>"
        f"<td>{f['severity']:.3g} {escape(f['unit'])}</td><td>{_code(f['sentence'])}</td></tr>"
        for label, findings in found.items()
        for f in findings
    ]
    if not rows:
        return '<p class="kn-hint">Nothing was found.</p>'
    head = "<tr><th>of</th><th>fault</th><th>frames</th><th>worst</th><th>what it is and how to mend it</th></tr>"
    return (
        '<div class="kn-scroll" tabindex="0" role="region" aria-label="table of faults"><table class="kn-table">'
        f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _code(sentence: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(sentence))


def _ranges(frames: Sequence[Sequence[int]], most: int = 5) -> str:
    words = [f"{a}-{b - 1}" if b > a + 1 else f"{a}" for a, b in frames[:most]]
    return ", ".join(words) + (f" and {len(frames) - most} more" if len(frames) > most else "")


def doubtful(result: Result) -> str:
    """ "left wrist (0.31), right foot (0.44)": joints of mean confidence below `DOUBTFUL` in the extracted motion."""
    from kinema.body.skeleton import BODY_JOINT_COUNT, JOINTS
    from kinema.motion_io.scene import load_scene
    from kinema.types import BodyMotion

    words = []
    for subject in load_scene(result.path / "stages" / "scene.npz").subjects:
        motion = subject.motion
        if not isinstance(motion, BodyMotion):
            continue
        known = BODY_JOINT_COUNT if motion.category == "human" else len(JOINTS["animal"])
        sure = motion.confidence[:, :known].mean(0)
        low = np.flatnonzero(sure < DOUBTFUL)
        names = [f"{JOINTS[motion.category][j].replace('_', ' ')} ({sure[j]:.2f})" for j in low[np.argsort(sure[low])]]
        unseen = int((~motion.valid).sum())
        words += [f"{subject.label or 'subject'}: {', '.join(names)}"] if names else []
        words += [f"{subject.label or 'subject'}: not seen in {unseen} of {len(motion)} frames"] if unseen else []
    return ("; ".join(words) or "none") + ". Confidence goes from 0 to 1; in the 3D view they are red."
