"""The server as somebody with bad intent meets it, without a browser: refused, nothing written, still up."""

import asyncio
import json
import re
import time
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bad_files import picture, png_of_size, zip_bomb, zip_of
from PIL import Image

from kinema.motion_io import load_motion, save_motion
from kinema.video import write_video

pytest.importorskip("gradio")
httpx = pytest.importorskip("httpx")
load = pytest.importorskip("benchmarks.studio_load")


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


def attacks(folder):
    """Call, file name, content, and what the refusal says."""
    good = picture(folder / "good.png").read_bytes()
    huge = png_of_size(folder / "huge.png", 30_000, 30_000).read_bytes()
    wide = png_of_size(folder / "wide.png", 8_000, 8_000).read_bytes()
    write_video([np.zeros((32, 32, 3), np.uint8)] * 10, folder / "long.mp4", 1 / 60)
    np.savez(folder / "objects.npz", poses=np.array([{"a": 1}], object))
    return (
        ("animate_picture", "a.png", b"hello", "is no picture"),
        ("animate_picture", "a.png", huge, "far too many pixels"),
        ("animate_picture", "a.png", good + b"<html><script>alert(1)</script>", "beside the picture"),
        ("animate_picture", "a.png", good + zip_of(**{"evil.class": b"x"}), "beside the picture"),
        ("animate_picture", "a.png", good[:60], "a.png"),
        ("animate_masks", "a.zip", zip_bomb(), "unpacks to 600 MB"),
        ("animate_masks", "a.zip", zip_of(**{f"{k}.png": wide for k in range(5)}), "too many pixels"),
        ("animate_masks", "a.zip", zip_of(**{"../../evil.png": good}), "leads out of its folder"),
        ("animate_masks", "a.mp4", (folder / "long.mp4").read_bytes(), "lasts 600 s"),
        ("clean_motion", "a.npz", (folder / "objects.npz").read_bytes(), "pickled"),
        ("clean_motion", "a.bvh", b"HIERARCHY\nMOTION\nFrames: 1000000000\n", "1000000000 frames"),
    )


def test_attacks_are_refused_with_a_sentence_and_leave_nothing(client, server, tmp_path):
    more = {"animate_picture": ["", None, None, 1, None, 1, "mini-svd"], "animate_masks": ["a man", "", 1, 1],
            "clean_motion": ["", None, None, "", []]}  # fmt: skip
    before = files_of(server)
    for name, file, content, reason in attacks(tmp_path):
        well, says = call(client, name, upload(client, file, content), *more[name])
        assert not well, reason
        assert reason in says
        assert str(server.folder) not in says
    assert files_of(server) == before
    assert client.get("/").status_code == 200


def test_fifty_visitors_poll_while_twenty_jobs_wait_and_all_end(server, tmp_path):
    """No error, every job done, memory and processor time bounded; how long answers take is benchmarks/studio_load.py's."""
    save_motion(load_motion(server_files() / "punch.npz")[:4], tmp_path / "short.npz")
    took, errors = [], []

    async def story():
        async with (
            httpx.AsyncClient(base_url=server.url, timeout=300, limits=httpx.Limits(max_connections=60)) as visitors,
            httpx.AsyncClient(base_url=server.url, timeout=300, limits=httpx.Limits(max_connections=30)) as programs,
        ):
            motion = await load.upload(programs, "short.npz", (tmp_path / "short.npz").read_bytes())
            values = [[motion, str(k), None, None, "", []] for k in range(19)]
            values.append([motion, "a man punches", None, 8, "height=1.5", ["openpose"]])
            until = time.monotonic() + 6
            await asyncio.gather(
                *(load.visitor(visitors, k, until, took, errors) for k in range(50)),
                *(load.call(programs, "clean_motion", given, errors) for given in values),
            )

    process = server.process.pid
    before, used = load.memory_mb(process, "VmRSS"), load.cpu_s(process)
    made = len(list(server.folder.glob("*/results/*-clean-*/all_stages.zip")))
    asyncio.run(story())
    assert errors == []
    assert len(list(server.folder.glob("*/results/*-clean-*/all_stages.zip"))) == made + 20
    (drawn,) = server.folder.glob("*/results/*-clean-*/openpose.mp4")
    assert len(load_motion(drawn.with_name("cleaned.npz"))) == 8
    assert len(load_motion(drawn.with_name("cleaned.bvh"))) == len(load_motion(drawn.with_name("cleaned.glb"))) == 8
    assert len(took) >= 100
    assert (load.cpu_s(process) - used) / len(took) < 0.1
    assert load.memory_mb(process, "VmRSS") < before + 1500, "the models' room, once"


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


def test_with_a_password_nothing_is_seen_without_it(server):
    with httpx.Client(base_url=server.guarded_url, timeout=60) as stranger:
        assert stranger.get("/config").status_code == 401
        assert stranger.post(f"{API}/upload", files={"files": ("a.png", b"x")}).status_code == 401
        wrong = stranger.post("/login", data={"username": "kinema", "password": "long enoug"})
        assert wrong.status_code == 400
        assert stranger.post("/login", data={"username": "kinema", "password": "long enough"}).status_code == 200
        assert stranger.get("/config").status_code == 200
