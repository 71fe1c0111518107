"""What processes that died in the middle of a video left half-written, told from what is being written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from posepipe.pipeline.batch_list import WorkItem

_LEFTOVER = re.compile(r"^\..+\.(?:h5|mp4|jsonl)\.tmp-(\d+)$")


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Delete what processes that are dead left half-written in these folders."""
    for folder in set(folders):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            match = _LEFTOVER.match(name)
            if match and not _is_alive(int(match[1])):
                with suppress(OSError):
                    os.unlink(folder / name)


def _is_alive(pid: int) -> bool:
    """Whether a process of that number runs; one that is dead and was not waited for (a zombie) does not."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's, or no /proc here
        return True
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def remove_leftovers_of(item: WorkItem) -> None:
    """Delete what is half-written of this item's results, whoever wrote it: for workers on other machines, whose
    process numbers say nothing here. Only while nobody works on it."""
    for made in item.outputs(overlay=True):
        with suppress(OSError):
            for path in made.parent.iterdir():
                if path.name.startswith(f".{made.name}.tmp-"):
                    path.unlink(missing_ok=True)
