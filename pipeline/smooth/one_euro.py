"""The One-Euro filter: a low-pass whose cut-off rises with speed, so that what rests is calm and what moves is on time.

Casiez, Roussel, Vogel 2012, "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems",
CHI, §3 and appendix A. One departure: the speed of a point is the length of its velocity and not each coordinate's own,
so that the result does not depend on which way the axes point. Time comes from the stamps of the source, so that
frames of uneven distance are filtered for what they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OneEuro:
    """min_cutoff: Hz at rest. beta: Hz more for every unit of length a second. d_cutoff: Hz of the speed's own filter.
    max_gap: seconds without a value after which the past says nothing any more."""

    min_cutoff: float
    beta: float
    d_cutoff: float = 1.0
    max_gap: float = 0.5


@dataclass(frozen=True)
class FilterState:
    """What the filter remembers: the time in seconds, the filtered points (..., D) and their velocity (..., D)."""

    seconds: float
    value: NDArray[np.float64]
    velocity: NDArray[np.float64]


def one_euro(
    state: FilterState | None, points: NDArray, seconds: float, how: OneEuro, unit: float = 1.0
) -> FilterState:
    """The state after points (..., D) at a time; its `value` is the filtered points.

    unit: the length that beta's speed counts in (1 for metres; the person's size in pixels, say, for keypoints). A
    point with a NaN comes out as NaN and starts anew when it is back. Everything starts anew, with the points as they
    are, at first, after max_gap, when time does not advance, and when points of another shape come."""
    now = np.asarray(points, np.float64)
    step = seconds - state.seconds if state else math.nan
    if state is None or not 0 < step <= how.max_gap or state.value.shape != now.shape:
        return FilterState(seconds, now, np.zeros_like(now))
    raw = (now - state.value) / step
    velocity = state.velocity + _share(how.d_cutoff, step) * (raw - state.velocity)
    velocity = np.where(np.isfinite(velocity), velocity, 0.0)
    speed = np.linalg.norm(velocity, axis=-1, keepdims=True) / max(unit, 1e-9)
    value = state.value + _share(how.min_cutoff + how.beta * speed, step) * (now - state.value)
    fresh = ~np.isfinite(state.value).all(-1, keepdims=True)
    return FilterState(seconds, np.where(fresh, now, value), np.where(fresh, 0.0, velocity))


def _share(cutoff: NDArray | float, step: float) -> NDArray | float:
    """Share of the difference that a low-pass of this cut-off (Hz) makes up in a step of seconds (appendix A)."""
    rate = 2 * math.pi * cutoff * step
    return rate / (rate + 1)
