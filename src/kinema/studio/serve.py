"""kinema over HTTP on many machines: Ray Serve with one replica of a preset a GPU (`kinema serve --ray`).

    POST   /jobs            {"image": base64, "prompt": ...} -> 202 {"id": ...}; 503 while the queue is full
    GET    /jobs/ID         {"state": "working" | "done" | "failed", ...}
    GET    /jobs/ID/video   the .mp4, with its manifest
    DELETE /jobs/ID         forget it; one that waits is not begun
    GET    /health          {"jobs": ..., "replicas": ..., "room": ...}

`Front` takes and refuses, and keeps the results for a while in memory; `Replica` holds a model and does one job at a time.
Both are plain classes; `serve` alone imports ray.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinema.errors import InputError
from kinema.sketch import Drag, parse_drag
from kinema.studio.limits import LIMITS, MEGA, Limits, check_picture, check_prompt

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

KEPT_JOBS = 64
"""Finished jobs whose videos stay in memory, the newest."""
IMAGE_BYTES = 16 * MEGA
"""Of the picture in a job; base64 makes 4/3 of it."""
SERVED = replace(LIMITS, upload_bytes=IMAGE_BYTES)
SECONDS = (0.1, 60.0)
EXPECTED = (
    '{"image": base64}, and perhaps prompt, drags (["right_hand 60,70 40,30"]), strength, seconds, seed, watermark'
)
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """How it is served.

    preset, model    as of `kinema generate`     replicas  None: one a GPU, or one where there is none
    waiting          jobs beyond those that are being done; more are refused
    token            that requests must bring where others can reach the server
    """

    preset: str = "mini-svd"
    model: Path | None = None
    replicas: int | None = None
    waiting: int = 20
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    limits: Limits = SERVED

    def __post_init__(self):
        from kinema.studio.app import LOCAL

        if self.host not in LOCAL and not self.token:
            raise InputError("--host", f"{self.host} can be reached by others, and there is no token", "a token",
                             "export KINEMA_SERVE_TOKEN=..., or leave --host out")  # fmt: skip
        if self.replicas is not None and self.replicas < 1:
            raise InputError("--replicas", f"is {self.replicas}", expected="at least 1")
        if self.waiting < 0:
            raise InputError("--waiting", f"is {self.waiting}", expected="0 or more")


@dataclass(frozen=True)
class Order:
    """A job as it was sent, checked: what `kinema.generate` takes."""

    image: bytes = field(repr=False)
    prompt: str | None = None
    drags: tuple[Drag, ...] = ()
    strength: float | None = None
    seconds: float | None = None
    seed: int = 42
    watermark: bool = False


def read_order(body: bytes, limits: Limits = LIMITS) -> Order:
    """The JSON of a job. Raises InputError for anything that a job cannot have."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("body", f"is no JSON ({type(error).__name__})", EXPECTED) from error
    if not isinstance(sent, dict) or "image" not in sent:
        raise InputError("body", "holds no image", EXPECTED)
    unknown = sorted(sent.keys() - set(Order.__dataclass_fields__))
    if unknown:
        raise InputError(str(unknown[0])[:40], "is no part of a job", EXPECTED)
    try:
        image = base64.b64decode(str(sent["image"]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("image", "is no base64", "the bytes of a .png or .jpg file, in base64") from error
    if len(image) > limits.upload_bytes:
        raise InputError("image", f"has {len(image) / MEGA:.0f} MB", f"at most {limits.upload_bytes // MEGA} MB")
    drags = sent.get("drags") or []
    if not isinstance(drags, list) or len(drags) > 24:
        raise InputError("drags", "are no list of at most 24", 'such as ["right_hand 60,70 40,30"]')
    prompt = sent.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise InputError("prompt", "is no text", "what happens, in words")
    return Order(
        image,
        check_prompt(prompt, limits) or None,
        tuple(parse_drag(str(drag)) for drag in drags),
        _number(sent, "strength", 0.0, 1.0),
        _number(sent, "seconds", *SECONDS),
        int(_number(sent, "seed", 0, 2**32 - 1, 42) or 0),
        sent.get("watermark") is True,
    )


def _number(sent: dict[str, Any], name: str, least: float, most: float, otherwise: float | None = None) -> float | None:
    value = sent.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(name, f"is {str(value)[:40]}", expected=f"a number from {least:g} to {most:g}")
    return value


class Replica:
    """A model, in a process of its own; reads its weights with the first job, and survives a job that fails."""

    def __init__(self, service: Service):
        self.service = service

    def make(self, order: Order) -> tuple[bytes, dict[str, Any]] | str:
        """The video as .mp4 and how it was made; or what is wrong with the job, in words."""
        until = time.monotonic() + self.service.limits.job_s

        def in_time(stage: str, done: int, total: int) -> None:
            if time.monotonic() > until:
                raise InputError(
                    "job", f"took more than {self.service.limits.job_s:g} s", mend="fewer seconds of video"
                )

        try:
            with tempfile.TemporaryDirectory(prefix="kinema-serve-") as folder:
                picture, out = Path(folder) / "picture", Path(folder) / "video.mp4"
                picture.write_bytes(order.image)
                check_picture(picture, self.service.limits)
                from kinema.provenance import write_generated
                from kinema.revision import generate
                from kinema.stages import record_of

                made = generate(
                    picture, order.prompt, None, order.drags, None, order.strength, None, order.seconds, order.seed,
                    self.service.preset, progress=in_time, model=self.service.model,
                )  # fmt: skip
                write_generated(made.video.frames, out, made.video.fps, self.service.preset, order.watermark)
                return out.read_bytes(), record_of(made)
        except InputError as error:
            return str(error)


@dataclass
class Job:
    """One job of `Front`."""

    task: asyncio.Task[None] | None = None
    state: Literal["working", "done", "failed"] = "working"
    video: bytes | None = None
    record: dict[str, Any] | None = None
    error: str | None = None


class Front:
    """Takes jobs, up to a bound, and hands them to whichever replica is free.

    make: does a job somewhere; it is given by `serve`, and by the tests.
    """

    def __init__(self, service: Service, replicas: int, make: Callable[[Order], Awaitable[Any]]):
        self.service, self.replicas, self.make = service, replicas, make
        self.jobs: dict[str, Job] = {}

    @property
    def room(self) -> int:
        """Jobs that are still taken."""
        working = sum(job.state == "working" for job in self.jobs.values())
        return self.replicas + self.service.waiting - working

    async def __call__(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        try:
            return await self._answer(request)
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)

    async def _answer(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        if not self._is_allowed(request):
            return JSONResponse({"error": "a token is needed: Authorization: Bearer ..."}, 401)
        asked = request.method, request.url.path
        if asked == ("GET", "/health"):
            return JSONResponse({"jobs": len(self.jobs), "replicas": self.replicas, "room": self.room})
        if asked == ("POST", "/jobs"):
            return await self._take(request)
        found = re.fullmatch(r"/jobs/([0-9a-f]{16})(/video)?", request.url.path)
        job = self.jobs.get(found[1]) if found else None
        if found is None or job is None:
            return JSONResponse({"error": "there is no such thing here"}, 404)
        if request.method == "DELETE" and not found[2]:
            self._forget(found[1])
            return JSONResponse({"state": "forgotten"})
        if request.method != "GET":
            return JSONResponse({"error": f"{request.method} is not possible here"}, 405)
        return _video(job) if found[2] else JSONResponse(_state(job))

    def _is_allowed(self, request: Request) -> bool:
        if self.service.token is None:
            return True
        sent = request.headers.get("authorization", "")
        return hmac.compare_digest(sent.encode(), f"Bearer {self.service.token}".encode())

    async def _take(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        if self.room <= 0:
            return self._full()
        most, body = self.service.limits.upload_bytes * 4 // 3 + MEGA, bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                return JSONResponse({"error": f"the job has more than {most // MEGA} MB"}, 413)
        order = read_order(bytes(body), self.service.limits)
        if self.room <= 0:  # another one came in while this was read
            return self._full()
        name, job = secrets.token_hex(8), Job()
        self.jobs[name] = job
        job.task = asyncio.create_task(self._do(job, order))
        finished = [key for key, one in self.jobs.items() if one.state != "working"]
        for key in finished[: max(0, len(finished) - KEPT_JOBS)]:
            del self.jobs[key]
        return JSONResponse({"id": name}, 202)

    def _full(self) -> Response:
        from starlette.responses import JSONResponse

        said = f"{self.replicas + self.service.waiting} jobs are waiting or being done already; try again later"
        return JSONResponse({"error": said}, 503, {"Retry-After": "10"})

    async def _do(self, job: Job, order: Order) -> None:
        try:
            made = await self.make(order)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever a replica died of: the others go on
            LOG.exception("a job failed")
            job.state, job.error = "failed", f"the job failed on the server ({type(error).__name__}); it is in its log"
            return
        if isinstance(made, str):
            job.state, job.error = "failed", made
        else:
            (job.video, job.record), job.state = made, "done"

    def _forget(self, name: str) -> None:
        job = self.jobs.pop(name)
        if job.task is not None:
            job.task.cancel()


def _state(job: Job) -> dict[str, Any]:
    return (
        {"state": job.state}
        | ({"made": job.record} if job.record else {})
        | ({"error": job.error} if job.error else {})
    )


def _video(job: Job) -> Response:
    from starlette.responses import JSONResponse, Response

    if job.video is None:
        return JSONResponse(_state(job), 409)
    return Response(job.video, media_type="video/mp4", headers={"X-Content-Type-Options": "nosniff"})


class RayFront:
    """`Front` as Ray Serve deploys it: `replicas` is the handle of theirs."""

    def __init__(self, service: Service, count: int, replicas: Any):
        async def make(order: Order) -> Any:
            return await replicas.make.remote(order)

        self.front = Front(service, count, make)

    async def __call__(self, request: Request) -> Response:
        return await self.front(request)


def start(service: Service, address: str) -> int:
    """Deploy on a Ray cluster ("local" starts one on this machine); -> number of replicas. Raises InputError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to Ray's makers
    import ray
    from ray import serve

    try:
        if address == "local":
            # without an address Ray would join what a killed run left word of in /tmp/ray
            ray.init("local", include_dashboard=False, log_to_driver=False, object_store_memory=256 * MEGA)
        else:
            ray.init(address)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError("--ray", f"{address} does not answer ({error})", "local, auto, or HOST:PORT of a cluster",
                         "ray start --head, on its first machine") from error  # fmt: skip
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = service.replicas or max(gpus, 1)
    if gpus and count > gpus:
        raise InputError("--replicas", f"are {count}, on {gpus} GPUs", expected="at most one a GPU")
    serve.start(proxy_location="HeadOnly", http_options={"host": service.host, "port": service.port})
    deployed = serve.deployment(
        num_replicas=count, max_ongoing_requests=1, max_queued_requests=count + service.waiting,
        ray_actor_options={"num_gpus": 1} if gpus else {"num_cpus": 1},
    )  # fmt: skip
    front = serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 0})(RayFront)
    serve.run(front.bind(service, count, deployed(Replica).bind(service)), name="kinema", route_prefix="/")
    return count


def stop() -> None:
    """Take the deployment down; a cluster that was here before stays."""
    import ray
    from ray import serve

    if ray.is_initialized():
        serve.shutdown()
        ray.shutdown()
