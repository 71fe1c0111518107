"""A file that HDF5 can go on using after the disk has filled up.

When a write fails, the HDF5 library (1.14, seen with a limit on the file size) cannot close its file any more and
crashes the interpreter. So it is given this file instead: it keeps the first error for us to raise, and carries
whatever cannot be written in memory, until the file is closed and thrown away a moment later.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class SurvivingFile:
    """The file object that h5py takes in place of a name (it asks for all of these methods).

    error: the first failure, None while all is well."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 - closed by close()
        self._position = 0
        self._unwritten: list[tuple[int, bytes]] = []
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += self._file.seek(0, os.SEEK_END)
        elif whence == os.SEEK_CUR:
            offset += self._position
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def write(self, data: memoryview) -> int:
        size = len(data)
        done = 0
        while done < size and self.error is None:
            try:
                self._file.seek(self._position + done)
                done += self._file.write(data[done:]) or 0
            except OSError as error:
                self.error = error
        if done < size:
            self._unwritten.append((self._position + done, bytes(data[done:])))
        self._position += size
        return size

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def readinto(self, buffer: memoryview) -> int:
        start, size = self._position, len(buffer)
        buffer[:] = bytes(size)
        done = 1
        while done and start + size > self._position:
            self._file.seek(self._position)
            done = self._file.readinto(buffer[self._position - start :]) or 0
            self._position += done
        for offset, data in self._unwritten:
            first, last = max(offset, start), min(offset + len(data), start + size)
            if first < last:
                buffer[first - start : last - start] = data[first - offset : last - offset]
        self._position = start + size
        return size

    def truncate(self, size: int) -> int:
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered here; atomic_path syncs the finished file to disk."""

    def close(self) -> None:
        with suppress(OSError):  # a failed close of a file whose failure is known already adds nothing
            self._file.close()
