"""Which checkpoints there are, and fetching one: what is asked of the hub, what is checked, every way it can fail."""

import hashlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from commands import refused, status
from kinema.errors import InputError
from kinema.hub import (
    CHECKPOINTS,
    GROUPS,
    RECORD,
    checkpoints_of,
    fetch,
    fetched,
    how_to_fetch,
    model_folder,
    weights_folder,
)
from loopback_hub import FILES, loopback_hub

WEIGHTS = b"some weights"


class Hub:
    """A hub with one model; `error` is raised instead of an answer, `sent` is what arrives."""

    def __init__(self, monkeypatch):
        self.error, self.sent, self.asked, self.size = None, WEIGHTS, {}, len(WEIGHTS)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", self.model_info)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def model_info(self, repository, files_metadata):
        if self.error:
            raise self.error
        lfs = SimpleNamespace(sha256=hashlib.sha256(WEIGHTS).hexdigest())
        files = [
            SimpleNamespace(rfilename="model.safetensors", size=self.size, lfs=lfs),
            SimpleNamespace(rfilename="unet/model.fp16.safetensors", size=1 << 60, lfs=lfs),
            SimpleNamespace(rfilename="model.pt", size=1 << 60, lfs=lfs),
        ]
        return SimpleNamespace(id=repository, sha="abc123", siblings=files)

    def download(self, repository, **asked):
        self.asked = {"repository": repository, **asked}
        (asked["local_dir"] / "model.safetensors").write_bytes(self.sent)
        (asked["local_dir"] / "config.json").write_text("{}")


@pytest.fixture
def hub(monkeypatch):
    return Hub(monkeypatch)


def response(code):
    import httpx2

    return httpx2.Response(code, request=httpx2.Request("GET", "https://huggingface.co/x"))


