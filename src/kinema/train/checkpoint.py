"""What is trained, and its checkpoints: whole files or none, written by one process, read by all.

checkpoint.safetensors holds, in full however the weights are distributed: model.NAME, every weight that is trained and
every buffer; average.NAME; optimizer.K.NAME, the state of the K-th of all weights; and in its header the step and the
settings. (The first format held the frozen weights too, and no settings; it is read.) DeepSpeed keeps its optimizer's
parts in a folder of its own, RUN/state-STEP.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kinema.atomic import atomic_path
from kinema.checkpoints import read_tensors
from kinema.errors import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from kinema.train.loop import LoopConfig

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"
BETAS = (0.9, 0.99)
ONE_CURVE = ("learning_rate", "warmup", "decay", "weight_decay", "clip_norm", "ema", "seed", "accumulate")
"""Settings of the loop that a run can't change on its way and still be one run."""
LEFT_OUT = ("run", "out", "cache", "threads", "device")
"""Settings that change nothing about the weights."""
UNSEEN = (
    *LEFT_OUT, "loop", "start", "validation", "validation_photographs", "validation_clips", "evaluate_every", "sample_steps",
    "checkpointing", "cache_workers",
)  # fmt: skip
"""Settings that a run may change on its way: nor do these change what is trained from then on."""


