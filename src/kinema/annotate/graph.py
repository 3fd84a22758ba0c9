"""The same stages on Ray Data, on one machine or many; the only file that imports ray.

Input: sources. Output: each of them when its last clip was written. Without a GPU in the cluster every actor does all of a
video on one core. With GPUs there are three operators: videos are cut and decoded on CPUs, looked at by actors that hold the
models on a GPU, fitted and written on CPUs. Ray Data keeps each pool between one actor and what the cluster has
(autoscaling), gives an actor few videos ahead, and holds back what runs ahead of the next operator (back-pressure). A worker
that dies is replaced and its video done again, from what it had written.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kinema.annotate.recipes import Models, Recipe
from kinema.annotate.record import Source
from kinema.annotate.run import Executor
from kinema.annotate.worker import Worker
from kinema.errors import InputError

log = logging.getLogger(__name__)

CPUS, GPUS = 1.0, 1.0
"""Of one actor: arithmetic runs in one thread; a GPU holds the models once."""
MEMORY_BYTES = 2 << 30
"""Of one actor: a clip of 20 s at 512 x 288 with five people, and the models."""
AHEAD = 2
"""Videos that an actor is given at once: the next is there when the one before is done."""
OBJECT_STORE_BYTES = 512 << 20
"""Of a Ray started here, where it is not said (`object_store_bytes`)."""
STARTS = 3
"""How often a Ray is started here before it counts as failed."""
PATIENCE = {"agent_register_timeout_ms": 300_000, "worker_register_timeout_seconds": 300}
"""Of the parts of a Ray started here with each other; its own 30 s and 60 s are too little for a busy machine."""
QUIET = {"logging_level": logging.ERROR, "log_to_driver": False}
NEEDED = "pip install 'kinema[annotate]'"
LOCAL = "local"
ModelsOf = Callable[[Recipe], Models]


def own_models(recipe: Recipe) -> Models:
    return Models(recipe.common)


def on_ray(
    address: str = LOCAL,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    object_store_bytes: int = OBJECT_STORE_BYTES,
    models: ModelsOf = own_models,
) -> Executor:
    """An executor for `run.annotate`.

    address    of a running cluster; "local": one is started here and ends with this process
    num_cpus, num_gpus, object_store_bytes  of the local one; None: all there are
    models     makes the models of an actor
    """

    def executor(sources: list[Source], recipe: Recipe, out: Path) -> Iterator[Source]:
        ray = _ray()
        with _connected(ray, address, num_cpus, num_gpus, object_store_bytes):
            by_key = {source.key: source for source in sources}
            dataset = _graph(ray, sources, recipe, out.resolve(), models)
            for row in dataset.iter_rows():
                yield by_key[row["key"]]

    return executor


def _ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("ray", "is not installed, and --ray needs it", "it", NEEDED) from error
    return ray


@contextmanager
def _connected(ray: Any, address: str, cpus: int | None, gpus: int | None, store: int) -> Iterator[None]:
    """Within, Ray is there; what was begun here ends with it."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    if ray.is_initialized():
        yield
        return
    if address == LOCAL:
        _begin(ray, num_cpus=cpus, num_gpus=gpus, object_store_memory=store)
    else:
        try:
            ray.init(address=address, **QUIET)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError("--ray", f"no cluster answers at {address} ({error})", "local, auto, HOST:PORT") from error
    try:
        yield
    finally:
        ray.shutdown()


def _begin(ray: Any, **resources: int | None) -> None:
    """A Ray on this machine. Where that is busy its helpers may not start within the 15 s that its raylet has for them."""
    for attempt in range(STARTS):
        try:
            # without an address Ray would join what a killed run left word of in /tmp/ray
            ray.init(LOCAL, **resources, include_dashboard=False, _system_config=PATIENCE, **QUIET)
            return
        except Exception as error:  # Ray's own, of no kind of its own
            if "timed out during startup" not in str(error):
                raise
            if attempt == STARTS - 1:
                raise InputError(
                    "--ray", f"Ray did not start within its own time limit, {STARTS} times", "a machine that is less busy",
                    "give the same command again later, or without --ray: it goes on where it was",
                ) from error  # fmt: skip
            log.warning("Ray did not start within its own time limit; once more")


def _graph(ray: Any, sources: list[Source], recipe: Recipe, out: Path, models: ModelsOf) -> Any:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"key": source.key, "source": pickle.dumps(source)} for source in sources]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    there = ray.cluster_resources()
    if not there.get("GPU"):
        operators = [(_whole, {"num_cpus": CPUS})]
    else:
        looker = {"num_gpus": GPUS, "num_cpus": 0}
        operators = [(_cutter, {"num_cpus": CPUS}), (_looker, looker), (_finisher, {"num_cpus": CPUS})]
    memory = min(MEMORY_BYTES, int(there["memory"] / (len(operators) + 1)))  # or a small machine would wait for ever
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=None, max_tasks_in_flight_per_actor=AHEAD)
    for actor, resources in operators:
        actors = actor(recipe, out, models)
        dataset = dataset.map_batches(actors, batch_size=1, compute=pool, memory=memory, **resources)
    return dataset


def _whole(recipe: Recipe, out: Path, models: ModelsOf) -> type:
    class Annotate:
        """All of a video."""

        def __init__(self):
            self.worker = Worker(recipe, out, models(recipe))

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            for source in batch["source"]:
                self.worker.annotate(pickle.loads(source))
            return {"key": batch["key"]}

    return Annotate


def _cutter(recipe: Recipe, out: Path, models: ModelsOf) -> type:
    class Cut:
        """Video -> its clips, each a row; and a last row of the video itself, which only passes through."""

        def __init__(self):
            self.worker = Worker(recipe, out, models(recipe))

        def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
            for key, source in zip(batch["key"], batch["source"], strict=True):
                for record in self.worker.clips(pickle.loads(source)):
                    yield {"key": [key], "record": [pickle.dumps(record, protocol=5)]}
                yield {"key": [key], "record": [b""]}

    return Cut


def _looker(recipe: Recipe, out: Path, models: ModelsOf) -> type:
    class Look:
        """Clips through the stages of the GPU; they come first in both recipes."""

        def __init__(self):
            self.worker = Worker(recipe, out, models(recipe))
            self.stages = [stage for stage in self.worker.stages if stage.gpu]

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            return {"key": batch["key"], "record": [self.look(record) for record in batch["record"]]}

        def look(self, data: bytes) -> bytes:
            if not data:
                return data
            return pickle.dumps(self.worker.run(pickle.loads(data), self.stages, "look"), protocol=5)

    return Look


def _finisher(recipe: Recipe, out: Path, models: ModelsOf) -> type:
    class Finish:
        """Clips through the other stages, and onto the disk."""

        def __init__(self):
            self.worker = Worker(recipe, out, models(recipe))
            self.stages = [stage for stage in self.worker.stages if not stage.gpu]

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            for data in batch["record"]:
                if data:
                    self.worker.finish(self.worker.run(pickle.loads(data), self.stages, "fit"))
            return {"key": batch["key"]}

    return Finish
