"""Shards of annotated clips: webdataset tars with equal bytes for equal clips, and their readers.

A shard is a plain tar; the files of a clip lie one after the other, named KEY.SUFFIX. Nothing in it tells when or by whom
it was written.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from kinema.annotate.codec import clip_of
from kinema.annotate.record import AnnotatedClip
from kinema.atomic import atomic_path
from kinema.errors import InputError

SHARD_GLOB = "clips-*.tar"


def write_shard(path: str | Path, clips: Iterable[tuple[str, Mapping[str, bytes]]]) -> int:
    """Write clips as (key, bytes by suffix), whole or not at all; -> how many. Raises InputError for a key twice."""
    seen: set[str] = set()
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in clips:
            if key in seen:
                raise InputError(f"{path}, key {key!r}", "is there twice", "keys of their own")
            seen.add(key)
            for suffix, data in members.items():
                about = tarfile.TarInfo(f"{key}.{suffix}")
                about.size, about.mode = len(data), 0o444
                tar.addfile(about, io.BytesIO(data))
    return len(seen)


def read_members(
    path: str | Path, choose: Callable[[int], bool] | None = None
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, bytes by suffix) of a shard's clips, in order; with `choose` only those whose number it takes.

    Others are passed over without reading them. Raises InputError where the shard is empty, cut off, or has a key twice.
    """
    seen: set[str] = set()
    for number, (key, members) in enumerate(grouped(path)):
        if key in seen:
            raise InputError(f"{path}, key {key!r}", "is there twice", "keys of their own")
        seen.add(key)
        if choose is None or choose(number):
            yield key, {suffix: read_piece(path, *place) for suffix, place in members.items()}
    if not seen:
        raise InputError(path, "is an empty shard", "at least one clip")


def read_piece(path: str | Path, offset: int, size: int) -> bytes:
    """Some of a file's bytes."""
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(size)


def grouped(path: str | Path) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """(key, for each suffix at which byte its file lies, and its size) of a tar's groups of files, in order.

    A key is what comes before the first dot of a file's name. Raises InputError where the tar cannot be read, is cut off
    (with the key at which it is), or has a file twice.
    """
    key, members = "", {}
    size = Path(path).stat().st_size if Path(path).is_file() else 0
    try:
        with tarfile.open(path, "r:") as tar:
            for about in tar:
                if not about.isfile():
                    continue
                folder, _, name = about.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                now = f"{folder}/{stem}" if folder else stem
                if now != key and members:
                    yield key, members
                    members = {}
                key = now
                if about.offset_data + about.size > size:
                    raise _cut_off(path, now)
                if suffix.lower() in members:
                    raise InputError(f"{path}, key {key!r}", f"has two files .{suffix}", "one of each kind")
                members[suffix.lower()] = about.offset_data, about.size
    except FileNotFoundError as error:
        raise InputError(path, "does not exist", "a shard (.tar)") from error
    except (tarfile.ReadError, EOFError) as error:
        if size and key:
            raise _cut_off(path, key) from error
        raise InputError(path, "is empty" if not size else f"is no tar ({error})", "a shard (.tar)") from error
    if members:
        yield key, members


def _cut_off(path: str | Path, key: str) -> InputError:
    return InputError(f"{path}, key {key!r}", "is where the shard is cut off", "a whole shard", "copy it once more")


def shard_paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """A folder's shards in order, or those that are named. Raises InputError where there is none."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found = [p for one in map(Path, given) for p in (sorted(one.glob(SHARD_GLOB)) if one.is_dir() else [one])]
    if not found:
        where = ", ".join(map(str, given)) or "paths"
        raise InputError(where, "holds no shards", SHARD_GLOB, "kinema annotate SRC --out DIR writes them")
    return found


def read_clips(
    paths: str | Path | Sequence[str | Path],
    *,
    rank: int = 0,
    world: int = 1,
    worker: int = 0,
    workers: int = 1,
    on_bad: Callable[[InputError], object] | None = None,
) -> Iterator[AnnotatedClip]:
    """The clips of shards, in order: this worker's share, so that all workers together read each clip once.

    paths   a folder that `kinema annotate` wrote, or shards
    rank    of `world` processes, and worker of `workers` within it. Where there are as many shards as readers each takes
            whole shards; else each takes every n-th clip
    on_bad  called with what is wrong with a clip or a shard that is then left out, to be counted; None: it is raised
    Raises InputError where there is no shard, one is empty or cut off, a key comes twice in a shard, or a clip is of
    another schema or damaged.
    """
    shards = shard_paths(paths)
    readers, mine = world * workers, rank * workers + worker
    if not 0 <= mine < readers or not 0 <= worker < workers:
        raise InputError("read_clips", f"is reader {rank}, {worker}", f"of {world} processes with {workers} workers")
    whole = len(shards) >= readers
    before = 0
    for index, shard in enumerate(shards):
        if whole and index % readers != mine:
            continue
        passed = 0

        def choose(number: int, before: int = before) -> bool:
            nonlocal passed
            passed = number + 1
            return whole or (before + number) % readers == mine

        try:
            for key, members in read_members(shard, choose):
                try:
                    clip = clip_of(members, f"{shard}, key {key!r}")
                except InputError as error:
                    if on_bad is None:
                        raise
                    on_bad(error)
                    continue
                yield clip
        except InputError as error:
            if on_bad is None:
                raise
            on_bad(error)
        before += passed
