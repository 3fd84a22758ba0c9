"""Tab 3: masks to video."""

from __future__ import annotations

import asyncio
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from kinema.errors import InputError
from kinema.studio import commands, gallery, limits, shipped, visits
from kinema.studio import masks_draft as drafts
from kinema.studio.animate_tab import read_seed
from kinema.studio.gallery import Studio
from kinema.studio.masks_draft import MaskDraft

TASK = "kinema.studio.tasks:animate_masks"
FIND = "kinema.studio.tasks:find_masks"
FIND_FPS = 8.0
MASK_FILES = "Masks: .npz, .json (COCO), .zip of PNGs, .mp4 (white on black)"
PRESET = "mini-cogvideox"
FITS = {"refuse masks of another shape": "", "cut what is too wide or too high": "crop", "leave room beside": "pad"}


def build(studio: Studio) -> None:
    """The tab."""
    draft, job_id = gr.State(MaskDraft()), gr.State("")
    gr.Markdown(
        "Masks say **where** things are in every frame, words say **what** they look like. In a hurry? Take our boxer and "
        "press **Make the video**.", elem_classes="kn-lead",
    )  # fmt: skip
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320):
            gr.Markdown("## 1 · Where the masks come from")
            ours = gr.Button("Our boxer", size="sm", elem_id="masks-ours")
            with gr.Accordion("Find them in a video", open=False):
                video = visits.upload_field("Video: drop it here, or click", "video")
                nouns = gr.Textbox(label="What to look for", placeholder="a man", elem_id="nouns",
                                   info="Nouns, with commas between them.")  # fmt: skip
                find = gr.Button("Find", elem_id="find")
            with gr.Accordion("Upload masks", open=False):
                own = visits.upload_field(MASK_FILES, "masks-own")
            source_says = gr.HTML("", elem_id="masks-says", apply_default_css=False)
            gr.Markdown("## 2 · Edit")
            with gr.Row():
                size = gr.Slider(0.25, 3, 1, step=0.05, label="Size", elem_id="mask-size")
                degrees = gr.Slider(-45, 45, 0, step=1, label="Slope, degrees")
            with gr.Row():
                right = gr.Slider(
                    -1, 1, 0, step=0.02, label="To the right", info="share of the width", elem_id="mask-right"
                )
                down = gr.Slider(-1, 1, 0, step=0.02, label="Down", info="share of the height")
            with gr.Row():
                speed = gr.Slider(0.25, 4, 1, step=0.05, label="Speed")
                mirrored = gr.Checkbox(False, label="Mirror image", min_width=120)
            more = gr.Textbox(
                label="More operations", lines=2, placeholder="loop seconds=8\nsmooth radius=0.01", elem_id="mask-more",
                info="One a line, as kinema masks edit --op takes them; done after the sliders.",
            )  # fmt: skip
            with gr.Accordion("Compose with others", open=False):
                other = visits.upload_field("Other masks, which stand behind", "masks-other")
                offset = gr.Slider(0, 20, 0, step=0.5, label="They begin after, seconds")
                compose = gr.Button("Compose")
            edit_says = gr.HTML("", elem_id="edit-says", apply_default_css=False)
        with gr.Column(scale=4, min_width=320):
            gr.Markdown("## Preview")
            preview = gr.Video(label="the masks as they are now", height=280, elem_id="masks-preview", **visits.PLAYER)
            lint = gr.HTML("", elem_id="lint", apply_default_css=False)
            mend = gr.Button("Mend what can be mended", size="sm", visible=False)
            gr.Markdown("## 3 · Make the video")
            prompt = gr.Textbox(label="What things and the place look like", lines=2, elem_id="masks-prompt",
                                placeholder="a man in a red suit, boxing; in the snow", info="In English.")  # fmt: skip
            with gr.Row():
                seconds = gr.Slider(1, 20, 4, step=0.5, label="Length, seconds", elem_id="masks-seconds")
                seed = gr.Number(42, precision=0, label="Seed", min_width=90)
            with gr.Accordion("More", open=False):
                anchored = gr.Checkbox(
                    True, label="Keep to the colours of the first clip", info="not for scenes that change"
                )
                fit = gr.Radio(list(FITS.items()), value="crop", label="Masks of another shape")
                mark = visits.watermark_box()
                gr.HTML(shipped.not_runnable_html(True), apply_default_css=False)
            with gr.Row():
                run = gr.Button("Make the video", variant="primary", elem_id="masks-run")
                cancel = gr.Button("Cancel", interactive=False)
            status = gr.HTML("", elem_id="masks-status", apply_default_css=False)
    with gr.Row(equal_height=False):
        final = gr.Video(label="the video", height=320, elem_id="masks-final", **visits.PLAYER)
        seams = gr.Image(label="how its clips join", height=320, interactive=False, buttons=[], visible=False,
                         elem_id="masks-seams")  # fmt: skip
    made = gr.HTML("", apply_default_css=False)
    download = gr.DownloadButton("Download all stages (.zip)", visible=False)
    sliders = [size, right, down, degrees, speed, mirrored, more]
    shown = [preview, lint, mend, edit_says]

    def show(draft: MaskDraft, seconds: float, *sliders: Any):
        return _show(studio, draft, seconds, sliders)

    def take(draft: MaskDraft, made: MaskDraft | None, problem: str):
        """After new masks: the sliders back at rest."""
        if made is None:
            return [gr.skip(), problem, *[gr.skip()] * 7]
        masks = made.masks()
        frames, _, height, width = masks.masks.shape
        words = f"{', '.join(masks.labels)}: {frames} frames of {width}x{height}, {frames / masks.fps:.1f} s."
        return [made, f'<p class="kn-hint" role="status">{escape(words)}</p>', 1, 0, 0, 0, 1, False, ""]

    def take_ours(draft: MaskDraft):
        return [*take(draft, _ours(studio), ""), "a man in a red suit, boxing; in the snow"]

    def take_own(draft: MaskDraft, file: str | None):
        try:
            made = take_masks(studio, file)
        except InputError as error:
            return take(draft, None, gallery.problem(error))
        return take(draft, made, "")

    taken = [draft, source_says, *sliders]
    looking = [draft, seconds, *sliders]
    ours.click(take_ours, draft, [*taken, prompt], **visits.PRIVATE).then(show, looking, shown, **visits.PRIVATE)
    own.upload(take_own, [draft, own], taken, **visits.PRIVATE).then(show, looking, shown, **visits.PRIVATE)
    for control in (size, right, down, degrees, speed, seconds):
        control.input(show, looking, shown, trigger_mode="always_last", **visits.PRIVATE)
    mirrored.input(show, looking, shown, **visits.PRIVATE)
    more.blur(show, looking, shown, **visits.PRIVATE)

    async def look_for(draft: MaskDraft, file: str | None, nouns: str, request: gr.Request):
        def begin():
            path = visits.uploaded(studio, file, limits.check_video)
            names = [limits.check_prompt(noun, studio.limits) for noun in (nouns or "").split(",") if noun.strip()]
            if not names or len(names) > 5:
                raise InputError("what to look for", f"are {len(names)} nouns", "1 to 5, such as: a man, a ball")
            name = f"video{path.suffix.lower()}"
            settings = {"video": name, "nouns": names, "fps": FIND_FPS,
                        "most_frames": int(FIND_FPS * studio.limits.video_s)}  # fmt: skip
            visitor = visits.visitor_of(studio, request)
            return studio.begin(visitor, "find", FIND, settings, commands.mask_command(settings), {name: path},
                                f"Masks of {', '.join(names)}")  # fmt: skip

        try:
            job = await asyncio.to_thread(begin)
        except InputError as error:
            yield take(draft, None, gallery.problem(error))
            return
        async for now in visits.follow(job):
            yield take(draft, None, gallery.status(now, studio.jobs.before(now)))
        if job.state == "done":
            from kinema.masks.files import read_masks

            found = await asyncio.to_thread(read_masks, job.folder / "masks.npz")
            yield take(draft, drafts.begin(found, visits.scratch(studio)), "")

    find.click(look_for, [draft, video, nouns], taken, concurrency_limit=None, **visits.PRIVATE).then(
        show, looking, shown, **visits.PRIVATE
    )

    def put_together(draft: MaskDraft, file: str | None, offset: float, *sliders):
        try:
            steps = drafts.steps_of(*sliders)
            behind = visits.uploaded(studio, file, limits.check_masks, drafts.read_upload)
            made = drafts.composed(draft, steps, behind, offset)
        except InputError as error:
            return take(draft, None, gallery.problem(error))
        return take(draft, made, "")

    compose.click(put_together, [draft, other, offset, *sliders], taken, **visits.PRIVATE).then(
        show, looking, shown, **visits.PRIVATE
    )

    def add_mends(draft: MaskDraft, seconds: float, more: str, size, right, down, degrees, speed, mirrored):
        from kinema.masks.lint import lint_masks, mends
        from kinema.masks.recipe import as_text

        masks = drafts.edited(draft, drafts.steps_of(size, right, down, degrees, speed, mirrored, more))
        lines = [as_text(step) for step in mends(lint_masks(masks, seconds))]
        return "\n".join([*(line for line in (more or "").splitlines() if line.strip()), *lines])

    mend.click(visits.told(add_mends), [draft, seconds, more, *sliders[:-1]], more, **visits.PRIVATE).then(
        show, looking, shown, **visits.PRIVATE
    )

    async def go(
        draft, prompt, seconds, seed, anchored, fit, mark, size, right, down, degrees, speed, mirrored, more,
        request: gr.Request,
    ):  # fmt: skip
        sliders = (size, right, down, degrees, speed, mirrored, more)
        still = [gr.skip()] * 7

        def begin():
            settings, files, lines = ask(studio, draft, sliders, prompt, seconds, seed, anchored, fit, bool(mark))
            return studio.begin(visits.visitor_of(studio, request), "masks", TASK, settings, lines, files,
                                settings["prompt"])  # fmt: skip

        try:
            job = await asyncio.to_thread(begin)
        except InputError as error:
            yield [gallery.problem(error), *still]
            return
        async for now in visits.follow(job):
            result = visits.finished(now)
            out = [gr.skip()] * 4
            if result is not None:
                joins = visits.shown(studio, result.file("seams.png"))
                out = [
                    visits.shown(studio, result.file("video.mp4")), gr.update(value=joins, visible=joins is not None),
                    gallery.panel(result), visits.zip_button(studio, result),
                ]  # fmt: skip
            yield [gallery.status(now, studio.jobs.before(now)), *out, gr.update(interactive=now.over),
                   gr.update(interactive=not now.over), job.id]  # fmt: skip

    outputs = [status, final, seams, made, download, run, cancel, job_id]
    asked = [draft, prompt, seconds, seed, anchored, fit, mark, *sliders]
    run.click(go, asked, outputs, concurrency_limit=None, **visits.PRIVATE)

    visits.wire_cancel(studio, cancel, job_id)


