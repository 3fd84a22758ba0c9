"""Whether this installation can do its work: one row for each thing it needs, with what to do where it is amiss.

Input: nothing but the machine. Output: `Check` rows; `kinema doctor` prints them. With a preset: how much memory it takes.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

CACHE_MEND = "export NUMBA_CACHE_DIR=<a folder of yours that can be written>"
TORCH_VERSION = "2.13.0"
"""The torch that kinema is tested with; the same as in constraints.txt."""
FREE_DISK_BYTES = 1 << 30
"""Room for an hour of control video at 1024x576, by a wide margin."""
DECODER, ENCODER = "h264", "libx264"


@dataclass(frozen=True)
class Check:
    """One row. ok: as it should be; note: works, with less comfort; bad: something will fail. mend: what to do."""

    name: str
    state: Literal["ok", "note", "bad"]
    found: str
    mend: str = ""


def checks(folder: Path) -> Iterator[Check]:
    """Every check in turn; `folder` is where results would be written."""
    yield _python()
    yield _torch()
    yield _threads()
    yield _compiler()
    yield _gpu()
    yield _codecs()
    yield from _assets()
    yield _disk(folder)


def as_table(rows: list[Check]) -> Table:
    """Green, yellow and red rows for the terminal."""
    from rich.table import Table

    colour = {"ok": "green", "note": "yellow", "bad": "red"}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(f"[{colour[row.state]}]{row.state}[/]", row.name, row.found, row.mend)
    return table


def memory_values(preset: str, size: tuple[int, int] | None, frames: int | None, model: Path | None) -> dict[str, Any]:
    """What a preset is expected to take at the peak, in bytes, by memory preset; on the CPU too; and what is free here.

    Raises InputError for what the preset cannot make.
    """
    from dataclasses import replace

    from kinema.enough_memory import find, free_memory, job_of, needs
    from kinema.errors import InputError

    if frames is not None and frames < 1:
        raise InputError("frames", f"are {frames}", "1 or more")
    chosen, free = find(preset), free_memory()
    if model is not None:
        chosen = replace(chosen, folder=model)
    memory: dict[str, Any] = {}
    for on_gpu in (True, False):
        job = job_of(chosen, size, frames, on_gpu)
        for name, need in needs(job, on_gpu).items():
            fits = free.holds(need) and (free.gpu is not None) == on_gpu
            memory[name if on_gpu else "cpu"] = {
                "gpu": need.gpu, "host": need.host, "numbers": str(job.dtype).removeprefix("torch."),
                "peak_at": need.peak_at, "fits_here": fits,
            }  # fmt: skip
    return {
        "preset": preset, "size": list(job.size), "frames": job.frames, "free": {"gpu": free.gpu, "host": free.host},
        "memory": memory,
    }  # fmt: skip


def memory_table(values: dict[str, Any]) -> Table:
    """The same for the terminal."""
    from rich.table import Table

    def gib(count: int | None) -> str:
        return "" if not count else f"{count / (1 << 30):.1f}"

    free = values["free"]
    here = "no GPU" if free["gpu"] is None else f"{gib(free['gpu'])} GiB free on the GPU"
    width, height = values["size"]
    table = Table(
        box=None, padding=(0, 2, 0, 0), header_style="bold", title_justify="left", caption_justify="left",
        title=f"{values['preset']}: clips of {values['frames']} frames at {width}x{height}",
        caption=f"Expected at the peak, in GiB; computed, not measured on a GPU. Here: {here}, {gib(free['host'])} GiB "
        "free on the host.",
    )  # fmt: skip
    for heading in ("--memory", "GPU", "host", "numbers", "most while", "fits here"):
        table.add_column(heading, justify="right" if heading in ("GPU", "host") else "left")
    for name, row in values["memory"].items():
        fits = "[green]yes[/]" if row["fits_here"] else "[yellow]no[/]"
        label = "without a GPU" if name == "cpu" else name
        table.add_row(label, gib(row["gpu"]), gib(row["host"]), row["numbers"], row["peak_at"], fits)
    return table


def _python() -> Check:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check("python", "ok", found)


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch", "bad", f"cannot be imported ({error})", f"pip install torch=={TORCH_VERSION}")
    if torch.__version__.partition("+")[0] != TORCH_VERSION:
        mend = f"kinema is tested with {TORCH_VERSION}: pip install torch=={TORCH_VERSION}"
        return Check("torch", "note", torch.__version__, mend)
    return Check("torch", "ok", torch.__version__)


def _threads() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        import numba
        import torch
    except (ImportError, OSError) as error:
        return Check("threads", "bad", str(error), "pip install numba torch")
    threads = {"torch": torch.get_num_threads(), "numba": numba.get_num_threads()}
    found = f"{cores} cores; " + ", ".join(f"{name} uses {count}" for name, count in threads.items())
    if min(threads.values()) < max(1, cores // 2):
        return Check("threads", "note", found, "unset OMP_NUM_THREADS and NUMBA_NUM_THREADS to use all cores")
    return Check("threads", "ok", found)


def _compiler() -> Check:
    try:
        import numba

        import kinema.body.lbs_kernels  # noqa: F401, which is compiled, or read from where it was kept
    except ImportError as error:
        return Check("compiler", "bad", str(error), "pip install numba")
    except RuntimeError:
        return Check("compiler", "bad", "numba has nowhere to keep what it compiles", CACHE_MEND)
    return Check("compiler", "ok", f"numba {numba.__version__}")


def _gpu() -> Check:
    try:
        import torch
    except (ImportError, OSError):
        return Check("gpu", "note", "unknown without torch")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return Check("gpu", "ok", f"{torch.cuda.get_device_name()}, {free >> 30} of {total >> 30} GiB free")
    return Check("gpu", "ok", "none; everything runs on the CPU")


def _codecs() -> Check:
    try:
        import av
        from av.codec import Codec
    except (ImportError, OSError) as error:
        return Check("video", "bad", f"PyAV cannot be imported ({error})", "pip install --force-reinstall av")
    found = f"PyAV {av.__version__}, {DECODER} decoder, {ENCODER} encoder"
    try:
        Codec(DECODER, "r")
        Codec(ENCODER, "w")
    except ValueError as error:
        return Check("video", "bad", f"PyAV {av.__version__}: {error}", "pip install --only-binary av av")
    return Check("video", "ok", found)


def _assets() -> Iterator[Check]:
    """Shipped files against `assets/manifest.json`, which `scripts/update_asset_manifest.py` writes."""
    from kinema.checkpoints import ASSETS, sha256

    mend = "install kinema anew; in a checkout: git checkout -- src/kinema/assets"
    manifest = ASSETS / "manifest.json"
    if not manifest.is_file():
        yield Check("assets", "bad", f"{manifest} is missing", mend)
        return
    for file, entry in json.loads(manifest.read_text()).items():
        path = ASSETS / file
        if not path.is_file():
            yield Check(file, "bad", "is missing", mend)
        elif (found := sha256(path)) != entry["sha256"]:
            yield Check(file, "bad", f"sha256 {found[:12]}, not {entry['sha256'][:12]}", mend)
        else:
            megabytes = path.stat().st_size / 1e6
            yield Check(file, "ok", f"{megabytes:.1f} MB, sha256 {found[:12]}, {entry['licence']}")


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free in {folder}"
    if free < FREE_DISK_BYTES:
        return Check("disk", "bad", found, "make room: videos are written beside your results")
    return Check("disk", "ok", found)
