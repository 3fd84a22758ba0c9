"""The index: one Parquet table with a row for every clip and every video that was not cut, kept or not.

Columns: docs/annotate.md. The schema's version and the recipe are in the table's metadata; equal runs give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinema.annotate.ledger import Ledger, clip_id, source_id
from kinema.annotate.record import KEPT, SCHEMA, Source
from kinema.atomic import atomic_path
from kinema.errors import InputError

NEEDED = "pip install 'kinema[annotate]'"


def write_index(ledger: Ledger, plan: list[tuple[int, Source]]) -> None:
    """Write `index.parquet` of everything that is done."""
    pa, parquet = _arrow()
    rows = list(rows_of(ledger, plan))
    text, number = pa.string(), pa.int32()
    schema = pa.schema(
        [
            ("key", text), ("outcome", text), ("stage", text), ("reason", text), ("shard", text), ("source", text),
            ("licence", text), ("sha256", text), ("caption", text), ("made_caption", pa.bool_()), ("fps", pa.float64()),
            ("first_frame", number), ("end_frame", number), ("frames", number), ("height", number), ("width", number),
            ("labels", pa.list_(text)), ("categories", pa.list_(text)), ("bytes", pa.int64()),
            ("quality", pa.map_(text, pa.float64())),
        ],
        metadata={"kinema.schema": str(SCHEMA), "kinema.settings": json.dumps(_settings(ledger), sort_keys=True)},
    )  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=schema)
    with atomic_path(ledger.out / "index.parquet") as temporary:
        parquet.write_table(table, temporary)


def read_index(out: str | Path) -> list[dict[str, Any]]:
    """The rows of a folder's index. Raises InputError for one that is missing, or of another schema."""
    _, parquet = _arrow()
    path = Path(out) / "index.parquet"
    if not path.is_file():
        raise InputError(path, "does not exist", "the index that kinema annotate writes at its end")
    table = parquet.read_table(path)
    found = (table.schema.metadata or {}).get(b"kinema.schema", b"none").decode()
    if found != str(SCHEMA):
        raise InputError(path, f"is of schema {found}", f"schema {SCHEMA}, which this kinema writes and reads")
    return [row | {"quality": dict(row["quality"])} for row in table.to_pylist()]


def rows_of(ledger: Ledger, plan: list[tuple[int, Source]]) -> Iterator[dict[str, Any]]:
    """In the order of the plan: of each video its clips, or its own row where it was not cut."""
    for group, source in plan:
        video = ledger.outcome(source_id(source))
        if video is None:
            continue
        about = {"source": source.origin or source.key, "licence": source.licence, "sha256": source.sha256}
        if video["outcome"] != KEPT:
            yield about | _row(video, "")
        for number in range(len(video["shots"])):
            row = ledger.outcome(clip_id(source, number))
            if row is not None:
                yield about | _row(row, f"clips-{group:05d}.tar" if row["outcome"] == KEPT else "")


def _row(outcome: dict[str, Any], shard: str) -> dict[str, Any]:
    frames, height, width = outcome.get("size") or (outcome["end_frame"] - outcome["first_frame"], 0, 0)
    same = ("key", "outcome", "stage", "reason", "caption", "made_caption", "fps", "first_frame", "end_frame", "labels",
            "categories")  # fmt: skip
    return {name: outcome[name] for name in same} | {
        "shard": shard, "frames": frames, "height": height, "width": width, "bytes": outcome.get("bytes", 0),
        "quality": sorted(outcome["quality"].items()),
    }  # fmt: skip


def _settings(ledger: Ledger) -> object:
    return json.loads((ledger.out / "annotate.json").read_text())["settings"]


def check_libraries() -> None:
    """Raises InputError where what the whole run needs is not installed."""
    _arrow()
    try:
        import scenedetect  # noqa: F401
    except ImportError as error:
        raise InputError("scenedetect", "is not installed, and cuts need it", "it", NEEDED) from error


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("pyarrow", "is not installed, and the index needs it", "it", NEEDED) from error
    return pyarrow, pyarrow.parquet
