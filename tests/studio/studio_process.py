"""A studio in a process of its own, with the network cut, for the tests."""

import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

START_S = 300


@dataclass
class Server:
    url: str
    guarded_url: str
    folder: Path
    log: Path
    process: subprocess.Popen

    def asked_for(self) -> str:
        """What it wanted of other machines."""
        return self.log.read_text() if self.log.exists() else ""


def start(folder) -> Server:
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        ports = [str(free.getsockname()[1]) for free in (one, two)]
    log = folder.with_suffix(".network")
    with folder.with_suffix(".log").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "offline_server.py", folder, ports[0], log, ports[1]],
            stdout=said, stderr=said,
        )  # fmt: skip
    server = Server(*(f"http://127.0.0.1:{port}" for port in ports), folder, log, process)
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            urlopen(server.url, timeout=5).close()
            return server
        except OSError:
            time.sleep(0.2)
    raise AssertionError(folder.with_suffix(".log").read_text())


def stop(server):
    server.process.terminate()
    server.process.wait(timeout=20)
