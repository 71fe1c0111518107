"""Where a batch stands, for those who watch it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from posepipe.pipeline import manifest
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.batch_worker import Progress
from posepipe.pipeline.manifest import Entry


@dataclass(frozen=True)
class Running:
    """A video that a worker has. worker: a name for people, the same for the worker's whole life."""

    worker: str
    item: WorkItem
    progress: Progress


@dataclass
class BatchState:
    """Where a batch stands; it changes while the batch runs. items, bytes: all of them, and of those that are not
    skipped. running: what the workers have now. left: what was not done when the batch ended early."""

    items: int
    bytes: int
    skipped: int = 0
    entries: list[Entry] = field(default_factory=list)
    bytes_done: int = 0
    running: tuple[Running, ...] = ()
    left: tuple[WorkItem, ...] = ()
    people: bool = False
    began: float = field(default_factory=time.perf_counter)

    @property
    def failed(self) -> int:
        return sum(e.status == manifest.FAILED for e in self.entries)

    @property
    def done(self) -> int:
        return self.skipped + len(self.entries)

    @property
    def frames(self) -> int:
        """Of the videos that are done and of those that are being worked on."""
        return sum(e.frames for e in self.entries) + sum(r.progress.frames for r in self.running)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def eta_seconds(self) -> float | None:
        """From the bytes of video done so far, parts of running videos included; None before there are any."""
        known = ((r.item.bytes, r.progress) for r in self.running)
        done = self.bytes_done + sum(size * min(1.0, p.frames / p.expected) for size, p in known if p.expected)
        return (self.bytes - done) * self.seconds / done if done else None
