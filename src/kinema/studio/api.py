"""The same as a web interface for programs (Gradio's API, described on the page behind "Use via API" and at /openapi.json).

    animate_picture(picture, prompt, targets, motion, seconds, strength, seed, preset) -> video, zip, about
    animate_masks(masks, prompt, steps, seconds, seed) -> video, zip, about
    clean_motion(motion, prompt, strength, length, betas, maps) -> zip, about

Each waits for its job; what is wrong comes back as an error. They go through the same checks and tasks as the tabs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from kinema.errors import InputError
from kinema.studio import animate_tab, clean_tab, commands, visits
from kinema.studio.animate_tab import Draft
from kinema.studio.gallery import ZIP, Result, Studio, read_result
from kinema.studio.jobs import Job
from kinema.studio.workspace import words

Asked = tuple[dict[str, Any], dict[str, Path], list[str]]
"""Settings of a task, the files that it needs, and command lines."""


def build(studio: Studio) -> None:
    """Endpoints without anything to see."""
    with gr.Column(visible=False):
        file, other = visits.upload_field("file"), visits.upload_field("motion")
        text, more = gr.Textbox(label="prompt"), gr.Textbox(label="more")
        targets = gr.JSON(label="targets")
        seconds, strength = gr.Number(2, label="seconds"), gr.Number(None, label="strength")
        seed, length = gr.Number(42, label="seed", precision=0), gr.Number(None, label="length")
        preset = gr.Textbox("mini-svd", label="preset")
        button = gr.Button()
        video, packed, about = gr.Video(label="video"), gr.File(label="zip"), gr.JSON(label="about")
    public: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "public"}

    async def animate_picture(picture, prompt, targets, motion, seconds, strength, seed, preset, request: gr.Request):
        def ask() -> Asked:
            taken = animate_tab.take_motion(studio, motion)[0] if motion else None
            draft = Draft(animate_tab.take_picture(studio, picture), taken)
            settings, files = animate_tab.ask(studio, draft, targets, prompt, "", seconds, seed, strength, preset)
            return settings, files, commands.generate_command(settings)

        result = await _made(studio, request, "animate", animate_tab.TASK, ask)
        return visits.shown(studio, result.file("video.mp4")), *_taken_along(studio, result)

    async def animate_masks(masks, prompt, steps, seconds, seed, request: gr.Request):
        from kinema.studio import masks_tab

        def ask() -> Asked:
            draft = masks_tab.take_masks(studio, masks)
            sliders = (1, 0, 0, 0, 1, False, steps or "")
            return masks_tab.ask(studio, draft, sliders, prompt, seconds, seed, False, "crop")

        result = await _made(studio, request, "masks", masks_tab.TASK, ask)
        return visits.shown(studio, result.file("video.mp4")), *_taken_along(studio, result)

    async def clean_motion(motion, prompt, strength, length, betas, maps, request: gr.Request):
        def ask() -> Asked:
            path, _ = animate_tab.take_motion(studio, motion)
            settings, files = clean_tab.ask(studio, path, True, prompt, strength, length, betas, list(maps or ()),
                                            clean_tab.SIZES[0])  # fmt: skip
            return settings, files, commands.clean_command(settings)

        return _taken_along(studio, await _made(studio, request, "clean", clean_tab.TASK, ask))

    button.click(animate_picture, [file, text, targets, other, seconds, strength, seed, preset], [video, packed, about],
                 api_name="animate_picture", **public)  # fmt: skip
    button.click(
        animate_masks, [file, text, more, seconds, seed], [video, packed, about], api_name="animate_masks", **public
    )
    button.click(clean_motion, [file, text, strength, length, more, targets], [packed, about], api_name="clean_motion",
                 **public)  # fmt: skip


def _taken_along(studio: Studio, result: Result) -> tuple[Any, dict[str, Any]]:
    """The zip of all stages, and what there is to know of them."""
    return visits.shown(studio, result.file(ZIP)), dict(result.about)


async def _made(studio: Studio, request: gr.Request, kind: str, task: str, ask: Callable[[], Asked]) -> Result:
    """The result of a job. Raises gr.Error where what was sent is refused, or the job fails."""

    def begin() -> Job:
        settings, files, lines = ask()
        title = settings.get("prompt") or "through the API"
        return studio.begin(visits.visitor_of(studio, request), kind, task, settings, lines, files, title)

    try:
        job = await asyncio.to_thread(begin)
        while not job.over:
            await asyncio.sleep(visits.POLL_S)
        if job.state != "done":
            raise InputError("job", job.problem or job.state)
    except InputError as error:
        raise gr.Error(words(error), print_exception=False) from error
    return read_result(job.folder)
