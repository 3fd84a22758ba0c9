"""The server as somebody with bad intent meets it, without a browser: refused, nothing written, still up."""

import json
import re
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studio_process import start, stop

pytest.importorskip("gradio")
httpx = pytest.importorskip("httpx")


API = "/gradio_api"


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.url, timeout=120) as found:
        found.get("/")
        yield found


def files_of(server):
    """Everything that the server keeps, but for the clips and secrets of its own."""
    return {p.relative_to(server.folder).as_posix() for p in server.folder.rglob("*") if p.is_file()}


def call(client, name, *values, session=None):
    """A named endpoint through the queue; -> the last event: (is it well, what it says)."""
    config = client.get("/config").json()
    number = next(d["id"] for d in config["dependencies"] if d["api_name"] == name)
    session = session or uuid.uuid4().hex
    joined = client.post(f"{API}/queue/join", json={"data": values, "fn_index": number, "session_hash": session})
    if joined.status_code != 200:
        return False, joined.text
    with client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            event = json.loads(line[6:]) if line.startswith("data: ") else {}
            if event.get("msg") == "process_completed":
                return event["success"], json.dumps(event["output"])
    return False, ""


def upload(client, name, content):
    (path,) = client.post(f"{API}/upload", files={"files": (name, content)}).json()
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def animate(client, picture, prompt="", seconds=1, **more):
    return call(client, "animate_picture", picture, prompt, None, None, seconds, None, 1, "mini-svd", **more)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "{folder}/secret",
        "{folder}/cache/../secret",
    ],
)
def test_no_request_reaches_a_file_outside_of_what_the_page_shows(client, server, path):
    answer = client.get(f"{API}/file={path.format(folder=server.folder)}")
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text
    assert (server.folder / "secret").read_text() not in answer.text


@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}/secret", "../../etc/passwd"])
def test_a_path_in_the_place_of_an_upload_is_refused(client, server, path):
    before = files_of(server)
    well, _ = animate(client, {"path": path.format(folder=server.folder), "meta": {"_type": "gradio.FileData"}})
    assert not well
    assert files_of(server) == before


def test_an_address_in_the_place_of_an_upload_is_not_fetched(client, server):
    well, _ = animate(client, {"path": "http://192.0.2.1/a.png", "meta": {"_type": "gradio.FileData"}})
    assert not well
    assert "192.0.2.1" not in server.asked_for()


def test_the_name_of_an_upload_leads_nowhere(client, server):
    given = upload(client, "../../../evil.png", b"x")
    assert str(server.folder / "cache") in given["path"]
    assert not list(server.folder.parent.parent.glob("**/../evil.png"))


def test_bad_uploads_are_refused_with_a_sentence_and_removed(client, server):
    for content, reason in ((b"hello", "is no picture"), (b"\x89PNG\r\n\x1a\n<html>", "beside the picture")):
        well, says = animate(client, upload(client, "photo.png", content))
        assert not well
        assert reason in says
        assert str(server.folder) not in says
        assert [p for p in files_of(server) if (server.folder / p).read_bytes() == content] == []


def test_what_cannot_be_asked_for_is_refused_before_any_work(client, tmp_path):
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "a.png")
    picture = upload(client, "a.png", (tmp_path / "a.png").read_bytes())
    for values, reason in (
        ((picture, "x" * 2000, None, None, 1, None, 1, "mini-svd"), "letters"),
        ((picture, "", None, None, 1e9, None, 1, "mini-svd"), "length"),
        ((picture, "", None, None, 1, None, 1, "../../etc"), "cannot run here"),
        ((picture, "", {"drags": [{"part": "x"}]}, None, 1, None, 1, "mini-svd"), "names no part"),
    ):
        well, says = call(client, "animate_picture", *values)
        assert not well
        assert reason in says


def test_a_forged_session_is_refused_and_writes_nothing(server):
    before = files_of(server)
    for forged in ("0123456789abcdef." + "0" * 32, "../../etc", "a.b"):
        answer = httpx.get(server.url, cookies={"kinema_visitor": forged}, timeout=60)
        assert answer.status_code == 403
        assert "was not begun on this server" in answer.text
    assert files_of(server) == before
    assert httpx.get(server.url, timeout=60).status_code == 200


def test_another_sites_name_cannot_stand_for_this_machine(server):
    assert httpx.get(server.url, headers={"Host": "evil.example:80"}, timeout=60).status_code == 403


def test_the_page_names_no_other_host_that_it_would_fetch_from(client):
    answer = client.get("/")
    fetched = re.findall(
        r'(?:<script[^>]*src|<link[^>]*href|<img[^>]*src|url\()\s*=?\s*["\']?(https?:)?//([^"\'\s/]+)', answer.text
    )
    assert fetched == []
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_kept_page_is_the_same_for_all_and_the_cookie_is_not(server):
    one, two = (httpx.get(server.url, timeout=60) for _ in range(2))
    assert one.text == two.text
    assert one.headers["set-cookie"].startswith("kinema_visitor=")
    assert one.headers["set-cookie"] != two.headers["set-cookie"]


def test_a_python_program_gets_a_video_as_the_docs_say(server):
    from gradio_client import Client, handle_file

    shipped = server_files()
    studio = Client(server.url, verbose=False)
    video, everything, about = studio.predict(
        picture=handle_file(shipped / "dancer.png"), prompt="a man punches", targets={"drags": []},
        motion=handle_file(shipped / "punch.npz"), seconds=0.5, strength=None, seed=3, preset="mini-svd",
        api_name="/animate_picture",
    )  # fmt: skip
    with zipfile.ZipFile(everything) as packed:
        assert {"video.mp4", "stages/refined.npz", "motion.npz"} <= set(packed.namelist())
    assert about["state"] == "done"
    assert about["settings"]["seed"] == 3
    assert Path(video["video"] if isinstance(video, dict) else video).stat().st_size > 1000


def server_files():
    from kinema.studio import shipped

    return shipped.HERE


def test_the_interface_for_programs_is_described(client):
    paths = client.get(f"{API}/openapi.json").json()["paths"]
    for name in ("animate_picture", "animate_masks", "clean_motion"):
        assert any(name in path for path in paths)
    assert not any("stop" in path or "lambda" in path for path in paths)


def test_with_a_password_nothing_is_seen_without_it(tmp_path):
    server = start(tmp_path / "work", password="long enough")
    try:
        with httpx.Client(base_url=server.url, timeout=60) as stranger:
            assert stranger.get("/config").status_code == 401
            assert stranger.post(f"{API}/upload", files={"files": ("a.png", b"x")}).status_code == 401
            wrong = stranger.post("/login", data={"username": "kinema", "password": "long enoug"})
            assert wrong.status_code == 400
            assert stranger.post("/login", data={"username": "kinema", "password": "long enough"}).status_code == 200
            assert stranger.get("/config").status_code == 200
        assert server.asked_for() == ""
    finally:
        stop(server)
