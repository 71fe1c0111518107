"""The manifest of a batch: one JSON line per video, appended so that a crash loses at most the line being written."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from posepipe.errors import OutputError
from posepipe.pipeline.sink.atomic import atomic_path, output_error

NAME = "manifest.jsonl"
OK, PARTIAL, FAILED, NO_PERSON = "ok", "partial", "failed", "no person"
STATUSES = (OK, PARTIAL, FAILED, NO_PERSON)


@dataclass(frozen=True)
class Output:
    """A file that a video gave. path: relative to the manifest's folder, with `/`; bytes: its size."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """What became of one video.

    input: its path relative to the batch's folder, with `/`. input_sha256: of its bytes, None where it could not be
    read. settings_sha256: of everything else that the outputs depend on. status: ok, partial (bad_frames damaged
    frames or refused packets, or cut_short: it ends inside its data), failed (reason) or no person. seconds: of work.
    stages: milliseconds per call of each stage, {name: {"mean", "p50", "p95"}}."""

    input: str
    input_sha256: str | None
    settings_sha256: str
    status: str
    reason: str = ""
    frames: int = 0
    frames_with_person: int = 0
    bad_frames: int = 0
    cut_short: bool = False
    tracks: int = 0
    outputs: tuple[Output, ...] = ()
    seconds: float = 0.0
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def line(self) -> bytes:
        # ASCII with escapes: file names that are not valid UTF-8 survive, and no byte of a line is a line break.
        return json.dumps(dataclasses.asdict(self)).encode("ascii") + b"\n"


def parse(line: bytes) -> Entry | None:
    """An entry, or None for a line that is none: torn by a crash, or changed by hand."""
    try:
        data = json.loads(line)
        outputs = tuple(Output(str(o["path"]), int(o["bytes"]), str(o["sha256"])) for o in data.pop("outputs"))
        entry = Entry(**data, outputs=outputs)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return entry if isinstance(entry.input, str) and entry.status in STATUSES else None


def read(folder: Path) -> dict[str, Entry]:
    """Input -> its last entry; empty where there is no manifest. Raises OutputError when it cannot be read."""
    try:
        lines = (folder / NAME).read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(f"Cannot read {folder / NAME} ({error.strerror}).", "Check its permissions.") from None
    entries = (parse(line) for line in lines[:-1])  # what follows the last line break was torn
    return {entry.input: entry for entry in entries if entry}


def append(folder: Path, entry: Entry) -> None:
    """Add a line with one write, on disk when this returns. Raises OutputError; the manifest is then as before."""
    path = folder / NAME
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            before, line = os.fstat(descriptor).st_size, entry.line()
            if os.write(descriptor, line) != len(line):  # the disk is full
                os.ftruncate(descriptor, before)
                raise OutputError(f"Cannot write {path} (the disk is full).", "Free some disk space, then --resume.")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise output_error(path, error) from None


def rewrite(folder: Path, entries: Iterable[Entry]) -> None:
    """Replace the manifest by these entries, sorted by input: one line per video, and no torn one."""
    with atomic_path(folder / NAME) as temporary:
        temporary.write_bytes(b"".join(e.line() for e in sorted(entries, key=lambda e: e.input)))
