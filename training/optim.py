"""Two pieces of every training loop: averaged weights and a stopwatch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class AveragedWeights:
    """Exponential moving average of parameters and float buffers; what is evaluated and shipped. decay 0: the weights
    as they are."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if torch.is_floating_point(value):
                self.values[name].lerp_(value, 1 - decay)
            else:
                self.values[name].copy_(value)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside, the module has the averaged weights and is in eval mode."""
        raw = {k: v.detach().clone() for k, v in module.state_dict().items()}
        module.load_state_dict(self.values)
        module.eval()
        try:
            yield
        finally:
            module.load_state_dict(raw)
            module.train()


class Throughput:
    """Samples per second since the start (of this process: a resumed run counts from where it went on), and the time
    left."""

    def __init__(self, steps: int, batch: int, done: int = 0) -> None:
        self.steps, self.batch, self.done, self.start = steps, batch, done, time.perf_counter()

    def per_second(self, step: int) -> float:
        """Samples, after `step` is done."""
        return (step + 1 - self.done) * self.batch / max(time.perf_counter() - self.start, 1e-9)

    def text(self, step: int) -> str:
        rate = self.per_second(step)
        left = (self.steps - step - 1) * self.batch / max(rate, 1e-9)
        return f"{rate:,.0f} samples/s, {left / 60:.1f} min left"
