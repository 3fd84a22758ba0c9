"""The one process that holds the models and does the jobs, one after another.

It is apart from the page, so that the page answers while a model runs, a job can be stopped for certain, and a job that
takes all memory takes only this process. Input, through a pipe: (task, settings, folder). Output, through the same pipe:
("progress", stage, done, total), ("note", text), and in the end ("done",), ("cancelled",) or ("failed", text).
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from kinema.console import hush
from kinema.errors import InputError

NICE = 10
"""The page answers first where there are no more cores than the model takes."""
Report = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is; raises `Cancelled`."""
Task = Callable[[dict[str, Any], Path, Report], None]


class Cancelled(Exception):
    """The visitor wants the job to stop."""


class _Notes(logging.Handler):
    """Warnings of kinema go to the visitor, each once; what went wrong in the code goes to the server's log alone."""

    def __init__(self, send: Callable[[str], None]):
        super().__init__(logging.WARNING)
        self.send, self.said = send, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.said and not record.exc_info:
            self.said.add(text)
            self.send(text)


def work(pipe: Connection, cancelled: Event) -> None:
    """Do what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # control-C is for the server, which then ends this process
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.nice(NICE)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    hush()
    while True:
        try:
            task, settings, folder = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(do(task, settings, folder, pipe, cancelled))
        except OSError:
            return  # the server has gone


def do(task: str, settings: dict[str, Any], folder: Path, pipe: Connection, cancelled: Event) -> tuple[str, ...]:
    """One job; `task` is "module:function"."""

    def report(stage: str, done: int, total: int) -> None:
        if cancelled.is_set():
            raise Cancelled
        pipe.send(("progress", stage, done, total))

    notes = _Notes(lambda text: pipe.send(("note", text)))
    logging.getLogger("kinema").addHandler(notes)
    try:
        report("start", 0, 1)
        module, _, name = task.partition(":")
        function: Task = getattr(import_module(module), name)
        function(settings, folder, report)
        return ("done",)
    except Cancelled:
        return ("cancelled",)
    except InputError as error:
        from kinema.studio.workspace import words

        return ("failed", words(error))
    except Exception as error:  # the model must stay loaded for the next job, whatever this one did
        logging.getLogger("kinema").exception("job in %s", folder.name)
        from kinema.studio.workspace import words

        return ("failed", words(error))
    finally:
        logging.getLogger("kinema").removeHandler(notes)
