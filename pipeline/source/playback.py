"""A video file, or a folder of images, in the live path: as fast as frames are wanted, or in real time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from posepipe.pipeline.source.footage import name_of, open_footage
from posepipe.pipeline.source.live import Captured, Gate, SourceCounts, SourceInfo

_LATE_SECONDS = 0.5


class Playback:
    """live: play in real time; a frame counts as taken when its time has come, even if it was decoded later. Half a
    second late, playing is held up instead (counted as slipped), because a camera would not lag behind for ever.

    image_fps: of a folder of images. Raises InputError as open_footage does."""

    trouble = ""

    def __init__(self, path: str | Path, live: bool, image_fps: float | None = None) -> None:
        self.live = live
        self._slipped = 0.0
        self._video = open_footage(path, image_fps)
        known = self._video.info
        self.info = SourceInfo(
            name_of(Path(path)), known.sha256, known.width, known.height, known.fps, known.sha256, known.lens
        )

    @property
    def counts(self) -> SourceCounts:
        return SourceCounts(bad_packets=self._video.counts.bad_packets, slipped=round(self._slipped, 3))

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
            late = time.monotonic() - due
            if late > _LATE_SECONDS:
                zero, due, self._slipped = zero + late, due + late, self._slipped + late
            if gate.wait(due - time.monotonic()):
                return
            yield Captured(frame, due, cost)

    def close(self) -> None:
        self._video.close()
