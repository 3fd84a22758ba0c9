"""The page's own text and scripts, kept: Gradio makes the same 90 KB anew for every visitor, which takes 50 ms of a core,
and reads each of a hundred scripts from the disk, which takes 2 ms.

Only what is the same for everybody is kept: three paths and Gradio's scripts, without a query, where there is no password.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = ("/", "/config", "/gradio_api/info")
SCRIPTS = re.compile(r"/assets/[\w.-]+\.(?:js|css)")
MOST = 400
"""Answers that are kept: one for each script of the page, of 20 KB, and of other paths one for each name of this machine."""


class PageCache:
    """ASGI middleware, to stand behind the guard, which gives every visitor a cookie."""

    def __init__(self, app: ASGIApp):
        self.app = app
        self.kept: dict[tuple[str, bytes], list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        path = scope.get("path", "")
        is_script = SCRIPTS.fullmatch(path) is not None
        plain = scope["type"] == "http" and scope["method"] == "GET" and (path in PATHS or is_script)
        special = any(name.startswith((b"x-forwarded", b"range")) for name in headers)
        if not plain or scope["query_string"] or special:
            return await self.app(scope, receive, send)
        key = (path, b"" if is_script else headers.get(b"host", b""))
        if key not in self.kept:
            messages: list[Message] = []

            async def keep(message: Message) -> None:
                messages.append(message)

            await self.app(scope, receive, keep)
            if messages[0]["status"] != 200 or len(self.kept) >= MOST:
                for message in messages:
                    await send(message)
                return None
            self.kept[key] = messages
        for message in self.kept[key]:
            copied = dict(message)
            if "headers" in copied:  # those before it add their own
                copied["headers"] = list(copied["headers"])
            await send(copied)
