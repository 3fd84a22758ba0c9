"""The queue: order, bounds, cancelling, failures; the worker does nothing here but wait."""

import time
from dataclasses import replace

import pytest

from kinema.errors import InputError
from kinema.studio import jobs as queue
from kinema.studio.jobs import Job, Jobs
from kinema.studio.limits import LIMITS


@pytest.fixture(scope="module")
def jobs():
    found = Jobs(LIMITS)
    yield found
    found.close()


def ask(jobs, folder, task="steps", visitor="a", **settings):
    return jobs.submit(Job(visitor, f"standin_tasks:{task}", settings, folder))


def wait(*jobs, seconds=30):
    end = time.monotonic() + seconds
    while not all(job.over for job in jobs) and time.monotonic() < end:
        time.sleep(0.01)
    return [job.state for job in jobs]


def until(job, state, seconds=30):
    end = time.monotonic() + seconds
    while job.state != state and time.monotonic() < end:
        time.sleep(0.01)
    assert job.state == state


def test_twenty_jobs_of_many_visitors_all_end_in_their_order(jobs, tmp_path):
    asked = []
    for k in range(20):
        (tmp_path / str(k)).mkdir()
        asked.append(ask(jobs, tmp_path / str(k), visitor=f"v{k % 7}", name=str(k)))
    assert wait(*asked) == ["done"] * 20
    assert [(tmp_path / str(k) / "made.txt").read_text().split()[1] for k in range(20)] == [str(k) for k in range(20)]
    assert sorted(asked, key=lambda job: job.ended) == asked
    assert asked[3].progress["steps"] == (2, 3)


def test_a_waiting_job_goes_at_once_and_a_running_one_at_its_next_step(jobs, tmp_path):
    running = ask(jobs, tmp_path, steps=1000, pause=0.05)
    waiting = ask(jobs, tmp_path)
    until(running, "running")
    assert jobs.before(waiting) == 1
    jobs.cancel(waiting)
    assert waiting.state == "cancelled"
    began = time.monotonic()
    jobs.cancel(running)
    assert wait(running) == ["cancelled"]
    assert time.monotonic() - began < 3
    assert not (tmp_path / "made.txt").exists()


def test_a_job_that_does_not_listen_is_ended_and_the_next_one_gets_a_new_process(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "GRACE_S", 0.2)
    job = ask(jobs, tmp_path, "stubborn")
    until(job, "running")
    jobs.cancel(job)
    assert wait(job, ask(jobs, tmp_path)) == ["cancelled"] or job.state == "cancelled"
    assert wait(ask(jobs, tmp_path)) == ["done"]


def test_a_failed_job_keeps_the_process_and_tells_no_paths_and_no_secrets(jobs, tmp_path):
    assert wait(ask(jobs, tmp_path)) == ["done"]
    process = (tmp_path / "made.txt").read_text()
    mistaken, broken = ask(jobs, tmp_path, "mistaken"), ask(jobs, tmp_path, "broken")
    assert wait(mistaken, broken) == ["failed", "failed"]
    assert mistaken.problem == "photo.jpg: is no picture. Expected: a picture. To mend it: save it anew."
    assert "secret" not in broken.problem
    assert broken.notes == ["worth knowing", f"job in {tmp_path.name}"] or broken.notes[0] == "worth knowing"
    assert wait(ask(jobs, tmp_path)) == ["done"]
    assert (tmp_path / "made.txt").read_text() == process


def test_a_process_that_dies_fails_its_job_alone(jobs, tmp_path):
    assert wait(ask(jobs, tmp_path, "dies"), ask(jobs, tmp_path)) == ["failed", "done"]


def test_the_queue_and_each_visitors_share_of_it_are_bounded(tmp_path):
    jobs = Jobs(replace(LIMITS, waiting=4, waiting_each=2))
    try:
        first = ask(jobs, tmp_path, steps=1000, pause=0.05)
        until(first, "running")
        ask(jobs, tmp_path), ask(jobs, tmp_path)
        with pytest.raises(InputError, match="your jobs"):
            ask(jobs, tmp_path)
        ask(jobs, tmp_path, visitor="b"), ask(jobs, tmp_path, visitor="b")
        with pytest.raises(InputError, match="is full"):
            ask(jobs, tmp_path, visitor="c")
    finally:
        jobs.close()
    assert first.over or first.stop


def test_a_job_that_takes_too_long_is_stopped_and_told_so(tmp_path):
    jobs = Jobs(replace(LIMITS, job_s=0.3))
    try:
        job = ask(jobs, tmp_path, steps=1000, pause=0.02)
        assert wait(job) == ["failed"]
        assert "shorter" in job.problem
    finally:
        jobs.close()


def test_nobody_finds_anothers_job(jobs, tmp_path):
    job = ask(jobs, tmp_path, visitor="a")
    assert jobs.find("a", job.id) is job
    for visitor, number in (("b", job.id), ("a", "no such job"), ("a", None)):
        with pytest.raises(InputError, match="not one of yours"):
            jobs.find(visitor, number)
    wait(job)