class Trained:
    """The weights of `model` that are trained, their averages, and the optimizer; `network` holds them all."""

    def __init__(self, model: nn.Module, config: LoopConfig, network: nn.Module, settings: Any):
        self.model, self.config, self.network = model, config, network
        self.settings = _seen(plain(settings)) if settings is not config else {}
        weights = list(model.parameters())
        self.places = [k for k, weight in enumerate(weights) if weight.requires_grad]
        trained = [weights[k] for k in self.places]
        self.optimizer: Any = torch.optim.AdamW(
            trained, lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay
        )
        self.average: dict[str, Tensor] = {}

    def prepare(self, accelerator: Accelerator, step_loss: nn.Module) -> Any:
        """Distribute network and optimizer. -> what to call for the loss."""
        if is_deepspeed(accelerator):
            plugin: Any = accelerator.state.deepspeed_plugin
            plugin.deepspeed_config |= {
                "train_micro_batch_size_per_gpu": 1,
                "gradient_accumulation_steps": self.config.accumulate,
                "gradient_clipping": self.config.clip_norm,
            }
        own_names = {id(weight): name for name, weight in self.network.named_parameters()}
        slots = [
            (owner, key, own_names[id(weight)])
            for owner in self.model.modules()
            for key, weight in owner._parameters.items()
            if weight is not None
        ]
        step_loss, self.optimizer = accelerator.prepare(step_loss, self.optimizer)
        if self.network is not self.model:  # FSDP2 has put other weights into the network
            for owner, key, name in slots:
                owner._parameters[key] = self.network.get_parameter(name)
        self.average = {name: value.detach().clone() for name, value in self.held().items()}
        return step_loss

    def held(self) -> dict[str, Tensor]:
        """Name -> every trained weight and every buffer, as they lie here."""
        frozen = {n for n, w in self.model.named_parameters(remove_duplicate=False) if not w.requires_grad}
        return {name: value for name, value in self.model.state_dict().items() if name not in frozen}

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def clip(self, accelerator: Accelerator, norm: float) -> None:
        """DeepSpeed has done so by then."""
        if not is_deepspeed(accelerator):
            nn.utils.clip_grad_norm_([w for w in self.model.parameters() if w.requires_grad], norm)

    @torch.no_grad()
    def update_average(self, keep: float) -> None:
        for name, value in self.held().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)

    @torch.no_grad()
    def put_average(self) -> None:
        for name, value in self.held().items():
            value.copy_(self.average[name])

    def put_whole(self) -> None:
        """Where FSDP2 has but a part of a trained weight, the whole of it, for what saves them; all processes take part."""
        for owner in self.network.modules():
            for key, weight in list(owner._parameters.items()):
                if weight is not None and weight.requires_grad and _is_distributed(weight):
                    owner._parameters[key] = nn.Parameter(whole(weight))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with its averages, for as long as this lasts."""
        trained = {name: value.detach().clone() for name, value in self.held().items()}
        self.put_average()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self.held().items():
                    value.copy_(trained[name])

    def save(self, run: Path, step: int, accelerator: Accelerator) -> None:
        """All processes take part, the first one writes."""
        from safetensors.torch import save_file

        tensors = {f"model.{name}": value for name, value in self.held().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        state = run / f"state-{step}"
        if is_deepspeed(accelerator):
            accelerator.save_state(f"{state}.part", safe_serialization=True)
        else:
            for index, values in self.optimizer.state_dict()["state"].items():
                place = self.places[index]
                tensors |= {f"optimizer.{place}.{k}": torch.as_tensor(v) for k, v in values.items()}
        # One after another: gathered, each lies on every process for a moment.
        gathered = {}
        for name, value in tensors.items():
            one = whole(value)
            if accelerator.is_main_process:
                gathered[name] = one.cpu().contiguous().clone()
        if not accelerator.is_main_process:
            return
        run.mkdir(parents=True, exist_ok=True)
        if is_deepspeed(accelerator):
            Path(f"{state}.part").replace(state)
        header = {"step": str(step), "loop": json.dumps(asdict(self.config)), "settings": json.dumps(self.settings)}
        with atomic_path(run / CHECKPOINT) as temporary:
            save_file(gathered, temporary, header | {"processes": str(accelerator.num_processes)})
        for old in run.glob("state-*"):
            if old != state:
                shutil.rmtree(old)

    def resume(self, run: Path, accelerator: Accelerator) -> int:
        """Load the run's checkpoint, where there is one. -> the step to go on from. Raises InputError."""
        path = run / CHECKPOINT
        if not path.exists():
            return 0
        header, tensors = read_tensors(path, "a checkpoint of `kinema train`")
        if "step" not in header:
            raise InputError(path, "is no checkpoint of a training", mend="give another run folder")
        self._check(path, header, tensors, accelerator)
        step = int(header["step"])
        with torch.no_grad():
            for name, value in self.held().items():
                value.copy_(_like(tensors[f"model.{name}"], value))
                self.average[name].copy_(_like(tensors[f"average.{name}"], value))
        if is_deepspeed(accelerator):
            accelerator.load_state(str(run / f"state-{step}"))
        else:
            self._load_optimizer(tensors)
        log.info("going on from step %d of %s", step, path)
        return step

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        trained = [w for w in self.model.parameters() if w.requires_grad]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, place, name = key.split(".", 2)
                index = self.places.index(int(place))
                state.setdefault(index, {})[name] = value if name == "step" else _like(value, trained[index])
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})

    def _check(self, path: Path, header: dict[str, str], tensors: dict[str, Tensor], accelerator: Accelerator) -> None:
        """Raises InputError where a checkpoint is of another model, or of other settings; warns where those may be."""
        mend = "give another run folder, or the same model and sizes"
        found = {k.removeprefix("model."): tuple(v.shape) for k, v in tensors.items() if k.startswith("model.")}
        own = {name: tuple(value.shape) for name, value in self.model.state_dict().items()}
        for name, shape in {n: own[n] for n in self.held()}.items():
            if found.get(name) != shape:
                raise InputError(path, f"is the checkpoint of another model ({name})", f"{name} of {shape}", mend)
        for name, shape in found.items():
            if own.get(name) != shape:
                raise InputError(path, f"is the checkpoint of another model ({name})", mend=mend)
        then, now = json.loads(header.get("loop", "{}")), asdict(self.config)
        then |= {"processes": int(header["processes"])} if "processes" in header else {}
        now["processes"] = accelerator.num_processes
        pairs = [(k, then[k], now[k]) for k in (*ONE_CURVE, "processes") if k in then]
        before = json.loads(header.get("settings", "{}"))
        pairs += [(k, before[k], v) for k, v in self.settings.items() if k in before]
        changed = ", ".join(f"{name} {old} -> {new}" for name, old, new in pairs if old != new)
        if changed and self.config.other_settings == "stop":
            raise InputError(
                path, f"is of a run with other settings: {changed}", "those that it began with",
                "give another run folder, or --loop.other-settings go-on",
            )  # fmt: skip
        if changed:
            log.warning("%s goes on with other settings than it began with: %s", path.parent, changed)


def _seen(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: _seen(v) if isinstance(v, dict) else v for k, v in settings.items() if k not in UNSEEN}


def plain(value: Any) -> Any:
    """A configuration as JSON has it, paths by their names."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value.name if isinstance(value, Path) else value


def is_deepspeed(accelerator: Accelerator) -> bool:
    return accelerator.distributed_type.value == "DEEPSPEED"


def whole(value: Tensor) -> Tensor:
    """A weight in full, wherever FSDP2 has put its parts; all processes take part."""
    return value.detach().full_tensor() if _is_distributed(value) else value.detach()  # type: ignore[attr-defined]


def _like(value: Tensor, placed: Tensor) -> Tensor:
    """A whole tensor, distributed as another one is."""
    if not _is_distributed(placed):
        return value
    from torch.distributed.tensor import distribute_tensor

    some: Any = placed
    return distribute_tensor(value.to(some.device), some.device_mesh, some.placements)


def _is_distributed(value: Tensor) -> bool:
    return hasattr(value, "full_tensor")