def ask(
    studio: Studio, draft: MaskDraft, sliders: Any, prompt: str | None, seconds: float, seed: float | None,
    anchored: bool, fit: str | None, watermark: bool = False,
) -> tuple[dict[str, Any], dict[str, Path], list[str]]:  # fmt: skip
    """What was asked for as settings of the task, the files that it needs, and command lines. Raises InputError."""
    from kinema.masks.recipe import as_text

    if not 0.5 <= seconds <= studio.limits.made_s:
        raise InputError("length", f"is {seconds:g} s", f"0.5 to {studio.limits.made_s:g} s")
    if fit not in FITS.values():
        raise InputError("masks of another shape", f"{fit!r} is not known", ", ".join(FITS))
    steps = drafts.steps_of(*sliders)
    files: dict[str, Path] = {}
    if draft.folder is not None:
        drafts.edited(draft, steps)
        files = {name: draft.folder / name for name in draft.files}
    settings = {
        "masks": draft.base or None, "steps": [as_text(s) for s in steps] if draft.base else [],
        "prompt": limits.check_prompt(prompt, studio.limits), "seconds": float(seconds), "seed": read_seed(seed),
        "preset": PRESET, "anchored": bool(anchored), "fit": fit or None, "watermark": watermark,
    }  # fmt: skip
    if not settings["prompt"]:
        raise InputError(
            "what things look like", "is not said", mend="describe them, as in: a man in a red suit; in snow"
        )
    return settings, files, [*draft.lines, *commands.animate_command(settings)]


