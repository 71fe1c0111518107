"""One process that runs the cases of a target, one after the other, and may die of any of them.

Started by pool.py, with limits that end it: 5 s of processor time or 60 s by the clock for a case (signals SIGPROF,
SIGALRM), and 2 GiB of memory more than it has before the first case.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from posepipe.errors import PosepipeError
from tests.fuzz.target import Case, Cases
from tests.fuzz.targets import TARGETS

CPU_SECONDS, CLOCK_SECONDS, MEMORY_BYTES = 5, 60, 2 << 30
WAITING, RUNNING, DIED, FOUND, RIGHT = 0, 1, 2, 3, 4  # in the file of outcomes; from 5 on: classes of errors
_LONGEST = 2000  # characters of an error


def main(argv: list[str]) -> int:
    """argv: target, its folder, seed, first case, end, the file of outcomes (a byte a case), the folder of reports."""
    name, folder, seed, first, end, outcomes, reports = argv
    cases = Cases(TARGETS[name], Path(folder), name, int(seed))
    classes = _Classes(Path(reports) / "classes.txt")
    place = Path(folder)
    prepare(cases, place)
    limit()
    with open(outcomes, "r+b") as file, mmap.mmap(file.fileno(), 0) as outcome:
        for number in range(int(first), int(end)):
            outcome[number] = RUNNING
            found = limited(cases, number, place)
            if isinstance(found, dict):
                with open(Path(reports) / "found.jsonl", "a") as report:
                    report.write(json.dumps(found) + "\n")
                outcome[number] = FOUND
            else:
                outcome[number] = RIGHT if found is None else classes.number(found)
    return 0


def limit() -> None:
    """Of memory; and say where the process was when it dies."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, -1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)
    faulthandler.register(signal.SIGALRM, chain=True)


def lift_limit() -> None:
    """Of memory, for the target after this one: it may import torch, which maps gigabytes in its build for CUDA."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def prepare(cases: Cases, place: Path) -> None:
    """Read the whole files, which have to be right; what that imports is there before memory is limited."""
    for original, known in zip(cases.originals, cases.seeds, strict=True):
        (place / known.path).write_bytes(original)
    for known in cases.seeds:
        known.read(place / known.path)


def limited(cases: Cases, number: int, place: Path) -> dict[str, Any] | str | None:
    """Run one case under the limits of time, which end the process. None for a result, the class of a clear error, or
    what was found to be wrong."""
    case = cases.case(number)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, CLOCK_SECONDS)
    found = _run(case, place, number)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if case.seed.restore:
        (place / case.seed.path).write_bytes(cases.originals[cases.seeds.index(case.seed)])
    return {"case": number, "file": case.seed.path, **found} if isinstance(found, dict) else found


def _run(case: Case, folder: Path, number: int) -> dict[str, Any] | str | None:
    path = folder / case.seed.path
    path.write_bytes(case.data)
    # Two cases can fall into one tick of the clock; posepipe takes a file of the same size and time for the same file.
    os.utime(path, ns=(number * 10**6, number * 10**6))
    try:
        case.seed.read(path)
    except PosepipeError as error:
        text = str(error)
        if _ran_out_of_memory(error):
            return _finding("memory", error)
        if not text or "\n" in text or len(text) > _LONGEST:
            return _finding("unclear", error)
        return type(error).__name__
    except MemoryError as error:
        return _finding("memory", error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what this looks for
        return _finding("exception", error)
    return None


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """An error that came of an exhausted limit is luck: without the limit the machine would have been exhausted."""
    while error is not None:
        # FFmpeg refuses by itself what is larger than 2 GiB, and touches only what it then reads.
        if (isinstance(error, MemoryError) and not isinstance(error, FFmpegError)) or "bad_alloc" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _finding(kind: str, error: BaseException) -> dict[str, Any]:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/tests/" not in f.filename]
    ours = [f for f in frames if "site-packages" not in f.filename and "/lib/python" not in f.filename]
    where = f"{'/'.join(Path(ours[-1].filename).parts[-2:])}:{ours[-1].lineno}" if ours else "?"
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))[-3000:]
    return {"kind": kind, "error": type(error).__name__, "where": where, "text": str(error)[:500], "trace": text}


class _Classes:
    """Numbers for the names of error classes, kept in a file that outlives a process that dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = path.read_text().split() if path.exists() else []

    def number(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
            with open(self._path, "a") as file:
                file.write(name + "\n")
        return RIGHT + 1 + self._names.index(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
