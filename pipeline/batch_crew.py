"""Who does the work of a batch: what every crew can, and the crew of processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from posepipe.pipeline.batch_leftovers import remove_leftovers
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.batch_state import Running
from posepipe.pipeline.batch_worker import Progress, failure, serve
from posepipe.pipeline.manifest import Entry
from posepipe.pipeline.settings import RunSettings

# Of libraries that would start as many threads as there are cores, in every worker. None of them has work for more.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Crew(Protocol):
    """Takes items while it has places, and gives an entry for each, in any order, whatever happens to its workers."""

    def begin(self, items: Sequence[WorkItem]) -> None:
        """Clean up what an earlier batch over these items left. Raises PosepipeError if nobody can work."""

    def places(self) -> int:
        """How many more items can be given now."""
        ...

    def give(self, item: WorkItem) -> None: ...

    def running(self) -> tuple[Running, ...]: ...

    def answers(self, seconds: float) -> list[tuple[WorkItem, Entry]]:
        """Wait until something happens, or that long; the videos that ended."""
        ...

    def end(self) -> None:
        """End the workers at once, and clean up what they left half-written."""


@dataclass
class _Worker:
    name: str
    process: BaseProcess
    connection: Connection
    item: WorkItem | None = None
    progress: Progress = Progress()  # noqa: RUF009 - frozen
    began: float = 0.0


class LocalCrew:
    """`jobs` processes of this machine. They are killed rather than asked: whole videos are redone anyway, and what a
    killed process leaves is known by its number.

    cores: that they share among them; each keeps to its part, since threads that wait by spinning (MediaPipe's) would
    take from the other workers what they give to their own."""

    def __init__(
        self, out: Path, settings: RunSettings, settings_sha256: str, jobs: int = 1, cores: int | None = None
    ) -> None:
        self._jobs = jobs
        self._given = (out, settings, settings_sha256, max(1, (cores or usable_cores()) // jobs))
        # Not forked: the libraries' threads and this process's signal handlers must not be inherited.
        self._context = multiprocessing.get_context("spawn")
        # Started by the first process otherwise, which would undo the blocking of signals in _hire.
        resource_tracker.ensure_running()
        self._workers: list[_Worker] = []
        self._folders: set[Path] = {out}

    def begin(self, items: Sequence[WorkItem]) -> None:
        self._folders |= {item.folder for item in items}
        remove_leftovers(self._folders)

    @property
    def _busy(self) -> list[_Worker]:
        return [w for w in self._workers if w.item]

    def places(self) -> int:
        return self._jobs - len(self._busy)

    def running(self) -> tuple[Running, ...]:
        return tuple(Running(w.name, w.item, w.progress) for w in self._workers if w.item)

    def give(self, item: WorkItem) -> None:
        idle = [w for w in self._workers if not w.item]
        worker = idle[0] if idle else self._hire()
        worker.item, worker.progress, worker.began = item, Progress(), time.perf_counter()
        with suppress(OSError):  # it has died; answers() will see
            worker.connection.send(item)

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, *self._given), daemon=True)
        name = next(str(n) for n in range(1, self._jobs + 1) if str(n) not in {w.name for w in self._workers})
        # A terminal sends Ctrl-C to every process; blocked here, it stays blocked in the child, and this one decides.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _environment(dict.fromkeys(ONE_THREAD, "1")):
                process.start()
            self._workers.append(_Worker(name, process, ours))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that the death of the worker ends the pipe
        return self._workers[-1]

    def answers(self, seconds: float) -> list[tuple[WorkItem, Entry]]:
        ended = []
        ready = wait([w.connection for w in self._busy], seconds)
        for worker in [w for w in self._busy if w.connection in ready]:
            item = worker.item
            assert item
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                ended.append((item, self._bury(worker, item)))
                continue
            if isinstance(message, Progress):
                worker.progress = message
            else:
                worker.item = None
                ended.append((item, message))
        return ended

    def _bury(self, worker: _Worker, item: WorkItem) -> Entry:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(1)
        worker.process.kill()
        worker.process.join()
        remove_leftovers([item.folder])
        code = worker.process.exitcode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = (
            "Memory may have run out: try fewer --jobs." if code == -signal.SIGKILL else "Try it alone: posepipe run."
        )
        reason = f"The process that worked on it {how}. {hint}"
        return failure(item, self._given[2], reason, round(time.perf_counter() - worker.began, 3))

    def end(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        remove_leftovers(self._folders)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These variables for processes that are started inside the block: libraries read them when they are loaded."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
