"""The public checkpoints: which exist, where they come from, under which licence, how large; and how one is fetched.

Nothing is ever downloaded unasked: models are read from folders, and an error for a missing one names the command. Only
safetensors, configurations and tokenizers are fetched; what comes is compared with the hash that the hub states for it, and
that is written down beside it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinema.atomic import atomic_path
from kinema.checkpoints import sha256
from kinema.errors import InputError

WANTED = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Weights, configurations, vocabularies; never a pickle."""
UNWANTED = ("*.fp16.safetensors", "*.bf16.safetensors")
"""The same weights once more in other numbers."""
RECORD = "kinema_fetched.json"
"""In a fetched folder: repository, commit, and the SHA-256 of each weight file."""


@dataclass(frozen=True)
class Checkpoint:
    """A model that the hub has.

    size_gb   of what is fetched, about, from the hub's listings; None where we have not seen one
    gated     the hub gives it only to those who agreed to its licence there
    unwanted  files that are left out, besides `UNWANTED`
    sha256    of files that we know for certain, by their name within the repository
    """

    name: str
    repository: str
    what: str
    licence: str
    size_gb: float | None
    gated: bool = False
    unwanted: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)


COGVIDEOX_LICENCE = "CogVideoX licence (research; commercial use after registration)"
CHECKPOINTS: dict[str, Checkpoint] = {
    c.name: c
    for c in (
        Checkpoint("grounding-dino", "IDEA-Research/grounding-dino-base", "detection from words", "Apache-2.0", 0.93),
        Checkpoint("sam2", "facebook/sam2.1-hiera-large", "tracked masks", "Apache-2.0", 0.9),
        Checkpoint(
            "depth-anything", "depth-anything/Depth-Anything-V2-Small-hf", "depth; the larger ones are CC BY-NC 4.0",
            "Apache-2.0", 0.1,
        ),
        Checkpoint("vitpose", "usyd-community/vitpose-plus-base", "joints of people (COCO)", "Apache-2.0", 0.5),
        Checkpoint(
            "svd", "stabilityai/stable-video-diffusion-img2vid-xt-1-1", "picture to video",
            "Stability AI community licence", 9.0, gated=True, unwanted=("svd_xt*.safetensors",),
        ),
        Checkpoint("wan", "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", "picture to video", "Apache-2.0", 80.0),
        Checkpoint("vace-1.3b", "Wan-AI/Wan2.1-VACE-1.3B-diffusers", "video from control videos", "Apache-2.0", 19.0),
        Checkpoint("vace-14b", "Wan-AI/Wan2.1-VACE-14B-diffusers", "video from control videos", "Apache-2.0", None),
        Checkpoint(
            "cogvideox-fun", "alibaba-pai/CogVideoX-Fun-V1.1-5b-Pose", "video from poses", COGVIDEOX_LICENCE, 21.1
        ),
        Checkpoint(
            "cogvideox-fun-control", "alibaba-pai/CogVideoX-Fun-V1.1-5b-Control", "video from control videos",
            COGVIDEOX_LICENCE, 21.1,
        ),
        Checkpoint("cogvideox-2b", "zai-org/CogVideoX-2b", "video from words", "Apache-2.0", 13.3),
        Checkpoint("cogvideox-5b", "zai-org/CogVideoX-5b", "video from words", COGVIDEOX_LICENCE, 21.1),
    )
}  # fmt: skip
GROUPS = {"public": ("grounding-dino", "sam2", "depth-anything", "vitpose")}
"""Several by one name."""


def weights_folder() -> Path:
    """The one folder that fetched models lie in: $KINEMA_WEIGHTS, else ~/.cache/kinema."""
    return Path(os.environ.get("KINEMA_WEIGHTS") or Path.home() / ".cache" / "kinema")


def fetched(name: str) -> Path | None:
    """Where a checkpoint lies that `kinema fetch` brought whole into the one folder; None where it is not there."""
    folder = weights_folder() / name
    return folder if (folder / RECORD).is_file() else None


def checkpoints_of(name: str) -> list[Checkpoint]:
    """The checkpoints of a name or a group. Raises InputError for an unknown one."""
    names = GROUPS.get(name, (name,))
    if not set(names) <= set(CHECKPOINTS):
        raise InputError("name", f"is {name!r}", "one of " + ", ".join((*GROUPS, *CHECKPOINTS)))
    return [CHECKPOINTS[one] for one in names]


def model_folder(folder: str | Path, name: str) -> Path:
    """The folder of a model in transformers' or diffusers' layout. Raises InputError where it holds none."""
    folder = Path(folder)
    if not (folder / "config.json").is_file() and not (folder / "model_index.json").is_file():
        problem = "holds no model" if folder.is_dir() else "does not exist"
        raise InputError(folder, problem, f"the folder of {name}, with config.json and safetensors", how_to_fetch(name))
    if not any(folder.rglob("*.safetensors")):
        raise InputError(folder, "holds no weights in safetensors", f"those of {name}", how_to_fetch(name))
    return folder


