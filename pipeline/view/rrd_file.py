"""A file for Rerun that is written by us and not by its library, which only prints a line when the disk is full."""

from __future__ import annotations

from pathlib import Path

import rerun as rr

_FRAMES = 30  # logged frames between two writes, which bounds what waits in memory


class RrdFile:
    """stream: what to log to. Call `step` after each frame and `close` at the end; both raise OSError when the file
    cannot be written."""

    def __init__(self, title: str, path: Path) -> None:
        self.stream = rr.RecordingStream(title)
        self._bytes = rr.binary_stream(recording=self.stream)
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._steps = 0

    def step(self) -> None:
        self._steps += 1
        if self._steps % _FRAMES == 0:
            self._write()

    def close(self) -> None:
        with self._file:
            self._write()
        self.stream.disconnect()

    def _write(self) -> None:
        self._file.write(self._bytes.read(flush=True) or b"")
