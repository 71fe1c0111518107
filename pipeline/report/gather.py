"""A folder of results -> the videos that a report is about: from the batch's manifest, and from result files alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from posepipe.errors import InputError
from posepipe.pipeline import manifest
from posepipe.pipeline.manifest import FAILED, NO_PERSON, OK, PARTIAL, Entry
from posepipe.pipeline.report.digest import Digest, digest


@dataclass(frozen=True)
class Video:
    """One line of the report. digest: of its result file, None where there is none to read. files: results that exist.
    seconds: of work, NaN where nobody wrote it down. notes: what a person should know, one sentence each."""

    name: str
    status: str
    frames: int
    frames_with_person: int
    bad_frames: int
    tracks: int
    seconds: float
    stages: Mapping[str, Mapping[str, float]]
    files: tuple[Path, ...] = ()
    digest: Digest | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def overlay(self) -> Path | None:
        return next((path for path in self.files if path.suffix == ".mp4"), None)


def result_files(folder: Path) -> list[Path]:
    """The .h5 files below a folder, hidden ones left out, sorted by name."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found += [Path(root) / name for name in names if name.endswith(".h5") and not name.startswith(".")]
    return sorted(found)


def entries_of(folder: Path) -> dict[str, Entry]:
    """Raises InputError for what is no folder, OutputError for a manifest that cannot be read."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Give the folder that posepipe batch or run has written to.")
    return manifest.read(folder)


def plan(folder: Path) -> list[Entry | Path]:
    """What the report is about: the manifest's entries, then result files that none of them names. Raises InputError
    where there is neither."""
    entries = entries_of(folder)
    named = {path for entry in entries.values() for path in _files(folder, entry)[0]}
    alone = [path for path in result_files(folder) if path not in named]
    if not entries and not alone:
        raise InputError(
            f"There are no results in {folder}.", "Give the folder that posepipe batch or run has written to."
        )
    return [*sorted(entries.values(), key=lambda e: e.input), *alone]


def video_of(folder: Path, item: Entry | Path) -> Video:
    """The line of one item of the plan. Nothing outside the folder is read, whatever the manifest says."""
    return _from_entry(folder, item) if isinstance(item, Entry) else _from_file(folder, item)


def _files(folder: Path, entry: Entry) -> tuple[list[Path], list[str]]:
    """The entry's results that exist, and notes about those that do not."""
    files, notes = [], []
    for output in entry.outputs:
        path = folder / output.path
        try:
            inside = path.resolve().is_relative_to(folder.resolve())
            there = inside and path.is_file()
        except (OSError, ValueError, RuntimeError):
            inside, there = True, False
        if not inside:
            notes.append("The manifest names a result outside the folder; it was not looked at.")
        elif not there:
            notes.append(f"{output.path} is missing; process the video again.")
        else:
            files.append(path)
    return files, notes


def _from_entry(folder: Path, entry: Entry) -> Video:
    files, notes = _files(folder, entry)
    recording = next((path for path in files if path.suffix == ".h5"), None)
    found = None
    if recording is not None:
        try:
            found = digest(recording)
        except InputError as error:
            notes.append(str(error))
    bad = _count(entry.bad_frames)
    said = []
    if entry.status == FAILED:
        said.append(str(entry.reason) or "It failed; the manifest does not say why.")
    if bad:
        said.append(f"{bad} bad frame{'s' * (bad > 1)}: damaged pictures, or packets that the decoder refused.")
    if entry.cut_short:
        said.append("The file ends in the middle of its data.")
    if entry.status == NO_PERSON:
        said.append("No person was found. Is anybody large enough, lit and upright?")
    seconds = float(entry.seconds) if isinstance(entry.seconds, int | float) and entry.seconds > 0 else math.nan
    return Video(
        entry.input,
        entry.status,
        _count(entry.frames),
        _count(entry.frames_with_person),
        bad,
        _count(entry.tracks),
        seconds,
        _stages(entry.stages),
        tuple(files),
        found,
        (*said, *notes),
    )


def _from_file(folder: Path, path: Path) -> Video:
    name = path.relative_to(folder).as_posix()
    overlay = path.with_name(f"{path.stem}.overlay.mp4")
    files = (path, *([overlay] if overlay.is_file() else []))
    try:
        found = digest(path)
    except InputError as error:
        return Video(name, FAILED, 0, 0, 0, 0, math.nan, {}, files, None, (str(error),))
    status = NO_PERSON if found.typical is None else PARTIAL if found.bad_frames else OK
    notes = []
    if found.bad_frames:
        notes.append(f"{found.bad_frames} bad frame{'s' * (found.bad_frames > 1)}: damaged pictures.")
    if status == NO_PERSON:
        notes.append("No person was found. Is anybody large enough, lit and upright?")
    counts = len(found.pts), found.frames_with_person, found.bad_frames, len(found.lines)
    return Video(found.source or name, status, *counts, math.nan, {}, files, found, tuple(notes))


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _stages(stages: object) -> dict[str, dict[str, float]]:
    """What is well-formed of it: the manifest is a text file that anybody may have edited."""
    if not isinstance(stages, Mapping):
        return {}
    return {
        str(name): {k: float(v) for k, v in times.items() if isinstance(v, int | float) and math.isfinite(v)}
        for name, times in stages.items()
        if isinstance(times, Mapping)
    }
