"""What is to be annotated: a folder, a list of files or URLs, or webdataset shards -> sources, each with its own key.

Beside a video may lie NAME.txt with its caption, and NAME.json with "caption", "licence", "source" and "fps"; a list is a
.txt with a path or URL a line, or a .jsonl with "video", "caption", "licence" and "source"; a shard holds the same files as
KEY.mp4, KEY.txt, KEY.json. What cannot be used stops the run before any work is done, or is skipped and counted.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kinema.annotate.record import Source
from kinema.annotate.shards import grouped, read_piece
from kinema.checkpoints import sha256
from kinema.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
FPS_TOLERANCE = 0.02
"""A stated frame rate is wrong where the file's differs by more than this share; 30 for 29.97 is not."""
_URL = re.compile(r"https?://", re.IGNORECASE)
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
"""What a key may not have: webdataset ends a key at its first dot."""
Bad = Literal["stop", "skip"]
Captions = Literal["needed", "made"]


@dataclass(frozen=True)
class Inputs:
    """Sources in order, and what was skipped: where, and why."""

    sources: tuple[Source, ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Found:
    """Something that may become a source; where: for errors."""

    where: str
    source: Source
    fps: float | None = None


def find_sources(src: str | Path, bad: Bad = "stop", captions: Captions = "needed") -> Inputs:
    """All sources of a folder, file, list, shard or URL.

    bad       stop: raise at the first thing that cannot be used; skip: leave it out and say so in the answer
    captions  needed: a source without a caption cannot be used
    Raises InputError where there is nothing at all, and with bad = "stop" for an empty or cut-off shard, a key that comes
    twice, a missing caption, a wrong frame rate, a file that is not there, an unreadable .json.
    """
    skipped: list[tuple[str, str]] = []
    sources: dict[str, Source] = {}
    contents: dict[str, str] = {}

    def refuse(error: InputError) -> None:
        if bad == "stop":
            raise InputError(error.where, error.problem, error.expected, error.mend or "or skip it: --bad skip")
        skipped.append((error.where, error.problem))

    for found in _found(str(src), refuse):
        try:
            source = _checked(found, captions)
            if source.key in sources:
                other = sources[source.key].origin
                raise InputError(found.where, f"has the key {source.key!r}, as {other} has", "a key of its own")
            source = _hashed(source)
        except InputError as error:
            refuse(error)
            continue
        sources[source.key] = source
        if source.sha256 in contents:
            skipped.append((found.where, f"is the same video as {contents[source.sha256]}"))
            del sources[source.key]
        else:
            contents[source.sha256] = source.key
    if not sources and not skipped:
        raise InputError(src, "holds no videos", "a folder of " + ", ".join(VIDEO_SUFFIXES) + ", a list, or shards")
    return Inputs(tuple(sources.values()), tuple(skipped))


def _found(src: str, refuse: Callable[[InputError], None]) -> Iterator[_Found]:
    path = Path(src)
    if _URL.match(src):
        yield _of_url(src, {}, src)
    elif path.is_dir():
        shards = sorted(path.glob("*.tar"))
        for shard in shards:
            yield from _in_shard(shard, refuse)
        videos = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
        for video in videos:
            yield from _beside(video, str(video.relative_to(path).with_suffix("")), refuse)
    elif not path.exists():
        raise InputError(src, "does not exist", "a folder, a list (.txt, .jsonl), a shard (.tar), a video, or a URL")
    elif path.suffix.lower() == ".tar":
        yield from _in_shard(path, refuse)
    elif path.suffix.lower() in (".txt", ".jsonl"):
        yield from _in_list(path, refuse)
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        yield from _beside(path, path.stem, refuse)
    else:
        raise InputError(src, "is none of these", "a folder, a list (.txt, .jsonl), a shard (.tar), a video, or a URL")


def _in_list(path: Path, refuse: Callable[[InputError], None]) -> Iterator[_Found]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where, line = f"{path}, line {number}", line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            about = _dictionary(line, where) if path.suffix.lower() == ".jsonl" else {"video": line}
            video = about.get("video")
            if not isinstance(video, str):
                raise InputError(where, "names no video", '{"video": PATH or URL, "caption": ...}')
            if _URL.match(video):
                yield _of_url(video, about, where)
                continue
            place = path.parent / video
            if not place.is_file():
                raise InputError(where, f"names {video}, which does not exist", f"a file, seen from {path.parent}")
            for found in _beside(place, str(Path(video).with_suffix("")), refuse):
                yield _told(found, about, where)
        except InputError as error:
            refuse(error)


def _of_url(url: str, about: dict[str, Any], where: str) -> _Found:
    name = url.split("?")[0].rstrip("/").rpartition("/")[2]
    digest = hashlib.sha256(url.encode()).hexdigest()
    suffix = Path(name).suffix.lower()
    key = f"{_key(Path(name).stem)}-{digest[:8]}"
    source = Source(key, url, digest, origin=url, suffix=suffix if suffix in VIDEO_SUFFIXES else ".mp4")
    return _told(_Found(where, source), about, where)


def _beside(video: Path, name: str, refuse: Callable[[InputError], None]) -> Iterator[_Found]:
    try:
        caption = video.with_suffix(".txt")
        text = caption.read_text(encoding="utf-8") if caption.is_file() else None
        about = video.with_suffix(".json")
        told = _dictionary(about.read_text(encoding="utf-8"), str(about)) if about.is_file() else {}
        source = Source(_key(name), str(video.resolve()), "", origin=video.name, suffix=video.suffix.lower())
        yield _told(_Found(str(video), source), {"caption": text} | told, str(video))
    except InputError as error:
        refuse(error)


def _in_shard(path: Path, refuse: Callable[[InputError], None]) -> Iterator[_Found]:
    count = 0
    try:
        for key, members in grouped(path):
            count += 1
            where = f"{path}, key {key!r}"
            try:
                found = next((s for s in VIDEO_SUFFIXES if s[1:] in members), None)
                if found is None:
                    raise InputError(where, "has no video", "one of " + ", ".join(VIDEO_SUFFIXES))
                told = _dictionary(_text(path, members["json"]), where) if "json" in members else {}
                if "schema" in told and "stages" in told:
                    raise InputError(
                        where, f"is annotated already (schema {told['schema']})", "videos with captions",
                        "kinema.annotate.shards.read_clips reads it",
                    )  # fmt: skip
                caption = _text(path, members["txt"]) if "txt" in members else None
                offset, size = members[found[1:]]
                source = Source(_key(key), str(path.resolve()), "", None, "", f"{path.name}/{key}", offset, size, found)
                yield _told(_Found(where, source), {"caption": caption} | told, where)
            except InputError as error:
                refuse(error)
        if not count:
            raise InputError(path, "is an empty shard", "at least one video")
    except InputError as error:
        refuse(error)


def _text(path: Path, place: tuple[int, int]) -> str:
    return read_piece(path, *place).decode("utf-8", "replace")


def _key(name: str) -> str:
    return _UNFIT.sub("_", name).strip("_") or "video"


def _dictionary(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(where, f"is no JSON ({error})", '{"caption": ..., "licence": ...}') from error
    if not isinstance(content, dict):
        raise InputError(where, "is no JSON object", '{"caption": ..., "licence": ...}')
    return content


def _told(found: _Found, about: dict[str, Any], where: str) -> _Found:
    """With the caption, licence, source and frame rate that are stated; what is not stated stays as it was."""
    source, caption = found.source, about.get("caption")
    source = replace(
        source,
        caption=source.caption if caption is None else str(caption).strip() or None,
        licence=str(about.get("licence") or about.get("license") or source.licence),
        origin=str(about.get("source") or source.origin),
    )
    fps = about.get("fps", found.fps)
    if fps is not None and not (isinstance(fps, int | float) and 0 < fps <= 1000):
        raise InputError(where, f"says that it has {fps!r} frames a second", "a number above 0, at most 1000")
    return replace(found, where=where, source=source, fps=fps)


def _checked(found: _Found, captions: Captions) -> Source:
    source = found.source
    if captions == "needed" and source.caption is None:
        raise InputError(found.where, "has no caption", "NAME.txt beside it, or a list or shard with captions",
                         "give captions, have them made (--captions made), or skip it (--bad skip)")  # fmt: skip
    if found.fps is None:
        return source
    if _URL.match(source.location):
        return replace(source, stated_fps=found.fps)
    check_rate(found.fps, _rate_of(source, found.where), found.where)
    return source


def check_rate(stated: float, true: float, where: str) -> None:
    """Raises InputError where a video's own frame rate is another than what is said of it."""
    if abs(stated / true - 1) > FPS_TOLERANCE:
        raise InputError(where, f"says that it has {stated:g} frames a second", f"{true:g}, as its video")


def _rate_of(source: Source, where: str) -> float:
    import av
    from av.error import FFmpegError

    piece = read_piece(source.location, source.offset, source.size) if source.size else None
    try:
        with av.open(io.BytesIO(piece) if piece is not None else source.location) as container:
            stream = container.streams.video[0]
            return float(stream.average_rate or stream.guessed_rate or 0) or 25.0
    except (FFmpegError, IndexError) as error:
        raise InputError(where, f"is no video ({error})", "a video file, such as .mp4") from error


def _hashed(source: Source) -> Source:
    """With the hash of the video's bytes; a URL has that of its address."""
    if source.sha256:
        return source
    if source.size:
        piece = read_piece(source.location, source.offset, source.size)
        return replace(source, sha256=hashlib.sha256(piece).hexdigest())
    return replace(source, sha256=sha256(source.location))
