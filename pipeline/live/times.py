"""Times per stage twice: over the whole run for its end, and since the last report for the line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from posepipe.pipeline.stats import StageSummary, StageTimes

AGE = "age"  # from the lens to the screen
_ORDER = ("capture", "detect", "lift", "show", "write", "draw", "encode", AGE)


class LiveTimes:
    """Feed it from any thread."""

    def __init__(self) -> None:
        self._whole, self._recent = StageTimes(), StageTimes()

    def add(self, stage: str, seconds: float) -> None:
        self._whole.add(stage, seconds)
        self._recent.add(stage, seconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def summary(self) -> tuple[StageSummary, ...]:
        """Of the whole run."""
        return _ordered(self._whole)

    def since_last(self) -> tuple[StageSummary, ...]:
        """Since this was called last."""
        recent, self._recent = self._recent, StageTimes()
        return _ordered(recent)


def _ordered(times: StageTimes) -> tuple[StageSummary, ...]:
    return tuple(sorted(times.summary(), key=lambda s: _ORDER.index(s.name) if s.name in _ORDER else len(_ORDER)))
