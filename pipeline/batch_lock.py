"""One batch at a time into a folder: two would take each other's lines out of the manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posepipe.errors import OutputError


@contextmanager
def only_batch(out: Path) -> Iterator[None]:
    """Hold the folder `out` for this process. The lock is on the folder itself, so that nothing is left in it, and the
    system takes it back from a process that is killed. Where there are no such locks (Windows, some network drives)
    nothing is held.

    Raises OutputError when another process holds it."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"Another `posepipe batch` is writing into {out}.",
                "Wait until it has ended, or choose another folder with -o.",
            ) from None
        except OSError:
            pass  # a file system that has no locks
        yield
    finally:
        os.close(descriptor)
