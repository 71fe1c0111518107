"""Owns the threads of a run: one place that starts them, hears of their failures and ends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from posepipe.pipeline.source.live import Gate


class Crew:
    """The first exception of any thread stops the run (through the gate), and check() raises it in the caller.

    Threads are daemons: one that is stuck in a driver or on the network cannot keep the program alive."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - carried over to the caller by check(), never swallowed
                with self._lock:
                    if self._error is None:
                        self._error = error
                self._gate.stop()

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()
        return thread

    def check(self) -> None:
        """Raise the first exception of any thread, with its own traceback."""
        if self._error is not None:
            raise self._error

    def join(self, names: tuple[str, ...], seconds: float) -> tuple[str, ...]:
        """Wait for the threads of these names, `seconds` in all; returns those that are still running."""
        until = time.monotonic() + seconds
        threads = [t for t in self._threads if t.name in names]
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))
        return tuple(t.name for t in threads if t.is_alive())
