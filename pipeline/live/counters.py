"""What became of every frame: captured = processed + dropped, exactly, once everything has stopped."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

# Why a frame was not processed. late: a newer one came first. paused: nobody was looking. stopped: the run ended while
# it was waiting. failed: a stage raised an exception over it.
CAUSES = ("late", "paused", "stopped", "failed")


@dataclass(frozen=True)
class Counts:
    """Frames. unshown: processed, but the viewer was still busy. unrecorded: processed, but the writer was still busy.

    with_person, corrupt: of the processed ones."""

    captured: int = 0
    processed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    with_person: int = 0
    corrupt: int = 0
    shown: int = 0
    unshown: int = 0
    recorded: int = 0
    unrecorded: int = 0

    @property
    def lost(self) -> int:
        return sum(self.dropped.values())

    @property
    def waiting(self) -> int:
        """Captured, but neither processed nor dropped yet."""
        return self.captured - self.processed - self.lost


class Counters:
    """Counts from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def add(self, name: str, times: int = 1) -> int:
        """name: a field of Counts. Returns its new value."""
        with self._lock:
            self._count[name] += times
            return self._count[name]

    def drop(self, cause: str, times: int = 1) -> None:
        """cause: one of CAUSES."""
        with self._lock:
            self._dropped[cause] += times

    @property
    def now(self) -> Counts:
        with self._lock:
            return Counts(**self._count, dropped={c: self._dropped[c] for c in CAUSES if self._dropped[c]})
