"""The bounded queue between two stages: it waits when full (files), or forgets the oldest (live)."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """Nothing more will come, or nothing more is wanted."""


class Channel(Generic[T]):
    """depth: items that may wait. newest: put never waits, and pushes the oldest out instead."""

    def __init__(self, depth: int, newest: bool) -> None:
        self._items: deque[T] = deque()
        self._depth, self._newest = depth, newest
        self._closed = False
        self._change = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> T | None:
        """Returns the item that had to go for this one, if any. Raises Closed when nobody takes items any more."""
        with self._change:
            pushed_out = None
            while len(self._items) >= self._depth and not self._closed:
                if self._newest:
                    pushed_out = self._items.popleft()
                else:
                    self._change.wait()
            if self._closed:
                raise Closed
            self._items.append(item)
            self._change.notify_all()
            return pushed_out

    def try_put(self, item: T) -> bool:
        """Put if there is room right now; returns whether there was. Raises Closed as put does."""
        with self._change:
            if self._closed:
                raise Closed
            if len(self._items) >= self._depth:
                return False
            self._items.append(item)
            self._change.notify_all()
            return True

    def get(self, timeout: float | None = None) -> T | None:
        """The oldest item; None after `timeout` seconds without one. Raises Closed when closed and empty."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._change:
            while not self._items:
                if self._closed:
                    raise Closed
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._change.wait(left)
            item = self._items.popleft()
            self._change.notify_all()
            return item

    def close(self) -> None:
        """No more items; those that wait can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def abandon(self) -> list[T]:
        """Close, and return what was waiting: nobody will take it."""
        with self._change:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._change.notify_all()
            return left
