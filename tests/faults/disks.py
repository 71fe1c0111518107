"""Small file systems that fill up or become read-only: a tmpfs, where mounting is allowed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CannotMountError(Exception):
    """Only root may mount, and not in every container."""


def _mount(*argv: str) -> None:
    try:
        subprocess.run(["mount", *argv], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotMountError(str(getattr(error, "stderr", error)).strip()) from None


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """A tmpfs of that size at `place`. Raises CannotMountError."""
    place.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def why_not(folder: Path) -> str:
    """Why no tmpfs can be mounted in a folder; empty where one can."""
    try:
        with small_disk(folder / "trial-disk", 64):
            return ""
    except CannotMountError as error:
        return str(error) or "mount failed"


def resize(place: Path, kilobytes: int) -> None:
    _mount("-o", f"remount,rw,size={kilobytes}k", str(place))


def make_read_only(place: Path) -> bool:
    """Whether it is now: the kernel refuses while a file is open for writing, which is most of the time."""
    for _ in range(100):
        try:
            _mount("-o", "remount,ro", str(place))
        except CannotMountError as error:
            if "busy" not in str(error):
                raise
            time.sleep(0.02)
        else:
            return True
    return False
