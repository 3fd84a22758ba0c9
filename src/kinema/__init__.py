"""kinema: direct the motion in video diffusion.

The names below are the public interface. Each is imported on its first use, so that `import kinema` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinema.body.model import BodyModel, joints, load_body
    from kinema.errors import InputError
    from kinema.like import animate_like
    from kinema.masks.files import read_masks, write_masks
    from kinema.motion_io import load_motion, save_motion
    from kinema.mvideo import Animation, animate
    from kinema.optimize.diagnosis import diagnose, plot_diagnosis
    from kinema.optimize.optimizer import refine
    from kinema.optimize.retarget import retarget
    from kinema.render.control_maps import render_maps
    from kinema.revision import GenerationResult, generate
    from kinema.sketch import Sketch, load_sketch
    from kinema.types import BodyMotion, Cameras, ControlMaps, MaskSequence, ObjectMotion, Scene, Subject, Video

    __version__: str

_HOME = {
    "Animation": "kinema.mvideo",
    "BodyModel": "kinema.body.model",
    "BodyMotion": "kinema.types",
    "Cameras": "kinema.types",
    "GenerationResult": "kinema.revision",
    "ControlMaps": "kinema.types",
    "InputError": "kinema.errors",
    "MaskSequence": "kinema.types",
    "ObjectMotion": "kinema.types",
    "Scene": "kinema.types",
    "Sketch": "kinema.sketch",
    "Subject": "kinema.types",
    "Video": "kinema.types",
    "animate": "kinema.mvideo",
    "animate_like": "kinema.like",
    "diagnose": "kinema.optimize.diagnosis",
    "generate": "kinema.revision",
    "joints": "kinema.body.model",
    "load_body": "kinema.body.model",
    "load_motion": "kinema.motion_io",
    "load_sketch": "kinema.sketch",
    "plot_diagnosis": "kinema.optimize.diagnosis",
    "read_masks": "kinema.masks.files",
    "refine": "kinema.optimize.optimizer",
    "render_maps": "kinema.render.control_maps",
    "retarget": "kinema.optimize.retarget",
    "save_motion": "kinema.motion_io",
    "write_masks": "kinema.masks.files",
}

__all__ = [
    "Animation",
    "BodyModel",
    "BodyMotion",
    "Cameras",
    "ControlMaps",
    "GenerationResult",
    "InputError",
    "MaskSequence",
    "ObjectMotion",
    "Scene",
    "Sketch",
    "Subject",
    "Video",
    "__version__",
    "animate",
    "animate_like",
    "diagnose",
    "generate",
    "joints",
    "load_body",
    "load_motion",
    "load_sketch",
    "plot_diagnosis",
    "read_masks",
    "refine",
    "render_maps",
    "retarget",
    "save_motion",
    "write_masks",
]


def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import version

        value = version("kinema")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'kinema' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
