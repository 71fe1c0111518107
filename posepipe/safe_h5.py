"""Reading HDF5 files that somebody else has made, or a bad disk has changed.

HDF5 follows links into other files, and makes room for whatever size a damaged header names. Here a data set has to lie
in the file itself, to have the type and shape that is expected, and to be no larger than its file can hold. And the
library crashes over some damaged files, or never comes back: another process looks at the file first.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

# What h5py and numpy raise over damaged files; which of them is not to be foreseen.
READ_ERRORS = (
    OSError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, MemoryError,
    NotImplementedError,
)  # fmt: skip

_MOST_PACKED = 1100  # deflate packs at most 1032 to one
_SMALL = 1 << 20


_SECONDS, _BYTES_PER_SECOND = 4, 10 << 20  # of processor time that looking at a file may take
_WAITING = 20  # seconds more that it may take in all, on a busy machine or a slow disk
_UNLISTED = 3  # exit code
_WHOLE = 64 << 20  # a file up to this size is read whole by the process that looks at it


@contextmanager
def open_h5(path: str | Path, survey: bool = True) -> Iterator[h5py.File]:
    """The file, open for reading; also from a disk without file locks. Raises one of READ_ERRORS.

    survey: False for a file whose bytes are known to be our own."""
    if not os.path.isfile(path):  # a pipe would be waited for
        raise FileNotFoundError(f"there is no file {path}")
    if survey:
        found = os.stat(path)
        _survey(os.path.abspath(path), found.st_size, found.st_mtime_ns)
    with h5py.File(path, "r", locking=False) as file:
        yield file


@lru_cache(maxsize=256)
def _survey(path: str, size: int, mtime_ns: int) -> None:
    """Walk through a file in a forked process. OSError if that crashes, takes too long, or cannot list what is there,
    which would then be asked for by name, unseen; all other errors will come again. Not where other threads run, since
    they might hold a lock that the fork would wait for; native libraries have threads of which Python does not know, so
    that one that waits too long says nothing about the file."""
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return
    import resource  # where there is fork, there is this

    child = os.fork()
    if child == 0:
        code = 0
        try:
            gc.disable()  # the end of a session of ONNX Runtime waits for its threads, which a fork does not have
            faulthandler.disable()  # what happens here is told in a sentence
            seconds = _SECONDS + size // _BYTES_PER_SECOND
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGXCPU, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, seconds + _WAITING)
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            code = 0 if _walk(path, size <= _WHOLE) else _UNLISTED
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _UNLISTED:
        raise OSError("it is damaged: what it holds cannot be listed")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGALRM:
        how = "does not come back from" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "crashes over"
        raise OSError(f"it is damaged: the HDF5 library {how} it")


def _walk(path: str, whole: bool) -> bool:
    """Whether all there is could be listed."""
    with h5py.File(path, "r", locking=False) as file:
        waiting: list[h5py.Group] = [file]
        while waiting:
            group = waiting.pop()
            try:
                members = _members(group)
                attributes = [
                    (holder, list(holder.attrs))
                    for holder in (group, *(item for item in members if isinstance(item, h5py.Dataset)))
                ]
            except READ_ERRORS:
                return False
            for holder, names in attributes:
                for name in names:
                    with suppress(*READ_ERRORS):
                        holder.attrs[name]
                if isinstance(holder, h5py.Dataset):
                    with suppress(*READ_ERRORS):
                        # the checks of dataset() first: what they refuse is not read in earnest either
                        item = dataset(holder.parent, holder.name.rsplit("/", 1)[1], "fiu")
                        _ = item[()] if whole or not item.shape else (item[:1], item[-1:])
            waiting += [item for item in members if isinstance(item, h5py.Group)]
    return True


def _members(group: h5py.Group) -> list[Any]:
    found = []
    for name in list(group):
        with suppress(*READ_ERRORS):
            found.append(inside(group, name))
    return found


def inside(group: h5py.Group, name: str) -> Any:
    """The group or data set at a path below a group. Raises KeyError where there is none, ValueError for a link: ours
    and the data sets' files have none, and one can lead into another file or round in a circle."""
    item = group
    for part in name.split("/"):
        if not isinstance(item, h5py.Group):
            raise ValueError(f"'{name}' is not in a group")
        link = item.get(part, getlink=True)
        if link is None:
            raise KeyError(f"'{name}' is missing")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"'{name}' is a link to somewhere else")
        item = item[part]
    return item


def groups(group: h5py.Group, name: str = "") -> dict[str, h5py.Group]:
    """The groups inside the one at a path, by name; {} where there is none at that path. Raises ValueError for anything
    that is not a group."""
    if name:
        if name.split("/")[0] not in group:
            return {}
        group = inside(group, name)
        if not isinstance(group, h5py.Group):
            raise ValueError(f"'{name}' is not a group")
    found = {key: inside(group, key) for key in group}
    for key, item in found.items():
        if not isinstance(item, h5py.Group):
            raise ValueError(f"'{key}' is not a group")
    return found


def dataset(group: h5py.Group, name: str, kinds: str, shape: tuple[int | None, ...] | None = None) -> h5py.Dataset:
    """The data set at a path below a group, not read yet. kinds: numpy's letters ("f", "iu"); shape: None for an extent
    that may be anything, None for any shape.

    Raises KeyError, or ValueError for another type or shape, for data outside the file, and for more than the file can
    hold."""
    item = inside(group, name)
    if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind not in kinds:
        raise ValueError(f"'{name}' is not an array of numbers")
    if shape is not None:
        fits = len(item.shape) == len(shape)
        if not fits or any(w is not None and w != h for w, h in zip(shape, item.shape, strict=True)):
            raise ValueError(f"'{name}' has the shape {item.shape}")
    if item.external or item.is_virtual:
        raise ValueError(f"'{name}' lies in another file")
    stored = min(item.id.get_storage_size(), item.file.id.get_filesize())
    if item.nbytes > max(_SMALL, _MOST_PACKED * stored):
        raise ValueError(f"'{name}' claims {item.nbytes} bytes, the file holds {stored} of it")
    return item


def array(group: h5py.Group, name: str, kinds: str, shape: tuple[int | None, ...] | None = None) -> NDArray:
    """dataset(...), read."""
    return np.asarray(dataset(group, name, kinds, shape)[()])


def text(attributes: h5py.AttributeManager, name: str) -> str:
    """An attribute that has to be a text. Raises KeyError or ValueError."""
    value = attributes[name]
    if not isinstance(value, str):
        raise ValueError(f"'{name}' is not a text")
    return value


def texts(attributes: h5py.AttributeManager, name: str) -> tuple[str, ...]:
    """An attribute that has to be a list of texts. Raises KeyError or ValueError."""
    value = attributes[name]
    if not isinstance(value, np.ndarray) or not all(isinstance(item, str) for item in value.ravel()):
        raise ValueError(f"'{name}' is not a list of texts")
    return tuple(value.ravel())