def test_a_fetched_model_is_complete_checked_and_recorded(hub, tmp_path):
    folder = fetch(CHECKPOINTS["sam2"], tmp_path / "weights")
    assert folder == tmp_path / "weights" / "sam2"
    assert hub.asked["repository"] == "facebook/sam2.1-hiera-large"
    assert hub.asked["revision"] == "abc123"
    assert "*.safetensors" in hub.asked["allow_patterns"]
    assert not any(p.endswith((".pt", ".bin", ".pth", "*")) for p in hub.asked["allow_patterns"])
    record = json.loads((folder / RECORD).read_text())
    assert record["sha256"] == {"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()}
    assert model_folder(folder, "sam2") == folder


def test_what_is_not_what_the_hub_states_is_removed(hub, tmp_path):
    hub.sent = b"other weights"
    with pytest.raises(InputError, match="SHA-256"):
        fetch(CHECKPOINTS["sam2"], tmp_path)
    assert not (tmp_path / "sam2" / "model.safetensors").exists()
    assert not (tmp_path / "sam2" / RECORD).exists()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (lambda: GatedRepoError("no", response=response(403)), "agree at https://huggingface.co/stabilityai"),
        (lambda: RepositoryNotFoundError("no", response=response(404)), "hf auth login"),
        (lambda: HfHubHTTPError("busy", response=response(503)), "goes on where"),
        (lambda: ConnectionError("no route"), "no route"),
        (lambda: __import__("httpx2").ConnectError("no name"), "no name"),
    ],
)
def test_every_way_it_fails_says_what_to_do(hub, tmp_path, error, says):
    hub.error = error()
    with pytest.raises(InputError, match=says):
        fetch(CHECKPOINTS["svd"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_our_own_bugs_are_not_the_networks(hub, tmp_path):
    hub.error = KeyError("a bug")
    with pytest.raises(KeyError):
        fetch(CHECKPOINTS["svd"], tmp_path)


def test_offline_nothing_is_asked(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        fetch(CHECKPOINTS["sam2"], tmp_path)
    assert not hub.asked


def test_too_little_room_is_said_before(hub, tmp_path):
    hub.size = 1 << 60
    with pytest.raises(InputError, match=r"has room for [\d.]+ GB"):
        fetch(CHECKPOINTS["sam2"], tmp_path)
    assert not hub.asked


def test_names_and_groups():
    assert [c.name for c in checkpoints_of("public")] == list(GROUPS["public"])
    assert {"svd", "wan", "vace-1.3b", "vace-14b", "cogvideox-fun", "cogvideox-2b", "cogvideox-5b"} <= set(CHECKPOINTS)
    with pytest.raises(InputError, match="one of public, grounding-dino"):
        checkpoints_of("sam3")
    assert how_to_fetch("sam2") == "kinema fetch sam2 (facebook/sam2.1-hiera-large, Apache-2.0, 0.9 GB)"
    assert how_to_fetch("mine") == "kinema fetch mine"


def test_presets_and_checkpoints_name_the_same_repositories(tmp_path, monkeypatch):
    from kinema.presets import CLIP_PRESETS, PRESETS, find_clip_preset, find_preset

    public = {name: p for name, p in {**PRESETS, **CLIP_PRESETS}.items() if p.source}
    assert public
    for name, preset in public.items():
        assert CHECKPOINTS[name].repository == preset.source
    monkeypatch.setenv("KINEMA_WEIGHTS", str(tmp_path))
    for name, find in (("svd", find_preset), ("cogvideox-2b", find_clip_preset)):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=f"kinema fetch {name}"):
            find(name)
        (tmp_path / name / RECORD).write_text("{}")
        assert find(name).folder == tmp_path / name


def test_every_hash_that_is_written_down_is_one():
    for checkpoint in CHECKPOINTS.values():
        assert all(len(v) == 64 and int(v, 16) >= 0 for v in checkpoint.sha256.values())


def test_one_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KINEMA_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv("KINEMA_WEIGHTS")
    assert weights_folder().parts[-2:] == (".cache", "kinema")


def test_what_was_fetched_whole_is_found(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("KINEMA_WEIGHTS", str(tmp_path))
    (tmp_path / "sam2").mkdir()
    assert fetched("sam2") is None
    assert fetch(CHECKPOINTS["sam2"], tmp_path) == fetched("sam2") == tmp_path / "sam2"


def test_the_command(hub, tmp_path, capsys):
    assert status("fetch", "sam2", "--folder", tmp_path) == 0
    said = capsys.readouterr().out
    assert "Apache-2.0" in said
    assert str(tmp_path / "sam2") in said
    assert status("fetch") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in CHECKPOINTS)
    assert hub.asked["repository"] == "facebook/sam2.1-hiera-large"  # a list fetches nothing
    assert "one of public" in refused(capsys, "fetch", "nothing")
    hub.error = ConnectionError("no route")
    assert status("fetch", "public", "--folder", tmp_path) == 2


FETCH_TWICE = """
import sys
from kinema.cli import main
for _ in range(2):
    try:
        main(["fetch", "sam2", "--folder", sys.argv[1]])
        print("status 0")
    except SystemExit as done:
        print("status", done.code)
"""


def test_the_hubs_own_client_goes_on_where_a_fetch_broke_off(tmp_path):
    """Against a hub on this machine: only what is wanted is asked for, after a break only the rest, and all of it once."""
    with loopback_hub() as hub:
        hub.breaks = 1
        environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        code = [sys.executable, "-c", FETCH_TWICE, str(tmp_path)]
        done = subprocess.run(code, env=environment, capture_output=True, text=True)
    assert done.stdout.count("status 0") == 2, done.stderr[-2000:]
    assert (tmp_path / "sam2" / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert {name for _, name, _ in hub.asked} == {"config.json", "model.safetensors"}
    spans = [span for method, name, span in hub.asked if method == "GET" and name == "model.safetensors"]
    assert len(spans) == 2
    assert spans[0] is None
    assert int(spans[1].removeprefix("bytes=").rstrip("-")) >= 10 << 20
