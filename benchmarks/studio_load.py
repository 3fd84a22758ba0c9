"""Load on the studio: visitors that poll while jobs run. How long the page takes to answer, errors, memory.

    python benchmarks/studio_load.py [--visitors 50] [--jobs 5] [--seconds 60]

A server of its own on a temporary folder; the jobs are `animate_picture` with a captured clip through the interface for
programs. Every visitor asks for the page, the configuration or a file of the page in turn, once a second. Prints one line
of a table: answers, errors, 50th and 95th percentile in ms, processor time of the page's process an answer (jobs run in
another), memory of the server and of its worker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx
import numpy as np

EXAMPLE = Path(__file__).resolve().parents[1] / "examples"
SERVER = "import sys; from pathlib import Path; from kinema.studio.app import Settings, serve; serve(Settings(Path(sys.argv[1]), port=int(sys.argv[2])))"  # noqa: E501
PAGES = ("/", "/config", "/gradio_api/info")


async def visitor(client: httpx.AsyncClient, number: int, until: float, took: list[float], errors: list[str]) -> None:
    await asyncio.sleep(number / 50)
    turn = number
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            answer = await client.get(PAGES[turn % len(PAGES)])
            if answer.status_code != 200:
                errors.append(f"{answer.status_code} {PAGES[turn % len(PAGES)]}")
        except httpx.HTTPError as error:
            errors.append(type(error).__name__)
        took.append(time.perf_counter() - began)
        turn += 1
        await asyncio.sleep(max(0.0, 1.0 - (time.perf_counter() - began)))


async def upload(client: httpx.AsyncClient, name: str, content: bytes) -> dict[str, object]:
    """A file, as a call takes it."""
    sent = await client.post("/gradio_api/upload", files={"files": (name, content)})
    return {"path": sent.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}


async def job(client: httpx.AsyncClient, number: int, errors: list[str]) -> None:
    """One picture by one captured clip, from the queue to the video."""
    files = [await upload(client, name, (EXAMPLE / name).read_bytes()) for name in ("dancer.png", "punch.npz")]
    values = [files[0], f"a man punches {number}", None, files[1], 2, None, number, "mini-svd"]
    await call(client, "animate_picture", values, errors)


async def call(client: httpx.AsyncClient, name: str, values: list[object], errors: list[str]) -> None:
    """One call of the interface for programs, from the queue to its end."""
    config = (await client.get("/config")).json()
    function = next(d["id"] for d in config["dependencies"] if d["api_name"] == name)
    session = uuid.uuid4().hex
    await client.post("/gradio_api/queue/join", json={"data": values, "fn_index": function, "session_hash": session})
    async with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        async for line in stream.aiter_lines():
            event = json.loads(line[6:]) if line.startswith("data: ") else {}
            if event.get("msg") == "process_completed":
                if not event["success"]:
                    errors.append(f"job: {event['output']}")
                return
    errors.append("job: no answer")


async def load(url: str, visitors: int, jobs: int, seconds: float) -> tuple[list[float], list[str], float]:
    took: list[float] = []
    errors: list[str] = []
    limits = httpx.Limits(max_connections=visitors + jobs + 8)
    async with httpx.AsyncClient(base_url=url, timeout=900, limits=limits) as client:
        began = time.monotonic()
        polling = [visitor(client, k, began + seconds, took, errors) for k in range(visitors)]
        await asyncio.gather(*polling, *(job(client, k, errors) for k in range(jobs)))
    return took, errors, time.monotonic() - began


def cpu_s(process: int) -> float:
    """Processor time of a process, without its children."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int, which: str = "VmHWM") -> float:
    """Peak (VmRSS: present) resident memory of a process and of its children."""
    peak = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if str(process) in (status.parent.name, lines.get("PPid", "").strip()):
            peak += int(lines.get(which, "0 kB").split()[0]) / 1024
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, folder + "/studio", str(port)], stderr=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            while server.poll() is None:
                try:
                    httpx.get(url, timeout=10)
                    break
                except httpx.HTTPError:
                    time.sleep(0.5)
            before = cpu_s(server.pid)
            took, errors, whole = asyncio.run(load(url, given.visitors, given.jobs, given.seconds))
            p50, p95, worst = 1e3 * np.percentile(took, [50, 95, 100])
            print(
                "| visitors | jobs | answers | errors | p50 ms | p95 ms | worst ms | CPU ms each | all in s | memory MB |"
            )
            print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
            print(
                f"| {given.visitors} | {given.jobs} | {len(took)} | {len(errors)} | {p50:.0f} | {p95:.0f} | {worst:.0f} "
                f"| {1e3 * (cpu_s(server.pid) - before) / len(took):.1f} | {whole:.0f} | {memory_mb(server.pid):.0f} |"
            )
            for error in sorted(set(errors)):
                print(f"  {errors.count(error)} x {error[:300]}")
        finally:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
