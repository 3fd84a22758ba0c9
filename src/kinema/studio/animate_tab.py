"""Tab 1: animate a picture."""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from kinema.errors import InputError
from kinema.studio import canvas, commands, gallery, limits, shipped, visits
from kinema.studio.gallery import Studio

TASK = "kinema.studio.tasks:animate_picture"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draft:
    """What a visitor has chosen so far: files that were checked."""

    picture: Path | None = None
    motion: Path | None = None


def build(studio: Studio) -> dict[str, Any]:
    """The tab; -> the parts of it that other tabs need."""
    draft, job_id = gr.State(Draft()), gr.State("")
    gr.Markdown(
        "Take a picture, say how things move, and get a video. **In a hurry?** Take one of ours and press "
        "**Make the video**.",
        elem_classes="kn-lead",
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            with gr.Row(elem_classes="kn-examples"):
                examples = [
                    gr.Button(e.title, icon=str(e.picture), elem_id=f"example-{k}", size="sm", min_width=120)
                    for k, e in enumerate(shipped.PICTURES)
                ]
            picture = visits.upload_field("Your picture: drop it here, or click", "picture")
            picture_says = gr.HTML("", elem_id="picture-says", apply_default_css=False)
            parts = visits.canvas_html(
                "parts", "Choose a picture: drop one, or take one of ours.", "Drag a part to where it is to end.",
                "No targets yet: the model decides how things move.", paint=True,
            )  # fmt: skip
        with gr.Column(scale=4, min_width=320):
            prompt = gr.Textbox(label="What happens", placeholder="a man lifts his hand", lines=2, elem_id="prompt",
                                info="In English, as plainly as a caption. May be left out.")  # fmt: skip
            clip = gr.Dropdown(
                [("no: the targets, or the model", ""), *((title, name) for name, title in shipped.clips())],
                value="", label="Move as a captured clip does", elem_id="clip",
            )  # fmt: skip
            own = visits.upload_field("or your own motion: .bvh, .npz, .glb", "motion")
            motion_says = gr.HTML("", elem_id="motion-says", apply_default_css=False)
            with gr.Row():
                seconds = gr.Slider(1, 20, 2, step=0.5, label="Length, seconds", elem_id="seconds")
                seed = gr.Number(42, precision=0, label="Seed", elem_id="seed", min_width=90,
                                 info="Another number gives another video.")  # fmt: skip
            with gr.Row():
                strength = gr.Slider(
                    0, 1, 0.5, step=0.05, label="How lively", info="0 calm, 1 lively", elem_id="strength"
                )
                auto = gr.Checkbox(True, label="Leave that to the model", elem_id="auto", min_width=120)
            preset = gr.Radio(shipped.runnable(), value="mini-svd", label="Model", elem_id="preset")
            gr.HTML(shipped.not_runnable_html(), elem_id="preset-others", apply_default_css=False)
            mark = visits.watermark_box()
            with gr.Row():
                run = gr.Button("Make the video", variant="primary", elem_id="run")
                cancel = gr.Button("Cancel", interactive=False, elem_id="cancel")
            status = gr.HTML("", elem_id="status", apply_default_css=False)
    with gr.Row(elem_classes="kn-stages", equal_height=False):
        with gr.Column(min_width=240):
            gr.Markdown("## 1 · Coarse video")
            coarse = gr.Video(label="what the model makes of it by itself", height=280, **visits.PLAYER)
        with gr.Column(min_width=300):
            gr.Markdown("## 2 · Motion in 3D")
            motion3d = visits.view3d_html(elem_id="motion3d")
        with gr.Column(min_width=240):
            gr.Markdown("## 3 · Final video")
            final = gr.Video(label="the video that follows the motion", height=280, elem_id="final", **visits.PLAYER)
    made = gr.HTML("", elem_id="made", apply_default_css=False)
    download = gr.DownloadButton("Download all stages (.zip)", visible=False, elem_id="zip")
    shown = [status, coarse, motion3d, final, made, download, run, cancel, job_id]

    for button, example in zip(examples, shipped.PICTURES, strict=True):
        button.click(
            lambda old, example=example: _take_example(studio, old, example), draft,
            [draft, parts, picture_says, prompt, clip], **visits.PRIVATE,
        )  # fmt: skip
    picture.upload(lambda file, old: _take_picture(studio, file, old), [picture, draft],
                   [draft, parts, picture_says, picture], **visits.PRIVATE)  # fmt: skip
    own.upload(lambda file, old: _take_motion(studio, file, old), [own, draft], [draft, motion_says],
               **visits.PRIVATE)  # fmt: skip
    own.clear(lambda old: (Draft(old.picture), ""), draft, [draft, motion_says], **visits.PRIVATE)

    async def go(draft, value, prompt, clip, seconds, seed, strength, auto, preset, mark, request: gr.Request):
        keep = [gr.skip()] * (len(shown) - 4)

        def begin():
            settings, files = ask(studio, draft, value, prompt, clip, seconds, seed, None if auto else strength, preset)
            settings["watermark"] = bool(mark)
            title = settings["prompt"] or "Picture"
            return studio.begin(visits.visitor_of(studio, request), "animate", TASK, settings,
                                commands.generate_command(settings), files, title)  # fmt: skip

        try:
            job = await asyncio.to_thread(begin)
        except InputError as error:
            yield [gallery.problem(error), *keep, gr.skip(), gr.skip(), gr.skip()]
            return
        async for event in follow_stages(studio, job):
            yield event

    fields = [draft, parts, prompt, clip, seconds, seed, strength, auto, preset, mark]
    run.click(go, fields, shown, concurrency_limit=None, **visits.PRIVATE)

    visits.wire_cancel(studio, cancel, job_id)
    return {"final": final, "run": run}


async def follow_stages(studio: Studio, job):
    """Everything that is shown of a run of the three stages, whenever something is new."""
    seen: set[str] = set()
    yield [gallery.status(job, studio.jobs.before(job)), None, None, None, "", gr.update(visible=False),
           gr.update(interactive=False), gr.update(interactive=True), job.id]  # fmt: skip
    async for now in visits.follow(job):
        stages = now.folder / "stages"
        coarse = motion = gr.skip()
        if (stages / "coarse.mp4").is_file() and "coarse" not in seen:
            coarse = visits.shown(studio, stages / "coarse.mp4")
            seen.add("coarse")
        there = "refined" if (stages / "refined.view.json").is_file() else "scene"
        if (stages / f"{there}.view.json").is_file() and there not in seen:
            motion = visits.load_view(stages, "scene.view.json", "refined.view.json", ("extracted", "refined"))
            seen.add(there)
        result = visits.finished(now)
        final = made = download = gr.skip()
        if result is not None:
            final, made = visits.shown(studio, result.file("video.mp4")), gallery.panel(result)
            download = visits.zip_button(studio, result)
        yield [gallery.status(now, studio.jobs.before(now)), coarse, motion, final, made, download,
               gr.update(interactive=now.over), gr.update(interactive=not now.over), gr.skip()]  # fmt: skip


def ask(
    studio: Studio, draft: Draft, value: Any, prompt: str | None, clip: str | None, seconds: float, seed: float | None,
    strength: float | None, preset: str,
) -> tuple[dict[str, Any], dict[str, Path]]:  # fmt: skip
    """What was asked for as settings of the task and the files that it needs. Raises InputError."""
    if draft.picture is None:
        raise InputError("picture", "is not there yet", mend="drop one, or take one of ours")
    if preset not in dict(shipped.runnable()).values():
        raise InputError(
            "model", f"{preset!r} cannot run here", "one of " + ", ".join(dict(shipped.runnable()).values())
        )
    if not 0.5 <= seconds <= studio.limits.made_s:
        raise InputError("length", f"is {seconds:g} s", f"0.5 to {studio.limits.made_s:g} s")
    drags, shapes = canvas.read_drags(value)
    files: dict[str, Path] = {"picture.png": draft.picture}
    motion = shipped.clip_file(studio, clip) if clip else draft.motion
    name = None
    if motion is not None:
        name = f"motion{motion.suffix.lower()}"
        files[name] = motion
    settings = {
        "prompt": limits.check_prompt(prompt, studio.limits), "drags": [list(d) for d in drags], "shapes": shapes,
        "motion": name, "strength": strength, "seconds": float(seconds), "seed": read_seed(seed), "preset": preset,
    }  # fmt: skip
    return settings, files


def read_seed(seed: float | None) -> int:
    """Raises InputError for what is no seed."""
    if seed is None or not 0 <= seed < 2**31 or seed != int(seed):
        raise InputError("seed", f"is {seed}", "a whole number from 0 to 2147483647")
    return int(seed)


def _take_example(studio: Studio, old: Draft, example: shipped.Example):
    value, says = look(example.picture)
    value["drags"] = [
        {"part": part, "subject": 0, "start": list(start), "end": list(end)} for part, start, end in example.drags
    ]
    return Draft(example.picture, old.motion), value, says, example.prompt, example.clip


def _take_picture(studio: Studio, file: str | None, old: Draft):
    """A picture of the visitor's own; where it is refused, what was there stays."""
    try:
        clean = take_picture(studio, file)
    except InputError as error:
        return gr.skip(), gr.skip(), gallery.problem(error), None
    value, says = look(clean)
    return Draft(clean, old.motion), value, says, None


def take_picture(studio: Studio, file: str | None) -> Path:
    """An uploaded picture, turned upright and written anew as a PNG. Raises InputError."""
    from PIL import Image

    from kinema.picture import load_picture

    picture = visits.uploaded(studio, file, limits.check_picture, load_picture)
    clean = visits.scratch(studio) / "picture.png"
    Image.fromarray(picture).save(clean)
    return clean


def look(picture: Path) -> tuple[dict[str, Any], str]:
    """The picture with its parts, and what was found in words."""
    from kinema.picture import fit, load_picture
    from kinema.plan import look_at
    from kinema.presets import PRESETS

    mini = PRESETS["mini-svd"]
    loaded = load_picture(picture)
    fitted = fit((loaded.shape[0], loaded.shape[1]), mini.pixels, mini.constraints.multiple)
    try:
        part_ids, subject_ids = look_at(fitted.picture(loaded))
    except InputError as error:
        value = {"picture": canvas.as_data_url(loaded), "width": loaded.shape[1], "height": loaded.shape[0],
                 "parts": [], "drags": [], "shapes": []}  # fmt: skip
        return value, gallery.problem(error)
    value = canvas.canvas_value(loaded, part_ids, subject_ids, mini.pixels, mini.constraints.multiple)
    subjects = len({part["subject"] for part in value["parts"]})
    words = (
        f"Found {subjects} subject{'s' if subjects != 1 else ''} with {len(value['parts'])} parts. Drag one, or go on."
    )
    return value, f'<p class="kn-hint" role="status">{words}</p>'


def _take_motion(studio: Studio, file: str | None, old: Draft):
    try:
        path, motion = take_motion(studio, file)
    except InputError as error:
        return gr.skip(), gallery.problem(error)
    words = f"{motion.category}, {len(motion) / motion.fps:.1f} s at {motion.fps:g} frames a second."
    return Draft(old.picture, path), f'<p class="kn-hint" role="status">Read: {words}</p>'


def take_motion(studio: Studio, file: str | None):
    """An uploaded motion: where it lies now, and what it is. Raises InputError."""
    from kinema.motion_io import load_motion

    def read(path: Path):
        motion = load_motion(path)
        length = len(motion) / motion.fps
        if length > studio.limits.motion_s:
            raise InputError(path.name, f"lasts {length:.0f} s", f"at most {studio.limits.motion_s:g} s", "cut it")
        return path, motion

    path, motion = visits.uploaded(studio, file, limits.check_motion, read)
    kept = visits.scratch(studio) / f"motion{path.suffix.lower()}"
    shutil.copyfile(path, kept)
    return kept, motion
