"""The few pieces of a training loop that recipes share: schedule, averaged weights, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def cosine_rate(step: int, steps: int, peak: float, warm_up: int = 200) -> float:
    """Learning rate: linear warm-up, then a half cosine down to 0 at the last step."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


class AveragedWeights:
    """Exponential moving average of parameters and float buffers; what is evaluated and shipped."""

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
    """Samples per second since the start, and the time left."""

    def __init__(self, steps: int, batch: int) -> None:
        self.steps, self.batch, self.start = steps, batch, time.perf_counter()

    def text(self, step: int) -> str:
        seconds = time.perf_counter() - self.start
        rate = (step + 1) / max(seconds, 1e-9)
        return f"{rate * self.batch:,.0f} samples/s, {(self.steps - step - 1) / max(rate, 1e-9) / 60:.1f} min left"
