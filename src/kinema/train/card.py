"""A card beside trained weights: what they were trained on, for how long, by which code, and how well they do.

Input: the run and its settings. Output: OUT.card.json for programs and OUT.card.md to read (card.json and card.md in a
folder). Paths are cut down to their names, so that a card can be published.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import kinema
from kinema.atomic import atomic_path
from kinema.checkpoints import sha256
from kinema.train.checkpoint import CHECKPOINT, LEFT_OUT, plain


def write_card(out: Path, run: Path, task: str, config: Any, data: dict[str, Any]) -> None:
    """Beside the finished weights. `data`: what they were trained on, in numbers and words."""
    from safetensors import safe_open

    lines = (run / "log.jsonl").read_text().splitlines()
    with safe_open(run / CHECKPOINT, "pt") as opened:
        header = opened.metadata()
    files = sorted(out.rglob("*.safetensors")) if out.is_dir() else [out]
    settings = plain(config)
    card = {
        "task": task,
        "kinema": kinema.__version__,
        "commit": commit(),
        "steps": int(header["step"]),
        "seed": config.loop.seed,
        "processes": int(header["processes"]),
        "data": data,
        "metrics": {k: v for k, v in json.loads(lines[-1]).items() if k not in ("step", "data_share")},
        "weights": {path.name: sha256(path) for path in files},
        "settings": {k: v for k, v in settings.items() if k not in LEFT_OUT},
    }
    beside = (lambda suffix: out / f"card{suffix}") if out.is_dir() else (lambda suffix: Path(f"{out}.card{suffix}"))
    with atomic_path(beside(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n")
    with atomic_path(beside(".md")) as temporary:
        temporary.write_text(page(card, out.name))


def of_world(capture: Path | None) -> dict[str, str]:
    """The data of what is trained on the procedural world."""
    return {"source": "the procedural world", "capture": capture.name if capture else "the shipped clips"}


def page(card: dict[str, Any], name: str) -> str:
    """The card in Markdown."""
    lines = [
        f"# {name}",
        "",
        f"Trained by `kinema train {card['task']}` (kinema {card['kinema']}, commit {card['commit']}).",
    ]
    for title, key in (
        ("Data", "data"),
        ("Metrics", "metrics"),
        ("Weights, SHA-256", "weights"),
        ("Settings", "settings"),
    ):
        rows = [f"| {k} | {_short(v)} |" for k, v in _flat(card[key])]
        if key == "metrics":
            rows = [f"| {k} | {card[k]} |" for k in ("steps", "seed", "processes")] + rows
        lines += ["", f"## {title}", "", "| | |", "| --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def commit() -> str:
    """Of the code that runs, with "+" where it was changed since; "unknown" outside of a checkout."""
    here = Path(__file__).parent
    try:
        run = [
            subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "."))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run[0] + ("+" if run[1] else "")


def _flat(value: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    made: list[tuple[str, Any]] = []
    for key, one in value.items():
        made += _flat(one, f"{before}{key}, ") if isinstance(one, dict) else [(f"{before}{key}", one)]
    return made


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "\\|")
