"""Learning rates as functions of the step, in steps or in the published units. Each names its source."""

from __future__ import annotations

import math


def cosine(step: int, steps: int, peak: float, warm_up: int = 200) -> float:
    """Linear warm-up, then a half cosine down to 0 at the last step (Loshchilov & Hutter 2017, SGDR, eq. 5, one
    cycle)."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


def exponential(step: int, start: float, factor: float, every: int) -> float:
    """start * factor ** (step / every), without stairs. Martinez et al. 2017, §3.3 ("exponential decay"), and Li & Lee
    2019 after them: factor 0.96 every 100 000 steps."""
    return float(start * factor ** (step / every))


def epoch_decay(
    step: int, epoch_steps: int, start: float, factor: float = 0.95, large: float = 0.5, large_every: int = 5
) -> float:
    """After every epoch the rate is multiplied by factor, but by large after each large_every-th one. HTNet (Cai et al.
    2023), DC-GCT (Kang et al. 2023), DRPose and PRPose: 0.95 and 0.5 each 5th; their epochs count from 1."""
    done = step // epoch_steps
    halvings = done // large_every
    return start * factor ** (done - halvings) * large**halvings


def epoch_decay_after(step: int, epoch_steps: int, start: float, factor: float = 0.94, after: int = 2) -> float:
    """Multiplied by factor after every epoch but the first `after` (Li & Lee 2020, BMVC, the authors' code: 0.94 after
    each epoch beyond the second)."""
    return start * factor ** max(0, step // epoch_steps - after)
