"""Keep a C++ library's start-up chatter off the terminal without hiding anything else."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# File descriptor 2 belongs to the whole process, so only one block at a time may redirect it.
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def stderr_without(chatter: re.Pattern[bytes]) -> Iterator[None]:
    """Hold back what is written to the process's standard error inside the block, and write it at the end of the
    block without the lines that begin with `chatter`. Does nothing where standard error is closed."""
    with _ONE_AT_A_TIME:
        try:
            held = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            real = os.dup(2)
        except OSError:
            yield
            return
        with held:
            _flush()
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                _flush()
                os.dup2(real, 2)
                os.close(real)
                held.seek(0)
                for line in held:
                    if not chatter.match(line):
                        os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
