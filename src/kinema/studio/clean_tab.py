"""Tab 4: clean a motion."""

from __future__ import annotations

import asyncio
import json
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from kinema.errors import InputError
from kinema.studio import commands, gallery, limits, shipped, visits
from kinema.studio.animate_tab import take_motion
from kinema.studio.gallery import Studio
from kinema.studio.motion_tab import fault_rows

TASK = "kinema.studio.tasks:clean_motion"
MAPS = {"parts": "part masks", "mask": "silhouettes", "depth": "depth", "normals": "normals", "openpose": "OpenPose"}
SIZES = ("512x512", "832x480", "480x832", "1024x576")
LONGEST = 2_000
"""Frames of a lengthened motion."""
OFFERED = ("cleaned.npz", "cleaned.bvh", "cleaned.glb", *(f"{kind}.mp4" for kind in MAPS), "all_stages.zip")


def build(studio: Studio) -> None:
    """The tab."""
    motion, job_id = gr.State(None), gr.State("")
    gr.Markdown(
        "Captures jump, shake, slide and stop. Upload one, see what is wrong, and take it home mended: as a motion, and as "
        "control videos for other tools.", elem_classes="kn-lead",
    )  # fmt: skip
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320):
            ours = gr.Button("Our noisy capture", size="sm", elem_id="clean-ours")
            own = visits.upload_field("Your motion: .bvh, .npz, .glb", "clean-own")
            says = gr.HTML("", elem_id="clean-says", apply_default_css=False)
            refine = gr.Checkbox(True, label="Refine it", info="noise, shuffled and repeated frames and gaps go")
            prompt = gr.Textbox(
                label="What the motion is, in words", placeholder="a man punches", elem_id="clean-prompt"
            )
            with gr.Row():
                strength = gr.Slider(0, 1, 0.5, step=0.05, label="How lively", info="0 calm, 1 lively")
                auto = gr.Checkbox(True, label="As lively as it came", min_width=120)
            length = gr.Number(0, precision=0, label="Lengthen to, frames", info="0: as long as it came.")
            betas = gr.Textbox(label="Another body", placeholder="height=1.5,legs=1", elem_id="betas",
                               info="height, weight, muscle, age, gender, legs, arms, shoulders, hips, torso")  # fmt: skip
        with gr.Column(scale=4, min_width=320):
            maps = gr.CheckboxGroup([(title, kind) for kind, title in MAPS.items()], value=["openpose", "depth"],
                                    label="Control videos", elem_id="maps")  # fmt: skip
            size = gr.Radio(list(SIZES), value=SIZES[0], label="Their size")
            with gr.Row():
                run = gr.Button("Clean it", variant="primary", elem_id="clean-run")
                cancel = gr.Button("Cancel", interactive=False)
            status = gr.HTML("", elem_id="clean-status", apply_default_css=False)
            gr.Markdown("## What is wrong with it")
            before = gr.HTML("", elem_id="faults-before", apply_default_css=False)
    gr.Markdown("## Before and after")
    motion3d = visits.view3d_html(elem_id="clean-3d")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            video = gr.Video(label="cleaned, drawn", height=320, elem_id="clean-video", **visits.PLAYER)
        with gr.Column(min_width=300):
            gr.Markdown("## What is still found")
            after = gr.HTML("", elem_id="faults-after", apply_default_css=False)
    files = gr.File(label="Files", interactive=False, file_count="multiple", elem_id="clean-files")
    made = gr.HTML("", apply_default_css=False)
    shown = [status, motion3d, before, after, video, files, made, run, cancel, job_id]

    def take(file: str | None):
        try:
            path, found = take_motion(studio, file)
        except InputError as error:
            return [gr.skip(), gallery.problem(error), *[gr.skip()] * 3]
        return looked_at(path, found)

    own.upload(take, own, [motion, says, before, motion3d, prompt], **visits.PRIVATE)
    ours.click(lambda: _take_ours(studio), None, [motion, says, before, motion3d, prompt], **visits.PRIVATE)

    async def go(motion, refine, prompt, strength, auto, length, betas, maps, size, request: gr.Request):
        still = [gr.skip()] * (len(shown) - 1)

        def begin():
            settings, given = ask(studio, motion, refine, prompt, None if auto else strength, length, betas, maps, size)
            title = settings["prompt"] or "Motion"
            return studio.begin(visits.visitor_of(studio, request), "clean", TASK, settings,
                                commands.clean_command(settings), given, title)  # fmt: skip

        try:
            job = await asyncio.to_thread(begin)
        except InputError as error:
            yield [gallery.problem(error), *still]
            return
        seen = ""
        async for now in visits.follow(job):
            result = visits.finished(now)
            views = "".join(name for name in ("before", "after") if (now.folder / f"{name}.view.json").is_file())
            view = gr.skip()
            if views != seen:
                view = visits.load_view(now.folder, "before.view.json", "after.view.json", ("as it came", "cleaned"))
                seen = views
            out = [gr.skip()] * 5
            if result is not None:
                out = [
                    _faults(result.path / "faults_before.json"), _faults(result.path / "faults.json"),
                    visits.shown(studio, result.file("video.mp4")),
                    [visits.shown(studio, result.path / name) for name in OFFERED if result.file(name)],
                    gallery.panel(result),
                ]  # fmt: skip
            yield [gallery.status(now, studio.jobs.before(now)), view, *out, gr.update(interactive=now.over),
                   gr.update(interactive=not now.over), job.id]  # fmt: skip

    run.click(
        go,
        [motion, refine, prompt, strength, auto, length, betas, maps, size],
        shown,
        concurrency_limit=None,
        **visits.PRIVATE,
    )

    visits.wire_cancel(studio, cancel, job_id)


