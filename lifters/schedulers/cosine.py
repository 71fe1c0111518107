"""The cosine noise schedule of Nichol & Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models", eq. 17:
alpha_bar(t) = f(t)/f(0), f(t) = cos^2((t/T + s)/(1 + s) * pi/2), betas clipped at 0.999. Float64 NumPy throughout.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

TRAIN_STEPS = 1000
OFFSET = 0.008  # s: keeps the first betas from vanishing


def betas(train_steps: int = TRAIN_STEPS, offset: float = OFFSET) -> NDArray[np.float64]:
    """(T,) variance added at each time."""
    time = np.linspace(0, train_steps, train_steps + 1)
    alpha_bar = np.cos((time / train_steps + offset) / (1 + offset) * math.pi * 0.5) ** 2
    alpha_bar /= alpha_bar[0]
    return np.clip(1 - alpha_bar[1:] / alpha_bar[:-1], 0.0, 0.999)


@cache
def _table(train_steps: int) -> tuple[float, ...]:
    return tuple(np.cumprod(1.0 - betas(train_steps)).tolist())


def alpha_bar(time: int, train_steps: int = TRAIN_STEPS) -> float:
    """Share of the clean sample's variance left at a time in -1..T-1; 1 at time -1, which is "before any noise"."""
    return 1.0 if time < 0 else _table(train_steps)[time]


def spaced_times(steps: int, train_steps: int = TRAIN_STEPS) -> tuple[int, ...]:
    """K + 1 times from T - 1 down to -1: linspace(-1, T - 1, K + 1) cut to integers, reversed (DRPose's spacing).

    In float32 and counted from the nearer end, as torch.linspace does: from K = 26 on, float64 would cut a few times
    to another integer than the authors' code."""
    stride = np.float32(train_steps) / np.float32(steps)
    index = np.arange(steps + 1, dtype=np.float32)
    from_start = np.float32(-1) + stride * index
    from_end = np.float32(train_steps - 1) - stride * (np.float32(steps) - index)
    times = np.where(index < (steps + 1) // 2, from_start, from_end)
    return tuple(int(t) for t in times)[::-1]
