"""What the machine and the command line give to a run: devices, precision, where its state lies, how long it takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from posepipe.errors import MissingDependencyError, UsageError
from posepipe.training.run_config import RunConfig

B = TypeVar("B", bound=tuple[Tensor, ...])
Report = Callable[[int, int, str], None]


def _silent(done: int, steps: int, text: str) -> None:
    pass


@dataclass(frozen=True)
class Session:
    """fabric: Lightning Fabric, launched. state: the file that a run writes and resumes. report(steps done,
    all steps, text) is called often. started: on time.monotonic's clock, what max_minutes counts from."""

    fabric: Any
    state: Path
    resume: bool = False
    max_minutes: float | None = None
    report: Report = _silent
    started: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> torch.device:
        return torch.device(self.fabric.device)

    @property
    def rank(self) -> int:
        """0 writes files, validates and reports; the others only compute."""
        return int(self.fabric.global_rank)

    def setup(self, config: RunConfig, network: nn.Module, optimiser: Optimizer) -> tuple[Any, Any]:
        """The network (whose forward then runs in the chosen precision and averages gradients over devices) and its
        optimiser, both on the device. The parameters stay the same objects."""
        network.to(self.device)
        return self.fabric.setup(torch.compile(network) if config.compile else network, optimiser)

    def to_device(self, batch: B) -> B:
        """A batch of the supply on the device."""
        if self.device.type == "cpu":
            return batch
        moved = tuple(part.pin_memory().to(self.device, non_blocking=True) for part in batch)
        return cast(B, moved)


def open_session(
    config: RunConfig,
    *,
    state: Path | None = None,
    resume: bool = False,
    max_minutes: float | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    strategy: str = "auto",
    report: Report = _silent,
) -> Session:
    """Choose and launch the devices. state None: runs/<name of config.out>.state.safetensors.

    accelerator: "auto" (a GPU where there is one), "cpu", "cuda". devices > 1: DDP, one process each; this command is
    then started once more per device. Raises UsageError for devices that are not there, MissingDependencyError without
    lightning-fabric."""
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise MissingDependencyError(
            f"Training needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    started = time.monotonic()
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator == "auto":
        accelerator = "cuda" if gpus else "cpu"
    if devices < 1 or (accelerator == "cuda" and devices > gpus):
        raise UsageError(f"There are not {devices} devices: {gpus} GPUs.", "Give other --devices or --accelerator cpu.")
    if strategy == "auto" and devices > 1:
        strategy = "ddp"
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy=strategy, precision=config.precision)
    fabric.launch()
    torch.set_num_threads(config.threads)
    path = state or Path("runs") / f"{Path(config.out).stem}.state.safetensors"
    return Session(fabric, path, resume, max_minutes, report if fabric.global_rank == 0 else _silent, started)