def take_masks(studio: Studio, file: str | None) -> MaskDraft:
    """Uploaded masks as a draft. Raises InputError."""
    masks = visits.uploaded(studio, file, limits.check_masks, drafts.read_upload)
    return drafts.begin(masks, visits.scratch(studio))


def _ours(studio: Studio) -> MaskDraft:
    from kinema.motion_io import load_motion

    folder = visits.scratch(studio)
    return drafts.begin(drafts.shipped_masks(load_motion(shipped.HERE / "punch.npz")), folder)


def _show(studio: Studio, draft: MaskDraft, seconds: float, sliders: Any):
    """The preview, what lint says, whether it can be mended, and what is wrong with the edits."""
    from kinema.masks.lint import lint_masks

    if draft.folder is None:
        return [gr.skip()] * 4
    try:
        masks = drafts.edited(draft, drafts.steps_of(*sliders))
    except InputError as error:
        return [gr.skip(), gr.skip(), gr.skip(), gallery.problem(error)]
    path = visits.scratch(studio) / "masks.mp4"
    drafts.write_preview(masks, path)
    found = lint_masks(masks, seconds)
    return [str(path), lint_html(found), gr.update(visible=any(f.steps for f in found)), ""]


def lint_html(found: Any) -> str:
    """What lint found as a table."""
    from kinema.masks.recipe import as_text

    if not found:
        return '<p class="kn-hint">Nothing is wrong with these masks.</p>'
    rows = "".join(
        f"<tr><td>{'must' if f.must else 'may'}</td><td>{f.frame}</td><td>{escape(f.label or 'the clip')}</td>"
        f"<td>{escape(f.sentence)}</td><td>{escape(f.mend)}"
        + "".join(f"<br><code>{escape(as_text(s))}</code>" for s in f.steps)
        + "</td></tr>"
        for f in found
    )
    head = "<tr><th>mend</th><th>frame</th><th>of</th><th>what</th><th>how</th></tr>"
    return (
        '<div class="kn-scroll" tabindex="0" role="region" aria-label="what is wrong with the masks">'
        f'<table class="kn-table"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    )
