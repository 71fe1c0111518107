"""DDIM: Song et al. 2021, "Denoising Diffusion Implicit Models", eq. 12 and 16, on the cosine schedule, for networks
that predict the clean sample. eta = 1 is stochastic like DDPM (DRPose's published setting), eta = 0 deterministic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from posepipe.lifters.schedulers.cosine import alpha_bar, spaced_times


@dataclass(frozen=True)
class Ddim:
    """See schedulers.Scheduler. steps: K in 1..1000."""

    steps: int
    eta: float = 1.0

    @property
    def timesteps(self) -> tuple[int, ...]:
        return spaced_times(self.steps)[:-1]

    @property
    def draws(self) -> int:
        """One for the initial sample and one for every step but the last."""
        return self.steps if self.eta > 0 else 1

    def coefficients(self, index: int) -> tuple[float, float, float]:
        """(of the clean estimate, of the sample, of the noise) in the update of step `index`.

        The published update first solves for the noise in the sample, e = (x - sqrt(a) x0) / sqrt(1 - a), and puts it
        back: sqrt(a') x0 + sqrt(1 - a' - s^2) e + s z. Both are linear, so the whole step is three numbers, folded
        here in float64: the graph needs no double precision where a is almost 0.
        """
        times = spaced_times(self.steps)
        now, after = alpha_bar(times[index]), alpha_bar(times[index + 1])
        if times[index + 1] < 0:
            return 1.0, 0.0, 0.0
        sigma = self.eta * math.sqrt((1 - now / after) * (1 - after) / (1 - now))
        keep = math.sqrt(1 - after - sigma**2) / math.sqrt(1 - now)
        return math.sqrt(after) - keep * math.sqrt(now), keep, sigma

    def step(
        self, index: int, clean: Tensor, sample: Tensor, noise: Tensor | None = None, previous: Tensor | None = None
    ) -> Tensor:
        of_clean, of_sample, of_noise = self.coefficients(index)
        if of_sample == 0.0:
            return clean
        moved = of_clean * clean + of_sample * sample
        if of_noise == 0.0:
            return moved
        if noise is None:
            raise ValueError("a stochastic step needs noise")
        return moved + of_noise * noise
