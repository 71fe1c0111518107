"""Schedulers apart from networks: which times a diffusion model is asked at, and how one step leads to the next.

The interface follows Hugging Face diffusers (a scheduler has `timesteps` and `step`), with three differences that a
fixed exported graph asks for: a scheduler is immutable and made for a fixed number of steps; noise is passed in and
never drawn; and a multistep solver is given the previous prediction and keeps no state of its own.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from posepipe.errors import UsageError
from posepipe.lifters.schedulers.ddim import Ddim
from posepipe.lifters.schedulers.dpm_solver import DpmSolver


class Scheduler(Protocol):
    """timesteps: K integer times, noisiest first. draws: how many standard normals a whole run needs per sample, the
    initial sample included; `step` number i uses draw i + 1 if there is one."""

    @property
    def timesteps(self) -> tuple[int, ...]: ...

    @property
    def draws(self) -> int: ...

    def step(self, index: int, clean: Tensor, sample: Tensor, noise: Tensor | None, previous: Tensor | None) -> Tensor:
        """The sample after step `index`. clean: the network's estimate of the noise-free sample from `sample` at
        timesteps[index]. previous: that estimate of the step before (None at the first). The last step gives the
        clean estimate itself."""
        ...


def make_scheduler(name: str, steps: int, eta: float = 1.0) -> Scheduler:
    """`ddim` or `dpm-solver` for a number of steps. Raises UsageError for other names and steps outside 1..1000."""
    if not 1 <= steps <= 1000:
        raise UsageError(f"A diffusion sampler takes 1 to 1000 steps, not {steps}.", "The published ones use 2 to 10.")
    if name == "ddim":
        return Ddim(steps, eta)
    if name == "dpm-solver":
        return DpmSolver(steps)
    raise UsageError(f"No scheduler is called '{name}'.", "Known: ddim, dpm-solver.")