def how_to_fetch(name: str) -> str:
    """ "kinema fetch sam2 (facebook/sam2.1-hiera-large, Apache-2.0, 0.9 GB)"."""
    known = CHECKPOINTS.get(name)
    size = f", {known.size_gb:g} GB" if known and known.size_gb else ""
    return f"kinema fetch {name}" + (f" ({known.repository}, {known.licence}{size})" if known else "")


def fetch(checkpoint: Checkpoint, folder: str | Path) -> Path:
    """Bring a checkpoint from the hub into `folder`/NAME, or what is missing of it there; -> that folder.

    A fetch that was stopped goes on where it was. Every weight file is compared with its hash. Raises InputError where
    there is no way to the hub, it is told to stay offline, the checkpoint is gated, there is too little room, or a hash is
    another.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    target = Path(folder) / checkpoint.name
    page = f"https://huggingface.co/{checkpoint.repository}"
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            checkpoint.name, "is not fetched: HF_HUB_OFFLINE is set", f"its files in {target}",
            f"unset HF_HUB_OFFLINE, or copy {page} there",
        )  # fmt: skip
    unwanted = [*UNWANTED, *checkpoint.unwanted]
    try:
        info = huggingface_hub.HfApi().model_info(checkpoint.repository, files_metadata=True)
        files = _wanted(info, unwanted)
        _check_room(checkpoint, target, sum(size for size, _ in files.values()))
        target.mkdir(parents=True, exist_ok=True)
        huggingface_hub.snapshot_download(
            checkpoint.repository, revision=info.sha, local_dir=target, allow_patterns=list(WANTED),
            ignore_patterns=unwanted,
        )  # fmt: skip
    except GatedRepoError as error:
        raise InputError(
            checkpoint.name, f"is gated: {checkpoint.licence}", "an account that has agreed to it",
            f"agree at {page}, then hf auth login, then the same command again",
        ) from error  # fmt: skip
    except RepositoryNotFoundError as error:
        raise InputError(checkpoint.name, f"is not at {page}, or only for some", mend="hf auth login") from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            checkpoint.name, f"could not be fetched ({_first_line(error)})", f"a way to {page}",
            "the same command again goes on where this one stopped",
        ) from error  # fmt: skip
    except Exception as error:
        # The hub's client lets its HTTP library's own errors through, and has changed that library twice.
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore", "requests"):
            raise
        raise InputError(
            checkpoint.name, f"could not be fetched ({_first_line(error)})", f"a way to {page}",
            "the same command again goes on where this one stopped",
        ) from error  # fmt: skip
    hashes = {name: checkpoint.sha256.get(name, stated) for name, (_, stated) in files.items()}
    _check_files(checkpoint, target, {name: value for name, value in hashes.items() if value})
    with atomic_path(target / RECORD) as temporary:
        record = {"repository": checkpoint.repository, "revision": info.sha, "sha256": hashes}
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    return target


def _wanted(info: Any, unwanted: list[str]) -> dict[str, tuple[int, str | None]]:
    """Weight file -> its bytes and the SHA-256 that the hub states."""
    from fnmatch import fnmatch

    files: dict[str, tuple[int, str | None]] = {}
    for entry in info.siblings or []:
        if entry.rfilename.endswith(".safetensors") and not any(fnmatch(entry.rfilename, p) for p in unwanted):
            files[entry.rfilename] = (entry.size or 0, entry.lfs.sha256 if entry.lfs else None)
    if not files:
        raise InputError(info.id, "has no weights in safetensors", "a repository that does; pickles are not read")
    return files


def _check_room(checkpoint: Checkpoint, target: Path, wanted: int) -> None:
    existing = next(p for p in (target, *target.parents) if p.exists())
    here = sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) if target.is_dir() else 0
    room = shutil.disk_usage(existing).free
    if wanted - here > room:
        raise InputError(
            target, f"has room for {room / 1e9:.1f} GB", f"{(wanted - here) / 1e9:.1f} GB for {checkpoint.name}",
            "--folder DIR on a larger disk",
        )  # fmt: skip


def _check_files(checkpoint: Checkpoint, target: Path, hashes: Mapping[str, str]) -> None:
    for name, expected in hashes.items():
        found = sha256(target / name) if (target / name).is_file() else "missing"
        if found != expected:
            (target / name).unlink(missing_ok=True)
            raise InputError(
                target / name, f"has the SHA-256 {found}", expected, f"it was removed: kinema fetch {checkpoint.name}"
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
