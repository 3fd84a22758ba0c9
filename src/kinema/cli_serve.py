"""The verb of the HTTP service on many machines: serve."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from kinema.console import option, say, working


def serve(
    ray: Annotated[str, arg(metavar="local|auto|HOST:PORT")],
    preset: Annotated[str, arg(metavar="NAME")] = "mini-svd",
    model: Annotated[Path | None, option("FOLDER", "default: the preset's")] = None,
    replicas: Annotated[int | None, option("N", "default: one a GPU")] = None,
    waiting: Annotated[int, arg(metavar="N")] = 20,
    host: Annotated[str, arg(metavar="NAME")] = "127.0.0.1",
    port: Annotated[int, arg(metavar="N")] = 8000,
) -> None:
    """Serve kinema generate over HTTP, on as many machines as a Ray cluster has.

    $ kinema serve --ray local --replicas 2
    $ kinema serve --ray auto --preset vace-1.3b --model /models/Wan2.1-VACE-1.3B-diffusers
    $ curl localhost:8000/health

    POST /jobs takes a picture and a prompt and answers with an id; docs/serve.md has an example. Where the queue is full it
    answers 503. Needs pip install "kinema[serve]". Control-C takes the service down.

    Args:
        ray: local starts Ray on this machine; auto, or HOST:PORT, takes a cluster that runs
        preset: which model: mini-svd comes with kinema, the others with --model (docs/backbones.md)
        model: a model folder as diffusers lays it out, at the same place on every machine
        replicas: copies of the model, each on a GPU of its own, or on a core where there are no GPUs
        waiting: jobs that may wait; more are refused
        host: by default this machine alone; for others the environment must hold KINEMA_SERVE_TOKEN
        port: where it listens
    """
    from kinema.errors import InputError
    from kinema.studio.serve import Service, start, stop

    service = Service(preset, model, replicas, waiting, host, port, os.environ.get("KINEMA_SERVE_TOKEN"))
    from kinema.presets import find_preset

    find_preset(preset, model)
    try:
        from ray import serve as _  # noqa: F401
    except ImportError as error:
        raise InputError("the service", "needs Ray Serve", mend='pip install "kinema[serve]"') from error
    try:
        with working("starting"):
            count = start(service, ray)
        say(f"http://{host}:{port}/jobs: {preset}, {count} at a time, {waiting} may wait  (control-C ends it)")
        while True:
            time.sleep(3600)
    finally:
        stop()
