"""The studio's page put together: tabs, looks, the server.

Input: `Settings`. Output: a server that runs until it is stopped. Nothing here or in Gradio asks
another machine for anything.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.errors import InputError
from kinema.studio.limits import LIMITS, Limits

if TYPE_CHECKING:
    import gradio as gr

    from kinema.studio.gallery import Studio

STATIC = Path(__file__).parent / "static"
SILENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
"""What keeps Gradio and the hub's client from calling home."""
LOCAL = ("localhost", "127.0.0.1", "::1")
MOST_EVENTS = 400
"""Clicks that may wait to be answered."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Of one server. password: of `user`; needed to listen anywhere but on this machine."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 7860
    user: str = "kinema"
    password: str | None = None
    limits: Limits = LIMITS

    def __post_init__(self):
        if self.host not in LOCAL and not self.password:
            raise InputError(
                "--host", f"{self.host} can be reached by others, and there is no password", "a password",
                "export KINEMA_STUDIO_PASSWORD=..., or leave --host out",
            )  # fmt: skip
        if self.password is not None and len(self.password) < 8:
            raise InputError("KINEMA_STUDIO_PASSWORD", "is shorter than 8 letters", mend="take a longer one")


def be_silent(folder: Path) -> None:
    """Before Gradio is imported: no calls home, and its copies of files go into the work folder."""
    os.environ.update(SILENT)
    os.environ["GRADIO_TEMP_DIR"] = str(folder.resolve() / "cache")


def open_studio(settings: Settings) -> Studio:
    """The workspace and the queue, with its worker getting ready."""
    be_silent(settings.folder)
    from kinema.studio.gallery import Studio
    from kinema.studio.jobs import Job
    from kinema.studio.workspace import Workspace

    workspace = Workspace.open(settings.folder, everyone=settings.password is None, limits=settings.limits)
    studio = Studio(workspace, settings.limits)
    studio.jobs.submit(Job("", "kinema.studio.tasks:load_libraries", {}, settings.folder))
    threading.Thread(target=studio.tidy_forever, name="tidy", daemon=True).start()
    return studio


def start(settings: Settings, studio: Studio) -> gr.Blocks:
    """Serve the page from a thread; -> it, to be closed. Raises InputError where the port is taken."""
    from starlette.middleware import Middleware

    from kinema.studio.page_cache import PageCache
    from kinema.studio.security import Guard

    before = [Middleware(Guard, workspace=studio.workspace, local=settings.host in LOCAL)]
    before += [] if settings.password else [Middleware(PageCache)]
    page = build_page(studio)
    page.queue(max_size=MOST_EVENTS, default_concurrency_limit=16)
    try:
        page.launch(
            server_name=settings.host, server_port=settings.port, prevent_thread_lock=True, quiet=True, share=False,
            auth=(settings.user, settings.password) if settings.password else None, app_kwargs={"middleware": before},
            max_file_size=settings.limits.upload_bytes, footer_links=["api"], run_history=False, show_error=True,
            theme=theme(), head=f"<style>{(STATIC / 'studio.css').read_text()}</style>",
            js=(STATIC / "studio.js").read_text(), ssr_mode=False, enable_monitoring=False,
        )  # fmt: skip
    except OSError as error:
        raise InputError("--port", f"{settings.port} is taken", mend="--port N with another number") from error
    return page


def theme() -> gr.Theme:
    """System fonts, and colours that keep 4.5:1 in light and dark."""
    from gradio.themes import Base

    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    return Base(primary_hue="indigo", neutral_hue="slate", font=fonts, font_mono=mono, radius_size="lg").set(
        body_background_fill="#f8fafc", body_background_fill_dark="#0b1120", block_shadow="none",
        button_primary_background_fill="#4338ca", button_primary_background_fill_hover="#3730a3",
        button_primary_background_fill_dark="#4f46e5", button_primary_background_fill_hover_dark="#4338ca",
        button_primary_text_color="#ffffff", button_primary_text_color_dark="#ffffff",
        body_text_color_subdued="#475569", body_text_color_subdued_dark="#cbd5e1", color_accent="#4338ca",
        block_info_text_color="#475569", block_info_text_color_dark="#cbd5e1",
        input_placeholder_color="#64748b", input_placeholder_color_dark="#94a3b8",
    )  # fmt: skip


def build_page(studio: Studio) -> gr.Blocks:
    """All tabs."""
    import gradio as gr

    from kinema.studio import animate_tab, api, clean_tab, compare_tab, masks_tab, motion_tab

    with gr.Blocks(
        title="kinema studio", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86_400)
    ) as page:
        gr.HTML('<header class="kn-head"><h1>kinema studio</h1><p>Direct the motion in video.</p></header>',
                apply_default_css=False)  # fmt: skip
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Animate a picture", id="animate"):
                animate_tab.build(studio)
            with gr.Tab("See and mend", id="mend") as mend:
                motion_tab.build(studio, mend)
            with gr.Tab("Masks to video", id="masks"):
                masks_tab.build(studio)
            with gr.Tab("Clean a motion", id="clean"):
                clean_tab.build(studio)
            with gr.Tab("Compare", id="compare") as compare:
                compare_tab.build(studio, compare)
            with gr.Tab("Results", id="results") as results:
                compare_tab.build_results(studio, results)
        api.build(studio)
    return page


def serve(settings: Settings) -> None:
    """Run until control-C."""
    studio = open_studio(settings)
    try:
        page = start(settings, studio)
        try:
            page.block_thread()
        finally:
            page.close()
    finally:
        studio.jobs.close()
