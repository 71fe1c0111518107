"""What goes on around the steps of a recipe's loop: where it starts, averaged weights, log, validation, state, end.

The loop itself, with its batch, losses and optimiser, is written out in every recipe (see README.md)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from posepipe.errors import InputError
from posepipe.training.optim import AveragedWeights, Throughput
from posepipe.training.run_config import RunConfig
from posepipe.training.run_log import RunLog
from posepipe.training.session import Session
from posepipe.training.state import (
    State,
    load_state,
    pack_optimiser,
    plain_tensors,
    save_state,
    taken,
    unpack_optimiser,
)

Metrics = dict[str, dict[str, float]]
_ASK_EVERY = 10  # steps between asking the first of several devices whether time is up


class Run:
    """sampler: what is averaged, validated and shipped. others: further modules whose weights belong to the state (a
    discriminator). optimisers: those that Session.setup returned, in a fixed order. Resumes where session.resume."""

    def __init__(
        self,
        config: RunConfig,
        session: Session,
        sampler: nn.Module,
        optimisers: Sequence[Optimizer],
        others: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.config, self.session, self.sampler = config, session, sampler
        self._modules = {"sampler": sampler, **(others or {})}
        self._optimisers = list(optimisers)
        self.average = AveragedWeights(sampler, config.average)
        self.best: dict[str, Tensor] = {}
        self.best_score, self.best_step = math.inf, 0
        self.metrics: Metrics = {}
        self.start, self._stopping = 0, False
        self._keys = {**config.decisive(), "devices": session.fabric.world_size}
        if session.resume:
            self._restore()
        self._log = RunLog(session, config, self.start)
        self._speed = Throughput(config.steps, config.batch * session.fabric.world_size, self.start)

    def steps(self) -> Iterator[int]:
        """The steps still to do; ends early when time is up. Torch's random numbers (dropout) are seeded anew for each
        from (seed, rank, step). The state is written on the way and at the end."""
        try:
            for step in range(self.start, self.config.steps):
                torch.manual_seed(torch_seed(self.config.seed, self.session.rank, step))
                yield step
                done = step + 1
                if self._stopping or done == self.config.steps or done % self.config.save_every == 0:
                    self._save(done)
                if self._stopping:
                    break
        finally:
            self._log.close()

    def after(self, step: int, **values: Tensor | float) -> None:
        """Call when the optimisers have stepped: averages the weights, logs the values (the first is the loss) now and
        then. Raises InputError when the loss is not finite."""
        self.average.update(self.sampler, step)
        self._stopping = self._out_of_time(step)
        if step % self.config.log_every == 0 or step + 1 == self.config.steps or self._stopping:
            numbers = {name: float(torch.as_tensor(value).detach()) for name, value in values.items()}
            for name, number in numbers.items():
                if not math.isfinite(number):
                    raise InputError(f"Step {step}: {name} is {number}.", "Lower `rate` or set `clip`.")
            speed = self._speed
            self._log.write(step, numbers, speed.per_second(step))
            text = ", ".join(f"{name} {number:.4f}" for name, number in numbers.items())
            self.session.report(step + 1, self.config.steps, f"{text}, {speed.text(step)}")

    def due(self, step: int) -> bool:
        """Whether to validate after this step: now and then, and always after the last one."""
        done = step + 1
        regular = done % self.config.validate_every == 0 or done == self.config.steps or self._stopping
        return regular and self.session.rank == 0

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """Inside, the sampler has its averaged weights and is in eval mode."""
        with self.average.applied(self.sampler):
            yield self.sampler

    def validated(self, step: int, metrics: Metrics, score: float) -> None:
        """Give what a validation found; score, lower is better, chooses the weights to keep."""
        if score < self.best_score or self.config.keep == "last":
            self.best = {name: value.clone() for name, value in self.average.values.items()}
            self.best_score, self.best_step, self.metrics = score, step + 1, metrics
        self._log.write(step, {f"{of}/{name}": v for of, values in metrics.items() for name, v in values.items()})
        self.session.report(step + 1, self.config.steps, f"validation {metrics}")

    def finish(self) -> bool:
        """Load the kept weights into the sampler, in eval mode on the CPU. True where files are to be written (only on
        the first of several devices)."""
        if self.best:
            self.sampler.load_state_dict(self.best)
        self.sampler.cpu().eval()
        self.session.fabric.barrier()
        return self.session.rank == 0

    def provenance(self) -> dict[str, Any]:
        """For the checkpoint's header."""
        return {"config": asdict(self.config), "metrics": self.metrics, "step": self.best_step}

    def _out_of_time(self, step: int) -> bool:
        session = self.session
        if session.max_minutes is None:
            return False
        up = time.monotonic() - session.started >= 60 * session.max_minutes
        if session.fabric.world_size > 1:
            return step % _ASK_EVERY == _ASK_EVERY - 1 and bool(session.fabric.broadcast(up))
        return up

    def _save(self, done: int) -> None:
        if self.session.rank == 0:
            tensors = {**plain_tensors("average", self.average.values), **plain_tensors("best", self.best)}
            for name, module in self._modules.items():
                tensors |= plain_tensors(f"module.{name}", module.state_dict())
            scalars: dict[str, Any] = {"best_score": self.best_score, "best_step": self.best_step}
            scalars |= {"metrics": self.metrics, "optimisers": []}
            for index, optimiser in enumerate(self._optimisers):
                packed, plain = pack_optimiser(f"optimiser{index}", optimiser)
                tensors |= packed
                scalars["optimisers"].append(plain)
            save_state(self.session.state, State(done, self._keys, tensors, scalars))
        self.session.fabric.barrier()

    def _restore(self) -> None:
        state = load_state(self.session.state, self._keys)
        for name, module in self._modules.items():
            module.load_state_dict(taken(f"module.{name}", state.tensors))
        for index, optimiser in enumerate(self._optimisers):
            plain = state.scalars["optimisers"][index]
            unpack_optimiser(f"optimiser{index}", optimiser, state.tensors, plain)
        for name, value in taken("average", state.tensors).items():
            self.average.values[name].copy_(value)
        self.best = {name: value.to(self.session.device) for name, value in taken("best", state.tensors).items()}
        self.best_score, self.best_step = state.scalars["best_score"], state.scalars["best_step"]
        self.metrics, self.start = state.scalars["metrics"], state.step


def torch_seed(seed: int, rank: int, step: int) -> int:
    """For torch's own random numbers of one step."""
    return int(np.random.SeedSequence([seed, rank, step, 3]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """The learning rate of all parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate
