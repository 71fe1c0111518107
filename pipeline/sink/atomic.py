"""Files that exist only when they are complete: written under a temporary name, synced to disk, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from posepipe.errors import OutputError

# Errors that always speak about the disk being written to, whoever in the body of atomic_path raised them.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})

_HINTS = {
    errno.ENOSPC: "Free some disk space, or choose another folder with -o.",
    errno.EDQUOT: "Free some of your disk quota, or choose another folder with -o.",
    errno.EFBIG: "The file system or a ulimit does not allow files this large; choose another folder with -o.",
    errno.EROFS: "The disk is read-only; choose another folder with -o.",
    errno.EACCES: "Give yourself write permission there, or choose another folder with -o.",
    errno.EPERM: "Give yourself write permission there, or choose another folder with -o.",
    errno.ENOTDIR: "A part of that path is a file, not a folder; choose another folder with -o.",
    errno.EEXIST: "A part of that path is a file, not a folder; choose another folder with -o.",
    errno.EISDIR: "A folder of that name is in the way; move it or choose another folder with -o.",
    errno.ENAMETOOLONG: "Use a shorter name.",
}


def output_error(path: Path, error: Exception) -> OutputError:
    """The sentence for an output that could not be written: what, why, and what to do about it."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number in _HINTS else (str(error).splitlines() or [type(error).__name__])[0]
    return OutputError(f"Cannot write {path} ({reason}).", _HINTS.get(number or 0, "Choose another folder with -o."))


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`; on success sync and rename it to `final`, on any exception remove it.

    The temporary name is `.<name>.tmp-<pid>`, so an interrupted run leaves nothing under the final name, and a file
    with its final name is complete (it, and the rename, were fsynced). Missing parent folders are made. An existing
    `final` is replaced only on success. Raises OutputError when the folder cannot be written or the disk is full."""
    final = Path(final)
    temporary = final.with_name(f".{final.name}.tmp-{os.getpid()}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
        # Made at once, so that a folder without permission is noticed before the work and not after it.
        temporary.write_bytes(b"")
    except OSError as error:
        raise output_error(final, error) from None
    try:
        yield temporary
        try:
            _sync(temporary)
            os.replace(temporary, final)
            _sync(final.parent)
        except OSError as error:
            raise output_error(final, error) from error
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise output_error(final, error) from error
        raise


def _sync(path: Path) -> None:
    """fsync a file or a folder. Some file systems refuse it for folders (EINVAL); the rename is then as safe as they
    make it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
