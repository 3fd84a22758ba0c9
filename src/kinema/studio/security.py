"""What stands before the page: hosts, cookies, and headers that keep a browser from asking anybody else.

A request whose cookie was not signed here is refused with 403. The content policy allows this server alone, so that no font,
script or beacon of a third party is fetched, whatever a page holds.
"""

from __future__ import annotations

import logging
import re
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kinema.errors import InputError
from kinema.studio.workspace import COOKIE, Workspace, words

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
A_YEAR_S = 365 * 24 * 3600
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)
log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware. local: answer only to names of this machine, so that no other site's name can stand for it."""

    def __init__(self, app: ASGIApp, workspace: Workspace, local: bool):
        self.app, self.workspace, self.local = app, workspace, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        if self.local and _host(headers.get("host", "")) not in LOCAL_HOSTS:
            return await PlainTextResponse("This studio answers to localhost alone.", 403)(scope, receive, send)
        cookie = _cookie(headers.get("cookie", ""))
        try:
            if cookie is not None:
                self.workspace.visitor(cookie)
        except InputError as error:
            log.warning("refused a session that was not begun here, from %s", (scope.get("client") or ("?",))[0])
            answer = PlainTextResponse(words(error), 403)
            answer.delete_cookie(COOKIE)
            return await answer(scope, receive, send)
        is_page = scope["method"] == "GET" and scope["path"] == "/"

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Content-Security-Policy"] = POLICY
                answer["X-Content-Type-Options"] = "nosniff"
                answer["Referrer-Policy"] = "no-referrer"
                if is_page and cookie is None:
                    value = self.workspace.new_visitor()
                    answer.append("Set-Cookie", f"{COOKIE}={value}; Path=/; Max-Age={A_YEAR_S}; HttpOnly; SameSite=Lax")
            await send(message)

        await self.app(scope, receive, sent)


def _host(header: str) -> str:
    """ "localhost:7860" -> "localhost", "[::1]:7860" -> "[::1]"."""
    return re.sub(r":\d+$", "", header).lower()


def _cookie(header: str) -> str | None:
    try:
        jar = SimpleCookie(header)
    except CookieError:
        return "damaged"
    return jar[COOKIE].value if COOKIE in jar else None
