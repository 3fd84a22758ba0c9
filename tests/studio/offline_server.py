"""Serve the studio with the network cut: python offline_server.py FOLDER PORT LOG PORT2; at PORT2 one with a password.

Whatever does not stay on this machine is refused and written to LOG. The worker, which imports this file anew, is cut too.
"""

import ipaddress
import os
import socket
import sys
from pathlib import Path

_connect, _lookup = socket.socket.connect, socket.getaddrinfo
LOG = Path(sys.argv[3])


def is_here(host) -> bool:
    try:
        return ipaddress.ip_address(host or "127.0.0.1").is_loopback or str(host) in ("0.0.0.0", "::")
    except ValueError:
        return host == "localhost"


def refuse(what):
    with LOG.open("a") as file:
        file.write(f"{what}\n")
    raise OSError("the network is cut")


def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not is_here(address[0]):
        refuse(f"connect {address}")
    return _connect(self, address)


def lookup(host, *more, **named):
    name = host.decode() if isinstance(host, bytes) else host
    return _lookup(host, *more, **named) if is_here(name) else refuse(f"look up {name}")


socket.socket.connect, socket.getaddrinfo = connect, lookup
if __name__ == "__main__":
    os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    from kinema.studio.app import Settings, open_studio, start

    folder = Path(sys.argv[1])
    settings = Settings(folder, port=int(sys.argv[2]))
    studio = open_studio(settings)
    from kinema.studio.gallery import Studio
    from kinema.studio.workspace import Workspace

    guarded = Settings(folder.with_suffix(".guarded"), port=int(sys.argv[4]), password="long enough")
    start(guarded, Studio(Workspace.open(guarded.folder, everyone=False)))
    start(settings, studio).block_thread()
