"""Counters and per-stage times in constant memory: a log-spaced histogram per stage, safe to feed from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

_BINS_PER_DECADE = 100  # 2.3 % resolution
_LOWEST = 1e-6
_BINS = 9 * _BINS_PER_DECADE  # 1 us .. 1000 s


@dataclass(frozen=True)
class StageSummary:
    """Milliseconds per call of one stage."""

    name: str
    calls: int
    mean: float
    p50: float
    p95: float
    p99: float


class StageTimes:
    """Times per stage, in the order in which the stages were first seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, np.ndarray] = {}
        self._seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        position = int(np.log10(max(seconds, _LOWEST) / _LOWEST) * _BINS_PER_DECADE)
        with self._lock:
            if stage not in self._counts:
                self._counts[stage] = np.zeros(_BINS, np.int64)
                self._seconds[stage] = 0.0
            self._counts[stage][min(position, _BINS - 1)] += 1
            self._seconds[stage] += seconds

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def summary(self) -> tuple[StageSummary, ...]:
        with self._lock:
            counts = {name: c.copy() for name, c in self._counts.items()}
            seconds = dict(self._seconds)
        return tuple(
            StageSummary(
                name, int(c.sum()), 1e3 * seconds[name] / c.sum(), *(_quantile(c, q) for q in (0.5, 0.95, 0.99))
            )
            for name, c in counts.items()
        )


def _quantile(counts: np.ndarray, q: float) -> float:
    """Milliseconds at the middle of the bin that holds quantile q."""
    index = int(np.searchsorted(np.cumsum(counts), q * counts.sum()))
    return 1e3 * _LOWEST * 10 ** ((index + 0.5) / _BINS_PER_DECADE)
