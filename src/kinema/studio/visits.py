"""What all tabs do alike: who asks, running a job while the page shows how far it is, results in pieces of page."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from kinema.errors import InputError
from kinema.studio import canvas
from kinema.studio.gallery import ZIP, Result, Studio, read_result
from kinema.studio.jobs import Job
from kinema.studio.workspace import COOKIE, words

POLL_S = 0.3
PLAYER = {"interactive": False, "autoplay": True, "loop": True, "buttons": ["download"]}
"""How all videos are shown."""
log = logging.getLogger(__name__)


def visitor_of(studio: Studio, request: gr.Request) -> str:
    """Who asks. Raises gr.Error where the cookie is not of this server."""
    try:
        return studio.workspace.visitor(request.cookies.get(COOKIE), request.session_hash)
    except InputError as error:
        raise gr.Error(words(error)) from error


def uploaded(studio: Studio, file: str | None, check: Callable[..., None]) -> Path:
    """An upload that was checked; one that is refused is removed. Raises InputError."""
    if not file:
        raise InputError("file", "did not arrive", mend="send it again")
    path = Path(file)
    home = (studio.workspace.folder / "cache").resolve()
    if not path.resolve().is_relative_to(home):
        raise InputError("file", "is none that was uploaded here", mend="upload it")
    try:
        check(path, studio.limits)
    except InputError:
        path.unlink(missing_ok=True)
        raise
    return path


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


def view(path: Path, *names: str) -> str | None:
    """The first of these files that is there: what the 3D view or a player is given."""
    return next((str(path / name) for name in names if (path / name).is_file()), None)


def load_view(path: Path, before: str, after: str, titles: tuple[str, str]) -> dict[str, Any] | None:
    """Two views for `static/view3d.js`; None where neither is there yet."""
    scenes = [
        {**json.loads((path / name).read_text()), "title": title}
        for name, title in ((before, titles[0]), (after, titles[1]))
        if (path / name).is_file()
    ]
    return {"scenes": scenes, "id": f"{path.name}-{len(scenes)}"} if scenes else None


def zip_of(result: Result) -> str | None:
    return result.file(ZIP)


def finished(job: Job) -> Result | None:
    """The result of a job that is done."""
    return read_result(job.folder) if job.state == "done" else None


def canvas_html(**more: Any) -> gr.HTML:
    """The picture on which parts are dragged."""
    return gr.HTML(
        {}, html_template='<div class="kn-canvas" data-empty="Choose a picture: drop one, or take one of ours."></div>',
        js_on_load=(canvas.STATIC / "canvas.js").read_text(), apply_default_css=False, **more,
    )  # fmt: skip


def view3d_html(**more: Any) -> gr.HTML:
    """The 3D view of up to two motions."""
    return gr.HTML(
        None, html_template='<div class="kn-view3d"></div>', js_on_load=(canvas.STATIC / "view3d.js").read_text(),
        apply_default_css=False, **more,
    )  # fmt: skip
