"""Where visitors' work lies, and who a visitor is.

    FOLDER/secret                    signs the visitors' cookies
    FOLDER/VISITOR/results/NAME/     one result with everything on the way to it
    FOLDER/cache/                    uploads and copies that the page shows; emptied after a day

A visitor is a random name in a cookie that only this server can sign, so that nobody takes another's place. What a request
calls a result is looked for among the names that are there; it never becomes a path.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kinema.errors import InputError
from kinema.studio.limits import LIMITS, Limits

COOKIE = "kinema_visitor"
VISITOR = re.compile(r"[0-9a-f]{16}")
NAME = re.compile(r"\d{8}-\d{6}-[a-z]+-[0-9a-f]{6}")
FREE_BYTES = 1 << 30
"""Room that a disk is to keep."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workspace:
    """The folder of a server. everyone: a visitor sees the results of all, as on one's own machine."""

    folder: Path
    everyone: bool = True
    limits: Limits = LIMITS
    secret: bytes = field(default=b"", repr=False)

    @staticmethod
    def open(folder: Path, everyone: bool = True, limits: Limits = LIMITS) -> Workspace:
        """Make the folder, or take it as it is. Raises InputError where it cannot be."""
        folder = folder.resolve()
        try:
            (folder / "cache").mkdir(parents=True, exist_ok=True)
            secret = folder / "secret"
            if not secret.exists():
                handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w") as file:
                    file.write(secrets.token_hex(32))
        except OSError as error:
            raise InputError(
                folder, f"cannot hold the studio's work ({error.strerror})", mend="--folder DIR"
            ) from error
        return Workspace(folder, everyone, limits, secret.read_bytes())

    def new_visitor(self) -> str:
        """A signed cookie for somebody new."""
        return self.signed(secrets.token_hex(8))

    def signed(self, visitor: str) -> str:
        return f"{visitor}.{self._signature(visitor)}"

    def visitor(self, cookie: str | None, session: str | None = None) -> str:
        """The name of a visitor: of the cookie, or where a program sends none, of its session.

        Raises InputError where the cookie was not signed here.
        """
        if not cookie:
            return self._signature(f"session {session or secrets.token_hex(8)}")[:16]
        name, _, signature = cookie.partition(".")
        if not VISITOR.fullmatch(name) or not hmac.compare_digest(signature, self._signature(name)):
            raise InputError("session", "was not begun on this server", mend="remove its cookie and load the page anew")
        return name

    def _signature(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()[:32]

    def new_result(self, visitor: str, kind: str) -> Path:
        """A fresh folder for one result. Raises InputError where there is no room for more."""
        assert VISITOR.fullmatch(visitor), visitor
        home = self.folder / visitor / "results"
        home.mkdir(parents=True, exist_ok=True)
        if _bytes_in(home) > self.limits.folder_bytes:
            most = f"{self.limits.folder_bytes >> 20} MB"
            raise InputError("your results", f"take more than {most}", mend="delete some on the Results tab")
        if shutil.disk_usage(home).free < FREE_BYTES:
            raise InputError("the disk", "is nearly full", mend="make room, or --folder DIR on another disk")
        path = home / f"{datetime.now():%Y%m%d-%H%M%S}-{kind}-{secrets.token_hex(3)}"
        path.mkdir()
        return path

    def results(self, visitor: str) -> list[Path]:
        """Folders of the results that a visitor sees, the newest first."""
        homes = self._homes() if self.everyone else iter([self.folder / visitor])
        found = [path for home in homes for path in _folders(home / "results") if NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.name, reverse=True)

    def result(self, visitor: str, name: str | None) -> Path:
        """The folder of a result by its name. Raises InputError for one that the visitor does not have."""
        for path in self.results(visitor):
            if path.name == name:
                return path
        raise InputError("result", "is not there (any more)", mend="choose one of the list")

    def tidy(self, busy: set[Path]) -> int:
        """Remove uploads, copies and unfinished results that are old; -> how many."""
        old, count = time.time() - self.limits.scratch_s, 0
        for path in (self.folder / "cache").iterdir():
            if path.lstat().st_mtime < old:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                count += 1
        for home in self._homes():
            for path in _folders(home / "results"):
                unfinished = (
                    not (path / "about.json").exists() or '"state": "done"' not in (path / "about.json").read_text()
                )
                if unfinished and path not in busy and path.stat().st_mtime < old:
                    shutil.rmtree(path, ignore_errors=True)
                    count += 1
        if count:
            log.info("removed %d old uploads and unfinished results", count)
        return count

    def _homes(self) -> Iterator[Path]:
        return (path for path in _folders(self.folder) if VISITOR.fullmatch(path.name))


def words(error: Exception) -> str:
    """An error as a visitor reads it: sentences, without the server's paths."""
    if not isinstance(error, InputError):
        return f"Something went wrong on the server ({type(error).__name__}). It is in the server's log."
    text = f"{error.where}: {error.problem}"
    text += f". Expected: {error.expected}" if error.expected else ""
    text += f". To mend it: {error.mend}" if error.mend else ""
    return re.sub(r"(?:/[\w.\- ]+)+/(?=[\w.\-]+)", "", text) + "."


def _folders(path: Path) -> list[Path]:
    return [p for p in path.iterdir() if p.is_dir() and not p.is_symlink()] if path.is_dir() else []


def _bytes_in(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
