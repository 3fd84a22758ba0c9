"""Jobs: a bounded queue before one worker process, progress, cancelling, time limits.

Input: a task ("module:function"), its settings and a folder. Output: a `Job` whose fields say how far it is. A job that is
told to stop does so at its next step, and where it does not within `GRACE_S`, its process is ended; the next job gets a new
one.
"""

from __future__ import annotations

import logging
import multiprocessing
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinema.errors import InputError
from kinema.studio.limits import LIMITS, Limits
from kinema.studio.worker import work

GRACE_S = 10.0
"""So long a job may take to notice that it was cancelled: longer than a step of a mini model."""
KEPT_S = 3600.0
"""So long a finished job is remembered; its result stays in its folder."""
State = Literal["waiting", "running", "done", "failed", "cancelled"]
OVER = ("done", "failed", "cancelled")
log = logging.getLogger(__name__)


@dataclass
class Job:
    """One job. progress: stage -> (done, of how many), in the order in which they began; marks: stage -> when it did."""

    visitor: str
    task: str
    settings: dict[str, Any]
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "waiting"
    progress: dict[str, tuple[int, int]] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    asked: float = field(default_factory=time.monotonic)
    began: float = 0.0
    ended: float = 0.0
    stop: Literal["", "cancelled", "too long"] = ""

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def seconds(self) -> float:
        """That it has been running."""
        return (self.ended or time.monotonic()) - self.began if self.began else 0.0

    @property
    def stage_seconds(self) -> dict[str, float]:
        """From the beginning of each stage to that of the next one."""
        ends = [*self.marks.values(), self.ended or time.monotonic()][1:]
        return {name: round(end - began, 2) for (name, began), end in zip(self.marks.items(), ends, strict=True)}


class Jobs:
    """The queue and its worker; safe to use from many threads."""

    def __init__(self, limits: Limits = LIMITS, finished: Callable[[Job, State], None] = lambda job, state: None):
        """finished: called with every job that ends and how, before its state says so, from the queue's thread."""
        self.limits, self.finished = limits, finished
        self.waiting: deque[Job] = deque()
        self.known: dict[str, Job] = {}
        self.running: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._worker = None
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job:
        """Put a job at the end. Raises InputError where the queue is full, or the visitor's share of it."""
        with self._changed:
            own = sum(other.visitor == job.visitor for other in self.waiting)
            if len(self.waiting) >= self.limits.waiting:
                raise InputError("the queue", f"is full: {len(self.waiting)} jobs wait", mend="try again in a minute")
            if own >= self.limits.waiting_each:
                raise InputError("your jobs", f"are {own} in the queue", "fewer", "wait for one, or cancel one")
            self.waiting.append(job)
            old = time.monotonic() - KEPT_S
            self.known = {k: j for k, j in self.known.items() if not (j.over and j.ended < old)} | {job.id: job}
            self._changed.notify_all()
        return job

    def find(self, visitor: str, job_id: str | None) -> Job:
        """A visitor's own job. Raises InputError for any other."""
        job = self.known.get(job_id or "")
        if job is None or job.visitor != visitor:
            raise InputError("job", "is not one of yours", mend="load the page anew")
        return job

    def cancel(self, job: Job) -> None:
        """A waiting job goes at once, a running one at its next step."""
        with self._changed:
            if job in self.waiting:
                self.waiting.remove(job)
                self._end(job, "cancelled")
            elif not job.over:
                job.stop = job.stop or "cancelled"

    def before(self, job: Job) -> int:
        """How many jobs are done before a waiting one."""
        with self._changed:
            return list(self.waiting).index(job) + (self.running is not None) if job in self.waiting else 0

    def busy_folders(self) -> set[Path]:
        with self._changed:
            return {job.folder for job in self.known.values() if not job.over}

    def close(self) -> None:
        """End the worker and the thread; what waits is cancelled."""
        with self._changed:
            self._closed = True
            for job in list(self.waiting):
                self._end(job, "cancelled")
            self.waiting.clear()
            if self.running:
                self.running.stop = "cancelled"
            self._changed.notify_all()
        self._kill()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self.waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self.running = self.waiting.popleft()
                job.state, job.began = "running", time.monotonic()
            try:
                self._do(job)
            except Exception:
                log.exception("the queue, at job %s", job.id)
                self._kill()
                self._end(job, "failed", "Something went wrong on the server. It is in the server's log.")
            with self._changed:
                self.running = None

    def _do(self, job: Job) -> None:
        process, pipe, cancelled = self._process()
        cancelled.clear()
        told = 0.0
        try:
            pipe.send((job.task, job.settings, job.folder))
            while True:
                if job.seconds > self.limits.job_s:
                    job.stop = job.stop or "too long"
                if job.stop and not told:
                    cancelled.set()
                    told = time.monotonic()
                if told and time.monotonic() - told > GRACE_S:
                    self._kill()
                    return self._stopped(job)
                if pipe.poll(0.05):
                    message = pipe.recv()
                    if message[0] == "progress":
                        job.progress[message[1]] = message[2:]
                        job.marks.setdefault(message[1], time.monotonic())
                    elif message[0] == "note":
                        job.notes.append(message[1])
                    elif message[0] == "cancelled":
                        return self._stopped(job)
                    else:
                        return self._end(job, *message)
        except (EOFError, OSError):
            code = process.exitcode
            self._kill()
            if job.stop:
                return self._stopped(job)
            log.error("the worker ended with status %s at job %s", code, job.id)
            problem = "The worker stopped at this job, perhaps for want of memory. Try a shorter or smaller one."
            self._end(job, "failed", problem)

    def _stopped(self, job: Job) -> None:
        if job.stop == "too long":
            minutes = self.limits.job_s / 60
            return self._end(job, "failed", f"Stopped: it took more than {minutes:g} minutes. Ask for a shorter video.")
        self._end(job, "cancelled")

    def _end(self, job: Job, state: State, problem: str = "") -> None:
        job.problem, job.ended = problem, time.monotonic()
        try:
            self.finished(job, state)
        except Exception:
            log.exception("after job %s", job.id)
        job.state = state

    def _process(self):
        if self._worker is None or not self._worker[0].is_alive():
            context = multiprocessing.get_context("spawn")
            own, theirs = context.Pipe()
            cancelled = context.Event()
            process = context.Process(target=work, args=(theirs, cancelled), name="kinema-studio-worker", daemon=True)
            process.start()
            theirs.close()
            self._worker = process, own, cancelled
        return self._worker

    def _kill(self) -> None:
        if self._worker is not None:
            process, pipe, _ = self._worker
            self._worker = None
            process.kill()
            process.join(timeout=5)
            pipe.close()
