"""Downloads, from a server on loopback: whole, or a clear reason; nothing is left behind."""

import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kinema.annotate.fetching import local_file
from kinema.annotate.record import Source
from kinema.errors import InputError

BODY = b"video" * 4000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/gone.mp4":
            self.send_error(404)
            return
        if self.path == "/slow.mp4":
            time.sleep(1.0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY) + (99 if self.path == "/short.mp4" else 0)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that leaves early is part of the tests."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()
    thread.join()


def test_a_download_is_there_while_it_is_needed(server, tmp_path):
    with local_file(Source("a", f"{server}/a.mp4", "0")) as path:
        assert path.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "limits", "words"),
    [
        ("gone.mp4", {}, "was refused"),
        ("a.mp4", {"largest_bytes": 1000}, "is larger than 1,000 bytes"),
        ("short.mp4", {}, "ended after 20,000 bytes|could not be downloaded"),
        ("slow.mp4", {"wait_s": 0.2}, "could not be downloaded"),
    ],
)
def test_what_goes_wrong_is_said(name, limits, words, server, tmp_path):
    with pytest.raises(InputError, match=words), local_file(Source("a", f"{server}/{name}", "0"), **limits):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(InputError, match="is gone"), local_file(Source("a", str(tmp_path / "x.mp4"), "0")):
        pass
