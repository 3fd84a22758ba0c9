"""Results on the disk: begun, finished, listed after a restart, packed, deleted; what a prompt smuggles is not shown."""

import json
import time
import zipfile

import pytest

pytest.importorskip("gradio")

from kinema.errors import InputError
from kinema.studio import gallery
from kinema.studio.gallery import Studio, panel, problem, status
from kinema.studio.jobs import Job
from kinema.studio.workspace import Workspace

EVIL = '<script>alert("x")</script>'


@pytest.fixture
def studio(tmp_path):
    found = Studio(Workspace.open(tmp_path / "work", everyone=False))
    yield found
    found.jobs.close()


def make(studio, visitor, task="steps", prompt="a man"):
    (studio.workspace.folder / "cache" / "picture.png").write_bytes(b"x")
    files = {"picture.png": studio.workspace.folder / "cache" / "picture.png"}
    settings = {"prompt": prompt, "seed": 3, "preset": "mini-svd"}
    job = studio.begin(visitor, "animate", f"standin_tasks:{task}", settings, ["kinema generate"], files, prompt)
    while not job.over:
        time.sleep(0.01)
    return job


def test_a_result_is_packed_listed_survives_a_restart_and_can_be_deleted(studio):
    visitor = studio.workspace.visitor(studio.workspace.new_visitor())
    job = make(studio, visitor)
    with zipfile.ZipFile(job.folder / gallery.ZIP) as packed:
        assert {"picture.png", "made.txt", "about.json", "command.txt"} <= set(packed.namelist())
    again = Studio(Workspace.open(studio.workspace.folder, everyone=False))
    try:
        (result,) = again.results(visitor)
        assert result.title == "a man"
        assert result.about["seconds"]["in all"] >= result.about["seconds"]["steps"] > 0
        assert again.results(visitor, "masks") == []
        again.delete(visitor, result.name)
        assert again.results(visitor) == []
        with pytest.raises(InputError):
            again.delete(visitor, "../" + result.name)
    finally:
        again.jobs.close()


def test_a_failed_job_is_no_result_and_says_why(studio):
    visitor = studio.workspace.visitor(studio.workspace.new_visitor())
    job = make(studio, visitor, "mistaken")
    assert studio.results(visitor) == []
    assert json.loads((job.folder / "about.json").read_text())["problem"] == job.problem
    assert "save it anew" in status(job)


def test_what_a_visitor_typed_is_never_markup(studio):
    job = make(studio, studio.workspace.visitor(studio.workspace.new_visitor()), prompt=EVIL)
    for html in (panel(gallery.read_result(job.folder)), problem(InputError(EVIL, EVIL, EVIL, EVIL))):
        assert "<script" not in html
        assert "&lt;script" in html


def test_the_status_says_the_place_in_the_queue_and_every_stage(tmp_path):
    job = Job("a", "", {}, tmp_path)
    assert "2 jobs before yours" in status(job, 2)
    job.state, job.began = "running", time.monotonic()
    job.progress = {"start": (0, 1), "coarse": (5, 5), "extract": (0, 1)}
    html = status(job)
    assert html.count("<progress") == 2
    assert 'value="1.000" aria-label="coarse video"' in html
    job.state = "cancelled"
    assert "Cancelled" in status(job)


def test_a_folder_that_was_damaged_by_hand_breaks_no_list(studio):
    visitor = studio.workspace.visitor(studio.workspace.new_visitor())
    job = make(studio, visitor)
    (job.folder / "about.json").write_text("{")
    assert studio.results(visitor) == []
