"""The live path for a source of which every frame counts: decode -> detect -> track -> lift, each in order.

Decoding and detection run in threads of their own behind bounded queues (the detector is what limits the rate); the
rest runs in the thread that consumes the results. An exception anywhere reaches the consumer.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from posepipe.pipeline.people import Lifting, PeopleState, people_in
from posepipe.pipeline.stats import StageTimes
from posepipe.prefetch import prefetch
from posepipe.types import Frame, Pose2D, Track

_DECODED, _DETECTED = 4, 4  # frames that may wait in front of a stage


class Detector(Protocol):
    """Finds people: (height, width, 3) RGB frames in, one Pose2D per person out. Frames come in order."""

    def detect(self, frame: Frame) -> tuple[Pose2D, ...]: ...


@dataclass(frozen=True)
class FrameResult:
    """Everything known about one frame."""

    frame: Frame
    tracks: tuple[Track, ...]

    @property
    def shown(self) -> tuple[Track, ...]:
        """The people as viewers draw them: smoothed where smoothing is on."""
        return tuple(t.shown for t in self.tracks)


def process(
    frames: Iterable[Frame],
    detector: Detector,
    how: Lifting,
    times: StageTimes,
) -> Generator[FrameResult, None, None]:
    """Yield a FrameResult per frame, in order."""
    state = PeopleState()
    with (
        closing(prefetch(_timed(frames, "decode", times), _DECODED, "decode")) as decoded,
        closing(prefetch(_detected(decoded, detector, times), _DETECTED, "detect")) as detected,
    ):
        for frame, poses in detected:
            with times.measure("lift"):
                state, tracks = people_in(state, frame, poses, how)
            yield FrameResult(frame, tracks)


def _timed(frames: Iterable[Frame], stage: str, times: StageTimes) -> Generator[Frame, None, None]:
    iterator = iter(frames)
    while True:
        start = time.perf_counter()
        try:
            frame = next(iterator)
        except StopIteration:
            return
        times.add(stage, time.perf_counter() - start)
        yield frame


def _detected(
    frames: Iterable[Frame], detector: Detector, times: StageTimes
) -> Generator[tuple[Frame, tuple[Pose2D, ...]], None, None]:
    for frame in frames:
        with times.measure("detect"):
            poses = detector.detect(frame)
        yield frame, poses
