"""What all tabs do alike: who asks, running a job while the page shows how far it is, results in pieces of page."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from kinema.errors import InputError
from kinema.studio import canvas
from kinema.studio.gallery import ZIP, Result, Studio, read_result
from kinema.studio.jobs import Job
from kinema.studio.workspace import COOKIE, words

POLL_S = 0.3
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Of events that are the page's own."""
PLAYER: dict[str, Any] = {"interactive": False, "autoplay": True, "loop": True, "buttons": ["download"]}
"""How all videos are shown."""
T = TypeVar("T")
log = logging.getLogger(__name__)


def upload_field(label: str, elem_id: str | None = None) -> gr.File:
    """A field for a file of the visitor's own machine; an address in its place is refused: the server fetches nothing."""
    field = gr.File(label=label, height=64, type="filepath", elem_id=elem_id, elem_classes="kn-drop")
    taken = field.async_move_resource_to_block_cache

    async def only_files(url_or_file_path: str | Path | None) -> str | None:
        if str(url_or_file_path).lower().startswith(("http:", "https:")):
            raise gr.Error("A file is wanted, not an address: this server fetches nothing.")
        return await taken(url_or_file_path)

    field.async_move_resource_to_block_cache = only_files
    field.preprocess = lambda payload: getattr(payload, "path", None)  # Gradio's leaves an empty file each time
    return field


def watermark_box() -> gr.Checkbox:
    """Every video says by its manifest that AI made it; this also marks the frames."""
    return gr.Checkbox(
        False, label="Invisible watermark", min_width=120,
        info="The video's C2PA manifest says that AI made it; this says so in the frames too, where the manifest is lost.",
    )  # fmt: skip


def visitor_of(studio: Studio, request: gr.Request) -> str:
    """Who asks. Raises gr.Error where the cookie is not of this server."""
    try:
        return studio.workspace.visitor(request.cookies.get(COOKIE), request.session_hash)
    except InputError as error:
        raise gr.Error(words(error)) from error


def uploaded(
    studio: Studio, file: str | None, check: Callable[..., object], read: Callable[[Path], T] = lambda path: path
) -> T:
    """An upload that was checked, as `read` takes it; one that is refused is removed. Raises InputError."""
    if not file:
        raise InputError("file", "did not arrive", mend="send it again")
    path = Path(file)
    home = (studio.workspace.folder / "cache").resolve()
    if not path.resolve().is_relative_to(home):
        raise InputError("file", "is none that was uploaded here", mend="upload it")
    try:
        check(path, studio.limits)
        return read(path)
    except InputError:
        path.unlink(missing_ok=True)
        raise


def scratch(studio: Studio) -> Path:
    """A fresh folder for what a visitor is working on; it goes after a day."""
    path = studio.workspace.folder / "cache" / f"draft-{secrets.token_hex(12)}"
    path.mkdir()
    return path


async def follow(job: Job) -> AsyncIterator[Job]:
    """The job again and again until it is over, once more at its end."""
    seen = None
    while not job.over:
        now = (job.state, dict(job.progress), round(job.seconds))
        if now != seen:
            seen = now
            yield job
        await asyncio.sleep(POLL_S)
    yield job


def shown(studio: Studio, path: Path | str | None) -> str | None:
    """A file of a result where the page may show it: in the cache, under a name that cannot be guessed."""
    if path is None or not Path(path).is_file():
        return None
    path = Path(path)
    home = studio.workspace.folder / "cache" / f"shown-{secrets.token_hex(12)}"
    home.mkdir()
    try:
        os.link(path, home / path.name)
    except OSError:  # a disk without links
        shutil.copyfile(path, home / path.name)
    return str(home / path.name)


def wire_cancel(studio: Studio, button: gr.Button, job_id: gr.State) -> None:
    """The button ends the visitor's job."""

    @told
    def stop(job_id: str, request: gr.Request) -> None:
        studio.jobs.cancel(studio.jobs.find(visitor_of(studio, request), job_id))

    button.click(stop, job_id, None, concurrency_limit=None, **PRIVATE)


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose `InputError` the visitor reads."""

    @functools.wraps(handler)
    def telling(*values: Any, **more: Any) -> Any:
        try:
            return handler(*values, **more)
        except InputError as error:
            raise gr.Error(words(error)) from error

    return telling


def choices(studio: Studio, request: gr.Request, now: str | None, *kinds: str) -> dict[str, Any]:
    """A list of results for a dropdown; the one that is chosen stays, else it is the newest."""
    found = studio.results(visitor_of(studio, request), *kinds)
    names = [r.name for r in found]
    value = now if now in names else names[0] if names else None
    return gr.update(choices=[(r.line, r.name) for r in found], value=value)


def result_of(studio: Studio, request: gr.Request, job_id: str) -> str | None:
    """The name of the result of a visitor's job that is done."""
    job = studio.jobs.known.get(job_id)
    own = job is not None and job.visitor == visitor_of(studio, request) and job.state == "done"
    return job.folder.name if job is not None and own else None


def load_view(path: Path, before: str, after: str, titles: tuple[str, str]) -> dict[str, Any] | None:
    """Two views for `static/view3d.js`; None where neither is there yet."""
    scenes = [
        {**json.loads((path / name).read_text()), "title": title}
        for name, title in ((before, titles[0]), (after, titles[1]))
        if (path / name).is_file()
    ]
    return {"scenes": scenes, "id": f"{path.name}-{len(scenes)}"} if scenes else None


def zip_button(studio: Studio, result: Result | None) -> dict[str, Any]:
    """The button below a result: hidden where there is nothing to download."""
    file = shown(studio, result.file(ZIP)) if result else None
    return gr.update(value=file, visible=file is not None)


def finished(job: Job) -> Result | None:
    """The result of a job that is done."""
    return read_result(job.folder) if job.state == "done" else None


def canvas_html(elem_id: str, empty: str, hint: str, none: str, paint: bool) -> gr.HTML:
    """The picture on which parts are dragged, with what it says where it is empty, how to use it, and without targets."""
    said = {"empty": empty, "hint": hint, "none": none, "paint": "yes" if paint else "no"}
    data = " ".join(f'data-{name}="{escape(text)}"' for name, text in said.items())
    return gr.HTML(
        {}, html_template=f'<div class="kn-canvas" {data}></div>', elem_id=elem_id,
        js_on_load=(canvas.STATIC / "canvas.js").read_text(), apply_default_css=False,
    )  # fmt: skip


def view3d_html(**more: Any) -> gr.HTML:
    """The 3D view of up to two motions."""
    return gr.HTML(
        None, html_template='<div class="kn-view3d"></div>', js_on_load=(canvas.STATIC / "view3d.js").read_text(),
        apply_default_css=False, **more,
    )  # fmt: skip
