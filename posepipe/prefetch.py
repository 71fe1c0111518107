"""Run a generator in a thread of its own behind a bounded queue: the pipeline is a chain of these."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


def prefetch(items: Iterable[T], depth: int, name: str) -> Generator[T, None, None]:
    """Yield what `items` yields, in order, nothing dropped; `items` runs in a daemon thread at most `depth` ahead.

    An exception in the thread is raised here, at its place in the order. Closing this generator (or an exception in the
    consumer) stops the thread, which closes `items` if it is a generator, and waits for it."""
    buffer: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()

    def put(value: T | _End) -> bool:
        while not stop.is_set():
            try:
                buffer.put(value, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        end = _End()
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as error:  # noqa: BLE001 - carried over to the consumer, never swallowed
            end = _End(error)
        finally:
            if isinstance(items, Generator):
                items.close()
        put(end)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        while True:
            value = buffer.get()
            if isinstance(value, _End):
                if value.error is not None:
                    raise value.error
                return
            yield value
    finally:
        stop.set()
        thread.join(timeout=10)
