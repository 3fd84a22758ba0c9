"""The verb of the web page: studio."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from kinema.console import say


def studio(
    port: Annotated[int, arg(metavar="N")] = 7860,
    host: Annotated[str, arg(metavar="NAME")] = "127.0.0.1",
    folder: Annotated[Path, arg(metavar="DIR")] = Path("kinema-studio"),
    user: Annotated[str, arg(metavar="NAME")] = "kinema",
) -> None:
    """Open the studio, a web page on this machine: draw, drag, look, mend, compare.

    $ kinema studio
    $ kinema studio --port 8000 --folder ~/films
    $ KINEMA_STUDIO_PASSWORD=... kinema studio --host 0.0.0.0

    Nothing leaves the machine. Results stay in the folder. Needs pip install "kinema[studio]".

    Args:
        port: where the page listens
        host: by default this machine alone; for others the environment must hold KINEMA_STUDIO_PASSWORD
        folder: where results lie, one folder each
        user: the name that goes with the password
    """
    from kinema.errors import InputError
    from kinema.studio.app import Settings, serve

    settings = Settings(folder, host, port, user, os.environ.get("KINEMA_STUDIO_PASSWORD"))
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError("the studio", "needs gradio", mend='pip install "kinema[studio]"') from error
    say(f"The studio is at http://{'localhost' if host == '127.0.0.1' else host}:{port}  (control-C ends it)")
    say(f"Results: {folder.resolve()}")
    serve(settings)
