"""A folder of videos through the pipeline: whole videos as work items, run by processes that may die one by one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from posepipe import __version__
from posepipe.errors import InputError
from posepipe.hashing import file_sha256
from posepipe.pipeline import manifest
from posepipe.pipeline.backend import graph_of, open_runner
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.batch_worker import Progress, failure, serve
from posepipe.pipeline.manifest import Entry
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.atomic import output_error
from posepipe.pipeline.sink.footer import source_sha256

_POLL_SECONDS = 0.25
_LEFTOVER = re.compile(r"^\..+\.(?:h5|mp4|jsonl)\.tmp-(\d+)$")


@dataclass
class BatchState:
    """Where a batch stands; it changes while the batch runs. running: what each worker is doing."""

    items: int
    bytes: int
    skipped: int = 0
    entries: list[Entry] = field(default_factory=list)
    bytes_done: int = 0
    running: dict[WorkItem, Progress] = field(default_factory=dict)
    left: tuple[WorkItem, ...] = ()
    began: float = field(default_factory=time.perf_counter)

    @property
    def failed(self) -> int:
        return sum(e.status == manifest.FAILED for e in self.entries)

    def eta_seconds(self) -> float | None:
        """From the bytes of video done so far, parts of running videos included; None before there are any."""
        parts = sum(i.bytes * min(1.0, p.frames / p.expected) for i, p in self.running.items() if p.expected)
        done = self.bytes_done + parts
        return (self.bytes - done) * (time.perf_counter() - self.began) / done if done else None


def settings_hash(settings: RunSettings) -> str:
    """Of everything besides the video that the outputs depend on: all settings, the files that they name by their
    contents, the lifter's graph and weights, the backend and posepipe's version.

    Loads the lifter, so that settings that cannot work are refused (UsageError, CheckpointError) before the batch."""
    runner, hypotheses = open_runner(settings)
    with runner:
        values = dataclasses.asdict(settings) | {
            "hypotheses": hypotheses,
            "backend": runner.backend,
            "checkpoint": runner.checkpoint_sha256,
        }
    try:
        values["graph"] = file_sha256(graph_of(settings.lifter))
        values["intrinsics"] = file_sha256(settings.intrinsics) if settings.intrinsics else None
    except OSError as error:
        raise InputError(f"Cannot read {error.filename} ({error.strerror}).", "Check the path.") from None
    text = json.dumps(values | {"posepipe": __version__}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def is_done(item: WorkItem, entry: Entry | None, out: Path, settings: RunSettings, settings_sha256: str) -> bool:
    """Whether a video's results are complete and made with these settings from the file as it is now."""
    if entry is None or entry.status == manifest.FAILED or entry.settings_sha256 != settings_sha256:
        return False
    # Where results should be is worked out anew; the manifest's paths are compared with it and never followed.
    expected = item.outputs(settings.overlay)
    if [o.path for o in entry.outputs] != [p.relative_to(out).as_posix() for p in expected]:
        return False
    try:
        if any(p.stat().st_size != o.bytes for p, o in zip(expected, entry.outputs, strict=True)):
            return False
        return source_sha256(expected[0]) == entry.input_sha256 == file_sha256(item.source)
    except OSError:
        return False


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Delete what processes that are dead left half-written in these folders."""
    for folder in set(folders):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            match = _LEFTOVER.match(name)
            if match and not _is_alive(int(match[1])):
                with suppress(OSError):
                    os.unlink(folder / name)


def _is_alive(pid: int) -> bool:
    """Whether a process of that number runs; one that is dead and was not waited for (a zombie) does not."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's, or no /proc here
        return True
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def run_batch(
    items: Sequence[WorkItem],
    out: Path,
    settings: RunSettings,
    settings_sha256: str,
    *,
    jobs: int = 1,
    resume: bool = False,
    stop_on_error: bool = False,
    observe: Callable[[BatchState], None] = lambda state: None,
) -> BatchState:
    """Process the items in `jobs` processes and record each in the manifest of `out` as soon as it is complete.

    resume: skip those for which is_done. stop_on_error: the first failure ends the batch; what was not finished is
    in the state's `left`. observe: called some four times a second. A worker that dies fails its video only; on any
    exception here (also KeyboardInterrupt) the workers are ended and what they left half-written is removed.
    Raises OutputError when the manifest cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from None
    folders = [out, *(item.folder for item in items)]
    remove_leftovers(folders)
    known = manifest.read(out) if resume else {}
    manifest.rewrite(out, known.values())
    state = BatchState(len(items), sum(i.bytes for i in items))
    todo = deque(i for i in items if not is_done(i, known.get(i.name), out, settings, settings_sha256))
    state.skipped = len(items) - len(todo)
    state.bytes = sum(i.bytes for i in todo)
    state.began = time.perf_counter()
    crew = _Crew(out, settings, settings_sha256)
    try:
        while (todo or crew.busy) and not (stop_on_error and state.failed):
            while todo and len(crew.busy) < jobs:
                crew.give(todo.popleft())
            for item, entry in crew.answers(_POLL_SECONDS):
                manifest.append(out, entry)
                state.entries.append(entry)
                state.bytes_done += item.bytes
            state.running = crew.progress()
            observe(state)
        state.left = (*crew.progress(), *todo)
    finally:
        crew.end()
        remove_leftovers(folders)
    entries = known | {e.input: e for e in state.entries}
    manifest.rewrite(out, entries.values())
    return state


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    item: WorkItem | None = None
    progress: Progress = Progress(0, None)  # noqa: RUF009 - frozen
    began: float = 0.0


class _Crew:
    """The worker processes. They are killed rather than asked: whole videos are redone anyway, and what a killed
    process leaves is known by its number."""

    def __init__(self, out: Path, settings: RunSettings, settings_sha256: str) -> None:
        self._given = (out, settings, settings_sha256)
        # Not forked: the libraries' threads and this process's signal handlers must not be inherited.
        self._context = multiprocessing.get_context("spawn")
        # Started by the first process otherwise, which would undo the blocking of signals in _hire.
        resource_tracker.ensure_running()
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> list[_Worker]:
        return [w for w in self._workers if w.item]

    def progress(self) -> dict[WorkItem, Progress]:
        return {w.item: w.progress for w in self._workers if w.item}

    def give(self, item: WorkItem) -> None:
        idle = [w for w in self._workers if not w.item]
        worker = idle[0] if idle else self._hire()
        worker.item, worker.progress, worker.began = item, Progress(0, None), time.perf_counter()
        with suppress(OSError):  # it has died; answers() will see
            worker.connection.send(item)

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, *self._given), daemon=True)
        # A terminal sends Ctrl-C to every process; blocked here, it stays blocked in the child, and this one decides.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
            self._workers.append(_Worker(process, ours))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that the death of the worker ends the pipe
        return self._workers[-1]

    def answers(self, seconds: float) -> list[tuple[WorkItem, Entry]]:
        """Wait until something happens, or that long; the videos that ended."""
        ended = []
        ready = wait([w.connection for w in self.busy], seconds)
        for worker in [w for w in self.busy if w.connection in ready]:
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