def ask(
    studio: Studio, motion: Path | None, refine: bool, prompt: str | None, strength: float | None, length: float | None,
    betas: str | None, maps: list[str], size: str,
) -> tuple[dict[str, Any], dict[str, Path]]:  # fmt: skip
    """What was asked for as settings of the task and the files that it needs. Raises InputError."""
    from kinema.body.shape import parse_betas

    if motion is None:
        raise InputError("motion", "is not there yet", mend="upload one, or take ours")
    if length and not 2 <= length <= LONGEST:
        raise InputError("lengthen to", f"is {length:g} frames", f"2 to {LONGEST}")
    if not set(maps) <= set(MAPS) or size not in SIZES:
        raise InputError("control videos", "are not known", ", ".join(MAPS) + "; " + ", ".join(SIZES))
    if betas and betas.strip():
        from kinema.motion_io import load_motion

        parse_betas(betas, load_motion(motion).category)
    name = f"motion{motion.suffix.lower()}"
    settings = {
        "motion": name, "refine": bool(refine), "prompt": limits.check_prompt(prompt, studio.limits),
        "strength": strength, "length": int(length) if length else None, "betas": (betas or "").strip(),
        "maps": list(maps), "size": size,
    }  # fmt: skip
    return settings, {name: motion}


def looked_at(path: Path, motion: Any, prompt: Any = None) -> list[Any]:
    """A motion that was just read: what it is, what is wrong with it, and its 3D view."""
    from dataclasses import asdict

    import kinema
    from kinema.studio.view3d import motion_view

    found = [asdict(finding) for finding in kinema.diagnose(motion).findings]
    words = (
        f"{motion.category}, {len(motion)} frames, {len(motion) / motion.fps:.1f} s at {motion.fps:g} frames a second."
    )
    view = {"scenes": [motion_view(motion) | {"title": "as it came"}], "id": str(path)}
    says = f'<p class="kn-hint" role="status">{escape(words)}</p>'
    return [path, says, fault_rows({motion.category: found}), view, gr.skip() if prompt is None else prompt]


def _take_ours(studio: Studio):
    from kinema.motion_io import load_motion

    path = shipped.HERE / "punch_noisy.npz"
    return looked_at(path, load_motion(path), "a man punches")


def _faults(path: Path) -> str:
    return fault_rows(json.loads(path.read_text())) if path.is_file() else ""
