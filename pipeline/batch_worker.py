"""The work on one video of a batch, and a process that takes one after the other and tells what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from posepipe.errors import InputError, PosepipeError
from posepipe.hashing import file_sha256
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.manifest import FAILED, NO_PERSON, OK, PARTIAL, Entry, Output
from posepipe.pipeline.run import RunSummary, run_file
from posepipe.pipeline.runner import FrameResult
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.footer import source_sha256
from posepipe.pipeline.source.footage import footage_sha256

_TELL_SECONDS = 0.25


@dataclass(frozen=True)
class Progress:
    """Frames done of the current video; expected is None where the video does not say. seconds: since the first frame
    could be worked on; 0 while the worker still loads."""

    frames: int = 0
    expected: int | None = None
    seconds: float = 0.0


class _Orphaned(BaseException):
    """The batch is gone: stop as if interrupted, leaving nothing half-written."""


def serve(connection: Connection, out: Path, settings: RunSettings, settings_sha256: str, cores: int) -> None:
    """Answer each WorkItem with Progress values and one Entry, until the other side closes the connection."""

    def tell(message: Progress | Entry) -> None:
        try:
            connection.send(message)
        except OSError:
            raise _Orphaned from None

    keep_to(cores)
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        try:
            tell(work_on(item, out, settings, settings_sha256, cores, tell))
        except _Orphaned:
            return


def keep_to(cores: int) -> None:
    """OpenCV's share of this process's cores; the detector's is given to each run."""
    import cv2

    cv2.setNumThreads(cores)


def work_on(
    item: WorkItem,
    out: Path,
    settings: RunSettings,
    settings_sha256: str,
    cores: int,
    tell: Callable[[Progress], None],
) -> Entry:
    """One video from beginning to end; failures come back as entries. tell: called some four times a second."""
    began = told = time.perf_counter()
    done, expected, zero = 0, None, began

    def start(frames: int | None) -> None:
        nonlocal expected, zero
        expected, zero = frames, time.perf_counter()
        tell(Progress(0, expected))

    def on_frame(result: FrameResult) -> None:
        nonlocal done, told
        done += 1
        now = time.perf_counter()
        if now - told >= _TELL_SECONDS:
            told = now
            tell(Progress(done, expected, now - zero))

    try:
        summary = run_file(item.source, item.folder, settings, on_start=start, on_frame=on_frame, cores=cores)
        return _entry(item, out, summary, settings_sha256, time.perf_counter() - began)
    except PosepipeError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - one video must not end the batch; the manifest says what happened
        reason = f"Internal error ({type(error).__name__}: {error}); try `posepipe run --debug` on it."
    return failure(item, settings_sha256, reason, time.perf_counter() - began)


def failure(item: WorkItem, settings_sha256: str, reason: str, seconds: float = 0.0) -> Entry:
    """The entry of a video that gave nothing."""
    try:
        digest = footage_sha256(item.source)
    except (OSError, ValueError, InputError):
        digest = None
    return Entry(item.name, digest, settings_sha256, FAILED, reason, seconds=round(seconds, 3))


def _entry(item: WorkItem, out: Path, summary: RunSummary, settings_sha256: str, seconds: float) -> Entry:
    paths = [path for path in (summary.recording, summary.overlay) if path]
    bad = summary.frames_corrupt + summary.bad_packets
    status = NO_PERSON if not summary.frames_with_person else PARTIAL if bad or summary.cut_short else OK
    return Entry(
        item.name,
        # Of the bytes that were decoded: the file may have been replaced since.
        source_sha256(summary.recording),
        settings_sha256,
        status,
        frames=summary.frames,
        frames_with_person=summary.frames_with_person,
        bad_frames=bad,
        cut_short=summary.cut_short,
        tracks=summary.tracks,
        outputs=tuple(Output(p.relative_to(out).as_posix(), p.stat().st_size, file_sha256(p)) for p in paths),
        seconds=round(seconds, 3),
        stages={s.name: {k: round(getattr(s, k), 3) for k in ("mean", "p50", "p95")} for s in summary.stages},
    )
