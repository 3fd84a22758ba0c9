"""Files are written whole or not at all: write to a temporary name beside the target, then rename."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinema.errors import InputError


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `target`; on success it becomes `target`, on any error it is removed.

    The temporary name keeps the target's suffix, which some writers go by.
    Raises InputError where the folder is missing, cannot be written or is full.
    """
    target = Path(target)
    if not target.parent.is_dir():
        raise InputError(target, "its folder does not exist", mend=f"mkdir -p {target.parent}")
    if target.is_dir():
        raise InputError(target, "is a folder", expected="the name of a file to write")
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
    except OSError as error:
        raise InputError(target, f"cannot be written ({error.strerror})") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise InputError(target, f"could not be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def clean_up_when_told_to_stop() -> None:
    """Let SIGTERM and SIGHUP end the program as an exception does, so that temporary files go; ignored ones stay so."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
