"""A source as a file on this machine: where it lies, out of its shard, or downloaded. Only given URLs are ever asked."""

from __future__ import annotations

import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinema.annotate.record import Source
from kinema.annotate.shards import read_piece
from kinema.errors import InputError

LARGEST_BYTES = 4 << 30
"""Of a download."""
WAIT_S, LONGEST_S = 30.0, 1800.0
"""Seconds without a byte, and for all of it."""
_CHUNK = 1 << 20


@contextmanager
def local_file(source: Source, largest_bytes: int = LARGEST_BYTES, wait_s: float = WAIT_S) -> Iterator[Path]:
    """The path of a source's video; one that was unpacked or downloaded goes again at the end.

    Raises InputError where it is gone, a server refuses it, it is too large or too slow.
    """
    is_url = source.location.lower().startswith(("http://", "https://"))
    if not is_url and not source.size:
        if not Path(source.location).is_file():
            raise InputError(source.location, "is gone", "a file")
        yield Path(source.location)
        return
    with tempfile.TemporaryDirectory(prefix="kinema-") as folder:
        path = Path(folder) / f"video{source.suffix}"
        if is_url:
            _download(source.location, path, largest_bytes, wait_s)
        else:
            path.write_bytes(read_piece(source.location, source.offset, source.size))
        yield path


def _download(url: str, path: Path, largest_bytes: int, wait_s: float) -> None:
    began, size = time.monotonic(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "kinema"})
    try:
        with urllib.request.urlopen(request, timeout=wait_s) as answer, path.open("wb") as file:
            while chunk := answer.read(_CHUNK):
                size += len(chunk)
                if size > largest_bytes:
                    raise InputError(url, f"is larger than {largest_bytes:,} bytes", "a smaller file")
                if time.monotonic() - began > LONGEST_S:
                    raise InputError(url, f"took longer than {LONGEST_S:g} s", "a faster server")
                file.write(chunk)
            stated = answer.headers.get("Content-Length")
        if stated is not None and size != int(stated):
            raise InputError(url, f"ended after {size:,} bytes", f"{int(stated):,}, as the server said")
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(url, f"was refused ({error.code} {error.reason})", "a URL that can be downloaded") from error
    except OSError as error:
        raise InputError(url, f"could not be downloaded ({error})", "a URL that can be downloaded") from error
