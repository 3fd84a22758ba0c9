"""The verb of blind A/B votes: study."""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from kinema.console import option, say

if TYPE_CHECKING:
    from kinema.studio.votes import Preference


def study(
    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="FOLDER...", help_behavior_hint="")] = (),
    out: Annotated[Path | None, option("DIR")] = None,
    results: Annotated[Path | None, option("DIR")] = None,
    json: bool = False,
    port: Annotated[int, arg(metavar="N")] = 7861,
    host: Annotated[str, arg(metavar="NAME")] = "127.0.0.1",
    user: Annotated[str, arg(metavar="NAME")] = "kinema",
) -> None:
    """Have people vote, blindly, which of two videos is better; and count the votes.

    $ kinema study ours/ baseline/ --out votes/
    $ kinema study --results votes/
    $ KINEMA_STUDIO_PASSWORD=... kinema study ours/ theirs/ baseline/ --out votes/ --host 0.0.0.0

    A page shows videos of the same file name side by side, on random sides and in random order, and asks what the papers
    asked: motion consistency, amount of motion, realism, occlusion. Who stops goes on later. Needs pip install
    "kinema[studio]". docs/study.md tells more.

    Args:
        folders: folders of .mp4 files, one a method, which is called as its folder; the same name is the same prompt
        out: where the votes are kept; the same command goes on with them
        results: the votes of a study, counted
        json: print the results as JSON
        port: where the page listens
        host: by default this machine alone; for others the environment must hold KINEMA_STUDIO_PASSWORD
        user: the name that goes with the password
    """
    from kinema.errors import InputError
    from kinema.studio.votes import make_pairs, preferences

    if results is not None:
        rows = preferences(results)
        if json:
            sys.stdout.write(json_format.dumps([asdict(row) for row in rows], indent=2) + "\n")
        elif rows:
            Console().print(*as_tables(rows))
        else:
            say("no votes yet")
        return
    if out is None:
        raise InputError("--out", "is missing", "where the votes are kept", "--out DIR, or --results DIR")
    from kinema.studio.app import Settings

    settings = Settings(out, host, port, user, os.environ.get("KINEMA_STUDIO_PASSWORD"))
    pairs = make_pairs(folders, out)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError("the study", "needs gradio", mend='pip install "kinema[studio]"') from error
    from kinema.studio.study import serve_study

    methods = sorted({method for pair in pairs for method in (pair.method_a, pair.method_b)})
    say(f"{len(pairs)} pairs of {', '.join(methods)}")
    say(f"The study is at http://{'localhost' if host == '127.0.0.1' else host}:{port}  (control-C ends it)")
    say(f"The votes so far: kinema study --results {out}")
    serve_study(settings, pairs)


def as_tables(rows: Sequence[Preference]) -> list[Table]:
    """One table for two methods, narrow enough for a terminal; one row a question."""
    tables: dict[tuple[str, str], Table] = {}
    for row in rows:
        methods = row.method_a, row.method_b
        if methods not in tables:
            tables[methods] = Table(title=f"{row.method_a} preferred to {row.method_b}, with 95 % intervals")
            for name in ("question", "preferred", "95 %", "votes", "neither", "pairs", "voters"):
                tables[methods].add_column(name, justify="left" if name == "question" else "right", no_wrap=True)
        counts = (str(n) for n in (row.votes, row.none, row.pairs, row.voters))
        share = "-" if row.votes == 0 else f"{row.share_a:.1%}"
        tables[methods].add_row(row.question, share, f"{row.low:.1%} - {row.high:.1%}", *counts)
    return list(tables.values())
