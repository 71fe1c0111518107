"""A TensorRT build as a progress bar, and a way to stop it.

TensorRT calls the monitor from C++: an exception must not leave it (it would end the process), and Python delivers
Ctrl-C exactly there, because nothing else of Python runs during a build. So while an engine is built, signals only
leave a note; the monitor tells TensorRT to stop, and the signal takes effect afterwards.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorrt as trt
    from rich.progress import Progress, TaskID

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
Stopped = Callable[[], bool]


class SignalsWait:
    """A context in which SIGINT and SIGTERM are noted (`arrived`) instead of acted upon; on leaving it, the first that
    came is handled as it would have been. Only the main thread gets signals: elsewhere this does nothing."""

    def __init__(self) -> None:
        self.arrived: int | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> SignalsWait:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.arrived is not None:
            signal.raise_signal(self.arrived)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.arrived is None:
            self.arrived = number


class Phases:
    """The phases of a build as rich shows them: nested phases are indented and vanish when they are done. Without a
    bar nothing is shown."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._tasks: dict[str, tuple[TaskID, int]] = {}

    def start(self, name: str, parent: str | None, steps: int) -> None:
        if self._bar is None:
            return
        depth = self._tasks[parent][1] + 1 if parent in self._tasks else 0
        self._tasks[name] = self._bar.add_task("  " * depth + name, total=steps), depth

    def step(self, name: str, step: int) -> None:
        if self._bar is not None and name in self._tasks:
            self._bar.update(self._tasks[name][0], completed=step + 1)

    def finish(self, name: str) -> None:
        if self._bar is not None and name in self._tasks:
            self._bar.remove_task(self._tasks.pop(name)[0])


def make_monitor(trt: Any, phases: Phases, stopped: Stopped) -> trt.IProgressMonitor:
    """TensorRT's progress monitor over `phases`. As soon as stopped() is true, TensorRT is told to give up."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return not stopped()

    return Monitor()
