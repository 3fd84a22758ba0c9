"""What the three stages made, kept in a folder: reused where nothing it depends on has changed, editable, to look at.

coarse.npz, coarse.mp4      stage 1's frames, and the same to look at
scene.npz                   what stage 2 saw          overlay.mp4  that, drawn over the coarse video
refined.npz                 after the motion prior    parts.mp4    its part masks
control.mp4                 the control video of stage 3, where the model follows one
final.npz, final.mp4        stage 3's frames
sheet.png                   all of it side by side    result.json  seed, preset, weights, seconds
stages.json                 of each file the key that it was made under
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinema.atomic import atomic_path
from kinema.errors import InputError
from kinema.motion_io.scene import load_scene, save_scene
from kinema.reinforce.parallel import is_first
from kinema.types import Scene, Video

if TYPE_CHECKING:
    from kinema.revision import GenerationResult

TAKEN = {1: (), 2: ("scene",), 3: ("scene", "refined")}
"""By the stage that a run starts from: what is taken from the folder as it lies there."""


class Stages:
    """A folder of intermediates, or none (then everything is made anew)."""

    def __init__(self, folder: Path | None, from_stage: int = 1):
        if from_stage not in TAKEN:
            raise InputError("from-stage", f"is {from_stage}", expected="1, 2 or 3")
        if from_stage > 1 and folder is None:
            raise InputError("from-stage", "needs the folder of an earlier run", mend="--stages DIR")
        self.folder, self.taken = folder, TAKEN[from_stage]
        self.keys: dict[str, str] = {}
        if folder is not None:
            if folder.exists() and not folder.is_dir():
                raise InputError(folder, "is a file", expected="a folder for the stages")
            folder.mkdir(parents=True, exist_ok=True)
            self.keys = _read_keys(folder / "stages.json")

    def video(self, name: str, settings: tuple, make: Callable[[], Video]) -> Video:
        """The kept clip, or a new one."""
        return self._kept(name, settings, make, _load_video, _save_video)

    def scene(self, name: str, settings: tuple, make: Callable[[], Scene]) -> Scene:
        """The kept scene, or a new one."""
        return self._kept(name, settings, make, load_scene, save_scene)

    def edited(self, name: str, value: Scene) -> bool:
        """Whether a scene that was taken as it lies there is not what was made: then it is the user's."""
        return name in self.taken and self.keys.get(f"{name} as made") != digest(value)

    def _kept(self, name: str, settings: tuple, make: Callable, load: Callable, save: Callable) -> Any:
        if self.folder is None:
            return make()
        path, key = self.folder / f"{name}.npz", digest(*settings)
        if name in self.taken:
            if not path.exists():
                raise InputError(
                    path, "does not exist", mend=f"run once without --from-stage, with --stages {self.folder}"
                )
            return load(path)
        if path.exists() and self.keys.get(name) == key:
            return load(path)
        made = make()
        if not is_first():
            return made
        save(made, path)
        self.keys[name] = key
        if isinstance(made, Scene):
            self.keys[f"{name} as made"] = digest(made)
        with atomic_path(self.folder / "stages.json") as temporary:
            temporary.write_text(json.dumps(self.keys, indent=2) + "\n")
        return made

    def finish(self, result: GenerationResult) -> None:
        """Write what is there to look at, and how it was made."""
        if self.folder is None or not is_first():
            return
        from kinema.stage_sheet import write_pictures

        write_pictures(result, self.folder)
        with atomic_path(self.folder / "result.json") as temporary:
            temporary.write_text(json.dumps(record_of(result), indent=2) + "\n")


def _read_keys(path: Path) -> dict[str, str]:
    """The keys of an earlier run, none where there was none. Raises InputError where the file is damaged."""
    if not path.exists():
        return {}
    try:
        keys = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(path, f"is damaged ({error})", mend="remove it; every stage is then made anew") from error
    if not isinstance(keys, dict):
        raise InputError(path, "holds no keys of stages", mend="remove it; every stage is then made anew")
    return keys


def record_of(result: GenerationResult) -> dict[str, object]:
    """Seed, preset, weight hashes and seconds of a result: what repeats it."""
    import kinema
    from kinema.checkpoints import ASSETS, PMP_WEIGHTS, sha256

    plan = result.plan
    folder, adapter = plan.preset.folder, plan.preset.adapter
    assert folder is not None, "find_preset gives it one"
    weights = {p.relative_to(folder.parent).as_posix(): p for p in sorted(folder.rglob("*.safetensors"))}
    if adapter is not None and not adapter.is_relative_to(folder):
        weights[adapter.name] = adapter
    weights[PMP_WEIGHTS.relative_to(ASSETS).as_posix()] = PMP_WEIGHTS
    return {
        "kinema": kinema.__version__,
        "preset": plan.preset.name,
        "seed": plan.seed,
        "start": plan.start,
        "control": plan.control,
        "speed": repr(plan.preset.speed),
        "mended": list(plan.notes),
        "prompt": plan.prompt,
        "strength": plan.strength,
        "frames": len(result.video.frames),
        "fps": result.video.fps,
        "size": [plan.picture.shape[1], plan.picture.shape[0]],
        "subjects": [s.label for s in result.refined.subjects],
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "sha256": {name: sha256(path) for name, path in weights.items()},
    }


def digest(*values: Any) -> str:
    """A hash of settings: numbers, strings, arrays, and dataclasses of them."""
    found = hashlib.sha256()
    for value in values:
        _feed(found, value)
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    elif hasattr(value, "__dataclass_fields__"):
        found.update(type(value).__name__.encode())
        for name in value.__dataclass_fields__:
            _feed(found, getattr(value, name))
    elif isinstance(value, tuple | list):
        found.update(f"[{len(value)}".encode())
        for one in value:
            _feed(found, one)
    elif isinstance(value, Path):
        from kinema.checkpoints import sha256

        files = sorted(p for p in value.rglob("*") if p.is_file()) if value.is_dir() else [value]
        found.update("".join(sha256(p) for p in files).encode())
    else:
        found.update(repr(value).encode() + b";")


def _save_video(video: Video, path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, frames=video.frames, fps=np.float64(video.fps))


def _load_video(path: Path) -> Video:
    from kinema.motion_io.npz import read_arrays

    arrays = read_arrays(path, ())
    if arrays.get("frames", np.zeros(0)).ndim != 4 or "fps" not in arrays:
        raise InputError(path, "holds no frames", "frames uint8 [T,H,W,3] and fps, as kinema writes them")
    return Video(arrays["frames"].astype(np.uint8), float(arrays["fps"]))
