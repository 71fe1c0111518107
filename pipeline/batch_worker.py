"""One worker process of a batch: takes videos one after the other, tells how far it is, and what became of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from posepipe.errors import PosepipeError
from posepipe.hashing import file_sha256
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.manifest import FAILED, NO_PERSON, OK, PARTIAL, Entry, Output
from posepipe.pipeline.run import RunSummary, run_file
from posepipe.pipeline.runner import FrameResult
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.footer import source_sha256

_TELL_SECONDS = 0.25


@dataclass(frozen=True)
class Progress:
    """Frames done of the current video; expected is None where the video does not say."""

    frames: int
    expected: int | None


class _Orphaned(BaseException):
    """The batch is gone: stop as if interrupted, leaving nothing half-written."""


def serve(connection: Connection, out: Path, settings: RunSettings, settings_sha256: str) -> None:
    """Answer each WorkItem with Progress values and one Entry, until the other side closes the connection."""
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        try:
            _tell(connection, _process(item, out, settings, settings_sha256, connection))
        except _Orphaned:
            return


def _tell(connection: Connection, message: Progress | Entry) -> None:
    try:
        connection.send(message)
    except OSError:
        raise _Orphaned from None


def _process(item: WorkItem, out: Path, settings: RunSettings, settings_sha256: str, connection: Connection) -> Entry:
    began = told = time.perf_counter()
    done, expected = 0, None

    def start(frames: int | None) -> None:
        nonlocal expected
        expected = frames
        _tell(connection, Progress(0, expected))

    def on_frame(result: FrameResult) -> None:
        nonlocal done, told
        done += 1
        if time.perf_counter() - told >= _TELL_SECONDS:
            told = time.perf_counter()
            _tell(connection, Progress(done, expected))

    try:
        summary = run_file(item.source, item.folder, settings, on_start=start, on_frame=on_frame)
        return _entry(item, out, summary, settings_sha256, time.perf_counter() - began)
    except PosepipeError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - one video must not end the batch; the manifest says what happened
        reason = f"Internal error ({type(error).__name__}: {error}); try `posepipe run --debug` on it."
    return failure(item, settings_sha256, reason, time.perf_counter() - began)


def failure(item: WorkItem, settings_sha256: str, reason: str, seconds: float = 0.0) -> Entry:
    """The entry of a video that gave nothing."""
    try:
        digest = file_sha256(item.source)
    except (OSError, ValueError):
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
