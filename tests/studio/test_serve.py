"""The HTTP service: what it takes and refuses, with a bound; and two replicas of mini under Ray Serve."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from commands import refused
from kinema.errors import InputError
from kinema.studio.serve import KEPT_JOBS, Front, Order, Replica, Service, read_order

DANCER = Path(__file__).parents[2] / "examples" / "dancer.png"
IMAGE = base64.b64encode(DANCER.read_bytes()).decode()


def body(**more) -> bytes:
    return json.dumps({"image": IMAGE} | more).encode()


async def ask(front: Front, method: str, path: str, sent: bytes = b"", token: str = "") -> tuple[int, object]:
    """A request as the server passes it on; -> status, and what comes back."""
    from starlette.requests import Request

    async def receive():
        return {"type": "http.request", "body": sent, "more_body": False}

    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b"",
             "server": ("localhost", 80), "scheme": "http"}  # fmt: skip
    answer = await front(Request(scope, receive))
    is_json = answer.media_type == "application/json" or answer.headers["content-type"].startswith("application/json")
    return answer.status_code, json.loads(answer.body) if is_json else bytes(answer.body)


def test_jobs_are_taken_up_to_a_bound_and_given_back():
    async def story():
        doors: list[asyncio.Future] = []

        async def make(order: Order):
            doors.append(asyncio.get_running_loop().create_future())
            return await doors[-1]

        front = Front(Service(waiting=1), 1, make)
        ids = [(await ask(front, "POST", "/jobs", body()))[1]["id"] for _ in range(2)]
        await asyncio.sleep(0)
        status, said = await ask(front, "POST", "/jobs", body())
        assert status == 503
        assert "2 jobs are waiting" in said["error"]
        assert await ask(front, "GET", f"/jobs/{ids[0]}/video") == (409, {"state": "working"})
        doors[0].set_result((b"a video", {"seed": 42}))
        doors[1].set_exception(OSError("a disk is full"))
        await asyncio.sleep(0.01)
        assert await ask(front, "GET", f"/jobs/{ids[0]}") == (200, {"state": "done", "made": {"seed": 42}})
        assert await ask(front, "GET", f"/jobs/{ids[0]}/video") == (200, b"a video")
        status, said = await ask(front, "GET", f"/jobs/{ids[1]}")
        assert said["state"] == "failed"
        assert "disk" not in said["error"]
        assert (await ask(front, "GET", "/health"))[1] == {"jobs": 2, "replicas": 1, "room": 2}
        assert (await ask(front, "DELETE", f"/jobs/{ids[0]}"))[0] == 200
        assert (await ask(front, "GET", f"/jobs/{ids[0]}"))[0] == 404
        assert (await ask(front, "GET", "/jobs/../../etc/passwd"))[0] == 404
        return front

    asyncio.run(story())


def test_a_forgotten_job_frees_its_place_and_old_results_go():
    async def story():
        async def never(order: Order):
            await asyncio.sleep(60)

        front = Front(Service(waiting=0), 1, never)
        name = (await ask(front, "POST", "/jobs", body()))[1]["id"]
        await ask(front, "DELETE", f"/jobs/{name}")
        assert (await ask(front, "GET", "/health"))[1]["room"] == 1

        async def at_once(order: Order):
            return b"", {}

        front.make = at_once
        for _ in range(KEPT_JOBS + 5):
            assert (await ask(front, "POST", "/jobs", body()))[0] == 202
            await asyncio.sleep(0)
        assert len(front.jobs) <= KEPT_JOBS + 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"{", "is no JSON"),
        (b"[]", "holds no image"),
        (b'{"image": "*"}', "is no base64"),
        (body(stages="/etc"), "is no part of a job"),
        (body(seconds=1e9), "a number from 0.1 to 60"),
        (body(seed=True), "a number from 0"),
        (body(prompt="x" * 5000), "letters"),
        (body(prompt=["a"]), "is no text"),
        (body(drags=["right_hand 60"]), "x,y in pixels"),
        (body(drags="all"), "no list"),
    ],
)
def test_what_no_job_can_have_is_refused_with_words(sent, said):
    async def story():
        front = Front(Service(), 1, lambda order: asyncio.sleep(0))
        status, answer = await ask(front, "POST", "/jobs", sent)
        assert status == 400
        assert said in answer["error"]
        assert not front.jobs

    asyncio.run(story())


def test_too_much_is_not_read_and_a_token_is_asked_for():
    async def story():
        front = Front(Service(token="secret words"), 1, lambda order: asyncio.sleep(0))
        assert (await ask(front, "GET", "/health"))[0] == 401
        assert (await ask(front, "GET", "/health", token="secret word"))[0] == 401
        assert (await ask(front, "GET", "/health", token="secret words"))[0] == 200
        large = b" " * (front.service.limits.upload_bytes * 3 // 2 + (1 << 20))
        assert (await ask(front, "POST", "/jobs", large, token="secret words"))[0] == 413

    asyncio.run(story())
    with pytest.raises(InputError, match="there is no token"):
        Service(host="0.0.0.0")


def test_a_job_is_what_was_sent_and_a_bad_picture_is_told():
    order = read_order(body(prompt=" a man\nwaves ", drags=["right_hand 60,70 40,30"], seconds=2, watermark=True))
    assert order.prompt == "a man waves"
    assert order.drags == (("right_hand", (60.0, 70.0), (40.0, 30.0)),)
    assert (order.seconds, order.seed, order.watermark) == (2, 42, True)
    assert "is no picture" in Replica(Service()).make(Order(b"no picture"))


def test_mistakes_of_the_command_line(capsys, monkeypatch):
    monkeypatch.delenv("KINEMA_SERVE_TOKEN", raising=False)
    assert "there is no token" in refused(capsys, "serve", "--ray", "local", "--host", "0.0.0.0")
    assert "--replicas: is 0" in refused(capsys, "serve", "--ray", "local", "--replicas", "0")


@pytest.mark.skipif("KINEMA_RAY_TESTS" not in os.environ, reason="takes minutes and 4 GB: make test-ray runs it")
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_replicas_of_mini_under_ray():
    """One makes a video; meanwhile the other one is there for the next job, which has no picture."""
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed: pip install kinema[serve]")
    from kinema.studio.serve import start, stop

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    try:
        assert start(Service(replicas=2, waiting=0, port=port), "local") == 2
        good = post(f"{address}/jobs", body(prompt="a man waves"))["id"]
        bad = post(f"{address}/jobs", json.dumps({"image": "AAAA"}).encode())["id"]
        assert "is no picture" in ended(address, bad)["error"]
        assert get(f"{address}/jobs/{good}")["state"] == "working"
        made = ended(address, good)
        assert (made["state"], made["made"]["preset"]) == ("done", "mini-svd")
        assert get(f"{address}/health") == {"jobs": 2, "replicas": 2, "room": 2}
        with urllib.request.urlopen(f"{address}/jobs/{good}/video", timeout=30) as answer:
            video = answer.read()
    finally:
        stop()
    assert video[4:8] == b"ftyp"
    assert b"c2pa" in video


def ended(address: str, name: str, seconds: float = 400.0) -> dict:
    """A job once it is over."""
    until = time.monotonic() + seconds
    while (state := get(f"{address}/jobs/{name}"))["state"] == "working" and time.monotonic() < until:
        time.sleep(0.3)
    return state


def get(address: str) -> dict:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.load(answer)


def post(address: str, sent: bytes) -> dict:
    with urllib.request.urlopen(urllib.request.Request(address, sent, method="POST"), timeout=30) as answer:
        return json.load(answer)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
