"""DPM-Solver++(2M): Lu et al. 2022, "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
algorithm 2, for networks that predict the clean sample, on the cosine schedule. Deterministic, second order from the
second step on; beyond the DRPose paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from posepipe.lifters.schedulers.cosine import alpha_bar, spaced_times


@dataclass(frozen=True)
class DpmSolver:
    """See schedulers.Scheduler. steps: K in 1..1000. The last step goes to time -1, where no noise is left; there the
    solver is of first order, and its update the clean estimate itself."""

    steps: int

    @property
    def timesteps(self) -> tuple[int, ...]:
        return spaced_times(self.steps)[:-1]

    @property
    def draws(self) -> int:
        """Only the initial sample."""
        return 1

    def coefficients(self, index: int) -> tuple[float, float, float]:
        """(of the clean estimate, of the sample, of the previous clean estimate) in the update of step `index`.

        x' = (sigma'/sigma) x - alpha' (e^-h - 1) D with D = (1 + 1/2r) x0 - (1/2r) x0_previous, lambda the log
        signal-to-noise ratio log(alpha/sigma), h the step in it and r the ratio of the step before to this one.
        """
        times = spaced_times(self.steps)
        if times[index + 1] < 0:
            return 1.0, 0.0, 0.0
        now, after = _log_snr(times[index]), _log_snr(times[index + 1])
        h = after - now
        sigma_ratio = math.sqrt((1 - alpha_bar(times[index + 1])) / (1 - alpha_bar(times[index])))
        gain = -math.sqrt(alpha_bar(times[index + 1])) * math.expm1(-h)
        if index == 0:
            return gain, sigma_ratio, 0.0
        half = h / (now - _log_snr(times[index - 1])) / 2  # 1 / 2r
        return gain * (1 + half), sigma_ratio, -gain * half

    def step(
        self, index: int, clean: Tensor, sample: Tensor, noise: Tensor | None = None, previous: Tensor | None = None
    ) -> Tensor:
        of_clean, of_sample, of_previous = self.coefficients(index)
        if of_sample == 0.0:
            return clean
        moved = of_clean * clean + of_sample * sample
        if of_previous == 0.0:
            return moved
        if previous is None:
            raise ValueError("a second-order step needs the previous clean estimate")
        return moved + of_previous * previous


def _log_snr(time: int) -> float:
    """Half the log signal-to-noise ratio at a time (lambda in the paper)."""
    kept = alpha_bar(time)
    return 0.5 * (math.log(kept) - math.log1p(-kept))
