"""The blind A/B vote page: two videos side by side, one question at a time, answered by a click or the keys 1, 2, 0.

Input: the folder of a study and its pairs (`kinema.studio.votes`). Output: a page that stands alone (`kinema study`) or in
another one. The browser gets videos under names that tell nothing, and asks no other machine for anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinema.errors import InputError
from kinema.studio.votes import (
    Asked,
    Pair,
    browser_secret,
    is_voter,
    new_voter,
    next_question,
    take_back,
    vote,
)

if TYPE_CHECKING:
    import gradio as gr

    from kinema.studio.app import Settings

KEYS_JS = """
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest && event.target.closest('input, textarea, [contenteditable]')) return;
  const button = document.querySelector({'1': '#vote-1', '2': '#vote-2', '0': '#vote-0'}[event.key] || null);
  if (button && button.offsetParent) { event.preventDefault(); button.click(); }
});
"""
CSS = """
.kn-study { max-width: 1200px; margin: 0 auto; }
.kn-study video { width: 100%; }
.kn-question { font-size: 1.3rem; line-height: 1.4; }
"""


def build_study(db: Path, pairs: Sequence[Pair]) -> gr.Blocks:
    """The page of a study whose folder is `db`. May be built inside another page."""
    import gradio as gr

    gr.set_static_paths([db.resolve() / "videos"])
    player: dict[str, Any] = {"interactive": False, "autoplay": True, "loop": True, "buttons": [], "height": 420}
    with gr.Blocks(title="kinema study", analytics_enabled=False) as page, gr.Column(elem_classes="kn-study"):
        # The question that is on the page: others' votes may by now have changed which one would come next.
        on_page = gr.State(None)
        token = gr.BrowserState("", storage_key="kinema-study", secret=browser_secret(db))
        with gr.Column() as door:
            gr.Markdown(
                f"# Which video is better?\n\nYou will see {len(pairs)} pairs of videos and answer a few questions on each. "
                "There is no right or wrong. Stop whenever you like, and go on later in this browser or with your code.\n\n"
                "Keys: **1** and **2** for the videos, **0** where it is offered."
            )
            code = gr.Textbox(label="Your code, if you have been here before", placeholder="leave empty to begin")
            refused = gr.Markdown(visible=False)
            begin = gr.Button("Begin", variant="primary", elem_id="study-begin")
        with gr.Column(visible=False) as booth:
            where = gr.Markdown(elem_id="study-where")
            question = gr.Markdown(elem_classes="kn-question", elem_id="study-question")
            with gr.Row():
                left = gr.Video(label="Video 1", elem_id="video-1", **player)
                right = gr.Video(label="Video 2", elem_id="video-2", **player)
            with gr.Row():
                choose_left = gr.Button("Video 1", variant="primary", elem_id="vote-1")
                choose_none = gr.Button("0", elem_id="vote-0", visible=False)
                choose_right = gr.Button("Video 2", variant="primary", elem_id="vote-2")
            back = gr.Button("Take back my last answer", size="sm", elem_id="study-back")
        gr.HTML("", js_on_load=KEYS_JS, elem_id="study-keys")

        def shown(voter: str, said: str = "") -> dict[Any, Any]:
            """The page as it is for a voter; without one, or with a code that is not known, the door."""
            if not voter or not is_voter(db, voter):
                return {door: gr.update(visible=True), booth: gr.update(visible=False), token: "",
                        refused: gr.update(value=said, visible=bool(said))}  # fmt: skip
            asked = next_question(db, pairs, voter)
            page = {door: gr.update(visible=False), booth: gr.update(visible=True), token: voter, on_page: asked}
            whose = f"Your code: `{voter}`"
            if asked is None:
                ended = gr.update(visible=False)
                thanks = {question: "**That was all. Thank you!**", where: whose, left: ended, right: ended}
                return page | thanks | dict.fromkeys((choose_left, choose_none, choose_right), ended)
            files = [gr.update(value=str(file), visible=True) for file in asked.files]
            return page | {
                where: f"Pair {asked.number} of {asked.pairs} · {whose}",
                question: f"**{asked.question.title}.** {asked.question.words}",
                left: files[0], right: files[1],
                choose_left: gr.update(visible=True), choose_right: gr.update(visible=True),
                choose_none: gr.update(value=f"0 · {asked.question.none}", visible=bool(asked.question.none)),
            }  # fmt: skip

        def enter(typed: str) -> dict[Any, Any]:
            typed = typed.strip().lower()
            return shown(
                typed or new_voter(db), f"The code {typed[:20]!r} is not known here. Leave it empty to begin anew."
            )

        def answer(voter: str, asked: Asked | None, key: Any) -> dict[Any, Any]:
            if asked is not None and is_voter(db, voter):
                try:
                    vote(db, voter, asked, asked.choice(key))
                except InputError as error:
                    raise gr.Error(f"{error.where} {error.problem}: {error.expected}") from error
            return shown(voter)

        def undo(voter: str) -> dict[Any, Any]:
            take_back(db, voter)
            return shown(voter)

        parts = [
            token,
            on_page,
            door,
            booth,
            refused,
            where,
            question,
            left,
            right,
            choose_left,
            choose_none,
            choose_right,
        ]
        quiet: dict[str, Any] = {"outputs": parts, "show_progress": "hidden", "api_visibility": "private"}
        begin.click(enter, code, **quiet)
        code.submit(enter, code, **quiet)
        page.load(shown, token, **quiet)
        for key, button in (("1", choose_left), ("2", choose_right), ("0", choose_none)):
            # A second click before the next question is there counts for nothing.
            button.click(partial(answer, key=key), [token, on_page], trigger_mode="once", **quiet)
        back.click(undo, token, trigger_mode="once", **quiet)
    return page


def serve_study(settings: Settings, pairs: Sequence[Pair], wait: bool = True) -> gr.Blocks:
    """Serve the page of the study in `settings.folder`, until control-C. Raises InputError where the port is taken."""
    from kinema.studio.app import LOCAL, be_silent, theme

    be_silent(settings.folder)
    from starlette.middleware import Middleware

    from kinema.studio.security import Guard
    from kinema.studio.workspace import Workspace

    workspace = Workspace.open(settings.folder / "server")
    guard = Middleware(Guard, workspace=workspace, local=settings.host in LOCAL)
    page = build_study(settings.folder, pairs)
    try:
        page.launch(
            server_name=settings.host, server_port=settings.port, prevent_thread_lock=True, quiet=True, share=False,
            auth=(settings.user, settings.password) if settings.password else None, app_kwargs={"middleware": [guard]},
            footer_links=[], run_history=False, theme=theme(), css=CSS, ssr_mode=False, enable_monitoring=False,
        )  # fmt: skip
    except OSError as error:
        raise InputError(
            "--port", f"{settings.port} is taken ({error})", mend="--port N with another number"
        ) from error
    if wait:
        try:
            page.block_thread()
        finally:
            page.close()
    return page
