"""kinema doctor --preset, and generate and animate on a machine with too little memory."""

import json
from dataclasses import replace

import pytest

from commands import status
from kinema import cli, enough_memory
from kinema.enough_memory import GIB, Free, check_memory, find, job_of
from kinema.errors import InputError
from kinema.presets import CLIP_PRESETS, PRESETS
from kinema.reinforce import memory_estimate
from kinema.reinforce.memory_estimate import Need

PICTURE = "examples/dancer.png"


@pytest.fixture
def free(monkeypatch):
    """Say how much is free, and let a megapixel of frames take 100 GiB fast, 20 balanced, 10 low; the mini ones nothing."""

    def expected(job, memory, on_gpu=True):
        mini = job.size[0] * job.size[1] < 200**2
        share = {"fast": 100, "balanced": 20, "int8": 15, "low": 10}[memory]
        size = 0 if mini else int(job.size[0] * job.size[1] * job.frames / 81e6 * share * GIB)
        return Need(size, GIB, "decoding") if on_gpu else Need(0, GIB + size, "decoding")

    monkeypatch.setattr(memory_estimate, "expected", expected)
    enough_memory._asked.cache_clear()

    def set_free(gpu, host=64):
        monkeypatch.setattr(enough_memory, "free_memory", lambda: Free(gpu and int(gpu * GIB), int(host * GIB)))

    yield set_free
    enough_memory._asked.cache_clear()


@pytest.fixture
def wan_folder(tmp_path):
    """Configurations and as many bytes of weights as make it worth a look, none of which can be read."""
    from kinema.reinforce.public_configs import PUBLIC

    for part, config in PUBLIC["vace-1.3b"].items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config))
    (tmp_path / "model_index.json").write_text("{}")
    with (tmp_path / "transformer" / "model.safetensors").open("wb") as file:
        file.truncate(4 * GIB)  # a hole: it takes no room
    return tmp_path


def test_every_preset_has_a_job():
    for name in (*PRESETS, *CLIP_PRESETS):
        job = job_of(find(name), None, None, on_gpu=True)
        assert {"vae"} < set(job.configs)
        assert min(job.size) >= 32
    assert job_of(PRESETS["vace-1.3b"], (832, 480), 1000, True).frames == 81
    assert job_of(PRESETS["vace-1.3b"], (832, 480), 30, True, coarse=False).frames == 33
    with pytest.raises(InputError, match="720x480"):
        job_of(CLIP_PRESETS["cogvideox-2b"], (640, 480), None, True)


def test_doctor_prints_a_row_for_each_memory_preset(capsys, free):
    free(None, 24)
    assert status("doctor", "--preset", "vace-1.3b", "--size", "832x480", "--frames", "81") == 0
    page = capsys.readouterr().out
    assert "81 frames at 832x480" in page
    for word in ("fast", "balanced", "low", "int8", "without a GPU", "no GPU, 24.0 GiB"):
        assert word in page
    assert status("doctor", "--preset", "vace-1.3b", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert [row["fits_here"] for row in values["memory"].values()] == [False] * 5
    assert values["memory"]["fast"]["gpu"] > values["memory"]["low"]["gpu"]


def test_doctor_of_a_mini_preset_counts_for_real(capsys):
    assert status("doctor", "--preset", "mini-svd", "--size", "128x128", "--json") == 0
    row = json.loads(capsys.readouterr().out)["memory"]["cpu"]
    assert memory_estimate.PROGRAM < row["host"] < 2 * GIB


@pytest.mark.parametrize(
    "words", [("--preset", "sora"), ("--preset", "wan", "--frames", "0"), ("--preset", "wan", "--size", "8x8")]
)
def test_doctor_refuses_what_no_preset_makes(capsys, words):
    assert status("doctor", *words) == 2
    assert "expected" in capsys.readouterr().err


def test_too_little_memory_stops_before_a_weight_is_read_and_says_what_would_fit(
    tmp_path, capsys, free, wan_folder, monkeypatch
):
    monkeypatch.setattr(enough_memory, "find_spec", lambda name: name)  # torchao, here or not
    command = ("generate", PICTURE, "--out", tmp_path / "out.mp4", "--preset", "vace-1.3b", "--model", wan_folder)
    for gpu, proposal in (
        (20, "--memory balanced"),
        (7.5, "--memory int8"),
        (4.5, "--memory low"),
        (3, "--frames 41 --memory low"),
        (0.5, "mini-svd"),
    ):
        free(gpu)
        assert status(*command) == 2
        said = capsys.readouterr().err
        assert "GiB of GPU memory" in said
        assert proposal in " ".join(said.split())
    free(None, 2)
    assert status(*command) == 2
    assert "there is no GPU" in capsys.readouterr().err
    monkeypatch.setenv(enough_memory.UNCHECKED, "1")
    assert status(*command) == 2
    assert "GiB of" not in capsys.readouterr().err  # but that there is nothing to be read in the file


def test_enough_memory_passes_and_small_models_are_not_looked_at(free, wan_folder, monkeypatch):
    free(80)
    check_memory(replace(PRESETS["vace-1.3b"], folder=wan_folder), (832, 480), 81)
    free(80, 0.5)
    with pytest.raises(InputError, match="host memory"):
        check_memory(replace(PRESETS["vace-1.3b"], folder=wan_folder), (832, 480), 81)
    monkeypatch.setattr(memory_estimate, "expected", lambda *_: pytest.fail("looked at"))
    free(None, 8)
    check_memory(PRESETS["mini-svd"])
    check_memory(CLIP_PRESETS["mini-cogvideox"])


def test_doctor_is_a_command():
    assert cli.doctor in cli.COMMANDS
