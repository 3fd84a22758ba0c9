"""Every clip once through kills: workers and drivers are killed at random, and the result is that of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import disturbed
import psutil
import pytest

from kinema.annotate.index import read_index
from kinema.annotate.ledger import Ledger, load_plan
from kinema.annotate.run import annotate, here
from kinema.errors import InputError

SECONDS = 0.12
"""A clip takes twice or three times that, so that kills find somebody at work."""
PATIENCE_S = 240
"""For what is left of a run; it takes a few seconds, and Ray's end some more where the machine is busy."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """Videos, and what comes of them where nobody is killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    videos = disturbed.write_videos(folder / "videos")

    def executor(sources, recipe, out):
        return here(sources, recipe, out, disturbed.DiscModels())

    annotate(videos, folder / "out", disturbed.RECIPE, executor, group_size=3, captions="made")
    return videos, disturbed.results(folder / "out")


class Run:
    """A run in a process of its own; what it says goes into `log`."""

    def __init__(self, videos: Path, out: Path, how: str, log: Path):
        script = [sys.executable, "-u", str(Path(disturbed.__file__)), str(videos), str(out), how, str(SECONDS)]
        self.log = log
        with log.open("w") as told:
            self.driver = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=told, text=True)

    def line(self) -> str:
        """The next line of its progress."""
        assert self.driver.stdout is not None
        line = self.driver.stdout.readline()
        if not line and "Ray did not start" in self.log.read_text():
            pytest.skip("this machine is too busy for Ray, which has 15 s for its start")
        assert line, self.log.read_text()
        return line

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.driver.pid).children(recursive=True)

    def kill_worker(self, rng: random.Random) -> bool:
        """Kill one of Ray's actors; -> whether there was one."""
        workers = [p for p in self.family() if _name(p).startswith("ray::MapWorker")]
        if workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                rng.choice(workers).kill()
        return bool(workers)

    def kill(self) -> None:
        """The driver first, with no time to clean up; then what it left behind."""
        left = self.family()
        self.driver.send_signal(signal.SIGKILL)
        self.driver.wait()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=20)
        assert self.driver.stdout is not None
        self.driver.stdout.close()

    def end(self) -> str:
        """What it still tells, once it and all that it began have ended."""
        family = self.family()
        told, _ = self.driver.communicate(timeout=PATIENCE_S)
        assert self.driver.returncode == 0, self.log.read_text()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, "nothing is left over"
        return told


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[[Path, Path, str], Run]]:
    """Begins runs; what is still there at the end, as after a failure, goes."""
    made: list[Run] = []

    def begin(videos: Path, out: Path, how: str) -> Run:
        made.append(Run(videos, out, how, tmp_path / f"run{len(made)}.log"))
        return made[-1]

    yield begin
    for run in made:
        if run.driver.poll() is None:
            run.kill()
        assert run.driver.stdout is not None
        run.driver.stdout.close()


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess, IndexError):
        return process.cmdline()[0]
    return ""


def test_a_driver_killed_at_random(undisturbed, start, tmp_path):
    videos, expected = undisturbed
    rng = random.Random(1)
    for _ in range(2):
        run = start(videos, tmp_path / "out", "here")
        run.line()
        time.sleep(rng.uniform(0, 2 * SECONDS))
        run.kill()
        assert disturbed.results(tmp_path / "out").keys() < expected.keys(), "it was not done yet"
    run = start(videos, tmp_path / "out", "here")
    first = run.line()
    assert int(first) > 2, "it went on where it was"
    assert "all done" in run.end()
    assert disturbed.results(tmp_path / "out") == expected
    assert not list((tmp_path / "out" / "work" / "clips").rglob("*.tar")), "each clip is in its shard alone"


@pytest.mark.skipif("KINEMA_RAY_TESTS" not in os.environ, reason="takes minutes and 4 GB: make test-ray runs it")
def test_workers_and_the_driver_of_ray_killed_at_random(undisturbed, start, tmp_path):
    """First one operator of actors that do all; then, for what is left, the three operators of a cluster with a GPU."""
    pytest.importorskip("ray")
    videos, expected = undisturbed
    rng = random.Random(2)
    run = start(videos, tmp_path / "out", "ray")
    run.line()
    time.sleep(rng.uniform(0, SECONDS))
    assert run.kill_worker(rng)
    run.line()  # another worker goes on
    time.sleep(rng.uniform(0, 2 * SECONDS))
    run.kill()
    assert not (tmp_path / "out" / "report.html").exists(), "it was not done yet"
    run = start(videos, tmp_path / "out", "ray-gpu")
    run.line()
    run.kill_worker(rng)
    assert "all done" in run.end()
    assert disturbed.results(tmp_path / "out") == expected


def test_what_cannot_be_worked_on_is_set_aside_with_its_reason(undisturbed, tmp_path):
    _, expected = undisturbed
    for name, data in expected.items():
        (tmp_path / name).write_bytes(data)
    aside = {r["key"]: (r["stage"], r["reason"]) for r in read_index(tmp_path) if r["outcome"] == "set aside"}
    assert aside.keys() == {"broken", "poison-000"}
    assert aside["broken"][0] == "cuts"
    assert "broken.mp4: is no video" in aside["broken"][1]
    assert aside["poison-000"] == ("masks", "ZeroDivisionError: too blue")


def test_a_clip_at_which_workers_die_is_set_aside_and_the_rest_goes_on(undisturbed, tmp_path):
    """Five dead workers leave five marks; the sixth does not try."""
    from kinema.annotate.ledger import MOST_DEATHS, clip_id
    from kinema.annotate.record import SET_ASIDE

    videos, _ = undisturbed
    out = tmp_path / "out"

    def executor(sources, recipe, to):
        return here(sources, recipe, to, disturbed.DiscModels())

    with pytest.raises(InputError, match="7 of 8 videos were not done"):
        annotate(videos, out, disturbed.RECIPE, lambda s, r, to: executor(s[:1], r, to), captions="made", group_size=3)
    ledger = Ledger(out)
    source = next(s for _, s in load_plan(ledger) if s.key == "v5")
    mark = ledger.work / "tries" / clip_id(source, 0)[:2] / f"{clip_id(source, 0)}.clip"
    mark.parent.mkdir(exist_ok=True)
    mark.write_bytes(b"." * MOST_DEATHS)
    totals = annotate(videos, out, disturbed.RECIPE, executor, group_size=3)
    assert totals.clips[SET_ASIDE] == 2
    row = next(r for r in read_index(out) if r["key"] == "v5-000")
    assert (row["outcome"], row["reason"]) == (SET_ASIDE, "5 workers died at it (clip)")
    again = annotate(videos, out, disturbed.RECIPE, executor, group_size=3, retry=True)
    assert again.clips[SET_ASIDE] == 1, "retry tries it once more"
