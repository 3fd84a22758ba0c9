"""A hub on this machine's own loopback, as far as huggingface_hub's client asks: one model, whose weights may break off."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "a" * 40
FILES = {
    "config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 80_000,  # 20 MB: the client writes 10 at a time
    "model.pt": b"a pickle",
    "unet/model.fp16.safetensors": b"the same in other numbers",
}


class LoopbackHub(ThreadingHTTPServer):
    """asked: (method, file, range); breaks: how often the weights still break off in their middle."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[tuple[str, str, str | None]] = []
        self.breaks = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def loopback_hub() -> Iterator[LoopbackHub]:
    hub = LoopbackHub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "/tree/" in path:
            self._say(json.dumps([{"type": "file", "path": n, **_facts(n)} for n in FILES]).encode())
        elif path.startswith("/api/models/"):
            known = {"id": "facebook/sam2.1-hiera-large", "sha": REVISION}
            self._say(json.dumps(known | {"siblings": [{"rfilename": n, **_facts(n)} for n in FILES]}).encode())
        elif "/resolve/" in path:
            self._file(path.partition("/resolve/")[2].partition("/")[2])
        else:
            self._say(b"", code=404)

    def _file(self, name: str) -> None:
        span = self.headers.get("Range")
        self.server.asked.append((self.command, name, span))
        body = FILES[name]
        headers = {"ETag": f'"{_digest(name)}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        begin = int(span.removeprefix("bytes=").partition("-")[0]) if span else 0
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        cut = self.command == "GET" and name.endswith(".safetensors") and self.server.breaks > 0
        self.server.breaks -= cut
        self._say(body[begin:], headers, 206 if begin else 200, len(body) * 3 // 4 if cut else None)

    def _say(self, body: bytes, headers: dict[str, str] | None = None, code: int = 200, cut: int | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(FILES[name]).hexdigest()


def _facts(name: str) -> dict[str, object]:
    body, digest = FILES[name], _digest(name)
    facts: dict[str, object] = {"size": len(body), "oid": digest[:40]}
    if name.endswith(".safetensors"):
        facts["lfs"] = {"oid": digest, "sha256": digest, "size": len(body), "pointerSize": 130}
    return facts
