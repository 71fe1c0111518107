"""A video file in the live path: every frame as fast as it is wanted, or played in real time as if it were a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from posepipe.pipeline.source.file import VideoFile
from posepipe.pipeline.source.live import Captured, Gate, SourceCounts, SourceInfo


class Playback:
    """live: play in real time; a frame counts as taken when its time has come, even if it was decoded later.

    Raises InputError as VideoFile does."""

    trouble = ""

    def __init__(self, path: str | Path, live: bool) -> None:
        self.live = live
        self._video = VideoFile(path)
        known = self._video.info
        self.info = SourceInfo(Path(path).name, known.sha256, known.width, known.height, known.fps, known.sha256)

    @property
    def counts(self) -> SourceCounts:
        return SourceCounts(bad_packets=self._video.counts.bad_packets)

    def frames(self, gate: Gate) -> Iterator[Captured]:
        video = iter(self._video)
        zero: float | None = None
        while True:
            held = gate.hold()
            start = time.monotonic()
            frame = next(video, None)
            if frame is None or gate.stopped:
                return
            cost = time.monotonic() - start
            if not self.live:
                yield Captured(frame, time.monotonic(), cost)
                continue
            zero = start - frame.pts if zero is None else zero + held
            due = zero + frame.pts
            if gate.wait(due - time.monotonic()):
                return
            yield Captured(frame, due, cost)

    def close(self) -> None:
        self._video.close()
