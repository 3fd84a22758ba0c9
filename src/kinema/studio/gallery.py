"""Results as they lie on the disk: begun, finished, listed, shown, packed into a zip, deleted.

A result is a folder with `about.json`: kind, title, state, settings, command lines, notes, seconds. Nothing else is kept, so
the list survives restarts and can be looked at, copied or deleted with any file manager.
"""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.studio.jobs import Job, Jobs, State
from kinema.studio.limits import LIMITS, Limits
from kinema.studio.workspace import Workspace

TITLE_LETTERS = 36
ZIP = "all_stages.zip"
NOT_PACKED = (ZIP, "poster.jpg")
KINDS = {"animate": "Picture", "mend": "Mended", "masks": "Masks to video", "find": "Masks found", "clean": "Motion"}
FIELDS = {"prompt": "what happens|what things|what the motion", "betas": "another body"}
"""How the labels of fields begin that errors call otherwise; `static/studio.js` puts what is wrong beside its field."""
STAGE_NAMES = {
    "coarse": "coarse video", "extract": "reading the motion", "refine": "refining", "regenerate": "final video",
    "animate": "clips", "look": "looking", "read": "reading", "draw": "drawing", "save": "saving", "start": "starting",
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One result on the disk."""

    path: Path
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        return str(self.about.get("title") or KINDS.get(self.about.get("kind", ""), "Result"))

    @property
    def when(self) -> str:
        return datetime.strptime(self.name[:15], "%Y%m%d-%H%M%S").strftime("%d %b %Y, %H:%M")

    @property
    def line(self) -> str:
        """For lists: what, shortened, and when."""
        short = self.title if len(self.title) <= TITLE_LETTERS else self.title[:TITLE_LETTERS].rstrip() + " ..."
        return f"{short} · {self.when}"

    def file(self, name: str) -> str | None:
        """The path of one of its files, None where there is none."""
        path = self.path / name
        return str(path) if path.is_file() else None


class Studio:
    """A server's workspace and queue: all that the tabs share."""

    def __init__(self, workspace: Workspace, limits: Limits = LIMITS):
        self.workspace, self.limits = workspace, limits
        self.jobs = Jobs(limits, _write_end)

    def begin(
        self, visitor: str, kind: str, task: str, settings: dict[str, Any], commands: Sequence[str],
        files: Mapping[str, Path], title: str = "",
    ) -> Job:  # fmt: skip
        """A folder with copies of `files` (name there -> where it lies), and the job that works in it.

        Raises InputError where there is no room, or the queue is full; then nothing is left behind.
        """
        folder = self.workspace.new_result(visitor, kind)
        try:
            for name, source in files.items():
                (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
            about = {
                "kind": kind, "title": title or KINDS[kind], "state": "waiting", "settings": settings,
                "commands": list(commands), "notes": [], "seconds": {},
            }  # fmt: skip
            write_about(folder, about)
            (folder / "command.txt").write_text("\n".join(commands) + "\n")
            return self.jobs.submit(Job(visitor, task, settings, folder))
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def results(self, visitor: str, *kinds: str) -> list[Result]:
        """Finished results that a visitor sees, the newest first."""
        found = [read_result(path) for path in self.workspace.results(visitor)]
        return [r for r in found if r.about.get("state") == "done" and (not kinds or r.about.get("kind") in kinds)]

    def result(self, visitor: str, name: str | None) -> Result:
        return read_result(self.workspace.result(visitor, name))

    def delete(self, visitor: str, name: str | None) -> None:
        """Remove a result for good. Raises InputError for one that the visitor does not have."""
        shutil.rmtree(self.workspace.result(visitor, name))

    def tidy_forever(self, every_s: float = 3_600.0) -> None:
        """For a thread: clean up now and then."""
        while True:
            self.workspace.tidy(self.jobs.busy_folders())
            time.sleep(every_s)


def read_result(path: Path) -> Result:
    """A result; one whose about.json is missing or damaged has nothing to say."""
    try:
        about = json.loads((path / "about.json").read_text())
    except (OSError, ValueError):
        about = {}
    return Result(path, about if isinstance(about, dict) else {})


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    with atomic_path(folder / "about.json") as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n")


def _write_end(job: Job, state: State) -> None:
    """What became of a job, in its folder; a finished one is packed."""
    if not (job.folder / "about.json").exists():
        return
    about = dict(read_result(job.folder).about)
    about |= {"state": state, "problem": job.problem, "notes": job.notes}
    record = job.folder / "result.json"
    made = json.loads(record.read_text()) if record.is_file() else {}
    about["seconds"] = job.stage_seconds | made.get("seconds", {}) | {"in all": round(job.seconds, 2)}
    write_about(job.folder, about)
    if state == "done":
        pack(job.folder)


def pack(folder: Path) -> Path:
    """A zip of everything in a result's folder; what is packed already is not packed tighter."""
    target = folder / ZIP
    with (
        atomic_path(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
    ):
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in NOT_PACKED):
            if not path.name.startswith("."):
                packed.write(path, path.relative_to(folder))
    return target


def panel(result: Result) -> str:
    """HTML: how a result was made, and how to make it again. Everything that a visitor typed is escaped."""
    about, settings = result.about, result.about.get("settings", {})
    seconds = about.get("seconds", {})
    facts = [("made", result.when)]
    facts += [(name, settings[name]) for name in ("preset", "seed", "prompt") if settings.get(name) not in (None, "")]
    facts += [
        (
            "took",
            ", ".join(
                f"{STAGE_NAMES.get(name, name)} {value:.1f} s" for name, value in seconds.items() if value >= 0.05
            ),
        )
    ]
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in facts)
    notes = "".join(f"<li>{escape(note)}</li>" for note in about.get("notes", ()))
    lines = escape("\n".join(about.get("commands", ())))
    return (
        f'<section class="kn-panel"><h3>{escape(result.title)}</h3><dl>{rows}</dl>'
        + (f'<p class="kn-label">Worth knowing</p><ul>{notes}</ul>' if notes else "")
        + '<p class="kn-label">Repeat this in a terminal, in the unpacked zip</p>'
        + f'<pre tabindex="0" aria-label="command line"><code>{lines}</code></pre></section>'
    )


def status(job: Job | None, before: int = 0) -> str:
    """HTML: how far a job is, for sighted and for listening readers."""
    if job is None:
        return ""
    if job.state == "waiting":
        jobs = "the next one" if before == 0 else f"{before} job{'s' if before > 1 else ''} before yours"
        return _box("wait", f"In the queue: {jobs}.")
    bars = "".join(_bar(name, *progress, running=job.state == "running") for name, progress in _stages(job))
    if job.state == "running":
        return _box("run", f"Working, {job.seconds:.0f} s so far.", bars)
    if job.state == "cancelled":
        return _box("stop", "Cancelled. Everything that you set is still there: run it again at any time.")
    if job.state == "failed":
        return _box("bad", job.problem)
    return _box("done", f"Done in {job.seconds:.1f} s.", bars)


def _stages(job: Job) -> list[tuple[str, tuple[int, int]]]:
    """Stages in their order; all before the last one are done."""
    known = [(name, p) for name, p in job.progress.items() if name != "start"]
    return [
        (name, (total, total) if k < len(known) - 1 or job.state == "done" else (done, total))
        for k, (name, (done, total)) in enumerate(known)
    ]


def _bar(name: str, done: int, total: int, running: bool) -> str:
    share = min(1.0, done / max(total, 1))
    words = "done" if share == 1 else f"{done} of {total}" if total > 1 else "working" if running else ""
    label = STAGE_NAMES.get(name, name)
    busy = " kn-busy" if running and share == 0 else ""
    return (
        f'<div class="kn-stage{busy}"><span>{escape(label)}</span><progress max="1" value="{share:.3f}" '
        f'aria-label="{escape(label)}"></progress><span>{words}</span></div>'
    )


def _box(kind: str, text: str, more: str = "") -> str:
    return f'<div class="kn-status kn-{kind}" role="status"><p>{escape(text)}</p>{more}</div>'


def problem(error: Exception) -> str:
    """HTML for what a visitor got wrong, to stand beside the field."""
    from kinema.studio.workspace import words

    where = str(getattr(error, "where", "")).lower()
    field = escape(FIELDS.get(where, where))
    return f'<div class="kn-status kn-bad" role="alert" data-field="{field}"><p>{escape(words(error))}</p></div>'
